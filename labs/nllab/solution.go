// SPDX-License-Identifier: MIT

package nllab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

func (a *app) solution() *cobra.Command {
	var yes bool
	var to string
	cmd := &cobra.Command{
		Use:   "solution [flags] N",
		Short: "show the solution of a lab",
		Long: `Solution prints what solves each TODO of lab N. Before the first run of the lab it
asks you to try, or to insist with --yes.`,
		Example:           "  nllab solution 3\n  nllab solution --to /tmp/echo 3 && nllab run --folder /tmp/echo 3",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.session(!yes)
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			if !l.Graded() {
				return fmt.Errorf("lab %d has nothing to be solved", l.Number)
			}
			if !yes {
				p, err := s.root.Progress()
				if err != nil {
					return err
				}
				if p.Labs[l.Number].Tries == 0 {
					return fmt.Errorf("try it first: nllab run %d; hints: nllab hint %d; or insist: nllab solution --yes %d", l.Number, l.Number, l.Number)
				}
			}
			if to != "" {
				err = a.writeSolution(l, to)
			} else {
				a.printSolution(l)
			}
			if err != nil || s.root.Dir == "" {
				return err
			}
			return s.root.Update(func(p *student.Progress) {
				mine := p.Labs[l.Number]
				mine.Looked = mine.Looked || mine.Solved == nil
				p.Labs[l.Number] = mine
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "without having tried")
	cmd.Flags().StringVar(&to, "to", "", "write all files of the solution into the new folder `DIR`")
	return cmd
}

func (a *app) printSolution(l *source.Lab) {
	for i, todo := range l.Todos {
		fmt.Fprintf(a.out, "TODO %d: %s\n", i+1, todo.Title)
		for _, p := range l.Solution(i + 1) {
			fmt.Fprintf(a.out, "\n  %s\n%s", p.File, strings.Join(p.Lines, ""))
		}
		fmt.Fprintln(a.out)
	}
}

func (a *app) writeSolution(l *source.Lab, dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s is there and not empty; give the name of a new folder", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	files, err := l.Files(source.All)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := source.WriteFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}
