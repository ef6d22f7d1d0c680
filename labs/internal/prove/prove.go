// SPDX-License-Identifier: MIT

// Package prove holds the labs to what they promise: the skeleton fails, each
// stage passes what belongs to its TODOs and nothing else, known mistakes are
// recognised, the solution passes.
package prove

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
)

// A Case is a variant of a lab on a kernel, and what has to become of it.
type Case struct {
	Lab     *source.Lab
	Variant source.Variant
	Kernel  string // "" for the default
}

// Name says which it is.
func (c Case) Name() string {
	name := fmt.Sprintf("lab %d, ", c.Lab.Number)
	switch {
	case c.Variant.Mistake != "":
		name += "mistake " + c.Variant.Mistake
	case c.Variant.Solved == 0:
		name += "skeleton"
	case c.Variant.Solved >= len(c.Lab.Todos):
		name += "solution"
	default:
		name += fmt.Sprintf("solved up to TODO %d", c.Variant.Solved)
	}
	if c.Kernel != "" {
		name += ", kernel " + c.Kernel
	}
	return name
}

// Stages are the cases of a lab on the default kernel: each stage from the
// skeleton to the solution, and each mistake, those last that crash it.
func Stages(l *source.Lab) []Case {
	var cases []Case
	for k := range len(l.Todos) + 1 {
		cases = append(cases, Case{Lab: l, Variant: source.Variant{Solved: k}})
	}
	for _, m := range l.MistakeNames() {
		cases = append(cases, Case{Lab: l, Variant: source.Variant{Solved: len(l.Todos), Mistake: m}})
	}
	slices.SortStableFunc(cases, func(a, b Case) int {
		switch {
		case a.crashes() == b.crashes():
			return 0
		case b.crashes():
			return -1
		}
		return 1
	})
	return cases
}

// Write writes a variant of a lab's files into a folder.
func Write(l *source.Lab, v source.Variant, dir string) error {
	files, err := l.Files(v)
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

func (c Case) lab() *source.Lab { return c.Lab }
func (c Case) On() string       { return c.Kernel }

// crashes says that the case is a mistake that the kernel itself tells of.
func (c Case) crashes() bool {
	return c.Variant.Mistake != "" && c.Lab.Mistakes[c.Variant.Mistake].Log != ""
}

// Run runs a case and says what is not as it has to be.
func (c Case) Run(ctx context.Context, t grade.Tools, progress io.Writer) error {
	dir, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := Write(c.Lab, c.Variant, dir); err != nil {
		return err
	}
	r, err := t.Run(ctx, c.Lab, dir, grade.Options{Kernel: c.Kernel, Show: true, Progress: progress})
	if err != nil {
		return err
	}
	return errors.Join(c.todos(), c.judge(r))
}

// runCases is Run of several cases, in one machine, with an error for each.
func runCases(ctx context.Context, t grade.Tools, cases []Proof, progress io.Writer) ([]error, error) {
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	var attempts []grade.Attempt
	for i, p := range cases {
		c := p.(Case)
		dir := filepath.Join(temp, strconv.Itoa(i))
		if err := Write(c.Lab, c.Variant, dir); err != nil {
			return nil, err
		}
		attempts = append(attempts, grade.Attempt{Lab: c.Lab, Dir: dir})
	}
	reports, err := t.RunMany(ctx, attempts, grade.Options{Kernel: cases[0].On(), Show: true, Progress: progress})
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(cases))
	for i, p := range cases {
		errs[i] = errors.Join(p.(Case).todos(), p.(Case).judge(reports[i]))
	}
	return errs, nil
}

// todos looks for what is left to do in the text of the files.
func (c Case) todos() error {
	files, err := c.Lab.Files(c.Variant)
	if err != nil {
		return err
	}
	for k := range c.Lab.Todos {
		words := fmt.Appendf(nil, "TODO(%d)", k+1)
		found := false
		for _, text := range files {
			found = found || bytes.Contains(text, words)
		}
		if open := k+1 > c.Variant.Solved; open != found {
			return fmt.Errorf("TODO %d is open: %v; %q is in the files: %v", k+1, open, words, found)
		}
	}
	return nil
}

// judge compares a report with what it has to be.
func (c Case) judge(r *grade.Report) error {
	if c.Variant.Mistake != "" {
		found := r.Mistakes()
		if !slices.Contains(found, c.Variant.Mistake) {
			return fmt.Errorf("the mistake is not recognised, but %q\n%s", found, r.Text())
		}
		return nil
	}
	if r.Warnings != "" {
		return fmt.Errorf("the compiler warns:\n%s", r.Warnings)
	}
	if r.Status >= 120 {
		return fmt.Errorf("status %d\n%s", r.Status, r.Text())
	}
	var wrong []string
	for _, s := range r.Steps {
		if passed := s.State == event.Passed; passed != (s.TODO <= c.Variant.Solved) {
			wrong = append(wrong, fmt.Sprintf("step %q of TODO %d: %s", s.Name, s.TODO, s.State))
		}
	}
	done := c.Variant.Solved >= len(c.Lab.Todos)
	if len(wrong) > 0 || done != r.Passed() {
		return fmt.Errorf("passed: %v, want %v; %s\n%s", r.Passed(), done, strings.Join(wrong, "; "), r.Text())
	}
	if done && c.Lab.Show != "" && (r.Shown == nil || r.Shown.Status != 0) {
		return fmt.Errorf("what the lab shows (%s) fails: %+v", c.Lab.Show, r.Shown)
	}
	return nil
}
