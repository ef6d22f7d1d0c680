// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

func (a *app) new() *cobra.Command {
	return &cobra.Command{
		Use:   "new DIR",
		Short: "make a folder of your own, with all labs",
		Long: `New makes the folder DIR with the texts and the files of all labs, as they are in the
beginning. It is a Go module that needs no other, so nothing is downloaded. It
remembers where nlpeer's source tree is; if that moves, set NLPEER_SRC to it.`,
		Example: "  nllab new ~/netlink",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("give the name of one new folder")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			dir := args[0]
			if a.dir != "" && !filepath.IsAbs(dir) {
				dir = filepath.Join(a.dir, dir)
			}
			tools, err := grade.FindTools()
			if err != nil {
				return err
			}
			labs, err := source.Course(tools.LabsDir())
			if err != nil {
				return err
			}
			if _, err := student.New(dir, tools.Tree, labs); err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s has all labs. Go there, and begin with:\n  cd %s\n  nllab list\n  nllab run %d\n", dir, dir, labs[0].Number)
			return nil
		},
	}
}
