// SPDX-License-Identifier: MIT

package vmtest

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Attributes of the beacon's settings.
const (
	BeaconInterval = 1 + iota
	BeaconGroups
	BeaconGenl
	BeaconSize
	BeaconConnector
	BeaconPacked
	BeaconBurst // not a setting
)

// Beacon is the settings of a beacon.
type Beacon struct {
	Interval, Groups, Genl, Size, Connector, Packed uint32
}

// Attrs is all settings as attributes.
func (b Beacon) Attrs() []Attr {
	return []Attr{
		{BeaconInterval, U32(b.Interval)},
		{BeaconGroups, U32(b.Groups)},
		{BeaconGenl, U32(b.Genl)},
		{BeaconSize, U32(b.Size)},
		{BeaconConnector, U32(b.Connector)},
		{BeaconPacked, U32(b.Packed)},
	}
}

// The carriers, by their numbers.
const (
	CarrierRaw = 1 + iota
	CarrierGenl
	CarrierConnector
	CarrierRtnl
)

// errnos are the errors that each carrier counts one by one, in the order of
// their counters. The first is for all others.
var errnos = [...]unix.Errno{
	0, unix.EPERM, unix.ENOENT, unix.EINTR, unix.EAGAIN, unix.ENOMEM, unix.EBUSY, unix.EEXIST, unix.EINVAL,
	unix.ENOSPC, unix.ERANGE, unix.EMSGSIZE, unix.EOPNOTSUPP, unix.ENOBUFS, unix.ECONNREFUSED,
}

// ErrorStats is how often each error occurred.
type ErrorStats [len(errnos)]uint64

// Failed counts the errors in a list, each as often as it is there.
func Failed(list ...unix.Errno) (s ErrorStats) {
	for _, errno := range list {
		s.Add(errno, 1)
	}
	return s
}

// Add counts an error n times more.
func (s *ErrorStats) Add(errno unix.Errno, n uint64) {
	s[max(0, slices.Index(errnos[:], errno))] += n
}

// Kinds is the number of different errors that occurred.
func (s ErrorStats) Kinds() (n uint64) {
	for _, count := range s {
		n += min(count, 1)
	}
	return n
}

// CarrierStats is what one carrier counted. Errors is the sum of By, or the
// contract is broken.
type CarrierStats struct {
	Requests, Replies, Errors, RxBytes, TxBytes, Events, EventErrors uint64

	By ErrorStats
}

// ObjectStats is what the statistics say about the table of objects.
type ObjectStats struct {
	Count, CountMax             uint32
	Bytes, BytesMax, Generation uint64
	Snapshots                   uint32
}

// Stats is all statistics of a namespace. Those of generic netlink do not
// count the request that asked for them.
type Stats struct {
	Raw, Genl, Connector, Rtnl    CarrierStats
	Ticks, Idle, Missed           uint64
	HistorySize, HistoryHeld      uint32
	HistoryBytes, HistoryBytesMax uint64
	Objects                       ObjectStats
}

// Fresh is the statistics of a namespace in which nothing has happened, with a
// module without parameters.
func Fresh() Stats {
	return Stats{HistorySize: 1024, HistoryBytesMax: 1 << 20, Objects: ObjectStats{CountMax: 4096, BytesMax: 4 << 20}}
}

// Carriers is the statistics of each carrier, in the order of their numbers.
func (s *Stats) Carriers() []*CarrierStats {
	return []*CarrierStats{&s.Raw, &s.Genl, &s.Connector, &s.Rtnl}
}

// StatsLen is the length of a reply with these statistics in it: every error
// that occurred has a nest of its own.
func (s *Stats) StatsLen() uint64 {
	n := uint64(20 + 4*(4+8+7*12) + 4 + 3*12 + 4 + 2*8 + 2*12 + 4 + 3*8 + 3*12)
	for _, c := range s.Carriers() {
		n += c.By.Kinds() * (4 + 8 + 12)
	}
	return n
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
	var v [6]uint32
	if len(attrs) != len(v) {
		t.Fatalf("settings of %d attributes, want %d: %+v", len(attrs), len(v), attrs)
	}
	for i, a := range attrs {
		if int(a.Type) != i+1 || len(a.Data) != 4 {
			t.Fatalf("setting %d has type %d and %d bytes, want type %d and 4 bytes", i, a.Type, len(a.Data), i+1)
		}
		v[i] = native.Uint32(a.Data)
	}
	return Beacon{v[0], v[1], v[2], v[3], v[4], v[5]}
}

