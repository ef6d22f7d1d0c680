// SPDX-License-Identifier: MIT

// Package groups_test listens to the beacon in each of the 32 raw groups and
// in the generic netlink group, joined in every way there is, and asserts that
// a listener gets what it asked for and nothing else.
package groups_test

import (
	"fmt"
	"math/bits"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	all  = 0xffffffff
	size = 300 // of an event's data, more than the pattern is long
)

// module loads one for each test, so that event numbers begin at 1. Its beacon
// stands still until everybody listens.
func module(t *testing.T) *vmtest.Control {
	t.Helper()
	vmtest.Module(t, "interval_ms=0", fmt.Sprintf("groups=%d", uint32(all)))
	c := vmtest.OpenControl(t)
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(size)})
	return c
}

func start(t *testing.T, c *vmtest.Control) {
	t.Helper()
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(20)})
}

// stop returns when no event will come any more. Somebody has listened to all
// raw groups, and nobody to the generic one, since the first tick.
func stop(t *testing.T, c *vmtest.Control) {
	t.Helper()
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(0)})
	vmtest.Until(t, "the events of the last tick are sent", func() bool {
		s := c.Stats(t)
		return s.Raw.Events == (s.Ticks-s.Idle)*vmtest.RawGroups
	})
}

// follow receives n ticks: each brings one event to every group of the mask, in
// the order of their numbers.
func follow(t *testing.T, l *vmtest.Listener, seen vmtest.Numbers, groups uint32, n int) {
	t.Helper()
	for range n {
		for mask := groups; mask != 0; mask &= mask - 1 {
			e := l.Next(t)
			if want := uint32(bits.TrailingZeros32(mask) + 1); e.Group != want {
				t.Fatalf("listener to %#x: an event of group %d, want group %d", groups, e.Group, want)
			}
			if len(e.Data) != size {
				t.Errorf("event with %d bytes of data, want %d", len(e.Data), size)
			}
			seen.Follow(t, e)
		}
	}
}

func TestEachGroupAtBind(t *testing.T) {
	c := module(t)
	var listeners [vmtest.RawGroups]*vmtest.Listener
	for i := range listeners {
		listeners[i] = vmtest.ListenRaw(t, 1<<i)
	}
	start(t, c)
	for i, l := range listeners {
		follow(t, l, vmtest.Numbers{}, 1<<i, 3)
	}
}

func TestEachGroupByMembership(t *testing.T) {
	c := module(t)
	var listeners [vmtest.RawGroups]*vmtest.Listener
	for i := range listeners {
		listeners[i] = vmtest.ListenRaw(t, 0)
		listeners[i].Set(t, unix.NETLINK_ADD_MEMBERSHIP, i+1)
	}
	start(t, c)
	for i, l := range listeners {
		follow(t, l, vmtest.Numbers{}, 1<<i, 3)
	}
}

func TestMasks(t *testing.T) {
	c := module(t)
	masks := []uint32{all, 1, 1 << 31, 1<<31 | 1, 0x55555555}
	for r := vmtest.Rand(t); len(masks) < 12; {
		if m := r.Uint32(); m != 0 {
			masks = append(masks, m)
		}
	}
	var listeners []*vmtest.Listener
	for _, m := range masks {
		listeners = append(listeners, vmtest.ListenRaw(t, m))
	}
	start(t, c)
	for i, l := range listeners {
		follow(t, l, vmtest.Numbers{}, masks[i], 3)
	}
}

// Only groups that the beacon is set to get events.
func TestBeaconMask(t *testing.T) {
	c := module(t)
	mask := vmtest.Rand(t).Uint32() | 1<<12 // never empty
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(mask)})
	l := vmtest.ListenRaw(t, all)
	start(t, c)
	follow(t, l, vmtest.Numbers{}, mask, 3)
}

// A listener that changes its mind sees each group from the moment it joined
// to the moment it left, while a witness sees them all.
func TestJoinAndLeave(t *testing.T) {
	c := module(t)
	witness := vmtest.ListenRaw(t, all)
	l := vmtest.ListenRaw(t, 1<<4) // group 5
	seen := vmtest.Numbers{}
	start(t, c)
	follow(t, l, seen, 1<<4, 2)

	l.Set(t, unix.NETLINK_ADD_MEMBERSHIP, 32)
	for joined := 0; joined < 3; { // a tick may have been half sent
		switch e := l.Next(t); {
		case e.Group == 5:
			seen.Follow(t, e)
		case e.Group == 32:
			joined++
			if seen[32] != 0 {
				seen.Follow(t, e)
			}
			seen[32] = e.Seq
		default:
			t.Fatalf("an event of group %d, joined 5 and 32", e.Group)
		}
	}

	l.Set(t, unix.NETLINK_DROP_MEMBERSHIP, 5)
	for _, e := range l.Drain(t) { // sent before
		seen.Follow(t, e)
	}
	follow(t, l, seen, 1<<31, 3)

	l.Set(t, unix.NETLINK_DROP_MEMBERSHIP, 32)
	for _, e := range l.Drain(t) {
		if e.Group != 32 {
			t.Errorf("an event of group %d after leaving it", e.Group)
		}
	}
	stop(t, c)
	l.Empty(t)

	numbers := vmtest.Numbers{}
	events := witness.Drain(t)
	for _, e := range events {
		numbers.Follow(t, e)
	}
	if len(events) == 0 || len(events)%vmtest.RawGroups != 0 {
		t.Errorf("the witness saw %d events, want a multiple of %d", len(events), vmtest.RawGroups)
	}
	l.Empty(t)
}

