// SPDX-License-Identifier: MIT

package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// An Answer is one message from the kernel, taken apart as far as Sent needs it.
type Answer struct {
	Type   uint16
	Seq    uint32
	PortID uint32
	Errno  int // of an acknowledgment, else 0
	Body   []byte
}

// CheckDatagram says what is wrong with a datagram that the kernel sent to a
// socket of a protocol, whatever it answers: what holds of all that leaves the
// peer. family is the number of the family nlpeer.
func CheckDatagram(b []byte, protocol int, family uint16) ([]Answer, error) {
	var all []Answer
	for len(b) > 0 {
		if len(b) < headerLen {
			return all, fmt.Errorf("%d bytes behind the last message", len(b))
		}
		n := int(native.Uint32(b))
		if n < headerLen || n > len(b) {
			return all, fmt.Errorf("nlmsg_len is %d with %d bytes left", n, len(b))
		}
		next := min((n+3)&^3, len(b))
		if !zero(b[n:next]) {
			return all, fmt.Errorf("padding of a message is % x", b[n:next])
		}
		m := wire.Header{Type: native.Uint16(b[4:]), Flags: native.Uint16(b[6:]), Seq: native.Uint32(b[8:]), PortID: native.Uint32(b[12:])}
		a := Answer{Type: m.Type, Seq: m.Seq, PortID: m.PortID, Body: b[headerLen:n:n]}
		if err := a.check(m, protocol, family); err != nil {
			return all, fmt.Errorf("message of type %d, flags %#x, %d bytes: %w", m.Type, m.Flags, n, err)
		}
		all = append(all, a)
		b = b[next:]
	}
	return all, nil
}

func (a *Answer) check(m wire.Header, protocol int, family uint16) error {
	switch {
	case m.Type == unix.NLMSG_NOOP && protocol == Route:
		return nil
	case m.Type == unix.NLMSG_ERROR:
		return a.checkError(m)
	case protocol == Connector:
		return checkConnector(m, a.Body)
	case m.Type == unix.NLMSG_DONE:
		if len(a.Body) < 4 {
			return errors.New("the end of a dump has no errno")
		}
		a.Errno = -int(int32(native.Uint32(a.Body)))
		if a.Errno != 0 && !Known(a.Errno) {
			return fmt.Errorf("errno %d", a.Errno)
		}
		return checkExtAck(a.Body[4:], 0)
	}
	switch protocol {
	case Raw:
		return checkRaw(m, a.Body)
	case Genl:
		if m.Type == ctrlID {
			return nil
		}
		if m.Type != family || len(a.Body) < wire.GenlHeaderLen {
			return errors.New("not of the family")
		}
		op := genlTable.answer(uint16(a.Body[0]))
		if op == nil || !zero(a.Body[2:4]) {
			return fmt.Errorf("command %d, reserved % x", a.Body[0], a.Body[2:4])
		}
		return checkAttrs(genlTable.sets, op.set, op.answer, a.Body[wire.GenlHeaderLen:])
	}
	if m.Type != rtmNew && m.Type != rtmDel || len(a.Body) < wire.RtnlHeaderLen || !bytes.Equal(a.Body[:4], []byte{wire.RtnlFamily, 0, 0, 0}) {
		return errors.New("not of the family of rtnetlink")
	}
	return checkAttrs(genlTable.sets, "object", append([]uint16{wire.AttrObjectPayload}, objectAnswer.answer...), a.Body[wire.RtnlHeaderLen:])
}

func checkRaw(m wire.Header, body []byte) error {
	if m.Type == msgEcho {
		if m.Flags != 0 {
			return errors.New("an echo has flags")
		}
		if len(body) > wire.PayloadMax {
			return errors.New("an echo is longer than what it may answer")
		}
		return nil
	}
	op := rawTable.answer(m.Type)
	if op == nil {
		return errors.New("no answer has this type")
	}
	return checkAttrs(rawTable.sets, op.set, op.answer, body)
}

func checkConnector(m wire.Header, body []byte) error {
	h, data, err := wire.ParseConnector(body)
	switch {
	case err != nil:
		return err
	case m.Flags != 0 || m.Type != unix.NLMSG_DONE || h.Idx != wire.CnIdx || h.Val != wire.CnVal || h.Seq != m.Seq:
		return fmt.Errorf("connector: %+v", h)
	case len(data) > wire.CnPayloadMax:
		return fmt.Errorf("connector: %d bytes", len(data))
	case m.PortID == 0 && len(data) > 8 && native.Uint32(data[attrLen:]) == wire.GroupConnector:
		return checkAttrs(rawTable.sets, "event", eventAnswer.answer, data)
	}
	return nil
}

