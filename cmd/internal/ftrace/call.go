// SPDX-License-Identifier: MIT

// Package ftrace records which kernel functions call which, by the function
// graph tracer of the kernel (Documentation/trace/ftrace.rst).
//
// A Tracer takes the tracer, and gives it back as it was; Parse makes trees of
// what was recorded.
package ftrace

import "time"

// A Tree is a function that was called, with all that it called and that was
// recorded. What it called from an interrupt that came in between is a tree of
// its own.
type Tree struct {
	Task    string // at most 15 bytes, any of them
	PID     int    // of the task, a thread: 0 is the idle task of a processor
	Context Context
	Root    *Call
}

// A Call is one call of a function.
type Call struct {
	Function string
	Module   string        // "" is the kernel itself
	Start    time.Duration // since boot (CLOCK_BOOTTIME), in microseconds
	Duration time.Duration
	// Unfinished says that the end was not recorded: the Duration is not known.
	Unfinished bool
	// Cut says that the beginning was not recorded: Start is the end less the
	// Duration, and of what it called some may be missing.
	Cut   bool
	Calls []*Call
}

// Context is where a function ran.
type Context int

// The contexts.
const (
	Process   Context = iota // on behalf of the task
	SoftIRQ                  // in a soft interrupt that came while the task ran
	Interrupt                // in an interrupt, or worse
)

// String returns "task", "softirq" or "interrupt".
func (c Context) String() string { return [...]string{"task", "softirq", "interrupt"}[c] }
