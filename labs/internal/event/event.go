// SPDX-License-Identifier: MIT

// Package event is what a lab's check, which may run in a virtual machine, tells
// nllab on its standard output: lines that begin with a mark, each one event.
package event

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Mark begins the line of an event.
const Mark = "\x1enllab "

// Names of environment variables by which nllab tells a check what it wants.
const (
	// WantVar is Check, Picture or, if it is not set, nothing: whoever runs the
	// check by hand learns how.
	WantVar = "NLLAB_WANT"
	// ShowVar is a command to be run when all has passed.
	ShowVar = "NLLAB_SHOW"

	Check   = "check"
	Picture = "picture"
)

// The states of a step.
const (
	Passed   = "passed"
	Failed   = "failed"
	NotTried = "not tried"
)

// An Event is one of its fields.
type Event struct {
	Plan    []Step   `json:"plan,omitempty"`  // the first
	Begin   *int     `json:"begin,omitempty"` // a step, by its place in the plan
	Doing   *string  `json:"doing,omitempty"` // what may not come back
	Result  *Result  `json:"result,omitempty"`
	Tidy    *Result  `json:"tidy,omitempty"` // of what is looked at after the steps
	Shown   *Shown   `json:"shown,omitempty"`
	Picture *Drawing `json:"picture,omitempty"`
	End     bool     `json:"end,omitempty"` // the last
}

// A Step is what is checked.
type Step struct {
	Name   string `json:"name"`
	TODO   int    `json:"todo"`
	Points int    `json:"points"`
}

// A Result says how a step went.
type Result struct {
	Step    int    `json:"step"`
	State   string `json:"state"`
	Text    string `json:"text,omitempty"`    // why, for the student
	Mistake string `json:"mistake,omitempty"` // the one that was recognised
	Hung    string `json:"hung,omitempty"`    // the program that did not end
}

// Shown is a command and what it printed.
type Shown struct {
	Command string `json:"command"`
	Output  string `json:"output"`
	Status  int    `json:"status"`
}

// A Drawing is what a picture is made of.
type Drawing struct {
	Datagrams []Datagram `json:"datagrams"`
}

// A Datagram is one that crossed a socket.
type Datagram struct {
	Title    string `json:"title"` // who sends it to whom
	Sent     bool   `json:"sent"`  // by the program
	Protocol int    `json:"protocol"`
	Data     []byte `json:"data"`
}

// Write writes an event.
func Write(w io.Writer, e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", Mark, text)
	return err
}

// Parse reads a line; ok is false for one that is no event.
func Parse(line string) (e Event, ok bool) {
	text, ok := strings.CutPrefix(line, Mark)
	if !ok || json.Unmarshal([]byte(text), &e) != nil {
		return Event{}, false
	}
	return e, true
}
