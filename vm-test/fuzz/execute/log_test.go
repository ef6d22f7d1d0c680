// SPDX-License-Identifier: MIT

package execute

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A program after which nobody knows what the kernel said is not taken for a good
// one.
func TestReadLog(t *testing.T) {
	const (
		harmless  = "6,1,1000000,-;nlpeer: loaded\n"
		complaint = "4,2,2000000,-;WARNING: CPU: 0 PID: 9 at net/x.c:3 f+0x1/0x2\n"
	)
	for _, tt := range []struct {
		name     string
		reads    []any // records and errors; EAGAIN is what follows
		problems []string
	}{
		{"silent", nil, nil},
		{"harmless", []any{harmless, unix.EINTR, harmless}, nil},
		{"complaint", []any{harmless, complaint, unix.EAGAIN, harmless}, []string{"complains:\n[    2.000000] WARNING: "}},
		{"overrun", []any{harmless, unix.EPIPE, harmless}, []string{"may be among what is lost"}},
		{"complaint behind an overrun", []any{unix.EPIPE, complaint}, []string{"complains:\n", "may be among what is lost"}},
		{"unreadable", []any{harmless, unix.EIO}, []string{"cannot be read: input/output error"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Runner{log: func(p []byte) (int, error) {
				if len(tt.reads) == 0 {
					return -1, unix.EAGAIN
				}
				next := tt.reads[0]
				tt.reads = tt.reads[1:]
				if err, ok := next.(error); ok {
					return -1, err
				}
				return copy(p, next.(string)), nil
			}}
			r.readLog()
			good := len(r.problems) == len(tt.problems)
			for i := 0; good && i < len(r.problems); i++ {
				good = strings.Contains(r.problems[i], tt.problems[i])
			}
			if !good {
				t.Errorf("problems %q, want %q", r.problems, tt.problems)
			}
		})
	}
}
