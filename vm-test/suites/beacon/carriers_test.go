// SPDX-License-Identifier: MIT

package beacon_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// The contract of objects, as far as it is needed to be counted.
const (
	msgNew, msgDel, msgGet = 20, 21, 22
	cmdEventGet            = 6
	cmdNew, cmdDel, cmdGet = 7, 8, 9
	rtmNew, rtmDel, rtmGet = unix.RTM_NEWADDRLABEL, unix.RTM_DELADDRLABEL, unix.RTM_GETADDRLABEL
	replace, excl, create  = 0x100, 0x200, 0x400
	attrKey, attrValue     = 1, 2
	attrPrefix, attrFlags  = 4, 5
)

// An asker sends requests by the four carriers and keeps the books: want is
// what the module should have counted.
type asker struct {
	c    *vmtest.Control
	raw  *vmtest.Socket
	cn   *vmtest.Socket
	rtnl *vmtest.Socket
	seq  uint32
	want vmtest.Stats
	cost uint64 // of the last look at the statistics
}

func newAsker(t *testing.T, params ...string) *asker {
	t.Helper()
	a := &asker{c: module(t, params...)}
	a.raw = vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	a.cn = vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
	a.rtnl = vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	for _, s := range []*vmtest.Socket{a.raw, a.c.Socket, a.rtnl} {
		s.Set(t, unix.NETLINK_CAP_ACK, 1)
	}
	a.want = a.c.Stats(t)
	a.cost = a.want.StatsLen()
	return a
}

// check compares the books.
func (a *asker) check(t *testing.T) {
	t.Helper()
	add(&a.want.Genl, vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: 20, TxBytes: a.cost})
	got := a.c.Stats(t)
	if got != a.want {
		t.Errorf("counted\n%+v, want\n%+v", got, a.want)
		a.want = got
	}
	a.cost = got.StatsLen()
}

// weigh enters the bytes of objects, of which only their kernel knows how many
// there are.
func (a *asker) weigh(t *testing.T) {
	t.Helper()
	add(&a.want.Genl, vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: 20, TxBytes: a.cost})
	s := a.c.Stats(t)
	a.cost = s.StatsLen()
	a.want.Objects.Bytes, a.want.HistoryBytes = s.Objects.Bytes, s.HistoryBytes
}

// carrier finds the books and the socket of a carrier.
func (a *asker) carrier(n int) (*vmtest.Socket, *vmtest.CarrierStats) {
	return []*vmtest.Socket{a.raw, a.c.Socket, a.cn, a.rtnl}[n-1], a.want.Carriers()[n-1]
}

// ask sends a request, which is not acknowledged if all is well, and enters
// what it cost. It wants the errno, 0 for an answer or for none.
func (a *asker) ask(t *testing.T, carrier int, m vmtest.Message, errno unix.Errno) {
	t.Helper()
	s, to := a.carrier(carrier)
	a.seq++
	m.Seq = a.seq
	s.Send(t, m.Bytes())
	got := vmtest.CarrierStats{Requests: 1, RxBytes: uint64(16 + len(m.Body))}
	b, err := s.TryRecv(0)
	switch {
	case err == unix.ETIMEDOUT:
	case err != nil:
		t.Fatal(err)
	case carrier != vmtest.CarrierConnector && binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR:
		answer := unix.Errno(-int32(binary.NativeEndian.Uint32(b[16:])))
		if answer != errno {
			t.Errorf("carrier %d: %v, want %v: %+v", carrier, answer, errno, m)
		}
		got.Errors = 1
		got.By.Add(answer, 1)
	default:
		got.Replies = 1
		got.TxBytes = uint64(binary.NativeEndian.Uint32(b))
	}
	if got.Errors == 0 && errno != 0 {
		t.Errorf("carrier %d: no error, want %v: %+v", carrier, errno, m)
	}
	s.Empty(t)
	add(to, got)
}

// dump sends a request for a dump and enters it: a request, and a reply for
// each datagram, without the message that ends it all.
func (a *asker) dump(t *testing.T, carrier int, m vmtest.Message, errno unix.Errno) (datagrams, messages uint64) {
	t.Helper()
	s, to := a.carrier(carrier)
	a.seq++
	m.Seq = a.seq
	m.Flags |= unix.NLM_F_DUMP
	s.Send(t, m.Bytes())
	got := vmtest.CarrierStats{Requests: 1, RxBytes: uint64(16 + len(m.Body))}
	for done := false; !done; {
		b := s.Recv(t)
		datagrams++
		got.Replies++
		for _, m := range vmtest.Parse(t, b) {
			switch m.Type {
			case unix.NLMSG_DONE, unix.NLMSG_ERROR:
				done = true
				if answer := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body))); answer != errno {
					t.Errorf("carrier %d: the dump ends with %v, want %v", carrier, answer, errno)
				}
			default:
				messages++
				got.TxBytes += uint64(16 + (len(m.Body)+3)&^3)
			}
		}
	}
	if errno != 0 {
		got.Replies, got.Errors = 0, 1
		got.By.Add(errno, 1)
	}
	s.Empty(t)
	add(to, got)
	return datagrams, messages
}

