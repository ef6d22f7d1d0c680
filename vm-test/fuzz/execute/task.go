// SPDX-License-Identifier: MIT

package execute

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A task is a thread that carries out what it is told.
type task struct {
	do   chan func()
	kcov *kcov // nil if the kernel has none
	nth  int   // the thread's own fail-nth, -1 if the kernel has none

	failing uint32 // which allocation or copy of the next sending fails, 0 for none

	namespace int
	dropped   bool
}

// startTask makes a task. Its thread is never used for anything else.
func startTask() (*task, error) {
	t := &task{do: make(chan func()), nth: -1}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if _, serr := os.Stat(kcovFile); serr == nil {
			t.kcov, err = openKcov()
		}
		if fd, oerr := unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0); oerr == nil {
			t.nth = fd
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

// send sends a datagram, on the task's thread.
func (t *task) send(fd int, b []byte, portID, groups uint32) error {
	failing := t.failing
	t.failing = 0
	if failing == 0 || t.nth < 0 || len(b) == 0 {
		return unix.Sendto(fd, b, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: portID, Groups: groups})
	}
	on, off := strconv.AppendInt(nil, int64(failing), 10), []byte("0")
	to := unix.RawSockaddrNetlink{Family: unix.AF_NETLINK, Pid: portID, Groups: groups}
	// The delivery of a signal copies too, and a copy that fails there is fatal.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		return err
	}
	// From here on nothing but what is to fail: all that the thread does counts.
	_, _, armed := unix.RawSyscall(unix.SYS_WRITE, uintptr(t.nth), uintptr(unsafe.Pointer(&on[0])), uintptr(len(on)))
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT,
		uintptr(unsafe.Pointer(&to)), unix.SizeofSockaddrNetlink)
	for { // this too may be the call that fails
		if _, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(t.nth), uintptr(unsafe.Pointer(&off[0])), 1); err == 0 {
			break
		}
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		return err
	}
	switch {
	case armed != 0:
		return fmt.Errorf("fail-nth: %w", armed)
	case errno != 0:
		return errno
	}
	return nil
}

// quietFaults lets all kinds of allocations fail on request, and without a word
// in the log, where the kernel can.
func quietFaults() error {
	const dir = "/sys/kernel/debug"
	if _, err := os.Stat(filepath.Join(dir, "failslab")); err != nil {
		return nil
	}
	for file, value := range map[string]string{ // those that may sleep, most, never fail by default
		"failslab/ignore-gfp-wait":        "N",
		"failslab/verbose":                "0",
		"fail_page_alloc/ignore-gfp-wait": "N",
		"fail_page_alloc/min-order":       "0",
		"fail_page_alloc/verbose":         "0",
		"fail_usercopy/verbose":           "0",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
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
