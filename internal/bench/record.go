// SPDX-License-Identifier: MIT

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Schema is the version of the records. A member may be added without a new one.
const Schema = 1

// The types of a Record.
const (
	TypeRun    = "run"    // the first: what was measured on
	TypeResult = "result" // a figure
	TypeSkip   = "skip"   // a contender that this case is not for, though one would expect it
	TypeError  = "error"  // a contender that failed
	TypeEnd    = "end"    // the last: nothing is cut off
)

// The units of a cost.
const (
	// Instructions of the guest, of kernel and program together. They repeat.
	Instructions = "instructions"
	// Nanoseconds of a real clock. They depend on the machine and on what else
	// it does.
	Nanoseconds = "ns"
)

// A Record is a line of the file of results.
type Record struct {
	Type string `json:"type"`

	// Of the run.
	*Setting

	// Of all others.
	*Case
	Contender string `json:"contender,omitempty"`
	*Figure

	// Reason is why there is no figure.
	Reason string `json:"reason,omitempty"`
}

// A Setting says what was measured on.
type Setting struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"` // of nlpeer
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	// Unit is what costs are counted in.
	Unit string `json:"unit"`
	// Wall says that the clock is a real one.
	Wall   bool `json:"wall"`
	Rounds int  `json:"rounds"`
	Quick  bool `json:"quick,omitempty"`
	// Arguments are those of the kernel, if it is that of a virtual machine.
	Arguments string `json:"arguments,omitempty"`
}

// A Figure is what an operation costs.
type Figure struct {
	// Cost is the median of the rounds, Min and Max the least and greatest, all
	// in units of the setting.
	Cost float64 `json:"cost"`
	Min  float64 `json:"min"`
	Max  float64 `json:"max"`
	// Spread is the distance from Min to Max in percent of Cost.
	Spread float64 `json:"spread_percent"`
	// Operations is how many there were in each round.
	Operations int64 `json:"operations"`
	// Allocs and Bytes are allocations on the heap for each operation, the least
	// of the rounds; nil for a program in C.
	Allocs *float64 `json:"allocs,omitempty"`
	Bytes  *float64 `json:"bytes,omitempty"`
	// Burst is the largest number of events at once of which none was lost.
	Burst int `json:"burst,omitempty"`
	// Percentiles are latencies in nanoseconds.
	Percentiles []Percentile `json:"percentiles,omitempty"`
}

// A Percentile says that so many percent of the operations took at most so long.
type Percentile struct {
	Percent float64 `json:"percent"`
	Nanos   int64   `json:"ns"`
}

// Results are the records of a file.
type Results struct {
	Setting Setting
	Records []Record // those of cases
}

// Find returns the figure of a contender in a case.
func (r *Results) Find(c Case, contender string) (*Figure, bool) {
	for _, rec := range r.Records {
		if rec.Type == TypeResult && *rec.Case == c && rec.Contender == contender {
			return rec.Figure, true
		}
	}
	return nil, false
}

// ToC is a cost in relation to that of C: of echoes to one of the same length by
// sendto and recv on the raw protocol, of events to one that has a datagram of
// its own, of all else to C in the same case.
func (r *Results) ToC(c Case, cost float64) (ratio float64, ok bool) {
	switch c.Name {
	case Echo:
		c.Batch = 1
		if r.Setting.Unit == Instructions {
			c.Carrier = "raw"
		}
	case Receive:
		c.Batch = 1
	}
	f, ok := r.Find(c, YardstickName)
	if !ok {
		return 0, false
	}
	return cost / f.Cost, true
}

// Failures are the records of what failed.
func (r *Results) Failures() (failed []Record) {
	for _, rec := range r.Records {
		if rec.Type == TypeError {
			failed = append(failed, rec)
		}
	}
	return failed
}

// Add takes a record. The error says what is wrong with it.
func (r *Results) Add(rec Record) error {
	switch rec.Type {
	case TypeRun:
		if rec.Setting == nil {
			return errors.New("the run says nothing about itself")
		}
		if rec.Schema != Schema {
			return fmt.Errorf("schema %d, but this nlbench reads %d", rec.Schema, Schema)
		}
		if r.Setting.Schema != 0 {
			return errors.New("two runs in one file")
		}
		r.Setting = *rec.Setting
		return nil
	case TypeResult, TypeSkip, TypeError:
		if r.Setting.Schema == 0 {
			return errors.New("the run is not described before its results")
		}
		if rec.Case == nil || rec.Case.Name == "" || rec.Contender == "" {
			return errors.New("no case or no contender")
		}
		if rec.Type == TypeResult && (rec.Figure == nil || rec.Cost <= 0) {
			return fmt.Errorf("%v %s: a result without a cost", *rec.Case, rec.Contender)
		}
		r.Records = append(r.Records, rec)
		return nil
	case TypeEnd:
		return nil
	}
	return fmt.Errorf("unknown type %q", rec.Type)
}

// ErrCutOff says that records end before their end.
var ErrCutOff = errors.New("cut off: the last line must be of type \"end\"")

// Read reads records until the end and passes each one on.
func Read(in io.Reader, each func(Record) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	ended := false
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec Record
		err := json.Unmarshal(lines.Bytes(), &rec)
		if err == nil && ended {
			err = errors.New("more after the end")
		}
		if err == nil {
			err = each(rec)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		ended = rec.Type == TypeEnd
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !ended {
		return ErrCutOff
	}
	return nil
}

// ReadFile reads a file of results.
func ReadFile(name string) (*Results, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r Results
	if err := Read(f, r.Add); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &r, nil
}
