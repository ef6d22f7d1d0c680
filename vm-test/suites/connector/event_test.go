// SPDX-License-Identifier: MIT

package connector_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

func setting(typ uint16, v uint32) vmtest.Attr {
	return vmtest.Attr{Type: typ, Data: vmtest.U32(v)}
}

func size(n uint32) vmtest.Attr       { return setting(vmtest.BeaconSize, n) }
func interval(ms uint32) vmtest.Attr  { return setting(vmtest.BeaconInterval, ms) }
func connector(on uint32) vmtest.Attr { return setting(vmtest.BeaconConnector, on) }

// quiet turns all of the beacon off but what the connector hears.
func quiet(t *testing.T, c *vmtest.Control) {
	t.Helper()
	c.Set(t, setting(vmtest.BeaconGroups, 0), setting(vmtest.BeaconGenl, 0), connector(1))
}

// stop turns the beacon off and waits for its last events; it returns how many
// there were on the connector.
func stop(t *testing.T, c *vmtest.Control) uint64 {
	t.Helper()
	c.Set(t, interval(0))
	return c.Stats(t).Connector.Events
}

// drain takes what waits to be received, all of it in order from number next
// on, and returns the number that would follow.
func drain(t *testing.T, l *vmtest.CnListener, next uint64) uint64 {
	t.Helper()
	for {
		e, _, err := l.TryNext(t, 0)
		if err == unix.ETIMEDOUT {
			return next
		}
		if err != nil || e.Seq != next {
			t.Fatalf("event %d, %v, want %d", e.Seq, err, next)
		}
		next++
	}
}

// history asks for the events of the connector's group above a number, and
// returns their numbers.
func history(t *testing.T, seq uint64) []uint64 {
	t.Helper()
	s, f := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.Nlpeer(t)
	defer s.Close()
	req := vmtest.NewGenl(f.ID, 6, 9, vmtest.Attr{Type: 1, Data: vmtest.U32(vmtest.GroupConnector)},
		vmtest.Attr{Type: 2, Data: binary.NativeEndian.AppendUint64(nil, seq)})
	req.Flags |= unix.NLM_F_DUMP
	s.Send(t, req.Bytes())
	all := []uint64{}
	for {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Type == unix.NLMSG_DONE {
				if errno := int32(binary.NativeEndian.Uint32(m.Body)); errno != 0 {
					t.Fatalf("event-get: %v", unix.Errno(-errno))
				}
				return all
			}
			e := vmtest.ParseEvent(t, vmtest.Attrs(t, m.Body[4:]))
			if e.Group != vmtest.GroupConnector {
				t.Fatalf("event of group %d", e.Group)
			}
			all = append(all, e.Seq)
		}
	}
}

// span is the numbers from first to last.
func span(first, last uint64) []uint64 {
	all := []uint64{}
	for n := first; n <= last; n++ {
		all = append(all, n)
	}
	return all
}

// The connector hears the beacon when it is told to, and only then.
func TestBeacon(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=1")
	c := vmtest.OpenControl(t)
	l := vmtest.ListenCn(t)
	raw := vmtest.ListenRaw(t, 1)

	c.Set(t, interval(1))
	for range 5 {
		raw.Next(t)
	}
	if n := stop(t, c); n != 0 {
		t.Errorf("%d events on the connector, which was not told to hear them", n)
	}
	l.Empty(t)
	raw.Close() // nobody would read it

	next := uint64(1)
	for _, n := range []uint32{0, 1, 3, 4, 200, vmtest.DataMax} {
		c.Set(t, size(n), connector(1))
		c.Set(t, interval(1))
		for range 5 {
			before := vmtest.Now(t)
			e, _ := l.Next(t)
			if e.Seq != next || e.Kind != vmtest.KindBeacon || len(e.Data) != int(n) || e.Time == 0 || e.Time > vmtest.Now(t) {
				t.Errorf("event %d of kind %d with %d bytes at %d, looked at from %d on; want number %d, %d bytes",
					e.Seq, e.Kind, len(e.Data), e.Time, before, next, n)
			}
			next++
		}
		total := stop(t, c)
		if next = drain(t, l, next); next != total+1 {
			t.Errorf("received up to %d, %d were sent", next-1, total)
		}
	}
	if got := history(t, 0); !slices.Equal(got, span(1, next-1)) {
		t.Errorf("the history has %v, want 1 to %d", got, next-1)
	}

	c.Set(t, connector(0), interval(1))
	raw = vmtest.ListenRaw(t, 1)
	for range 5 {
		raw.Next(t)
	}
	stop(t, c)
	l.Empty(t)
}

