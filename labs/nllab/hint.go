// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/student"
)

func (a *app) hint() *cobra.Command {
	var todo int
	cmd := &cobra.Command{
		Use:   "hint [flags] N",
		Short: "show the next hint for a lab",
		Long: `Hint shows a hint for the first TODO that the last run of lab N found open, and each
time one more. The last one is nearly the solution.`,
		Example:           "  nllab hint 3\n  nllab hint 3 --todo 2",
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
			if !l.Graded() {
				return fmt.Errorf("lab %d has nothing to be solved", l.Number)
			}
			p, err := s.root.Progress()
			if err != nil {
				return err
			}
			mine := p.Labs[l.Number]
			if todo == 0 {
				if mine.Tries > 0 && mine.Next == 0 {
					return fmt.Errorf("lab %d is solved; a hint for a certain TODO: nllab hint %d --todo K", l.Number, l.Number)
				}
				todo = max(mine.Next, 1)
			}
			if todo < 1 || todo > len(l.Todos) {
				return usagef("lab %d has the TODOs 1 to %d", l.Number, len(l.Todos))
			}
			hints := l.Todos[todo-1].Hints
			shown := min(mine.Hints[todo]+1, len(hints))
			fmt.Fprintf(a.out, "TODO %d: %s\n", todo, l.Todos[todo-1].Title)
			for i, h := range hints[:shown] {
				fmt.Fprintf(a.out, "\nHint %d of %d:\n%s\n", i+1, len(hints), indented(h))
			}
			if shown == len(hints) {
				fmt.Fprintf(a.out, "\nThat was the last. The solution: nllab solution %d\n", l.Number)
			}
			return s.root.Update(func(p *student.Progress) {
				mine := p.Labs[l.Number]
				if mine.Hints == nil {
					mine.Hints = map[int]int{}
				}
				mine.Hints[todo] = shown
				p.Labs[l.Number] = mine
			})
		},
	}
	cmd.Flags().IntVar(&todo, "todo", 0, "for TODO `K`")
	return cmd
}
