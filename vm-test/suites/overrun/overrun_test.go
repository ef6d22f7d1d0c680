// SPDX-License-Identifier: MIT

// Package overrun_test has listeners and askers that do not read in time, and
// asserts that they are told, that they can tell what they lost, that they go
// on as if nothing had been, and that nobody else notices.
package overrun_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// carrier is one of the two ways that events go.
type carrier struct {
	name   string
	group  uint32
	beacon vmtest.Beacon // sends by this carrier alone
	listen func(t testing.TB) *vmtest.Listener
	count  func(s vmtest.Stats) vmtest.CarrierStats
}

var carriers = []carrier{
	{
		"raw", 3, vmtest.Beacon{Groups: 1 << 2, Size: 200},
		func(t testing.TB) *vmtest.Listener { return vmtest.ListenRaw(t, 1<<2) },
		func(s vmtest.Stats) vmtest.CarrierStats { return s.Raw },
	},
	{
		"genl", vmtest.GroupBeacon, vmtest.Beacon{Genl: 1, Size: 200},
		func(t testing.TB) *vmtest.Listener { return vmtest.ListenGenl(t) },
		func(s vmtest.Stats) vmtest.CarrierStats { return s.Genl },
	},
}

// run sets the interval and keeps to the carrier.
func (k carrier) run(t *testing.T, c *vmtest.Control, ms uint32) {
	t.Helper()
	b := k.beacon
	b.Interval = ms
	c.Set(t, b.Attrs()...)
}

// stop stops the beacon and returns how many events there were in all, with
// none of them still on its way. Somebody must have listened all the time.
func (k carrier) stop(t *testing.T, c *vmtest.Control) uint64 {
	t.Helper()
	k.run(t, c, 0)
	var s vmtest.Stats
	vmtest.Until(t, "the last event is sent", func() bool {
		s = c.Stats(t)
		return k.count(s).Events == s.Ticks-s.Idle
	})
	if n := s.Raw.EventErrors + s.Genl.EventErrors; n != 0 {
		t.Errorf("%d events lost for lack of memory", n)
	}
	return k.count(s).Events
}

const smallest = 1 // bytes of receive buffer; the kernel takes its least

// A listener that falls behind is told once, finds what had room, and then a
// gap as wide as the number of events that it lost. It need not join again.
// Being the only listener, its loss is all that the kernel hears of sending.
func TestOverrun(t *testing.T) {
	for _, k := range carriers {
		for _, silent := range []int{0, 1} {
			t.Run(fmt.Sprintf("%s, NETLINK_NO_ENOBUFS=%d", k.name, silent), func(t *testing.T) {
				vmtest.Module(t, "interval_ms=0")
				c := vmtest.OpenControl(t)
				l := k.listen(t)
				l.SetBuffer(t, smallest)
				l.Set(t, unix.NETLINK_NO_ENOBUFS, silent)
				var last uint64
				for round := range 3 {
					before := l.Line(t).Drops
					k.run(t, c, 1)
					vmtest.Until(t, "events are dropped", func() bool { return l.Line(t).Drops >= before+20 })
					sent := k.stop(t, c)
					lost := uint64(l.Line(t).Drops - before)

					_, err := l.TryRecv(0)
					if silent == 0 && err != unix.ENOBUFS {
						t.Fatalf("round %d: first told %v, want ENOBUFS", round, err)
					}
					if silent == 1 {
						if err != nil {
							t.Fatalf("round %d: told %v, wanted to be told nothing", round, err)
						}
						last++ // the one that TryRecv took
					}
					for _, e := range l.Drain(t) { // which wants no second error
						last++
						if e.Seq != last || e.Group != k.group {
							t.Errorf("round %d: event %d of group %d, want %d", round, e.Seq, e.Group, last)
						}
					}
					if last+lost != sent {
						t.Errorf("round %d: %d events sent, the last one received is %d, %d dropped", round, sent, last, lost)
					}
					l.Empty(t)

					k.run(t, c, 50)
					first := l.Next(t)
					if gap := first.Seq - last - 1; gap != lost {
						t.Errorf("round %d: a gap of %d events, %d were dropped", round, gap, lost)
					}
					seen := vmtest.Numbers{k.group: first.Seq}
					for range 2 {
						seen.Follow(t, l.Next(t))
					}
					k.stop(t, c)
					for _, e := range l.Drain(t) {
						seen.Follow(t, e)
					}
					last = seen[k.group]
				}
			})
		}
	}
}

