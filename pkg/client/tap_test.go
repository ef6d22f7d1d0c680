// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A tape is what a tap saw, with copies of the data.
type tape []client.Crossing

func (t *tape) tap(d client.Crossing) {
	d.Data = bytes.Clone(d.Data)
	*t = append(*t, d)
}

// A tap sees the very bytes that cross, in their order.
func TestTapConn(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		var seen tape
		c, u := dialUser(t, client.Config{Carrier: carrier, Acknowledge: true, Tap: seen.tap})
		if len(seen) != 0 {
			t.Fatalf("before the first call it saw %+v", seen)
		}
		echo := async(func() ([]byte, error) { return c.Echo(background(t), []byte("hello")) })
		m, from := u.receive()
		request := wire.AppendMessage(nil, m.Header, m.Body)
		reply := answer(m, from, m.Body)
		acked := ack(m, from, 0, nil)
		u.send(from, reply)
		u.send(from, acked)
		if _, err := await(t, echo); err != nil {
			t.Fatal(err)
		}
		crossed := func(sent bool, b []byte) client.Crossing {
			return client.Crossing{Sent: sent, Protocol: unix.NETLINK_USERSOCK, PortID: c.PortID(), Data: b, Size: len(b)}
		}
		diff(t, tape{crossed(true, request), crossed(false, reply), crossed(false, acked)}, seen)
	})
}

// Only an echo is sent by a raw system call, however short a request is: others may
// keep the kernel busy, or sleep there.
func TestRawIsForEchoes(t *testing.T) {
	for name, tt := range map[string]struct {
		call func(ctx context.Context, c *client.Conn)
		raw  bool
	}{
		"Echo":          {func(ctx context.Context, c *client.Conn) { c.Echo(ctx, nil) }, true},
		"long Echo":     {func(ctx context.Context, c *client.Conn) { c.Echo(ctx, make([]byte, 8192)) }, false},
		"Stats":         {func(ctx context.Context, c *client.Conn) { c.Stats(ctx) }, false},
		"SetBeacon":     {func(ctx context.Context, c *client.Conn) { c.SetBeacon(ctx, client.BeaconChange{Burst: 1000}) }, false},
		"NewObject":     {func(ctx context.Context, c *client.Conn) { c.NewObject(ctx, "key", wire.ModifierCreate) }, false},
		"DeleteObject":  {func(ctx context.Context, c *client.Conn) { c.DeleteObject(ctx, "key") }, false},
		"DeleteObjects": {func(ctx context.Context, c *client.Conn) { c.DeleteObjects(ctx, "") }, false},
		"GetObject":     {func(ctx context.Context, c *client.Conn) { c.GetObject(ctx, "key") }, false},
		"Objects": {func(ctx context.Context, c *client.Conn) {
			for range c.Objects(ctx, client.ObjectQuery{}) {
			}
		}, false},
		"EventsSince": {func(ctx context.Context, c *client.Conn) {
			for range c.EventsSince(ctx, 1, 0) {
			}
		}, false},
		"Do": {func(ctx context.Context, c *client.Conn) {
			b := c.NewBatch()
			b.Echo(nil)
			c.Do(ctx, b, func(client.Answer) {})
		}, true},
		"Do with an object": {func(ctx context.Context, c *client.Conn) {
			b := c.NewBatch()
			b.Echo(nil)
			b.Get("key")
			c.Do(ctx, b, func(client.Answer) {})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			// Nobody answers, so the call ends when it has been sent.
			ctx, cancel := context.WithCancel(background(t))
			defer cancel()
			c, _ := dialUser(t, client.Config{Carrier: client.Generic, Tap: func(client.Crossing) { cancel() }})
			var sent []bool
			c.TapRaw(func(raw bool) { sent = append(sent, raw) })
			tt.call(ctx, c)
			diff(t, []bool{tt.raw}, sent)
		})
	}
}

