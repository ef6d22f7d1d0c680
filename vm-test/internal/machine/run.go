// SPDX-License-Identifier: MIT

package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"nlpeer/vm-test/internal/qemu"
	"nlpeer/vm-test/internal/splat"
	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// Request is one command for the guest.
type Request struct {
	Command wire.Command
	Stdin   io.Reader // nil for none
	Stdout  io.Writer
	Stderr  io.Writer
	Timeout time.Duration // of the command; 0 for none
	// Signals that nlvm got. The first is passed on to the command; the
	// second, or a while without effect, ends the machine.
	Signals <-chan os.Signal
	// Enough is closed when the command has done what it was started for and is
	// to be ended. It then counts as passed.
	Enough  <-chan struct{}
	Resizes <-chan wire.Size
	// Place says where a file from the guest goes; "" drops it.
	Place func(name string) string
}

// insistence is how long a command may take to end after a signal.
const insistence = 3 * time.Second

// After the time limit the guest is asked what it does. The answer is behind all that it
// said before, and comes as fast as that is read.
const (
	dumpLimit = 3 * time.Second  // for the guest to say anything
	readLimit = 2 * time.Second  // for the reader of our output to take anything
	overLimit = 30 * time.Second // for all of it
)

// run is the state of a Run.
type run struct {
	*Machine
	Request
	end     ending
	log     []splat.Record // the kernel's, of this run
	first   int            // index in log of the first complaint
	window  *window
	started bool
	back    *backFiles
	fault   chan error // what went wrong with receiving
	broken  error      // writing to our own stdout or stderr failed
	missing error      // files from the guest could not be stored
}

// logLimit bounds the kernel's log that is kept. What is over goes from the
// front, except the first complaint and what follows it.
const logLimit = 2000

// Run executes the command and returns nlvm's exit status. An error means that
// nlvm itself failed.
func (m *Machine) Run(ctx context.Context, r Request) (int, error) {
	s := &run{Machine: m, Request: r, first: -1, window: newWindow(wire.StdinWindow), fault: make(chan error, 1)}
	// Nothing else is sent yet that the deadline could hit.
	_ = m.process.Wire.SetWriteDeadline(time.Now().Add(Patience(startLimit)))
	if err := m.conn.SendValue(wire.Run, r.Command); err != nil {
		return StatusLost, err
	}
	_ = m.process.Wire.SetWriteDeadline(time.Time{})
	frames := make(chan wire.Frame)
	quit := make(chan struct{})
	defer close(quit)
	go s.receive(frames, quit)
	go s.sendSizes(quit)
	s.loop(ctx, frames)
	s.settle(ctx)
	m.found = Findings{s.end.complaints, s.end.detectors}
	return s.report()
}

// receive passes frames on until the machine ends.
func (s *run) receive(frames chan<- wire.Frame, quit <-chan struct{}) {
	defer close(frames)
	for {
		f, err := s.conn.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.fault <- err
			}
			return
		}
		select {
		case frames <- f:
		case <-quit:
			return
		}
		if f.Type == wire.Exit {
			return
		}
	}
}

