// SPDX-License-Identifier: MIT

package client_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// groupOf is the group that a subscription joins if it names none.
func groupOf(carrier client.Carrier) uint32 {
	switch carrier {
	case client.Generic:
		return wire.GroupBeacon
	case client.Connector:
		return wire.GroupConnector
	}
	return 1
}

// lastNumber asks the history for the number of a group's last event. It reads only
// those behind the event last, so that asking often is cheap; 0 reads all.
func lastNumber(t *testing.T, conn *client.Conn, group uint32, last uint64) uint64 {
	t.Helper()
	for ev, err := range conn.EventsSince(background(t), group, last) {
		if err != nil {
			t.Fatal(err)
		}
		last = ev.Seq
	}
	return last
}

// A tally sees to it that events come in order, each once, and that what is
// missing is counted.
type tally struct {
	last, received, recovered, lost, overruns uint64
}

func (c *tally) add(t *testing.T, ev client.Event, err error) {
	t.Helper()
	var overrun *client.OverrunError
	switch {
	case errors.As(err, &overrun):
		if !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("%v is not ENOBUFS", err)
		}
		c.overruns++
		return
	case err != nil:
		t.Fatal(err)
	case c.last != 0 && ev.Seq != c.last+1+ev.Lost:
		t.Fatalf("event %d with %d lost comes after %d", ev.Seq, ev.Lost, c.last)
	}
	for i, b := range ev.Data {
		if b != byte(ev.Seq+uint64(i)) {
			t.Fatalf("event %d (recovered: %v): byte %d is %#x", ev.Seq, ev.Recovered, i, b)
		}
	}
	c.last = ev.Seq
	c.lost += ev.Lost
	if ev.Recovered {
		c.recovered++
	} else {
		c.received++
	}
}

func (c *tally) compare(t *testing.T, sub *client.Subscription) {
	t.Helper()
	got := sub.Stats()
	if got.Received != c.received || got.Recovered != c.recovered || got.Lost != c.lost || got.Overruns != c.overruns ||
		got.Failed != 0 || len(got.Groups) != 1 {
		t.Errorf("statistics %+v, want %+v", got, *c)
	}
}

// After an overrun the history gives back what it holds, though no other event
// comes, and what it does not hold is counted.
func TestOverrunIsRecovered(t *testing.T) {
	for _, history := range []uint64{65536, 16, 0} {
		vmtest.Module(t, "interval_ms=0", fmt.Sprintf("history=%d", history))
		for _, carrier := range eventCarriers {
			t.Run(fmt.Sprintf("history=%d/%v", history, carrier), func(t *testing.T) {
				conn := dial(t, client.Config{Carrier: carrier})
				sub := subscribe(t, client.Config{Carrier: carrier, ReceiveBuffer: 4096})
				setBeacon(t, conn, client.BeaconChange{Interval: new(time.Millisecond), Size: new(1000), Connector: new(carrier == client.Connector)})
				vmtest.Until(t, "an overrun is in /proc/net/netlink", func() bool {
					for _, s := range vmtest.Sockets(t) {
						if s.PortID == sub.PortID() && s.Drops >= 50 {
							return true
						}
					}
					return false
				})
				setBeacon(t, conn, client.BeaconChange{Interval: new(time.Duration(0))})
				last := lastNumber(t, conn, groupOf(carrier), 0)
				if history == 0 {
					// Nothing tells before the next event comes.
					setBeacon(t, conn, client.BeaconChange{Interval: new(100 * time.Millisecond)})
				}

				var seen tally
				for ev, err := range sub.Events(background(t)) {
					seen.add(t, ev, err)
					if history != 0 && seen.last == last || history == 0 && seen.lost != 0 {
						break
					}
				}
				seen.compare(t, sub)
				if seen.overruns != 1 || seen.received == 0 || seen.received+seen.recovered+seen.lost != seen.last {
					t.Errorf("%+v, the last is %d", seen, last)
				}
				switch history {
				case 65536:
					if seen.lost != 0 || seen.recovered < 50 {
						t.Errorf("%+v, want all recovered", seen)
					}
				default:
					if seen.recovered != history || seen.lost < 50-history {
						t.Errorf("%+v, want %d recovered", seen, history)
					}
				}

				// It goes on without a gap.
				setBeacon(t, conn, client.BeaconChange{Interval: new(20 * time.Millisecond)})
				lost, received := seen.lost, seen.received
				for ev, err := range sub.Events(background(t)) {
					if seen.add(t, ev, err); seen.received == received+5 {
						break
					}
				}
				if seen.lost != lost {
					t.Errorf("after the overrun: %+v", seen)
				}
				setBeacon(t, conn, client.BeaconChange{Interval: new(time.Duration(0))})
			})
		}
	}
}

