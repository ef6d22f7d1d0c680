// SPDX-License-Identifier: MIT

package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/pkg/wire"
)

// raw builds bytes from numbers in the order of the machine: uint8, uint16,
// uint32, uint64, int32, and from strings as they are. It shares no code with
// the package.
func raw(parts ...any) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		if s, ok := p.(string); ok {
			b.WriteString(s)
			continue
		}
		if err := binary.Write(&b, binary.NativeEndian, p); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func u8(v uint8) uint8    { return v }
func u16(v uint16) uint16 { return v }
func u32(v uint32) uint32 { return v }
func u64(v uint64) uint64 { return v }

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEchoBytesLittleEndian(t *testing.T) {
	if !littleEndian() {
		t.Skip("needs a little-endian machine")
	}
	got := wire.AppendMessage(nil, wire.Header{
		Type: wire.MsgEcho, Flags: wire.FlagRequest | wire.FlagAck, Seq: 0x01020304, PortID: 0x0a0b0c0d,
	}, []byte("hello"))
	want := "15000000" + "1000" + "0500" + "04030201" + "0d0c0b0a" + "68656c6c6f" + "000000"
	diff(t, want, hex.EncodeToString(got))
}

func TestBeaconSetBytesLittleEndian(t *testing.T) {
	if !littleEndian() {
		t.Skip("needs a little-endian machine")
	}
	b := wire.BeginMessage(nil, wire.Header{Type: 0x1d, Flags: wire.FlagRequest | wire.FlagAck, Seq: 7})
	b = wire.AppendGenlHeader(b, wire.GenlHeader{Command: wire.CmdBeaconSet, Version: wire.FamilyVersion})
	b = wire.AppendUint32(b, wire.AttrBeaconInterval, 250)
	b = wire.EndMessage(b, 0)
	want := "1c000000" + "1d00" + "0500" + "07000000" + "00000000" + "04010000" + "08000100" + "fa000000"
	diff(t, want, hex.EncodeToString(b))
}

func TestAppendMessageAfterOthers(t *testing.T) {
	b := wire.AppendMessage(nil, wire.Header{Type: 16, Seq: 1}, []byte("a"))
	b = wire.AppendMessage(b, wire.Header{Type: 17, Seq: 2}, nil)
	b = wire.AppendMessage(b, wire.Header{Type: 18, Seq: 3}, []byte("bcd"))
	want := raw(
		u32(17), u16(16), u16(0), u32(1), u32(0), "a\x00\x00\x00",
		u32(16), u16(17), u16(0), u32(2), u32(0),
		u32(19), u16(18), u16(0), u32(3), u32(0), "bcd\x00",
	)
	diff(t, want, b)

	var got []wire.Message
	for m, err := range wire.Messages(b) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	diff(t, []wire.Message{
		{Header: wire.Header{Len: 17, Type: 16, Seq: 1}, Body: []byte("a")},
		{Header: wire.Header{Len: 16, Type: 17, Seq: 2}, Body: []byte{}},
		{Header: wire.Header{Len: 19, Type: 18, Seq: 3}, Body: []byte("bcd")},
	}, got)
}

// The padding is written over whatever the slice's spare room holds.
func TestPaddingIsZero(t *testing.T) {
	dirty := func() []byte { return bytes.Repeat([]byte{0xff}, 64)[:0] }
	for n := range 5 {
		data := make([]byte, n)
		b := wire.AppendMessage(dirty(), wire.Header{}, data)
		diff(t, make([]byte, wire.Align(n)), b[wire.HeaderLen:])
		b = wire.AppendAttr(dirty(), 1, data)
		diff(t, make([]byte, wire.Align(n)), b[wire.AttrHeaderLen:])
		b = wire.AppendString(dirty(), 1, strings.Repeat("\x00", n))
		diff(t, make([]byte, wire.Align(n+1)), b[wire.AttrHeaderLen:])
	}
	diff(t, raw(u16(5), u16(1), u8(9), "\x00\x00\x00"), wire.AppendUint8(dirty(), 1, 9))
	diff(t, raw(u16(6), u16(1), u16(9), "\x00\x00"), wire.AppendUint16(dirty(), 1, 9))
	b := wire.BeginMessage(dirty(), wire.Header{})
	diff(t, append(raw(u32(17)), make([]byte, 16)...), wire.EndMessage(append(b, 0), 0))
}