// A group costs nothing while nobody listens to it, and its numbers wait.
func TestNumbersArePerGroup(t *testing.T) {
	c := module(t)
	first := vmtest.ListenRaw(t, 1<<0)
	seen := vmtest.Numbers{}
	start(t, c)
	follow(t, first, seen, 1<<0, 5)

	second := vmtest.ListenRaw(t, 1<<1)
	if e := second.Next(t); e.Group != 2 || e.Seq != 1 {
		t.Errorf("the first event in group 2 ever has group %d, number %d", e.Group, e.Seq)
	}
	follow(t, first, seen, 1<<0, 2)
}

func TestGenericGroup(t *testing.T) {
	c := module(t)
	l, raw := vmtest.ListenGenl(t), vmtest.ListenRaw(t, 1<<6)
	before := vmtest.Now(t)
	start(t, c)
	seen, rawSeen := vmtest.Numbers{}, vmtest.Numbers{}
	last := before
	for range 5 {
		e := l.Next(t)
		if e.Group != vmtest.GroupBeacon {
			t.Errorf("group %d, want %d", e.Group, vmtest.GroupBeacon)
		}
		seen.Follow(t, e)
		now := vmtest.Now(t)
		if e.Time <= last || e.Time >= now {
			t.Errorf("event of %d, received between %d and %d", e.Time, last, now)
		}
		last = e.Time
	}
	// The same tick, seen on either protocol.
	follow(t, raw, rawSeen, 1<<6, 5)

	c.Set(t, vmtest.Attr{Type: vmtest.BeaconGenl, Data: vmtest.U32(0)})
	drained := l.Drain(t)
	for _, e := range drained {
		seen.Follow(t, e)
	}
	// A tick that had begun may still have brought one.
	for _, e := range raw.Drain(t) {
		rawSeen.Follow(t, e)
	}
	follow(t, raw, rawSeen, 1<<6, 3)
	if e := l.Drain(t); len(e) > 1 {
		t.Errorf("%d events in the generic group after it was turned off", len(e))
	}
	follow(t, raw, rawSeen, 1<<6, 3)
	l.Empty(t)
}

func TestGenericGroupLeave(t *testing.T) {
	c := module(t)
	l, witness := vmtest.ListenGenl(t), vmtest.ListenGenl(t)
	start(t, c)
	seen, witnessed := vmtest.Numbers{}, vmtest.Numbers{}
	for range 3 {
		seen.Follow(t, l.Next(t))
	}
	l.Set(t, unix.NETLINK_DROP_MEMBERSHIP, int(vmtest.Nlpeer(t).Groups["beacon"]))
	for _, e := range l.Drain(t) {
		seen.Follow(t, e)
	}
	for witnessed[vmtest.GroupBeacon] < seen[vmtest.GroupBeacon]+3 {
		witnessed.Follow(t, witness.Next(t))
	}
	l.Empty(t)
}

func TestNoSuchGroup(t *testing.T) {
	module(t)
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	for _, option := range []int{unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP} {
		for _, group := range []int{0, 33, 64, 65536, -1} {
			if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, option, group); err != unix.EINVAL {
				t.Errorf("option %d, group %d: %v, want EINVAL", option, group, err)
			}
		}
	}
	generic := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	for _, group := range []int{0, 100000, -1} {
		if err := unix.SetsockoptInt(generic.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != unix.EINVAL {
			t.Errorf("generic group %d: %v, want EINVAL", group, err)
		}
	}
	if n := s.Line(t).Groups; n != 0 {
		t.Errorf("bound to no group and refused by others, it is in %#x", n)
	}
	if f := vmtest.Nlpeer(t); len(f.Groups) != 2 || f.Groups["beacon"] == 0 || f.Groups["objects"] != f.Groups["beacon"]+1 {
		t.Errorf("multicast groups of the family: %v, want beacon and, behind it, objects", f.Groups)
	}
}

// Whoever it is may join any group, by either way, and is told so by getmembership.
var joinAll = vmtest.Register("join all groups", func() (string, error) {
	mask, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, all)
	if err != nil {
		return "", fmt.Errorf("at bind: %w", err)
	}
	defer mask.Close()
	single, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0)
	if err != nil {
		return "", err
	}
	defer single.Close()
	for g := 1; g <= vmtest.RawGroups; g++ {
		if err := unix.SetsockoptInt(single.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			return "", fmt.Errorf("group %d: %w", g, err)
		}
	}
	out := fmt.Sprintf("uid %d", unix.Getuid())
	for _, s := range []*vmtest.Socket{mask, single} {
		groups, err := unix.GetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS)
		if err != nil {
			return "", err
		}
		out += fmt.Sprintf(" %#x", uint32(groups))
	}
	return out, nil
})

func TestNobodyMayJoin(t *testing.T) {
	module(t)
	out, err := vmtest.Run(t, joinAll, vmtest.Who{UID: vmtest.Nobody})
	if want := "uid 65534 0xffffffff 0xffffffff"; err != nil || out != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}
