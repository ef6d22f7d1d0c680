// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A since is what a request of event-get asks for.
type since struct {
	Group uint32
	Seq   uint64
}

// A dump is the answer to it. It may take its time.
type dump struct {
	before func() // is called before the answer
	events []wire.Event
	errno  syscall.Errno
	silent bool // no answer at all
	right  bool // only the events that were asked for
}

func beacons(group uint32, first, last uint64) (events []wire.Event) {
	for seq := first; seq <= last; seq++ {
		events = append(events, beacon(group, seq))
	}
	return events
}

// serveEvents answers requests of event-get, and then tells which they were.
func serveEvents(t *testing.T, u *user, dumps ...dump) <-chan result[[]since] {
	return async(func() (asked []since, err error) {
		for _, d := range dumps {
			b := make([]byte, 4096)
			n, sa, err := u.recv(b)
			if err != nil {
				return asked, fmt.Errorf("no request: %w", err)
			}
			from := sa.(*unix.SockaddrNetlink).Pid
			m, _, err := wire.NextMessage(b[:n])
			if err != nil {
				return asked, err
			}
			h, attrs, err := wire.ParseGenl(m.Body)
			if err != nil || h != (wire.GenlHeader{Command: wire.CmdEventGet, Version: wire.FamilyVersion}) ||
				m.Type != client.UserFamily || m.Flags != wire.FlagRequest|wire.FlagDump {
				return asked, fmt.Errorf("request %+v, %+v: %w", m.Header, h, err)
			}
			var q since
			for a, err := range wire.Attrs(attrs) {
				switch {
				case err != nil:
					return asked, err
				case a.Type == wire.AttrEventGroup:
					q.Group, err = a.Uint32()
				case a.Type == wire.AttrEventSeq:
					q.Seq, err = a.Uint64()
				}
				if err != nil {
					return asked, err
				}
			}
			asked = append(asked, q)

			if d.before != nil {
				d.before()
			}
			if d.silent {
				continue
			}
			r := wire.Header{Type: m.Type, Flags: wire.FlagMulti, Seq: m.Seq, PortID: from}
			var part []byte
			flush := func() {
				if len(part) > 0 {
					err = errors.Join(err, u.trySend(from, part))
				}
				part = nil
			}
			for _, e := range d.events {
				if d.right && (e.Group != q.Group || e.Seq <= q.Seq) {
					continue
				}
				part = wire.AppendMessage(part, r, wire.AppendEvent(wire.AppendGenlHeader(nil, h), e))
				if len(part) > 16<<10 {
					flush()
				}
			}
			// The end comes with what is left, as who breaks off a dump does not
			// wait for it.
			r.Type = wire.MsgDone
			part = wire.AppendMessage(part, r, binary.NativeEndian.AppendUint32(nil, uint32(-int32(d.errno))))
			flush()
			if err != nil {
				return asked, err
			}
		}
		return asked, nil
	})
}

func wantAsked(t *testing.T, served <-chan result[[]since], want ...since) {
	t.Helper()
	got, err := await(t, served)
	if err != nil {
		t.Error(err)
	}
	diff(t, want, got)
}

// subscribeAsking returns a Subscription whose peer the test plays, also the
// part of it that is asked for what was missed.
func subscribeAsking(t *testing.T, cfg client.Config) (s *client.Subscription, live, history *user) {
	t.Helper()
	s, live = subscribeUser(t, cfg)
	c, history := dialUser(t, client.Config{Carrier: client.Generic})
	s.SetSide(c)
	return s, live, history
}

func recovered(e wire.Event, lost uint64) client.Event {
	r := received(e, lost)
	r.Recovered = true
	return r
}

func sender(u *user) func(seq ...uint64) {
	return func(seq ...uint64) {
		for _, n := range seq {
			u.multicast(1, event(client.Raw, beacon(1, n)))
		}
	}
}

