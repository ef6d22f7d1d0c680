// SPDX-License-Identifier: MIT

// Package rtnl_test speaks to the peer over rtnetlink, where it is a guest: it
// echoes and refuses as its contract has it, and what others say there goes on
// as if it were not there.
package rtnl_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	rtmNew     = unix.RTM_NEWADDRLABEL
	rtmDel     = unix.RTM_DELADDRLABEL
	rtmGet     = unix.RTM_GETADDRLABEL
	attrKey    = 1
	attrEcho   = 7
	dump       = unix.NLM_F_DUMP
	first      = 20 // offset of the first attribute
	flagsText  = "nlpeer: ambiguous or reserved bits set in nlmsg_flags"
	headerText = "nlpeer: struct rtgenmsg and its padding are missing"
)

func open(t *testing.T) *vmtest.Socket {
	t.Helper()
	s := vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	return s
}

func attr(typ uint16, n int) vmtest.Attr { return vmtest.Attr{Type: typ, Data: make([]byte, n)} }
func key(s string) vmtest.Attr           { return vmtest.Attr{Type: attrKey, Data: []byte(s + "\x00")} }

// Every byte comes back, padded with zeros, behind a header of 127 and zeros.
func TestEcho(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	r := vmtest.Rand(t)
	s, other := open(t), open(t)
	sizes := []int{0, 1, 2, 3, 4, 5, 7, 8, 1023, 1024, 4095, 4096, 16384, vmtest.PayloadMax - 1, vmtest.PayloadMax}
	for range 100 {
		sizes = append(sizes, r.IntN(vmtest.PayloadMax+1))
	}
	var want vmtest.CarrierStats
	for _, n := range sizes {
		s.EchoRtnl(t, r.Uint32(), vmtest.Bytes(r, n))
		want.Requests++
		want.Replies++
		want.RxBytes += uint64(first + 4 + n)
		want.TxBytes += uint64(first + 4 + (n+3)&^3)
	}
	s.Empty(t)
	other.Empty(t)
	got := vmtest.OpenControl(t).Stats(t).Rtnl
	// A request ends where its payload does, or behind its padding.
	if got.RxBytes < want.RxBytes || got.RxBytes > want.TxBytes {
		t.Errorf("counted %d bytes of requests, want %d to %d", got.RxBytes, want.RxBytes, want.TxBytes)
	}
	got.RxBytes = want.RxBytes
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// The echo and its acknowledgment come in this order; several requests of one
// send are answered one by one.
func TestManyInOneSend(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	r := vmtest.Rand(t)
	s := open(t)
	var all []vmtest.Message
	for i := range uint32(20) {
		m := vmtest.NewRtnlEcho(100+i, vmtest.Bytes(r, r.IntN(300)))
		if i%3 == 0 {
			m.Flags |= unix.NLM_F_ACK
		}
		if i%4 == 0 {
			m.Flags |= unix.NLM_F_ECHO // means nothing here, and is taken
		}
		all = append(all, m)
	}
	s.Send(t, vmtest.Join(all...))
	for _, m := range all {
		got := s.RecvOne(t)
		if got.Type != rtmNew || got.Seq != m.Seq || got.PortID != s.PortID || !bytes.Equal(got.Body, m.Body) {
			t.Errorf("answer %+v to %+v", got, m)
		}
		if m.Flags&unix.NLM_F_ACK != 0 {
			if ack := s.RecvAck(t, m); ack.Errno != 0 {
				t.Errorf("acknowledgment: %v", ack.Errno)
			}
		}
	}
	s.Empty(t)
}

// What is refused, with what words, pointing where, and counted as what.
func TestRefused(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	s := open(t)
	msg := func(typ, flags uint16, attrs ...vmtest.Attr) vmtest.Message {
		m := vmtest.NewRtnl(typ, 77, attrs...)
		m.Flags |= flags
		return m
	}
	short := func(typ uint16, n int) vmtest.Message {
		return vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST, Seq: 77, Body: []byte{127, 0, 0, 0}[:n]}
	}
	echo := vmtest.Attr{Type: attrEcho, Data: []byte("hello")}
	type refused struct {
		name   string
		m      vmtest.Message
		errno  unix.Errno
		text   string
		offset int
		miss   int
	}
	tests := []refused{
		{"nothing", msg(rtmGet, 0), unix.EINVAL, "nlpeer: an object needs a key", -1, attrKey},
		{"payload too long", msg(rtmGet, 0, attr(attrEcho, vmtest.PayloadMax+1)), unix.ERANGE, "Attribute failed policy validation", first, -1},
		{"key and payload", msg(rtmGet, 0, key("k"), echo), unix.EINVAL, "nlpeer: key and payload contradict each other", first + 8, -1},
		{"payload and key", msg(rtmGet, 0, echo, key("k")), unix.EINVAL, "nlpeer: key and payload contradict each other", first, -1},
		{"value", msg(rtmGet, 0, attr(2, 4)), unix.EINVAL, "Unsupported attribute", first, -1},
		{"prefix", msg(rtmGet, 0, attr(4, 4)), unix.EINVAL, "Unsupported attribute", first, -1},
		{"attribute 0", msg(rtmGet, 0, echo, attr(0, 4)), unix.EINVAL, "Unknown attribute type", first + 12, -1},
		{"pad", msg(rtmGet, 0, echo, attr(8, 0)), unix.EINVAL, "Unknown attribute type", first + 12, -1},
		{"unknown attribute", msg(rtmGet, 0, echo, attr(99, 4)), unix.EINVAL, "Unknown attribute type", first + 12, -1},
		{"payload in a change", msg(rtmNew, 0x400, key("k"), echo), unix.EINVAL, "Unknown attribute type", first + 8, -1},
		{"payload in a deletion", msg(rtmDel, 0, echo), unix.EINVAL, "Unknown attribute type", first, -1},
		{"no object", msg(rtmGet, 0, key("k")), unix.ENOENT, "nlpeer: no object has this key", first, -1},
		{"no object to delete", msg(rtmDel, 0, key("k")), unix.ENOENT, "nlpeer: no object has this key", first, -1},
		{"no object to change", msg(rtmNew, 0x100, key("k")), unix.ENOENT, "nlpeer: no object has this key; NLM_F_CREATE makes one", first, -1},
	}
	for n := 1; n < 4; n++ {
		for _, typ := range []uint16{rtmNew, rtmDel, rtmGet} {
			tests = append(tests, refused{fmt.Sprintf("type %d with %d bytes", typ, n), short(typ, n), unix.EINVAL, headerText, -1, -1})
		}
	}
	for _, flag := range []uint16{0x2, 0x10, 0x20, 0x400, 0x800, 0x1000, 0x8000} {
		tests = append(tests, refused{fmt.Sprintf("echo with flag %#x", flag), msg(rtmGet, flag, echo), unix.EINVAL, flagsText, -1, -1})
	}
	for _, flag := range []uint16{0x2, 0x10, 0x20, 0x1000, 0x8000} {
		tests = append(tests, refused{fmt.Sprintf("change with flag %#x", flag), msg(rtmNew, 0x400|flag, key("k")), unix.EINVAL, flagsText, -1, -1})
	}
	for _, flag := range []uint16{0x2, 0x10, 0x20, 0x100, 0x400, 0x800, 0x1000, 0x8000} {
		tests = append(tests, refused{fmt.Sprintf("deletion with flag %#x", flag), msg(rtmDel, flag, key("k")), unix.EINVAL, flagsText, -1, -1})
	}

	want := c.Stats(t).Rtnl
	for _, tt := range tests {
		tt.miss = vmtest.Miss(tt.miss)
		s.Send(t, tt.m.Bytes())
		ack := s.RecvAck(t, tt.m)
		if ack.Errno != tt.errno || ack.Text != tt.text || ack.Offset != tt.offset || ack.Miss != tt.miss {
			t.Errorf("%s: %v, %q, offset %d, missing %d; want %v, %q, offset %d, missing %d", tt.name,
				ack.Errno, ack.Text, ack.Offset, ack.Miss, tt.errno, tt.text, tt.offset, tt.miss)
		}
		s.Empty(t)
		want.Requests++
		want.Errors++
		want.By.Add(tt.errno, 1)
		want.RxBytes += uint64(16 + len(tt.m.Body))
	}
	stats := c.Stats(t)
	if stats.Rtnl != want {
		t.Errorf("counted %+v, want %+v", stats.Rtnl, want)
	}
	if stats.Objects.Generation != 0 {
		t.Errorf("%d changes", stats.Objects.Generation)
	}

	// Without a byte of a header rtnetlink takes it for no request.
	m := short(rtmGet, 0)
	m.Flags |= unix.NLM_F_ACK
	s.Send(t, m.Bytes())
	if ack := s.RecvAck(t, m); ack.Errno != 0 {
		t.Errorf("no header: %v, want an acknowledgment", ack.Errno)
	}
	s.EchoRtnl(t, 1, []byte("still there"))
}

