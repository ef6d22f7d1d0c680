// SPDX-License-Identifier: MIT

package vmtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Attributes of the beacon's settings.
const (
	BeaconInterval = 1 + iota
	BeaconGroups
	BeaconGenl
	BeaconSize
)

// Beacon is the settings of a beacon.
type Beacon struct {
	Interval, Groups, Genl, Size uint32
}

// Attrs is all settings as attributes.
func (b Beacon) Attrs() []Attr {
	return []Attr{
		{BeaconInterval, U32(b.Interval)},
		{BeaconGroups, U32(b.Groups)},
		{BeaconGenl, U32(b.Genl)},
		{BeaconSize, U32(b.Size)},
	}
}

// CarrierStats is what one carrier counted.
type CarrierStats struct {
	Requests, Replies, Errors, RxBytes, TxBytes, Events, EventErrors uint64
}

// Stats is all statistics of a namespace. Those of generic netlink do not
// count the request that asked for them.
type Stats struct {
	Raw, Genl           CarrierStats
	Ticks, Idle, Missed uint64
	HistorySize         uint32
	HistoryHeld         uint32
}

// Control is a generic netlink socket that asks the family nlpeer. Only one
// goroutine may use it at a time.
type Control struct {
	*Socket
	Family uint16
	seq    uint32
}

// OpenControl makes a Control.
func OpenControl(t testing.TB) *Control {
	t.Helper()
	return NewControl(t, Open(t, unix.NETLINK_GENERIC, 0, 0))
}

// NewControl makes a Control of a generic netlink socket.
func NewControl(t testing.TB, s *Socket) *Control {
	t.Helper()
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	return &Control{Socket: s, Family: Nlpeer(t).ID}
}

// Request sends a request with NLM_F_ACK and returns the reply's attributes,
// nil if there was no reply, and the acknowledgment.
func (c *Control) Request(t testing.TB, cmd uint8, attrs ...Attr) ([]Attr, Ack) {
	t.Helper()
	c.seq++
	req := NewGenl(c.Family, cmd, c.seq, attrs...)
	req.Flags |= unix.NLM_F_ACK
	c.Send(t, req.Bytes())
	m := c.RecvOne(t)
	if m.Type == unix.NLMSG_ERROR {
		return nil, ParseAck(t, m, req)
	}
	if m.Type != c.Family || m.Seq != c.seq || m.PortID != c.PortID || m.Flags != 0 ||
		len(m.Body) < 4 || m.Body[0] != cmd {
		t.Fatalf("reply to command %d: %+v", cmd, m)
	}
	return Attrs(t, m.Body[4:]), c.RecvAck(t, req)
}

// must is Request that may not fail.
func (c *Control) must(t testing.TB, cmd uint8, attrs ...Attr) []Attr {
	t.Helper()
	reply, ack := c.Request(t, cmd, attrs...)
	if ack.Errno != 0 {
		t.Fatalf("command %d: %v: %s", cmd, ack.Errno, ack.Text)
	}
	return reply
}

// Set changes settings of the beacon.
func (c *Control) Set(t testing.TB, attrs ...Attr) {
	t.Helper()
	if reply := c.must(t, CmdBeaconSet, attrs...); reply != nil {
		t.Errorf("beacon-set has a reply: %+v", reply)
	}
}

// Beacon reads the settings of the beacon.
func (c *Control) Beacon(t testing.TB) Beacon {
	t.Helper()
	attrs := c.must(t, CmdBeaconGet)
	var v [4]uint32
	if len(attrs) != len(v) {
		t.Fatalf("settings of %d attributes, want %d: %+v", len(attrs), len(v), attrs)
	}
	for i, a := range attrs {
		if int(a.Type) != i+1 || len(a.Data) != 4 {
			t.Fatalf("setting %d has type %d and %d bytes, want type %d and 4 bytes", i, a.Type, len(a.Data), i+1)
		}
		v[i] = native.Uint32(a.Data)
	}
	return Beacon{v[0], v[1], v[2], v[3]}
}

// Stats reads the statistics.
func (c *Control) Stats(t testing.TB) Stats {
	t.Helper()
	attrs := c.must(t, CmdStatsGet)
	if len(attrs) != 4 || attrs[0].Type != 1 || attrs[1].Type != 1 || attrs[2].Type != 2 || attrs[3].Type != 3 {
		t.Fatalf("statistics are not of two carriers, a beacon and a history: %+v", attrs)
	}
	var s Stats
	for i, to := range []*CarrierStats{&s.Raw, &s.Genl} {
		a := Attrs(t, attrs[i].Data)
		if len(a) == 0 || a[0].Type != 1 || len(a[0].Data) != 4 || native.Uint32(a[0].Data) != uint32(i+1) {
			t.Fatalf("statistics %d are not of carrier %d: %+v", i, i+1, a)
		}
		counters(t, a[1:], 2, 9, &to.Requests, &to.Replies, &to.Errors, &to.RxBytes, &to.TxBytes, &to.Events, &to.EventErrors)
	}
	counters(t, Attrs(t, attrs[2].Data), 1, 4, &s.Ticks, &s.Idle, &s.Missed)
	h := Attrs(t, attrs[3].Data)
	if len(h) != 2 || h[0].Type != 1 || h[1].Type != 2 || len(h[0].Data) != 4 || len(h[1].Data) != 4 {
		t.Fatalf("statistics of the history: %+v", h)
	}
	s.HistorySize, s.HistoryHeld = native.Uint32(h[0].Data), native.Uint32(h[1].Data)
	return s
}

// counters takes counters apart that are numbered from first.
func counters(t testing.TB, attrs []Attr, first int, pad uint16, to ...*uint64) {
	t.Helper()
	i := 0
	for _, a := range attrs {
		if a.Type == pad && len(a.Data) == 0 {
			continue
		}
		if i == len(to) || int(a.Type) != first+i || len(a.Data) != 8 {
			t.Fatalf("counter %d has type %d and %d bytes: %+v", i, a.Type, len(a.Data), attrs)
		}
		*to[i] = native.Uint64(a.Data)
		i++
	}
	if i != len(to) {
		t.Fatalf("%d counters, want %d: %+v", i, len(to), attrs)
	}
}
