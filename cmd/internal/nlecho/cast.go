// SPDX-License-Identifier: MIT

package nlecho

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
	"nlpeer/pkg/wire"
)

// A caster sends to multicast groups.
type caster interface {
	Multicast(group uint32, b []byte) error
	PortID() uint32
	// Listeners is the number of sockets that have joined a group.
	Listeners(ctx context.Context, group uint32) (int, error)
	Close() error
}

// userCaster is one of NETLINK_USERSOCK.
type userCaster struct {
	*client.Listener
	netns int
}

func newCaster(ctx context.Context, cfg client.Config) (caster, error) {
	l, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK, PortID: cfg.PortID, NetNS: cfg.NetNS, Tap: cfg.Tap})
	if err != nil {
		return nil, err
	}
	return &userCaster{l, cfg.NetNS}, nil
}

func (c *userCaster) Listeners(ctx context.Context, group uint32) (int, error) {
	sockets, err := kernel.Sockets(ctx, c.netns)
	n := 0
	for _, s := range sockets {
		if s.Protocol == unix.NETLINK_USERSOCK && slices.Contains(s.Groups, group) {
			n++
		}
	}
	return n, err
}

// The objects of -o json. Their members are promised in the help.
type (
	sentJSON struct {
		Type      string `json:"type"`
		Seq       uint64 `json:"seq"`
		Port      uint32 `json:"port"`
		Group     uint32 `json:"group"`
		Listeners int    `json:"listeners"`
		Bytes     int    `json:"bytes"`
		Unix      int64  `json:"unix_ns"`
	}
	castJSON struct {
		Type        string `json:"type"`
		Transmitted uint64 `json:"transmitted"`
		Heard       uint64 `json:"heard"`
		Time        int64  `json:"time_ns"`
	}
)

// cast sends what source has to groups, and prints the totals at the end.
func (o *options) cast(ctx context.Context, s *cli.Streams, c caster, source source) error {
	p := &printer{options: o, streams: s, port: c.PortID(), shown: source.shown()}
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.deadline != 0 {
		ctx, cancel = context.WithTimeout(ctx, o.deadline)
		defer cancel()
	}
	source.start(ctx)

	var sent, heard uint64
	err := o.castAll(ctx, p, c, source, &sent, &heard)
	if o.target.Format == cli.JSON {
		s.Out.JSON(castJSON{"summary", sent, heard, int64(time.Since(began))})
	} else {
		fmt.Fprintf(s.Out, "%d transmitted, %d heard\n", sent, heard)
	}
	switch {
	case err != nil:
		return o.target.Explain(err)
	case heard != sent || sent == 0:
		return cli.ErrFailed
	}
	return nil
}

func (o *options) castAll(ctx context.Context, p *printer, c caster, source source, sent, heard *uint64) error {
	for ctx.Err() == nil && p.streams.Out.Err() == nil {
		payload, err := source.next(ctx)
		switch {
		case err == nil:
		case err == io.EOF || ctx.Err() != nil:
			return nil
		default:
			return err
		}

		now := time.Now()
		message := wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Seq: uint32(*sent + 1), PortID: c.PortID()}, payload)
		out, any := false, false
		for _, group := range cli.Groups(o.groups) {
			n, err := c.Listeners(ctx, group)
			if err != nil && ctx.Err() != nil {
				break // the end, for the other groups
			}
			if err == nil {
				err = c.Multicast(group, message)
				o.tap.Show()
			}
			if err != nil {
				return err
			}
			out, any = true, any || n > 0
			p.sent(*sent+1, group, n, payload, now)
		}
		if out {
			*sent++
		}
		if any {
			*heard++
		}
		if *sent == o.count {
			return nil
		}
		pause(ctx, o.interval-time.Since(now))
	}
	return nil
}

// sent is the line for a message to a group.
func (p *printer) sent(seq uint64, group uint32, listeners int, payload []byte, at time.Time) {
	switch {
	case p.quiet || p.flood:
	case p.target.Format == cli.JSON:
		p.streams.Out.JSON(sentJSON{"sent", seq, p.port, group, listeners, len(payload), at.UnixNano()})
	default:
		p.line = fmt.Appendf(p.stamp(p.line[:0], at), "%d bytes to group %d: seq=%d port=%d listeners=%d\n", len(payload), group, seq, p.port, listeners)
		p.streams.Out.Write(p.line)
	}
}
