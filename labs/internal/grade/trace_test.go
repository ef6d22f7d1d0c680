// SPDX-License-Identifier: MIT

package grade

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCalls(t *testing.T) {
	got := calls(`13.999494  2770.912 us  netlink_sendmsg
13.999724   266.616 us    rtnl_calcit.isra.0
14.000752    unfinished    echo_input [echo]
some other line
`)
	if diff := cmp.Diff("netlink_sendmsg\n  rtnl_calcit\n  echo_input [echo]\n", got); diff != "" {
		t.Error(diff)
	}
}

func TestMissing(t *testing.T) {
	const fresh = "a\n  b\n    c\n  d\na\n  d\n"
	for recorded, want := range map[string]string{
		"":                   "",
		"a\n  b\n    c\n":    "",
		"a\n  d\na\n  d\n":   "",
		"a\n  d\n  b\n":      "a > b",     // the order
		"a\n  c\n":           "a > c",     // another caller
		"a\n  b\n    c\ne\n": "e",         // not at all
		"b\n":                "b",         // not as the first
		"a\na\na\n":          "a",         // not so often
		"a\n  b\n    d\n":    "a > b > d", // under another one
	} {
		if got := Missing(recorded, fresh); got != want {
			t.Errorf("%q: missing %q, want %q", recorded, got, want)
		}
	}
}

func TestInFolder(t *testing.T) {
	got := inFolder("/nowhere", "# command-line-arguments\n./main.go:3:5: undefined: x\nnote: y\n")
	if diff := cmp.Diff("./main.go:3:5: undefined: x\nnote: y\n", got); diff != "" {
		t.Errorf("of a file that is not there: %s", diff)
	}
	got = inFolder("../../src/03-echo/user", "./main.go:3:5: undefined: x\n")
	if diff := cmp.Diff("../../src/03-echo/user/main.go:3:5: undefined: x\n", got); diff != "" {
		t.Error(diff)
	}
	got = errorsFirst("a.c: In function 'f':\na.c:1: warning: w\n   code\na.c:2: error: e\n   code 2\n")
	if diff := cmp.Diff("a.c:2: error: e\n   code 2\na.c: In function 'f':\na.c:1: warning: w\n   code\n", got); diff != "" {
		t.Error(diff)
	}
}
