// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func TestBeaconChange(t *testing.T) {
	tests := []struct {
		name string
		in   client.BeaconChange
		want []byte
		err  string
	}{
		{name: "nothing"},
		{
			name: "everything",
			in: client.BeaconChange{
				Interval: new(250 * time.Millisecond), Groups: new(uint32(5)), Generic: new(true), Size: new(4096),
			},
			want: wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(nil,
				wire.AttrBeaconInterval, 250), wire.AttrBeaconGroups, 5), wire.AttrBeaconGenl, 1), wire.AttrBeaconSize, 4096),
		},
		{
			name: "zeros are sent too",
			in: client.BeaconChange{
				Interval: new(time.Duration), Groups: new(uint32), Generic: new(bool), Size: new(int),
			},
			want: wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(nil,
				wire.AttrBeaconInterval, 0), wire.AttrBeaconGroups, 0), wire.AttrBeaconGenl, 0), wire.AttrBeaconSize, 0),
		},
		{name: "to the connector", in: client.BeaconChange{Connector: new(true)}, want: wire.AppendUint32(nil, wire.AttrBeaconConnector, 1)},
		{name: "not to the connector", in: client.BeaconChange{Connector: new(bool)}, want: wire.AppendUint32(nil, wire.AttrBeaconConnector, 0)},
		{
			name: "too long is for the kernel to refuse",
			in:   client.BeaconChange{Interval: new(2 * time.Hour)},
			want: wire.AppendUint32(nil, wire.AttrBeaconInterval, 7200000),
		},
		{name: "part of a millisecond", in: client.BeaconChange{Interval: new(1500 * time.Microsecond)}, err: "interval 1.5ms is not a whole number"},
		{name: "negative interval", in: client.BeaconChange{Interval: new(-time.Second)}, err: "interval -1s is not"},
		{name: "interval beyond 32 bits", in: client.BeaconChange{Interval: new(1 << 33 * time.Millisecond)}, err: "is not a whole number"},
		{name: "negative size", in: client.BeaconChange{Size: new(-1)}, err: "size -1 is not"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client.AppendBeaconChange(nil, tt.in)
			if tt.err != "" {
				if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			diff(t, tt.want, got)
		})
	}
}

func nest(typ uint16, attrs []byte) []byte {
	return wire.EndNest(append(wire.BeginNest(nil, typ), attrs...), 0)
}

