// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/source"
)

func (a *app) reset() *cobra.Command {
	var todo int
	cmd := &cobra.Command{
		Use:   "reset [flags] N",
		Short: "begin a lab again",
		Long: `Reset makes the files of lab N anew, as they were in the beginning; with --todo K,
with the first K TODOs solved. Your files are put aside, and reset says where.`,
		Example:           "  nllab reset 3\n  nllab reset 3 --todo 2",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.session(true)
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			if todo < 0 || todo > len(l.Todos) {
				return usagef("lab %d has the TODOs 1 to %d", l.Number, len(l.Todos))
			}
			unlock, err := s.root.Lock(fmt.Sprintf("reset %d", l.Number))
			if err != nil {
				return err
			}
			defer unlock()
			kept, err := s.root.Reset(l, source.Variant{Solved: todo})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s is as in the beginning", shorten(s.root.Lab(l)))
			switch {
			case todo == 1:
				fmt.Fprintf(a.out, ", with TODO 1 solved")
			case todo > 1:
				fmt.Fprintf(a.out, ", with the TODOs 1 to %d solved", todo)
			}
			fmt.Fprintln(a.out, ".")
			if kept != "" {
				fmt.Fprintf(a.out, "Your files are in %s.\n", shorten(kept))
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&todo, "todo", 0, "with the first `K` TODOs solved")
	return cmd
}