func TestGapIsRecovered(t *testing.T) {
	for _, carrier := range carriers {
		for name, oneByOne := range map[string]bool{"at once": false, "one by one": true} {
			t.Run(fmt.Sprint(carrier, " ", name), func(t *testing.T) {
				s, live, history := subscribeAsking(t, client.Config{Carrier: carrier})
				for _, seq := range []uint64{1, 5, 6} {
					live.multicast(1, event(carrier, beacon(1, seq)))
				}
				// The history has the live ones as well.
				served := serveEvents(t, history, dump{events: beacons(1, 2, 6)})
				want := []client.Event{
					received(beacon(1, 1), 0),
					recovered(beacon(1, 2), 0), recovered(beacon(1, 3), 0), recovered(beacon(1, 4), 0),
					received(beacon(1, 5), 0), received(beacon(1, 6), 0),
				}
				if oneByOne {
					for _, e := range want {
						wantEvents(t, s, e)
					}
				} else {
					wantEvents(t, s, want...)
				}
				wantAsked(t, served, since{1, 1})
				diff(t, client.SubscriptionStats{
					Received: 3, Recovered: 3,
					Groups: []client.GroupStats{{NSID: client.OwnNSID, Group: 1, Received: 3, Recovered: 3}},
				}, s.Stats())
			})
		}
	}
}

// What the history no longer holds is counted, wherever it is missing.
func TestGapIsRecoveredInPart(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{})
	send := sender(live)
	served := serveEvents(t, history,
		dump{events: beacons(1, 6, 8)},
		dump{events: append(beacons(1, 11, 11), beacons(1, 14, 14)...)},
		dump{})
	send(1, 9, 16, 20)
	wantEvents(t, s,
		received(beacon(1, 1), 0),
		recovered(beacon(1, 6), 4), recovered(beacon(1, 7), 0), recovered(beacon(1, 8), 0),
		received(beacon(1, 9), 0),
		recovered(beacon(1, 11), 1), recovered(beacon(1, 14), 2),
		received(beacon(1, 16), 1),
		received(beacon(1, 20), 3))
	wantAsked(t, served, since{1, 1}, since{1, 9}, since{1, 16})
	diff(t, client.SubscriptionStats{
		Received: 4, Recovered: 5, Lost: 11,
		Groups: []client.GroupStats{{NSID: client.OwnNSID, Group: 1, Received: 4, Recovered: 5, Lost: 11}},
	}, s.Stats())
}

// Whatever goes wrong with asking, the subscription goes on and counts.
func TestGapThatIsNotRecovered(t *testing.T) {
	wrong := beacon(2, 3)
	old := beacon(1, 1)
	for name, d := range map[string]dump{
		"refused":         {errno: syscall.EINVAL},
		"no answer":       {silent: true},
		"another group":   {events: []wire.Event{wrong}},
		"not asked for":   {events: []wire.Event{old}},
		"begins and ends": {events: beacons(1, 2, 2), errno: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			s, live, history := subscribeAsking(t, client.Config{Timeout: 100 * time.Millisecond})
			send := sender(live)
			served := serveEvents(t, history, d)
			send(1, 5)
			wantEvents(t, s, received(beacon(1, 1), 0))
			lost := uint64(3)
			if d.errno == syscall.EIO {
				wantEvents(t, s, recovered(beacon(1, 2), 0))
				lost--
			}
			wantEvents(t, s, received(beacon(1, 5), lost))
			wantAsked(t, served, since{1, 1})
			diff(t, uint64(1), s.Stats().Failed)

			// The next one asks on another socket, which finds no module here.
			if c, err := client.Dial(background(t), client.Config{Carrier: client.Generic}); err == nil {
				c.Close()
				t.Skip("the module is loaded here")
			}
			send(7)
			wantEvents(t, s, received(beacon(1, 7), 1))
			diff(t, uint64(2), s.Stats().Failed)
		})
	}
}

// The peer of the events before the gap is no more, and there is nothing to ask for.
func TestGapOfAnotherLife(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{})
	send := sender(live)
	served := serveEvents(t, history, dump{errno: syscall.ERANGE}, dump{events: beacons(1, 2, 3)})
	send(1, 5)
	again := event(client.Raw, wire.Event{Group: 1, Seq: 1, Time: 6000, Kind: wire.KindBeacon})
	live.multicast(1, again)
	wantEvents(t, s, received(beacon(1, 1), 0), received(beacon(1, 5), 3))
	take(t, s, 1)
	send(4) // asked for on the same socket
	wantEvents(t, s, recovered(beacon(1, 2), 0), recovered(beacon(1, 3), 0), received(beacon(1, 4), 0))
	wantAsked(t, served, since{1, 1}, since{1, 1})
	diff(t, uint64(0), s.Stats().Failed)
}

