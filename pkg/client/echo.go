// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"encoding/binary"
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
	if limit := c.echoes.max; len(payload) > limit {
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
	n := c.echoes.size(len(payload))
	if cap(c.req) < n {
		c.req = make([]byte, n)
	}
	c.req = c.req[:n]
	c.echoes.put(c.req, c.seq, payload)

	// The answer is about as long as the request.
	c.raw = len(c.req) <= rawLimit
	if err := c.send(c.req, c.raw); err != nil {
		return nil, err
	}

	answered, acked := false, !c.cfg.Acknowledge
	if acked {
		// Nearly always the answer is there, and alone. Else next finds it.
		if err := c.more("echo", lim); err != nil {
			return nil, err
		}
		if answer, ok := c.onlyAnswer(); ok {
			return append(dst, answer...), nil
		}
	}
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
		case m.Type != c.echoes.answer || answered:
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

// An echoForm is what all echoes of a Conn have in common.
type echoForm struct {
	// plain says that the payload follows the message header, attr that it is
	// the only attribute behind a header of 4 bytes. Else it follows a connector
	// header.
	plain, attr bool
	answer      uint16 // type of the answer
	max         int    // bytes of the payload

	// Of the request: type and flags as they lie in the message header, and what
	// stands between that and the payload.
	kind  [4]byte
	inner []byte
	head  int // length of all that stands before the payload

	// Of a request in a Batch.
	room  uint32 // that what comes back may take, besides twice the request
	wants uint8
}

// newEchoForm returns that of the Conn's carrier.
func (c *Conn) newEchoForm() echoForm {
	f := echoForm{answer: wire.MsgEcho, room: uint32(roomFor(0)), wants: wantEcho}
	h := wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest}
	if c.cfg.Acknowledge {
		h.Flags |= wire.FlagAck
		f.room += uint32(ackRoom)
		f.wants = wantAnswer | wantAck
	}
	switch c.cfg.Carrier {
	case Generic:
		h.Type, f.answer, f.attr = c.family.ID, c.family.ID, true
		f.inner = wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEcho, Version: wire.FamilyVersion})
		f.inner = wire.AppendAttr(f.inner, wire.AttrEchoPayload, nil)
	case Rtnl:
		h.Type, f.answer, f.attr = wire.RtnlGet, wire.RtnlNew, true
		f.inner = wire.AppendRtnlHeader(nil, wire.RtnlFamily)
		f.inner = wire.AppendAttr(f.inner, wire.AttrObjectPayload, nil)
	case Connector:
		h.Type, h.Flags, f.answer = wire.MsgDone, 0, wire.MsgDone
		f.inner = wire.AppendConnectorHeader(nil, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Ack: c.cookie})
	default:
		f.plain = true
	}
	copy(f.kind[:], wire.AppendHeader(nil, h)[4:8])
	f.head = wire.HeaderLen + len(f.inner)
	f.max = min(c.payloadMax(), c.flight.most-f.head-3)
	return f
}

// size is the length of the request of an echo, padded.
func (f *echoForm) size(payload int) int { return wire.Align(f.head + payload) }

// put writes the request of an echo over m, which has its size, in place, as the
// smallest echo is little more than its headers.
func (f *echoForm) put(m []byte, seq uint32, payload []byte) {
	if f.plain {
		f.putPlain(m, seq, payload)
		return
	}
	h := (*[wire.HeaderLen]byte)(m)
	binary.NativeEndian.PutUint32(m[len(m)-4:], 0) // the padding
	n := f.putInner(m, f.head+len(payload), seq, len(payload))
	binary.NativeEndian.PutUint32(h[0:], uint32(n))
	*(*[4]byte)(h[4:]) = f.kind
	binary.NativeEndian.PutUint32(h[8:], seq)
	binary.NativeEndian.PutUint32(h[12:], 0)
	copy(m[f.head:], payload)
}

// putPlain is put where nothing stands between header and payload.
func (f *echoForm) putPlain(m []byte, seq uint32, payload []byte) {
	h := (*[wire.HeaderLen]byte)(m)
	binary.NativeEndian.PutUint32(m[len(m)-4:], 0) // the padding
	binary.NativeEndian.PutUint32(h[0:], uint32(wire.HeaderLen+len(payload)))
	*(*[4]byte)(h[4:]) = f.kind
	binary.NativeEndian.PutUint32(h[8:], seq)
	binary.NativeEndian.PutUint32(h[12:], 0)
	copy(m[wire.HeaderLen:], payload)
}

// putInner writes what stands before the payload of a message of n bytes, and
// returns the length of the message.
func (f *echoForm) putInner(m []byte, n int, seq uint32, payload int) int {
	inner := m[wire.HeaderLen:]
	if f.attr {
		*(*[8]byte)(inner) = *(*[8]byte)(f.inner)
		binary.NativeEndian.PutUint16(inner[4:], uint16(wire.AttrHeaderLen+payload))
		return len(m) // the padding of an attribute counts
	}
	*(*[wire.ConnectorHeaderLen]byte)(inner) = *(*[wire.ConnectorHeaderLen]byte)(f.inner)
	binary.NativeEndian.PutUint32(inner[8:], seq)
	binary.NativeEndian.PutUint16(inner[16:], uint16(payload))
	return n
}

// onlyAnswer returns what an echo brought back, a view, if the answer is all of
// the datagram received last.
func (c *Conn) onlyAnswer() (payload []byte, ok bool) {
	d := c.rest
	n := wire.MessageLen(d)
	if n == 0 || wire.Align(n) < len(d) || !c.echoes.plain && !c.echoes.attr {
		return nil, false
	}
	h := (*[wire.HeaderLen]byte)(d)
	if binary.NativeEndian.Uint16(h[4:]) != c.echoes.answer || binary.NativeEndian.Uint32(h[8:]) != c.seq || binary.NativeEndian.Uint32(h[12:]) != c.port {
		return nil, false
	}
	payload, err := c.echoAnswer(d[wire.HeaderLen:n])
	if err != nil {
		return nil, false
	}
	c.rest = nil
	return payload, true
}

// echoAnswer finds the payload in the body of an answer.
func (c *Conn) echoAnswer(body []byte) ([]byte, error) {
	if c.echoes.plain {
		return body, nil
	}
	// Where the payload is an attribute, it is the first and only one.
	const head = wire.GenlHeaderLen + wire.AttrHeaderLen
	if c.echoes.attr && len(body) >= head {
		sent, h := (*[head]byte)(c.echoes.inner), (*[head]byte)(body)
		n := int(binary.NativeEndian.Uint16(h[4:]))
		if h[0] == sent[0] && *(*[2]byte)(h[6:]) == *(*[2]byte)(sent[6:]) && n >= wire.AttrHeaderLen && wire.GenlHeaderLen+n <= len(body) {
			return body[head : wire.GenlHeaderLen+n], nil
		}
	}
	return c.findPayload(body)
}

// findPayload is echoAnswer for any body.
func (c *Conn) findPayload(body []byte) ([]byte, error) {
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
