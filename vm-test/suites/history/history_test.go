// SPDX-License-Identifier: MIT

// Package history_test asks a namespace for the events it remembers, as a
// listener does that lost some.
package history_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const cmdEventGet = 6

func u64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }

func open(t *testing.T) (*vmtest.Socket, vmtest.Family) {
	t.Helper()
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	return s, vmtest.Nlpeer(t)
}

func request(f vmtest.Family, attrs ...vmtest.Attr) vmtest.Message {
	m := vmtest.NewGenl(f.ID, cmdEventGet, 5, attrs...)
	m.Flags |= unix.NLM_F_DUMP
	return m
}

func since(group uint32, seq uint64) []vmtest.Attr {
	return []vmtest.Attr{{Type: 1, Data: vmtest.U32(group)}, {Type: 2, Data: u64(seq)}}
}

// finish reads a dump to its end and returns its events and the errno and text
// at the end.
func finish(t *testing.T, s *vmtest.Socket, f vmtest.Family, req vmtest.Message) ([]vmtest.Event, unix.Errno, string) {
	t.Helper()
	var events []vmtest.Event
	for {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Flags&unix.NLM_F_MULTI == 0 || m.Seq != req.Seq || m.PortID != s.PortID {
				t.Fatalf("%+v is no part of the dump", m)
			}
			if m.Type == unix.NLMSG_DONE {
				text := ""
				if m.Flags&unix.NLM_F_ACK_TLVS != 0 {
					for _, a := range vmtest.Attrs(t, m.Body[4:]) {
						if a.Type == unix.NLMSGERR_ATTR_MSG {
							text = unix.ByteSliceToString(a.Data)
						}
					}
				}
				s.Empty(t)
				return events, unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body))), text
			}
			if m.Type != f.ID || len(m.Body) < 4 || m.Body[0] != cmdEventGet || m.Body[1] != 1 {
				t.Fatalf("%+v is no event of the dump", m)
			}
			events = append(events, vmtest.ParseEvent(t, vmtest.Attrs(t, m.Body[4:])))
		}
	}
}

func dump(t *testing.T, group uint32, seq uint64) []vmtest.Event {
	t.Helper()
	s, f := open(t)
	req := request(f, since(group, seq)...)
	s.Send(t, req.Bytes())
	events, errno, text := finish(t, s, f, req)
	if errno != 0 {
		t.Fatalf("dump of group %d since %d: %v, %q", group, seq, errno, text)
	}
	s.Close()
	return events
}

// beacon makes events until the listener has seen number n, then stops.
func beacon(t *testing.T, l *vmtest.Listener, n uint64, size uint32) []vmtest.Event {
	t.Helper()
	c := vmtest.OpenControl(t)
	defer c.Close()
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(size)}, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(1)})
	var all []vmtest.Event
	for len(all) == 0 || all[len(all)-1].Seq < n {
		all = append(all, l.Next(t))
	}
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(0)})
	return append(all, l.Drain(t)...)
}

func same(t *testing.T, got, want []vmtest.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
			t.Fatalf("event %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// All that is remembered may be looked through for nothing, and all who use generic
// netlink wait behind that: so it comes last in a datagram.
func TestComesLast(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	n := len(beacon(t, vmtest.ListenRaw(t, 1), 3, 0))
	s, f := open(t)
	req, echo := request(f, since(1, 0)...), vmtest.NewGenl(f.ID, vmtest.CmdEcho, 8, vmtest.Attr{Type: 1, Data: vmtest.Random(t, 13)})
	first := func() {
		t.Helper()
		if m := s.RecvOne(t); m.Seq != echo.Seq || !bytes.Equal(m.Body, echo.Body) {
			t.Fatalf("echo: %+v", m)
		}
	}

	s.Send(t, vmtest.Join(echo, req))
	first()
	if events, errno, text := finish(t, s, f, req); len(events) != n || errno != 0 {
		t.Errorf("behind another request: %d events of %d, %v, %q", len(events), n, errno, text)
	}
	// The answer to the echo overtakes nothing, so it is looked for at the end.
	s.Send(t, vmtest.Join(req, echo))
	m := s.RecvOne(t)
	if want := -int32(unix.EINVAL); m.Type != unix.NLMSG_DONE || m.Seq != req.Seq || vmtest.S32(m.Body) != want ||
		!bytes.Contains(m.Body, []byte("nlpeer: what takes long must be the last request of a datagram\x00")) {
		t.Errorf("before another request: %+v", m)
	}
	first()
	s.Empty(t)
}

// What was sent can be had again, attribute by attribute, from any number on.
func TestSince(t *testing.T) {
	for _, size := range []uint32{0, 7, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			sent := beacon(t, vmtest.ListenRaw(t, 1), 60, size)
			last := uint64(len(sent))
			for _, seq := range []uint64{0, 1, 30, last - 1, last} {
				same(t, dump(t, 1, seq), sent[seq:])
			}
			if got := dump(t, 2, 0); len(got) != 0 {
				t.Errorf("group 2 has %d events", len(got))
			}

			// Without a number, all of them.
			s, f := open(t)
			req := request(f, vmtest.Attr{Type: 1, Data: vmtest.U32(1)})
			s.Send(t, req.Bytes())
			got, errno, _ := finish(t, s, f, req)
			if errno != 0 {
				t.Fatal(errno)
			}
			same(t, got, sent)
		})
	}
}

