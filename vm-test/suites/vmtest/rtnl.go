// SPDX-License-Identifier: MIT

package vmtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// RtnlFamily is the peer's protocol family on rtnetlink, see NetlinkTest.
const RtnlFamily = 127

// NewRtnl is a request by rtnetlink: type is one of RTM_{NEW,DEL,GET}ADDRLABEL.
func NewRtnl(typ uint16, seq uint32, attrs ...Attr) Message {
	body := []byte{RtnlFamily, 0, 0, 0}
	for _, a := range attrs {
		body = append(body, a.Bytes()...)
	}
	return Message{Type: typ, Flags: unix.NLM_F_REQUEST, Seq: seq, Body: body}
}

// NewRtnlEcho is a request for an echo by rtnetlink.
func NewRtnlEcho(seq uint32, payload []byte) Message {
	return NewRtnl(unix.RTM_GETADDRLABEL, seq, Attr{7, payload})
}

// EchoRtnl asks for an echo by rtnetlink and wants it.
func (s *Socket) EchoRtnl(t testing.TB, seq uint32, payload []byte) {
	t.Helper()
	s.Send(t, NewRtnlEcho(seq, payload).Bytes())
	m := s.RecvOne(t)
	if m.Type != unix.RTM_NEWADDRLABEL || m.Flags != 0 || m.Seq != seq || m.PortID != s.PortID {
		t.Fatalf("echo by rtnetlink: type %d, flags %#x, number %d, port ID %d; want 72, 0, %d, %d",
			m.Type, m.Flags, m.Seq, m.PortID, seq, s.PortID)
	}
	if len(m.Body) < 4 || [4]byte(m.Body) != [4]byte{RtnlFamily} {
		t.Fatalf("echo by rtnetlink: header % x, want 127 and zeros", m.Body[:min(len(m.Body), 4)])
	}
	attrs := Attrs(t, m.Body[4:])
	if len(attrs) != 1 || attrs[0].Type != 7 || string(attrs[0].Data) != string(payload) {
		t.Errorf("echo by rtnetlink of %d bytes: %d attributes", len(payload), len(attrs))
	}
}
