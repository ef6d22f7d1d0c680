// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func beacon(group uint32, seq uint64) wire.Event {
	return wire.Event{Group: group, Seq: seq, Time: seq * 1000, Kind: wire.KindBeacon, Data: fmt.Appendf(nil, "event %d", seq)}
}

// take ranges over n items and returns copies.
func take(t *testing.T, s *client.Subscription, n int) (events []client.Event, errs []error) {
	t.Helper()
	if n == 0 {
		return
	}
	for e, err := range s.Events(background(t)) {
		events = append(events, e.Clone())
		errs = append(errs, err)
		if len(events) == n {
			break
		}
		if err != nil && errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("only %d of %d events", len(events)-1, n)
		}
	}
	return events, errs
}

func wantEvents(t *testing.T, s *client.Subscription, want ...client.Event) {
	t.Helper()
	got, errs := take(t, s, len(want))
	for _, err := range errs {
		if err != nil {
			t.Fatalf("error %v among the events", err)
		}
	}
	diff(t, want, got, cmpopts.EquateEmpty())
}

func received(e wire.Event, lost uint64) client.Event {
	return client.Event{
		Group: e.Group, Seq: e.Seq, Time: time.Duration(e.Time), Kind: e.Kind, Data: e.Data,
		Lost: lost, NSID: client.OwnNSID,
	}
}

func TestEvents(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		s, u := subscribeUser(t, client.Config{Carrier: carrier})
		diff(t, carrier, s.Carrier())
		for seq := range uint64(3) {
			u.multicast(1, event(carrier, beacon(1, seq+5)))
		}
		wantEvents(t, s, received(beacon(1, 5), 0), received(beacon(1, 6), 0), received(beacon(1, 7), 0))
		diff(t, client.SubscriptionStats{
			Received: 3, Groups: []client.GroupStats{{NSID: client.OwnNSID, Group: 1, Received: 3}},
		}, s.Stats())
	})
}

func TestEventThatIsLate(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	r := async(func() (client.Event, error) {
		for e, err := range s.Events(background(t)) {
			return e.Clone(), err
		}
		return client.Event{}, nil
	})
	eventually(t, "the iteration waits", func() bool { return s.Waiting() == 1 })
	u.multicast(1, event(client.Raw, beacon(1, 1)))
	got, err := await(t, r)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, received(beacon(1, 1), 0), got)
}

func TestLargestEvent(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	e := beacon(1, 1)
	e.Data = bytes.Repeat([]byte("x"), wire.DataMax)
	u.multicast(1, event(client.Raw, e))
	wantEvents(t, s, received(e, 0))
}

func TestGroups(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Groups: 1<<0 | 1<<4 | 1<<31})
	for group := uint32(1); group <= 32; group++ {
		u.multicast(1<<(group-1), event(client.Raw, beacon(group, 9)))
	}
	wantEvents(t, s, received(beacon(1, 9), 0), received(beacon(5, 9), 0), received(beacon(32, 9), 0))
}

func TestLostIsPerGroup(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Groups: 3, NoResync: true})
	send := func(e wire.Event) { u.multicast(1<<(e.Group-1), event(client.Raw, e)) }
	send(beacon(1, 10))
	send(beacon(2, 1))
	send(beacon(1, 11))
	send(beacon(1, 14))
	send(beacon(2, 3))
	send(beacon(1, 15))
	wantEvents(t, s,
		received(beacon(1, 10), 0), received(beacon(2, 1), 0), received(beacon(1, 11), 0),
		received(beacon(1, 14), 2), received(beacon(2, 3), 1), received(beacon(1, 15), 0))

	// Numbers that begin again are those of a module that was loaded again.
	send(beacon(1, 1))
	send(beacon(1, 3))
	wantEvents(t, s, received(beacon(1, 1), 0), received(beacon(1, 3), 1))
	diff(t, client.SubscriptionStats{
		Received: 8, Lost: 4,
		Groups: []client.GroupStats{
			{NSID: client.OwnNSID, Group: 1, Received: 6, Lost: 3},
			{NSID: client.OwnNSID, Group: 2, Received: 2, Lost: 1},
		},
	}, s.Stats())
}

// What was not ranged over when a loop broke off is there for the next.
func TestSeveralEventsInOneDatagram(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	var b []byte
	for seq := range uint64(5) {
		b = append(b, event(client.Raw, beacon(1, seq+1))...)
	}
	u.multicast(1, b)
	for seq := range uint64(5) {
		wantEvents(t, s, received(beacon(1, seq+1), 0))
	}
}