// A dump that is refused says so in the message that ends it.
func TestRefusedDump(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	for _, tt := range []struct {
		name  string
		flags uint16
		attrs []vmtest.Attr
		text  string
	}{
		{"echo", dump, []vmtest.Attr{{Type: attrEcho, Data: []byte("hello")}}, "Unknown attribute type"},
		{"key", dump, []vmtest.Attr{key("k")}, "Unsupported attribute"},
		{"flag", dump | 0x800, nil, flagsText},
	} {
		m := vmtest.NewRtnl(rtmGet, 5, tt.attrs...)
		m.Flags |= tt.flags
		s.Send(t, m.Bytes())
		got := s.RecvOne(t)
		if got.Type != unix.NLMSG_DONE || got.Flags&unix.NLM_F_ACK_TLVS == 0 || got.Seq != 5 ||
			int32(binary.NativeEndian.Uint32(got.Body)) != -int32(unix.EINVAL) {
			t.Errorf("%s: %+v", tt.name, got)
			continue
		}
		text := unix.ByteSliceToString(vmtest.Attrs(t, got.Body[4:])[0].Data)
		if text != tt.text {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.text)
		}
		s.Empty(t)
	}
}

// Without the module rtnetlink knows neither the family nor, for it, the types.
func TestWithoutTheModule(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.Unload(t)
	s := open(t)
	for _, typ := range []uint16{rtmNew, rtmDel, rtmGet} {
		for _, flags := range []uint16{0, dump} {
			m := vmtest.NewRtnl(typ, 3, key("k"))
			m.Flags |= flags
			s.Send(t, m.Bytes())
			if ack := s.RecvAck(t, m); ack.Errno != unix.EOPNOTSUPP {
				t.Errorf("type %d, flags %#x: %v, want EOPNOTSUPP", typ, flags, ack.Errno)
			}
		}
	}
}