func TestNoResync(t *testing.T) {
	s, live, _ := subscribeAsking(t, client.Config{NoResync: true, Since: map[uint32]uint64{1: 3}})
	sender(live)(6, 9)
	wantEvents(t, s, received(beacon(1, 6), 2), received(beacon(1, 9), 2))
	diff(t, uint64(0), s.Stats().Failed)
}

// After an overrun nobody waits for the next live event.
func TestOverrunIsRecovered(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{ReceiveBuffer: 8192, Groups: 7})
	const n = 200
	for seq := range uint64(n) {
		for group := range uint32(2) {
			live.multicast(1<<group, event(client.Raw, beacon(group+1, seq+1)))
		}
	}
	// One more comes live while the peer answers, and must come but once.
	another := func() { live.multicast(1, event(client.Raw, beacon(1, n+1))) }
	served := serveEvents(t, history,
		dump{events: beacons(1, 1, n+1), right: true, before: another},
		dump{events: beacons(2, 1, n), right: true})
	heard := map[uint32]uint64{}
	overruns, events := 0, 0
	for e, err := range s.Events(background(t)) {
		if err != nil {
			if overruns++; !errors.Is(err, syscall.ENOBUFS) {
				t.Fatal(err)
			}
			diff(t, 0, events)
			continue
		}
		heard[e.Group]++
		if e.Seq != heard[e.Group] || e.Lost != 0 {
			t.Fatalf("%+v, want number %d", e, heard[e.Group])
		}
		if events++; events == 2*n+1 {
			break
		}
	}
	diff(t, 1, overruns)
	if asked, err := await(t, served); err != nil || len(asked) != 2 || asked[0].Seq == 0 || asked[0].Seq == n {
		t.Errorf("asked for %v, error %v", asked, err)
	}
	sender(live)(n + 2)
	wantEvents(t, s, received(beacon(1, n+2), 0))
	st := s.Stats()
	if st.Received+st.Recovered != 2*n+2 || st.Recovered == 0 || st.Lost != 0 || st.Failed != 0 || len(st.Groups) != 2 {
		t.Errorf("%+v", st)
	}
}

// Where the history has a hole, what came live meanwhile may fill it.
func TestHistoryIsBehindTheReceiveBuffer(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{Since: map[uint32]uint64{1: 3}})
	send := sender(live)
	served := serveEvents(t, history,
		dump{events: beacons(1, 6, 9), before: func() { send(4, 5, 6) }},
		dump{events: beacons(1, 9, 9)})
	wantEvents(t, s,
		received(beacon(1, 4), 0), received(beacon(1, 5), 0), received(beacon(1, 6), 0),
		recovered(beacon(1, 9), 2))
	wantAsked(t, served, since{1, 3}, since{1, 6})
	send(8, 9, 10) // late duplicates
	wantEvents(t, s, received(beacon(1, 10), 0))
	diff(t, uint64(2), s.Stats().Lost)
}

func TestSince(t *testing.T) {
	t.Run("before live events", func(t *testing.T) {
		s, live, history := subscribeAsking(t, client.Config{Since: map[uint32]uint64{1: 3, 2: 0}, Groups: 3})
		served := serveEvents(t, history, dump{events: beacons(1, 4, 5)}, dump{events: beacons(2, 1, 1)})
		wantEvents(t, s, recovered(beacon(1, 4), 0), recovered(beacon(1, 5), 0), recovered(beacon(2, 1), 0))
		wantAsked(t, served, since{1, 3}, since{2, 0})
		sender(live)(5, 6)
		wantEvents(t, s, received(beacon(1, 6), 0))
	})
	t.Run("after live events", func(t *testing.T) {
		s, live, history := subscribeAsking(t, client.Config{Since: map[uint32]uint64{1: 0}})
		sender(live)(5, 6)
		served := serveEvents(t, history, dump{events: beacons(1, 2, 6)}, dump{events: beacons(1, 7, 7)})
		wantEvents(t, s,
			recovered(beacon(1, 2), 1), recovered(beacon(1, 3), 0), recovered(beacon(1, 4), 0),
			received(beacon(1, 5), 0), received(beacon(1, 6), 0), recovered(beacon(1, 7), 0))
		wantAsked(t, served, since{1, 0}, since{1, 6})
	})
}

