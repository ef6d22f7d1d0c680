// SPDX-License-Identifier: MIT

// Package machine gives a virtual machine that is ready for one command:
// booted or restored, with our commands and the module in place. It runs the
// command and judges how it ended.
package machine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// Options describe the machine that is wanted.
type Options struct {
	SMP      int
	MemMiB   int
	ICount   bool
	Append   string
	Cold     bool // boot, whatever saved states there are
	Accel    string
	Debug    bool             // make Machine.Debug possible
	Progress *kernel.Progress // its writer must wait for no reader, see Notes
}

// Machine is a running guest whose agent waits for a command.
type Machine struct {
	guest   artifacts.Guest
	process *qemu.Process
	conn    *wire.Conn
	slot    *cache.Lock
	notes   io.Writer
	found   Findings
}

// Findings is what the kernel complained about during a run.
type Findings struct {
	Complaints int      // lines of its log, and what was found at the end
	Detectors  []string // whose, each once, in the order of their first reports
}

// Limits of what nlvm itself waits for, on a machine of normal speed.
const (
	bootLimit    = 90 * time.Second
	restoreLimit = 30 * time.Second
	saveLimit    = 60 * time.Second
	pieceLimit   = 60 * time.Second // for a piece of a file to be taken
	startLimit   = 90 * time.Second // for modules to be loaded and the command to begin
	exitLimit    = 10 * time.Second
)

// Patience scales a limit by NLVM_SLOW, for machines that are slow or busy.
func Patience(d time.Duration) time.Duration {
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 0 {
		return time.Duration(float64(d) * f)
	}
	return d
}

// Start returns a machine that is ready for Run. It waits for one of the
// places that all nlvm processes share.
func Start(ctx context.Context, c *cache.Cache, g artifacts.Guest, o Options) (*Machine, error) {
	places, err := Places()
	if err != nil {
		return nil, err
	}
	slot, err := c.Slot(ctx, places, func() {
		note(o.Progress, "waiting: %d virtual machines run already (NLVM_MAX_VMS allows more)", places)
	})
	if err != nil {
		return nil, err
	}
	m, err := start(ctx, c, g, o)
	if err != nil {
		slot.Unlock()
		return nil, err
	}
	m.slot = slot
	return m, nil
}

func start(ctx context.Context, c *cache.Cache, g artifacts.Guest, o Options) (*Machine, error) {
	accel, err := chooseAccel(ctx, c, g, o)
	if err != nil {
		return nil, err
	}
	config := qemu.Config{
		Arch: g.Kernel.Arch, Kernel: g.Kernel.Image(), Initrd: g.Initrd, Append: o.Append,
		SMP: o.SMP, MemMiB: o.MemMiB, ICount: o.ICount, Accel: accel, Debug: o.Debug,
	}
	if o.Cold {
		return bootWithPayload(ctx, config, g, o)
	}
	return fromState(ctx, c, config, g, o)
}

// Close ends the machine, if it still runs.
func (m *Machine) Close() {
	m.process.Kill()
	if m.slot != nil {
		m.slot.Unlock()
	}
}

// Findings are those of the last Run.
func (m *Machine) Findings() Findings { return m.found }

// Pid is the process ID of QEMU.
func (m *Machine) Pid() int { return m.process.Pid() }

// Debug starts QEMU's debug stub, which stops the guest; see [qemu.Process.Debug].
func (m *Machine) Debug() (net.Conn, error) { return m.process.Debug() }

func newMachine(p *qemu.Process, g artifacts.Guest, o Options) *Machine {
	m := &Machine{guest: g, process: p, conn: wire.NewConn(p.Wire), notes: io.Discard}
	if o.Progress != nil && o.Progress.W != nil {
		m.notes = o.Progress.W
	}
	return m
}

// errEnded is that QEMU is gone and has not said why: its guest has ended.
var errEnded = errors.New("QEMU has ended")

// boot starts a machine from its kernel and waits for the agent. Nothing of ours is
// in the kernel by then, so if it crashes that is no finding: emulated processors
// have faults that a boot meets once in a thousand times. It has a second chance.
func boot(ctx context.Context, config qemu.Config, g artifacts.Guest, o Options) (*Machine, error) {
	m, err := bootOnce(ctx, config, g, o)
	if errors.Is(err, errEnded) {
		note(o.Progress, "%v", err)
		note(o.Progress, "booting once more")
		m, err = bootOnce(ctx, config, g, o)
	}
	return m, err
}

