// SPDX-License-Identifier: MIT

package vmtest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The rest of the contract that events and settings need, see NetlinkTest.
const (
	CmdStatsGet  = 2
	CmdBeaconGet = 3
	CmdBeaconSet = 4
	CmdEvent     = 5

	RawGroups   = 32
	GroupBeacon = 65536 // the genl group, where an event names its group
	KindBeacon  = 1
	KindEnd     = 5
	IntervalMax = 3600000
	DataMax     = 4096
)

const manyEvents = 16 << 20 // bytes of receive buffer

// Event is an event taken apart.
type Event struct {
	Group uint32
	Seq   uint64
	Time  uint64 // nanoseconds of CLOCK_BOOTTIME
	Kind  uint32
	Data  []byte
}

// A Listener is a socket that events come to.
type Listener struct {
	*Socket
	family *Family // nil on the raw protocol
	ending bool    // the last event is welcome
}

// ListenRaw joins raw groups by a mask at bind, with room for many events.
func ListenRaw(t testing.TB, groups uint32) *Listener {
	t.Helper()
	l := RawListener(Open(t, NetlinkTest, 0, groups))
	l.SetBuffer(t, manyEvents)
	return l
}

// RawListener listens on a socket of the raw protocol.
func RawListener(s *Socket) *Listener { return &Listener{Socket: s} }

// ListenGenl joins the generic netlink group "beacon", with room for many events.
func ListenGenl(t testing.TB) *Listener {
	t.Helper()
	l := GenlListener(t, Open(t, unix.NETLINK_GENERIC, 0, 0))
	l.SetBuffer(t, manyEvents)
	return l
}

// GenlListener joins the group "beacon" on a generic netlink socket.
func GenlListener(t testing.TB, s *Socket) *Listener {
	t.Helper()
	f := Nlpeer(t)
	s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, int(f.Groups["beacon"]))
	return &Listener{Socket: s, family: &f}
}

// Next receives an event, which must come alone in its datagram, with a header
// and attributes as the contract has them.
func (l *Listener) Next(t testing.TB) Event {
	t.Helper()
	e, err := l.TryNext(t, Deadline())
	if err != nil {
		t.Fatalf("receiving an event: %v", err)
	}
	return e
}

// TryNext is Next for those who expect an error, see TryRecv.
func (l *Listener) TryNext(t testing.TB, d time.Duration) (Event, error) {
	t.Helper()
	b, err := l.TryRecv(d)
	if err != nil {
		return Event{}, err
	}
	all := Parse(t, b)
	if len(all) != 1 {
		t.Fatalf("%d messages in a datagram, want 1: %+v", len(all), all)
	}
	return l.parse(t, all[0]), nil
}

// Ended takes all that waits to be received of a group that has ended: the
// last one, and no other, is of kind end, and has no data. It is not returned.
func (l *Listener) Ended(t testing.TB) []Event {
	t.Helper()
	l.ending = true
	defer func() { l.ending = false }()
	all := l.Drain(t)
	for i, e := range all {
		if last := i == len(all)-1; (e.Kind == KindEnd) != last || last && len(e.Data) != 0 {
			t.Errorf("event %d of %d is of kind %d with %d bytes of data", i+1, len(all), e.Kind, len(e.Data))
		}
		if i > 0 && e.Seq != all[i-1].Seq+1 {
			t.Errorf("event %d after %d", e.Seq, all[i-1].Seq)
		}
	}
	if len(all) == 0 {
		t.Error("no event of kind end")
		return nil
	}
	return all[:len(all)-1]
}

// Drain takes all that waits to be received.
func (l *Listener) Drain(t testing.TB) []Event {
	t.Helper()
	var all []Event
	for {
		e, err := l.TryNext(t, 0)
		if err == unix.ETIMEDOUT {
			return all
		}
		if err != nil {
			t.Fatalf("receiving an event: %v", err)
		}
		all = append(all, e)
	}
}

func (l *Listener) parse(t testing.TB, m Message) Event {
	t.Helper()
	if m.Flags != 0 || m.Seq != 0 || m.PortID != 0 {
		t.Errorf("event with flags %#x, sequence number %d, port ID %d, want 0, 0, 0", m.Flags, m.Seq, m.PortID)
	}
	body := m.Body
	if l.family == nil {
		if m.Type != MsgEvent {
			t.Fatalf("event of type %d, want %d", m.Type, MsgEvent)
		}
	} else {
		if m.Type != l.family.ID {
			t.Fatalf("event of type %d, want the family's %d", m.Type, l.family.ID)
		}
		if len(body) < 4 || body[0] != CmdEvent || body[1] != 1 || body[2] != 0 || body[3] != 0 {
			t.Fatalf("generic netlink header % x, want command %d, version 1", body[:min(4, len(body))], CmdEvent)
		}
		body = body[4:]
	}
	e := ParseEvent(t, Attrs(t, body))
	if e.Kind == KindEnd && !l.ending {
		t.Errorf("group %d has ended", e.Group)
	}
	if raw := e.Group >= 1 && e.Group <= RawGroups; raw != (l.family == nil) || !raw && e.Group != GroupBeacon {
		t.Errorf("an event of group %d came by this protocol", e.Group)
	}
	return e
}

// ParseEvent wants each attribute once, in the order of spec/, of its length.
func ParseEvent(t testing.TB, attrs []Attr) Event {
	t.Helper()
	const pad = 6 // aligns a u64 on some architectures
	lengths := []int{4, 8, 8, 4, -1}
	var got []Attr
	for _, a := range attrs {
		if a.Type != pad || len(a.Data) != 0 {
			got = append(got, a)
		}
	}
	if len(got) != len(lengths) {
		t.Fatalf("event of %d attributes, want %d: %+v", len(got), len(lengths), got)
	}
	for i, n := range lengths {
		if a := got[i]; int(a.Type) != i+1 || n >= 0 && len(a.Data) != n {
			t.Fatalf("attribute %d of an event has type %d and %d bytes, want type %d and %d bytes",
				i, a.Type, len(a.Data), i+1, n)
		}
	}
	e := Event{
		Group: native.Uint32(got[0].Data),
		Seq:   native.Uint64(got[1].Data),
		Time:  native.Uint64(got[2].Data),
		Kind:  native.Uint32(got[3].Data),
		Data:  got[4].Data,
	}
	if e.Kind != KindBeacon && e.Kind != KindEnd {
		t.Errorf("event of kind %d, want %d or %d", e.Kind, KindBeacon, KindEnd)
	}
	for i, c := range e.Data {
		if want := byte(e.Seq + uint64(i)); c != want {
			t.Errorf("byte %d of event %d is %#x, want %#x", i, e.Seq, c, want)
			break
		}
	}
	return e
}

// Numbers is the last event number seen in each group.
type Numbers map[uint32]uint64

// Follow fails the test if e is not the event after the last one of its group,
// or not the first if there was none.
func (n Numbers) Follow(t testing.TB, e Event) {
	t.Helper()
	if e.Seq != n[e.Group]+1 {
		t.Errorf("group %d: event %d after %d", e.Group, e.Seq, n[e.Group])
	}
	n[e.Group] = e.Seq
}

// Now is CLOCK_BOOTTIME in nanoseconds, to compare with the time of an event.
func Now(t testing.TB) uint64 {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		t.Fatal(err)
	}
	return uint64(ts.Nano())
}
