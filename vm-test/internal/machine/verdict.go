// SPDX-License-Identifier: MIT

package machine

import (
	"fmt"
	"strings"
	"syscall"

	"nlpeer/vm-test/internal/qemu"
	"nlpeer/vm-test/internal/wire"
)

// Exit statuses of nlvm that are not the guest command's.
const (
	StatusSetup     = 2   // the command was not started, or what it wrote not stored
	StatusLost      = 120 // the machine ended without a verdict
	StatusPanic     = 121 // the guest's kernel panicked
	StatusTimeout   = 122 // the time limit ran out
	StatusComplaint = 123 // the command passed, but the kernel complained
)

// ending is all that is known about how a run ended.
type ending struct {
	exit        *wire.ExitInfo // nil if the agent did not get to it
	qemuStatus  int            // -1 if a signal ended QEMU
	noStatus    bool           // the guest has no say in qemuStatus
	shutdown    string         // then, why QEMU ended, in its words
	panicked    bool
	timedOut    bool
	unstarted   bool // then, that the command had not begun
	unread      bool // then, that nobody read our own output
	cut         bool // then, that not all of it was read
	enough      bool // we have ended the command, by SIGKILL
	interrupted int  // number of the signal that made us kill the machine, or 0
	wireError   error
	complaints  int      // lines of the kernel's log, and what the agent found
	detectors   []string // whose they are, each once
	starved     string   // the last process that the kernel killed for lack of memory
}

// judge turns an ending into an exit status, and a reason if that status is
// not simply the command's own.
func (e ending) judge() (status int, reason string) {
	if e.timedOut && !e.panicked { // a machine may hang after its panic
		if e.unstarted {
			return StatusTimeout, "the command was not started in time"
		}
		reason = "the time limit ran out"
		if e.unread {
			reason += " while nobody read the output"
		}
		if e.cut {
			reason += "; the output is cut off"
		}
		return StatusTimeout, reason
	}
	if e.exit == nil {
		switch {
		case e.interrupted != 0:
			return 128 + e.interrupted, "interrupted"
		case e.panicked:
			return StatusPanic, "the guest's kernel panicked"
		case e.qemuStatus == -1:
			return StatusLost, "the virtual machine was lost: QEMU was killed"
		case e.wireError != nil:
			return StatusLost, fmt.Sprintf("the virtual machine was lost: %v", e.wireError)
		default:
			return StatusLost, fmt.Sprintf("the virtual machine was lost: it ended with status %d and without a verdict", e.qemuStatus)
		}
	}
	if wrong := e.contradiction(); wrong != "" {
		if e.panicked {
			return StatusPanic, "the guest's kernel panicked after the command"
		}
		return StatusLost, fmt.Sprintf("the virtual machine was lost: the agent reported status %d, but %s", e.exit.Status, wrong)
	}
	status = e.exit.Status
	if e.enough && status == 128+int(syscall.SIGKILL) {
		status = 0
	}
	switch {
	case e.exit.Setup != "":
		return StatusSetup, e.exit.Setup
	case e.complaints > 0 && status == 0:
		return StatusComplaint, "the command passed, but the kernel complained" + e.by()
	case e.complaints > 0:
		return status, fmt.Sprintf("the command failed with status %d, and the kernel complained", status) + e.by()
	case e.starved != "" && status != 0:
		return status, fmt.Sprintf("the guest ran out of memory, and its kernel killed process %s; try a larger --mem", e.starved)
	}
	return status, ""
}

// contradiction says what speaks against the agent's report, "" for nothing.
// Its word alone is not believed: the machine must have ended by its hand as
// well, and where it can say so, with the same status.
func (e ending) contradiction() string {
	want := (2*e.exit.Status + 1) & 0xff
	if e.noStatus {
		want = 0
	}
	switch {
	case e.qemuStatus != want:
		return fmt.Sprintf("QEMU ended with %d instead of %d", e.qemuStatus, want)
	case e.noStatus && e.shutdown != qemu.PoweredOff:
		return fmt.Sprintf("it did not power the machine off (QEMU: %q)", e.shutdown)
	}
	return ""
}

// by names the detectors, in the order of their first reports.
func (e ending) by() string {
	if len(e.detectors) == 0 {
		return ""
	}
	return ": " + strings.Join(e.detectors, ", ")
}
