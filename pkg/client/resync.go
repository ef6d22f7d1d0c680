// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// resyncTimeout is how long a Subscription waits for what it asks anew, where
// Config.Timeout sets no limit. The kernel answers before the request has been
// sent, so it is never used up.
const resyncTimeout = 5 * time.Second

// EventsSince ranges over those events of a group that have a number above seq,
// in order, as far as the peer's history holds them. It does not wait for new
// ones, but those that come while it goes on are among them. It needs no
// privilege. Groups are the numbers of [Event] on either carrier.
//
// In each event Recovered is true and Lost is the number of events that are
// missing between it and the one before, or seq; they are gone for good.
//
// An error comes with a zero Event and is the last: the error of ctx,
// [net.ErrClosed], EINVAL if there is no such group, ERANGE if the group has
// not reached the number seq, so that the peer must have been loaded anew, or
// one that the socket reports.
//
// An event's Data are valid until the loop's body ends. Nothing is allocated
// per event. The Conn is in use until the loop ends: other calls wait, so that
// one in the loop's body, Close included, waits for ever.
//
// On a raw Conn it uses a generic netlink socket in the same namespace.
func (c *Conn) EventsSince(ctx context.Context, group uint32, seq uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
		for again := true; c.eventsSince(&lim, group, seq, again, yield); again = false {
		}
	}
}

// eventsSince is EventsSince on the socket that there is. If that is gone, see
// hangUp, and may be asked for again, it says so instead of yielding the error.
func (c *Conn) eventsSince(lim *limit, group uint32, seq uint64, may bool, yield func(Event, error) bool) (again bool) {
	const op = "event-get"
	g, err := c.beginGeneric(lim)
	if err != nil {
		yield(Event{}, opError(op, err))
		return false
	}
	defer g.lock.release()
	if err := g.askEvents(group, seq); err != nil {
		yield(Event{}, opError(op, err))
		return false
	}
	ended := false
	defer func() {
		if !ended { // the loop's body may have panicked
			g.dropDump()
		}
	}()

	for {
		w, ok, err := g.nextEvent(op, lim, group, seq)
		ended = err == nil && !ok
		if err == nil && ok {
			may = false
			err = lim.ctx.Err()
		}
		switch {
		case err != nil:
			if ended = c.hangUp(g, err); ended && may {
				return true
			}
			yield(Event{}, opError(op, err))
			return false
		case !ok:
			return false
		}
		e := Event{
			Group:     w.Group,
			Seq:       w.Seq,
			Time:      time.Duration(w.Time),
			Kind:      w.Kind,
			Data:      w.Data,
			Object:    ObjectView{w.Object},
			Lost:      w.Seq - seq - 1,
			Recovered: true,
			NSID:      OwnNSID,
		}
		seq = w.Seq
		if !yield(e, nil) {
			return false
		}
	}
}

// askEvents sends the request of a dump of events. The lock is held, and c is
// of generic netlink.
func (c *Conn) askEvents(group uint32, seq uint64) error {
	h := wire.Header{Type: c.family.ID, Flags: wire.FlagRequest | wire.FlagDump, Seq: c.seq}
	c.req = wire.BeginMessage(c.req[:0], h)
	c.req = wire.AppendGenlHeader(c.req, wire.GenlHeader{Command: wire.CmdEventGet, Version: wire.FamilyVersion})
	c.req = wire.AppendUint32(c.req, wire.AttrEventGroup, group)
	c.req = wire.AppendUint64(c.req, wire.AttrEventSeq, seq)
	c.req = wire.EndMessage(c.req, 0)
	c.raw = false
	return c.send(c.req, false)
}

