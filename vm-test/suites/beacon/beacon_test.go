// SPDX-License-Identifier: MIT

// Package beacon_test sets the beacon in every way it may and may not be set,
// and watches what it does: its schedule, its numbers, its statistics.
package beacon_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// module loads one for each test, so that counters begin at 0.
func module(t *testing.T, params ...string) *vmtest.Control {
	t.Helper()
	vmtest.Module(t, params...)
	return vmtest.OpenControl(t)
}

func interval(ms uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(ms)}
}
func groups(mask uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(mask)}
}
func genl(on uint32) vmtest.Attr { return vmtest.Attr{Type: vmtest.BeaconGenl, Data: vmtest.U32(on)} }
func size(bytes uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(bytes)}
}
func connector(on uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(on)}
}
func wantBeacon(t *testing.T, c *vmtest.Control, want vmtest.Beacon) {
	t.Helper()
	if got := c.Beacon(t); got != want {
		t.Errorf("settings %+v, want %+v", got, want)
	}
}

func TestDefaults(t *testing.T) {
	for _, tt := range []struct {
		params []string
		want   vmtest.Beacon
	}{
		{nil, vmtest.Beacon{Interval: 1000, Groups: 1, Genl: 1}},
		{[]string{"interval_ms=0"}, vmtest.Beacon{Interval: 0, Groups: 1, Genl: 1}},
		{[]string{"interval_ms=3600000", "groups=0"}, vmtest.Beacon{Interval: 3600000, Groups: 0, Genl: 1}},
		{[]string{"groups=0xffffffff", "interval_ms=1"}, vmtest.Beacon{Interval: 1, Groups: 0xffffffff, Genl: 1}},
		{[]string{"groups=2147483648", "protocol=31"}, vmtest.Beacon{Interval: 1000, Groups: 1 << 31, Genl: 1}},
	} {
		t.Run(fmt.Sprint(tt.params), func(t *testing.T) {
			c := module(t, tt.params...)
			wantBeacon(t, c, tt.want)
			wantBeacon(t, vmtest.NewNet(t).Control(t), tt.want)
		})
	}
}

// The module loaded without parameters ticks at once, in all its settings.
func TestRunsByDefault(t *testing.T) {
	before := vmtest.Now(t)
	module(t)
	raw, generic := vmtest.ListenRaw(t, 1), vmtest.ListenGenl(t)
	r, g := raw.Next(t), generic.Next(t)
	if r.Seq != 1 || g.Seq != 1 || len(r.Data) != 0 || len(g.Data) != 0 {
		t.Errorf("first events %+v, %+v; want number 1 without data", r, g)
	}
	if r.Time < before+1e9 || g.Time < r.Time {
		t.Errorf("first events at %d and %d ns after the module was loaded, want a second after, the raw one first",
			r.Time-before, g.Time-before)
	}
}