func TestForeignMulticastIsDropped(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	stranger := newUser(t)
	stranger.multicast(1, event(client.Raw, beacon(1, 666)))
	u.multicast(1, event(client.Raw, beacon(1, 1)))
	wantEvents(t, s, received(beacon(1, 1), 0))
	diff(t, uint64(1), s.Stats().Foreign)

	if err := stranger.trySend(s.PortID(), event(client.Raw, beacon(1, 666))); err != unix.ECONNREFUSED {
		t.Errorf("error is %v, want %v", err, unix.ECONNREFUSED)
	}
}

func TestWhatIsNoEvent(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		s, u := subscribeUser(t, client.Config{Carrier: carrier})
		u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: wire.MsgNoop}, nil))
		u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: 0x99}, []byte("hello")))
		u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: client.UserFamily}, []byte{99, 1, 0, 0}))
		u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: client.UserFamily}, nil))
		u.multicast(1, event(carrier, beacon(1, 1)))
		wantEvents(t, s, received(beacon(1, 1), 0))
		diff(t, uint64(4), s.Stats().Unknown)
	})
}

func TestMalformedEventsAreErrors(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	good := event(client.Raw, beacon(1, 1))
	lie := bytes.Clone(good)
	wire.PutHeader(lie, wire.Header{Len: 1 << 31, Type: wire.MsgEvent})
	u.multicast(1, lie)
	u.multicast(1, append(bytes.Clone(good), 1, 2, 3, 4))
	u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, []byte{0, 0, 0, 0}))
	u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, nil))
	u.multicast(1, event(client.Raw, beacon(1, 2)))

	events, errs := take(t, s, 6)
	want := []error{wire.ErrMessageLength, nil, wire.ErrMessageShort, wire.ErrAttrLength, wire.ErrMissing, nil}
	for i, err := range errs {
		if !errors.Is(err, want[i]) {
			t.Errorf("item %d: error is %v, want %v", i, err, want[i])
		}
		if err != nil {
			wantError(t, err)
			diff(t, client.Event{}, events[i])
		}
	}
	diff(t, uint64(2), events[5].Seq)
}

func TestTruncatedEvent(t *testing.T) {
	u := newUser(t)
	s, err := client.SubscribeUser(background(t), client.Config{}, u.port, 128)
	needs(t, "root, to join groups of NETLINK_USERSOCK", err)
	defer s.Close()
	e := beacon(1, 1)
	e.Data = make([]byte, 200)
	u.multicast(1, event(client.Raw, e))
	u.multicast(1, event(client.Raw, beacon(1, 2)))
	events, errs := take(t, s, 2)
	wantError(t, errs[0], client.ErrTruncated)
	diff(t, uint64(2), events[1].Seq)
}

func TestSubscriptionOverrun(t *testing.T) {
	s, u := subscribeUser(t, client.Config{ReceiveBuffer: 8192, NoResync: true})
	seq := uint64(0)
	send := func() {
		seq++
		u.multicast(1, event(client.Raw, beacon(1, seq)))
	}
	for round := range uint64(3) {
		for range 200 {
			send()
		}
		var overruns, lost uint64
		for e, err := range s.Events(background(t)) {
			if err != nil {
				var o *client.OverrunError
				if !errors.As(err, &o) || !errors.Is(err, syscall.ENOBUFS) {
					t.Fatal(err)
				}
				overruns++
				diff(t, round+1, o.Count)
				continue
			}
			if e.Lost != 0 {
				lost += e.Lost
				break
			}
			send() // dropped until the queue is empty
		}
		diff(t, uint64(1), overruns)
		st := s.Stats()
		diff(t, round+1, st.Overruns)
		diff(t, seq, st.Received+st.Lost)
		if lost == 0 || st.Received == 0 {
			t.Errorf("%d lost of %d", lost, seq)
		}
	}
}

