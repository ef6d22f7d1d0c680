// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/json"
	"fmt"
)

// HelloInfo is the agent's first word.
type HelloInfo struct {
	Kernel string // utsname release
}

// ResumeInfo makes a guest that may have been copied from a saved state an
// individual again: all copies would otherwise share clock and random numbers.
type ResumeInfo struct {
	UnixNano int64
	Seed     []byte
}

// Command is what the guest executes.
type Command struct {
	Argv       []string
	Env        []string
	Dir        string
	Terminal   *Size    // give it a terminal of that size instead of pipes
	Insmod     []string // stock modules to load first, in order
	Module     string   // path of the module to load before, and to unload after; "" for none
	ModuleArgs string
	Extra      []string // modules to load after it, in order, and to unload before
	Gcov       []string // folders that modules were built in, to bring their counts back
	Collect    []string // absolute guest paths to bring back if they exist
}

// Size of a terminal, in characters.
type Size struct {
	Rows, Cols uint16
}

// SignalInfo is a signal by its Linux number.
type SignalInfo struct {
	Number int
}

// WindowInfo tells the host how many bytes of standard input were handed on.
type WindowInfo struct {
	Bytes int
}

// StdinWindow is how many bytes of standard input the host sends before the
// agent has handed them on. The bound keeps a command that does not read from
// filling the guest's memory, and keeps Signal frames from queueing behind it.
const StdinWindow = 512 << 10

// Result reports whether the agent could do what it was asked.
type Result struct {
	Err string
}

// ExitInfo is the agent's verdict.
type ExitInfo struct {
	// Status is the command's exit status, 128+n if signal n ended it.
	Status int
	// Setup says why the command was not started, "" if it was.
	Setup string
	// Problems are what the agent found wrong after the command ended.
	Problems []string
}

// SendValue encodes v and sends it as the payload of a frame.
func (c *Conn) SendValue(t Type, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: encode: %w", err)
	}
	return c.Send(t, b)
}

// Decode reads the frame's payload into v.
func (f Frame) Decode(v any) error {
	if err := json.Unmarshal(f.Payload, v); err != nil {
		return fmt.Errorf("wire: frame %d: %w", f.Type, err)
	}
	return nil
}