// A namespace is a world here as well.
func TestNamespaces(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	here := open(t)
	n := vmtest.NewNet(t)
	there := n.Open(t, unix.NETLINK_ROUTE, 0, 0)
	there.Set(t, unix.NETLINK_EXT_ACK, 1)
	there.EchoRtnl(t, 1, []byte("hello"))
	change(t, there, rtmNew, 0x400, key("k"))
	m := vmtest.NewRtnl(rtmGet, 1, key("k"))
	here.Send(t, m.Bytes())
	if ack := here.RecvAck(t, m); ack.Errno != unix.ENOENT {
		t.Errorf("%v, want ENOENT", ack.Errno)
	}
	a, b := vmtest.OpenControl(t).Stats(t), n.Control(t).Stats(t)
	if a.Rtnl.Requests != 1 || b.Rtnl.Requests != 2 || a.Objects.Count != 0 || b.Objects.Count != 1 {
		t.Errorf("%d and %d requests, %d and %d objects", a.Rtnl.Requests, b.Rtnl.Requests, a.Objects.Count, b.Objects.Count)
	}
}

// change sends a request that must be done.
func change(t *testing.T, s *vmtest.Socket, typ, flags uint16, attrs ...vmtest.Attr) {
	t.Helper()
	m := vmtest.NewRtnl(typ, 8, attrs...)
	m.Flags |= unix.NLM_F_ACK | flags
	s.Send(t, m.Bytes())
	if ack := s.RecvAck(t, m); ack.Errno != 0 {
		t.Fatalf("type %d: %v %s", typ, ack.Errno, ack.Text)
	}
}

