// SPDX-License-Identifier: MIT

package grade

import (
	"fmt"
	"strings"

	"nlpeer/labs/internal/event"
)

// Mistakes are the names of the known mistakes that were recognised.
func (r *Report) Mistakes() []string {
	var names []string
	for _, s := range r.Steps {
		if s.Mistake != "" {
			names = append(names, s.Mistake)
		}
	}
	if r.Mistake != "" {
		names = append(names, r.Mistake)
	}
	return names
}

// Text is the report for the student.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Lab %d: %s\n", r.Lab.Number, r.Lab.Title)
	for _, s := range r.Steps {
		got := 0
		if s.State == event.Passed {
			got = s.Points
		}
		fmt.Fprintf(&b, "  %-9s %d/%d  TODO %d  %s\n", s.State, got, s.Points, s.TODO, s.Name)
		if s.Text != "" {
			fmt.Fprintln(&b, "      "+strings.ReplaceAll(s.Text, "\n", "\n      "))
		}
		if s.Mistake != "" {
			fmt.Fprintf(&b, "      Likely mistake (%s): %s\n", s.Mistake, r.Lab.Mistakes[s.Mistake].Help)
		}
	}
	if r.Tidy != nil && r.Tidy.Text != "" {
		fmt.Fprintln(&b, r.Tidy.Text)
	}
	fmt.Fprint(&b, r.Warnings, r.Words)
	if r.Mistake != "" {
		fmt.Fprintf(&b, "Likely mistake (%s): %s\n", r.Mistake, r.Lab.Mistakes[r.Mistake].Help)
	}
	if r.Shown != nil {
		fmt.Fprintf(&b, "$ %s\n%s", r.Shown.Command, r.Shown.Output)
	}
	points, of := r.Points()
	fmt.Fprintf(&b, "%d of %d points (%.1f s)\n", points, of, r.Took.Seconds())
	return b.String()
}