// A listener that is too slow again and again misses nothing as long as the
// history is long enough, and knows what it misses when it is not. Events come
// all the time, but not more than a slow machine can get back.
func TestSlowListener(t *testing.T) {
	for _, history := range []int{65536, 32} {
		vmtest.Module(t, "interval_ms=0", fmt.Sprintf("history=%d", history))
		for _, carrier := range eventCarriers {
			t.Run(fmt.Sprintf("history=%d/%v", history, carrier), func(t *testing.T) {
				conn := dial(t, client.Config{Carrier: carrier})
				sub := subscribe(t, client.Config{Carrier: carrier, ReceiveBuffer: 4096})
				every := func(d time.Duration) {
					t.Helper()
					setBeacon(t, conn, client.BeaconChange{Interval: &d, Size: new(100), Connector: new(carrier == client.Connector)})
				}
				every(10 * time.Millisecond)
				var seen tally
				next := uint64(10)
				for ev, err := range sub.Events(background(t)) {
					seen.add(t, ev, err)
					if seen.overruns >= 5 && seen.last >= 1000 {
						break
					}
					if seen.received < next {
						continue
					}
					next = seen.received + 10
					every(time.Millisecond)
					sent := seen.last
					vmtest.Until(t, "it is behind", func() bool {
						sent = lastNumber(t, conn, groupOf(carrier), sent)
						return sent >= seen.last+60
					})
					every(10 * time.Millisecond)
				}
				every(0)
				seen.compare(t, sub)
				t.Logf("%+v", seen)
				if seen.received+seen.recovered+seen.lost != seen.last || seen.recovered == 0 || (seen.lost == 0) != (history > 1000) {
					t.Errorf("%+v", seen)
				}
			})
		}
	}
}

func TestNoResync(t *testing.T) {
	vmtest.Module(t, "interval_ms=1")
	sub := subscribe(t, client.Config{ReceiveBuffer: 4096, NoResync: true})
	var seen tally
	for ev, err := range sub.Events(background(t)) {
		seen.add(t, ev, err)
		if seen.lost != 0 {
			break
		}
		if seen.overruns == 0 {
			unix.Poll(nil, 100)
		}
	}
	seen.compare(t, sub)
	if seen.recovered != 0 || seen.overruns == 0 {
		t.Errorf("%+v", seen)
	}
}

// A subscription goes on where an earlier one has stopped.
func TestSince(t *testing.T) {
	vmtest.Module(t, "interval_ms=5")
	for _, carrier := range eventCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			conn := dial(t, client.Config{Carrier: carrier})
			subscribe(t, client.Config{Carrier: carrier}) // only ticks that somebody hears are kept
			setBeacon(t, conn, client.BeaconChange{Connector: new(carrier == client.Connector)})
			group := groupOf(carrier)
			var seen tally
			cfg := client.Config{Carrier: carrier}
			for round := range uint64(3) {
				sub := subscribe(t, cfg)
				first := seen.last + 1
				for ev, err := range sub.Events(background(t)) {
					if seen.add(t, ev, err); seen.received >= 10*(round+1) {
						break
					}
				}
				if st := sub.Stats(); round > 0 && (st.Recovered < 10 || st.Lost != 0 || st.Received+st.Recovered != seen.last-first+1) {
					t.Errorf("statistics %+v of the events from %d to %d", st, first, seen.last)
				}
				sub.Close()
				vmtest.Until(t, "there are ten events more", func() bool { return lastNumber(t, conn, group, seen.last) >= seen.last+10 })
				cfg.Since = map[uint32]uint64{group: seen.last}
			}
		})
	}
}

