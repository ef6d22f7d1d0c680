// SPDX-License-Identifier: MIT

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Module loads the module afresh with the given parameters ("interval_ms=1"),
// so that counters and event numbers begin anew, and unloads it when the test
// ends. A module that does not unload, or leaves a socket of its protocol
// behind, fails the test.
func Module(t testing.TB, params ...string) {
	t.Helper()
	if Loaded() {
		Unload(t)
	}
	if err := Insmod(params...); err != nil {
		t.Fatalf("insmod nlpeer %s: %v\n%s", strings.Join(params, " "), err, KernelLog(t))
	}
	t.Cleanup(func() {
		if Loaded() {
			Unload(t)
		}
	})
}

// Loaded reports whether the module is there.
func Loaded() bool {
	_, err := os.Stat("/sys/module/nlpeer")
	return err == nil
}

// Insmod loads the module and returns what init_module(2) says.
func Insmod(params ...string) error {
	return InsmodFile(os.Getenv("NLVM_MODULE"), params...)
}

// InsmodFile loads the module in a file.
func InsmodFile(path string, params ...string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), strings.Join(params, " "), 0)
}

// KernelModule loads one of the kernel's own modules that nlvm put beside ours,
// and unloads it when the test ends.
func KernelModule(t testing.TB, name string, params ...string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(os.Getenv("NLVM_MODULE")), name+".ko*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("module %s beside nlpeer.ko: %v, %v", name, files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(files[0]) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), strings.Join(params, " "), flags); err != nil {
		t.Fatalf("insmod %s: %v\n%s", name, err, KernelLog(t))
	}
	t.Cleanup(func() {
		Until(t, name+" is unloaded", func() bool { return Rmmod(name) == nil })
	})
}

// Rmmod unloads a module and returns what delete_module(2) says, at once.
func Rmmod(name string) error {
	return unix.DeleteModule(name, unix.O_NONBLOCK)
}

// Unload unloads the module. Sockets are closed behind the back of close(2) in
// some kernels, so it tries again for a moment.
func Unload(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(Deadline())
	for {
		err := Rmmod("nlpeer")
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			t.Fatalf("rmmod nlpeer: %v; sockets:\n%s", err, ReadFile(t, "/proc/net/netlink"))
		}
		unix.Select(0, nil, nil, nil, &unix.Timeval{Usec: 10000})
	}
	for _, s := range Sockets(t) {
		if s.Protocol == NetlinkTest {
			t.Errorf("socket left behind after rmmod: %+v", s)
		}
	}
}

// KernelLog returns the kernel's log.
func KernelLog(t testing.TB) string {
	t.Helper()
	buf := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, buf)
	if err != nil {
		t.Fatalf("reading the kernel log: %v", err)
	}
	return string(buf[:n])
}

// LogMark returns a function that gives the lines logged since.
func LogMark(t testing.TB) func() string {
	before := KernelLog(t)
	return func() string {
		after := KernelLog(t)
		if i := strings.LastIndex(after, lastLine(before)); i >= 0 {
			return after[i+len(lastLine(before)):]
		}
		return after
	}
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// NetlinkSocket is a line of /proc/net/netlink, which lists the sockets of the
// caller's network namespace.
type NetlinkSocket struct {
	Protocol int
	PortID   uint32
	Groups   uint32
	Rmem     int // bytes of memory that wait to be received
	Drops    int
}

// Sockets lists the netlink sockets of this namespace.
func Sockets(t testing.TB) []NetlinkSocket {
	t.Helper()
	var all []NetlinkSocket
	for i, line := range strings.Split(strings.TrimSpace(ReadFile(t, "/proc/thread-self/net/netlink")), "\n") {
		if i == 0 {
			continue
		}
		var (
			sk, wmem, dump, locks, inode string
			s                            NetlinkSocket
		)
		if _, err := fmt.Sscanf(string(line), "%s %d %d %x %d %s %s %s %d %s", &sk, &s.Protocol, &s.PortID,
			&s.Groups, &s.Rmem, &wmem, &dump, &locks, &s.Drops, &inode); err != nil {
			t.Fatalf("/proc/net/netlink: %q: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

// Line finds the socket in /proc/net/netlink.
func (s *Socket) Line(t testing.TB) NetlinkSocket {
	t.Helper()
	protocol, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range Sockets(t) {
		if l.Protocol == protocol && l.PortID == s.PortID {
			return l
		}
	}
	t.Fatalf("no socket of protocol %d with port ID %d in /proc/net/netlink", protocol, s.PortID)
	return NetlinkSocket{}
}

// ReadFile returns what is in a file of the guest, such as those in /proc.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