var (
	beaconAttrs = wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(wire.AppendUint32(nil,
		wire.AttrBeaconInterval, 1000), wire.AttrBeaconGroups, 3), wire.AttrBeaconGenl, 1), wire.AttrBeaconSize, 16), wire.AttrBeaconConnector, 1)
	beaconWant = client.Beacon{Interval: time.Second, Groups: 3, Generic: true, Size: 16, Connector: true}

	statsAttrs = func() []byte {
		carrier := func(c wire.Carrier) []byte {
			b := wire.AppendUint32(nil, wire.AttrCarrierStatsCarrier, uint32(c))
			for i := range uint16(7) {
				b = wire.AppendAttr(b, wire.AttrCarrierStatsPad, nil)
				b = wire.AppendUint64(b, wire.AttrCarrierStatsRequests+i, uint64(c)<<40+uint64(i))
			}
			for i := range uint64(2) {
				e := wire.AppendUint32(nil, wire.AttrErrorStatsErrno, uint32(i))
				b = append(b, nest(wire.AttrCarrierStatsError, wire.AppendUint64(e, wire.AttrErrorStatsCount, i+5))...)
			}
			return nest(wire.AttrStatsCarrier, b)
		}
		b := append(carrier(wire.CarrierRaw), carrier(wire.CarrierGenl)...)
		s := wire.AppendUint64(nil, wire.AttrBeaconStatsTicks, 7)
		s = wire.AppendUint64(s, wire.AttrBeaconStatsIdle, 8)
		s = wire.AppendUint64(s, wire.AttrBeaconStatsMissed, 9)
		b = append(b, nest(wire.AttrStatsBeacon, s)...)
		h := wire.AppendUint32(nil, wire.AttrHistoryStatsSize, 1024)
		h = wire.AppendUint32(h, wire.AttrHistoryStatsHeld, 10)
		h = wire.AppendUint64(h, wire.AttrHistoryStatsBytes, 11)
		h = wire.AppendUint64(h, wire.AttrHistoryStatsBytesMax, 12)
		b = append(b, nest(wire.AttrStatsHistory, h)...)
		o := wire.AppendUint32(nil, wire.AttrObjectStatsCount, 13)
		o = wire.AppendUint32(o, wire.AttrObjectStatsCountMax, 14)
		o = wire.AppendUint64(o, wire.AttrObjectStatsBytes, 15)
		o = wire.AppendUint64(o, wire.AttrObjectStatsBytesMax, 16)
		o = wire.AppendUint64(o, wire.AttrObjectStatsGeneration, 17)
		o = wire.AppendUint32(o, wire.AttrObjectStatsSnapshots, 18)
		return append(b, nest(wire.AttrStatsObjects, o)...)
	}()
	statsWant = func() client.Stats {
		carrier := func(c wire.Carrier) client.CarrierStats {
			n := uint64(c) << 40
			return client.CarrierStats{
				Carrier: c, Requests: n, Replies: n + 1, Errors: n + 2, RxBytes: n + 3, TxBytes: n + 4,
				Events: n + 5, EventErrors: n + 6, Errs: []client.ErrorCount{{Errno: 0, Count: 5}, {Errno: 1, Count: 6}},
			}
		}
		return client.Stats{
			Carriers: []client.CarrierStats{carrier(wire.CarrierRaw), carrier(wire.CarrierGenl)},
			Beacon:   client.BeaconStats{Ticks: 7, Idle: 8, Missed: 9},
			History:  client.HistoryStats{Size: 1024, Held: 10, Bytes: 11, BytesMax: 12},
			Objects:  client.ObjectStats{Count: 13, CountMax: 14, Bytes: 15, BytesMax: 16, Generation: 17, Snapshots: 18},
		}
	}()
)

// serve answers one request of a generic netlink Conn.
func serve(t *testing.T, c *client.Conn, u *user, cmd uint8, attrs []byte, acknowledge bool) (request []byte) {
	t.Helper()
	m, from := u.receive()
	h, request, err := wire.ParseGenl(m.Body)
	if err != nil || h != (wire.GenlHeader{Command: cmd, Version: wire.FamilyVersion}) || m.Type != client.UserFamily {
		t.Fatalf("request of type %d has %+v, error %v", m.Type, h, err)
	}
	if attrs != nil {
		u.send(from, answer(m, from, append(wire.AppendGenlHeader(nil, h), attrs...)))
	}
	if (m.Flags&wire.FlagAck != 0) != acknowledge {
		t.Errorf("request has flags %#x", m.Flags)
	}
	if acknowledge {
		u.send(from, ack(m, from, 0, nil))
	}
	return request
}

func TestControl(t *testing.T) {
	for name, acknowledge := range map[string]bool{"plain": false, "acknowledged": true} {
		t.Run(name, func(t *testing.T) {
			c, u := dialUser(t, client.Config{Carrier: client.Generic, Acknowledge: acknowledge})
			ctx := background(t)

			beacon := async(func() (client.Beacon, error) { return c.Beacon(ctx) })
			serve(t, c, u, wire.CmdBeaconGet, beaconAttrs, acknowledge)
			got, err := await(t, beacon)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, beaconWant, got)

			stats := async(func() (client.Stats, error) { return c.Stats(ctx) })
			serve(t, c, u, wire.CmdStatsGet, statsAttrs, acknowledge)
			gotStats, err := await(t, stats)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, statsWant, gotStats)

			set := async(func() (struct{}, error) {
				return struct{}{}, c.SetBeacon(ctx, client.BeaconChange{Size: new(9)})
			})
			request := serve(t, c, u, wire.CmdBeaconSet, nil, true)
			if _, err := await(t, set); err != nil {
				t.Fatal(err)
			}
			diff(t, wire.AppendUint32(nil, wire.AttrBeaconSize, 9), request)
			diff(t, client.Counters{}, c.Counters())
		})
	}
}