// While the beacon goes on, each gap has been announced once, and all gaps
// together are what the kernel says it dropped. One thing is passed over in
// silence: a gap behind another one, if the listener has not emptied its queue
// since it was told of that. The core of netlink tells again only then; and two gaps
// that both began before it was told are told of once. And with two processors one
// gap may be announced twice: an event that is dropped in the very moment in which
// the listener empties its queue belongs to the gap that it has been told of.
func TestEveryGapIsAnnounced(t *testing.T) {
	for _, k := range carriers {
		t.Run(k.name, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			c := vmtest.OpenControl(t)
			l := k.listen(t)
			l.SetBuffer(t, smallest)
			k.run(t, c, 1)

			var last, lost uint64
			var announced uint64 // dropped when it was last told
			told, gaps := 0, 0   // overruns announced whose gap has not come yet, and has
			again := 0           // of those, announced when another's gap had not come
			empty := true        // the queue was, since the last announcement
			take := func(e vmtest.Event) {
				if e.Seq <= last {
					t.Fatalf("event %d after %d", e.Seq, last)
				}
				if gap := e.Seq - last - 1; gap > 0 {
					if told > 0 {
						told--
						again = min(again, told)
						gaps++
					} else if empty && lost >= announced {
						t.Errorf("events %d to %d are missing and nobody said so", last+1, e.Seq-1)
					}
					lost += gap
				}
				last = e.Seq
			}
			tell := func() {
				if told > 0 {
					again++
				}
				told++
				empty, announced = false, uint64(l.Line(t).Drops)
			}
			for end := time.Now().Add(vmtest.Deadline()); gaps < 10; {
				if time.Now().After(end) {
					t.Fatalf("only %d gaps, though %d events were dropped", gaps, l.Line(t).Drops)
				}
				if gaps%2 == 0 { // sometimes asleep, sometimes at work
					before := l.Line(t).Drops
					vmtest.Until(t, "events are dropped", func() bool { return l.Line(t).Drops > before })
				}
				e, err := l.TryNext(t, 0)
				if err == unix.ETIMEDOUT {
					empty = true
					if uint64(l.Line(t).Drops) == lost { // so no gap is to come
						told, again = told-again, 0
					}
					e, err = l.TryNext(t, vmtest.Deadline())
				}
				switch err {
				case nil:
					take(e)
				case unix.ENOBUFS:
					tell()
				default:
					t.Fatal(err)
				}
			}
			sent := k.stop(t, c)
			for {
				e, err := l.TryNext(t, 0)
				if err == unix.ETIMEDOUT {
					break
				}
				if err == nil {
					take(e)
				} else if err == unix.ENOBUFS {
					tell()
				} else {
					t.Fatal(err)
				}
			}
			if more := told - int(min(1, sent-last)); more > again || more < 0 && empty {
				t.Errorf("told of %d overruns whose gap has not come, of %d again; the last event received is %d of %d",
					told, again, last, sent)
			}
			lost += sent - last
			if drops := l.Line(t).Drops; uint64(drops) != lost {
				t.Errorf("%d events missing of %d, the kernel dropped %d", lost, sent, drops)
			}
		})
	}
}

