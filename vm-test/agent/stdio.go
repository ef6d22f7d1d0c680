// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// stdio is the command's standard input, output and error: three pipes, or
// one terminal.
type stdio struct {
	in, out, err *os.File // the child's ends; all the same with a terminal

	toChild   *os.File
	fromOut   *os.File
	fromErr   *os.File // nil with a terminal
	terminal  *os.File // the master side, nil with pipes
	copiers   sync.WaitGroup
	closeOnce sync.Once
}

func (c *command) openStdio() (*stdio, error) {
	if c.Terminal != nil {
		master, slave, err := openTerminal(*c.Terminal)
		if err != nil {
			return nil, err
		}
		return &stdio{in: slave, out: slave, err: slave, toChild: master, fromOut: master, terminal: master}, nil
	}
	s := &stdio{}
	for _, p := range []struct{ r, w **os.File }{{&s.in, &s.toChild}, {&s.fromOut, &s.out}, {&s.fromErr, &s.err}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*p.r, *p.w = r, w
	}
	return s, nil
}

func (s *stdio) child() []uintptr {
	return []uintptr{s.in.Fd(), s.out.Fd(), s.err.Fd()}
}

func (s *stdio) closeChild() {
	s.in.Close()
	s.out.Close()
	s.err.Close()
}

func (s *stdio) closeParent() {
	s.closeOnce.Do(func() {
		s.toChild.Close()
		s.fromOut.Close()
		if s.fromErr != nil {
			s.fromErr.Close()
		}
	})
}

// start begins to copy in all directions.
func (s *stdio) start(c *command) {
	go func() {
		c.stdin.feed(s.toChild, c.conn)
		if s.terminal == nil {
			s.toChild.Close()
		} else {
			// A terminal in raw mode has no end of file: the host's was hung up.
			c.signal(unix.SIGHUP)
		}
	}()
	s.copiers.Go(func() { copyFrames(c.conn, wire.Stdout, s.fromOut) })
	if s.fromErr != nil {
		s.copiers.Go(func() { copyFrames(c.conn, wire.Stderr, s.fromErr) })
	}
}

// finish waits until all output was sent. If every process that could write is
// gone, the pipes end by themselves: it takes as long as the host takes to read. The
// bound is for a process that could not be killed; the result is false if it was
// reached, and output may be missing.
func (s *stdio) finish(gone bool) (whole bool) {
	done := make(chan struct{})
	go func() {
		s.copiers.Wait()
		close(done)
	}()
	var bound <-chan time.Time
	if !gone {
		bound = time.After(endPatience)
	}
	select {
	case <-done:
		whole = true
	case <-bound:
	}
	s.closeParent()
	return whole
}

// openTerminal makes a pseudo terminal.
func openTerminal(size wire.Size) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	fd := int(master.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("terminal number: %w", err)
	}
	if err = setSize(master, size); err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

func setSize(terminal *os.File, size wire.Size) error {
	return unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
}
