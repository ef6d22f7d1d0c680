// SPDX-License-Identifier: MIT

package vmtest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Family is a generic netlink family as its controller describes it.
type Family struct {
	ID      uint16
	Version uint32
	MaxAttr uint32
	Groups  map[string]uint32
	Ops     map[uint32]uint32 // command -> flags
}

// FindFamily asks the controller for a family; ok is false if there is none.
func FindFamily(t testing.TB, name string) (f Family, ok bool) {
	t.Helper()
	s := Open(t, unix.NETLINK_GENERIC, 0, 0)
	defer s.Close()
	s.Send(t, NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 1,
		Attr{unix.CTRL_ATTR_FAMILY_NAME, append([]byte(name), 0)}).Bytes())
	m := s.RecvOne(t)
	if m.Type == unix.NLMSG_ERROR {
		return f, false
	}
	f.Groups = map[string]uint32{}
	f.Ops = map[uint32]uint32{}
	for _, a := range Attrs(t, m.Body[4:]) {
		switch a.Type {
		case unix.CTRL_ATTR_FAMILY_ID:
			f.ID = native.Uint16(a.Data)
		case unix.CTRL_ATTR_VERSION:
			f.Version = native.Uint32(a.Data)
		case unix.CTRL_ATTR_MAXATTR:
			f.MaxAttr = native.Uint32(a.Data)
		case unix.CTRL_ATTR_OPS:
			for _, op := range Attrs(t, a.Data) {
				var id, flags uint32
				for _, x := range Attrs(t, op.Data) {
					switch x.Type {
					case unix.CTRL_ATTR_OP_ID:
						id = native.Uint32(x.Data)
					case unix.CTRL_ATTR_OP_FLAGS:
						flags = native.Uint32(x.Data)
					}
				}
				f.Ops[id] = flags
			}
		case unix.CTRL_ATTR_MCAST_GROUPS:
			for _, g := range Attrs(t, a.Data) {
				var id uint32
				var name string
				for _, x := range Attrs(t, g.Data) {
					switch x.Type {
					case unix.CTRL_ATTR_MCAST_GRP_ID:
						id = native.Uint32(x.Data)
					case unix.CTRL_ATTR_MCAST_GRP_NAME:
						name = unix.ByteSliceToString(x.Data)
					}
				}
				f.Groups[name] = id
			}
		}
	}
	return f, true
}

// Nlpeer returns our family, which must be there.
func Nlpeer(t testing.TB) Family {
	t.Helper()
	f, ok := FindFamily(t, "nlpeer")
	if !ok {
		t.Fatal("no generic netlink family nlpeer")
	}
	return f
}

// NewGenl is a generic netlink request of version 1.
func NewGenl(family uint16, cmd uint8, seq uint32, attrs ...Attr) Message {
	body := []byte{cmd, 1, 0, 0}
	for _, a := range attrs {
		body = append(body, a.Bytes()...)
	}
	return Message{Type: family, Flags: unix.NLM_F_REQUEST, Seq: seq, Body: body}
}
