// SPDX-License-Identifier: MIT

package vmtest

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The contract of the connector, see NetlinkTest.
const (
	CnIdx          = 16 // also the multicast group
	CnVal          = 1
	CnPayloadMax   = 16364
	GroupConnector = 65538 // where an event names its group
)

// CnHeader is the length of the connector's own header.
const CnHeader = 20

// Cn is a message of the connector. What stands behind the netlink header.
type Cn struct {
	Idx, Val, Seq, Ack uint32
	Flags              uint16
	Data               []byte
}

// NewCn is a message to the peer.
func NewCn(seq, ack uint32, data []byte) Cn {
	return Cn{Idx: CnIdx, Val: CnVal, Seq: seq, Ack: ack, Data: data}
}

// Bytes lays it out, without the netlink header.
func (c Cn) Bytes() []byte {
	b := make([]byte, 0, CnHeader+len(c.Data))
	for _, v := range []uint32{c.Idx, c.Val, c.Seq, c.Ack} {
		b = native.AppendUint32(b, v)
	}
	b = native.AppendUint16(b, uint16(len(c.Data)))
	b = native.AppendUint16(b, c.Flags)
	return append(b, c.Data...)
}

// Message puts it into a netlink message.
func (c Cn) Message() Message {
	return Message{Type: unix.NLMSG_DONE, Seq: c.Seq, Body: c.Bytes()}
}

// ParseCn takes a message from the connector apart. Its netlink header says the
// number again, and nothing else.
func ParseCn(t testing.TB, m Message) Cn {
	t.Helper()
	if m.Type != unix.NLMSG_DONE || m.Flags != 0 || m.PortID != 0 {
		t.Errorf("connector: message of type %d, flags %#x, port ID %d; want 3, 0, 0", m.Type, m.Flags, m.PortID)
	}
	b := m.Body
	if len(b) < CnHeader || int(native.Uint16(b[16:])) != len(b)-CnHeader {
		t.Fatalf("connector: a message of %d bytes: % x", len(b), b[:min(len(b), CnHeader)])
	}
	c := Cn{
		Idx: native.Uint32(b), Val: native.Uint32(b[4:]), Seq: native.Uint32(b[8:]), Ack: native.Uint32(b[12:]),
		Flags: native.Uint16(b[18:]), Data: b[CnHeader:],
	}
	if m.Seq != c.Seq {
		t.Errorf("connector: number %d in the netlink header, %d in the connector's", m.Seq, c.Seq)
	}
	return c
}

// RecvCn receives a datagram that must hold one message of the connector.
func (s *Socket) RecvCn(t testing.TB) Cn {
	t.Helper()
	return ParseCn(t, s.RecvOne(t))
}

// EchoCn asks for an echo and wants it.
func (s *Socket) EchoCn(t testing.TB, req Cn) {
	t.Helper()
	s.Send(t, req.Message().Bytes())
	got := s.RecvCn(t)
	want := req
	want.Flags = 0
	if got.Idx != want.Idx || got.Val != want.Val || got.Seq != want.Seq || got.Ack != want.Ack || got.Flags != 0 ||
		string(got.Data) != string(want.Data) {
		t.Errorf("connector: echo of %d bytes, number %d, is {%d %d} with %d bytes, number %d, ack %d, flags %#x; want ack %d",
			len(req.Data), req.Seq, got.Idx, got.Val, len(got.Data), got.Seq, got.Ack, got.Flags, req.Ack)
	}
}

// OnConnector reports whether the connector lists a callback of a name.
func OnConnector(t testing.TB, name string) bool {
	t.Helper()
	for line := range strings.Lines(ReadFile(t, "/proc/net/connector")) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == name {
			return true
		}
	}
	return false
}

// A CnListener listens to the connector's group.
type CnListener struct {
	*Socket
}

// ListenCn joins the connector's group, with room for many events.
func ListenCn(t testing.TB) *CnListener {
	t.Helper()
	s := Open(t, unix.NETLINK_CONNECTOR, 0, 0)
	s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, CnIdx)
	s.SetBuffer(t, manyEvents)
	return &CnListener{s}
}

// TryNext receives an event, see TryRecv: the attributes, and the event if it
// is one of a beacon or the end, and otherwise only its first four attributes.
func (l *CnListener) TryNext(t testing.TB, d time.Duration) (Event, []Attr, error) {
	t.Helper()
	b, err := l.TryRecv(d)
	if err != nil {
		return Event{}, nil, err
	}
	all := Parse(t, b)
	if len(all) != 1 {
		t.Fatalf("%d messages in a datagram, want 1: %+v", len(all), all)
	}
	c := ParseCn(t, all[0])
	if c.Idx != CnIdx || c.Val != CnVal || c.Ack != 0 || c.Flags != 0 {
		t.Errorf("connector: event from {%d %d}, ack %d, flags %#x", c.Idx, c.Val, c.Ack, c.Flags)
	}
	attrs := Attrs(t, c.Data)
	var e Event
	if len(attrs) == 5 && attrs[4].Type == 5 {
		e = ParseEvent(t, attrs)
	} else {
		numbers(t, attrs[:min(4, len(attrs))], 1, 6, &e.Group, &e.Seq, &e.Time, &e.Kind)
	}
	if e.Group != GroupConnector || uint32(e.Seq) != c.Seq {
		t.Errorf("connector: event %d of group %d in a message with number %d", e.Seq, e.Group, c.Seq)
	}
	return e, attrs, nil
}

// Next is TryNext for an event that must come.
func (l *CnListener) Next(t testing.TB) (Event, []Attr) {
	t.Helper()
	e, attrs, err := l.TryNext(t, Deadline())
	if err != nil {
		t.Fatalf("receiving an event of the connector: %v", err)
	}
	return e, attrs
}
