// SPDX-License-Identifier: MIT

package packing_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const burstMax = 4096

func set(attr uint16, v uint32) vmtest.Attr { return vmtest.Attr{Type: attr, Data: vmtest.U32(v)} }

// eventLen is the length of an event's message with some bytes of data.
func eventLen(data int) int { return headerLen + 8 + 12 + 12 + 8 + 4 + aligned(data) }

// Every event once, in order, alone in group 1 and on generic netlink, packed
// in group 3.
func TestBurst(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	for _, tt := range []struct{ n, size uint32 }{
		{1, 0}, {2, 64}, {16, 64}, {17, 1}, {100, 3}, {500, 0}, {4, 4096}, {burstMax, 64},
	} {
		alone, packed, genl := vmtest.ListenRaw(t, 1), vmtest.ListenRaw(t, 4), vmtest.ListenGenl(t)
		before := c.Stats(t)
		// The settings of the same request count.
		c.Set(t, set(vmtest.BeaconGroups, 1|4), set(vmtest.BeaconGenl, 1), set(vmtest.BeaconSize, tt.size),
			set(vmtest.BeaconPacked, 4|8), set(vmtest.BeaconBurst, tt.n))

		// All were sent before the request was answered.
		check := func(name string, events []vmtest.Event) {
			t.Helper()
			if len(events) != int(tt.n) {
				t.Fatalf("%s: %d events, want %d", name, len(events), tt.n)
			}
			for i, e := range events {
				if e.Seq != events[0].Seq+uint64(i) || len(e.Data) != int(tt.size) || e.Kind != vmtest.KindBeacon {
					t.Fatalf("%s: event %d is %+v, the first was number %d", name, i, e, events[0].Seq)
				}
			}
		}
		check("alone", alone.Drain(t))
		check("genl", genl.Drain(t))
		var events []vmtest.Event
		datagrams := 0
		for len(events) < int(tt.n) {
			more, size := packed.NextPacked(t)
			if size != len(more)*eventLen(int(tt.size)) || size > packMin && len(more) > 1 {
				t.Fatalf("%d events in %d bytes", len(more), size)
			}
			datagrams++
			events = append(events, more...)
		}
		check("packed", events)
		packed.Empty(t)
		// As few as possible, but for what the kernel itself needs of a buffer
		// of 8192 bytes: less than 512.
		fit := max(1, (packMin-512)/eventLen(int(tt.size)))
		if most := (int(tt.n) + fit - 1) / fit; datagrams > most {
			t.Errorf("%d events of %d bytes came in %d datagrams, want %d at most", tt.n, tt.size, datagrams, most)
		}

		after := c.Stats(t)
		if raw, g := after.Raw.Events-before.Raw.Events, after.Genl.Events-before.Genl.Events; raw != 2*uint64(tt.n) || g != uint64(tt.n) {
			t.Errorf("%d raw and %d generic events were counted, want %d and %d", raw, g, 2*tt.n, tt.n)
		}
		if after.Ticks != before.Ticks || after.Missed != before.Missed {
			t.Error("a burst was counted as a tick")
		}
		for _, l := range []*vmtest.Listener{alone, packed, genl} {
			l.Close()
		}
	}
}

// What was packed is remembered one by one.
func TestBurstInHistory(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=300")
	l := vmtest.ListenRaw(t, 2)
	c := vmtest.OpenControl(t)
	c.Set(t, set(vmtest.BeaconGroups, 2), set(vmtest.BeaconPacked, 2), set(vmtest.BeaconSize, 5), set(vmtest.BeaconBurst, 400))
	held := c.Stats(t).HistoryHeld
	if held != 300 {
		t.Errorf("the history holds %d events, want 300", held)
	}
	var live []vmtest.Event
	for len(live) < 400 {
		more, _ := l.NextPacked(t)
		live = append(live, more...)
	}
	old := since(t, 2, 0)
	if len(old) != 300 {
		t.Fatalf("%d events were remembered, want 300", len(old))
	}
	for i, e := range old {
		want := live[100+i]
		if e.Seq != want.Seq || e.Time != want.Time || len(e.Data) != 5 {
			t.Fatalf("event %d was remembered as %+v, came as %+v", i, e, want)
		}
	}
}

// since asks the history for the events of a group.
func since(t *testing.T, group uint32, seq uint64) []vmtest.Event {
	t.Helper()
	f := vmtest.Nlpeer(t)
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	req := vmtest.NewGenl(f.ID, 6, 1, set(1, group))
	req.Flags |= unix.NLM_F_DUMP
	s.Send(t, req.Bytes())
	var all []vmtest.Event
	for {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Type == unix.NLMSG_DONE {
				return all
			}
			all = append(all, vmtest.ParseEvent(t, vmtest.Attrs(t, m.Body[4:])))
		}
	}
}

// Nobody listens: nothing is made, and no number is used.
func TestBurstForNobody(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=1")
	c := vmtest.OpenControl(t)
	c.Set(t, set(vmtest.BeaconBurst, burstMax))
	if s := c.Stats(t); s.Raw.Events != 0 || s.Genl.Events != 0 {
		t.Errorf("%d and %d events", s.Raw.Events, s.Genl.Events)
	}
	l := vmtest.ListenRaw(t, 1)
	c.Set(t, set(vmtest.BeaconBurst, 1))
	if e := l.Next(t); e.Seq != 1 {
		t.Errorf("the first event has number %d", e.Seq)
	}
}

// A listener whose buffer a burst fills is told, and the numbers say how much
// it lost.
func TestBurstOverruns(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 8)
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10); err != nil {
		t.Fatal(err)
	}
	l := vmtest.RawListener(s)
	c.Set(t, set(vmtest.BeaconGroups, 8), set(vmtest.BeaconPacked, 8), set(vmtest.BeaconSize, 64), set(vmtest.BeaconBurst, burstMax))
	if _, err := s.TryRecv(0); err != unix.ENOBUFS {
		t.Fatalf("receiving: %v, want ENOBUFS", err)
	}
	got := uint64(0)
	for {
		b, err := s.TryRecv(0)
		if err != nil {
			break
		}
		got += uint64(len(vmtest.Parse(t, b)))
	}
	c.Set(t, set(vmtest.BeaconBurst, 1))
	if e := l.Next(t); e.Seq != burstMax+1 || got == 0 || got >= burstMax {
		t.Errorf("%d events came, then number %d", got, e.Seq)
	}
}