func TestEventsWithACancelledContext(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	u.multicast(1, append(event(client.Raw, beacon(1, 1)), event(client.Raw, beacon(1, 2))...))
	ctx, cancel := context.WithCancel(context.Background())
	var seqs []uint64
	var last error
	for e, err := range s.Events(ctx) {
		if err != nil {
			last = err
			continue
		}
		seqs = append(seqs, e.Seq)
		cancel()
	}
	wantError(t, last, context.Canceled)
	diff(t, []uint64{1}, seqs)
	wantEvents(t, s, received(beacon(1, 2), 0))

	// While it waits.
	ctx, cancel = context.WithCancel(context.Background())
	r := async(func() (n int, last error) {
		for _, err := range s.Events(ctx) {
			n++
			last = err
		}
		return n, last
	})
	eventually(t, "the iteration waits", func() bool { return s.Waiting() == 1 })
	cancel()
	n, err := await(t, r)
	wantError(t, err, context.Canceled)
	diff(t, 1, n)

	// Neither leaves a trace.
	u.multicast(1, event(client.Raw, beacon(1, 3)))
	wantEvents(t, s, received(beacon(1, 3), 0))
}

func TestCloseEndsTheEvents(t *testing.T) {
	s, _ := subscribeUser(t, client.Config{})
	r := async(func() (n int, last error) {
		for _, err := range s.Events(context.Background()) {
			n++
			last = err
		}
		return n, last
	})
	eventually(t, "the iteration waits", func() bool { return s.Waiting() == 1 })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	n, err := await(t, r)
	wantError(t, err, net.ErrClosed, os.ErrClosed)
	diff(t, 1, n)

	_, errs := take(t, s, 1)
	wantError(t, errs[0], net.ErrClosed, os.ErrClosed)
	wantError(t, s.Close(), net.ErrClosed, os.ErrClosed)
}

// The loop's body may close.
func TestCloseWithinTheLoop(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	u.multicast(1, append(event(client.Raw, beacon(1, 1)), event(client.Raw, beacon(1, 2))...))
	var last error
	for e, err := range s.Events(background(t)) {
		last = err
		if err == nil {
			diff(t, uint64(1), e.Seq)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	wantError(t, last, net.ErrClosed)
}

func TestOneIterationAtATime(t *testing.T) {
	s, u := subscribeUser(t, client.Config{})
	u.multicast(1, event(client.Raw, beacon(1, 1)))
	for range s.Events(background(t)) {
		n := 0
		for _, err := range s.Events(background(t)) {
			n++
			wantError(t, err)
			diff(t, "events: events are already ranged over", err.Error())
		}
		diff(t, 1, n)
		break
	}
	u.multicast(1, event(client.Raw, beacon(1, 2)))
	wantEvents(t, s, received(beacon(1, 2), 0))
}

func TestEventsAllocateNothing(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		s, u := subscribeUser(t, client.Config{Carrier: carrier, Groups: 3, ReceiveBuffer: 1 << 20})
		const n = 600
		for seq := range uint64(n) {
			group := uint32(seq%2 + 1)
			u.multicast(1<<(group-1), event(carrier, beacon(group, seq/2+1)))
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		next, stop := iter.Pull2(s.Events(ctx))
		defer stop()
		one := func() {
			if _, err, ok := next(); err != nil || !ok {
				t.Fatal(err, ok)
			}
		}
		for range 4 {
			one() // the first of each group makes room for it
		}
		if allocs := testing.AllocsPerRun(n/2, one); allocs != 0 {
			t.Errorf("%v allocations per event", allocs)
		}
	})
}

// An iteration over what is there already allocates nothing either, not even to
// begin, as it does not wait.
func TestIterationsAllocateNothing(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Groups: 1, ReceiveBuffer: 1 << 20})
	const n = 300
	for seq := range uint64(n) {
		u.multicast(1, event(client.Raw, beacon(1, seq+1)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	last := uint64(0)
	one := func() {
		for e, err := range s.Events(ctx) {
			if err != nil || e.Seq != last+1 || e.Lost != 0 {
				t.Fatal(e, err)
			}
			last = e.Seq
			break
		}
	}
	one() // the first of the group makes room for it
	if allocs := testing.AllocsPerRun(n-10, one); allocs != 0 {
		t.Errorf("%v allocations per iteration", allocs)
	}
	if got := s.Stats(); got.Received != last || got.Groups[0].Received != last {
		t.Errorf("%d events came, but stats are %+v", last, got)
	}

	// One that has waited can be given up, and the next one waits again.
	for e, err := range s.Events(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error is %v", err)
			}
			break
		}
		if last = e.Seq; last == n {
			go func() {
				for s.Waiting() == 0 {
					runtime.Gosched()
				}
				cancel()
			}()
		}
	}
	if last != n {
		t.Errorf("the last event was %d, want %d", last, n)
	}
	go u.multicast(1, event(client.Raw, beacon(1, n+1)))
	for e, err := range s.Events(background(t)) {
		if err != nil || e.Seq != n+1 {
			t.Error(e, err)
		}
		break
	}
}

