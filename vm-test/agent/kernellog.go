// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// kernelLog sends the kernel's log to the host, record by record, from the
// moment it was opened.
type kernelLog struct {
	conn    *wire.Conn
	fd      int
	stopper *os.File // closing it ends the loop
	done    chan struct{}
}

// settle is how long the log is watched after the end: what a dying process
// or an unloading module causes may be logged by a kernel thread a bit later.
const settle = 20 * time.Millisecond

func followKernelLog(conn *wire.Conn) *kernelLog {
	l := &kernelLog{conn: conn, done: make(chan struct{})}
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		close(l.done)
		return l
	}
	// Messages of the boot are not this command's.
	_, _ = unix.Seek(fd, 0, unix.SEEK_END)
	r, w, err := os.Pipe()
	if err != nil {
		unix.Close(fd)
		close(l.done)
		return l
	}
	l.fd, l.stopper = fd, w
	go l.follow(r)
	return l
}

func (l *kernelLog) follow(stop *os.File) {
	defer close(l.done)
	defer unix.Close(l.fd)
	defer stop.Close()
	fds := []unix.PollFd{
		{Fd: int32(l.fd), Events: unix.POLLIN},
		{Fd: int32(stop.Fd()), Events: unix.POLLIN},
	}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		l.drain()
		if fds[1].Revents != 0 {
			time.Sleep(settle)
			l.drain()
			return
		}
	}
}

// drain sends all records that are there. A read gives exactly one.
func (l *kernelLog) drain() {
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.Read(l.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE):
			// Records were overwritten before they were read; the next read
			// goes on with the oldest that is left.
			_ = l.conn.Send(wire.Note, []byte("the kernel logged faster than its log could be read; some lines are missing"))
		case err != nil || n <= 0:
			return
		default:
			if l.conn.Send(wire.Kmsg, buf[:n]) != nil {
				return
			}
		}
	}
}

// stop sends what is left and returns when all is sent.
func (l *kernelLog) stop() {
	if l.stopper != nil {
		l.stopper.Close()
	}
	<-l.done
}
