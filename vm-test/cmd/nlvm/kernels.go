// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

func newKernels() *cobra.Command {
	return &cobra.Command{
		Use:     "kernels",
		Short:   "List the kernels that --kernel knows",
		Example: `  nlvm kernels`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := cache.Open()
			if err != nil {
				return err
			}
			defer c.Close()
			w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tARCH\tDEBIAN\tVERSION\tSTATE\t")
			for _, k := range kernel.Table {
				version, state, mark := "-", "not downloaded yet", ""
				if u, err := kernel.Lookup(c, k); err == nil {
					version, state = u.Version+" ("+u.Package+")", "unpacked"
				}
				if k.Name == kernel.Default() {
					mark = "default"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, k.Arch, k.Suite, version, state, mark)
			}
			return w.Flush()
		},
	}
}