// Of a datagram that does not fit, a tap sees what there is, and its length.
func TestTapTruncated(t *testing.T) {
	var seen tape
	u := newUser(t)
	c, err := client.DialUser(background(t), client.Config{Tap: seen.tap}, u.port, 32)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo := async(func() ([]byte, error) { return c.Echo(background(t), make([]byte, 100)) })
	m, from := u.receive()
	u.send(from, answer(m, from, m.Body))
	_, err = await(t, echo)
	wantError(t, err, client.ErrTruncated)
	if len(seen) != 2 || len(seen[1].Data) != 32 || seen[1].Size != 116 {
		t.Errorf("it saw %+v", seen)
	}
}

// A tap of a Subscription sees events, and not what others than the peer sent.
func TestTapSubscription(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		var seen tape
		u, other := newUser(t), newUser(t)
		sub, err := client.SubscribeUser(background(t), client.Config{Carrier: carrier, Tap: seen.tap}, u.port, 0)
		needs(t, "root, to join groups of NETLINK_USERSOCK", err)
		defer sub.Close()
		sent := event(carrier, beacon(1, 7))
		other.multicast(1, event(carrier, beacon(1, 6)))
		u.multicast(1, sent)
		for e, err := range sub.Events(background(t)) {
			if err != nil || e.Seq != 7 {
				t.Fatal(e, err)
			}
			break
		}
		diff(t, tape{{Protocol: unix.NETLINK_USERSOCK, PortID: sub.PortID(), Data: sent, Size: len(sent)}}, seen)
	})
}

// With a tap, the family is looked up where the tap sees it.
func TestTapLookUp(t *testing.T) {
	var seen tape
	c, err := client.DialFamily(background(t), client.Config{Tap: seen.tap}, "nlctrl")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if len(seen) != 2 || !seen[0].Sent || seen[1].Sent {
		t.Fatalf("it saw %+v, want a request and an answer", seen)
	}
	for _, d := range seen {
		m, rest, err := wire.NextMessage(d.Data)
		if err != nil || len(rest) != 0 || m.Type != unix.GENL_ID_CTRL || d.Protocol != unix.NETLINK_GENERIC || !bytes.Contains(m.Body, []byte("nlctrl\x00")) {
			t.Errorf("datagram %+v: %v", d, err)
		}
	}
	diff(t, client.Counters{}, c.Counters())
}

// A look-up that nobody answers ends, whatever came instead of the answer.
func TestTapLookUpOverrun(t *testing.T) {
	s, peer, other := newUser(t), newUser(t), newUser(t)
	needs(t, "root, to join groups of NETLINK_USERSOCK",
		unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 1))
	if err := unix.Connect(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: peer.port}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		other.multicast(1, make([]byte, 1000))
	}
	var seen tape
	if err := client.ShowLookUp(s.fd, seen.tap); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || !seen[0].Sent {
		t.Errorf("it saw %+v, want the request alone", seen)
	}
}

// A tap that keeps nothing costs no allocation either.
func TestTapAllocatesNothing(t *testing.T) {
	eachCarrier(t, func(t *testing.T, carrier client.Carrier) {
		sent, received := 0, 0
		c := dialSelf(t, client.Config{Carrier: carrier, Tap: func(d client.Crossing) {
			if d.Sent {
				sent += len(d.Data)
			} else {
				received += len(d.Data)
			}
		}})
		payload, dst := make([]byte, 64), make([]byte, 0, 64)
		allocs := testing.AllocsPerRun(200, func() {
			if _, err := c.AppendEcho(context.Background(), dst, payload); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 || sent == 0 || sent != received {
			t.Errorf("%v allocations, %d bytes sent, %d received", allocs, sent, received)
		}
	})
}

// A tap sees also what is left of a dump that nobody reads to its end.
func TestTapDumpThatIsBrokenOff(t *testing.T) {
	var seen tape
	c, u := dialUser(t, client.Config{Carrier: client.Generic, Tap: seen.tap})
	served := serveEvents(t, u, dump{events: beacons(1, 1, 900)})
	for _, err := range c.EventsSince(background(t), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		wantAsked(t, served, since{1, 0}) // all of it is there
		break
	}
	messages := 0
	for _, d := range seen {
		if d.Sent {
			continue
		}
		for _, err := range wire.Messages(d.Data) {
			if err != nil {
				t.Fatal(err)
			}
			messages++
		}
	}
	if messages != 901 {
		t.Errorf("of 900 events and an end it saw %d messages in %d crossings", messages, len(seen))
	}
}
