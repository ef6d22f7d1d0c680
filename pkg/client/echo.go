// SPDX-License-Identifier: MIT

package client

import (
	"context"
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
	answerType := c.echoRequest(payload)

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
		case m.Type != answerType || answered:
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

// echoRequest writes the request and returns the type of the answer to it.
func (c *Conn) echoRequest(payload []byte) (answer uint16) {
	h := wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: c.seq}
	if c.cfg.Acknowledge {
		h.Flags |= wire.FlagAck
	}
	answer = h.Type
	switch c.cfg.Carrier {
	case Generic:
		h.Type, answer = c.family.ID, c.family.ID
		c.req = wire.BeginMessage(c.req[:0], h)
		c.req = wire.AppendGenlHeader(c.req, wire.GenlHeader{Command: wire.CmdEcho, Version: wire.FamilyVersion})
		c.req = wire.AppendAttr(c.req, wire.AttrEchoPayload, payload)
	case Rtnl:
		h.Type, answer = wire.RtnlGet, wire.RtnlNew
		c.req = wire.BeginMessage(c.req[:0], h)
		c.req = wire.AppendRtnlHeader(c.req, wire.RtnlFamily)
		c.req = wire.AppendAttr(c.req, wire.AttrObjectPayload, payload)
	case Connector:
		h.Type, h.Flags, answer = wire.MsgDone, 0, wire.MsgDone
		c.req = wire.BeginMessage(c.req[:0], h)
		c.req = wire.AppendConnector(c.req, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: c.seq, Ack: c.cookie}, payload)
	default:
		c.req = wire.BeginMessage(c.req[:0], h)
		c.req = append(c.req, payload...)
	}
	c.req = wire.EndMessage(c.req, 0)
	return answer
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
