// SPDX-License-Identifier: MIT

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                          nil,
		"  --cold\t--smp 2\n":       {"--cold", "--smp", "2"},
		`--append 'a b' --env "X="`: {"--append", "a b", "--env", "X="},
		`--env=A='it is' ''`:        {"--env=A=it is", ""},
		`"a 'b' c"`:                 {"a 'b' c"},
	} {
		got, err := splitWords(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
		joined, err := joinWords(want)
		if err != nil {
			t.Errorf("%q: %v", want, err)
		}
		if back, err := splitWords(joined); err != nil || !cmp.Equal(want, back) {
			t.Errorf("%q was joined to %q, which is %q, %v", want, joined, back, err)
		}
	}
	if got, err := splitWords("a 'b"); err == nil {
		t.Errorf("an open quote: %q", got)
	}
	if got, err := joinWords([]string{`'"`}); err == nil {
		t.Errorf("both quotes: %q", got)
	}
}
