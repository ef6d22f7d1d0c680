// SPDX-License-Identifier: MIT

package matrix

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table is the results of one run.
type Table struct {
	Date    string   `json:"date"`    // of the run, as in 2026-11-30
	Kernels []string `json:"kernels"` // in their order
	Results []Result `json:"results"`
}

// OK says whether nothing is wrong.
func (t Table) OK() bool {
	return !slices.ContainsFunc(t.Results, func(r Result) bool { return !r.OK() })
}

// Markdown is the table for people, and what there is to say about its cells.
// It holds no times but the day, so it changes only with what it says.
func (t Table) Markdown() string {
	type cell struct{ suite, kernel string }
	cells := make(map[cell]Result)
	versions := make(map[string]string)
	suites := make(map[string]bool)
	for _, r := range t.Results {
		cells[cell{r.Suite, r.Kernel}] = r
		versions[r.Kernel] = r.Version
		suites[r.Suite] = true
	}

	var b strings.Builder
	row := func(first string, rest func(kernel string) string) {
		b.WriteString("| " + first)
		for _, k := range t.Kernels {
			b.WriteString(" | " + rest(k))
		}
		b.WriteString(" |\n")
	}
	row("suite", func(k string) string { return k })
	row("---", func(string) string { return "---" })
	for _, s := range slices.Sorted(maps.Keys(suites)) {
		row("`"+s+"`", func(k string) string {
			r, ok := cells[cell{s, k}]
			return r.short(ok)
		})
	}
	row("all", func(k string) string {
		var sum Result
		for _, r := range t.Results {
			if r.Kernel == k {
				sum.Passed += r.Passed
				sum.Failed = append(sum.Failed, r.Failed...)
				sum.Skipped = append(sum.Skipped, r.Skipped...)
			}
		}
		return sum.short(true)
	})
	fmt.Fprintf(&b, "\nThis was on %s. The kernels: ", t.Date)
	for i, k := range t.Kernels {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(k + " is " + versions[k])
	}
	b.WriteString(".\n")

	t.counted(&b, row)
	t.skipped(&b)
	t.failed(&b)
	return b.String()
}

// short is a cell: how many tests passed, and what else there is.
func (r Result) short(ran bool) string {
	if !ran {
		return "-"
	}
	s := fmt.Sprint(r.Passed)
	if n := len(r.Skipped); n > 0 {
		s += fmt.Sprintf(", %d skipped", n)
	}
	if n := len(r.Failed); n > 0 {
		s += fmt.Sprintf(", **%d failed**", n)
	}
	return s
}

// counted writes how often the suites did what they are there for.
func (t Table) counted(b *strings.Builder, row func(first string, rest func(kernel string) string)) {
	counts := make(map[string]map[string]int) // by suite and name, by kernel
	for _, r := range t.Results {
		for what, n := range r.Counts {
			what = "`" + r.Suite + "`: " + what
			if counts[what] == nil {
				counts[what] = make(map[string]int)
			}
			counts[what][r.Kernel] = n
		}
	}
	if len(counts) == 0 {
		return
	}
	b.WriteByte('\n')
	row("counted", func(k string) string { return k })
	row("---", func(string) string { return "---" })
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		row(what, func(k string) string {
			if n, ok := counts[what][k]; ok {
				return fmt.Sprint(n)
			}
			return "-"
		})
	}
}

// skipped writes what kernels lack, each with the kernels and the tests.
func (t Table) skipped(b *strings.Builder) {
	type lack struct{ kernels, tests []string }
	features := make(map[string]*lack)
	add := func(to *[]string, s string) {
		if !slices.Contains(*to, s) {
			*to = append(*to, s)
		}
	}
	for _, k := range t.Kernels {
		for _, r := range t.Results {
			for _, o := range r.Skipped {
				if r.Kernel != k {
					continue
				}
				_, feature, _ := strings.Cut(o.Reason, explained)
				if features[feature] == nil {
					features[feature] = new(lack)
				}
				add(&features[feature].kernels, k)
				add(&features[feature].tests, "`"+r.Suite+" "+o.Test+"`")
			}
		}
	}
	if len(features) == 0 {
		return
	}
	b.WriteString("\nSkipped, because the kernel lacks what they are about:\n\n")
	for _, f := range slices.Sorted(maps.Keys(features)) {
		fmt.Fprintf(b, "- %s (not in %s): %s\n", f, strings.Join(features[f].kernels, ", "), strings.Join(features[f].tests, ", "))
	}
}

// failed writes what went wrong, kernel by kernel.
func (t Table) failed(b *strings.Builder) {
	first := true
	for _, k := range t.Kernels {
		for _, r := range t.Results {
			if r.Kernel != k {
				continue
			}
			for _, o := range r.Failed {
				if first {
					b.WriteString("\nFailed:\n\n")
					first = false
				}
				name := r.Suite
				if o.Test != "" {
					name += " " + o.Test
				}
				// Ahead of what went wrong a test may tell what it saw.
				reason := o.Reason[strings.LastIndexByte(o.Reason, '\n')+1:]
				if reason != o.Reason {
					reason = "… " + reason
				}
				fmt.Fprintf(b, "- %s, `%s`: %s\n", k, name, strings.ReplaceAll(reason, "|", "¦"))
			}
		}
	}
}

// The lines between which Replace writes.
const (
	begin = "<!-- matrix: written by make test-matrix ALL=1 -->\n"
	end   = "<!-- end of matrix -->\n"
)

// Replace puts the table into the marked place of a document.
func (t Table) Replace(document []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(document, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("it has not the lines %q and %q", begin, end)
	}
	return slices.Concat(before, []byte(begin+"\n"+t.Markdown()+"\n"+end), after), nil
}