func TestControlRefused(t *testing.T) {
	c, u := dialUser(t, client.Config{Carrier: client.Generic})
	set := async(func() (struct{}, error) {
		return struct{}{}, c.SetBeacon(background(t), client.BeaconChange{Interval: new(time.Duration(0))})
	})
	m, from := u.receive()
	u.send(from, ack(m, from, syscall.EPERM, nil))
	_, err := await(t, set)
	wantError(t, err, syscall.EPERM)
	diff(t, "beacon-set: operation not permitted", err.Error())

	wantError(t, c.SetBeacon(background(t), client.BeaconChange{Size: new(-1)}), syscall.EINVAL)
}

// A raw Conn opens a second socket, which finds no module here.
func TestControlOnRaw(t *testing.T) {
	c := dialSelf(t, client.Config{})
	_, err := c.Beacon(background(t))
	if err == nil {
		t.Skip("the module is loaded here")
	}
	wantError(t, err, client.ErrNotLoaded)
}

// Who waits to open the second socket holds up nobody beyond his limit, and
// Counters not at all.
func TestControlWaitsNoLongerThanAllowed(t *testing.T) {
	c, u := dialUser(t, client.Config{})
	echo, m := startEcho(background(t), c, u, "")
	first := async(func() (client.Stats, error) { return c.Stats(context.Background()) })
	eventually(t, "the first call waits", func() bool { return c.Waiting() == 2 })

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := await(t, async(func() (client.Stats, error) { return c.Stats(ctx) }))
	wantError(t, err, context.DeadlineExceeded)
	counters := async(func() (client.Counters, error) { return c.Counters(), nil })
	if n, _ := await(t, counters); n != (client.Counters{}) {
		t.Errorf("counters %+v", n)
	}

	u.send(c.PortID(), answer(m, c.PortID(), nil))
	if _, err := await(t, echo); err != nil {
		t.Error(err)
	}
	await(t, first)
}

// A family that is gone does not come back under its old number, so the next call
// opens another socket, and so does one that waits for the old one.
func TestControlAfterReload(t *testing.T) {
	for name, call := range map[string]func(context.Context, *client.Conn) error{
		"Stats": func(ctx context.Context, c *client.Conn) error {
			_, err := c.Stats(ctx)
			return err
		},
		"EventsSince": func(ctx context.Context, c *client.Conn) (err error) {
			for _, err = range c.EventsSince(ctx, 1, 0) {
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := dialUser(t, client.Config{})
			g, u := dialUser(t, client.Config{Carrier: client.Generic})
			c.SetSide(g)
			begin := func() <-chan result[struct{}] {
				return async(func() (struct{}, error) { return struct{}{}, call(background(t), c) })
			}
			first := begin()
			m, from := u.receive()
			second := begin()
			eventually(t, "the second call waits", func() bool { return g.Waiting() == 2 })
			u.send(from, answer(m, from+1, nil)) // not for us
			u.send(from, ack(m, from, syscall.ENOENT, nil))
			for _, r := range []<-chan result[struct{}]{first, second, begin()} {
				_, err := await(t, r)
				if err == nil {
					t.Skip("the module is loaded here")
				}
				wantError(t, err, client.ErrNotLoaded)
			}
			diff(t, client.Counters{Foreign: 1}, c.Counters())
		})
	}
}

// Close waits for a loop over events, whose body may look at the counters.
func TestCountersWhileClosing(t *testing.T) {
	c, _ := dialUser(t, client.Config{})
	g, u := dialUser(t, client.Config{Carrier: client.Generic})
	c.SetSide(g)
	serveEvents(t, u, dump{events: beacons(1, 1, 1)})
	for _, err := range c.EventsSince(background(t), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		closed := async(func() (struct{}, error) { return struct{}{}, c.Close() })
		defer await(t, closed)
		eventually(t, "Close waits", func() bool { return g.Waiting() == 2 })
		await(t, async(func() (client.Counters, error) { return c.Counters(), nil }))
		break
	}
}