// What a peer that was loaded anew has sent is new, whatever comes of it first.
func TestSinceAnotherLife(t *testing.T) {
	all := []client.Event{recovered(beacon(1, 1), 0), recovered(beacon(1, 2), 0), recovered(beacon(1, 4), 1)}
	history := append(beacons(1, 1, 2), beacon(1, 4))
	anew := dump{errno: syscall.ERANGE}
	for name, test := range map[string]struct {
		first     []uint64 // what comes live before the peer is asked
		meanwhile []uint64 // and while it answers
		dumps     []dump
		want      []client.Event
		asked     []since
		failed    uint64
	}{
		"asked": {
			nil, nil, []dump{anew, {events: history}},
			all, []since{{1, 1000}, {1, 0}}, 0,
		},
		"asked while events come": {
			nil, []uint64{1, 2}, []dump{anew, {events: history[:2]}},
			all[:2], []since{{1, 1000}, {1, 0}}, 0,
		},
		"after live events": {
			[]uint64{5}, nil, []dump{{events: history}},
			append(all[:3:3], received(beacon(1, 5), 0)), []since{{1, 0}}, 0,
		},
		"it refuses all": {
			nil, []uint64{1}, []dump{anew, anew},
			[]client.Event{received(beacon(1, 1), 0)}, []since{{1, 1000}, {1, 0}}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, live, side := subscribeAsking(t, client.Config{Since: map[uint32]uint64{1: 1000}})
			send := sender(live)
			send(test.first...)
			test.dumps[0].before = func() { send(test.meanwhile...) }
			served := serveEvents(t, side, test.dumps...)
			wantEvents(t, s, test.want...)
			next := test.want[len(test.want)-1].Seq + 1
			send(next)
			wantEvents(t, s, received(beacon(1, next), 0))
			wantAsked(t, served, test.asked...)
			diff(t, test.failed, s.Stats().Failed)
		})
	}
}

// A small number that was made late is that of a peer that was loaded anew,
// though the number was recovered just before.
func TestNumbersBeginAgainAfterRecovery(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{Since: map[uint32]uint64{1: 0}})
	served := serveEvents(t, history, dump{events: beacons(1, 1, 5)})
	for seq := range uint64(5) {
		wantEvents(t, s, recovered(beacon(1, seq+1), 0))
	}
	wantAsked(t, served, since{1, 0})
	again := beacon(1, 2)
	again.Time = 6000
	sender(live)(4)
	live.multicast(1, event(client.Raw, again))
	wantEvents(t, s, received(again, 0))
}

func TestResyncIsInterrupted(t *testing.T) {
	for name, interrupt := range map[string]func(*client.Subscription, func()) error{
		"cancel": func(_ *client.Subscription, cancel func()) error { cancel(); return context.Canceled },
		"close":  func(s *client.Subscription, _ func()) error { s.Close(); return net.ErrClosed },
	} {
		t.Run(name, func(t *testing.T) {
			s, live, history := subscribeAsking(t, client.Config{})
			sender(live)(1, 3)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var want error
			served := serveEvents(t, history, dump{silent: true, before: func() { want = interrupt(s, cancel) }})
			var last error
			n := 0
			for _, err := range s.Events(ctx) {
				n++
				last = err
			}
			wantAsked(t, served, since{1, 1})
			diff(t, 2, n)
			wantError(t, last, want)
			diff(t, uint64(0), s.Stats().Failed)
		})
	}
}

// The loop's body may close between two events of a dump.
func TestCloseWhileRecovering(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{})
	sender(live)(1, 5)
	served := serveEvents(t, history, dump{events: beacons(1, 2, 4)})
	var seqs []uint64
	var last error
	for e, err := range s.Events(background(t)) {
		last = err
		if err == nil {
			if seqs = append(seqs, e.Seq); e.Recovered {
				s.Close()
			}
		}
	}
	wantAsked(t, served, since{1, 1})
	diff(t, []uint64{1, 2}, seqs)
	wantError(t, last, net.ErrClosed, os.ErrClosed)
}