// A dump that is half read holds the module, until its socket is closed or the
// rest is read.
func TestUnloadDuringADump(t *testing.T) {
	for _, end := range []string{"closed", "read"} {
		t.Run(end, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			s := open(t)
			for i := range 40 {
				value := vmtest.Attr{Type: 2, Data: make([]byte, 4096)}
				change(t, s, rtmNew, 0x400, key(fmt.Sprintf("key %03d", i)), value, value, value)
			}
			m := vmtest.NewRtnl(rtmGet, 9)
			m.Flags |= dump
			s.Send(t, m.Bytes())
			s.Recv(t)
			if err := vmtest.Rmmod("nlpeer"); err != unix.EWOULDBLOCK {
				t.Fatalf("rmmod: %v, want EWOULDBLOCK", err)
			}
			open(t).EchoRtnl(t, 1, []byte("still there"))
			if end == "read" {
				for done := false; !done; {
					for _, m := range vmtest.Parse(t, s.Recv(t)) {
						done = done || m.Type == unix.NLMSG_DONE
					}
				}
				s.Empty(t)
			} else {
				s.Close()
			}
			vmtest.Unload(t)
		})
	}
}

// dumped is the answer to a dump, message by message, without the numbers that
// differ from one request to the next, or the errno.
func dumped(t *testing.T, n *vmtest.Net, typ uint16, header ...byte) (all []string) {
	t.Helper()
	s := n.Open(t, unix.NETLINK_ROUTE, 0, 0)
	defer s.Close()
	req := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | dump, Seq: 6, Body: header}
	s.Send(t, req.Bytes())
	for {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			switch m.Type {
			case unix.NLMSG_ERROR:
				return []string{vmtest.ParseAck(t, m, req).Errno.Error()}
			case unix.NLMSG_DONE:
				return append(all, fmt.Sprintf("done % x", m.Body))
			}
			body := m.Body
			if m.Type == unix.RTM_NEWADDR { // IFA_CACHEINFO has times, all alike for us
				body = body[:min(len(body), 8)]
			}
			if m.Type == unix.RTM_NEWLINK { // counters
				body = body[:min(len(body), 16)]
			}
			all = append(all, fmt.Sprintf("%d %#x % x", m.Type, m.Flags, body))
		}
	}
}

