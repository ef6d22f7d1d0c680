// SPDX-License-Identifier: MIT

package wire_test

import (
	"errors"
	"slices"
	"testing"

	"nlpeer/pkg/wire"
)

func object(key string, generation uint64, values ...string) wire.Object {
	o := wire.Object{Key: []byte(key), Generation: generation}
	for _, v := range values {
		o.Attrs = wire.AppendValues(o.Attrs, []byte(v))
	}
	return o
}

func values(o wire.Object) (all []string) {
	for v := range o.Values() {
		all = append(all, string(v))
	}
	return all
}

func TestObject(t *testing.T) {
	want := object("key", 1<<40, "one", "", "three")
	b := wire.AppendObject(nil, want)
	diff(t, raw(
		u16(8), u16(1), "key\x00",
		u16(12), u16(3), u64(1<<40),
		u16(7), u16(2), "one\x00",
		u16(4), u16(2),
		u16(9), u16(2), "three\x00\x00\x00",
	), b)
	got, err := wire.ParseObject(b)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, want, got)
	diff(t, []string{"one", "", "three"}, values(got))
	if got.Len() != 3 || got.Size() != 8 {
		t.Errorf("%d values of %d bytes", got.Len(), got.Size())
	}
	for range got.Values() {
		break
	}
}

func TestObjectEqual(t *testing.T) {
	o := object("key", 1, "a", "b")
	for _, p := range []wire.Object{
		object("kez", 1, "a", "b"), object("key", 2, "a", "b"), object("key", 1, "a", "c"),
		object("key", 1, "a"), object("key", 1, "a", "b", ""), object("key", 1, "ab"), {},
	} {
		if o.Equal(p) || p.Equal(o) {
			t.Errorf("%+v is %+v", o, p)
		}
	}
	again, err := wire.ParseObject(wire.AppendUint32(wire.AppendObject(nil, o), 99, 1))
	if err != nil || !o.Equal(again) || !again.Equal(o) {
		t.Errorf("%+v is not %+v, %v", o, again, err)
	}
}

func TestParseObjectErrors(t *testing.T) {
	whole := wire.AppendObject(nil, object("key", 1, "value"))
	for _, tt := range []struct {
		name string
		in   []byte
		err  error
	}{
		{"empty", nil, wire.ErrMissing},
		{"no key", whole[8:], wire.ErrMissing},
		{"no generation", slices.Concat(whole[:8], whole[20:]), wire.ErrMissing},
		{"generation of four bytes", wire.AppendUint32(slices.Clone(whole), 3, 1), wire.ErrValueLength},
		{"garbage after", append(slices.Clone(whole), 1), wire.ErrAttrShort},
		{"length lie", append(raw(u16(9999), u16(2)), whole...), wire.ErrAttrLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseObject(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			if got.Key != nil || got.Attrs != nil || got.Generation != 0 {
				t.Errorf("an error comes with %+v", got)
			}
			e, err := wire.ParseEvent(slices.Concat(wire.AppendEvent(nil, wire.Event{Group: 1}), nest(wire.AttrEventObject, tt.in)))
			if !errors.Is(err, tt.err) {
				t.Errorf("in an event: error is %v, want %v", err, tt.err)
			}
			diff(t, wire.Event{}, e)
		})
	}
}

// nest is an attribute that holds attributes.
func nest(typ uint16, attrs []byte) []byte {
	return wire.EndNest(append(wire.BeginNest(nil, typ), attrs...), 0)
}

func TestEventWithObject(t *testing.T) {
	want := wire.Event{Group: 2, Seq: 3, Time: 4, Kind: wire.KindObjectNew, Object: object("k", 7, "v")}
	b := wire.AppendEvent(nil, want)
	diff(t, raw(
		u16(8), u16(1), u32(2), u16(12), u16(2), u64(3), u16(12), u16(3), u64(4), u16(8), u16(4), u32(2),
		u16(4+8+12+8), u16(1<<15|7), u16(6), u16(1), "k\x00\x00\x00", u16(12), u16(3), u64(7), u16(5), u16(2), "v\x00\x00\x00",
	), b)
	got, err := wire.ParseEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, want, got)
}

func TestConnector(t *testing.T) {
	h := wire.ConnectorHeader{Idx: 16, Val: 1, Seq: 1 << 31, Ack: 7, Flags: 3}
	b := wire.AppendConnector(nil, h, []byte("data"))
	h.Len = 4
	diff(t, raw(u32(16), u32(1), u32(1<<31), u32(7), u16(4), u16(3), "data"), b)
	for _, after := range []string{"", "padding"} {
		got, data, err := wire.ParseConnector(append(slices.Clone(b), after...))
		if err != nil {
			t.Fatal(err)
		}
		diff(t, h, got)
		diff(t, []byte("data"), data)
	}
	for n, want := range map[int]error{0: wire.ErrConnectorShort, 19: wire.ErrConnectorShort, 20: wire.ErrConnectorLength, 23: wire.ErrConnectorLength} {
		got, data, err := wire.ParseConnector(b[:n])
		if err != want || data != nil {
			t.Errorf("%d bytes: %q, %v, want %v", n, data, err, want)
		}
		diff(t, wire.ConnectorHeader{}, got)
	}
	defer func() {
		if recover() == nil {
			t.Error("65536 bytes fit")
		}
	}()
	wire.AppendConnector(nil, h, make([]byte, 1<<16))
}

func TestConnectorMaxIsTheKernels(t *testing.T) {
	diff(t, wire.ConnectorMax, wire.ConnectorHeaderLen+wire.CnPayloadMax)
}

func TestRtnl(t *testing.T) {
	b := wire.AppendUint32(wire.AppendRtnlHeader(nil, wire.RtnlFamily), 1, 2)
	diff(t, raw("\x7f\x00\x00\x00", u16(8), u16(1), u32(2)), b)
	family, attrs, err := wire.ParseRtnl(b)
	if err != nil || family != wire.RtnlFamily {
		t.Errorf("family %d, %v", family, err)
	}
	diff(t, b[4:], attrs)
	if _, attrs, err := wire.ParseRtnl(b[:3]); err != wire.ErrRtnlShort || attrs != nil {
		t.Errorf("%x, %v", attrs, err)
	}
}
