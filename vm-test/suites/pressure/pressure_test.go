// SPDX-License-Identifier: MIT

// Package pressure_test lets the machine run out of memory while the peer is used
// in every way: a request is answered well, or there was no memory for it and
// somebody says so; nothing hangs, and afterwards all is as before.
package pressure_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// hoard is what waits in the kernel to be read by those who do not: atomic dumps,
// answers and events.
func hoard(t *testing.T, family uint16) (all []*vmtest.Socket) {
	t.Helper()
	open := func(protocol int, groups uint32) *vmtest.Socket {
		s := vmtest.Open(t, protocol, 0, groups)
		s.SetBuffer(t, 512<<10)
		all = append(all, s)
		return s
	}
	for i := range 4 {
		c := vmtest.Carriers[i%3]
		open(c.Protocol, 0).Send(t, c.Encode(family, 1, vmtest.GetObjects(vmtest.FlagAtomic)).Bytes())
	}
	for range 2 {
		s := open(vmtest.NetlinkTest, 0)
		for range 20 {
			s.Send(t, vmtest.NewEcho(1, make([]byte, vmtest.PayloadMax)).Bytes())
		}
		open(vmtest.NetlinkTest, 1)
	}
	return all
}

// deaf asks for echoes and reads none, until there is no memory for one. Each takes
// 64 KiB at once, for which the kernel kills nobody: it refuses them. It may kill
// for what they take besides; then there is memory again, and none is refused.
func deaf(t *testing.T, h *running) (s *vmtest.Socket, refused bool) {
	t.Helper()
	s = vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	s.SetBuffer(t, 256<<20)
	for range 2 * little / (64 << 10) {
		if h.gone() {
			return s, false
		}
		s.Send(t, vmtest.NewEcho(1, make([]byte, vmtest.PayloadMax)).Bytes())
		// There is none for an error that quotes the request, either.
		errno, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			t.Fatal(err)
		}
		if unix.Errno(errno) == unix.ENOBUFS {
			return s, true
		}
		if errno != 0 {
			t.Fatal(unix.Errno(errno))
		}
	}
	if !h.gone() {
		t.Error("there was memory for all that one asked for")
	}
	return s, false
}

// vmstat is a figure of the kernel's, summed over all whose names begin so.
func vmstat(t *testing.T, prefix string) (n int64) {
	t.Helper()
	all, err := figures("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range all {
		if strings.HasPrefix(name, prefix) {
			n += v
		}
	}
	return n
}

func TestOutOfMemory(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=1", "objects=200", "object_bytes=1000000", "history=100", "history_bytes=100000")
	slabs, before := vmtest.Slabs(t), vmtest.KernelMemory(t)
	l := newLoad(t)
	c := vmtest.OpenControl(t)
	l.fill(t)
	set := func(typ uint16, v uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(v)} }
	c.Set(t, set(vmtest.BeaconSize, 2000), set(vmtest.BeaconInterval, 1))
	hear := &listener{Listener: vmtest.ListenRaw(t, 1)}

	hogs, full := max(2, vmtest.Times(3)), 0
	killed, stalls := vmstat(t, "oom_kill"), vmstat(t, "allocstall")
	turns, least := 0, int64(1)<<40
	for i := 0; i < hogs || full == 0 && i < 20; i++ {
		kept := hoard(t, l.family)
		h := feed(t)
		vmtest.Until(t, "memory is full", func() bool { hear.drain(t); return h.poll() != 0 })
		if i%2 == 0 {
			s, refused := deaf(t, h)
			kept = append(kept, s)
			if refused {
				full++
			}
		}
		for !h.gone() {
			left, err := free()
			if err != nil {
				t.Fatal(err)
			}
			least = min(least, left)
			l.all(t, turns)
			hear.drain(t)
			turns++
			h.more()
		}
		h.killed(t)
		for _, s := range kept {
			s.Close()
		}
	}
	killed, stalls = vmstat(t, "oom_kill")-killed, vmstat(t, "allocstall")-stalls
	t.Logf("%d hogs killed, %d stalls; %d turns, %d KiB free at the least", killed, stalls, turns, least>>10)
	t.Logf("right %v, refused %v; events %d, with %d gaps, of which the listener was told %d times", l.right, l.refused, hear.events, hear.gaps, hear.losses)
	vmtest.Count(t, "processes killed for lack of memory", int(killed))
	vmtest.Count(t, "requests that there was no memory for", sum(l.refused))
	if killed < int64(hogs) || stalls == 0 || least > little {
		t.Errorf("%d processes killed, %d stalls, %d bytes free: that was no pressure", killed, stalls, least)
	}
	if turns == 0 || hear.events == 0 {
		t.Errorf("%d turns, %d events: that shows nothing", turns, hear.events)
	}
	st := c.Stats(t)
	// The errors by their numbers: see vmtest.ErrorStats.
	const noMemory, noBuffers = 5, 13
	if full == 0 || st.Raw.By[noMemory] < uint64(full) {
		t.Errorf("%d times there was no memory for an echo, and %d were refused", full, st.Raw.By[noMemory])
	}
	if n := st.Connector.By[noMemory] + st.Connector.By[noBuffers]; uint64(l.refused["silent"]) > n {
		t.Errorf("the connector was silent %d times, and counted %d", l.refused["silent"], n)
	}

	// Nothing of it is left.
	clear(l.right)
	clear(l.refused)
	for turn := range 3 {
		l.all(t, turn)
	}
	if len(l.refused) != 0 {
		t.Errorf("there is memory again, and yet: refused %v", l.refused)
	}
	from := hear.events
	vmtest.Until(t, "the beacon ticks", func() bool { hear.drain(t); return hear.events >= from+10 })
	c.Set(t, set(vmtest.BeaconInterval, 0))
	for _, s := range l.sockets {
		s.Close()
	}
	hear.Close()
	c.Close()
	vmtest.Unload(t)
	vmtest.Level(t, slabs, 1000)
	if vmtest.Has(vmtest.PlainMemory) { // else what is freed is kept for a while
		vmtest.Until(t, "memory is given back", func() bool { return vmtest.KernelMemory(t) < before+4<<20 })
	}
}

func sum(all map[string]int) (n int) {
	for _, v := range all {
		n += v
	}
	return n
}