// Stats reads the statistics.
func (c *Control) Stats(t testing.TB) Stats {
	t.Helper()
	attrs := c.must(t, CmdStatsGet)
	var s Stats
	carriers := s.Carriers()
	for i, typ := range []uint16{1, 1, 1, 1, 2, 3, 4} {
		if len(attrs) != 7 || attrs[i].Type != typ {
			t.Fatalf("statistics are not of four carriers, a beacon, a history and a table: %+v", attrs)
		}
	}
	for i, to := range carriers {
		carrierStats(t, Attrs(t, attrs[i].Data), uint32(i+1), to)
	}
	beacon, history, objects := Attrs(t, attrs[4].Data), Attrs(t, attrs[5].Data), Attrs(t, attrs[6].Data)
	numbers(t, beacon, 1, 4, &s.Ticks, &s.Idle, &s.Missed)
	numbers(t, history, 1, 5, &s.HistorySize, &s.HistoryHeld, &s.HistoryBytes, &s.HistoryBytesMax)
	o := &s.Objects
	numbers(t, objects, 1, 7, &o.Count, &o.CountMax, &o.Bytes, &o.BytesMax, &o.Generation, &o.Snapshots)
	return s
}

// carrierStats takes the statistics of a carrier apart. Errors stand behind the
// counters, those that occurred, in the order of errnos.
func carrierStats(t testing.TB, attrs []Attr, number uint32, to *CarrierStats) {
	t.Helper()
	const pad, errors = 9, 10
	n := slices.IndexFunc(attrs, func(a Attr) bool { return a.Type == errors })
	if n < 0 {
		n = len(attrs)
	}
	var carrier uint32
	numbers(t, attrs[:n], 1, pad, &carrier, &to.Requests, &to.Replies, &to.Errors, &to.RxBytes, &to.TxBytes, &to.Events, &to.EventErrors)
	if carrier != number {
		t.Fatalf("statistics of carrier %d, want %d", carrier, number)
	}

	sum, last := uint64(0), -1
	for _, a := range attrs[n:] {
		if a.Type != errors {
			t.Fatalf("carrier %d: attribute %d between the errors", number, a.Type)
		}
		var errno uint32
		var count uint64
		numbers(t, Attrs(t, a.Data), 1, 3, &errno, &count)
		slot := slices.Index(errnos[:], unix.Errno(errno))
		if slot <= last || count == 0 {
			t.Errorf("carrier %d: error %d occurred %d times; want those that occurred, each once, in order", number, errno, count)
			continue
		}
		last = slot
		to.By[slot] = count
		sum += count
	}
	if sum != to.Errors {
		t.Errorf("carrier %d: %d errors, but %d one by one", number, to.Errors, sum)
	}
}

// numbers takes attributes apart that are numbered from first but for the one
// number of the pad, each a *uint32 or *uint64.
func numbers(t testing.TB, attrs []Attr, first, pad uint16, to ...any) {
	t.Helper()
	i, next := 0, first
	for _, a := range attrs {
		if a.Type == pad && len(a.Data) == 0 {
			continue
		}
		if next == pad {
			next++
		}
		size := -1
		if i < len(to) && a.Type == next {
			switch p := to[i].(type) {
			case *uint32:
				if size = 4; len(a.Data) == size {
					*p = native.Uint32(a.Data)
				}
			case *uint64:
				if size = 8; len(a.Data) == size {
					*p = native.Uint64(a.Data)
				}
			}
		}
		if len(a.Data) != size {
			t.Fatalf("number %d has type %d and %d bytes, want type %d and %d bytes: %+v", i, a.Type, len(a.Data), next, size, attrs)
		}
		i++
		next++
	}
	if i != len(to) {
		t.Fatalf("%d numbers, want %d: %+v", i, len(to), attrs)
	}
}
