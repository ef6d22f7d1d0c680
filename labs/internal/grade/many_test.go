// SPDX-License-Identifier: MIT

package grade

import (
	"bytes"
	"fmt"
	"testing"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/source"
)

// checked is what a check of one step prints, and how it ended.
func checked(t *testing.T, state string, status int) string {
	t.Helper()
	var b bytes.Buffer
	for _, e := range []event.Event{
		{Plan: []event.Step{{Name: "works", TODO: 1, Points: 10}}},
		{Begin: new(int)},
		{Result: &event.Result{State: state}},
		{End: true},
	} {
		if err := event.Write(&b, e); err != nil {
			t.Fatal(err)
		}
	}
	// The program may have left a line open.
	fmt.Fprintf(&b, "PASS\nnoise\n\x1eended %d\n", status)
	return b.String()
}

// Each of several checks has its own steps and its own status.
func TestReadMany(t *testing.T) {
	lab := &source.Lab{Number: 3, Todos: make([]source.Todo, 1)}
	reports := []*Report{{Lab: lab}, {Lab: lab}}
	out := checked(t, event.Failed, 1) + checked(t, event.Passed, 0)
	if err := readMany(out, reports); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		if r := reports[i]; r.Passed() != want || len(r.Steps) != 1 || (r.Status == 0) != want {
			t.Errorf("report %d: passed %v, status %d, %d steps; want passed %v", i, r.Passed(), r.Status, len(r.Steps), want)
		}
	}
	// One that the machine did not get to, or not to the end of, is no verdict.
	for _, out := range []string{
		checked(t, event.Passed, 0),
		checked(t, event.Passed, 0) + "\x1eended",
		checked(t, event.Passed, 0) + "panic: no plan\n\x1eended 2\n",
	} {
		if err := readMany(out, []*Report{{Lab: lab}, {Lab: lab}}); err == nil {
			t.Errorf("no error of %q", out)
		}
	}
}
