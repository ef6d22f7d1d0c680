// SPDX-License-Identifier: MIT

// Package profile says where the instructions of one operation go: it follows a
// program in the guest, and the kernel below it, instruction by instruction,
// from one call of a marker function to the next, and adds them up by function.
package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"nlpeer/vm-test/internal/gdb"
)

// Plan says what to record.
type Plan struct {
	// Marker is where the function begins that the program calls between two
	// operations, and Code what stands there. Other programs have other code at
	// the same address, and stop there as well.
	Marker uint64
	Code   []byte
	// Warmup is how many operations to let pass first, and Operations how many to
	// follow.
	Warmup, Operations int
	// Limit is how many instructions an operation may take. A program that ends or
	// waits would otherwise be followed into the kernel's idle loop, which nothing
	// interrupts.
	Limit int
}

// Calls is how often the program has to call its marker for all of it.
func (p Plan) Calls() int { return p.Warmup + p.Operations + 1 }

// Sample is one instruction: where it is, and the stack it finds.
type Sample = gdb.Registers

// Recording is what came of a [Plan].
type Recording struct {
	// Hits is how often the marker was met.
	Hits int
	// Operations has the instructions of each one that was followed.
	Operations [][]Sample
}

// ErrEnded says that the guest ended before all was recorded. What there is of
// a [Recording] then tells how far it came.
var ErrEnded = errors.New("the guest ended too early")

// endings are how the end of the guest may look from here.
var endings = []error{gdb.ErrExited, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET}

// ErrTooLong says that an operation took more instructions than the limit.
var ErrTooLong = errors.New("an operation takes too many instructions")

type recorder struct {
	Plan
	Recording
	stub *gdb.Client
}

// Record carries out a plan in a guest that stands still, and lets it go on
// afterwards.
func Record(stub *gdb.Client, p Plan) (Recording, error) {
	r := &recorder{Plan: p, stub: stub}
	err := r.record()
	if slices.ContainsFunc(endings, func(e error) bool { return errors.Is(err, e) }) {
		err = fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return r.Recording, err
}

func (r *recorder) record() error {
	if err := r.stub.SetBreakpoint(r.Marker); err != nil {
		return err
	}
	if err := r.next(); err != nil {
		return err
	}
	for range r.Warmup {
		if err := r.next(); err != nil {
			return err
		}
	}
	for range r.Plan.Operations {
		op, err := r.follow()
		if err != nil {
			return err
		}
		r.Recording.Operations = append(r.Recording.Operations, op)
	}
	if err := r.stub.ClearBreakpoint(r.Marker); err != nil {
		return err
	}
	return r.stub.Detach()
}

// next lets the guest run to the next call of the marker.
func (r *recorder) next() error {
	for {
		regs, err := r.stub.Registers()
		if err != nil {
			return err
		}
		if regs.PC == r.Marker { // it would stop where it stands
			if _, err := r.step(regs); err != nil {
				return err
			}
		}
		signal, err := r.stub.Continue()
		if err != nil {
			return err
		}
		if signal != gdb.Trap {
			return fmt.Errorf("the guest stopped with signal %d", signal)
		}
		regs, err = r.stub.Registers()
		if err != nil {
			return err
		}
		if hit, err := r.hit(regs); hit || err != nil {
			return err
		}
	}
}

// step executes the instruction at regs, and returns what comes next. QEMU now and
// then ends a step after a look for interrupts, before the instruction; at the
// marker that would pass for another call.
func (r *recorder) step(regs Sample) (Sample, error) {
	for {
		signal, err := r.stub.Step()
		if err != nil {
			return Sample{}, err
		}
		if signal != gdb.Trap {
			return Sample{}, fmt.Errorf("the guest stopped with signal %d in a step", signal)
		}
		next, err := r.stub.Registers()
		if err != nil || next.PC != r.Marker || regs.PC != r.Marker {
			return next, err
		}
	}
}

// hit says that the guest is about to call the marker, and counts it.
func (r *recorder) hit(regs Sample) (bool, error) {
	if regs.PC != r.Marker {
		return false, nil
	}
	code, err := r.stub.Memory(r.Marker, len(r.Code))
	var refused *gdb.Error
	if errors.As(err, &refused) { // a page that only the next instruction would bring in
		return false, nil
	}
	if err != nil || !bytes.Equal(code, r.Code) {
		return false, err
	}
	r.Hits++
	return true, nil
}

// follow steps to the next call of the marker.
func (r *recorder) follow() ([]Sample, error) {
	var op []Sample
	regs, err := r.stub.Registers()
	if err != nil {
		return nil, err
	}
	for {
		op = append(op, regs)
		if regs, err = r.step(regs); err != nil {
			return nil, err
		}
		if hit, err := r.hit(regs); hit || err != nil {
			return op, err
		}
		if len(op) == r.Limit {
			// At full speed it shows whether the guest has come to its end.
			if err := r.next(); err != nil {
				return nil, err
			}
			return nil, ErrTooLong
		}
	}
}