// Each setting alone changes itself only, all together change at once.
func TestSet(t *testing.T) {
	c := module(t, "interval_ms=0")
	want := vmtest.Beacon{Groups: 1, Genl: 1}
	for _, tt := range []struct {
		attrs []vmtest.Attr
		apply func(*vmtest.Beacon)
	}{
		{[]vmtest.Attr{interval(3600000)}, func(b *vmtest.Beacon) { b.Interval = 3600000 }},
		{[]vmtest.Attr{groups(0x80000001)}, func(b *vmtest.Beacon) { b.Groups = 0x80000001 }},
		{[]vmtest.Attr{genl(0)}, func(b *vmtest.Beacon) { b.Genl = 0 }},
		{[]vmtest.Attr{size(4096)}, func(b *vmtest.Beacon) { b.Size = 4096 }},
		{[]vmtest.Attr{interval(1)}, func(b *vmtest.Beacon) { b.Interval = 1 }},
		{[]vmtest.Attr{groups(0)}, func(b *vmtest.Beacon) { b.Groups = 0 }},
		{[]vmtest.Attr{genl(1)}, func(b *vmtest.Beacon) { b.Genl = 1 }},
		{[]vmtest.Attr{size(0)}, func(b *vmtest.Beacon) { b.Size = 0 }},
		{[]vmtest.Attr{interval(0), size(1)}, func(b *vmtest.Beacon) { b.Interval, b.Size = 0, 1 }},
		{[]vmtest.Attr{genl(0), groups(0xffffffff)}, func(b *vmtest.Beacon) { b.Genl, b.Groups = 0, 0xffffffff }},
		{vmtest.Beacon{Interval: 50, Groups: 6, Genl: 1, Size: 3}.Attrs(),
			func(b *vmtest.Beacon) { *b = vmtest.Beacon{Interval: 50, Groups: 6, Genl: 1, Size: 3} }},
		{[]vmtest.Attr{connector(1)}, func(b *vmtest.Beacon) { b.Connector = 1 }},
		{[]vmtest.Attr{genl(0)}, func(b *vmtest.Beacon) { b.Genl = 0 }},
		{[]vmtest.Attr{connector(0), genl(1)}, func(b *vmtest.Beacon) { b.Connector, b.Genl = 0, 1 }},
		{vmtest.Beacon{Interval: 7, Size: 1, Connector: 1}.Attrs(),
			func(b *vmtest.Beacon) { *b = vmtest.Beacon{Interval: 7, Size: 1, Connector: 1} }},
		// The last of two of a kind counts, as everywhere in netlink.
		{[]vmtest.Attr{size(9), size(8)}, func(b *vmtest.Beacon) { b.Size = 8 }},
	} {
		c.Set(t, tt.attrs...)
		tt.apply(&want)
		wantBeacon(t, c, want)
	}
}

// What is refused changes nothing, also what came with it and was in order.
func TestRefused(t *testing.T) {
	c := module(t, "interval_ms=0")
	want := vmtest.Beacon{Interval: 3600000, Groups: 5, Genl: 0, Size: 7}
	c.Set(t, want.Attrs()...)
	const first = 20 // the first attribute begins behind the two headers

	const tooBig = "integer out of range"
	for _, tt := range []struct {
		name   string
		attrs  []vmtest.Attr
		errno  unix.Errno
		text   string
		offset int
	}{
		{"nothing", nil, unix.EINVAL, "nlpeer: no setting given", -1},
		{"interval", []vmtest.Attr{interval(3600001)}, unix.ERANGE, tooBig, first},
		{"interval 32768 bits", []vmtest.Attr{interval(1 << 31)}, unix.ERANGE, tooBig, first},
		{"interval all ones", []vmtest.Attr{interval(0xffffffff)}, unix.ERANGE, tooBig, first},
		{"genl", []vmtest.Attr{genl(2)}, unix.ERANGE, tooBig, first},
		{"genl all ones", []vmtest.Attr{genl(0xffffffff)}, unix.ERANGE, tooBig, first},
		{"size", []vmtest.Attr{size(4097)}, unix.ERANGE, tooBig, first},
		{"size all ones", []vmtest.Attr{size(0xffffffff)}, unix.ERANGE, tooBig, first},
		{"connector", []vmtest.Attr{connector(2)}, unix.ERANGE, tooBig, first},
		{"connector all ones", []vmtest.Attr{connector(0xffffffff)}, unix.ERANGE, tooBig, first},
		{"connector behind good", []vmtest.Attr{size(9), connector(2)}, unix.ERANGE, tooBig, first + 8},
		{"bad behind good", []vmtest.Attr{interval(1), groups(2), size(4097)}, unix.ERANGE, tooBig, first + 16},
		{"good behind bad", []vmtest.Attr{genl(2), interval(1), groups(2)}, unix.ERANGE, tooBig, first},
		{"bad before a good one of its kind", []vmtest.Attr{size(4097), size(1)}, unix.ERANGE, tooBig, first},
		{"two bytes", []vmtest.Attr{interval(1), {Type: vmtest.BeaconSize, Data: []byte{1, 0}}}, unix.EINVAL, "invalid attribute length", first + 8},
		{"eight bytes", []vmtest.Attr{{Type: vmtest.BeaconGroups, Data: make([]byte, 8)}}, unix.EINVAL, "invalid attribute length", first},
		{"unknown", []vmtest.Attr{interval(1), {Type: 8, Data: vmtest.U32(1)}}, unix.EINVAL, "Unknown attribute type", first + 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := c.Stats(t)
			reply, ack := c.Request(t, vmtest.CmdBeaconSet, tt.attrs...)
			if reply != nil || ack.Errno != tt.errno || ack.Text != tt.text || ack.Offset != tt.offset {
				t.Errorf("%v, %q, offset %d; want %v, %q, offset %d",
					ack.Errno, ack.Text, ack.Offset, tt.errno, tt.text, tt.offset)
			}
			wantBeacon(t, c, want)
			if ticks := c.Stats(t).Ticks; ticks != before.Ticks {
				t.Errorf("%d ticks, the interval is an hour", ticks-before.Ticks)
			}
		})
	}
}