func attr(typ uint16, b []byte) vmtest.Attr { return vmtest.Attr{Type: typ, Data: b} }
func key(s string) vmtest.Attr              { return attr(attrKey, append([]byte(s), 0)) }

// request is one of the raw protocol, with attributes.
func request(typ, flags uint16, attrs ...vmtest.Attr) vmtest.Message {
	m := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | flags}
	for _, a := range attrs {
		m.Body = append(m.Body, a.Bytes()...)
	}
	return m
}

// changed enters a change of the table: an event on the connector, which has no
// way to know that nobody listens.
func (a *asker) changed(objects int) {
	a.want.Objects.Generation++
	a.want.Objects.Count += uint32(objects)
	a.want.Connector.Events++
}

// A random mix of good and bad on all carriers, counted to the byte and errno.
func TestRandomMix(t *testing.T) {
	const rounds = 1500
	a := newAsker(t, "interval_ms=0", "objects=1")
	r := vmtest.Rand(t)
	random := func(n int) []byte { return vmtest.Bytes(r, r.IntN(n+1)) }
	genl := func(cmd uint8, attrs ...vmtest.Attr) vmtest.Message {
		return vmtest.NewGenl(a.c.Family, cmd, 0, attrs...)
	}
	rtnl := func(typ, flags uint16, attrs ...vmtest.Attr) vmtest.Message {
		m := vmtest.NewRtnl(typ, 0, attrs...)
		m.Flags |= flags
		return m
	}

	a.ask(t, vmtest.CarrierRaw, request(msgNew, create, key("one"), attr(attrValue, []byte("value"))), 0)
	a.changed(1)
	a.weigh(t)
	a.check(t)

	const raw, generic, cn, route = vmtest.CarrierRaw, vmtest.CarrierGenl, vmtest.CarrierConnector, vmtest.CarrierRtnl
	big := attr(attrValue, make([]byte, 4096))
	requests := []struct {
		carrier int
		make    func() vmtest.Message
		errno   unix.Errno
	}{
		{raw, func() vmtest.Message { return vmtest.NewEcho(0, random(5000)) }, 0},
		{raw, func() vmtest.Message { return vmtest.NewEcho(0, make([]byte, vmtest.PayloadMax+1)) }, unix.EMSGSIZE},
		{raw, func() vmtest.Message { return request(99, 0) }, unix.EOPNOTSUPP},
		{raw, func() vmtest.Message { return request(16, 0x800) }, unix.EINVAL},
		{raw, func() vmtest.Message { return request(msgGet, 0, key("none")) }, unix.ENOENT},
		{raw, func() vmtest.Message { return request(msgGet, 0, key("one")) }, 0},
		{raw, func() vmtest.Message { return request(msgNew, excl|create, key("one")) }, unix.EEXIST},
		{raw, func() vmtest.Message { return request(msgNew, create, key("two")) }, unix.ENOSPC},
		{raw, func() vmtest.Message { return request(msgNew, replace, key("one"), big, big, big, big) }, unix.ENOSPC},
		{raw, func() vmtest.Message { return request(msgNew, create, attr(attrKey, bytes.Repeat([]byte{'k'}, 70))) }, unix.EINVAL},
		{raw, func() vmtest.Message { return request(msgNew, create, key("one"), attr(attrValue, make([]byte, 4097))) }, unix.ERANGE},

		{generic, func() vmtest.Message { return genl(vmtest.CmdEcho, attr(1, random(5000))) }, 0},
		{generic, func() vmtest.Message { return genl(vmtest.CmdEcho) }, unix.EINVAL},
		{generic, func() vmtest.Message { return genl(vmtest.CmdBeaconGet) }, 0},
		{generic, func() vmtest.Message { return genl(vmtest.CmdBeaconSet) }, unix.EINVAL},
		{generic, func() vmtest.Message { return genl(cmdGet, key("none")) }, unix.ENOENT},
		{generic, func() vmtest.Message { return genl(cmdGet, key("one")) }, 0},
		{generic, func() vmtest.Message { return genl(cmdNew, key("one")) }, unix.EEXIST},
		{generic, func() vmtest.Message { return genl(cmdNew, key("two"), attr(attrFlags, vmtest.U32(create))) }, unix.ENOSPC},
		{generic, func() vmtest.Message { return genl(cmdDel, key("two")) }, unix.ENOENT},
		{generic, func() vmtest.Message { return genl(cmdDel) }, unix.EINVAL},

		{cn, func() vmtest.Message { return vmtest.NewCn(1, 2, random(5000)).Message() }, 0},

		{route, func() vmtest.Message { return rtnl(rtmGet, 0, attr(7, random(5000))) }, 0},
		{route, func() vmtest.Message { return rtnl(rtmGet, 0, key("one")) }, 0},
		{route, func() vmtest.Message { return rtnl(rtmGet, 0, key("none")) }, unix.ENOENT},
		{route, func() vmtest.Message { return rtnl(rtmGet, 0) }, unix.EINVAL},
		{route, func() vmtest.Message { return rtnl(rtmGet, 0x800, key("one")) }, unix.EINVAL},
		{route, func() vmtest.Message { return rtnl(rtmGet, 0, attr(7, make([]byte, vmtest.PayloadMax+1))) }, unix.ERANGE},
		{route, func() vmtest.Message { return rtnl(rtmNew, create|excl, key("one")) }, unix.EEXIST},
		{route, func() vmtest.Message { return rtnl(rtmNew, create, key("two")) }, unix.ENOSPC},
		{route, func() vmtest.Message { return rtnl(rtmDel, 0, key("two")) }, unix.ENOENT},
	}
	for i := range rounds {
		tt := requests[i%len(requests)] // each at least once
		if i >= len(requests) {
			tt = requests[r.IntN(len(requests))]
		}
		a.ask(t, tt.carrier, tt.make(), tt.errno)
		if r.IntN(100) == 0 {
			a.check(t)
		}
	}
	a.check(t)
	if s, want := statsLength(t, a.c), a.want.StatsLen(); s != want {
		t.Errorf("the statistics take %d bytes, want %d", s, want)
	}
}

