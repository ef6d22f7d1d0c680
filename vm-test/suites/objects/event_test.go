// SPDX-License-Identifier: MIT

package objects_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// A listener is a member of the group of objects of one protocol.
type listener struct {
	*vmtest.Socket
	carrier *vmtest.Carrier
}

func listen(t *testing.T, c *vmtest.Carrier) *listener {
	t.Helper()
	s := vmtest.Open(t, c.Protocol, 0, 0)
	s.SetBuffer(t, 16<<20)
	c.JoinObjects(t, s)
	return &listener{s, c}
}

func (l *listener) next(t *testing.T) vmtest.ObjectEvent {
	t.Helper()
	return l.carrier.ObjectEvent(t, l.RecvOne(t))
}

// groups are the carriers that have a group of objects.
var groups = []*vmtest.Carrier{vmtest.RawCarrier, vmtest.GenlCarrier}

// change is what an event should tell.
type change struct {
	kind       uint32
	key        string
	generation uint64
	values     [][]byte
	port, seq  uint32 // of the request
}

func (w change) check(t *testing.T, e vmtest.ObjectEvent, number uint64) {
	t.Helper()
	if e.Kind != w.kind || e.Seq != number {
		t.Errorf("event %d of kind %d, want %d of kind %d", e.Seq, e.Kind, number, w.kind)
	}
	vmtest.SameObject(t, e.Object, w.key, w.generation, w.values...)
	if e.HeadPort != w.port || e.HeadSeq != w.seq {
		t.Errorf("event with port ID %d, sequence number %d in its header, want %d, %d", e.HeadPort, e.HeadSeq, w.port, w.seq)
	}
}

// story changes objects in all ways over a carrier, and returns the changes.
// The sequence numbers of its requests follow seq.
func story(t *testing.T, tb *vmtest.Table, generation uint64, seq uint32, flags uint16) ([]change, func(i int) []vmtest.Message) {
	t.Helper()
	r := vmtest.Rand(t)
	x, y, z := vmtest.Bytes(r, 10), vmtest.Bytes(r, 4096), vmtest.Bytes(r, 3)
	var answers [][]vmtest.Message
	for _, req := range []vmtest.ObjectRequest{
		vmtest.NewObject(cre, "x", x),
		vmtest.NewObject(cre, "xy"),
		vmtest.NewObject(rep, "x", y, z),
		vmtest.NewObject(app, "xy", x),
		vmtest.NewObject(rep|cre, "a"),
		vmtest.NewObject(app|cre, "xy"),
		vmtest.DelObject("a"),
		vmtest.DelObjects("none"),
		vmtest.DelObjects("x"),
	} {
		req.Flags |= flags
		before, ack := tb.Ask(t, req)
		if ack.Errno != 0 {
			t.Fatalf("%v: %s", ack.Errno, ack.Text)
		}
		answers = append(answers, before)
	}
	// What must not be heard.
	for _, req := range []vmtest.ObjectRequest{vmtest.NewObject(rep, "x"), vmtest.DelObject("x"), vmtest.GetObject("x")} {
		req.Flags |= flags
		if before, ack := tb.Ask(t, req); ack.Errno != unix.ENOENT || before != nil {
			t.Fatalf("%v, %+v", ack.Errno, before)
		}
	}
	of := []int{0, 1, 2, 3, 4, 5, 6, 8, 8} // request of each change
	all := []change{
		{kind: vmtest.KindNew, key: "x", values: [][]byte{x}},
		{kind: vmtest.KindNew, key: "xy"},
		{kind: vmtest.KindChange, key: "x", values: [][]byte{y, z}},
		{kind: vmtest.KindChange, key: "xy", values: [][]byte{x}},
		{kind: vmtest.KindNew, key: "a"},
		{kind: vmtest.KindChange, key: "xy", values: [][]byte{x}},
		{kind: vmtest.KindDel, key: "a"},
		{kind: vmtest.KindDel, key: "x", values: [][]byte{y, z}},
		{kind: vmtest.KindDel, key: "xy", values: [][]byte{x}},
	}
	for i := range all {
		all[i].generation = generation + uint64(i) + 1
		all[i].port, all[i].seq = tb.PortID, seq+uint32(of[i])+1
	}
	return all, func(i int) []vmtest.Message { return answers[i] }
}