// All groups share one history; each has its numbers.
func TestGroups(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=0x80000001")
	raw, genl := vmtest.ListenRaw(t, 0x80000001), vmtest.ListenGenl(t)
	sent := beacon(t, raw, 20, 3)
	sent = append(sent, genl.Drain(t)...)
	for _, group := range []uint32{1, 32, vmtest.GroupBeacon} {
		var want []vmtest.Event
		for _, e := range sent {
			if e.Group == group {
				want = append(want, e)
			}
		}
		if len(want) < 20 {
			t.Fatalf("group %d was sent %d events", group, len(want))
		}
		same(t, dump(t, group, 0), want)
	}
}

// Thousands of other groups' events are no hindrance, neither behind what is asked
// for nor before it.
func TestFewAmongMany(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=65536")
	c := vmtest.OpenControl(t)
	l := vmtest.ListenRaw(t, 3)
	var sent []vmtest.Event
	for _, burst := range []struct{ groups, n uint32 }{{2, 3000}, {1, 50}, {2, 3000}, {1, 50}, {2, 3000}} {
		c.Set(t, vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(burst.groups)},
			vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(burst.n)})
		for range burst.n {
			if e := l.Next(t); e.Group == 1 {
				sent = append(sent, e)
			}
		}
	}
	last := uint64(len(sent))
	for _, seq := range []uint64{0, 1, 49, 50, 51, last - 1, last} {
		same(t, dump(t, 1, seq), sent[seq:])
	}
}

// The oldest are forgotten, and the first number tells how many.
func TestForgotten(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=16")
	sent := beacon(t, vmtest.ListenRaw(t, 1), 50, 1)
	same(t, dump(t, 1, 0), sent[len(sent)-16:])
	same(t, dump(t, 1, 3), sent[len(sent)-16:])
	same(t, dump(t, 1, uint64(len(sent)-4)), sent[len(sent)-4:])
	if got := vmtest.OpenControl(t).Stats(t); got.HistorySize != 16 || got.HistoryHeld != 16 ||
		got.HistoryBytes != 0 || got.HistoryBytesMax != 1<<20 {
		t.Errorf("the statistics say %d of %d events, %d of %d bytes", got.HistoryHeld, got.HistorySize, got.HistoryBytes, got.HistoryBytesMax)
	}
}

func TestNoHistory(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=0")
	beacon(t, vmtest.ListenRaw(t, 1), 5, 0)
	if got := dump(t, 1, 0); len(got) != 0 {
		t.Errorf("%d events in no history", len(got))
	}
}

