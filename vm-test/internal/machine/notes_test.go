// SPDX-License-Identifier: MIT

package machine

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// fullPipe returns a pipe that takes nothing more until it is read.
func fullPipe(t *testing.T) (out, in *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out.Close() // ends a write, too
		in.Close()
	})
	size, err := unix.FcntlInt(in.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(append(make([]byte, size-1), '\n')); err != nil {
		t.Fatal(err)
	}
	return out, in
}

// Who has something to say does not wait for who does not read it. What is read later is
// there, and so is a word about what is not.
func TestNotesUnread(t *testing.T) {
	shortLimits(t)
	out, in := fullPipe(t)
	n := NewNotes(in)
	const many = 2 * notesKept
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range many {
			fmt.Fprintf(n, "note %d\n", i)
		}
		n.Flush()
	}()
	select {
	case <-done:
	case <-time.After(hanging):
		t.Fatal("it waits for the reader")
	}
	lines := bufio.NewScanner(out)
	read := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatal(lines.Err())
		}
		return lines.Text()
	}
	read() // what had filled the pipe
	next := 0
	for ; next < notesKept; next++ {
		if line, want := read(), fmt.Sprintf("note %d", next); line != want {
			t.Fatalf("%q, want %q", line, want)
		}
	}
	n.Write([]byte("last\n"))
	for line := ""; line != "last"; line = read() {
		var lost int
		switch k, _ := fmt.Sscanf(line, "nlvm: %d notes that nobody read are missing here", &lost); {
		case k == 1:
			next += lost
		case line != "":
			next++ // one that was on its way beside those in the queue
		}
	}
	if next != many {
		t.Errorf("%d notes were written or are told to be missing, want %d", next, many)
	}
}

// Notes that are read are waited for, though it takes longer than for one who does not
// read.
func TestNotesSlowlyRead(t *testing.T) {
	out, in := fullPipe(t)
	n := NewNotes(in)
	const tick = 50 * time.Millisecond
	got := readSlowly(out, tick, int(2*Patience(readLimit)/tick))
	text := strings.Repeat("nlvm: all is well\n", 1000)
	n.Write([]byte(text))
	n.Flush()
	in.Close()
	if n := <-got; n != int64(4096+len(text)) {
		t.Errorf("%d bytes arrived, want %d", n, 4096+len(text))
	}
}

// saysWhy fails with much to say of it.
func saysWhy(conn *wire.Conn) int {
	await(conn, wire.Run)
	_ = conn.Send(wire.Started, nil)
	return verdict(conn, wire.ExitInfo{Status: 7, Problems: make([]string, 100)})
}

// A run and its limits do not wait for the reader of notes either, be they alone or where
// the output goes.
func TestRunWithUnreadNotes(t *testing.T) {
	run := func(t *testing.T, guest string, r Request, want int) {
		m, _ := startFake(t, guest)
		m.notes = NewNotes(r.Stderr)
		ends(t, m, func() {
			if status, err := m.Run(t.Context(), r); status != want || err != nil {
				t.Errorf("status %d, %v, want %d", status, err, want)
			}
		})
	}
	t.Run("time limit", func(t *testing.T) {
		_, in := fullPipe(t)
		run(t, "works on", Request{Stdout: io.Discard, Stderr: in, Timeout: time.Second}, StatusTimeout)
	})
	t.Run("time limit with output", func(t *testing.T) {
		_, in := fullPipe(t)
		run(t, "works on", Request{Stdout: in, Stderr: in, Timeout: time.Second}, StatusTimeout)
	})
	t.Run("end of the run", func(t *testing.T) {
		_, in := fullPipe(t)
		run(t, "says why", Request{Stderr: in}, 7)
	})
}