// Every change is heard once on each protocol, in order.
func TestEvents(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	var number uint64
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		listeners := []*listener{listen(t, groups[0]), listen(t, groups[1]), listen(t, groups[0]), listen(t, groups[1])}
		tb := vmtest.OpenTable(t, c)
		stats := vmtest.OpenControl(t)
		was := stats.TableStats(t)
		changes, _ := story(t, tb, was.Generation, 0, 0)
		for _, l := range listeners {
			for i, want := range changes {
				if l.carrier != c {
					want.port, want.seq = 0, 0
				}
				want.check(t, l.next(t), number+uint64(i)+1)
			}
			l.Empty(t)
		}
		tb.Empty(t)
		number += uint64(len(changes))
	})
}

// Who asks with NLM_F_ECHO gets its own events before the acknowledgment, once,
// whether it is a member of the group, and whether anybody else is. A member
// gets them without, too.
func TestEcho(t *testing.T) {
	of := []int{1, 1, 1, 1, 1, 1, 1, 0, 2} // events for each request
	for _, tt := range []struct{ echo, member, others bool }{
		{true, false, false}, {true, false, true}, {true, true, false}, {true, true, true},
		{false, true, false}, {false, true, true},
	} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
				if tt.member && c == vmtest.RtnlCarrier {
					return // no group of objects there
				}
				vmtest.Module(t, "interval_ms=0")
				tb := vmtest.OpenTable(t, c)
				if tt.member {
					c.JoinObjects(t, tb.Socket)
				}
				var listeners []*listener
				if tt.others {
					listeners = []*listener{listen(t, groups[0]), listen(t, groups[1])}
				}
				flags := uint16(0)
				if tt.echo {
					flags = unix.NLM_F_ECHO
				}
				changes, answer := story(t, tb, 0, 0, flags)
				next := 0
				for i, n := range of {
					got := answer(i)
					if len(got) != n {
						t.Fatalf("request %d: %d answers, want %d: %+v", i, len(got), n, got)
					}
					for _, m := range got {
						want := changes[next]
						next++
						if c != vmtest.RtnlCarrier {
							want.check(t, c.ObjectEvent(t, m), uint64(next))
							continue
						}
						if m.Seq != want.seq {
							t.Errorf("echo with sequence number %d, want %d", m.Seq, want.seq)
						}
						m.Seq = tb.Last()
						o := tb.Object(t, m, 0, want.kind == vmtest.KindDel)
						vmtest.SameObject(t, o, want.key, want.generation, want.values...)
					}
				}
				tb.Empty(t)
				for _, l := range listeners {
					for i, want := range changes {
						if l.carrier != c {
							want.port, want.seq = 0, 0
						}
						want.check(t, l.next(t), uint64(i)+1)
					}
					l.Empty(t)
				}
			})
		})
	}
}

// Requests in one send with NLM_F_ECHO: each event before its acknowledgment.
func TestEchoInBatch(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb := vmtest.OpenTable(t, c)
		var reqs []vmtest.Message
		for i := range 20 {
			r := vmtest.NewObject(cre, fmt.Sprint(i%7))
			r.Flags |= unix.NLM_F_ECHO | unix.NLM_F_ACK
			reqs = append(reqs, tb.Encode(r))
		}
		tb.Send(t, vmtest.Join(reqs...))
		for i, req := range reqs {
			if i < 7 {
				if m := tb.RecvOne(t); m.Type == unix.NLMSG_ERROR || m.Seq != req.Seq {
					t.Errorf("request %d: %+v, want its event", i, m)
				}
			}
			want := unix.Errno(0)
			if i >= 7 {
				want = unix.EEXIST
			}
			if a := tb.RecvAck(t, req); a.Errno != want {
				t.Errorf("request %d: %v, want %v", i, a.Errno, want)
			}
		}
		tb.Empty(t)
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// remembered asks the history for the events of a group.
func remembered(t *testing.T, group uint32) []vmtest.ObjectEvent {
	t.Helper()
	const cmdEventGet = 6
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	defer s.Close()
	req := vmtest.NewGenl(vmtest.Nlpeer(t).ID, cmdEventGet, 5, vmtest.Attr{Type: 1, Data: vmtest.U32(group)})
	req.Flags |= vmtest.FlagDump
	s.Send(t, req.Bytes())
	var all []vmtest.ObjectEvent
	for {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Type == unix.NLMSG_DONE {
				if errno := vmtest.S32(m.Body); errno != 0 {
					t.Fatalf("event-get: %d", errno)
				}
				return all
			}
			if m.Type == unix.NLMSG_ERROR || len(m.Body) < 4 || m.Body[0] != cmdEventGet {
				t.Fatalf("%+v is no event of the dump", m)
			}
			all = append(all, vmtest.ParseObjectEvent(t, vmtest.Attrs(t, m.Body[4:])))
		}
	}
}

