// SPDX-License-Identifier: MIT

package check

import (
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelLog is what the kernel has said since it was opened.
type kernelLog struct {
	fd   int // of /dev/kmsg, behind what was read; -1 if there is none
	text strings.Builder
}

func openKernelLog() *kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &kernelLog{fd: -1}
	}
	if _, err := unix.Seek(fd, 0, io.SeekEnd); err != nil {
		unix.Close(fd)
		return &kernelLog{fd: -1}
	}
	return &kernelLog{fd: fd}
}

func (l *kernelLog) close() {
	if l.fd >= 0 {
		unix.Close(l.fd)
	}
}

// read reads on, and returns all that was said, a line each.
func (l *kernelLog) read() string {
	buf := make([]byte, 8<<10)
	for l.fd >= 0 {
		n, err := unix.Read(l.fd, buf)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINTR) {
			continue // EPIPE: records were lost before the next one
		}
		if err != nil || n <= 0 {
			break
		}
		// PRIORITY,SEQUENCE,TIME,FLAGS;TEXT, and more lines about it.
		if _, text, ok := strings.Cut(string(buf[:n]), ";"); ok {
			text, _, _ = strings.Cut(text, "\n")
			l.text.WriteString(text + "\n")
		}
	}
	return l.text.String()
}

// KernelLog is what the kernel has said since the step began, a line each,
// without the time.
func KernelLog(t *T) string { return t.log.read() }