// A dump is one request, and a reply for each datagram; one that is refused is
// an error.
func TestDumpsCount(t *testing.T) {
	a := newAsker(t, "interval_ms=0")
	value := attr(attrValue, make([]byte, 2000))
	vmtest.ListenRaw(t, 2) // so that events are remembered
	for i := range 40 {
		if i == 20 || i == 0 {
			for _, carrier := range []int{vmtest.CarrierRaw, vmtest.CarrierGenl, vmtest.CarrierRtnl} {
				m := map[int]vmtest.Message{
					vmtest.CarrierRaw:  request(msgGet, 0),
					vmtest.CarrierGenl: vmtest.NewGenl(a.c.Family, cmdGet, 0),
					vmtest.CarrierRtnl: vmtest.NewRtnl(rtmGet, 0),
				}[carrier]
				datagrams, messages := a.dump(t, carrier, m, 0)
				if messages != uint64(i) || i == 20 && datagrams < 2 {
					t.Errorf("carrier %d: %d objects in %d datagrams, want %d in several", carrier, messages, datagrams, i)
				}
				a.weigh(t) // there is a test of bytes below
				a.check(t)
			}
		}
		a.ask(t, vmtest.CarrierRaw, request(msgNew, create, key(fmt.Sprintf("key %d", i)), value), 0)
		a.changed(1)
		a.want.Raw.Events++
		a.want.HistoryHeld++
	}
	a.weigh(t)
	a.check(t)

	u64 := func(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }
	event := func(group uint32, seq uint64) vmtest.Message {
		return vmtest.NewGenl(a.c.Family, cmdEventGet, 0, attr(1, vmtest.U32(group)), attr(2, u64(seq)))
	}
	for _, tt := range []struct {
		name     string
		carrier  int
		m        vmtest.Message
		errno    unix.Errno
		messages uint64
	}{
		{"events", vmtest.CarrierGenl, event(2, 0), 0, 40},
		{"last events", vmtest.CarrierGenl, event(2, 38), 0, 2},
		{"no events", vmtest.CarrierGenl, event(2, 40), 0, 0},
		{"events of the future", vmtest.CarrierGenl, event(2, 41), unix.ERANGE, 0},
		{"events of no group", vmtest.CarrierGenl, event(33, 0), unix.EINVAL, 0},
		{"raw, contradicting flags", vmtest.CarrierRaw, request(msgGet, 0x800), unix.EINVAL, 0},
		{"rtnl, contradicting flags", vmtest.CarrierRtnl, func() vmtest.Message {
			m := vmtest.NewRtnl(rtmGet, 0)
			m.Flags |= 0x800
			return m
		}(), unix.EINVAL, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, n := a.dump(t, tt.carrier, tt.m, tt.errno); n != tt.messages {
				t.Errorf("%d messages, want %d", n, tt.messages)
			}
			a.check(t)
		})
	}
}