// One who falls behind, and one who wants the sender to hear of it, take
// nothing from those who read.
func TestOthersLoseNothing(t *testing.T) {
	for _, k := range carriers {
		t.Run(k.name, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			c := vmtest.OpenControl(t)
			before, slow, after := k.listen(t), k.listen(t), k.listen(t)
			slow.SetBuffer(t, smallest)
			slow.Set(t, unix.NETLINK_BROADCAST_ERROR, 1)
			k.run(t, c, 1)
			vmtest.Until(t, "events are dropped", func() bool { return slow.Line(t).Drops >= 50 })
			sent := k.stop(t, c)
			for i, l := range []*vmtest.Listener{before, after} {
				seen := vmtest.Numbers{}
				for _, e := range l.Drain(t) {
					seen.Follow(t, e)
				}
				if seen[k.group] != sent {
					t.Errorf("listener %d received %d events of %d", i, seen[k.group], sent)
				}
				if drops := l.Line(t).Drops; drops != 0 {
					t.Errorf("listener %d: %d drops", i, drops)
				}
			}
			if _, err := slow.TryRecv(0); err != unix.ENOBUFS {
				t.Errorf("the slow one is told %v, want ENOBUFS", err)
			}
		})
	}
}

// One who asks and never reads is told, bounded and counted; others are served.
func TestAskerThatNeverReads(t *testing.T) {
	const asked, size = 300, 1000
	for _, tt := range []struct {
		name     string
		protocol int
		request  func(c *vmtest.Control, seq uint32) vmtest.Message
		count    func(s vmtest.Stats) vmtest.CarrierStats
	}{
		{
			"raw", vmtest.NetlinkTest,
			func(_ *vmtest.Control, seq uint32) vmtest.Message { return vmtest.NewEcho(seq, make([]byte, size)) },
			func(s vmtest.Stats) vmtest.CarrierStats { return s.Raw },
		},
		{
			"genl", unix.NETLINK_GENERIC,
			func(c *vmtest.Control, seq uint32) vmtest.Message {
				return vmtest.NewGenl(c.Family, vmtest.CmdEcho, seq, vmtest.Attr{Type: 1, Data: make([]byte, size)})
			},
			func(s vmtest.Stats) vmtest.CarrierStats { return s.Genl },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			c := vmtest.OpenControl(t)
			deaf, other := vmtest.Open(t, tt.protocol, 0, 0), vmtest.Open(t, tt.protocol, 0, 0)
			deaf.SetBuffer(t, smallest)
			served := uint64(0)
			for seq := range uint32(asked) {
				deaf.Send(t, tt.request(c, seq).Bytes()) // that the answer is lost is no error of the request
				if seq%20 == 0 {
					other.Send(t, tt.request(c, seq).Bytes())
					if m := other.RecvOne(t); m.Seq != seq || m.Type == unix.NLMSG_ERROR {
						t.Fatalf("another asker: %+v", m)
					}
					served++
				}
			}
			other.Empty(t)

			line := deaf.Line(t)
			bound, err := unix.GetsockoptInt(deaf.FD, unix.SOL_SOCKET, unix.SO_RCVBUF)
			if err != nil {
				t.Fatal(err)
			}
			if line.Rmem > bound+4096 { // the last one may stick out
				t.Errorf("%d bytes of memory wait, the bound is %d", line.Rmem, bound)
			}

			if _, err := deaf.TryRecv(0); err != unix.ENOBUFS {
				t.Errorf("told %v, want ENOBUFS", err)
			}
			replies := uint64(0)
			for {
				b, err := deaf.TryRecv(0)
				if err == unix.ETIMEDOUT {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				m := vmtest.Parse(t, b)[0]
				if m.Type == unix.NLMSG_ERROR || uint64(m.Seq) != replies {
					t.Errorf("answer %d: %+v", replies, m)
				}
				replies++
			}
			if replies == 0 || replies > 10 {
				t.Errorf("%d answers had room", replies)
			}
			s := tt.count(c.Stats(t))
			if s.Errors != asked-replies || s.Replies < replies+served {
				t.Errorf("%d errors, %d replies counted; of %d answers %d were received", s.Errors, s.Replies, asked, replies)
			}
			if uint64(line.Drops) < s.Errors {
				t.Errorf("%d drops, %d answers were lost", line.Drops, s.Errors)
			}

			// It reads at last, and all is well.
			deaf.Send(t, tt.request(c, 999).Bytes())
			if m := deaf.RecvOne(t); m.Seq != 999 || m.Type == unix.NLMSG_ERROR {
				t.Errorf("afterwards: %+v", m)
			}
		})
	}
}
