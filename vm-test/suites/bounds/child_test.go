// SPDX-License-Identifier: MIT

package bounds_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// running is a child that says when it is ready, and then waits to be told that
// it may go.
type running struct {
	cmd   *exec.Cmd
	stdin io.Closer // closed, it goes
	ready *os.File
	end   func() (string, error) // lets it go, and returns its output
}

// start starts a child as root of a user namespace of nobody's.
func start(t *testing.T, child string, change ...func(cmd *exec.Cmd)) *running {
	t.Helper()
	cmd := vmtest.Command(t, child, vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true})
	for _, f := range change {
		f(cmd)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = []*os.File{w}, &stdout, &stderr
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	c := &running{cmd: cmd, stdin: stdin, ready: r}
	c.end = sync.OnceValues(func() (string, error) {
		stdin.Close()
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%s: %w: %s", child, err, stderr.String())
		}
		return stdout.String(), err
	})
	t.Cleanup(func() {
		c.end()
		r.Close()
	})
	return c
}

// quit lets it go, and wants it to go well.
func (c *running) quit(t *testing.T) string {
	t.Helper()
	out, err := c.end()
	if err != nil {
		t.Error(err)
	}
	return out
}

// said is whether it is ready, or gone.
func (c *running) said() bool { return c.poll() != 0 }

// gone is whether it has ended, also if it has not been waited for.
func (c *running) gone() bool { return c.poll()&unix.POLLHUP != 0 }

func (c *running) poll() int16 {
	fds := []unix.PollFd{{Fd: int32(c.ready.Fd()), Events: unix.POLLIN}}
	unix.Poll(fds, 0)
	return fds[0].Revents
}

// wait waits until it is ready.
func (c *running) wait(t *testing.T) {
	t.Helper()
	if _, err := c.ready.Read(make([]byte, 1)); err != nil {
		_, end := c.end()
		t.Fatalf("the child was not ready: %v, %v", err, end)
	}
}