func TestParseControlErrors(t *testing.T) {
	beacon := func(b []byte) error { _, err := client.ParseBeacon(b); return err }
	stats := func(b []byte) error { _, err := client.ParseStats(b); return err }
	short := func(typ uint16) []byte { return wire.AppendUint8(nil, typ, 1) }
	for typ := uint16(wire.AttrBeaconInterval); typ <= wire.AttrBeaconConnector; typ++ {
		if err := beacon(short(typ)); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("beacon attribute %d: error is %v", typ, err)
		}
	}
	for typ := uint16(wire.AttrCarrierStatsCarrier); typ < wire.AttrCarrierStatsPad; typ++ {
		if err := stats(nest(wire.AttrStatsCarrier, short(typ))); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("carrier attribute %d: error is %v", typ, err)
		}
	}
	for typ := uint16(wire.AttrBeaconStatsTicks); typ < wire.AttrBeaconStatsPad; typ++ {
		if err := stats(nest(wire.AttrStatsBeacon, short(typ))); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("beacon statistics attribute %d: error is %v", typ, err)
		}
	}
	for typ := uint16(wire.AttrHistoryStatsSize); typ < wire.AttrHistoryStatsPad; typ++ {
		if err := stats(nest(wire.AttrStatsHistory, short(typ))); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("history statistics attribute %d: error is %v", typ, err)
		}
	}
	for typ := uint16(wire.AttrObjectStatsCount); typ < wire.AttrObjectStatsPad; typ++ {
		if err := stats(nest(wire.AttrStatsObjects, short(typ))); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("object statistics attribute %d: error is %v", typ, err)
		}
	}
	for _, typ := range []uint16{wire.AttrErrorStatsErrno, wire.AttrErrorStatsCount} {
		if err := stats(nest(wire.AttrStatsCarrier, nest(wire.AttrCarrierStatsError, short(typ)))); !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("error statistics attribute %d: error is %v", typ, err)
		}
	}
	for _, f := range []func([]byte) error{beacon, stats} {
		if err := f([]byte{1}); !errors.Is(err, wire.ErrAttrShort) {
			t.Errorf("error is %v", err)
		}
	}
	if err := stats(nest(wire.AttrStatsCarrier, []byte{1})); !errors.Is(err, wire.ErrAttrShort) {
		t.Errorf("error is %v", err)
	}
}

func FuzzParseControl(f *testing.F) {
	for _, b := range [][]byte{beaconAttrs, statsAttrs, nil} {
		f.Add(b)
		for i := 0; i < len(b); i += 7 {
			f.Add(b[:i:i])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		if v, err := client.ParseBeacon(b); err != nil && v != (client.Beacon{}) {
			t.Fatalf("an error comes with %+v", v)
		}
		if v, err := client.ParseStats(b); err != nil && !cmp.Equal(v, client.Stats{}, cmpopts.EquateEmpty()) {
			t.Fatalf("an error comes with %+v", v)
		}
	})
}

func TestCarrierText(t *testing.T) {
	for _, c := range []client.Carrier{client.Raw, client.Generic, client.UserSock, client.Connector, client.Rtnl} {
		text, err := c.MarshalText()
		if err != nil || string(text) != c.String() {
			t.Errorf("%v is %q, error %v", c, text, err)
		}
		got := client.Carrier(99)
		if err := got.UnmarshalText(text); err != nil || got != c {
			t.Errorf("%q is %v, error %v", text, got, err)
		}
	}
	c := client.Generic
	err := c.UnmarshalText([]byte("pigeon"))
	if err == nil || c != client.Generic {
		t.Fatalf("%v, error %v", c, err)
	}
	diff(t, `unknown carrier "pigeon": must be raw, genl, connector, rtnl or usersock`, err.Error())
	if _, err := client.Carrier(7).MarshalText(); err == nil {
		t.Error("an unknown carrier has a name")
	}
	diff(t, "carrier 7", client.Carrier(7).String())
}
