// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"encoding/binary"
	"slices"
	"syscall"

	"nlpeer/pkg/wire"
)

// echoRoom is what Echo makes room for on its caller's stack, in bytes. Longer
// answers, and answers that outlive the caller, are allocated.
const echoRoom = 128

// Echo sends payload, 0 to [wire.PayloadMax] bytes, on [Connector] to
// [wire.CnPayloadMax], and returns what comes back, which is the same bytes. It
// needs no privilege.
//
// The answer belongs to the caller. Where it does not outlive the calling
// function and has at most 128 bytes, it is not allocated on the heap;
// [Conn.AppendEcho] lets the caller reuse a buffer of any size.
//
// It fails with EMSGSIZE if payload is too long, with an [*OverrunError] if the
// answer was lost, and with the errors of the package's documentation.
func (c *Conn) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	// Kept so small that it is inlined: that puts the array into the caller's
	// frame.
	return c.AppendEcho(ctx, make([]byte, 0, echoRoom), payload)
}

// AppendEcho is [Conn.Echo], but appends the answer to dst and returns the
// longer slice. It allocates nothing if dst has room. dst and payload may
// overlap. On failure it returns dst as it was.
func (c *Conn) AppendEcho(ctx context.Context, dst, payload []byte) ([]byte, error) {
	if limit := c.payloadMax(); len(payload) > limit {
		return dst, &OpError{Op: "echo", Err: sizeError{"payload", len(payload), limit}}
	}

	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	if err := c.begin(&lim); err != nil {
		return dst, opError("echo", err)
	}
	answer, err := c.echo(&lim, dst, payload)
	c.lock.release()
	if err != nil {
		return dst, opError("echo", err)
	}
	return answer, nil
}

// payloadMax is the longest payload that the carrier takes. The connector would
// say nothing about a longer one.
func (c *Conn) payloadMax() int {
	if c.cfg.Carrier == Connector {
		return wire.CnPayloadMax
	}
	return wire.PayloadMax
}

// echo is one exchange. The lock is held.
func (c *Conn) echo(lim *limit, dst, payload []byte) ([]byte, error) {
	c.req = c.appendEcho(c.req[:0], c.seq, payload)

	// The answer is about as long as the request.
	c.raw = len(c.req) <= rawLimit
	if err := c.send(c.req); err != nil {
		return nil, err
	}

	answered, acked := false, !c.cfg.Acknowledge
	for !answered || !acked {
		m, err := c.next("echo", lim)
		if err != nil {
			return nil, err
		}
		switch {
		case m.Type == wire.MsgError:
			if err := c.ack("echo", m); err != nil {
				return nil, err
			}
			acked = true
		case m.Type != c.echoType() || answered:
			return nil, unexpected(m)
		default:
			payload, err := c.echoAnswer(m.Body)
			if err != nil {
				return nil, err
			}
			dst = append(dst, payload...)
			answered = true
		}
	}
	return dst, nil
}

// echoType is the type of the answer to an echo.
func (c *Conn) echoType() uint16 {
	switch c.cfg.Carrier {
	case Generic:
		return c.family.ID
	case Rtnl:
		return wire.RtnlNew
	case Connector:
		return wire.MsgDone
	}
	return wire.MsgEcho
}

// appendEcho appends the request of an echo, padded. It is written in place, as
// the smallest echo is little more than its headers.
func (c *Conn) appendEcho(b []byte, seq uint32, payload []byte) []byte {
	h := wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: seq}
	if c.cfg.Acknowledge {
		h.Flags |= wire.FlagAck
	}
	head := wire.HeaderLen
	switch c.cfg.Carrier {
	case Generic:
		h.Type = c.family.ID
		head += wire.GenlHeaderLen + wire.AttrHeaderLen
	case Rtnl:
		h.Type = wire.RtnlGet
		head += wire.RtnlHeaderLen + wire.AttrHeaderLen
	case Connector:
		h.Type, h.Flags = wire.MsgDone, 0
		head += wire.ConnectorHeaderLen
	}
	n := head + len(payload)
	h.Len = uint32(n)
	if c.cfg.Carrier == Generic || c.cfg.Carrier == Rtnl {
		h.Len = uint32(wire.Align(n)) // the padding of an attribute counts
	}

	start, padded := len(b), wire.Align(n)
	if cap(b)-start < padded {
		b = slices.Grow(b, padded)
	}
	b = b[:start+padded]
	m := b[start:]
	binary.NativeEndian.PutUint32(m[padded-4:], 0) // the padding
	wire.PutHeader(m, h)
	switch c.cfg.Carrier {
	case Generic:
		m[16], m[17] = wire.CmdEcho, wire.FamilyVersion
		binary.NativeEndian.PutUint16(m[18:], 0)
		putAttrHeader(m[20:], wire.AttrEchoPayload, len(payload))
	case Rtnl:
		binary.NativeEndian.PutUint32(m[16:], 0)
		m[16] = wire.RtnlFamily
		putAttrHeader(m[20:], wire.AttrObjectPayload, len(payload))
	case Connector:
		wire.AppendConnectorHeader(m[:wire.HeaderLen], wire.ConnectorHeader{
			Idx: wire.CnIdx, Val: wire.CnVal, Seq: seq, Ack: c.cookie, Len: uint16(len(payload)),
		})
	}
	copy(m[head:], payload)
	return b
}

// putAttrHeader writes the header of an attribute with n bytes of data.
func putAttrHeader(b []byte, typ uint16, n int) {
	binary.NativeEndian.PutUint16(b[0:], uint16(wire.AttrHeaderLen+n))
	binary.NativeEndian.PutUint16(b[2:], typ)
}

// echoAnswer finds the payload in the body of an answer.
func (c *Conn) echoAnswer(body []byte) ([]byte, error) {
	switch c.cfg.Carrier {
	case Generic:
		h, attrs, err := wire.ParseGenl(body)
		if err != nil {
			return nil, err
		}
		if h.Command != wire.CmdEcho {
			return nil, syscall.EBADMSG
		}
		return findAttr(attrs, wire.AttrEchoPayload)
	case Rtnl:
		family, attrs, err := wire.ParseRtnl(body)
		if err != nil {
			return nil, err
		}
		if family != wire.RtnlFamily {
			return nil, syscall.EBADMSG
		}
		return findAttr(attrs, wire.AttrObjectPayload)
	case Connector:
		_, data, err := wire.ParseConnector(body)
		return data, err
	}
	return body, nil
}

// findAttr returns the data of the first attribute of a type.
func findAttr(attrs []byte, typ uint16) ([]byte, error) {
	for len(attrs) > 0 {
		a, rest, err := wire.NextAttr(attrs)
		if err != nil {
			return nil, err
		}
		if a.Type == typ {
			return a.Data, nil
		}
		attrs = rest
	}
	return nil, wire.ErrMissing
}
