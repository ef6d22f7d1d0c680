// SPDX-License-Identifier: MIT

package wire_test

import (
	"errors"
	"testing"

	"nlpeer/pkg/wire"
)

func TestAppendAttrs(t *testing.T) {
	var b []byte
	b = wire.AppendUint8(b, 1, 0x11)
	b = wire.AppendUint16(b, 2, 0x2222)
	b = wire.AppendUint32(b, 3, 0x33333333)
	b = wire.AppendUint64(b, 4, 0x4444444455555555)
	b = wire.AppendString(b, 5, "abc")
	b = wire.AppendAttr(b, 6, []byte("abcde"))
	b = wire.AppendAttr(b, 7, nil)
	start := len(b)
	b = wire.BeginNest(b, 8)
	b = wire.AppendUint8(b, 1, 1)
	b = wire.EndNest(b, start)
	diff(t, raw(
		u16(5), u16(1), u8(0x11), "\x00\x00\x00",
		u16(6), u16(2), u16(0x2222), "\x00\x00",
		u16(8), u16(3), u32(0x33333333),
		u16(12), u16(4), u64(0x4444444455555555),
		u16(8), u16(5), "abc\x00",
		u16(9), u16(6), "abcde\x00\x00\x00",
		u16(4), u16(7),
		u16(12), u16(0x8008), u16(5), u16(1), u8(1), "\x00\x00\x00",
	), b)
}

func TestNextAttr(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want wire.Attr
		rest []byte
		err  error
	}{
		{name: "empty", err: wire.ErrAttrShort},
		{name: "header cut short", in: raw(u16(4), u8(1)), err: wire.ErrAttrShort},
		{name: "no data", in: raw(u16(4), u16(1)), want: wire.Attr{Type: 1, Data: []byte{}}, rest: []byte{}},
		{name: "length 0", in: raw(u16(0), u16(1)), err: wire.ErrAttrLength},
		{name: "length less than header", in: raw(u16(3), u16(1)), err: wire.ErrAttrLength},
		{name: "length one more than there is", in: raw(u16(5), u16(1)), err: wire.ErrAttrLength},
		{name: "length greatest", in: raw(u16(0xffff), u16(1), u64(0)), err: wire.ErrAttrLength},
		{
			name: "padding is missing", in: raw(u16(5), u16(1), u8(9)),
			want: wire.Attr{Type: 1, Data: []byte{9}}, rest: []byte{},
		},
		{
			name: "padding is not zero", in: raw(u16(5), u16(1), u8(9), "abc"),
			want: wire.Attr{Type: 1, Data: []byte{9}}, rest: []byte{},
		},
		{
			name: "something follows", in: raw(u16(5), u16(1), u8(9), "\x00\x00\x00", "x"),
			want: wire.Attr{Type: 1, Data: []byte{9}}, rest: []byte("x"),
		},
		{
			name: "nested", in: raw(u16(8), u16(0x8001), u32(0)),
			want: wire.Attr{Type: 1, Nested: true, Data: make([]byte, 4)}, rest: []byte{},
		},
		{
			name: "network byte order", in: raw(u16(8), u16(0x4001), u32(0)),
			want: wire.Attr{Type: 1, NetOrder: true, Data: make([]byte, 4)}, rest: []byte{},
		},
		{
			name: "both flags and the greatest type", in: raw(u16(4), u16(0xffff)),
			want: wire.Attr{Type: 0x3fff, Nested: true, NetOrder: true, Data: []byte{}}, rest: []byte{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, rest, err := wire.NextAttr(tt.in)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			diff(t, tt.want, a)
			diff(t, tt.rest, rest)
		})
	}
}

func TestAttrValues(t *testing.T) {
	type values struct {
		U8  uint8
		U16 uint16
		U32 uint32
		U64 uint64
		S64 int64
		Str string
	}
	// read takes every value there is; those of the wrong length stay 0.
	read := func(a wire.Attr) (v values, wrong int) {
		note := func(err error) {
			if err != nil {
				if !errors.Is(err, wire.ErrValueLength) {
					t.Errorf("error is %v", err)
				}
				wrong++
			}
		}
		var err error
		v.U8, err = a.Uint8()
		note(err)
		v.U16, err = a.Uint16()
		note(err)
		v.U32, err = a.Uint32()
		note(err)
		v.U64, err = a.Uint64()
		note(err)
		v.S64, err = a.Int64()
		note(err)
		v.Str = string(a.Bytes())
		return v, wrong
	}
	tests := []struct {
		name  string
		data  []byte
		want  values
		wrong int
	}{
		{"none", nil, values{}, 5},
		{"u8", raw(u8(200)), values{U8: 200, Str: "\xc8"}, 4},
		{"u16", raw(u16(0xabcd)), values{U16: 0xabcd, Str: string(raw(u16(0xabcd)))}, 4},
		{"three", []byte("abc"), values{Str: "abc"}, 5},
		{"u32", raw(u32(0xa0b0c0d0)), values{U32: 0xa0b0c0d0, Str: string(raw(u32(0xa0b0c0d0)))}, 4},
		{"u64", raw(u64(1<<64 - 2)), values{U64: 1<<64 - 2, S64: -2, Str: string(raw(u64(1<<64 - 2)))}, 3},
		{"string with NUL", []byte("hello\x00"), values{Str: "hello"}, 5},
		{"string with two", []byte("hel\x00lo\x00"), values{Str: "hel"}, 5},
		{"string without", []byte("hello"), values{Str: "hello"}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, wrong := read(wire.Attr{Data: tt.data})
			diff(t, tt.want, got)
			diff(t, tt.wrong, wrong)
		})
	}
}

func TestAttrsEndsWithTheError(t *testing.T) {
	b := wire.AppendUint32(nil, 1, 1)
	b = append(b, 0)
	n := 0
	var last error
	for _, err := range wire.Attrs(b) {
		n++
		last = err
	}
	if n != 2 || !errors.Is(last, wire.ErrAttrShort) {
		t.Errorf("%d items, the last with error %v", n, last)
	}
}

func TestAttrDataMax(t *testing.T) {
	mustPanic := func(name string, f func()) {
		t.Helper()
		defer func() {
			t.Helper()
			if recover() == nil {
				t.Errorf("%s does not panic", name)
			}
		}()
		f()
	}
	longest := make([]byte, wire.AttrDataMax)
	tooLong := make([]byte, wire.AttrDataMax+1)

	a, rest, err := wire.NextAttr(wire.AppendAttr(nil, 1, longest))
	if err != nil || len(a.Data) != wire.AttrDataMax || len(rest) != 0 {
		t.Errorf("the longest attribute comes back as %d bytes, %d left, error %v", len(a.Data), len(rest), err)
	}
	mustPanic("AppendAttr", func() { wire.AppendAttr(nil, 1, tooLong) })
	mustPanic("AppendString", func() { wire.AppendString(nil, 1, string(longest)) })
	mustPanic("EndNest", func() { wire.EndNest(append(wire.BeginNest(nil, 1), tooLong...), 0) })
}
