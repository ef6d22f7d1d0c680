// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// sent are the records that were sent to the host.
func sent(t *testing.T, b *bytes.Buffer) (records []string) {
	t.Helper()
	conn := wire.NewConn(b)
	for {
		f, err := conn.Receive()
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil || f.Type != wire.Kmsg {
			t.Fatalf("frame %d %q, %v", f.Type, f.Payload, err)
		}
		records = append(records, string(f.Payload))
	}
}

// Whether the kernel complained, nobody can say of a log that was not read.
func TestKernelLogWithoutLog(t *testing.T) {
	var b bytes.Buffer
	l := followKernelLog(wire.NewConn(&b), filepath.Join(t.TempDir(), "kmsg"))
	if p := l.stop(); len(p) != 1 || !strings.Contains(p[0], "the kernel's log") || !strings.Contains(p[0], "no such file") {
		t.Errorf("%q", p)
	}
}

// A log that was overrun, or cannot be read on, is a problem; what is left of it is
// sent all the same.
func TestKernelLogLost(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reads   []any // records and errors
		records string
		problem string
	}{
		{"all well", []any{"one", unix.EINTR, "two", unix.EAGAIN}, "one two", ""},
		{"overrun", []any{"one", unix.EPIPE, "nine", unix.EPIPE, "twenty", unix.EAGAIN}, "one nine twenty", "lines are missing"},
		{"cannot be read on", []any{"one", unix.EIO}, "one", "input/output error"},
		{"ends", []any{"one", ""}, "one", "ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			l := &kernelLog{conn: wire.NewConn(&b), read: func(p []byte) (int, error) {
				next := tt.reads[0]
				tt.reads = tt.reads[1:]
				if err, ok := next.(error); ok {
					return -1, err
				}
				return copy(p, next.(string)), nil
			}}
			l.drain()
			if got := strings.Join(sent(t, &b), " "); got != tt.records {
				t.Errorf("sent %q, want %q", got, tt.records)
			}
			if p := l.problems(); tt.problem == "" && len(p) > 0 || tt.problem != "" && (len(p) != 1 || !strings.Contains(p[0], tt.problem)) {
				t.Errorf("problems %q, want one with %q", p, tt.problem)
			}
		})
	}
}
