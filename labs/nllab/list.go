// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/student"
)

func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "list the labs, and how far you are",
		Example: "  nllab list",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.session(false)
			if err != nil {
				return err
			}
			p := student.Progress{}
			if s.root.Dir != "" {
				if p, err = s.root.Progress(); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.out, "lab  points  minutes  title\n")
			for _, l := range s.labs {
				points := "    -"
				mine := p.Labs[l.Number]
				switch {
				case !l.Graded() && mine.Tries > 0:
					points = " seen"
				case !l.Graded():
				case mine.Tries > 0:
					points = fmt.Sprintf("%2d/%d", mine.Best, mine.Of)
				default:
					points = " -/10"
				}
				fmt.Fprintf(a.out, "%3d   %s  %7d  %s\n", l.Number, points, l.Minutes, l.Title)
			}
			return nil
		},
	}
}
