// SPDX-License-Identifier: MIT

package check

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"nlpeer/labs/internal/event"
)

// A Step is one thing that is checked.
type Step struct {
	// TODO is the number of the one that the step belongs to: it passes when
	// all up to that one are solved, and fails before.
	TODO int
	// Points are what it is worth; those of a lab make 10.
	Points int
	// Name says what is so when the step passes.
	Name string
	// Needs are names of steps before it. It is not tried if one of them has
	// not passed.
	Needs []string
	// Do does it.
	Do func(t *T)
}

// Main runs a check that nllab has asked for. By hand there is nothing to run
// it on, so it says how to, and is done.
func Main(m *testing.M) {
	if os.Getenv(event.WantVar) == "" {
		fmt.Fprintln(os.Stderr, "skipped: checks of labs are run by nllab; try: nllab run N")
		os.Exit(0)
	}
	status := m.Run()
	emit(event.Event{End: true})
	os.Exit(status)
}

func emit(e event.Event) {
	if err := event.Write(os.Stdout, e); err != nil {
		panic(err)
	}
}

// Lab runs the steps of a lab, in order. When all have passed, it unloads the
// module, loads and unloads it twice more, and looks for what it may have left.
func Lab(t *testing.T, steps ...Step) {
	if os.Getenv(event.WantVar) != event.Check {
		return
	}
	var plan []event.Step
	for _, s := range steps {
		plan = append(plan, event.Step{Name: s.Name, TODO: s.TODO, Points: s.Points})
	}
	if wrong := wrongSteps(steps); wrong != "" {
		t.Fatal(wrong)
	}
	emit(event.Event{Plan: plan})
	passed := map[string]bool{}
	for i, s := range steps {
		missing := slices.IndexFunc(s.Needs, func(name string) bool { return !passed[name] })
		if missing >= 0 {
			emit(event.Event{Result: &event.Result{Step: i, State: event.NotTried, Text: fmt.Sprintf("needs %q", s.Needs[missing])}})
			continue
		}
		emit(event.Event{Begin: &i})
		r := try(t, s.Name, s.Do)
		r.Step = i
		emit(event.Event{Result: &r})
		passed[s.Name] = r.State == event.Passed
	}
	if len(passed) != len(steps) || slices.ContainsFunc(steps, func(s Step) bool { return !passed[s.Name] }) {
		return
	}
	if r := try(t, "tidy", tidy); r.State != event.Passed {
		emit(event.Event{Tidy: &r})
		return
	}
	if command := os.Getenv(event.ShowVar); command != "" {
		show(t, command)
	}
}

// wrongSteps says what is wrong with the steps themselves.
func wrongSteps(steps []Step) string {
	points, names := 0, map[string]bool{}
	for _, s := range steps {
		points += s.Points
		if names[s.Name] {
			return fmt.Sprintf("two steps are called %q", s.Name)
		}
		for _, n := range s.Needs {
			if !names[n] {
				return fmt.Sprintf("step %q needs %q, which is none before it", s.Name, n)
			}
		}
		names[s.Name] = true
	}
	if points != 10 {
		return fmt.Sprintf("the points of the steps make %d, want 10", points)
	}
	return ""
}

// try runs one step as a subtest.
func try(t *testing.T, name string, do func(*T)) event.Result {
	r := event.Result{State: event.Passed}
	t.Run(name, func(sub *testing.T) {
		step := &T{T: sub, protocol: -1, log: openKernelLog()}
		// Registered first, so run last: what is cleaned up may fail, too.
		sub.Cleanup(func() {
			if sub.Failed() {
				r.State = event.Failed
			}
			r.Text, r.Mistake, r.Hung = step.text(), step.mistake, step.hung
			step.log.close()
		})
		do(step)
	})
	return r
}

// A Datagram is one of a lab's picture.
type Datagram struct {
	// Title says who sends it to whom, such as "the answer: kernel (port 0) to
	// port 4711".
	Title string
	// Sent says that it goes from the program to the kernel.
	Sent bool
	// Protocol is the netlink protocol.
	Protocol int
	// Data are its bytes.
	Data []byte
}

// Picture does the exchange that a lab is about, with a payload and ports that
// are always the same, and hands over what crossed the socket. It is called from
// a test of its own:
//
//	func TestPicture(t *testing.T) { check.Picture(t, exchange) }
func Picture(t *testing.T, exchange func(t *T) []Datagram) {
	if os.Getenv(event.WantVar) != event.Picture {
		return
	}
	var d event.Drawing
	r := try(t, "picture", func(t *T) {
		for _, x := range exchange(t) {
			d.Datagrams = append(d.Datagrams, event.Datagram(x))
		}
	})
	emit(event.Event{Tidy: &r, Picture: &d})
}