// The dumps of all families, and those of the family that has labels of its
// own, are with the module what they were without.
func TestOthersAreNotDisturbed(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.Unload(t)
	n := vmtest.NewNet(t)
	// The loop-back interface gives addresses and routes to list.
	s := n.Open(t, unix.NETLINK_ROUTE, 0, 0)
	up := vmtest.Message{Type: unix.RTM_NEWLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 1, Body: make([]byte, 16)}
	for at, v := range map[int]uint32{4: 1, 8: unix.IFF_UP, 12: unix.IFF_UP} {
		copy(up.Body[at:], vmtest.U32(v))
	}
	s.Send(t, up.Bytes())
	if ack := s.RecvAck(t, up); ack.Errno != 0 {
		t.Fatal(ack.Errno)
	}

	type question struct {
		name   string
		typ    uint16
		header []byte
		least  int
	}
	var questions []question
	for _, family := range []byte{unix.AF_UNSPEC, unix.AF_INET, unix.AF_INET6} {
		least := 2
		questions = append(questions,
			question{"addresses", unix.RTM_GETADDR, []byte{family, 0, 0, 0, 0, 0, 0, 0}, least},
			question{"routes", unix.RTM_GETROUTE, append([]byte{family}, make([]byte, 11)...), least},
			question{"labels", rtmGet, append([]byte{family}, make([]byte, 11)...), 1},
		)
	}
	questions = append(questions, question{"links", unix.RTM_GETLINK, make([]byte, 16), 2})

	before := map[int][]string{}
	for i, q := range questions {
		before[i] = dumped(t, n, q.typ, q.header...)
		if len(before[i]) < q.least {
			t.Errorf("%s of family %d: %q", q.name, q.header[0], before[i])
		}
	}
	if labels := before[8]; len(labels) < 5 {
		t.Errorf("IPv6 has the labels %q", labels)
	}
	vmtest.Module(t, "interval_ms=0")
	here := n.Open(t, unix.NETLINK_ROUTE, 0, 0)
	change(t, here, rtmNew, 0x400, key("not yours"))
	for i, q := range questions {
		if got := dumped(t, n, q.typ, q.header...); !slices.Equal(got, before[i]) {
			t.Errorf("%s of family %d: %q, before %q", q.name, q.header[0], got, before[i])
		}
	}

	// A label is made, found in the dump and deleted, as ip-addrlabel(8) does.
	label := func(typ, flags uint16) unix.Errno {
		m := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags, Seq: 4}
		m.Body = append([]byte{unix.AF_INET6, 0, 128, 0}, make([]byte, 8)...) // struct ifaddrlblmsg
		m.Body = append(m.Body, vmtest.Attr{Type: 1, Data: append([]byte{0x20, 0x01, 0x0d, 0xb8}, make([]byte, 12)...)}.Bytes()...)
		m.Body = append(m.Body, vmtest.Attr{Type: 2, Data: vmtest.U32(99)}.Bytes()...)
		s.Send(t, m.Bytes())
		return s.RecvAck(t, m).Errno
	}
	labels := func() int { return len(dumped(t, n, rtmGet, questions[8].header...)) }
	if errno := label(rtmNew, unix.NLM_F_CREATE|unix.NLM_F_EXCL); errno != 0 || labels() != len(before[8])+1 {
		t.Errorf("making a label: %v, %d labels, %d before", errno, labels(), len(before[8]))
	}
	if errno := label(rtmDel, 0); errno != 0 || labels() != len(before[8]) {
		t.Errorf("deleting it: %v, %d labels, %d before", errno, labels(), len(before[8]))
	}
}

// Group 0 is none; a message to a port that nobody has is refused.
func TestNobodyThere(t *testing.T) {
	s, dead := open(t), open(t)
	if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 0); err != unix.EINVAL {
		t.Errorf("group 0: %v, want EINVAL", err)
	}
	port := dead.PortID
	dead.Close()
	err := unix.Sendto(s.FD, vmtest.NewRtnlEcho(1, nil).Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	if err != unix.ECONNREFUSED {
		t.Errorf("%v, want ECONNREFUSED", err)
	}
}

// A hundred thousand requests that fail leave no memory behind.
func TestFailuresLeakNothing(t *testing.T) {
	const batch = 50
	vmtest.Module(t, "interval_ms=0")
	s, deaf := open(t), open(t)
	s.Set(t, unix.NETLINK_CAP_ACK, 1)
	s.SetBuffer(t, 4<<20)
	deaf.SetBuffer(t, 1)
	repeat := func(m vmtest.Message) []byte {
		return vmtest.Join(slices.Repeat([]vmtest.Message{m}, batch)...)
	}
	flags := vmtest.NewRtnlEcho(1, make([]byte, 100))
	flags.Flags |= 0x800
	ways := [][]byte{
		repeat(vmtest.NewRtnl(rtmGet, 1, attr(99, 100))),
		repeat(vmtest.NewRtnl(rtmGet, 1, key("none"))),
		repeat(vmtest.NewRtnl(rtmNew, 1, key("none"), attr(2, 100))),
		repeat(flags),
	}
	echo := repeat(vmtest.NewRtnlEcho(1, make([]byte, 300)))
	round := func(n int) {
		for range n / batch {
			for _, b := range ways {
				s.Send(t, b)
				for range batch {
					if a, err := s.TryRecv(0); err != nil || binary.NativeEndian.Uint16(a[4:]) != unix.NLMSG_ERROR {
						t.Fatalf("%v, % x", err, a)
					}
				}
			}
			deaf.Send(t, echo)
		}
	}
	round(batch)
	before := vmtest.Slabs(t)
	n := vmtest.Times(20000)
	round(n)
	vmtest.Level(t, before, 500)
	if got := vmtest.OpenControl(t).Stats(t); got.Rtnl.Errors < uint64(5*n-100) || got.Objects.Count != 0 {
		t.Errorf("%+v", got)
	}
}
