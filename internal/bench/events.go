// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// The groups that hear bursts: in one each event is a datagram of its own, in the
// other they are packed. No other part of the module uses them.
const (
	groupPlain  = 5
	groupPacked = 6
)

func groupMask(c Case) uint32 {
	if c.Batch > 1 {
		return 1 << (groupPacked - 1)
	}
	return 1 << (groupPlain - 1)
}

// queueRoom is the receive buffer of who listens, in bytes.
const queueRoom = 8 << 20

// queueLength is how many events are queued at once, at most.
const queueLength = 512

// burst sends events, as one burst to a case's group.
func (b *Bench) burst(ctx context.Context, c Case, n int) error {
	conn, err := b.peer(ctx)
	if err != nil {
		return err
	}
	return conn.SetBeacon(ctx, client.BeaconChange{Burst: n})
}

// aim makes the beacon silent but for bursts to a case's group.
func (b *Bench) aim(ctx context.Context, c Case) error {
	conn, err := b.peer(ctx)
	if err != nil {
		return err
	}
	return conn.SetBeacon(ctx, client.BeaconChange{
		Interval: new(time.Duration(0)), Groups: new(groupMask(c)), Generic: new(false), Connector: new(false),
		Size: new(c.Size), Packed: new(uint32(1 << (groupPacked - 1))),
	})
}

// A listener takes events that wait for it.
type listener struct {
	// take takes exactly n events, all there are. It fails if one was lost.
	take  func(n int) error
	close func()
}

// An opener joins the group of a case, with a receive buffer of so many bytes, 0
// for what the system gives.
type opener func(ctx context.Context, c Case, room int) (listener, error)

// receiving makes a sampler for cases about events. The listener joins for its
// own turn only, as what one hears the others would have to drop.
func (b *Bench) receiving(ctx context.Context, c Case, open opener) (sampler, func(), error) {
	switch c.Name {
	case Receive:
		return func(n int, m *meter) error {
			return b.listening(ctx, c, open, queueRoom, func(l listener) error {
				return b.queued(ctx, c, l, n, m)
			})
		}, nil, nil
	case Rate:
		largest := 0
		return func(n int, m *meter) error {
			if b.Once {
				largest = burstOf(c)
			}
			if largest == 0 {
				var err error
				if largest, err = b.largest(ctx, c, open); err != nil {
					return err
				}
			}
			m.burst = largest
			return b.listening(ctx, c, open, 0, func(l listener) error {
				return b.sustained(ctx, c, l, n, largest, m)
			})
		}, nil, nil
	}
	return nil, nil, errNotHere
}

// listening calls do with a listener that has taken its first events already.
func (b *Bench) listening(ctx context.Context, c Case, open opener, room int, do func(listener) error) error {
	if err := b.aim(ctx, c); err != nil {
		return err
	}
	l, err := open(ctx, c, room)
	if err != nil {
		return err
	}
	defer l.close()
	if err := b.burst(ctx, c, burstOf(c)); err != nil {
		return err
	}
	if err := l.take(burstOf(c)); err != nil {
		return err
	}
	return do(l)
}

// queued times how events are taken, not how they are sent.
func (b *Bench) queued(ctx context.Context, c Case, l listener, n int, m *meter) error {
	for n > 0 {
		now := 0
		for now < min(n, queueLength) {
			if err := b.burst(ctx, c, burstOf(c)); err != nil {
				return err
			}
			now += burstOf(c)
		}
		m.start()
		if err := l.take(now); err != nil {
			return err
		}
		m.stop(now)
		n -= now
	}
	return nil
}

// sustained times both: bursts of a size, each taken before the next.
func (b *Bench) sustained(ctx context.Context, c Case, l listener, n, burst int, m *meter) error {
	bursts := max(1, n/burst)
	m.start()
	for range bursts {
		if err := b.bursts(ctx, c, burst); err != nil {
			return err
		}
		if err := l.take(burst); err != nil {
			return err
		}
	}
	m.stop(bursts * burst)
	return nil
}

// bursts sends any number of events.
func (b *Bench) bursts(ctx context.Context, c Case, n int) error {
	for n > 0 {
		now := min(n, wire.BurstMax)
		if err := b.burst(ctx, c, now); err != nil {
			return err
		}
		n -= now
	}
	return nil
}

// rateMax is the largest burst that is tried.
const rateMax = 1 << 16

// largest finds the largest burst of which a listener that drains its queue
// between two loses nothing.
func (b *Bench) largest(ctx context.Context, c Case, open opener) (int, error) {
	return search(func(n int) error {
		return b.listening(ctx, c, open, 0, func(l listener) error {
			if err := b.bursts(ctx, c, n); err != nil {
				return err
			}
			return l.take(n)
		})
	})
}

// search finds the largest number, up to rateMax, that works.
func search(try func(n int) error) (int, error) {
	if err := try(1); err != nil {
		return 0, err
	}
	fits := func(n int) bool { return try(n) == nil }
	low, high := 1, 2
	for high <= rateMax && fits(high) {
		low, high = high, high*2
	}
	for high = min(high, rateMax+1); high-low > 1; {
		if mid := (low + high) / 2; fits(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	return low, nil
}

// burstOf is the number of events in a burst that makes datagrams of as many as a
// case says.
func burstOf(c Case) int {
	if c.Batch > 1 {
		return c.Batch
	}
	return 64
}

// openKernel is what the kernel's side of a broadcast costs: events to listeners
// that do not read, but have room.
func openKernel(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	if c.Name != Broadcast {
		return nil, nil, errNotHere
	}
	var all []*socket
	end := func() {
		for _, s := range all {
			s.close()
		}
	}
	buf := make([]byte, 64<<10)
	for len(all) < c.N {
		s, err := openSocket(wire.NetlinkTest, groupMask(c), 0)
		if err != nil {
			end()
			return nil, nil, fmt.Errorf("listener %d: %w", len(all)+1, err)
		}
		s.buf = buf
		all = append(all, s)
	}
	// As many events as fit a receive buffer that nobody enlarged; fewer where
	// the listeners are so many that it would take long to drain them.
	bursts := 8
	if c.N >= 1000 {
		bursts = 2
	}
	const each = 16
	return func(_ int, m *meter) error {
		if err := b.aim(ctx, c); err != nil {
			return err
		}
		m.start()
		for range bursts {
			if err := b.burst(ctx, c, each); err != nil {
				return err
			}
		}
		m.stop(bursts * each)
		m.program = true // what is allocated is for asking, not for sending
		// Read, not closed: a socket's queue is freed some time after it, which
		// the next sample would pay for.
		for i, s := range all {
			if err := s.drain(bursts*each, c); err != nil {
				return fmt.Errorf("listener %d: %w", i+1, err)
			}
		}
		return nil
	}, end, nil
}

// drain takes so many events, as many in a datagram as the case says, and finds
// that there are no more.
func (s *socket) drain(events int, c Case) error {
	got := 0
	for {
		d, err := s.receive()
		if errors.Is(err, unix.EAGAIN) && got == events {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d events of %d: %w", got, events, err)
		}
		inThis := 0
		for len(d) > 0 {
			if _, d, err = wire.NextMessage(d); err != nil {
				return err
			}
			inThis++
		}
		if inThis != c.Batch {
			return fmt.Errorf("a datagram has %d events, want %d", inThis, c.Batch)
		}
		got += inThis
	}
}
