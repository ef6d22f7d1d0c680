// SPDX-License-Identifier: MIT

package beacon_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// statsLength is the length of a stats-get's reply. Asking is one request.
func statsLength(t *testing.T, c *vmtest.Control) uint64 {
	t.Helper()
	c.Send(t, vmtest.NewGenl(c.Family, vmtest.CmdStatsGet, 1).Bytes())
	return uint64(len(c.Recv(t)))
}

// Known traffic, counted to the byte.
func TestStatistics(t *testing.T) {
	c := module(t, "interval_ms=0")
	want := vmtest.Fresh()
	cost := statsLength(t, c)
	if n := want.StatsLen(); cost != n {
		t.Errorf("the statistics of nothing take %d bytes, want %d", cost, n)
	}

	const header = 16
	// Each look adds what the one before it cost.
	check := func(t *testing.T) {
		t.Helper()
		add(&want.Genl, vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: 20, TxBytes: cost})
		if got := c.Stats(t); got != want {
			t.Errorf("%+v\nwant %+v", got, want)
			want = got
		}
		cost = want.StatsLen()
	}
	check(t)

	raw := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	for _, tt := range []struct {
		name    string
		message vmtest.Message
		answers int
		count   vmtest.CarrierStats
	}{
		{"empty", vmtest.NewEcho(1, nil), 1,
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: header, TxBytes: header}},
		{"five bytes", vmtest.NewEcho(2, []byte("hello")), 1,
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: header + 5, TxBytes: header + 5}},
		{"longest", vmtest.NewEcho(3, make([]byte, vmtest.PayloadMax)), 1,
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: header + vmtest.PayloadMax, TxBytes: header + vmtest.PayloadMax}},
		{"with acknowledgment", vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Body: []byte("abc")}, 2,
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: header + 3, TxBytes: header + 3}},
		{"too long", vmtest.NewEcho(4, make([]byte, vmtest.PayloadMax+1)), 1,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: header + vmtest.PayloadMax + 1, By: vmtest.Failed(unix.EMSGSIZE)}},
		{"event", vmtest.Message{Type: 17, Flags: unix.NLM_F_REQUEST}, 1,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: header, By: vmtest.Failed(unix.EOPNOTSUPP)}},
		{"unknown type", vmtest.Message{Type: 1000, Flags: unix.NLM_F_REQUEST, Body: []byte("abcd")}, 1,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: header + 4, By: vmtest.Failed(unix.EOPNOTSUPP)}},
		{"dump", vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP}, 1,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: header, By: vmtest.Failed(unix.EOPNOTSUPP)}},
		{"no request", vmtest.Message{Type: 16, Body: []byte("abcd")}, 0, vmtest.CarrierStats{}},
		{"control message", vmtest.Message{Type: 15, Flags: unix.NLM_F_REQUEST}, 0, vmtest.CarrierStats{}},
	} {
		t.Run("raw "+tt.name, func(t *testing.T) {
			raw.Send(t, tt.message.Bytes())
			for range tt.answers {
				raw.Recv(t)
			}
			raw.Empty(t)
			add(&want.Raw, tt.count)
			check(t)
		})
	}

	const genlHeader = header + 4
	for _, tt := range []struct {
		name  string
		cmd   uint8
		attrs []vmtest.Attr
		count vmtest.CarrierStats
	}{
		{"echo", vmtest.CmdEcho, []vmtest.Attr{{Type: 1, Data: []byte("hello")}},
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: genlHeader + 12, TxBytes: genlHeader + 12}},
		{"echo of nothing", vmtest.CmdEcho, []vmtest.Attr{{Type: 1}},
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: genlHeader + 4, TxBytes: genlHeader + 4}},
		{"echo without a payload", vmtest.CmdEcho, nil,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: genlHeader, By: vmtest.Failed(unix.EINVAL)}},
		{"beacon-get", vmtest.CmdBeaconGet, nil,
			vmtest.CarrierStats{Requests: 1, Replies: 1, RxBytes: genlHeader, TxBytes: genlHeader + 6*8}},
		{"beacon-set", vmtest.CmdBeaconSet, []vmtest.Attr{size(3), genl(1)},
			vmtest.CarrierStats{Requests: 1, RxBytes: genlHeader + 2*8}},
		{"beacon-set of nothing", vmtest.CmdBeaconSet, nil,
			vmtest.CarrierStats{Requests: 1, Errors: 1, RxBytes: genlHeader, By: vmtest.Failed(unix.EINVAL)}},
		{"refused by policy", vmtest.CmdBeaconSet, []vmtest.Attr{size(4097)}, vmtest.CarrierStats{}},
		{"unknown command", 77, nil, vmtest.CarrierStats{}},
		{"event", vmtest.CmdEvent, nil, vmtest.CarrierStats{}},
	} {
		t.Run("genl "+tt.name, func(t *testing.T) {
			c.Request(t, tt.cmd, tt.attrs...)
			add(&want.Genl, tt.count)
			check(t)
		})
	}

	t.Run("raw, several in one send", func(t *testing.T) {
		raw.Send(t, vmtest.Join(vmtest.NewEcho(1, []byte("a")), vmtest.Message{Type: 99, Flags: unix.NLM_F_REQUEST}, vmtest.NewEcho(2, []byte("bcd"))))
		for range 3 {
			raw.Recv(t)
		}
		add(&want.Raw, vmtest.CarrierStats{Requests: 3, Replies: 2, Errors: 1, RxBytes: 3*header + 4, TxBytes: 2*header + 4,
			By: vmtest.Failed(unix.EOPNOTSUPP)})
		check(t)
	})

	if n := statsLength(t, c); n != cost || want.Raw.By.Kinds() != 2 || want.Genl.By.Kinds() != 1 {
		t.Errorf("statistics of %d bytes, want %d; errors %v, %v", n, cost, want.Raw.By, want.Genl.By)
	}
}