// nextEvent returns the next event of the dump in progress, a view that is
// valid until the next call; ok is false after the last. The event must be one
// of group with a number above seq. The lock is held.
func (c *Conn) nextEvent(op string, lim *limit, group uint32, seq uint64) (e wire.Event, ok bool, err error) {
	m, err := c.next(op, lim)
	if err != nil {
		return wire.Event{}, false, err
	}
	switch m.Type {
	case wire.MsgDone, wire.MsgError:
		return wire.Event{}, false, c.ack(op, m)
	case c.family.ID:
	default:
		return wire.Event{}, false, unexpected(m)
	}
	h, attrs, err := wire.ParseGenl(m.Body)
	if err != nil {
		return wire.Event{}, false, err
	}
	if h.Command != wire.CmdEventGet {
		return wire.Event{}, false, fmt.Errorf("answer has command %d: %w", h.Command, syscall.EBADMSG)
	}
	if e, err = wire.ParseEvent(attrs); err != nil {
		return wire.Event{}, false, err
	}
	if e.Group != group || e.Seq <= seq {
		return wire.Event{}, false, fmt.Errorf("answer has event %d of group %d: %w", e.Seq, e.Group, syscall.EBADMSG)
	}
	return e, true, nil
}

// dropDump reads what is left of a dump, because the kernel refuses to begin
// another before the end (EBUSY, __netlink_dump_start in
// net/netlink/af_netlink.c). It does not wait: each receive makes the kernel
// queue the next part. It reports whether it came to the end. The lock is held.
func (c *Conn) dropDump() bool {
	for {
		for len(c.rest) > 0 {
			m, rest, err := wire.NextMessage(c.rest)
			c.rest = rest
			if err == nil && c.ours(m) && (m.Type == wire.MsgDone || m.Type == wire.MsgError) {
				return true
			}
		}
		n, errno := recv(c.fd, c.buf, false)
		switch errno {
		case 0:
			c.tapped(c.buf, n)
			c.rest = c.buf[:min(n, len(c.buf))]
		case unix.EINTR:
		default:
			return false
		}
	}
}

// A resync is how a Subscription gets back what it missed. Only who ranges
// touches it.
//
// There are two occasions. A live event whose number leaves a gap is held back
// until the peer has been asked for what is in the gap. And after an overrun,
// once the receive buffer is empty, the peer is asked for all that came after
// the last event of each group; what is in the receive buffer by then is a
// duplicate, see group.recoveredSeq.
//
// All of it stays as it is when an iteration ends, and goes on with the next.
type resync struct {
	// behind says that the groups are to be asked for once the receive buffer
	// is empty, due which of them are still to be asked for then.
	behind bool
	due    []*group

	// group is the one that is being asked for, nil if none; asked says that
	// the request has been sent.
	group *group
	asked bool

	// held is the live event that showed the gap, a view of the Subscription's
	// buffer, if holding.
	held    wire.Event
	holding bool
}

// gap says that an event of the group shows that others are missing, and that
// they can be asked for.
func (s *Subscription) gap(g *group, seq uint64) bool {
	return g.known && seq > g.seq && seq-g.seq > 1 && !s.cfg.NoResync && g.key.nsid == OwnNSID
}

// recover does the next step of a resync. It leaves an event in s.last if ok.
// last is as with next.
func (s *Subscription) recover(ctx context.Context) (ok, last bool, err error) {
	r := &s.resync
	if r.group == nil {
		r.group, r.due = r.due[0], r.due[1:]
	}
	g := r.group

	w, more, err := s.ask(ctx, g)
	switch {
	case s.closed.Load():
		return false, true, closedError{}
	case err != nil && errors.Is(err, ctx.Err()):
		// Any other error is the last word of the dump, though the context may
		// have ended, too.
		return false, true, ctx.Err()
	case errors.Is(err, syscall.ERANGE) && g.seq != 0:
		// The peer was loaded anew. All that it has sent since came live if an event
		// is held; else it is asked for.
		r.asked, more = false, false
		if !r.holding {
			g.restart()
			return false, false, nil
		}
	case err != nil:
		// What cannot be asked for is as good as lost. Another socket may do
		// better the next time.
		s.failed.Add(1)
		s.hangUp()
		more = false
		if errors.Is(err, ErrNotLoaded) && s.cfg.Carrier != Raw {
			s.end.gone = true // and its last word was lost
		}
	case more && r.holding && w.Seq >= r.held.Seq:
		more = false
	case more && !r.holding && s.gap(g, w.Seq):
		// The history no longer holds the events before this one. If they came
		// live since the overrun, they are in the receive buffer by now.
		got, last, err := s.fill(ctx, false)
		if err != nil || got {
			s.stopAsking()
			r.behind, r.due = true, nil
			return false, last, err
		}
	}
	if more {
		s.last.set(&w)
		s.count(g, true)
		return true, false, nil
	}

	s.stopAsking()
	if r.holding {
		held := r.held
		r.holding, r.held = false, wire.Event{}
		s.last.set(&held)
		s.count(g, false)
		return true, false, nil
	}
	return false, false, nil
}