func TestNextMessage(t *testing.T) {
	head := func(n uint32) []byte { return raw(n, u16(16), u16(1), u32(2), u32(3)) }
	h := func(n uint32) wire.Header {
		return wire.Header{Len: n, Type: 16, Flags: 1, Seq: 2, PortID: 3}
	}
	tests := []struct {
		name string
		in   []byte
		want wire.Message
		rest []byte
		err  error
	}{
		{name: "empty", err: wire.ErrMessageShort},
		{name: "header cut short", in: head(16)[:15], err: wire.ErrMessageShort},
		{name: "no body", in: head(16), want: wire.Message{Header: h(16), Body: []byte{}}, rest: []byte{}},
		{name: "length 0", in: head(0), err: wire.ErrMessageLength},
		{name: "length less than header", in: head(15), err: wire.ErrMessageLength},
		{name: "length one more than there is", in: head(17), err: wire.ErrMessageLength},
		{name: "length greatest", in: head(0xffffffff), err: wire.ErrMessageLength},
		{name: "length that wraps when aligned", in: head(0xfffffffd), err: wire.ErrMessageLength},
		{
			name: "body and padding", in: append(head(17), "x\x00\x00\x00"...),
			want: wire.Message{Header: h(17), Body: []byte("x")}, rest: []byte{},
		},
		{
			name: "padding is missing", in: append(head(17), 'x'),
			want: wire.Message{Header: h(17), Body: []byte("x")}, rest: []byte{},
		},
		{
			name: "padding is cut short", in: append(head(17), "x\x00"...),
			want: wire.Message{Header: h(17), Body: []byte("x")}, rest: []byte{},
		},
		{
			name: "something follows", in: append(head(16), "rest"...),
			want: wire.Message{Header: h(16), Body: []byte{}}, rest: []byte("rest"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, rest, err := wire.NextMessage(tt.in)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			diff(t, tt.want, m)
			diff(t, tt.rest, rest)
		})
	}
}

func TestMessagesEndsWithTheError(t *testing.T) {
	b := wire.AppendMessage(nil, wire.Header{Type: 16}, nil)
	b = append(b, "garbage"...)
	var types []uint16
	var errs []error
	for m, err := range wire.Messages(b) {
		types = append(types, m.Type)
		errs = append(errs, err)
	}
	diff(t, []uint16{16, 0}, types)
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], wire.ErrMessageShort) {
		t.Errorf("errors are %v", errs)
	}
}

// A view can not be appended over what follows it.
func TestViewsHaveNoSpareRoom(t *testing.T) {
	b := wire.AppendMessage(nil, wire.Header{}, wire.AppendString(nil, 1, "a"))
	m, _, err := wire.NextMessage(append(b, "next"...))
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := wire.NextAttr(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, len(m.Body), cap(m.Body))
	diff(t, len(a.Data), cap(a.Data))
}

func TestGenl(t *testing.T) {
	b := wire.AppendGenlHeader([]byte("x"), wire.GenlHeader{Command: 1, Version: 2, Reserved: 0x304})
	diff(t, raw("x", u8(1), u8(2), u16(0x304)), b)

	h, attrs, err := wire.ParseGenl(append(b[1:], "attrs"...))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, wire.GenlHeader{Command: 1, Version: 2, Reserved: 0x304}, h)
	diff(t, []byte("attrs"), attrs)

	if _, _, err := wire.ParseGenl(b[1:4]); !errors.Is(err, wire.ErrGenlShort) {
		t.Errorf("error is %v", err)
	}
}
