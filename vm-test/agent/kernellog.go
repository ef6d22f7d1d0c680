// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// kernelMessages is where the kernel's log can be read.
const kernelMessages = "/dev/kmsg"

// kernelLog sends the kernel's log to the host, record by record, from the
// moment it was opened.
type kernelLog struct {
	conn    *wire.Conn
	read    func([]byte) (int, error) // a record of it
	fd      int
	stopper *os.File // closing it ends the loop
	done    chan struct{}

	lost    bool  // some records were overwritten before they were read
	failure error // why it was not read on
}

// settle is how long the log is watched after the end: what a dying process
// or an unloading module causes may be logged by a kernel thread a bit later.
const settle = 20 * time.Millisecond

func followKernelLog(conn *wire.Conn, file string) *kernelLog {
	l := &kernelLog{conn: conn, done: make(chan struct{})}
	stop, err := l.open(file)
	if err != nil {
		l.failure = err
		close(l.done)
		return l
	}
	go l.follow(stop)
	return l
}

func (l *kernelLog) open(file string) (stop *os.File, err error) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	// Messages of the boot are not this command's.
	_, err = unix.Seek(fd, 0, unix.SEEK_END)
	if err == nil {
		stop, l.stopper, err = os.Pipe()
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	l.fd, l.read = fd, func(p []byte) (int, error) { return unix.Read(fd, p) }
	return stop, nil
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
			l.failure = err
			return
		}
		if !l.drain() {
			return
		}
		if fds[1].Revents != 0 {
			time.Sleep(settle)
			l.drain()
			return
		}
	}
}

// drain sends all records that are there. A read gives exactly one. It is false if
// there is no going on.
func (l *kernelLog) drain() bool {
	buf := make([]byte, 8<<10)
	for {
		n, err := l.read(buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return true
		case errors.Is(err, unix.EPIPE):
			// Records were overwritten before they were read; the next read
			// goes on with the oldest that is left.
			l.lost = true
		case err == nil && n == 0:
			l.failure = errors.New("it ended")
			return false
		case err != nil:
			l.failure = err
			return false
		default:
			if l.conn.Send(wire.Kmsg, buf[:n]) != nil {
				return false // the host is gone
			}
		}
	}
}

// stop sends what is left, returns when all is sent, and says what is missing.
func (l *kernelLog) stop() []string {
	if l.stopper != nil {
		l.stopper.Close()
	}
	<-l.done
	return l.problems()
}

// problems are why nobody knows whether the kernel has complained.
func (l *kernelLog) problems() (all []string) {
	if l.lost {
		all = append(all, "the kernel logged faster than its log could be read: some lines are missing, and complaints may be among them")
	}
	if l.failure != nil {
		all = append(all, fmt.Sprintf("the kernel's log was not read to its end: %v", l.failure))
	}
	return all
}
