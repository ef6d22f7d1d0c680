// SPDX-License-Identifier: MIT

package faults_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// What the calls read and write: not on a stack, which moves.
var (
	address unix.RawSockaddrNetlink
	joining int32
	joined  [64]uint32
	length  uint32
)

// memberships are the groups that a socket is in.
func memberships(t *testing.T, fd int) (all []int) {
	t.Helper()
	joined, length = [64]uint32{}, uint32(unsafe.Sizeof(joined))
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS,
		uintptr(unsafe.Pointer(&joined)), uintptr(unsafe.Pointer(&length)), 0); errno != 0 {
		t.Fatal(errno)
	}
	for group := range 32 * len(joined) {
		if joined[group/32]&(1<<(group%32)) != 0 {
			all = append(all, group+1)
		}
	}
	return all
}

// held is what a socket takes that is given back as soon as it is closed:
// descriptors of this process, and a reference to the module.
type held struct{ descriptors, module int }

func holding(t *testing.T) (h held) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h.descriptors = len(fds)
	if _, err := fmt.Sscan(vmtest.ReadFile(t, "/sys/module/nlpeer/refcnt"), &h.module); err != nil {
		t.Fatal(err)
	}
	return h
}

// sockets is how many of all protocols there are in this namespace. One that was
// closed is among them until nobody can look at it any more.
func sockets(t *testing.T) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(vmtest.ReadFile(t, "/proc/thread-self/net/sockstat"), "sockets: used %d", &n); err != nil || n == 0 {
		t.Fatalf("%d sockets: %v", n, err)
	}
	return n
}

// A socket is made, bound and made a member of a group, or cleanly refused: nothing
// is left of one that was not made, and one that is no member hears nothing.
func TestSockets(t *testing.T) {
	calm := vmtest.OpenTable(t, vmtest.RawCarrier)
	calm.Must(t, vmtest.DelObjects(""))
	family, before := vmtest.Nlpeer(t), sockets(t)
	for _, c := range []struct {
		name     string
		protocol int
		group    int
		hears    bool // of objects
	}{
		{"raw", vmtest.NetlinkTest, vmtest.RawGroupObjects, true},
		{"genl", unix.NETLINK_GENERIC, int(family.Groups["objects"]), true},
		{"connector", unix.NETLINK_CONNECTOR, vmtest.CnIdx, true},
		{"rtnl", unix.NETLINK_ROUTE, unix.RTNLGRP_NOTIFY, false},
	} {
		// hears looks whether a socket hears of objects.
		hears := func(t *testing.T, n int, s *vmtest.Socket, member bool) {
			t.Helper()
			calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, "mark"))
			calm.Must(t, vmtest.DelObject("mark"))
			for range 2 {
				if member && c.hears {
					if b, err := s.TryRecv(0); err != nil || !strings.Contains(string(b), "mark\x00") {
						t.Errorf("failure %d: the next event: % x, %v", n, b, err)
					}
				}
			}
			s.Empty(t)
		}
		t.Run(c.name+", socket", func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			before := holding(t)
			every(t, 4, func(n int) bool {
				fd, errno, happened := f.Do(t, n, unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, uintptr(c.protocol))
				switch {
				case errno == 0:
					unix.Close(int(fd))
				case !happened:
					t.Errorf("nothing failed any more, and yet: %v", errno)
				case errno != unix.ENFILE && !slices.Contains(clean, errno): // the kernel says so of its inode
					t.Errorf("failure %d: %v", n, errno)
				}
				if now := holding(t); now != before {
					t.Errorf("failure %d: %v, and held are %+v, before: %+v", n, errno, now, before)
				}
				s, err := vmtest.TryOpen(c.protocol, 0, 0)
				if err != nil {
					t.Fatalf("failure %d: the next socket: %v", n, err)
				}
				s.Close()
				return happened
			})
		})
		t.Run(c.name+", bind", func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			before := holding(t)
			every(t, 2, func(n int) bool {
				fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, c.protocol)
				if err != nil {
					t.Fatal(err)
				}
				s := &vmtest.Socket{FD: fd}
				defer s.Close()
				address = unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}
				if c.group <= 32 {
					address.Groups = 1 << (c.group - 1)
				}
				bind := func(n int) (unix.Errno, bool) {
					_, errno, happened := f.Do(t, n, unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address))
					return errno, happened
				}
				portID := func() uint32 {
					sa, err := unix.Getsockname(fd)
					if err != nil {
						t.Fatal(err)
					}
					return sa.(*unix.SockaddrNetlink).Pid
				}
				errno, happened := bind(n)
				if errno != 0 {
					if !happened || !slices.Contains(clean, errno) {
						t.Errorf("failure %d: %v", n, errno)
					}
					if in := memberships(t, fd); portID() != 0 || len(in) != 0 {
						t.Errorf("failure %d: %v, and the socket has port ID %d and groups %v", n, errno, portID(), in)
					}
					hears(t, n, s, false)
					if again, _ := bind(0); again != 0 {
						t.Errorf("failure %d: the next time: %v", n, again)
					}
				}
				if in := memberships(t, fd); portID() == 0 || c.group <= 32 && !slices.Equal(in, []int{c.group}) {
					t.Errorf("failure %d: bound, with port ID %d and groups %v", n, portID(), in)
				}
				hears(t, n, s, c.group <= 32)
				s.Close()
				if now := holding(t); now != before {
					t.Errorf("failure %d: %v, and held are %+v, before: %+v", n, errno, now, before)
				}
				return happened
			})
		})
		t.Run(c.name+", join", func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			before := holding(t)
			every(t, 2, func(n int) bool {
				s := vmtest.Open(t, c.protocol, 0, 0)
				defer s.Close()
				joining = int32(c.group)
				join := func(n int) (unix.Errno, bool) {
					_, errno, happened := f.Do(t, n, unix.SYS_SETSOCKOPT, uintptr(s.FD), unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP,
						uintptr(unsafe.Pointer(&joining)), unsafe.Sizeof(joining))
					return errno, happened
				}
				errno, happened := join(n)
				if errno != 0 {
					if !happened || !slices.Contains(clean, errno) {
						t.Errorf("failure %d: %v", n, errno)
					}
					if in := memberships(t, s.FD); len(in) != 0 {
						t.Errorf("failure %d: %v, and the socket has groups %v", n, errno, in)
					}
					hears(t, n, s, false)
					if again, _ := join(0); again != 0 {
						t.Errorf("failure %d: the next time: %v", n, again)
					}
				}
				if in := memberships(t, s.FD); !slices.Equal(in, []int{c.group}) {
					t.Errorf("failure %d: a member of %v, want %d", n, in, c.group)
				}
				hears(t, n, s, true)
				s.Close()
				if now := holding(t); now != before {
					t.Errorf("failure %d: %v, and held are %+v, before: %+v", n, errno, now, before)
				}
				return happened
			})
		})
	}
	vmtest.Until(t, "the sockets are gone", func() bool { return sockets(t) <= before })
}