// loop handles everything that happens until the verdict or the machine's end. It
// waits for nothing else: others write and send for it, as neither a guest nor a reader
// of our output that reads nothing must hold up the limits.
func (s *run) loop(ctx context.Context, frames <-chan wire.Frame) {
	var insist <-chan time.Time
	var quiet, over <-chan time.Time // nil before the time limit
	var out delivery
	wait := func() { // for who is next to do something, the guest or our reader
		switch {
		case over == nil:
		case out.taken == nil:
			quiet = time.After(dumpLimit)
		default:
			quiet = time.After(Patience(readLimit))
			out.moves() // from now on
		}
	}
	limit := time.After(Patience(startLimit))
	enough := s.Enough
	asked := 0 // the signal that was passed on
	for {
		in := frames
		if out.taken != nil {
			in = nil
		}
		select {
		case f, ok := <-in:
			if !ok {
				return
			}
			if w := s.output(f.Type); w != nil {
				out = deliver(w, f.Payload)
				wait()
				continue
			}
			done := s.handle(f)
			if f.Type == wire.Started {
				limit = nil
				if s.Timeout > 0 {
					limit = time.After(s.Timeout)
				}
			}
			if done {
				return
			}
			if f.Type == wire.Note && len(f.Payload) == 0 && over != nil {
				s.process.Kill()
				return
			}
		case err := <-out.taken:
			if err != nil {
				s.broken = err
				s.process.Kill()
				return
			}
			out.next()
			wait()
		case sig := <-s.Signals:
			number := int(sig.(syscall.Signal))
			if insist != nil {
				s.end.interrupted = number
				s.process.Kill()
				return
			}
			asked = number
			insist = time.After(insistence)
			go s.conn.SendValue(wire.Signal, wire.SignalInfo{Number: number})
		case <-enough:
			enough = nil
			s.end.enough = true
			go s.conn.SendValue(wire.Signal, wire.SignalInfo{Number: int(syscall.SIGKILL)})
		case <-insist:
			s.end.interrupted = asked
			s.process.Kill()
			return
		case <-limit:
			s.end.timedOut, s.end.unstarted = true, !s.started
			what := fmt.Sprintf("the time limit of %v ran out", s.Timeout)
			if s.end.unstarted {
				what = fmt.Sprintf("the command was not started within %v", Patience(startLimit))
			}
			fmt.Fprintf(s.notes, "nlvm: %s; in the guest at that moment:\n", what)
			go s.conn.Send(wire.Dump, nil)
			over = time.After(Patience(overLimit))
			wait()
		case <-quiet:
			if out.taken != nil && out.moves() {
				wait()
				continue
			}
			s.end.unread = out.taken != nil
			s.end.cut = s.end.unread
			s.process.Kill()
			return
		case <-over:
			s.end.cut = out.taken != nil
			s.process.Kill()
			return
		case <-ctx.Done():
			s.process.Kill()
			return
		}
	}
}

// output is what a frame of that type is for, of our standard output and error.
func (s *run) output(t wire.Type) io.Writer {
	switch t {
	case wire.Stdout:
		return s.Stdout
	case wire.Stderr:
		return s.Stderr
	}
	return nil
}

// handle deals with one frame that is no output; done says that it was the last.
func (s *run) handle(f wire.Frame) (done bool) {
	switch f.Type {
	case wire.Started:
		s.started = true
		go s.sendStdin()
	case wire.Window:
		var w wire.WindowInfo
		if f.Decode(&w) == nil {
			s.window.open(w.Bytes)
		}
	case wire.StdinClosed:
		s.window.close()
	case wire.Kmsg:
		if r, ok := splat.Parse(string(f.Payload)); ok {
			s.record(r)
		}
	case wire.Note:
		if len(f.Payload) > 0 {
			fmt.Fprintf(s.notes, "nlvm: %s\n", f.Payload)
		}
	case wire.Back:
		if s.back == nil {
			s.back = startBack(s.Place)
		}
		s.back.write(f.Payload)
	case wire.BackEnd:
		if s.back != nil {
			if berr := s.back.finish(); berr != nil {
				s.missing = fmt.Errorf("files from the guest: %w", berr)
			}
			s.back = nil
		}
	case wire.Exit:
		var info wire.ExitInfo
		if f.Decode(&info) == nil {
			s.end.exit = &info
		}
		go s.conn.Send(wire.Bye, nil)
		return true
	}
	return false
}

// starved is what the kernel says when it has killed a process for lack of
// memory; a control group's limit is its own affair.
var starved = regexp.MustCompile(`^Out of memory: Killed process (\d+ \([^)]*\))`)

func (s *run) record(r splat.Record) {
	if killed := starved.FindStringSubmatch(r.Text); killed != nil && r.Facility == 0 {
		s.end.starved = killed[1]
	}
	if d := splat.Detector(r); d != "" {
		s.end.complaints++
		if !slices.Contains(s.end.detectors, d) {
			s.end.detectors = append(s.end.detectors, d)
		}
		if s.first < 0 {
			s.first = len(s.log)
		}
	}
	if s.first >= 0 && len(s.log) >= logLimit {
		return
	}
	if len(s.log) >= logLimit {
		s.log = append(s.log[:0], s.log[logLimit/2:]...)
	}
	s.log = append(s.log, r)
}

// settle waits until QEMU has ended and looks at what it left.
func (s *run) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, Patience(exitLimit))
	defer cancel()
	if s.process.Wait(ctx) != nil {
		s.process.Kill()
	}
	select {
	case s.end.wireError = <-s.fault:
	default:
	}
	s.end.qemuStatus = s.process.Status()
	if !qemu.HasExitStatus(s.guest.Kernel.Arch) {
		s.end.shutdown = s.process.Shutdown()
		s.end.noStatus = true
	}
	s.end.panicked = s.process.Console.Panicked()
	if s.end.exit != nil {
		s.end.complaints += len(s.end.exit.Problems)
	}
}

