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

// Echo sends payload, 0 to [wire.PayloadMax] bytes, and returns what comes
// back, which is the same bytes. It needs no privilege.
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
	if len(payload) > wire.PayloadMax {
		return dst, &OpError{Op: "echo", Err: sizeError(len(payload))}
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

// echo is one exchange. The lock is held.
func (c *Conn) echo(lim *limit, dst, payload []byte) ([]byte, error) {
	h := wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: c.seq}
	if c.cfg.Acknowledge {
		h.Flags |= wire.FlagAck
	}
	if c.cfg.Carrier != Generic {
		c.req = wire.AppendMessage(c.req[:0], h, payload)
	} else {
		h.Type = c.family.ID
		c.req = wire.BeginMessage(c.req[:0], h)
		c.req = wire.AppendGenlHeader(c.req, wire.GenlHeader{Command: wire.CmdEcho, Version: wire.FamilyVersion})
		c.req = wire.AppendAttr(c.req, wire.AttrEchoPayload, payload)
		c.req = wire.EndMessage(c.req, 0)
	}

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
		case m.Type != h.Type || answered:
			return nil, unexpected(m)
		case c.cfg.Carrier != Generic:
			dst = append(dst, m.Body...)
			answered = true
		default:
			payload, err := genlPayload(m.Body)
			if err != nil {
				return nil, err
			}
			dst = append(dst, payload...)
			answered = true
		}
	}
	return dst, nil
}

// genlPayload finds the payload in the answer to an echo on generic netlink.
func genlPayload(body []byte) ([]byte, error) {
	h, attrs, err := wire.ParseGenl(body)
	if err != nil {
		return nil, err
	}
	if h.Command != wire.CmdEcho {
		return nil, syscall.EBADMSG
	}
	for len(attrs) > 0 {
		a, rest, err := wire.NextAttr(attrs)
		if err != nil {
			return nil, err
		}
		if a.Type == wire.AttrEchoPayload {
			return a.Data, nil
		}
		attrs = rest
	}
	return nil, wire.ErrMissing
}
