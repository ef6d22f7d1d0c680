// SPDX-License-Identifier: MIT

package wire_test

import (
	"errors"
	"testing"

	"nlpeer/pkg/wire"
)

func TestEvent(t *testing.T) {
	want := wire.Event{Group: 3, Seq: 1 << 40, Time: 1 << 50, Kind: wire.KindBeacon, Data: []byte("abc")}
	b := wire.AppendEvent(nil, want)
	diff(t, raw(
		u16(8), u16(1), u32(3),
		u16(12), u16(2), u64(1<<40),
		u16(12), u16(3), u64(1<<50),
		u16(8), u16(4), u32(1),
		u16(7), u16(5), "abc\x00",
	), b)
	got, err := wire.ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, want, got)
}

func TestParseEventPassesOver(t *testing.T) {
	b := wire.AppendAttr(nil, wire.AttrEventPad, nil)
	b = wire.AppendUint32(b, 99, 1)
	b = wire.AppendEvent(b, wire.Event{Group: 1, Seq: 1})
	got, err := wire.ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, wire.Event{Group: 1, Seq: 1, Data: []byte{}}, got)
}

func TestParseEventErrors(t *testing.T) {
	whole := wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 2, Time: 3, Kind: 4})
	data := wire.AttrHeaderLen // the last attribute has no data
	tests := []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, wire.ErrMissing},
		{"no group", whole[8:], wire.ErrMissing},
		{"no kind", whole[:len(whole)-data-8], wire.ErrMissing},
		{"group of two bytes", append(raw(u16(6), u16(1), u32(1)), whole...), wire.ErrValueLength},
		{"seq of four bytes", append(raw(u16(8), u16(2), u32(1)), whole...), wire.ErrValueLength},
		{"time of four bytes", append(raw(u16(8), u16(3), u32(1)), whole...), wire.ErrValueLength},
		{"kind of one byte", append(raw(u16(5), u16(4), u32(1)), whole...), wire.ErrValueLength},
		{"garbage after", append(append([]byte(nil), whole...), 1), wire.ErrAttrShort},
		{"length lie", append(raw(u16(9999), u16(5)), whole...), wire.ErrAttrLength},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseEvent(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			diff(t, wire.Event{}, got)
		})
	}
	if _, err := wire.ParseEvent(whole[:len(whole)-data]); err != nil {
		t.Errorf("an event needs no data: %v", err)
	}
}

func TestParseTick(t *testing.T) {
	tick := func(data string) []byte {
		e := wire.Event{Group: 3, Seq: 1 << 40, Time: 1 << 50, Kind: wire.KindBeacon, Data: []byte(data)}
		return wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, wire.AppendEvent(nil, e))
	}
	for _, data := range []string{"", "a", "abc", "abcd", "64 bytes or so, which is what most of the figures are about now."} {
		first := tick(data)
		got, view, n := wire.ParseTick(append(first, tick("next")...))
		if got == nil {
			t.Fatalf("%q: no tick", data)
		}
		diff(t, []uint64{3, 1 << 40, 1 << 50, uint64(wire.KindBeacon), uint64(len(first))},
			[]uint64{uint64(got.Group()), got.Seq(), got.Time(), uint64(got.Kind()), uint64(n)})
		if string(view) != data || cap(view) != len(data) {
			t.Errorf("data is %q with room for %d, want %q", view, cap(view), data)
		}
	}

	// Whatever else it is, it is left to others: each byte matters but those of
	// the values, and the header's flags, seq and port ID.
	good := tick("abc")
	values := []struct{ from, to int }{{6, 16}, {20, 24}, {28, 36}, {40, 48}, {52, 56}, {60, len(good)}}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x20
		free := false
		for _, v := range values {
			free = free || i >= v.from && i < v.to
		}
		if got, _, _ := wire.ParseTick(bad); (got != nil) != free {
			t.Errorf("byte %d changed: a tick is %v, want %v", i, got != nil, free)
		}
	}
	for n := range good {
		if got, _, _ := wire.ParseTick(good[:n]); got != nil {
			t.Errorf("%d bytes of %d are a tick", n, len(good))
		}
	}
	// Data whose attribute is shorter than its own header.
	for length := range byte(wire.AttrHeaderLen) {
		bad := append([]byte(nil), tick("")...)
		end := len(bad) - wire.AttrHeaderLen
		copy(bad, raw(u32(uint32(wire.Align(end+int(length))))))
		copy(bad[end:], raw(u16(uint16(length))))
		if got, _, _ := wire.ParseTick(bad); got != nil {
			t.Errorf("data of %d bytes with its header is a tick", length)
		}
	}
	object := wire.AppendEvent(nil, wire.Event{Group: 3, Seq: 1, Kind: wire.KindObjectNew, Object: object("key", 4, "one", "")})
	if got, _, _ := wire.ParseTick(wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, object)); got != nil {
		t.Error("an event with an object is a tick")
	}
}