// ask sends a request about objects by the raw protocol and wants it done.
func ask(t *testing.T, typ, flags uint16, attrs ...vmtest.Attr) {
	t.Helper()
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	defer s.Close()
	m := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | flags, Seq: 1}
	for _, a := range attrs {
		m.Body = append(m.Body, a.Bytes()...)
	}
	s.Send(t, m.Bytes())
	if ack := s.RecvAck(t, m); ack.Errno != 0 {
		t.Fatalf("message type %d: %v", typ, ack.Errno)
	}
}

// What happens to objects is told on the connector as everywhere, in the same
// numbers as the beacon's events.
func TestObjects(t *testing.T) {
	const (
		create, replace, app = 0x400, 0x100, 0x800
		objectNew, objectDel = 20, 21
	)
	vmtest.Module(t, "interval_ms=0")
	r := vmtest.Rand(t)
	l := vmtest.ListenCn(t)
	key := vmtest.Attr{Type: 1, Data: []byte("the key\x00")}
	value := func(n int) vmtest.Attr { return vmtest.Attr{Type: 2, Data: vmtest.Bytes(r, n)} }
	a, b, big := value(5), value(0), value(4096)

	generation := uint64(0)
	for _, tt := range []struct {
		typ, flags uint16
		attrs      []vmtest.Attr
		kind       uint32
		values     []vmtest.Attr
	}{
		{objectNew, create, []vmtest.Attr{a, b}, 2, []vmtest.Attr{a, b}},
		{objectNew, app, []vmtest.Attr{big}, 3, []vmtest.Attr{a, b, big}},
		{objectNew, replace, []vmtest.Attr{big, big, big}, 3, []vmtest.Attr{big, big, big}},
		{objectDel, 0, nil, 4, []vmtest.Attr{big, big, big}},
		{objectNew, create, nil, 2, nil},
		{objectDel, 0, nil, 4, nil},
	} {
		ask(t, tt.typ, tt.flags, append([]vmtest.Attr{key}, tt.attrs...)...)
		generation++
		e, attrs := l.Next(t)
		if e.Seq != generation || e.Kind != tt.kind || len(attrs) != 5 || attrs[4].Type != 7 {
			t.Fatalf("event %d of kind %d, want %d of kind %d: %+v", e.Seq, e.Kind, generation, tt.kind, attrs)
		}
		want := append([]vmtest.Attr{key, {Type: 3, Data: binary.NativeEndian.AppendUint64(nil, generation)}}, tt.values...)
		if got := vmtest.Attrs(t, attrs[4].Data); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("kind %d: the object is %v, want %v", tt.kind, got, want)
		}
	}
	c := vmtest.OpenControl(t)
	quiet(t, c)
	c.Set(t, interval(1))
	if e, _ := l.Next(t); e.Seq != generation+1 || e.Kind != vmtest.KindBeacon {
		t.Errorf("event %d of kind %d behind %d about objects", e.Seq, e.Kind, generation)
	}
	stop(t, c)
}

