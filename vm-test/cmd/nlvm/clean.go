// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/machine"
)

// ours are the parts of the cache that nlvm makes. The cache is shared with
// the project's other tools, which clean up after themselves.
var ours = []string{"states", "stamps", "built", "modules", "recipes", "module-build.log", "accel", "kernels", "busybox", "images", "apt", "matrix"}

func newClean() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove the saved states of machines",
		Long: `Clean removes the states of booted machines; the next run boots once more. With
--all it removes everything that nlvm has downloaded and built as well.`,
		Example: `  nlvm clean
  nlvm clean --all`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := cache.Open()
			if err != nil {
				return err
			}
			defer c.Close()
			if !all {
				fmt.Printf("%d saved states removed\n", machine.RemoveStates(c))
				return nil
			}
			l, err := c.UseAlone()
			if errors.Is(err, cache.ErrLocked) {
				return errors.New("another nlvm is running and uses the downloads; try again when it has ended")
			}
			if err != nil {
				return err
			}
			defer l.Unlock()
			for _, name := range ours {
				if err := os.RemoveAll(c.Path(name)); err != nil {
					return err
				}
			}
			fmt.Printf("removed what nlvm kept in %s\n", c.Path())
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove downloaded kernels and images and everything built, too")
	return cmd
}
