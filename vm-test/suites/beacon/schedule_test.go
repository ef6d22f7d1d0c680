// SPDX-License-Identifier: MIT

package beacon_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// sample is how many points of its grid the beacon passed, and between which
// times that was so.
type sample struct {
	grid     uint64
	from, to uint64
}

// look takes a sample. What passes while a tick waits to be handled is counted when it
// has been, so a sample may be behind the clock, and never before it: of some, each
// taken when an event has just come, it is the one that is least behind.
func look(t *testing.T, c *vmtest.Control, ms uint64, next func()) sample {
	t.Helper()
	var best sample
	var ahead int64
	for i := range 20 {
		next()
		from := vmtest.Now(t)
		s := c.Stats(t)
		now := sample{s.Ticks + s.Missed, from, vmtest.Now(t)}
		if a := int64(now.grid*ms*1e6) - int64(from); i == 0 || a > ahead {
			best, ahead = now, a
		}
	}
	return best
}

// onGrid fails the test if the beacon passed more points, or fewer, than
// intervals passed between two samples, however long taking them took.
func onGrid(t *testing.T, a, b sample, ms uint64) {
	t.Helper()
	n, least, most := b.grid-a.grid, (b.from-a.to)/(ms*1e6), (b.to-a.from)/(ms*1e6)
	if n+2 < least || n > most+2 {
		t.Errorf("%d ticks and missed ones in the time of %d to %d intervals of %d ms", n, least, most, ms)
	}
}

// The beacon is where its intervals put it: what a tick costs does not add up.
func TestNoDrift(t *testing.T) {
	const ms, n = 2, 500
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, interval(ms), genl(0), size(vmtest.DataMax))
	next := func() { l.Next(t) }
	a := look(t, c, ms, next)
	for range n {
		next()
	}
	onGrid(t, a, look(t, c, ms, next), ms)
}

// Settings other than the interval leave the schedule alone, however often
// they change; so does the interval that it has already.
func TestScheduleGoesOn(t *testing.T) {
	const n = 20
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, genl(0))
	// Time for some settings in each interval, however slow the machine is.
	begin := vmtest.Now(t)
	for range n {
		c.Set(t, size(1))
	}
	ms := max(20, uint32(6*(vmtest.Now(t)-begin)/n/1e6))
	c.Set(t, interval(ms))
	next := func() { l.Next(t) }
	a := look(t, c, uint64(ms), next)
	sets, events := 0, 0
	vmtest.Until(t, "enough ticks came while settings changed", func() bool {
		for range 5 {
			c.Set(t, size(uint32(sets%100)), interval(ms))
			sets++
		}
		events += len(l.Drain(t))
		return events >= n
	})
	onGrid(t, a, look(t, c, uint64(ms), next), uint64(ms))
	if sets < 3*n {
		t.Errorf("settings changed only %d times in the time of %d ticks, that shows nothing", sets, events)
	}
}

// A new interval begins its schedule when it is set: the old one's next tick
// does not come.
func TestNewSchedule(t *testing.T) {
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1) // from the first tick, so event n is of tick n
	for _, ms := range []uint32{100, 30, 150, 1} {
		before := vmtest.Now(t)
		c.Set(t, interval(ms))
		ticks := c.Stats(t).Ticks
		e := l.Next(t)
		for e.Seq <= ticks {
			e = l.Next(t)
		}
		if e.Time < before+uint64(ms)*1e6 {
			t.Errorf("interval %d ms: an event %d ns after it was set", ms, e.Time-before)
		}
	}
}

// The clock on the wall jumps by years, forth and back. The beacon does not look
// at it: its schedule and the times in its events go on.
func TestTimeJumps(t *testing.T) {
	const ms = 10
	n := vmtest.Scale(30, 1000)
	r := vmtest.Rand(t)
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, interval(ms), genl(0))
	begin, base := vmtest.Now(t), time.Now()
	jump := func(d time.Duration) {
		t.Helper()
		now := unix.NsecToTimespec(base.UnixNano() + int64(vmtest.Now(t)-begin) + d.Nanoseconds())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { jump(0) })
	seen, last := vmtest.Numbers{}, uint64(0)
	forth, back := 0, 0
	next := func() { seen.Follow(t, l.Next(t)) }
	a := look(t, c, ms, next)
	for range n {
		years := time.Duration(r.Int64N(int64(8*365*24*time.Hour))) - 4*365*24*time.Hour
		jump(years)
		if years > 0 {
			forth++
		} else {
			back++
		}
		for _, e := range append(l.Drain(t), l.Next(t)) {
			seen.Follow(t, e)
			if e.Time <= last || e.Time > vmtest.Now(t) {
				t.Fatalf("event %d of time %d after one of %d", e.Seq, e.Time, last)
			}
			last = e.Time
		}
	}
	b := look(t, c, ms, next)
	onGrid(t, a, b, ms)
	vmtest.Count(t, "jumps of the clock", forth+back)
	t.Logf("%d jumps forth, %d back: %d events, %d ticks and missed ones", forth, back, seen[1], b.grid-a.grid)
}

// unbunched fails the test if more events stand in a span of time than ticks
// can: a tick may be handled as late as the next is due, so four events take
// more than one interval, five more than two, and so on.
func unbunched(t *testing.T, events []vmtest.Event, ms uint64) {
	t.Helper()
	for i := range events {
		for k := 3; k <= 10 && i+k < len(events); k++ {
			if span := events[i+k].Time - events[i].Time; span < uint64(k-2)*ms*1e6 {
				t.Fatalf("events %d to %d came within %d ns, the interval is %d ms",
					events[i].Seq, events[i+k].Seq, span, ms)
			}
		}
	}
}

