// SPDX-License-Identifier: MIT

package prove

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/labs/internal/source"
)

// What shares a machine is of one kernel, and nothing that crashes it is among it.
func TestTogether(t *testing.T) {
	lab := func(n int, kind string, kmod ...string) *source.Lab {
		l := &source.Lab{Number: n, Kind: kind, Image: "busybox", Kmod: kmod}
		l.Todos = make([]source.Todo, 1)
		l.Mistakes = map[string]source.Mistake{"crash": {Log: "BUG"}, "other": {}}
		return l
	}
	one, two, dummy, host := lab(1, "vm"), lab(2, "vm"), lab(3, "vm", "dummy"), lab(4, source.Host)
	done := source.Variant{Solved: 1}
	proofs := []Proof{
		Case{Lab: host, Variant: done},
		Case{Lab: host},
		Case{Lab: one},
		Case{Lab: one, Variant: done},
		Case{Lab: one, Variant: source.Variant{Solved: 1, Mistake: "crash"}},
		Case{Lab: one, Variant: source.Variant{Solved: 1, Mistake: "other"}},
		recording{one},
		Case{Lab: one, Variant: done, Kernel: "7.3"},
		Case{Lab: two, Variant: done, Kernel: "7.3"},
		Case{Lab: dummy, Variant: done, Kernel: "7.3"},
		Case{Lab: dummy, Variant: done, Kernel: "5.10"},
	}
	want := [][]string{
		{"lab 4, solution"},
		{"lab 4, skeleton"},
		{"lab 1, skeleton", "lab 1, solution"},
		{"lab 1, mistake crash"},
		{"lab 1, mistake other"},
		{"lab 1, picture and trace"},
		{"lab 1, solution, kernel 7.3", "lab 2, solution, kernel 7.3"},
		{"lab 3, solution, kernel 7.3"},
		{"lab 3, solution, kernel 5.10"},
	}
	var got [][]string
	for _, job := range together(proofs) {
		var names []string
		for _, p := range job {
			names = append(names, p.Name())
		}
		got = append(got, names)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(strings.ReplaceAll(diff, "\u00a0", " "))
	}
}
