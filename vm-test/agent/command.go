// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// command is the one thing this machine was started for.
type command struct {
	wire.Command
	conn  *wire.Conn
	stdin *stdinQueue
	cut   bool // the end of the output may be missing

	mu       sync.Mutex // guards the rest
	pid      int        // 0 before the start and after the end
	terminal *os.File   // the master side, nil without a terminal
}

// endPatience bounds the wait for processes that were killed to be gone, and for
// the output of those that are not.
const endPatience = 2 * time.Second

func newCommand(conn *wire.Conn, c wire.Command) *command {
	return &command{Command: c, conn: conn, stdin: newStdinQueue()}
}

// execute does the whole run and returns the verdict.
func (c *command) execute() wire.ExitInfo {
	log := followKernelLog(c.conn, kernelMessages)
	info := c.runLogged()
	info.Problems = append(info.Problems, log.stop()...)
	return info
}

func (c *command) runLogged() wire.ExitInfo {
	if err := c.load(); err != nil {
		return wire.ExitInfo{Status: 2, Setup: err.Error()}
	}
	if err := c.conn.Send(wire.Started, nil); err != nil {
		return wire.ExitInfo{Status: 2, Setup: err.Error()}
	}
	info := wire.ExitInfo{Status: c.spawn()}
	if c.cut {
		info.Problems = append(info.Problems, "a process could not be killed, and the end of the output may be missing")
	}
	info.Problems = slices.Concat(info.Problems, unloadExtra(c.Extra), unloadPeer(), askDetectors())
	for _, work := range c.Gcov {
		if err := saveCounts(work); err != nil {
			info.Problems = append(info.Problems, "the counts of executed lines: "+err.Error())
		}
	}
	if len(c.Gcov) > 0 {
		c.Collect = append(c.Collect, gcovCopy)
	}
	if err := c.bringBack(); err != nil {
		info.Problems = append(info.Problems, err.Error())
	}
	return info
}

func (c *command) load() error {
	for _, m := range c.Insmod {
		if err := insmod(m, ""); err != nil {
			return err
		}
	}
	if c.Module != "" {
		if err := insmod(c.Module, c.ModuleArgs); err != nil {
			return err
		}
	}
	for _, m := range c.Extra {
		if err := insmod(m, ""); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts the command, waits for it, and clears away all it left behind.
func (c *command) spawn() int {
	program, err := c.lookUp()
	if err != nil {
		return c.refuse(err)
	}
	io, err := c.openStdio()
	if err != nil {
		return c.refuse(err)
	}
	attr := &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: io.child(),
		// A session of its own, so that signals and the terminal are the
		// command's and its children's alone.
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: c.Terminal != nil},
	}
	c.mu.Lock()
	c.terminal = io.terminal
	pid, err := syscall.ForkExec(program, c.Argv, attr)
	if err == nil {
		c.pid = pid
	}
	c.mu.Unlock()
	io.closeChild()
	if err != nil {
		io.closeParent()
		return c.refuse(&os.PathError{Op: "execute", Path: program, Err: err})
	}

	io.start(c)
	status := reap(pid)
	c.mu.Lock()
	c.pid = 0
	c.mu.Unlock()
	if !io.finish(killRest()) {
		c.cut = true
	}
	return status
}

// refuse reports a command that cannot be executed the way a shell does.
func (c *command) refuse(err error) int {
	fmt.Fprintf(c.conn.Writer(wire.Stderr), "nlvm: %v in the guest\n", err)
	if errors.Is(err, os.ErrNotExist) {
		return 127
	}
	return 126
}

// lookUp finds the program along the PATH that the command will see.
func (c *command) lookUp() (string, error) {
	name := c.Argv[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range c.Env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(list, ":") {
			file := path.Join(dir, name)
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
				return file, nil
			}
		}
	}
	return "", &os.PathError{Op: "execute", Path: name, Err: os.ErrNotExist}
}

func (c *command) signal(s unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid != 0 {
		_ = unix.Kill(-c.pid, s)
	}
}

func (c *command) resize(size wire.Size) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.terminal != nil {
		_ = setSize(c.terminal, size)
	}
}

// reap waits for pid. As the first process the agent inherits every orphan,
// so it waits for any child and keeps only the status it looks for.
func reap(pid int) int {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 255
		case got != pid:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		case ws.Exited():
			return ws.ExitStatus()
		}
	}
}

// killRest ends every process but this one and waits until they are gone. It is
// false if one is not.
func killRest() bool {
	// The first process is exempt from its own kill(-1).
	_ = unix.Kill(-1, unix.SIGKILL)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	select {
	case <-done:
		return true
	case <-time.After(endPatience):
		return false
	}
}

// bringBack sends the files that the host asked for and that exist.
func (c *command) bringBack() error {
	var items []tarball.Item
	for _, p := range c.Collect {
		if _, err := os.Lstat(p); err == nil {
			items = append(items, tarball.Item{Source: p, Name: strings.TrimPrefix(p, "/")})
		}
	}
	if len(items) == 0 {
		return nil
	}
	err := tarball.Pack(c.conn.Writer(wire.Back), items)
	if err != nil {
		err = fmt.Errorf("bring files back: %w", err)
	}
	return errors.Join(err, c.conn.Send(wire.BackEnd, nil))
}

// copyFrames sends what comes from r until it ends.
func copyFrames(conn *wire.Conn, t wire.Type, r io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if serr := conn.Send(t, buf[:n]); serr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
