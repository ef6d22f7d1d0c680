// SPDX-License-Identifier: MIT

package explain_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
	"nlpeer/vm-test/suites/vmtest"
)

// A tape holds what crossed, in a word or two each.
type tape struct {
	d   explain.Decoder
	all []string
}

func (t *tape) tap(d client.Crossing) {
	direction := explain.Received
	if d.Sent {
		direction = explain.Sent
	}
	for _, m := range t.d.Decode(explain.Datagram{Protocol: d.Protocol, Direction: direction, Data: bytes.Clone(d.Data)}) {
		t.all = append(t.all, direction.String()+" "+m.Summary)
	}
}

// The second socket of a raw Conn is tapped too.
func TestTapOfSecondSocket(t *testing.T) {
	vmtest.Module(t)
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	defer cancel()
	var seen tape
	conn, err := client.Dial(ctx, client.Config{Tap: seen.tap})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Beacon(ctx); err != nil {
		t.Fatal(err)
	}
	diff(t, []string{"sent nlctrl getfamily", "received nlctrl newfamily", "sent nlpeer beacon-get", "received nlpeer beacon-get"}, seen.all)
	diff(t, client.Counters{}, conn.Counters())
}

// So is that by which a Subscription asks for what it missed.
func TestTapOfRecovery(t *testing.T) {
	vmtest.Module(t, "interval_ms=10")
	l := vmtest.ListenRaw(t, 1)
	for l.Next(t).Seq < 3 {
	}
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	defer cancel()
	var seen tape
	interval := time.Duration(0)
	setter, err := client.Dial(ctx, client.Config{Carrier: client.Generic})
	if err != nil {
		t.Fatal(err)
	}
	defer setter.Close()
	if err := setter.SetBeacon(ctx, client.BeaconChange{Interval: &interval}); err != nil {
		t.Fatal(err)
	}
	sub, err := client.Subscribe(ctx, client.Config{Since: map[uint32]uint64{1: 0}, Tap: seen.tap})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for e, err := range sub.Events(ctx) {
		if err != nil || e.Seq != 1 || !e.Recovered {
			t.Fatal(e, err)
		}
		break
	}
	if want := []string{"sent nlctrl getfamily", "received nlctrl newfamily", "sent nlpeer event-get"}; len(seen.all) < 4 {
		t.Errorf("it saw %q", seen.all)
	} else {
		diff(t, want, seen.all[:3])
		diff(t, "received nlpeer event-get", seen.all[3])
	}
}
