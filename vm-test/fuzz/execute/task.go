// SPDX-License-Identifier: MIT

package execute

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A task is a thread that carries out what it is told.
type task struct {
	do   chan func()
	kcov *kcov // nil if the kernel has none

	namespace int
	dropped   bool
}

// startTask makes a task. Its thread is never used for anything else.
func startTask() (*task, error) {
	t := &task{do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if _, serr := os.Stat(kcovFile); serr == nil {
			t.kcov, err = openKcov()
		}
		ready <- err
		for f := range t.do {
			f()
		}
	}()
	return t, <-ready
}

// run lets the task do f and waits for it.
func (t *task) run(f func()) {
	done := make(chan struct{})
	t.do <- func() { f(); close(done) }
	<-done
}

// enter moves the task to a namespace, one of fds.
func (t *task) enter(n int, fds []int) error {
	if n == t.namespace {
		return nil
	}
	err := unix.Setns(fds[n], unix.CLONE_NEWNET)
	if err == nil {
		t.namespace = n
	}
	return err
}

// fresh moves the task to a new namespace, which ends with its last socket after
// the task has left.
func (t *task) fresh() error {
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		t.namespace = -1
	}
	return err
}

// privilege gives the task its capabilities, or takes them away, but for the
// one that it needs to change its namespace again.
func (t *task) privilege(all bool) error {
	if t.dropped != all {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	if all {
		data[0].Effective, data[1].Effective = data[0].Permitted, data[1].Permitted
	} else {
		data[0].Effective, data[1].Effective = 1<<unix.CAP_SYS_ADMIN, 0
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return err
	}
	t.dropped = !all
	return nil
}

// makeNamespaces returns descriptors of n network namespaces, the first of them
// the one that the caller is in.
func makeNamespaces(t *task, n int) (fds []int, err error) {
	t.run(func() {
		for i := range n {
			if i > 0 {
				if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
					return
				}
			}
			var fd int
			fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return
			}
			fds = append(fds, fd)
		}
		err = unix.Setns(fds[0], unix.CLONE_NEWNET)
	})
	if err != nil {
		return nil, fmt.Errorf("network namespaces: %w", err)
	}
	return fds, nil
}
