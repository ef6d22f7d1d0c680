// SPDX-License-Identifier: MIT

package vmtest

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Net is a network namespace, kept alive by an open file.
type Net struct {
	File *os.File
}

// NewNet makes a network namespace. It ends when it has been closed, by Close
// or when the test ends, and no socket is left in it.
func NewNet(t testing.TB) *Net {
	t.Helper()
	n := &Net{}
	t.Cleanup(n.Close)
	onThread(t, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		var err error
		n.File, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	return n
}

// Close lets go of the namespace; again is harmless.
func (n *Net) Close() {
	if n.File != nil {
		n.File.Close()
		n.File = nil
	}
}

// Do runs f on a thread in the namespace. f must not end the test.
func (n *Net) Do(t testing.TB, f func() error) {
	t.Helper()
	onThread(t, func() error {
		if err := unix.Setns(int(n.File.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
}

// Open is Open in the namespace; the socket can be used from anywhere.
func (n *Net) Open(t testing.TB, protocol int, portID, groups uint32) *Socket {
	t.Helper()
	var s *Socket
	n.Do(t, func() (err error) {
		s, err = TryOpen(protocol, portID, groups)
		return err
	})
	t.Cleanup(s.Close)
	return s
}

// Control is OpenControl in the namespace.
func (n *Net) Control(t testing.TB) *Control {
	t.Helper()
	return NewControl(t, n.Open(t, unix.NETLINK_GENERIC, 0, 0))
}

// onThread runs f on a thread that is never used again, so that there is no
// state to restore.
func onThread(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with us
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