// ask returns the next event of a group from the peer's history, a view that is
// valid until the next call; more is false after the last.
func (s *Subscription) ask(ctx context.Context, g *group) (w wire.Event, more bool, err error) {
	c, err := s.sideConn(ctx)
	if err != nil {
		return wire.Event{}, false, err
	}
	lim := limit{ctx: ctx, timeout: s.cfg.Timeout, always: true}
	if lim.timeout == 0 {
		lim.timeout = resyncTimeout
	}
	if !s.resync.asked {
		if err := c.begin(&lim); err != nil {
			return wire.Event{}, false, err
		}
		defer c.lock.release()
		if err := c.askEvents(g.key.num, g.seq); err != nil {
			return wire.Event{}, false, err
		}
		s.resync.asked = true
	} else {
		// The lock is not kept between two events, so that Close does not wait
		// for the body of a loop.
		if err := c.lock.acquire(&lim); err != nil {
			return wire.Event{}, false, err
		}
		defer c.lock.release()
		if c.closed.Load() {
			return wire.Event{}, false, closedError{}
		}
	}

	w, more, err = c.nextEvent("events", &lim, g.key.num, g.seq)
	if err == nil && !more {
		s.resync.asked = false
	}
	return w, more, err
}

// stopAsking ends what ask began.
func (s *Subscription) stopAsking() {
	if s.resync.asked {
		s.resync.asked = false
		s.sideMu.Lock()
		c := s.side
		s.sideMu.Unlock()
		if c != nil && !c.abandon() {
			s.hangUp()
		}
	}
	s.resync.group = nil
}

// abandon is dropDump for who does not hold the lock.
func (c *Conn) abandon() bool {
	c.lock.acquireAlways()
	defer c.lock.release()
	return !c.closed.Load() && c.dropDump()
}

// sideConn returns the Conn that the peer is asked by, in the namespace of the
// Subscription.
func (s *Subscription) sideConn(ctx context.Context) (*Conn, error) {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	if s.closed.Load() {
		return nil, closedError{}
	}
	if s.side != nil {
		return s.side, nil
	}
	s.resync.asked = false
	lim := limit{ctx: ctx, timeout: s.cfg.Timeout}
	err := s.sibling(&lim, &s.cfg, func(netns int) (*socket, error) {
		cfg := Config{Carrier: Generic, NetNS: netns, Tap: s.cfg.Tap}
		c, err := dial(ctx, cfg, cfg.target())
		if err != nil {
			return nil, err
		}
		s.side = c
		return c.socket, nil
	})
	if err != nil {
		s.side = nil
		return nil, err
	}
	return s.side, nil
}

// hangUp closes the Conn that the peer is asked by.
func (s *Subscription) hangUp() {
	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	s.resync.asked = false
	if s.side != nil {
		_ = s.side.Close()
		s.side = nil
	}
}

// known returns the groups that can be asked for, in the order of their
// numbers.
func (s *Subscription) known() []*group {
	s.groupsMu.Lock()
	defer s.groupsMu.Unlock()
	var known []*group
	for _, g := range s.groups {
		if g.known && g.key.nsid == OwnNSID {
			known = append(known, g)
		}
	}
	slices.SortFunc(known, func(a, b *group) int { return int(int64(a.key.num) - int64(b.key.num)) })
	return known
}
