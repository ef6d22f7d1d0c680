// SPDX-License-Identifier: MIT

package trace_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nlpeer/vm-test/suites/vmtest"
)

// A call is an object of nlctl's JSON, and what comes below it.
type call struct {
	Type     string
	Tree     int
	Depth    int
	Task     string
	PID      int
	Context  string
	Function string
	Module   string
	Time     int64  `json:"time_ns"`
	Duration *int64 `json:"duration_ns"`
	Cut      bool

	// The summary's.
	Trees, Calls, Lost, Status int

	below []*call
}

// trace runs nlctl trace with flags and a command, and returns the roots and
// the summary. It checks what is so of every trace.
func trace(t *testing.T, flags string, args ...string) (roots []*call, sum call, got result) {
	t.Helper()
	same := settings(t)
	file := filepath.Join(t.TempDir(), "trace")
	got = run(t, "", slices.Concat(strings.Fields("nlctl trace -o json --to "+file+" "+flags), []string{"--"}, args)...)
	same()
	roots, sum = read(t, file)
	if sum.Status != got.code {
		t.Errorf("status %d in the summary, exit status %d", sum.Status, got.code)
	}
	return roots, sum, got
}

// read makes trees of nlctl's JSON.
func read(t *testing.T, file string) (roots []*call, sum call) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var path []*call // to the last call
	calls := 0
	for line := range strings.Lines(string(b)) {
		if sum.Type != "" {
			t.Fatalf("%q after the summary", line)
		}
		c := &call{}
		if err := json.Unmarshal([]byte(line), c); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		if c.Type == "summary" {
			sum = *c
			continue
		}
		calls++
		if c.Type != "call" || c.Depth > len(path) || c.Time <= 0 || c.Task == "" {
			t.Fatalf("%s", line)
		}
		if c.Duration != nil && *c.Duration <= 0 {
			t.Errorf("no duration: %s", line)
		}
		path = append(path[:c.Depth], c)
		if c.Depth == 0 {
			roots = append(roots, c)
		} else {
			caller := path[c.Depth-1]
			caller.below = append(caller.below, c)
			if c.Time < caller.Time || c.Tree != caller.Tree || c.PID != caller.PID || c.Context != caller.Context {
				t.Errorf("%+v calls %+v", *caller, *c)
			}
			if c.systemCall() && slices.ContainsFunc(path[:c.Depth], (*call).systemCall) {
				t.Errorf("%+v in another system call: %+v", *c, *path[0])
			}
		}
		if c.Tree != len(roots) {
			t.Errorf("tree %d of %d", c.Tree, len(roots))
		}
	}
	if sum.Type == "" || sum.Trees != len(roots) || sum.Calls != calls {
		t.Errorf("%d trees and %d calls, and the summary is %+v", len(roots), calls, sum)
	}
	return roots, sum
}

// systemCall says that a function is what a socket's system call comes to, which
// never calls another of them.
func (c *call) systemCall() bool {
	return slices.Contains([]string{"netlink_sendmsg", "netlink_recvmsg", "netlink_release"}, c.Function)
}

// name is how a function is named in a chain: without what the compiler adds.
func (c *call) name() string {
	name, _, _ := strings.Cut(c.Function, ".")
	if c.Module != "" {
		name += " [" + c.Module + "]"
	}
	return name
}

// find looks for a chain in trees: each function has been called by the one
// before, at once or by others in between that came to an end. "a|b" is for kernels
// that differ.
func find(roots []*call, chain ...string) []*call {
	if len(chain) == 0 {
		return []*call{}
	}
	for _, c := range roots {
		rest := chain
		if slices.Contains(strings.Split(chain[0], "|"), c.name()) && c.Duration != nil {
			rest = chain[1:]
		}
		if len(rest) < len(chain) {
			if found := find(c.below, rest...); found != nil {
				return append([]*call{c}, found...)
			}
		}
		if found := find(c.below, chain...); found != nil {
			return found
		}
	}
	return nil
}

// expect fails the test if a chain is not in the trees, and returns its calls.
func expect(t *testing.T, roots []*call, chain ...string) []*call {
	t.Helper()
	if !vmtest.Has(vmtest.QueueTraced) {
		chain = slices.DeleteFunc(slices.Clone(chain), func(name string) bool { return name == queue })
	}
	found := find(roots, chain...)
	if found == nil {
		t.Fatalf("no %s in:\n%s", strings.Join(chain, " > "), show(roots, ""))
	}
	return found
}

func show(roots []*call, indent string) string {
	var b strings.Builder
	for _, c := range roots {
		b.WriteString(indent + c.name())
		if indent == "" {
			b.WriteString(" (" + c.Context + " of " + c.Task + ")")
		}
		b.WriteString("\n" + show(c.below, indent+"  "))
	}
	return b.String()
}