// The history has what was heard, with objects as they were then.
func TestHistory(t *testing.T) {
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		vmtest.Module(t, "interval_ms=0")
		listeners := []*listener{listen(t, groups[0]), listen(t, groups[1])}
		changes, _ := story(t, vmtest.OpenTable(t, c), 0, 0, 0)
		for i, group := range []uint32{vmtest.RawGroupObjects, vmtest.GenlGroupObjects} {
			got := remembered(t, group)
			if len(got) != len(changes) {
				t.Fatalf("group %d: %d events, want %d", group, len(got), len(changes))
			}
			for n, want := range changes {
				want.port, want.seq = 0, 0
				got[n].HeadPort, got[n].HeadSeq = 0, 0
				want.check(t, got[n], uint64(n)+1)
				if got[n].Group != group {
					t.Errorf("event of group %d, want %d", got[n].Group, group)
				}
				listeners[i].next(t)
			}
			listeners[i].Empty(t)
		}
	})
}

// The objects of the history have a bound: the oldest events are forgotten
// first, and what is larger than the bound is not remembered at all.
func TestHistoryBytes(t *testing.T) {
	const room = 10
	var one uint64
	value := vmtest.Random(t, 1000)
	for _, measure := range []bool{true, false} {
		t.Run(fmt.Sprintf("measure=%v", measure), func(t *testing.T) {
			bound := uint64(1 << 20)
			if !measure {
				bound = room*one + one - 1
			}
			vmtest.Module(t, "interval_ms=0", fmt.Sprintf("history_bytes=%d", bound))
			stats := vmtest.OpenControl(t)
			l := listen(t, vmtest.RawCarrier) // the only one: each event is remembered once
			tb := vmtest.OpenTable(t, vmtest.RtnlCarrier)
			history := func(first, last uint64) {
				t.Helper()
				got := remembered(t, vmtest.RawGroupObjects)
				if len(got) != int(last-first+1) || got[0].Seq != first || got[len(got)-1].Seq != last {
					t.Errorf("%d events, want %d to %d", len(got), first, last)
				}
				s := stats.TableStats(t)
				if s.HistBytes > s.HistBytesMax || s.HistBytesMax != bound || int(s.Held) != len(got) {
					t.Errorf("%d events of %d bytes, bound %d, want %d of at most %d", s.Held, s.HistBytes, s.HistBytesMax, len(got), bound)
				}
			}
			tb.Must(t, vmtest.NewObject(cre, "k", value))
			history(1, 1)
			if measure {
				one = stats.TableStats(t).HistBytes
				if b := stats.TableStats(t).Bytes; b != one {
					t.Errorf("an object takes %d bytes in the history and %d in the table", one, b)
				}
				return
			}
			for n := uint64(2); n <= 3*room; n++ {
				tb.Must(t, vmtest.NewObject(rep, "k", value))
				history(max(1, n+1-min(n, room)), n)
			}
			if s := stats.TableStats(t); s.HistBytes != room*one {
				t.Errorf("%d bytes, want %d", s.HistBytes, room*one)
			}

			// Larger than the bound: heard, and forgotten; the others stay.
			large := full('a')
			tb.Must(t, vmtest.NewObject(rep, "k", large...))
			history(2*room+1, 3*room)
			// Half of the bound: half of the others go.
			tb.Must(t, vmtest.NewObject(rep, "k", large[0]))
			got := remembered(t, vmtest.RawGroupObjects)
			if last := got[len(got)-1]; last.Seq != 3*room+2 || len(last.Object.Values) != 1 {
				t.Errorf("the last event is %d", last.Seq)
			}
			if got[0].Seq <= 2*room+1 || got[0].Seq > 3*room {
				t.Errorf("the first event is %d", got[0].Seq)
			}
			if s := stats.TableStats(t); s.HistBytes > bound || s.HistBytes+one <= bound {
				t.Errorf("%d bytes of %d", s.HistBytes, bound)
			}
			for n := uint64(1); n <= 3*room+2; n++ {
				if e := l.next(t); e.Seq != n {
					t.Errorf("heard event %d, want %d", e.Seq, n)
				}
			}
		})
	}
}