func bootOnce(ctx context.Context, config qemu.Config, g artifacts.Guest, o Options) (*Machine, error) {
	ctx, cancel := context.WithTimeout(ctx, Patience(bootLimit))
	defer cancel()
	p, err := qemu.Boot(config)
	if err != nil {
		return nil, err
	}
	m := newMachine(p, g, o)
	if _, err := m.expect(ctx, wire.Hello); err != nil {
		m.Close()
		return nil, fmt.Errorf("the virtual machine does not boot: %w%s", err, m.lastWords())
	}
	return m, nil
}

func bootWithPayload(ctx context.Context, config qemu.Config, g artifacts.Guest, o Options) (*Machine, error) {
	m, err := boot(ctx, config, g, o)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(m.Push(ctx, g.Payload()), m.resume(ctx)); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// resume tells the guest time and randomness; its answer shows that it lives.
func (m *Machine) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Patience(restoreLimit))
	defer cancel()
	seed := make([]byte, 64)
	rand.Read(seed) // never fails
	if err := m.conn.SendValue(wire.Resume, wire.ResumeInfo{UnixNano: time.Now().UnixNano(), Seed: seed}); err != nil {
		return err
	}
	_, err := m.expect(ctx, wire.Resumed)
	return err
}

// Push sends files into the guest, named relative to its root.
func (m *Machine) Push(ctx context.Context, items []tarball.Item) error {
	if len(items) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Files may be of any size, so the limit is one of each piece.
	limit := Patience(pieceLimit)
	w := &watched{m.conn.Writer(wire.Files), limit, time.AfterFunc(limit, func() {
		cancel(fmt.Errorf("put files into the guest: it does not take them; nothing has moved for %v", limit))
	})}
	defer w.timer.Stop()
	stop := context.AfterFunc(ctx, func() { _ = m.process.Wire.SetWriteDeadline(time.Unix(1, 0)) })
	err := m.push(ctx, w, items)
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// watched is a Writer with a timer that each Write winds up.
type watched struct {
	io.Writer
	limit time.Duration
	timer *time.Timer
}

func (w *watched) Write(p []byte) (int, error) {
	w.timer.Reset(w.limit)
	return w.Writer.Write(p)
}

func (m *Machine) push(ctx context.Context, w io.Writer, items []tarball.Item) error {
	if err := tarball.Pack(w, items); err != nil {
		return fmt.Errorf("send files into the guest: %w", err)
	}
	if err := m.conn.Send(wire.FilesEnd, nil); err != nil {
		return err
	}
	f, err := m.expect(ctx, wire.FilesDone)
	if err != nil {
		return err
	}
	var res wire.Result
	if err := f.Decode(&res); err != nil {
		return err
	}
	if res.Err != "" {
		if strings.Contains(res.Err, "no space left") {
			res.Err += "; give the guest more memory with --mem"
		}
		return errors.New("put files into the guest: " + res.Err)
	}
	return nil
}

// expect receives one frame, which must be of the given type.
func (m *Machine) expect(ctx context.Context, t wire.Type) (wire.Frame, error) {
	stop := context.AfterFunc(ctx, func() { _ = m.process.Wire.SetReadDeadline(time.Unix(1, 0)) })
	f, err := m.conn.Receive()
	if !stop() {
		return f, context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) {
		err = errEnded
		if s := m.process.Stderr(); s != "" {
			err = errors.New(s)
		}
	}
	if err == nil && f.Type != t {
		err = fmt.Errorf("the agent answered with frame %d instead of %d", f.Type, t)
	}
	return f, err
}

// lastWords are the guest's last lines on its console, for an error text.
func (m *Machine) lastWords() string {
	if lines := m.process.Console.Lines(25); len(lines) > 0 {
		return "\n" + strings.Join(lines, "\n")
	}
	return ""
}

func note(p *kernel.Progress, format string, args ...any) {
	if p != nil && p.W != nil {
		fmt.Fprintf(p.W, "nlvm: "+format+"\n", args...)
	}
}