// A witness in another namespace says that time has passed.
func witness(t *testing.T) *vmtest.Listener {
	t.Helper()
	n := vmtest.NewNet(t)
	l := vmtest.RawListener(n.Open(t, vmtest.NetlinkTest, 0, 1<<31))
	n.Control(t).Set(t, interval(1), groups(1<<31), genl(0))
	return l
}

func TestOff(t *testing.T) {
	c := module(t, "interval_ms=0")
	if s := c.Stats(t); s.Ticks+s.Missed != 0 {
		t.Errorf("a beacon that is off ticked: %+v", s)
	}
	l := vmtest.ListenRaw(t, 1)
	seen := vmtest.Numbers{}
	c.Set(t, interval(1), genl(0))
	for range 10 {
		seen.Follow(t, l.Next(t))
	}

	c.Set(t, interval(0))
	stopped := c.Stats(t)
	w := witness(t)
	for range 50 {
		w.Next(t)
	}
	s := c.Stats(t)
	if s.Ticks != stopped.Ticks || s.Missed != stopped.Missed {
		t.Errorf("%d ticks after it was turned off, and %d missed", s.Ticks-stopped.Ticks, s.Missed-stopped.Missed)
	}
	for _, e := range l.Drain(t) {
		seen.Follow(t, e)
	}
	if seen[1] != s.Raw.Events || seen[1] != s.Ticks-s.Idle {
		t.Errorf("received %d events, %d counted, of %d ticks (%d idle)", seen[1], s.Raw.Events, s.Ticks, s.Idle)
	}

	c.Set(t, interval(5))
	for range 3 {
		seen.Follow(t, l.Next(t))
	}
}

// An hour is an hour: nothing comes for it while another beacon ticks.
func TestLongest(t *testing.T) {
	c := module(t, "interval_ms=0")
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, interval(vmtest.IntervalMax))
	w := witness(t)
	for range 50 {
		w.Next(t)
	}
	if s := c.Stats(t); s.Ticks+s.Missed != 0 {
		t.Errorf("ticked within a moment: %+v", s)
	}
	l.Empty(t)
	c.Set(t, interval(1)) // and the hour need not be waited for
	if e := l.Next(t); e.Seq != 1 {
		t.Errorf("first event has number %d", e.Seq)
	}
}

func TestSizes(t *testing.T) {
	c := module(t, "interval_ms=0")
	raw, generic := vmtest.ListenRaw(t, 1), vmtest.ListenGenl(t)
	c.Set(t, interval(2))
	for _, n := range []uint32{0, 1, 3, 255, 256, 257, 4095, 4096} {
		c.Set(t, size(n))
		for _, l := range []*vmtest.Listener{raw, generic} {
			// The pattern of the data is looked at by Next.
			tries := 0
			for len(l.Next(t).Data) != int(n) {
				if tries++; tries > 2000 {
					t.Fatalf("no event with %d bytes came", n)
				}
			}
			for range 2 {
				if e := l.Next(t); len(e.Data) != int(n) {
					t.Errorf("%d bytes, then %d again", n, len(e.Data))
				}
			}
		}
	}
}
