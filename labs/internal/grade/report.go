// SPDX-License-Identifier: MIT

package grade

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/source"
)

// A Report says how a check went.
type Report struct {
	Lab    *source.Lab
	Kernel string // "" for a lab without
	Steps  []Step
	// Tidy is what failed after the steps, nil if nothing did.
	Tidy  *event.Result
	Shown *event.Shown
	// Status is 0 or 1 as the steps passed or not, or 120 to 123 as nlvm's.
	Status int
	// Mistake is a known one that the kernel's words tell of.
	Mistake  string
	Words    string // nlvm's and, after a crash, the kernel's
	Warnings string // the compilers'
	Doing    string // the last that was begun
	Took     time.Duration

	limit   time.Duration
	modules map[string]string // see readCrash
	planned bool
	ended   bool
	noise   strings.Builder // output that is no event
	drawing *event.Drawing
}

// A Step is one of the check's, and how it went.
type Step struct {
	event.Step
	event.Result
	begun bool
}

// Crashed is the state of the step in which the machine was lost.
const Crashed = "crashed"

// read takes the check's output apart.
func (r *Report) read(out string) {
	for line := range strings.Lines(out) {
		e, ok := event.Parse(strings.TrimSuffix(line, "\n"))
		switch {
		case !ok:
			r.noise.WriteString(line)
		case e.Plan != nil:
			r.planned = true
			for _, s := range e.Plan {
				r.Steps = append(r.Steps, Step{Step: s, Result: event.Result{State: event.NotTried}})
			}
		case e.Begin != nil && *e.Begin < len(r.Steps):
			r.Steps[*e.Begin].begun = true
		case e.Doing != nil:
			r.Doing = *e.Doing
		case e.Result != nil && e.Result.Step < len(r.Steps):
			r.Steps[e.Result.Step].Result = *e.Result
			r.Steps[e.Result.Step].begun = false
		case e.End:
			r.ended = true
		case e.Shown != nil:
			r.Shown = e.Shown
		}
		if e.Tidy != nil {
			r.Tidy = e.Tidy
		}
		if e.Picture != nil {
			r.drawing = e.Picture
		}
	}
}

// loops are the kernel's words for a processor that does not come back.
var loops = regexp.MustCompile(`soft lockup - CPU|hard LOCKUP|rcu: INFO: \w+ (self-)?detected|blocked for more than`)

// conclude makes of the status and the steps one verdict.
func (r *Report) conclude() error {
	if r.Status == statusPanic && loops.MatchString(r.Words) {
		// The kernel has noticed it before the time ran out.
		r.Status = statusTimeout
	}
	switch r.Status {
	case statusLost, statusPanic, statusTimeout, statusComplaint:
		r.Mistake = r.recognise()
		for i := range r.Steps {
			if r.Steps[i].begun {
				r.Steps[i].State = Crashed
			}
		}
		return nil
	}
	if !r.ended || r.Status > 1 {
		return fmt.Errorf("the check of lab %d itself failed, with status %d; it printed:\n%s%s", r.Lab.Number, r.Status, r.noise.String(), r.Words)
	}
	if r.Lab.Graded() && !r.planned && r.drawing == nil {
		return errors.New("the check has no steps; it printed:\n" + r.noise.String())
	}
	for _, s := range r.Steps {
		if s.Hung != "" {
			r.Status = statusTimeout
			return nil
		}
	}
	return nil
}

// Points are those of the steps that passed, of all.
func (r *Report) Points() (points, of int) {
	for _, s := range r.Steps {
		of += s.Points
		if s.State == event.Passed {
			points += s.Points
		}
	}
	return points, of
}

// Passed says that there is nothing left to do.
func (r *Report) Passed() bool {
	points, of := r.Points()
	return r.Status == 0 && points == of && (r.Tidy == nil || r.Tidy.State == event.Passed)
}

// State is the report in a word.
func (r *Report) State() string {
	switch r.Status {
	case statusLost:
		return "lost"
	case statusPanic:
		return "crashed"
	case statusTimeout:
		return "hung"
	case statusComplaint:
		return "complained"
	}
	if r.Passed() {
		return "solved"
	}
	return "partly"
}
