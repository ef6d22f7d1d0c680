// SPDX-License-Identifier: MIT

package prove

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommands(t *testing.T) {
	got := commands([]byte("# T\n```console skeleton\n$ a\nx\n$ b 1\n```\ntext\n```c\n$ no\n```\n```console\n$ c\ny\n\nz\n```\n"))
	want := []shown{
		{line: "a", output: []string{"x"}, skeleton: true},
		{line: "b 1", skeleton: true, last: true},
		{line: "c", output: []string{"y", "", "z"}, last: true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(shown{})); diff != "" {
		t.Error(diff)
	}
}

func TestMissingLine(t *testing.T) {
	const out = "begin\n  10 of 10 points, in 2.5 s.\nport 0x1f\nend\n"
	for _, c := range []struct {
		want    []string
		missing string
	}{
		{nil, ""},
		{[]string{"begin", "end"}, ""},
		{[]string{"end", "begin"}, "begin"},
		{[]string{"3 of 10  points, in 99 s."}, ""}, // numbers and blanks may be others
		{[]string{"3 of 10 points"}, "3 of 10 points"},
		{[]string{"…", "port  0x2a", ""}, ""},
		{[]string{"begin", "begin"}, "begin"},
		{[]string{"points"}, "points"},
	} {
		got := missingLine(c.want, out)
		if got != c.missing {
			t.Errorf("%q: missing %q, want %q", c.want, got, c.missing)
		}
	}
}
