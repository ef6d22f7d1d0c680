// SPDX-License-Identifier: MIT

package machine

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// doesNotHear reads nothing at all.
func doesNotHear(*wire.Conn) int {
	for {
		time.Sleep(time.Hour) // a select{} would be a deadlock to the runtime
	}
}

// neverBegins takes the command, and is still loading the module.
func neverBegins(conn *wire.Conn) int {
	await(conn, wire.Dump)
	_ = conn.Send(wire.Note, []byte("process 7, state D: modprobe"))
	_ = conn.Send(wire.Note, nil)
	for {
		time.Sleep(time.Hour) // a select{} would be a deadlock to the runtime
	}
}

// stopsReading begins with the command, and reads nothing from then on.
func stopsReading(conn *wire.Conn) int {
	await(conn, wire.Run)
	_ = conn.Send(wire.Started, nil)
	for {
		time.Sleep(time.Hour) // a select{} would be a deadlock to the runtime
	}
}

// saysMuch writes more than fits between the guest and us, and ends well.
func saysMuch(conn *wire.Conn) int {
	await(conn, wire.Run)
	_ = conn.Send(wire.Started, nil)
	for range 32 {
		_ = conn.Send(wire.Stdout, make([]byte, 64<<10))
	}
	return verdict(conn, wire.ExitInfo{})
}

// worksOn says much, and goes on until it is asked what it does.
func worksOn(conn *wire.Conn) int {
	await(conn, wire.Run)
	_ = conn.Send(wire.Started, nil)
	for range 8 {
		_ = conn.Send(wire.Stdout, make([]byte, 64<<10))
	}
	await(conn, wire.Dump)
	_ = conn.Send(wire.Note, []byte("process 7, state R: worker"))
	_ = conn.Send(wire.Note, nil)
	for {
		time.Sleep(time.Hour) // a select{} would be a deadlock to the runtime
	}
}

// zeros is an input without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// hanging bounds a test of what must not hang. It is far more than any needs.
const hanging = 30 * time.Second

// ends fails a test whose f does not come to its end.
func ends(t *testing.T, m *Machine, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(hanging):
		t.Error("it hangs")
		m.Close()
		<-done
	}
}

// shortLimits makes nlvm's own limits as short as a test wants them.
func shortLimits(t *testing.T) { t.Setenv("NLVM_SLOW", "0.01") }

// A command that does not begin has a limit, whatever its own is.
func TestStartLimit(t *testing.T) {
	shortLimits(t)
	for guest, words := range map[string]string{"never begins": "modprobe", "does not hear": ""} {
		t.Run(guest, func(t *testing.T) {
			m, said := startFake(t, guest)
			ends(t, m, func() {
				status, err := m.Run(t.Context(), Request{})
				if status != StatusTimeout || err != nil || !strings.Contains(said.String(), "not started") || !strings.Contains(said.String(), words) {
					t.Errorf("status %d, %v, %q", status, err, said)
				}
			})
		})
	}
}

// A guest that takes no command has a limit too.
func TestCommandNotTaken(t *testing.T) {
	shortLimits(t)
	m, said := startFake(t, "does not hear")
	ends(t, m, func() {
		long := wire.Command{Argv: []string{strings.Repeat("x", wire.MaxPayload-1000)}}
		if status, err := m.Run(t.Context(), Request{Command: long}); status == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("status %d, %v, %q", status, err, said)
		}
	})
}

// The time limit holds, and a signal ends the run, while what the guest was sent does
// not get to it.
func TestLimitsWhileSending(t *testing.T) {
	run := func(t *testing.T, r Request, want int) {
		m, said := startFake(t, "stops reading")
		r.Stdin = zeros{}
		ends(t, m, func() {
			if status, err := m.Run(t.Context(), r); status != want || err != nil {
				t.Errorf("status %d, %v, want %d; %q", status, err, want, said)
			}
		})
	}
	t.Run("time limit", func(t *testing.T) { run(t, Request{Timeout: time.Second}, StatusTimeout) })
	t.Run("signal", func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		// By then nothing more fits between us and the guest.
		time.AfterFunc(time.Second, func() { signals <- syscall.SIGTERM })
		run(t, Request{Signals: signals}, 128+int(syscall.SIGTERM))
	})
}

// Nor does anybody wait for who does not read our own output.
func TestLimitsWhileWriting(t *testing.T) {
	run := func(t *testing.T, r Request, want int, words string) {
		m, said := startFake(t, "says much")
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		defer in.Close()
		r.Stdout = in
		ends(t, m, func() {
			if status, err := m.Run(t.Context(), r); status != want || err != nil || !strings.Contains(said.String(), words) {
				t.Errorf("status %d, %v, want %d; %q, want %q", status, err, want, said, words)
			}
		})
	}
	t.Run("time limit", func(t *testing.T) {
		run(t, Request{Timeout: time.Second}, StatusTimeout, "nobody read the output; the output is cut off")
	})
	t.Run("signal", func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		time.AfterFunc(time.Second, func() { signals <- syscall.SIGTERM })
		run(t, Request{Signals: signals}, 128+int(syscall.SIGTERM), "")
	})
}