// A number from an earlier life of the module is none, and nothing is lost.
func TestSinceAnotherLife(t *testing.T) {
	vmtest.Module(t, "interval_ms=5")
	sub := subscribe(t, client.Config{Since: map[uint32]uint64{1: 1e6}})
	next := uint64(1)
	for ev, err := range sub.Events(background(t)) {
		if err != nil || ev.Seq != next || ev.Lost != 0 {
			t.Fatalf("%+v, %v, want number %d", ev, err, next)
		}
		if next++; next == 5 {
			break
		}
	}
}

func TestEventsSince(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=500")
	for _, carrier := range eventCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			ctx := background(t)
			conn := dial(t, client.Config{Carrier: carrier})
			group := groupOf(carrier)
			subscribe(t, client.Config{Carrier: carrier, ReceiveBuffer: 4096})
			setBeacon(t, conn, client.BeaconChange{Interval: new(time.Millisecond), Size: new(512), Connector: new(carrier == client.Connector)})
			last := uint64(0)
			vmtest.Until(t, "there are 600 events", func() bool {
				last = lastNumber(t, conn, group, last)
				return last >= 600
			})
			setBeacon(t, conn, client.BeaconChange{Interval: new(time.Duration(0))})

			last = lastNumber(t, conn, group, last)
			for _, tt := range []struct{ seq, lost, n uint64 }{
				{0, last - 500, 500}, {1, last - 501, 500}, {last - 500, 0, 500}, {last - 1, 0, 1}, {last, 0, 0},
			} {
				var seen tally
				for ev, err := range conn.EventsSince(ctx, group, tt.seq) {
					seen.add(t, ev, err)
				}
				if seen.recovered != tt.n || seen.lost != tt.lost {
					t.Errorf("since %d of %d: %+v, want %d events and %d lost", tt.seq, last, seen, tt.n, tt.lost)
				}
			}
			// A loop that breaks off leaves nothing behind, whatever comes next.
			for range 3 {
				for ev, err := range conn.EventsSince(ctx, group, 0) {
					if err != nil || ev.Seq != last-499 {
						t.Fatalf("%+v, %v", ev, err)
					}
					break
				}
				if _, err := conn.Beacon(ctx); err != nil {
					t.Fatal(err)
				}
			}
			for _, tt := range []struct {
				group uint32
				seq   uint64
				errno error
			}{{0, 0, unix.EINVAL}, {33, 0, unix.EINVAL}, {group, last + 1, unix.ERANGE}} {
				n := 0
				for _, err := range conn.EventsSince(ctx, tt.group, tt.seq) {
					n++
					var op *client.OpError
					if !errors.Is(err, tt.errno) || !errors.As(err, &op) || op.Op != "event-get" || op.ExtAck == nil || op.ExtAck.Text == "" {
						t.Errorf("group %d since %d: %v, want %v", tt.group, tt.seq, err, tt.errno)
					}
				}
				if n != 1 {
					t.Errorf("group %d since %d: %d errors", tt.group, tt.seq, n)
				}
			}
			stats, err := conn.Stats(ctx)
			if want := (client.HistoryStats{Size: 500, Held: 500, BytesMax: 1 << 20}); err != nil || stats.History != want {
				t.Errorf("history %+v, %v, want %+v", stats.History, err, want)
			}
		})
	}
}
