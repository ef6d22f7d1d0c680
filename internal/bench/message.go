// SPDX-License-Identifier: MIT

package bench

import (
	"fmt"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A shape is what an echo looks like on a carrier, for contenders that write
// messages by themselves.
type shape struct {
	carrier         client.Carrier
	protocol        int
	request, answer uint16 // message types
	head            []byte // between the message header and the payload's attribute
	attr            uint16 // type of the payload's attribute, 0 if it has none
}

// shapeOf returns the shape of a carrier. The number of the generic netlink family
// has to be known.
func shapeOf(carrier string, family uint16) (shape, error) {
	var s shape
	if err := s.carrier.UnmarshalText([]byte(carrier)); err != nil {
		return s, errNotHere
	}
	switch s.carrier {
	case client.Raw, client.UserSock:
		s.protocol, s.request, s.answer = wire.NetlinkTest, wire.MsgEcho, wire.MsgEcho
	case client.Generic:
		s.protocol, s.request, s.answer = wire.NetlinkGeneric, family, family
		s.head = wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEcho, Version: wire.FamilyVersion})
		s.attr = wire.AttrEchoPayload
	case client.Rtnl:
		s.protocol, s.request, s.answer = wire.NetlinkRoute, wire.RtnlGet, wire.RtnlNew
		s.head = wire.AppendRtnlHeader(nil, wire.RtnlFamily)
		s.attr = wire.AttrObjectPayload
	default:
		return s, errNotHere
	}
	return s, nil
}

// body appends what follows the message header.
func (s *shape) body(b, payload []byte) []byte {
	b = append(b, s.head...)
	if s.attr == 0 {
		return append(b, payload...)
	}
	return wire.AppendAttr(b, s.attr, payload)
}

// payload finds the payload in the body of an answer.
func (s *shape) payload(body []byte) ([]byte, error) {
	if s.attr == 0 {
		return body, nil
	}
	if len(body) < len(s.head) {
		return nil, errWrong
	}
	a, _, err := wire.NextAttr(body[len(s.head):])
	if err == nil && a.Type != s.attr {
		err = fmt.Errorf("%w: attribute %d", errWrong, a.Type)
	}
	return a.Data, err
}
