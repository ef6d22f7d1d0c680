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