func TestRefused(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	n := uint64(len(beacon(t, vmtest.ListenRaw(t, 1), 3, 0)))
	s, f := open(t)
	for _, tt := range []struct {
		name  string
		attrs []vmtest.Attr
		errno unix.Errno
		text  string
	}{
		{"no group", nil, unix.EINVAL, "nlpeer: event-get needs a group"},
		{"group 0", since(0, 0), unix.EINVAL, "nlpeer: no such group"},
		{"group 33", since(33, 0), unix.EINVAL, "nlpeer: no such group"},
		{"all ones", since(0xffffffff, 0), unix.EINVAL, "nlpeer: no such group"},
		{"from the future", since(1, n+1), unix.ERANGE, "nlpeer: the group has not reached that number"},
		{"a group without events", since(2, 1), unix.ERANGE, "nlpeer: the group has not reached that number"},
	} {
		req := request(f, tt.attrs...)
		s.Send(t, req.Bytes())
		events, errno, text := finish(t, s, f, req)
		if len(events) != 0 || errno != tt.errno || text != tt.text {
			t.Errorf("%s: %d events, %v, %q; want %v, %q", tt.name, len(events), errno, text, tt.errno, tt.text)
		}
	}
	for _, tt := range []struct {
		name  string
		attrs []vmtest.Attr
	}{
		{"short group", []vmtest.Attr{{Type: 1, Data: make([]byte, 3)}}},
		{"short number", []vmtest.Attr{{Type: 1, Data: vmtest.U32(1)}, {Type: 2, Data: make([]byte, 4)}}},
		{"unknown attribute", []vmtest.Attr{{Type: 1, Data: vmtest.U32(1)}, {Type: 3, Data: u64(1)}}},
	} {
		req := request(f, tt.attrs...)
		s.Send(t, req.Bytes())
		if ack := s.RecvAck(t, req); ack.Errno != unix.EINVAL || ack.Text == "" {
			t.Errorf("%s: %+v, want EINVAL with a text", tt.name, ack)
		}
	}
	req := request(f, since(1, 0)...)
	req.Flags &^= unix.NLM_F_DUMP
	s.Send(t, req.Bytes())
	if ack := s.RecvAck(t, req); ack.Errno != unix.EOPNOTSUPP {
		t.Errorf("without NLM_F_DUMP: %v, want EOPNOTSUPP", ack.Errno)
	}
}

// A dump that is left half read keeps the module until its socket is closed.
func TestUnloadDuringDump(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	beacon(t, l, 200, 4096)
	l.Close()
	s, f := open(t)
	s.Send(t, request(f, since(1, 0)...).Bytes())
	s.Recv(t)
	if err := vmtest.Rmmod("nlpeer"); err != unix.EAGAIN && err != unix.EBUSY {
		t.Errorf("rmmod with a dump under way: %v", err)
	}
	s.Close()
	vmtest.Unload(t)
}

// What is forgotten while a dump goes on leaves a gap, and never a wrong order.
func TestChangesDuringDump(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=64")
	l := vmtest.ListenRaw(t, 1)
	beacon(t, l, 64, 4096)
	s, f := open(t)
	req := request(f, since(1, 0)...)
	s.Send(t, req.Bytes())
	first := vmtest.Parse(t, s.Recv(t))
	if len(first) == 0 || len(first) >= 64 {
		t.Fatalf("%d events in the first datagram; the test wants a dump of several", len(first))
	}
	sent := beacon(t, l, 400, 0)
	events, errno, text := finish(t, s, f, req)
	if errno != 0 {
		t.Fatalf("%v, %q", errno, text)
	}
	last := uint64(0)
	for _, e := range events {
		if e.Seq <= last {
			t.Fatalf("event %d after %d", e.Seq, last)
		}
		last = e.Seq
	}
	if want := sent[len(sent)-1].Seq; last != want {
		t.Errorf("the dump ends with event %d, want %d", last, want)
	}
}

var unprivileged = vmtest.Register("event-get", func() (string, error) {
	s, err := vmtest.TryOpen(unix.NETLINK_GENERIC, 0, 0)
	if err != nil {
		return "", err
	}
	var id uint16
	if _, err := fmt.Sscan(os.Getenv("FAMILY"), &id); err != nil {
		return "", err
	}
	if err := s.TrySend(request(vmtest.Family{ID: id}, since(1, 0)...).Bytes()); err != nil {
		return "", err
	}
	b, err := s.TryRecv(vmtest.Deadline())
	if err != nil {
		return "", err
	}
	return fmt.Sprint(binary.NativeEndian.Uint16(b[4:]) == id), nil
})

func TestUnprivileged(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	beacon(t, vmtest.ListenRaw(t, 1), 3, 0)
	t.Setenv("FAMILY", fmt.Sprint(vmtest.Nlpeer(t).ID))
	if got, err := vmtest.Run(t, unprivileged, vmtest.Who{UID: vmtest.Nobody}); got != "true" || err != nil {
		t.Errorf("an unprivileged user got %q, %v", got, err)
	}
}

func TestParameter(t *testing.T) {
	vmtest.Module(t)
	vmtest.Unload(t)
	log := vmtest.LogMark(t)
	if err := vmtest.Insmod("history=65537"); err != unix.EINVAL {
		t.Errorf("history=65537: %v, want EINVAL", err)
	}
	if want := "nlpeer: history=65537 is out of range, it must be 0 to 65536"; !strings.Contains(log(), want) {
		t.Errorf("the kernel log lacks %q", want)
	}
	vmtest.Module(t, "history=65536")
}
