// SPDX-License-Identifier: MIT

package wire_test

import (
	"errors"
	"syscall"
	"testing"

	"nlpeer/pkg/wire"
)

// The parts of an acknowledgment. The policy is the kernel's for the name in
// CTRL_CMD_GETFAMILY.
var (
	quoted = wire.Header{Len: 0x38, Type: 16, Flags: 1, Seq: 9, PortID: 0}

	textAttr   = raw(u16(4+27), u16(1), "Attribute failed policy va\x00", "\x00")
	offsetAttr = raw(u16(8), u16(2), u32(20))
	cookieAttr = raw(u16(7), u16(3), "abc\x00")
	policyAttr = raw(u16(4+8+8), u16(0x8004), u16(8), u16(1), u32(12), u16(8), u16(7), u32(15))
	missType   = raw(u16(8), u16(5), u32(3))
	missNest   = raw(u16(8), u16(6), u32(24))
)

func ack(typ, flags uint16, body []byte) wire.Message {
	return wire.Message{
		Header: wire.Header{Len: uint32(wire.HeaderLen + len(body)), Type: typ, Flags: flags, Seq: 9, PortID: 5},
		Body:   body,
	}
}

func TestParseAck(t *testing.T) {
	head := func(n uint32) []byte { return raw(n, u16(16), u16(1), u32(9), u32(0)) }
	const (
		tlvs   = wire.FlagAckTLVs
		capped = wire.FlagCapped
	)
	policy := wire.Policy{
		Has: wire.PolicyHasType | wire.PolicyHasMaxLen, Type: wire.PolicyNulString, MaxLen: 15,
	}
	tests := []struct {
		name string
		in   wire.Message
		want wire.Ack
		err  error
	}{
		{
			name: "success",
			in:   ack(wire.MsgError, capped, raw(int32(0), string(head(0x38)))),
			want: wire.Ack{Capped: true, Request: quoted},
		},
		{
			name: "success with a warning",
			in:   ack(wire.MsgError, capped|tlvs, raw(int32(0), string(head(0x38)), string(textAttr))),
			want: wire.Ack{
				Capped: true, Request: quoted,
				ExtAck: wire.ExtAck{Text: []byte("Attribute failed policy va")},
			},
		},
		{
			name: "capped, everything",
			in: ack(wire.MsgError, capped|tlvs, raw(int32(-34), string(head(0x38)), string(textAttr),
				string(offsetAttr), string(cookieAttr), string(policyAttr), string(missType), string(missNest))),
			want: wire.Ack{
				Errno: syscall.ERANGE, Capped: true, Request: quoted,
				ExtAck: wire.ExtAck{
					Text: []byte("Attribute failed policy va"), Offset: 20, Cookie: []byte("abc"),
					Policy: policy, MissingType: 3, MissingNest: 24,
				},
			},
		},
		{
			name: "not capped",
			in:   ack(wire.MsgError, 0, raw(int32(-22), string(head(20)), "abcd")),
			want: wire.Ack{
				Errno:   syscall.EINVAL,
				Request: wire.Header{Len: 20, Type: 16, Flags: 1, Seq: 9},
				Quote:   []byte("abcd"),
			},
		},
		{
			name: "not capped, quote padded, extended",
			in:   ack(wire.MsgError, tlvs, raw(int32(-22), string(head(17)), "a\x00\x00\x00", string(offsetAttr))),
			want: wire.Ack{
				Errno:   syscall.EINVAL,
				Request: wire.Header{Len: 17, Type: 16, Flags: 1, Seq: 9},
				Quote:   []byte("a"),
				ExtAck:  wire.ExtAck{Offset: 20},
			},
		},
		{
			name: "attributes without the flag are none",
			in:   ack(wire.MsgError, capped, raw(int32(-22), string(head(16)), string(offsetAttr))),
			want: wire.Ack{Errno: syscall.EINVAL, Capped: true, Request: wire.Header{Len: 16, Type: 16, Flags: 1, Seq: 9}},
		},
		{
			name: "the flag without attributes",
			in:   ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)))),
			want: wire.Ack{Errno: syscall.EINVAL, Capped: true, Request: wire.Header{Len: 16, Type: 16, Flags: 1, Seq: 9}},
		},
		{
			name: "unknown attributes",
			in:   ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)), u16(5), u16(99), "xxxx", string(offsetAttr))),
			want: wire.Ack{
				Errno: syscall.EINVAL, Capped: true,
				Request: wire.Header{Len: 16, Type: 16, Flags: 1, Seq: 9},
				ExtAck:  wire.ExtAck{Offset: 20},
			},
		},
		{name: "done", in: ack(wire.MsgDone, wire.FlagMulti, raw(int32(0))), want: wire.Ack{}},
		{name: "done without a code", in: ack(wire.MsgDone, wire.FlagMulti, nil), want: wire.Ack{}},
		{
			name: "done, failed and extended",
			in:   ack(wire.MsgDone, wire.FlagMulti|tlvs, raw(int32(-22), string(textAttr), string(offsetAttr))),
			want: wire.Ack{
				Errno:  syscall.EINVAL,
				ExtAck: wire.ExtAck{Text: []byte("Attribute failed policy va"), Offset: 20},
			},
		},

		{name: "no acknowledgment", in: ack(wire.MsgEcho, 0, raw(int32(0), string(head(16)))), err: wire.ErrAckType},
		{name: "error without a code", in: ack(wire.MsgError, 0, nil), err: wire.ErrAckShort},
		{name: "error without the whole header", in: ack(wire.MsgError, capped, raw(int32(-1), string(head(16)[:15]))), err: wire.ErrAckShort},
		{name: "done with half a code", in: ack(wire.MsgDone, 0, raw(u16(0))), err: wire.ErrAckShort},
		{name: "positive code", in: ack(wire.MsgError, capped, raw(int32(1), string(head(16)))), err: wire.ErrAckCode},
		{name: "code beyond errno", in: ack(wire.MsgError, capped, raw(int32(-4096), string(head(16)))), err: wire.ErrAckCode},
		{name: "least code", in: ack(wire.MsgError, capped, raw(int32(-1<<31), string(head(16)))), err: wire.ErrAckCode},
		{
			name: "quote shorter than a header", in: ack(wire.MsgError, 0, raw(int32(-22), string(head(15)))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAckShort,
		},
		{
			name: "quote longer than there is", in: ack(wire.MsgError, 0, raw(int32(-22), string(head(17)))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAckShort,
		},
		{
			name: "quote longer than anything", in: ack(wire.MsgError, 0, raw(int32(-22), string(head(0xffffffff)))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAckShort,
		},
		{
			name: "attribute of length 0", in: ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)), u32(0))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAttrLength,
		},
		{
			name: "attribute cut short", in: ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)), "xy")),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAttrShort,
		},
		{
			name: "offset of two bytes", in: ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)), u16(6), u16(2), u32(1))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrValueLength,
		},
		{
			name: "policy that is none", in: ack(wire.MsgError, capped|tlvs, raw(int32(-22), string(head(16)), u16(6), u16(4), u32(1))),
			want: wire.Ack{Errno: syscall.EINVAL}, err: wire.ErrAttrShort,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.ParseAck(tt.in)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error is %v, want %v", err, tt.err)
			}
			diff(t, tt.want, got)
		})
	}
}

func TestExtAckEmpty(t *testing.T) {
	if !new(wire.ExtAck).Empty() {
		t.Error("the zero ExtAck is not empty")
	}
	for _, x := range []wire.ExtAck{
		{Text: []byte("x")}, {Offset: 1}, {MissingType: 1}, {MissingNest: 1}, {Cookie: []byte{0}},
		{Policy: wire.Policy{Has: wire.PolicyHasType}},
	} {
		if x.Empty() {
			t.Errorf("%+v is empty", x)
		}
	}
}
