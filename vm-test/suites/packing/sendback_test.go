// SPDX-License-Identifier: MIT

package packing_test

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// plain makes a batch of n echoes that ask for nothing else. Their padding is
// not cleared.
func plain(t *testing.T, s *vmtest.Socket, n int) (b []byte, answers []answer) {
	r := vmtest.Rand(t)
	for i := range n {
		req, a := echo(s, uint32(i), vmtest.Bytes(r, 40+r.IntN(20)), 0)
		b = append(b, req.Bytes()...)
		for p := aligned(len(req.Body)) - len(req.Body); p > 0; p-- {
			b[len(b)-p] = byte(1 + r.IntN(255))
		}
		answers = append(answers, a...)
	}
	return b, answers
}

// The module sends the datagram of such a batch back. It has nothing of its
// sender's but the payloads. The longer one lies in memory of another kind.
func TestSentBack(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	s.Set(t, unix.NETLINK_PKTINFO, 1)
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{2, 40, 400} {
		b, answers := plain(t, s, n)
		s.Send(t, append(b, make([]byte, 15)...)) // too few for another
		got, oob := make([]byte, 64<<10), make([]byte, 256)
		read, oobn, _, from, err := unix.Recvmsg(s.FD, got, oob, unix.MSG_DONTWAIT)
		if err != nil {
			t.Fatal(err)
		}
		if sa := from.(*unix.SockaddrNetlink); sa.Pid != 0 || sa.Groups != 0 {
			t.Errorf("%d echoes come from port ID %d, groups %#x; want the kernel, 0, 0", n, sa.Pid, sa.Groups)
		}
		control, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(control) != 2 {
			t.Fatalf("control messages %+v, %v; want credentials and a group", control, err)
		}
		for _, c := range control {
			switch {
			case c.Header.Level == unix.SOL_SOCKET && c.Header.Type == unix.SCM_CREDENTIALS:
				if cred, err := unix.ParseUnixCredentials(&c); err != nil || *cred != (unix.Ucred{}) {
					t.Errorf("credentials %+v, %v; want those of the kernel, zeros", cred, err)
				}
			case c.Header.Level == unix.SOL_NETLINK && c.Header.Type == unix.NETLINK_PKTINFO:
				if !bytes.Equal(c.Data, vmtest.U32(0)) {
					t.Errorf("group % x, want 0", c.Data)
				}
			default:
				t.Errorf("control message %+v", c)
			}
		}
		if read != len(b) {
			t.Fatalf("%d bytes answer %d", read, len(b))
		}
		messages := vmtest.Parse(t, got[:read])
		if len(messages) != n {
			t.Fatalf("%d answers to %d echoes", len(messages), n)
		}
		for i, m := range messages {
			answers[i].check(t, m)
		}
		s.Empty(t)
	}
}

// Who sends a batch to a group sends it to the kernel as well. Those in the group
// share its bytes, and read what was sent, though the kernel has answered since.
func TestSharedWithGroup(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s, listener := open(t), vmtest.Open(t, vmtest.NetlinkTest, 0, 1<<4)
	for _, n := range []int{2, 40, 400} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			b, answers := plain(t, s, n)
			if err := unix.Sendto(s.FD, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << 4}); err != nil {
				t.Fatal(err)
			}
			expect(t, s, len(b), answers)
			got := make([]byte, 64<<10)
			read, from, err := unix.Recvfrom(listener.FD, got, unix.MSG_DONTWAIT)
			if err != nil {
				t.Fatal(err)
			}
			if pid := from.(*unix.SockaddrNetlink).Pid; pid != s.PortID {
				t.Errorf("the group has it from port ID %d, want %d", pid, s.PortID)
			}
			if !bytes.Equal(got[:read], b) {
				t.Errorf("the group got\n% x, sent was\n% x", got[:read], b)
			}
		})
	}
}
