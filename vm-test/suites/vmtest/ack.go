// SPDX-License-Identifier: MIT

package vmtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Ack is an acknowledgment or an error, taken apart. The socket needs
// NETLINK_EXT_ACK for anything but Errno.
type Ack struct {
	Errno  unix.Errno
	Capped bool
	Text   string
	Offset int // of the bad attribute in the request, -1 if not given
	Miss   int // type of the missing attribute, -1 if not given
	Policy bool
}

// ParseAck takes an NLMSG_ERROR apart and checks that it answers req.
func ParseAck(t testing.TB, m Message, req Message) Ack {
	t.Helper()
	if m.Type != unix.NLMSG_ERROR {
		t.Fatalf("message type %d, want NLMSG_ERROR: %+v", m.Type, m)
	}
	if m.Seq != req.Seq {
		t.Errorf("acknowledgment has sequence number %d, want %d", m.Seq, req.Seq)
	}
	if len(m.Body) < 20 {
		t.Fatalf("acknowledgment of %d bytes", len(m.Body))
	}
	a := Ack{
		Errno:  unix.Errno(-int32(native.Uint32(m.Body))),
		Capped: m.Flags&unix.NLM_F_CAPPED != 0,
		Offset: -1,
		Miss:   -1,
	}
	rest := m.Body[20:]
	if !a.Capped && a.Errno != 0 {
		n := (len(req.Body) + 3) &^ 3
		if n > len(rest) {
			t.Fatalf("acknowledgment quotes %d of %d bytes", len(rest), n)
		}
		rest = rest[n:]
	}
	if m.Flags&unix.NLM_F_ACK_TLVS == 0 {
		return a
	}
	for _, attr := range Attrs(t, rest) {
		switch attr.Type {
		case unix.NLMSGERR_ATTR_MSG:
			a.Text = unix.ByteSliceToString(attr.Data)
		case unix.NLMSGERR_ATTR_OFFS:
			a.Offset = int(native.Uint32(attr.Data))
		case 4: // NLMSGERR_ATTR_POLICY
			a.Policy = true
		case 5: // NLMSGERR_ATTR_MISS_TYPE
			a.Miss = int(native.Uint32(attr.Data))
		}
	}
	return a
}

// RecvAck receives the acknowledgment of req.
func (s *Socket) RecvAck(t testing.TB, req Message) Ack {
	t.Helper()
	return ParseAck(t, s.RecvOne(t), req)
}