// oneProcessor takes all but the first off line for the time of the test.
func oneProcessor(t *testing.T) {
	t.Helper()
	others, err := filepath.Glob("/sys/devices/system/cpu/cpu[1-9]*/online")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range others {
		t.Cleanup(func() {
			if err := os.WriteFile(file, []byte("1"), 0); err != nil {
				t.Error(err)
			}
		})
		if err := os.WriteFile(file, []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(online)); got != "0" {
		t.Fatalf("processors %s are on line, want 0 alone", got)
	}
}

// stall takes the only processor for a while, so that nothing but interrupts
// runs. The kernel takes it back after 950 ms by default.
func stall(t *testing.T, ms uint64) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with its priority
		err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
		for end := vmtest.Now(t) + ms*1e6; err == nil && vmtest.Now(t) < end; {
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A machine that is behind skips ticks and says how many. It numbers none of
// them and sends none of them later.
func TestMissed(t *testing.T) {
	oneProcessor(t) // another would send the events
	const ms = 10
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, interval(ms), genl(0))
	seen := vmtest.Numbers{}
	var events []vmtest.Event
	receive := func(n int) {
		for range n {
			e := l.Next(t)
			seen.Follow(t, e)
			events = append(events, e)
		}
	}
	receive(5)
	next := func() { receive(1) }
	start := look(t, c, ms, next)
	for range 3 {
		before := c.Stats(t).Missed
		stall(t, 300)
		// What was missed is counted behind the first event that comes then.
		for end := vmtest.Now(t); events[len(events)-1].Time < end; {
			receive(1)
		}
		receive(4)
		if missed := c.Stats(t).Missed - before; missed < 15 {
			t.Errorf("missed %d ticks of %d ms within 300 ms", missed, ms)
		}
	}
	onGrid(t, start, look(t, c, ms, next), ms)

	c.Set(t, interval(0))
	var s vmtest.Stats
	vmtest.Until(t, "the last tick is sent", func() bool {
		s = c.Stats(t)
		return s.Raw.Events == s.Ticks && s.Idle == 0
	})
	for _, e := range l.Drain(t) {
		seen.Follow(t, e)
		events = append(events, e)
	}
	if uint64(len(events)) != s.Ticks {
		t.Errorf("received %d events of %d ticks (%d missed)", len(events), s.Ticks, s.Missed)
	}
	unbunched(t, events, ms)
}

// More to send than there is time for: never two ticks at once, no number lost.
func TestOverload(t *testing.T) {
	c := module(t, "interval_ms=0", "groups=0xffffffff")
	l := vmtest.ListenRaw(t, 0xffffffff)
	c.Set(t, interval(1), genl(0), size(vmtest.DataMax))
	seen := vmtest.Numbers{}
	var first []vmtest.Event
	for range 50 {
		for g := range uint32(vmtest.RawGroups) {
			e := l.Next(t)
			if e.Group != g+1 {
				t.Fatalf("an event of group %d, want %d: two ticks at once", e.Group, g+1)
			}
			seen.Follow(t, e)
			if g == 0 {
				first = append(first, e)
			}
		}
	}
	unbunched(t, first, 1)
}

// Without a listener a tick costs no event, no number and no memory for one.
func TestIdle(t *testing.T) {
	c := module(t, "interval_ms=0", "groups=0xffffffff")
	c.Set(t, interval(1), size(vmtest.DataMax))
	vmtest.Until(t, "a hundred ticks were idle", func() bool { return c.Stats(t).Idle >= 100 })
	c.Set(t, interval(0))
	s := c.Stats(t)
	if s.Idle != s.Ticks || s.Raw.Events != 0 || s.Genl.Events != 0 || s.Raw.EventErrors != 0 || s.Genl.EventErrors != 0 {
		t.Errorf("without a listener: %+v", s)
	}

	raw, generic := vmtest.ListenRaw(t, 1<<6), vmtest.ListenGenl(t)
	c.Set(t, interval(2))
	for _, l := range []*vmtest.Listener{raw, generic} {
		if e := l.Next(t); e.Seq != 1 {
			t.Errorf("group %d: the first event that anybody heard has number %d", e.Group, e.Seq)
		}
	}

	// And again, when all have gone.
	raw.Close()
	generic.Close()
	vmtest.Until(t, "ticks are idle again", func() bool { return c.Stats(t).Idle > s.Idle+20 })
	gone := c.Stats(t)
	vmtest.Until(t, "more ticks were idle", func() bool { return c.Stats(t).Idle > gone.Idle+20 })
	if s := c.Stats(t); s.Raw.Events != gone.Raw.Events || s.Genl.Events != gone.Genl.Events {
		t.Errorf("events without a listener: %+v after %+v", s, gone)
	}
}

// A listener to a group that the beacon does not send to is none.
func TestIdleForOthers(t *testing.T) {
	c := module(t, "interval_ms=0", "groups=6")
	l := vmtest.ListenRaw(t, 0xffffffff&^6)
	vmtest.ListenGenl(t)
	c.Set(t, interval(1), genl(0))
	vmtest.Until(t, "fifty ticks were idle", func() bool { return c.Stats(t).Idle >= 50 })
	c.Set(t, interval(0))
	if s := c.Stats(t); s.Idle != s.Ticks || s.Raw.Events+s.Genl.Events != 0 {
		t.Errorf("%+v", s)
	}
	l.Empty(t)
}
