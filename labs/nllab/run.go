// SPDX-License-Identifier: MIT

package nllab

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// runFlags are those of commands that run something of a student's.
type runFlags struct {
	kernel string
	folder string
	limit  time.Duration
}

func (f *runFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kernel, "kernel", "", "kernel `NAME`, see nlvm kernels (default: that of this machine's Debian release)")
	cmd.Flags().StringVar(&f.folder, "folder", "", "take the lab's files from `DIR`, and remember nothing")
	cmd.Flags().DurationVar(&f.limit, "timeout", 0, "limit of `TIME` for what is run, such as 20s (default 40s, times NLVM_SLOW)")
	_ = cmd.MarkFlagDirname("folder")
}

func options(a *app, f runFlags) grade.Options {
	return grade.Options{Kernel: f.kernel, Show: true, Progress: a.err, Limit: f.limit}
}

func (a *app) run() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] N",
		Short: "build and check a lab",
		Long: `Run builds what is in the folder of lab N, checks it, and says which points it gets.
A lab with a kernel module is checked in a virtual machine. The first run downloads
and boots one, which takes a minute; then a verdict takes some seconds.

When all is passed, the lab shows what it was about.`,
		Example:           "  nllab run 3\n  nllab run --kernel 5.10 3",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.session(f.folder == "")
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			return a.check(cmd.Context(), s, l, f)
		},
	}
	f.register(cmd)
	return cmd
}

// check runs a lab once, and remembers how it went.
func (a *app) check(ctx context.Context, s *session, l *source.Lab, f runFlags) error {
	if !l.Graded() {
		return a.tour(ctx, s, l, f)
	}
	o := options(a, f)
	if f.folder != "" {
		r, err := s.tools.Run(ctx, l, f.folder, o)
		if err != nil {
			return err
		}
		return a.report(s, r, f.folder, false)
	}
	folder, err := s.folder(l)
	if err != nil {
		return err
	}
	unlock, err := s.root.Lock(fmt.Sprintf("run %d", l.Number))
	if err != nil {
		return err
	}
	defer unlock()
	r, err := s.tools.Run(ctx, l, folder, o)
	if err != nil {
		return err
	}
	// The verdict is told even if it cannot be remembered.
	return errors.Join(a.report(s, r, folder, true), s.root.Update(func(p *student.Progress) { remember(p, r) }))
}

// tour runs a lab in which nothing is to be done.
func (a *app) tour(ctx context.Context, s *session, l *source.Lab, f runFlags) error {
	folder, own := f.folder, f.folder == ""
	if own {
		var err error
		if folder, err = s.folder(l); err != nil {
			return err
		}
		unlock, err := s.root.Lock(fmt.Sprintf("run %d", l.Number))
		if err != nil {
			return err
		}
		defer unlock()
	}
	if err := s.tools.Tour(ctx, l, folder, options(a, f), a.out); err != nil {
		return err
	}
	if !own {
		return nil
	}
	a.after(s, l)
	return s.root.Update(func(p *student.Progress) {
		mine := p.Labs[l.Number]
		mine.Tries++
		p.Labs[l.Number] = mine
	})
}

// remember adds a run to what is known.
func remember(p *student.Progress, r *grade.Report) {
	mine := p.Labs[r.Lab.Number]
	mine.Tries++
	mine.Points, mine.Of = r.Points()
	mine.Best = max(mine.Best, mine.Points)
	mine.Next = r.Next()
	if r.Passed() && mine.Solved == nil {
		now := time.Now().Truncate(time.Second)
		mine.Solved = &now
	}
	p.Labs[r.Lab.Number] = mine
}

// report prints how a run went and what to do next. Its error is the status.
func (a *app) report(s *session, r *grade.Report, folder string, own bool) error {
	fmt.Fprint(a.out, r.Text())
	points, of := r.Points()
	fmt.Fprintf(a.out, "\n%d of %d points, in %.1f s.", points, of, r.Took.Seconds())
	if next := r.Next(); next > 0 {
		fmt.Fprintf(a.out, " Next: TODO %d, %s", next, r.Lab.Todos[next-1].Title)
		if place := student.Place(r.Lab, folder, next); place != "" {
			fmt.Fprintf(a.out, " (%s)", place)
		}
		fmt.Fprintf(a.out, ".\n")
		if own {
			fmt.Fprintf(a.out, "A hint: nllab hint %d\n", r.Lab.Number)
		}
	} else if r.Passed() {
		fmt.Fprintf(a.out, " All of it!\n")
		if own {
			a.after(s, r.Lab)
		}
	} else {
		fmt.Fprintln(a.out)
	}
	switch {
	case r.Status >= 120:
		return status(r.Status)
	case !r.Passed():
		return status(exitPoints)
	}
	return nil
}

// after says what there is to do after a lab.
func (a *app) after(s *session, l *source.Lab) {
	if l.Graded() {
		fmt.Fprintf(a.out, "To compare: nllab solution %d. Its bytes: nllab picture %d.", l.Number, l.Number)
		if l.Trace.Command != "" {
			fmt.Fprintf(a.out, " Its way through the kernel: nllab trace %d.", l.Number)
		}
		fmt.Fprintln(a.out)
	}
	for _, next := range s.labs {
		if next.Number > l.Number {
			fmt.Fprintf(a.out, "Next is lab %d: %s (%s).\n", next.Number, next.Title, shorten(s.root.Lab(next)+"/README.md"))
			return
		}
	}
}