// report says on standard error what is to be said, and returns the status.
func (s *run) report() (int, error) {
	if s.broken != nil {
		// Nobody listens any more: end as quietly as any other program in a pipe.
		if errors.Is(s.broken, syscall.EPIPE) {
			return 128 + int(syscall.SIGPIPE), nil
		}
		return StatusSetup, s.broken
	}
	status, reason := s.end.judge()
	if s.end.exit == nil {
		s.showEnd(status)
	} else {
		s.showComplaints()
	}
	if reason != "" && status != 128+s.end.interrupted {
		fmt.Fprintf(s.notes, "nlvm: %s\n", reason)
	}
	switch {
	case s.missing != nil && status == 0:
		return StatusSetup, s.missing
	case s.missing != nil: // the command's own failure is the more interesting one
		fmt.Fprintf(s.notes, "nlvm: %v\n", s.missing)
	}
	return status, nil
}

const (
	linesShown  = 60
	cutDistance = 8 // lines between "cut here" and a headline, at most
)

// showEnd shows why a machine died: what its kernel said from its first
// complaint on, or last if it had none. An oops can be longer than linesShown,
// and its headline says more than its end.
func (s *run) showEnd(status int) {
	if status != StatusPanic && status != StatusLost {
		return
	}
	lines := s.process.Console.Lines(math.MaxInt)
	from := slices.IndexFunc(lines, splat.InConsole)
	if from < 0 {
		from = max(0, len(lines)-linesShown)
	}
	for _, line := range lines[from:] {
		fmt.Fprintf(s.notes, "| %s\n", line)
	}
	if e := s.process.Stderr(); e != "" {
		fmt.Fprintf(s.notes, "| QEMU: %s\n", e)
	}
}

// showComplaints shows the kernel's log from the first complaint on; for a
// command that could not be started, all of it.
func (s *run) showComplaints() {
	from := s.first
	// A WARN's own text comes before its headline.
	for i := from; i >= 0 && i > from-cutDistance; i-- {
		if strings.Contains(s.log[i].Text, "[ cut here ]") {
			from = i
			break
		}
	}
	if s.end.exit.Setup != "" && from < 0 {
		from = 0
	}
	if from >= 0 && from < len(s.log) {
		lines := s.log[from:]
		for _, r := range lines[:min(linesShown, len(lines))] {
			fmt.Fprintf(s.notes, "| %s\n", r)
		}
		if more := len(lines) - linesShown; more > 0 {
			fmt.Fprintf(s.notes, "| … %d more lines\n", more)
		}
	}
	for _, p := range s.end.exit.Problems {
		fmt.Fprintf(s.notes, "| %s\n", p)
	}
}

// sendStdin passes standard input on, never more than the guest has room for.
// It ends with the input, or when the command reads no more. If it is blocked
// in Read at the end of the run, it stays so: nothing can interrupt that.
func (s *run) sendStdin() {
	buf := make([]byte, 64<<10)
	for s.Stdin != nil {
		n, err := s.Stdin.Read(buf)
		if !s.window.take(n) {
			return
		}
		if n > 0 && s.conn.Send(wire.Stdin, buf[:n]) != nil {
			return
		}
		if err != nil {
			break
		}
	}
	_ = s.conn.Send(wire.StdinEOF, nil)
}

// sendSizes passes the terminal's sizes on, in their order.
func (s *run) sendSizes(quit <-chan struct{}) {
	for {
		select {
		case size := <-s.Resizes:
			_ = s.conn.SendValue(wire.Resize, size)
		case <-quit:
			return
		}
	}
}

// backFiles unpacks what comes back from the guest.
type backFiles struct {
	pipe *io.PipeWriter
	done chan error
}

func startBack(place func(string) string) *backFiles {
	r, w := io.Pipe()
	b := &backFiles{pipe: w, done: make(chan error, 1)}
	go func() {
		err := tarball.Unpack(r, place)
		r.CloseWithError(io.ErrClosedPipe)
		b.done <- err
	}()
	return b
}

func (b *backFiles) write(p []byte) { _, _ = b.pipe.Write(p) }

func (b *backFiles) finish() error {
	b.pipe.Close()
	return <-b.done
}

// Console is what the guest printed on its serial console so far.
func (m *Machine) Console() *qemu.Console { return m.process.Console }