func add(to *vmtest.CarrierStats, c vmtest.CarrierStats) {
	to.Requests += c.Requests
	to.Replies += c.Replies
	to.Errors += c.Errors
	to.RxBytes += c.RxBytes
	to.TxBytes += c.TxBytes
	to.Events += c.Events
	to.EventErrors += c.EventErrors
	for i, n := range c.By {
		to.By[i] += n
	}
}

// Events count by the carrier they went by, once a group, whoever hears them.
func TestEventsCount(t *testing.T) {
	c := module(t, "interval_ms=0", "groups=7")
	var listeners []*vmtest.Listener
	for range 3 {
		listeners = append(listeners, vmtest.ListenRaw(t, 2|4|8), vmtest.ListenGenl(t))
	}
	c.Set(t, interval(2))
	listeners[0].Next(t)
	vmtest.Until(t, "twenty ticks were sent", func() bool { return c.Stats(t).Genl.Events >= 20 })
	c.Set(t, interval(0))
	var s vmtest.Stats
	vmtest.Until(t, "the last tick is sent", func() bool {
		s = c.Stats(t)
		return s.Genl.Events == s.Ticks
	})
	// The first group has no listener, the fourth no beacon.
	if s.Raw.Events != 2*s.Ticks || s.Idle != 0 || s.Raw.EventErrors+s.Genl.EventErrors != 0 {
		t.Errorf("%+v", s)
	}
	for i, l := range listeners {
		n := uint64(len(l.Drain(t)))
		if i == 0 {
			n++ // received above
		}
		if want := s.Ticks * uint64(2-i%2); n != want {
			t.Errorf("listener %d received %d events, want %d", i, n, want)
		}
	}
}

// What one call writes together is read together, and a call that writes one
// setting takes nothing from another that writes a second at the same time.
func TestParallelSet(t *testing.T) {
	const writers, rounds = 4, 150
	control := module(t, "interval_ms=0", "groups=0")
	whole := func(b vmtest.Beacon) bool {
		return b.Interval == b.Groups && b.Groups == b.Size && b.Genl == b.Interval%2
	}

	var fs []func()
	for w := range uint32(writers) {
		c := vmtest.OpenControl(t)
		fs = append(fs, func() {
			for i := range uint32(rounds) {
				v := 1 + (i*writers+w)%vmtest.DataMax
				c.Set(t, vmtest.Beacon{Interval: v, Groups: v, Genl: v % 2, Size: v}.Attrs()...)
				if b := c.Beacon(t); !whole(b) {
					t.Fatalf("settings of two calls mixed: %+v", b)
				}
			}
		})
	}
	control.Set(t, vmtest.Beacon{}.Attrs()...)
	vmtest.Together(fs...)
	if b := control.Beacon(t); !whole(b) || b.Size == 0 {
		t.Errorf("settings of two calls mixed: %+v", b)
	}

	fs = nil
	for i, attr := range []func(uint32) vmtest.Attr{interval, groups, size} {
		c := vmtest.OpenControl(t)
		fs = append(fs, func() {
			for v := range uint32(rounds) {
				c.Set(t, attr(v+1))
				b := c.Beacon(t)
				if got := []uint32{b.Interval, b.Groups, b.Size}[i]; got != v+1 {
					t.Fatalf("setting %d is %d, set to %d by the only one who does", i, got, v+1)
				}
			}
		})
	}
	vmtest.Together(fs...)
	if b := control.Beacon(t); b.Interval != rounds || b.Groups != rounds || b.Size != rounds {
		t.Errorf("%+v, want %d for all that was set last", b, rounds)
	}
}