// The table, the history and the events, as objects come, change and go.
func TestObjectsCount(t *testing.T) {
	const history = 8
	a := newAsker(t, "interval_ms=0", fmt.Sprintf("history=%d", history))
	r := vmtest.Rand(t)
	a.raw.SetBuffer(t, 1<<20)
	listener := vmtest.ListenRaw(t, 2)
	generic := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	generic.SetBuffer(t, 1<<22)
	generic.Set(t, unix.NETLINK_ADD_MEMBERSHIP, int(vmtest.Nlpeer(t).Groups["objects"]))

	// What an object takes beyond its values is the same for all.
	a.ask(t, vmtest.CarrierRaw, request(msgNew, create, key("first")), 0)
	a.weigh(t)
	fixed := a.want.Objects.Bytes
	if fixed < 65 || fixed > 256 {
		t.Errorf("an object without values takes %d bytes", fixed)
	}

	sizes := map[string]uint64{"first": fixed}
	var remembered []uint64 // sizes of the objects in events
	enter := func(bytes uint64, objects int) {
		a.changed(objects)
		a.want.Raw.Events++
		a.want.Genl.Events++
		remembered = append(remembered, bytes, bytes) // of two groups
		remembered = remembered[max(0, len(remembered)-history):]
		a.want.Objects.Bytes, a.want.HistoryBytes = 0, 0
		for _, n := range sizes {
			a.want.Objects.Bytes += n
		}
		for _, n := range remembered {
			a.want.HistoryBytes += n
		}
		a.want.HistoryHeld = uint32(len(remembered))
	}
	enter(fixed, 1)
	a.check(t)
	for i := range 60 {
		name := fmt.Sprintf("key %d", r.IntN(10))
		old, there := sizes[name]
		if there && r.IntN(2) == 0 {
			a.ask(t, vmtest.CarrierRaw, request(msgDel, 0, key(name)), 0)
			delete(sizes, name)
			enter(old, -1)
		} else {
			value := vmtest.Bytes(r, r.IntN(4097))
			a.ask(t, vmtest.CarrierRaw, request(msgNew, create|replace, key(name), attr(attrValue, value)), 0)
			sizes[name] = fixed + uint64(4+(len(value)+3)&^3)
			objects := 1
			if there {
				objects = 0
			}
			enter(sizes[name], objects)
		}
		if i%10 == 9 {
			a.check(t)
		}
	}
	for _, s := range []*vmtest.Socket{listener.Socket, generic} {
		n := 0
		for {
			if _, err := s.TryRecv(0); err == unix.ETIMEDOUT {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 61 {
			t.Errorf("%d events received, want 61", n)
		}
	}

	// All at once: an event for each, in the order of their keys.
	a.ask(t, vmtest.CarrierRaw, request(msgDel, 0x200, attr(attrPrefix, []byte{0})), 0)
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		old := sizes[name]
		delete(sizes, name)
		enter(old, -1)
	}
	a.check(t)
}

// Bytes bound the history as well: the oldest make room, and what takes more
// than all of it is not remembered.
func TestHistoryBytes(t *testing.T) {
	const limit = 10000
	a := newAsker(t, "interval_ms=0", fmt.Sprintf("history_bytes=%d", limit))
	vmtest.ListenRaw(t, 2)
	values := func(n int) (all []vmtest.Attr) {
		for range n {
			all = append(all, attr(attrValue, make([]byte, 3000)))
		}
		return append([]vmtest.Attr{key("key")}, all...)
	}
	size := map[int]uint64{}
	for _, tt := range []struct {
		values  int
		history []int // values in the events that are remembered since
	}{
		{1, []int{1}},
		{1, []int{1, 1}},
		{1, []int{1, 1, 1}},
		{1, []int{1, 1, 1}},
		{2, []int{1, 2}},
		{4, []int{1, 2}}, // more than there is room for at all
		{3, []int{3}},
		{0, []int{3, 0}},
		{1, []int{0, 1}},
	} {
		a.ask(t, vmtest.CarrierRaw, request(msgNew, create|replace, values(tt.values)...), 0)
		s := a.c.Stats(t)
		size[tt.values] = s.Objects.Bytes
		want := uint64(0)
		for _, n := range tt.history {
			want += size[n]
		}
		if s.HistoryBytes != want || s.HistoryHeld != uint32(len(tt.history)) || s.HistoryBytesMax != limit || want > limit {
			t.Errorf("after %d values: %d events, %d of %d bytes; want %d events, %d bytes",
				tt.values, s.HistoryHeld, s.HistoryBytes, s.HistoryBytesMax, len(tt.history), want)
		}
	}
}