func TestSubscribeToUnknownGroup(t *testing.T) {
	_, err := client.SubscribeFamily(background(t), client.Config{GroupNames: []string{"notify", "nope"}}, "nlctrl")
	if !errors.Is(err, os.ErrNotExist) || errors.Is(err, client.ErrNotLoaded) {
		t.Errorf("error is %v", err)
	}
	s, err := client.SubscribeFamily(background(t), client.Config{GroupNames: []string{"notify"}}, "nlctrl")
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestJoiningWithoutPrivilege(t *testing.T) {
	ctx := background(t)
	err := inThread(t, func() error {
		if err := dropCapabilities(); err != nil {
			return err
		}
		// This protocol lets nobody but root join, unlike the peer's.
		s, err := client.SubscribeUser(ctx, client.Config{}, 0, 0)
		if err == nil {
			s.Close()
		}
		return err
	})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("error is %v", err)
	}
}

func TestConnSubscribeKnowsItsGroups(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		c := dialSelf(t, client.Config{Carrier: carrier})
		bad := []uint32{0, 33, wire.GroupConnector, wire.GroupConnector + 1}
		if carrier == client.Raw {
			bad = append(bad, wire.GroupBeacon)
		} else {
			bad = append(bad, 1)
		}
		for _, group := range bad {
			_, err := c.Subscribe(background(t), group)
			wantError(t, err, syscall.EINVAL)
		}
		// Without the module the peer's protocol does not exist.
		if s, err := c.Subscribe(background(t)); err != nil {
			wantError(t, err, client.ErrNotLoaded)
		} else {
			s.Close()
		}
	})
}

// The kernel says which namespace a message is from.
func TestAllNSID(t *testing.T) {
	const (
		linkGroup   = 1 // RTNLGRP_LINK
		nsid        = 4711
		rtmNewNSID  = 88
		netnsaNSID  = 1
		netnsaFD    = 3
		rtmSetLink  = 19
		loopback    = 1
		sizeofIface = 16
	)
	ctx := background(t)
	ns := newNetNS(t)
	s, err := client.SubscribeProtocol(ctx, client.Config{Groups: 1 << (linkGroup - 1), AllNSID: true}, unix.NETLINK_ROUTE)
	needs(t, "root, to listen to all namespaces", err)
	defer s.Close()

	here := must(client.DialProtocol(ctx, client.Config{}, unix.NETLINK_ROUTE))(t)
	defer here.Close()
	attrs := wire.AppendUint32(make([]byte, 4), netnsaNSID, nsid)
	attrs = wire.AppendUint32(attrs, netnsaFD, uint32(ns))
	if _, err := here.Request(ctx, rtmNewNSID, wire.FlagRequest|wire.FlagAck, attrs); err != nil {
		t.Fatal(err)
	}

	// Taking the loopback interface up there is heard here.
	there := must(client.DialProtocol(ctx, client.Config{NetNS: ns}, unix.NETLINK_ROUTE))(t)
	defer there.Close()
	b := make([]byte, sizeofIface)
	binary.NativeEndian.PutUint32(b[4:], loopback)
	binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP)
	if _, err := there.Request(ctx, rtmSetLink, wire.FlagRequest|wire.FlagAck, b); err != nil {
		t.Fatal(err)
	}
	for {
		n, id, err := s.Fill(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && id == nsid {
			return
		}
		if id != client.OwnNSID {
			t.Fatalf("namespace ID is %d, want %d", id, nsid)
		}
	}
}

func TestStatsWhileRanging(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Groups: 1<<32 - 1, ReceiveBuffer: 1 << 20})
	const n = 320
	r := async(func() (groups []uint32, err error) {
		for e, err := range s.Events(background(t)) {
			if err != nil {
				return nil, err
			}
			if !slices.Contains(groups, e.Group) {
				groups = append(groups, e.Group)
			}
			if s.Stats().Received == n {
				return groups, nil
			}
		}
		return nil, errors.New("no end")
	})
	for i := range uint64(n) {
		group := uint32(i%32 + 1)
		u.multicast(1<<(group-1), event(client.Raw, beacon(group, i/32+1)))
		s.Stats()
	}
	groups, err := await(t, r)
	if err != nil || len(groups) != 32 {
		t.Errorf("%d groups, error %v", len(groups), err)
	}
	if st := s.Stats(); len(st.Groups) != 32 || st.Groups[31].Group != 32 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}
