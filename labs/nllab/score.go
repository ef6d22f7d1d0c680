// SPDX-License-Identifier: MIT

package nllab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// A score is what a student has reached. It is an object of --json.
type score struct {
	Student string     `json:"student"` // the folder's name
	Folder  string     `json:"folder"`
	Points  int        `json:"points"`
	Of      int        `json:"of"`
	Labs    []labScore `json:"labs"`
}

type labScore struct {
	Lab    int    `json:"lab"`
	Name   string `json:"name"`
	Points int    `json:"points"`
	Of     int    `json:"of"`
	// State is "solved", "partly", "untouched", "missing", "does not compile",
	// "crashed", "hung", "complained", "lost" or "error".
	State string `json:"state"`
	// Failed are the names of the steps that did not pass, of a lab that was run.
	Failed []string `json:"failed,omitempty"`
	Why    string   `json:"why,omitempty"`
	Tries  int      `json:"tries,omitempty"`
	Hints  int      `json:"hints,omitempty"`
	Looked bool     `json:"looked,omitempty"`
}

const pointsOfLab = 10

func (a *app) score() *cobra.Command {
	var asJSON bool
	var only []string
	var kernel string
	cmd := &cobra.Command{
		Use:   "score [flags] [DIR…]",
		Short: "show your points, or grade the folders of a class",
		Long: `Score without DIR shows the points that are remembered in your folder. With the
folders of students it runs the checks on each of them, and believes nothing that
is remembered there. A lab that nobody has touched is not run.

With --json it prints an object a line and student: student, folder, points, of,
and labs: a list of lab, name, points, of, state (solved, partly, untouched,
missing, does not compile, crashed, hung, complained, lost, error), failed (names of
steps), why, and, of what is remembered: tries, hints, looked (at the solution
before it was solved). All points without "solved" are those of a kernel that
complained, or of a module that left something behind; why says it.

The exit status is 0 if everything was solved by all.`,
		Example: "  nllab score\n  nllab score --json class/*/\n  nllab score --lab 3 --lab 4 class/*/",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.session(len(args) == 0)
			if err != nil {
				return err
			}
			labs, err := s.some(only)
			if err != nil {
				return err
			}
			for _, dir := range args {
				if st, err := os.Stat(dir); err != nil {
					return err
				} else if !st.IsDir() {
					return usagef("%s is no folder", dir)
				}
			}
			all := true
			print := func(sc score) error {
				all = all && sc.solved()
				if asJSON {
					return json.NewEncoder(a.out).Encode(sc)
				}
				a.printScore(sc)
				return nil
			}
			if len(args) == 0 {
				p, err := s.root.Progress()
				if err != nil {
					return err
				}
				if err := print(remembered(s.root.Dir, labs, p)); err != nil {
					return err
				}
			}
			for _, dir := range args {
				sc, err := a.grade(cmd.Context(), s.tools, labs, dir, kernel)
				if err != nil {
					return err
				}
				if err := print(sc); err != nil {
					return err
				}
			}
			if !all {
				return status(exitPoints)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line for each student")
	cmd.Flags().StringArrayVar(&only, "lab", nil, "only lab `N` (repeatable)")
	cmd.Flags().StringVar(&kernel, "kernel", "", "kernel `NAME` for the checks, see nlvm kernels")
	return cmd
}

// some are the labs that are graded, or those of them that were named.
func (s *session) some(only []string) ([]*source.Lab, error) {
	var labs []*source.Lab
	for _, l := range s.labs {
		if l.Graded() && len(only) == 0 {
			labs = append(labs, l)
		}
	}
	for _, arg := range only {
		l, err := s.lab(arg)
		if err != nil {
			return nil, err
		}
		if l.Graded() {
			labs = append(labs, l)
		}
	}
	return labs, nil
}

func newScore(dir string) score {
	full, err := filepath.Abs(dir)
	if err != nil {
		full = dir
	}
	return score{Student: filepath.Base(full), Folder: dir}
}

// add adds a lab, and its points to the sum.
func (sc *score) add(l labScore) {
	sc.Points += l.Points
	sc.Of += l.Of
	sc.Labs = append(sc.Labs, l)
}

// remembered is the score that a folder remembers.
func remembered(dir string, labs []*source.Lab, p student.Progress) score {
	sc := newScore(dir)
	for _, l := range labs {
		mine := p.Labs[l.Number]
		one := labScore{Lab: l.Number, Name: l.Name, Points: mine.Best, Of: pointsOfLab, State: "partly"}
		one.recall(mine)
		switch {
		case mine.Tries == 0:
			one.State = "untouched"
		case mine.Solved != nil:
			one.State = "solved"
		}
		sc.add(one)
	}
	return sc
}

// solved says that nothing is left to do. All points are not enough: the kernel
// may have complained, or something may be left after the steps.
func (sc *score) solved() bool {
	for _, l := range sc.Labs {
		if l.State != "solved" {
			return false
		}
	}
	return sc.Points == sc.Of
}

func (l *labScore) recall(mine student.Lab) {
	l.Tries, l.Looked = mine.Tries, mine.Looked
	for _, n := range mine.Hints {
		l.Hints += n
	}
}

// grade runs the checks of the labs in a student's folder.
func (a *app) grade(ctx context.Context, t grade.Tools, labs []*source.Lab, dir, kernel string) (score, error) {
	sc := newScore(dir)
	root := student.Root{Dir: dir}
	// Whatever is remembered does not count, so what cannot be read does not.
	p, err := root.Progress()
	if err != nil {
		fmt.Fprintf(a.err, "nllab: %v\n", err)
	}
	for _, l := range labs {
		one, err := a.gradeLab(ctx, t, l, root.Lab(l), kernel)
		if err != nil {
			return sc, err
		}
		one.recall(p.Labs[l.Number])
		sc.add(one)
	}
	return sc, nil
}

func (a *app) gradeLab(ctx context.Context, t grade.Tools, l *source.Lab, dir, kernel string) (labScore, error) {
	one := labScore{Lab: l.Number, Name: l.Name, Of: pointsOfLab}
	if _, err := os.Stat(dir); err != nil {
		one.State = "missing"
		return one, nil
	}
	if untouched, err := student.Untouched(l, dir); err == nil && untouched {
		one.State = "untouched"
		return one, nil
	}
	fmt.Fprintf(a.err, "nllab: %s …\n", dir)
	r, err := t.Run(ctx, l, dir, grade.Options{Kernel: kernel, Progress: a.err})
	var refused *grade.CompileError
	switch {
	case ctx.Err() != nil:
		return one, ctx.Err()
	case errors.As(err, &refused):
		one.State, one.Why = "does not compile", firstLine(refused.Text)
		return one, nil
	case err != nil:
		// One student's strange folder is no reason to leave the others ungraded.
		one.State, one.Why = "error", err.Error()
		return one, nil
	}
	one.Points, _ = r.Points()
	one.State = r.State()
	switch {
	case one.State == "complained":
		one.Why = "the kernel complained"
	case r.Tidy != nil && r.Tidy.State != event.Passed:
		one.Why = r.Tidy.Text
	}
	for _, s := range r.Steps {
		if s.State != "passed" {
			one.Failed = append(one.Failed, s.Name)
		}
	}
	return one, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

func (a *app) printScore(sc score) {
	fmt.Fprintf(a.out, "%s: %d of %d points\n", sc.Student, sc.Points, sc.Of)
	for _, l := range sc.Labs {
		fmt.Fprintf(a.out, "  lab %2d  %2d/%d  %s", l.Lab, l.Points, l.Of, l.State)
		if l.Hints > 0 {
			fmt.Fprintf(a.out, ", %d hints", l.Hints)
		}
		if l.Looked {
			fmt.Fprintf(a.out, ", solution seen")
		}
		if l.Why != "" {
			fmt.Fprintf(a.out, ": %s", firstLine(l.Why))
		}
		fmt.Fprintln(a.out)
	}
}