func TestRecoveringAllocatesNothing(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{})
	const n = 600
	sender(live)(1, n)
	served := serveEvents(t, history, dump{events: beacons(1, 2, n-1)})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next, stop := iter.Pull2(s.Events(ctx))
	defer stop()
	one := func() {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err, ok)
		}
	}
	one()
	one()
	wantAsked(t, served, since{1, 1})
	if allocs := testing.AllocsPerRun(n/2, one); allocs != 0 {
		t.Errorf("%v allocations per event", allocs)
	}
}

func TestEventsSince(t *testing.T) {
	c, u := dialUser(t, client.Config{Carrier: client.Generic})
	ctx := background(t)
	all := func(seq uint64, enough int) (events []client.Event, err error) {
		for e, err := range c.EventsSince(ctx, 1, seq) {
			if err != nil {
				return events, err
			}
			if events = append(events, e.Clone()); len(events) == enough {
				break
			}
		}
		return events, nil
	}
	served := serveEvents(t, u,
		dump{events: append(beacons(1, 4, 5), beacons(1, 8, 8)...)},
		dump{},
		dump{events: beacons(1, 1, 2), errno: syscall.EINTR},
		dump{events: beacons(1, 1, 900)},
		dump{errno: syscall.ERANGE})
	for _, tt := range []struct {
		seq    uint64
		enough int
		want   []client.Event
		err    error
	}{
		{1, 0, []client.Event{recovered(beacon(1, 4), 2), recovered(beacon(1, 5), 0), recovered(beacon(1, 8), 2)}, nil},
		{8, 0, nil, nil},
		{0, 0, []client.Event{recovered(beacon(1, 1), 0), recovered(beacon(1, 2), 0)}, syscall.EINTR},
		{0, 1, []client.Event{recovered(beacon(1, 1), 0)}, nil},
		{9, 0, nil, syscall.ERANGE},
	} {
		got, err := all(tt.seq, tt.enough)
		diff(t, tt.want, got)
		if tt.err != nil {
			wantError(t, err, tt.err)
		} else if err != nil {
			t.Error(err)
		}
	}
	wantAsked(t, served, since{1, 1}, since{1, 8}, since{1, 0}, since{1, 0}, since{1, 9})

	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err := all(0, 0)
	wantError(t, err, context.Canceled)
}

// A raw Conn opens a second socket, which finds no module here.
func TestEventsSinceOnRaw(t *testing.T) {
	c := dialSelf(t, client.Config{})
	for _, err := range c.EventsSince(background(t), 1, 0) {
		if err == nil {
			t.Skip("the module is loaded here")
		}
		wantError(t, err, client.ErrNotLoaded)
	}
}

// The answer that is the last of a dump counts also if the context ends just then:
// nobody waits for another.
func TestResyncIsAnsweredAtTheEnd(t *testing.T) {
	setup := func(t *testing.T) (s *client.Subscription, history *user, first func()) {
		s, _ = subscribeUser(t, client.Config{Carrier: client.Generic, Since: map[uint32]uint64{1: 50}})
		ctx, cancel := context.WithCancel(background(t))
		c, history := dialUser(t, client.Config{Carrier: client.Generic, Tap: func(d client.Crossing) {
			if !d.Sent {
				cancel()
			}
		}})
		s.SetSide(c)
		return s, history, func() {
			t.Helper()
			for e, err := range s.Events(ctx) {
				if err == nil {
					t.Fatalf("an event: %+v", e)
				}
				wantError(t, err, context.Canceled)
			}
		}
	}
	t.Run("gone", func(t *testing.T) {
		s, history, first := setup(t)
		served := async(func() (struct{}, error) {
			m, from := history.receive()
			return struct{}{}, history.trySend(from, ack(m, from, syscall.ENOENT, nil))
		})
		first()
		if _, err := await(t, served); err != nil {
			t.Fatal(err)
		}
		var last error
		for _, err := range s.Events(background(t)) {
			last = err
		}
		wantError(t, last, client.ErrEnded)
		diff(t, uint64(1), s.Stats().Failed)
	})
	t.Run("loaded anew", func(t *testing.T) {
		s, history, first := setup(t)
		served := serveEvents(t, history, dump{errno: syscall.ERANGE}, dump{events: beacons(1, 1, 1)})
		first()
		wantEvents(t, s, recovered(beacon(1, 1), 0))
		wantAsked(t, served, since{1, 50}, since{1, 0})
		diff(t, uint64(0), s.Stats().Failed)
	})
}
