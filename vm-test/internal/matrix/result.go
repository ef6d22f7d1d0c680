// SPDX-License-Identifier: MIT

// Package matrix makes one table of the suites' results on many kernels.
package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Result is what became of one suite on one kernel.
type Result struct {
	Kernel  string    `json:"kernel"` // its name in nlvm kernels
	Version string    `json:"version"`
	Suite   string    `json:"suite"`
	Passed  int       `json:"passed"`
	Failed  []Outcome `json:"failed"`
	Skipped []Outcome `json:"skipped"`
	Status  int       `json:"status"` // of nlvm
	Seconds float64   `json:"seconds"`
	// Processor is how many seconds of one processor it took, which does not
	// depend on what else the machine had to do.
	Processor float64 `json:"processor_seconds"`
	Repeated  bool    `json:"repeated"` // the result of an earlier run of the very same files
	// Counts is how often the suite did what it is there for.
	Counts map[string]int `json:"counts,omitempty"`
}

// Outcome is a test that did not simply pass. A suite that failed besides its
// tests has one without a name.
type Outcome struct {
	Test   string `json:"test"`
	Reason string `json:"reason"`
}

// OK says whether nothing is wrong.
func (r Result) OK() bool { return r.Status == 0 && len(r.Failed) == 0 }

// explained is in the reason of each skip that package vmtest found to be right.
const explained = " has not: "

// counted is in what package vmtest prints for a number that belongs into the table.
var counted = regexp.MustCompile(`(?m)^ +\S+_test\.go:\d+: counted (.+): (\d+)$`)

// reasonLimit bounds the text of a failure that is kept.
const reasonLimit = 2000

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
}

// Read reads the events of one suite. Of tests with subtests only these count.
// A skip that does not say which feature the kernel lacks is a failure.
func (r *Result) Read(events io.Reader) error {
	ended := make(map[string]string)
	output := make(map[string]*strings.Builder)
	text := func(test string) *strings.Builder {
		if output[test] == nil {
			output[test] = new(strings.Builder)
		}
		return output[test]
	}
	parents := make(map[string]bool)
	dec := json.NewDecoder(events)
	for {
		var e event
		if err := dec.Decode(&e); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("results of suite %s: %w", r.Suite, err)
		}
		switch e.Action {
		case "run":
			for at := strings.LastIndexByte(e.Test, '/'); at > 0; at = strings.LastIndexByte(e.Test[:at], '/') {
				parents[e.Test[:at]] = true
			}
			ended[e.Test] = "unfinished"
		case "output":
			text(e.Test).WriteString(e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				ended[e.Test] = e.Action
			}
		}
	}

	r.Passed, r.Failed, r.Skipped, r.Counts = 0, []Outcome{}, []Outcome{}, nil
	for _, output := range output {
		for _, m := range counted.FindAllStringSubmatch(output.String(), -1) {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return fmt.Errorf("results of suite %s: %w", r.Suite, err)
			}
			if r.Counts == nil {
				r.Counts = make(map[string]int)
			}
			r.Counts[m[1]] += n
		}
	}
	for _, test := range slices.Sorted(maps.Keys(ended)) {
		// A parent is its children, unless it went wrong by itself.
		if parents[test] && (ended[test] == "pass" || anyBelow(ended, test)) {
			continue
		}
		o := Outcome{test, said(text(test).String())}
		switch {
		case ended[test] == "pass":
			r.Passed++
		case ended[test] == "skip" && strings.Contains(o.Reason, explained):
			r.Skipped = append(r.Skipped, o)
		case ended[test] == "skip":
			o.Reason = "skipped without need: " + o.Reason
			r.Failed = append(r.Failed, o)
		default:
			r.Failed = append(r.Failed, o)
		}
	}
	if r.Status != 0 && len(r.Failed) == 0 {
		r.Failed = append(r.Failed, Outcome{"", said(text("").String())})
	}
	// A suite whose tests are all gone proves nothing.
	if r.Passed+len(r.Failed)+len(r.Skipped) == 0 {
		r.Failed = append(r.Failed, Outcome{"", "no test has run: " + said(text("").String())})
	}
	return nil
}

// Text is all that was printed, of the events of one suite.
func Text(events []byte) []byte {
	var text []byte
	dec := json.NewDecoder(bytes.NewReader(events))
	for e := (event{}); dec.Decode(&e) == nil; e = (event{}) {
		text = append(text, e.Output...)
	}
	return text
}

// anyBelow says whether a subtest of test went wrong.
func anyBelow(ended map[string]string, test string) bool {
	for name, how := range ended {
		if strings.HasPrefix(name, test+"/") && how != "pass" && how != "skip" {
			return true
		}
	}
	return false
}

// said is what a test printed, without what package testing adds.
func said(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			lines = append(lines, line)
		}
	}
	s := strings.Join(lines, "\n")
	if len(s) > reasonLimit {
		s = strings.ToValidUTF8(s[:reasonLimit], "") + " …"
	}
	return s
}