// A listener that overran is told so, and counts from the numbers what it lost.
// The history has what another heard in its place.
func TestOverrun(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	quiet(t, c)
	c.Set(t, size(500))
	l := vmtest.ListenCn(t)
	l.SetBuffer(t, 1)
	other := vmtest.ListenCn(t)

	tick := func() uint64 { // until 50 more events were sent
		before := c.Stats(t).Connector.Events
		c.Set(t, interval(1))
		vmtest.Until(t, "fifty events were sent", func() bool { return c.Stats(t).Connector.Events >= before+50 })
		return stop(t, c)
	}
	total := tick()
	if _, _, err := l.TryNext(t, 0); err != unix.ENOBUFS {
		t.Errorf("%v, want ENOBUFS", err)
	}
	heard := drain(t, l, 1) - 1
	if heard == 0 || heard >= total {
		t.Fatalf("heard %d of %d events", heard, total)
	}
	if next := drain(t, other, 1); next != total+1 {
		t.Errorf("the other listener heard %d of %d events", next-1, total)
	}
	if got := history(t, heard); !slices.Equal(got, span(heard+1, total)) {
		t.Errorf("the history has %v, want %d to %d", got, heard+1, total)
	}

	// It reads again, and the next number tells how many it lost.
	l.SetBuffer(t, 1<<20)
	c.Set(t, interval(1))
	e, _ := l.Next(t)
	if e.Seq != total+1 {
		t.Errorf("event %d, want %d", e.Seq, total+1)
	}
	stop(t, c)
	next := drain(t, l, e.Seq+1)
	drain(t, other, total+1)

	// Alone: what nobody heard is gone for good, its numbers are used up.
	other.Close()
	l.SetBuffer(t, 1)
	total = tick()
	if _, _, err := l.TryNext(t, 0); err != unix.ENOBUFS {
		t.Errorf("%v, want ENOBUFS", err)
	}
	last := drain(t, l, next) - 1
	if got := history(t, 0); !slices.Equal(got, span(1, last)) || last >= total {
		t.Errorf("of %d events the history has %v, want 1 to %d", total, got, last)
	}
	l.SetBuffer(t, 1<<20)
	c.Set(t, interval(1))
	if e, _ := l.Next(t); e.Seq != total+1 {
		t.Errorf("event %d, want %d", e.Seq, total+1)
	}
	stop(t, c)
}

// With nobody there, numbers go on and the history stays as it is: what others
// ask for would be pushed out of it. Nobody finds out what was sent meanwhile.
func TestNobodyListens(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	quiet(t, c)
	c.Set(t, interval(1))
	vmtest.Until(t, "twenty events went nowhere", func() bool { return c.Stats(t).Connector.Events >= 20 })
	total := stop(t, c)
	s := c.Stats(t)
	if s.HistoryHeld != 0 || s.Idle != 0 || s.Ticks != total || s.Connector.EventErrors != 0 {
		t.Errorf("%d events, %+v", total, s)
	}
	l := vmtest.ListenCn(t)
	c.Set(t, interval(1))
	if e, _ := l.Next(t); e.Seq != total+1 {
		t.Errorf("event %d, want %d", e.Seq, total+1)
	}
	stop(t, c)
}

// A number that the group has not reached: the module was loaded anew since.
func TestResyncFromTheFuture(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s, f := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.Nlpeer(t)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	for _, tt := range []struct {
		group uint32
		seq   uint64
		errno unix.Errno
		text  string
	}{
		{vmtest.GroupConnector, 0, 0, ""},
		{vmtest.GroupConnector, 1, unix.ERANGE, "nlpeer: the group has not reached that number"},
		{vmtest.GroupConnector, 1<<64 - 1, unix.ERANGE, "nlpeer: the group has not reached that number"},
		{65537, 1, unix.ERANGE, "nlpeer: the group has not reached that number"},
		{65539, 0, unix.EINVAL, "nlpeer: no such group"},
		{0, 0, unix.EINVAL, "nlpeer: no such group"},
		{33, 0, unix.EINVAL, "nlpeer: no such group"},
	} {
		req := vmtest.NewGenl(f.ID, 6, 9, vmtest.Attr{Type: 1, Data: vmtest.U32(tt.group)},
			vmtest.Attr{Type: 2, Data: binary.NativeEndian.AppendUint64(nil, tt.seq)})
		req.Flags |= unix.NLM_F_DUMP
		s.Send(t, req.Bytes())
		m := s.RecvOne(t)
		if m.Type != unix.NLMSG_DONE || len(m.Body) < 4 {
			t.Fatalf("group %d since %d: %+v", tt.group, tt.seq, m)
		}
		text := ""
		if m.Flags&unix.NLM_F_ACK_TLVS != 0 {
			text = unix.ByteSliceToString(vmtest.Attrs(t, m.Body[4:])[0].Data)
		}
		if errno := unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body))); errno != tt.errno || text != tt.text {
			t.Errorf("group %d since %d: %v, %q, want %v, %q", tt.group, tt.seq, errno, text, tt.errno, tt.text)
		}
	}
}

