// SPDX-License-Identifier: MIT

package grade

import (
	"fmt"
	"path/filepath"
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

// Next is the number of the TODO of the first step that has not passed, 0 if
// all have.
func (r *Report) Next() int {
	for _, s := range r.Steps {
		if s.State != event.Passed {
			return s.TODO
		}
	}
	return 0
}

// under is where what is said of a step stands: below its name.
const under = "               "

// Text is the report for the student, without the points.
func (r *Report) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Lab %d: %s", r.Lab.Number, r.Lab.Title)
	if r.Kernel != "" {
		fmt.Fprintf(&b, " (kernel %s)", r.Kernel)
	}
	b.WriteString("\n\n")
	if r.Warnings != "" {
		fmt.Fprintf(&b, "The compiler warns:\n%s\n", block("  ", r.Warnings))
	}
	for _, s := range r.Steps {
		r.step(&b, s)
	}
	if r.Tidy != nil && r.Tidy.State != event.Passed {
		fmt.Fprintf(&b, "  failed       after the steps\n%s", block(under, r.Tidy.Text))
	}
	r.machine(&b)
	if r.Mistake != "" {
		fmt.Fprintf(&b, "\nLikely mistake: %s\n", fold(r.Lab.Mistakes[r.Mistake].Help, "", len("Likely mistake: ")))
	}
	if r.Shown != nil {
		fmt.Fprintf(&b, "\n$ %s\n%s", r.Shown.Command, r.Shown.Output)
	}
	return b.String()
}

func (r *Report) step(b *strings.Builder, s Step) {
	got, state, name := 0, s.State, s.Name
	switch s.State {
	case event.Passed:
		got, state = s.Points, "ok"
	case event.NotTried:
		state = "-"
	default:
		name = fmt.Sprintf("TODO %d: %s", s.TODO, name)
	}
	fmt.Fprintf(b, "  %-8s %d/%d  %s\n", state, got, s.Points, name)
	if s.Text != "" {
		text := s.Text
		if s.State == event.NotTried {
			text = "not tried: " + text
		}
		b.WriteString(block(under, text))
	}
	if s.Mistake != "" {
		fmt.Fprintf(b, "%sLikely mistake: %s\n", under, fold(r.Lab.Mistakes[s.Mistake].Help, under, len(under+"Likely mistake: ")))
	}
}

// machine says what became of the machine, if that is not what should.
func (r *Report) machine(b *strings.Builder) {
	at := ""
	for _, s := range r.Steps {
		if s.State == Crashed {
			at = fmt.Sprintf(", in the step %q", s.Name)
		}
	}
	if r.Doing != "" && at != "" {
		at += " (last heard of: " + r.Doing + ")"
	}
	crash := readCrash(r.Words, r.modules)
	switch r.Status {
	case statusPanic:
		fmt.Fprintf(b, "\nThe kernel crashed%s:\n", at)
	case statusComplaint:
		fmt.Fprintf(b, "\nThe kernel complained%s:\n", at)
	case statusTimeout:
		if crash != nil {
			fmt.Fprintf(b, "\nThe kernel did not come back%s:\n", at)
		} else {
			r.timeout(b, at)
		}
	case statusLost:
		fmt.Fprintf(b, "\nThe virtual machine was lost%s:\n%s", at, block("  ", r.Words))
	default:
		return
	}
	if crash != nil {
		b.WriteString(crash.text())
	} else if r.Status == statusComplaint {
		b.WriteString(block("  ", r.Words))
	}
	switch r.Status {
	case statusPanic:
		b.WriteString("It was the kernel of the virtual machine. The next run begins with a fresh one.\n")
	case statusLost:
		b.WriteString("Run it again.\n")
	}
}

// timeout says what hangs.
func (r *Report) timeout(b *strings.Builder, at string) {
	for _, s := range r.Steps {
		if s.Hung != "" {
			fmt.Fprintf(b, "\nThe program %q did not end, and was ended.\n", s.Hung)
			return
		}
	}
	fmt.Fprintf(b, "\nThe time of %v ran out%s.\n", r.limit, at)
	// Nlvm asks the guest what hangs. A kernel that hangs does not answer.
	var said []string
	for line := range strings.Lines(r.Words) {
		line = strings.TrimPrefix(strings.TrimRight(line, "\n"), "nlvm: ")
		if strings.HasPrefix(line, "process ") || strings.HasPrefix(line, "    ") {
			said = append(said, line)
		}
	}
	if len(said) > 0 {
		b.WriteString(block("  ", strings.Join(said, "\n")))
	} else if r.Kernel != "" {
		b.WriteString("The kernel itself did not answer any more: it is busy in a loop, or waits with interrupts off.\n")
	}
}

// block indents a text.
func block(indent, text string) string {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(text + "\n") {
		if strings.TrimSpace(line) != "" {
			b.WriteString(indent)
		}
		b.WriteString(line)
	}
	return b.String()
}

// fold breaks a text into lines; those behind the first are indented. before is
// how much stands before it in the first.
func fold(text, indent string, before int) string {
	const width = 96
	var b strings.Builder
	column := before
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len([]rune(word))
	}
	return b.String()
}

// debugFiles are the student's modules with what a debugger needs, by name.
func debugFiles(p built) map[string]string {
	files := map[string]string{}
	for name, file := range p.files {
		if filepath.Ext(name) == ".ko" {
			module := strings.TrimSuffix(filepath.Base(name), ".ko")
			files[strings.ReplaceAll(module, "-", "_")] = strings.TrimSuffix(file, ".ko") + ".debug"
		}
	}
	return files
}