// checkError checks an acknowledgment. What it quotes is for the socket to know.
func (a *Answer) checkError(m wire.Header) error {
	const quote = 4 + headerLen
	if len(a.Body) < quote {
		return errors.New("an acknowledgment without the header of the request")
	}
	a.Errno = -int(int32(native.Uint32(a.Body)))
	if a.Errno != 0 && !Known(a.Errno) {
		return fmt.Errorf("errno %d", a.Errno)
	}
	asked := int(native.Uint32(a.Body[4:]))
	if native.Uint32(a.Body[12:]) != m.Seq {
		return errors.New("the acknowledgment quotes another request")
	}
	end := quote
	if m.Flags&wire.FlagCapped == 0 && a.Errno != 0 {
		end = min(len(a.Body), 4+(asked+3)&^3)
	}
	if m.Flags&wire.FlagAckTLVs == 0 {
		return nil
	}
	return checkExtAck(a.Body[end:], asked)
}

// checkExtAck checks the attributes of an extended acknowledgment to a request
// of so many bytes, 0 for any number.
func checkExtAck(b []byte, asked int) error {
	return eachAttr(b, func(typ uint16, data []byte) error {
		ok := true
		switch typ & 0x3fff {
		case 1: // a text
			ok = len(data) > 1 && bytes.IndexByte(data, 0) == len(data)-1
		case 2: // an offset
			ok = len(data) == 4 && (asked == 0 || int(native.Uint32(data)) < asked)
		case 5, 6:
			ok = len(data) == 4
		case 3, 4:
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("extended acknowledgment: attribute %d is % x", typ, data)
		}
		return nil
	})
}

// checkAttrs checks that attributes are of a set, among those allowed, and as
// long as their types say.
func checkAttrs(sets map[string]set, name string, allowed []uint16, b []byte) error {
	seen := map[uint16]bool{}
	err := eachAttr(b, func(typ uint16, data []byte) error {
		number := typ &^ unix.NLA_F_NESTED
		a, ok := sets[name][number]
		switch {
		case !ok:
			return fmt.Errorf("attribute %d is not in the set", number)
		case a.typ == "pad" && len(data) == 0:
			return nil
		case !slices.Contains(allowed, number):
			return fmt.Errorf("attribute %s has no business here", a.name)
		case seen[number] && !a.multi:
			return fmt.Errorf("attribute %s is there twice", a.name)
		case a.size() >= 0 && len(data) != a.size():
			return fmt.Errorf("attribute %s has %d bytes", a.name, len(data))
		case a.typ == "string" && bytes.IndexByte(data, 0) != len(data)-1:
			return fmt.Errorf("attribute %s is no string: %q", a.name, data)
		case a.maxLen != 0 && len(data) > int(a.maxLen)+1, a.typ == "binary" && a.maxLen != 0 && len(data) > int(a.maxLen):
			return fmt.Errorf("attribute %s has %d bytes", a.name, len(data))
		case typ&unix.NLA_F_NESTED != 0 && a.typ != "nest":
			return fmt.Errorf("attribute %s is marked as a nest", a.name)
		}
		seen[number] = true
		if a.typ != "nest" {
			return nil
		}
		var all []uint16
		for n := range sets[a.nest] {
			all = append(all, n)
		}
		if err := checkAttrs(sets, a.nest, all, data); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

func eachAttr(b []byte, f func(typ uint16, data []byte) error) error {
	for len(b) > 0 {
		if len(b) < attrLen {
			return fmt.Errorf("%d bytes behind the last attribute", len(b))
		}
		n := int(native.Uint16(b))
		if n < attrLen || n > len(b) {
			return fmt.Errorf("nla_len is %d with %d bytes left", n, len(b))
		}
		next := min((n+3)&^3, len(b))
		if !zero(b[n:next]) {
			return fmt.Errorf("padding of an attribute is % x", b[n:next])
		}
		if err := f(native.Uint16(b[2:]), b[attrLen:n]); err != nil {
			return err
		}
		b = b[next:]
	}
	return nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