// The last event says that there will be no more. A listener holds nothing: the
// module goes, comes back, and begins to count anew.
func TestEnd(t *testing.T) {
	l := vmtest.ListenCn(t)
	for range 3 {
		vmtest.Module(t, "interval_ms=0")
		c := vmtest.OpenControl(t)
		quiet(t, c)
		c.Set(t, interval(1), size(9))
		next := uint64(1)
		for range 5 {
			if e, _ := l.Next(t); e.Seq != next || len(e.Data) != 9 {
				t.Fatalf("event %d with %d bytes, want %d", e.Seq, len(e.Data), next)
			}
			next++
		}
		c.Close()
		if err := vmtest.Rmmod("nlpeer"); err != nil {
			t.Fatalf("rmmod: %v", err)
		}
		for {
			e, attrs := l.Next(t)
			if e.Seq != next {
				t.Fatalf("event %d, want %d", e.Seq, next)
			}
			next++
			if e.Kind == vmtest.KindEnd {
				if len(attrs) != 5 || len(e.Data) != 0 {
					t.Errorf("the end is %+v", attrs)
				}
				break
			}
		}
		l.Empty(t)
		if vmtest.OnConnector(t, "nlpeer") {
			t.Error("the connector lists it")
		}
	}
}

// Senders go on while the module comes and goes. The connector tells them
// nothing: each request is answered, or nobody was there. It holds no module for
// a request on its way, so this is also where a module that does not wait for
// them falls over; with one processor there is less to fall over.
func TestUnloadWhileSendersRun(t *testing.T) {
	const senders = 3
	rounds := vmtest.Scale(10, 50)
	if vmtest.Loaded() {
		vmtest.Unload(t)
	}
	var done atomic.Bool
	var answers, silences atomic.Int64
	fs := []func(){func() {
		defer done.Store(true)
		for i := range rounds {
			if err := vmtest.Insmod("interval_ms=1"); err != nil {
				t.Fatalf("insmod, round %d: %v", i, err)
			}
			before := answers.Load()
			vmtest.Until(t, "answers came", func() bool { return answers.Load() > before+10 })
			if err := vmtest.Rmmod("nlpeer"); err != nil {
				t.Fatalf("rmmod, round %d: %v", i, err)
			}
			if vmtest.OnConnector(t, "nlpeer") {
				t.Fatalf("round %d: the connector lists it", i)
			}
			before = silences.Load()
			vmtest.Until(t, "nobody answers", func() bool { return silences.Load() > before })
		}
	}}
	for range senders {
		s := open(t)
		r := vmtest.Rand(t)
		fs = append(fs, func() {
			for !done.Load() {
				req := vmtest.NewCn(r.Uint32(), r.Uint32(), vmtest.Bytes(r, r.IntN(2000)))
				if err := s.TrySend(req.Message().Bytes()); err != nil {
					t.Fatalf("send: %v", err)
				}
				b, err := s.TryRecv(0)
				if err == unix.ETIMEDOUT {
					silences.Add(1)
					runtime.Gosched()
					continue
				}
				if err != nil {
					t.Fatalf("receive: %v", err)
				}
				got := vmtest.ParseCn(t, vmtest.Parse(t, b)[0])
				if got.Seq != req.Seq || got.Ack != req.Ack || string(got.Data) != string(req.Data) {
					t.Fatalf("answer %+v to %+v", got, req)
				}
				answers.Add(1)
			}
		})
	}
	vmtest.Together(fs...)
	vmtest.Count(t, "loads and unloads while senders run", rounds)
	t.Logf("%d answers, %d times nobody", answers.Load(), silences.Load())
}