// Who reads late gets all of it.
func TestSlowReader(t *testing.T) {
	m, said := startFake(t, "says much")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	got := make(chan int64, 1)
	time.AfterFunc(time.Second, func() {
		n, _ := io.Copy(io.Discard, out)
		got <- n
	})
	ends(t, m, func() {
		if status, err := m.Run(t.Context(), Request{Stdout: in, Timeout: hanging}); status != 0 || err != nil {
			t.Errorf("status %d, %v; %q", status, err, said)
		}
		in.Close()
		if n := <-got; n != 32*64<<10 {
			t.Errorf("%d bytes arrived, want %d", n, 32*64<<10)
		}
	})
}

// gate is a reader that takes nothing before it is open.
type gate struct {
	open  chan struct{}
	taken int
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.taken += len(p)
	return len(p), nil
}

// calls are notes that call a function when a text is among them.
type calls struct {
	*notes
	text string
	once func()
}

func (c calls) Write(p []byte) (int, error) {
	n, err := c.notes.Write(p)
	if strings.Contains(c.String(), c.text) {
		c.once()
	}
	return n, err
}

// Output that is taken is not called unread because the time limit finds it on its way.
// All of it arrives, and what the guest does at that moment, which is behind it.
func TestLimitDuringWrite(t *testing.T) {
	m, said := startFake(t, "works on")
	g := &gate{open: make(chan struct{})}
	open := sync.OnceFunc(func() { close(g.open) })
	defer open()
	m.notes = calls{said, "the time limit", open}
	ends(t, m, func() {
		if status, err := m.Run(t.Context(), Request{Stdout: g, Timeout: time.Second}); status != StatusTimeout || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
		if s := said.String(); strings.Contains(s, "nobody read") || strings.Contains(s, "cut off") || !strings.Contains(s, "process 7") {
			t.Errorf("said: %q", s)
			return
		}
		if g.taken != 8*64<<10 {
			t.Errorf("%d bytes arrived, want %d", g.taken, 8*64<<10)
		}
	})
}

// readSlowly takes a byte at each tick, so that nothing more fits into the pipe, and
// after the given number of them all.
func readSlowly(out io.Reader, tick time.Duration, ticks int) <-chan int64 {
	got := make(chan int64, 1)
	go func() {
		slow := time.NewTicker(tick)
		defer slow.Stop()
		var n int64
		for b := make([]byte, 1); ticks > 0; ticks-- {
			<-slow.C
			k, err := out.Read(b)
			if n += int64(k); err != nil {
				break
			}
		}
		k, _ := io.Copy(io.Discard, out)
		got <- n + k
	}()
	return got
}

// Nor is it because the reader is slower than any piece of it.
func TestSlowReaderAtLimit(t *testing.T) {
	m, said := startFake(t, "works on")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const tick = 50 * time.Millisecond
	got := readSlowly(out, tick, int((time.Second+2*Patience(readLimit))/tick))
	ends(t, m, func() {
		if status, err := m.Run(t.Context(), Request{Stdout: in, Timeout: time.Second}); status != StatusTimeout || err != nil {
			t.Errorf("status %d, %v", status, err)
		}
		if s := said.String(); strings.Contains(s, "nobody read") || strings.Contains(s, "cut off") || !strings.Contains(s, "process 7") {
			t.Errorf("said: %q", s)
		}
		in.Close()
		if n := <-got; n != 8*64<<10 {
			t.Errorf("%d bytes arrived, want %d", n, 8*64<<10)
		}
	})
}

// But a run does not last for ever after its limit because somebody reads.
func TestOverLimit(t *testing.T) {
	t.Setenv("NLVM_SLOW", "0.1")
	m, said := startFake(t, "works on")
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	defer in.Close()
	readSlowly(out, 10*time.Millisecond, math.MaxInt)
	ends(t, m, func() {
		status, err := m.Run(t.Context(), Request{Stdout: in, Timeout: time.Second})
		if status != StatusTimeout || err != nil || !strings.Contains(said.String(), "the output is cut off") {
			t.Errorf("status %d, %v; %q", status, err, said)
		}
	})
}

// Files that the guest does not take are not waited for without an end.
func TestPushLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 4<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	items := []tarball.Item{{Source: file, Name: "file"}}
	t.Run("limit", func(t *testing.T) {
		shortLimits(t)
		m, _ := startFake(t, "does not hear")
		ends(t, m, func() {
			if err := m.Push(t.Context(), items); err == nil || !strings.Contains(err.Error(), "does not take") {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("interrupted", func(t *testing.T) {
		m, _ := startFake(t, "does not hear")
		ends(t, m, func() {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
			if err := m.Push(ctx, items); !errors.Is(err, why) {
				t.Errorf("%v, want that it was enough", err)
			}
		})
	})
}
