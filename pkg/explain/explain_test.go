// SPDX-License-Identifier: MIT

package explain_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

var update = flag.Bool("update", false, "write the golden files of testdata again")

const (
	generic   = wire.NetlinkGeneric
	raw       = wire.NetlinkTest
	route     = 0
	connector = 11

	ctrl   = 16
	nlpeer = 0x1f // the number that newFamily tells
)

// A crossing is a datagram on its way.
type crossing struct {
	protocol  int
	direction explain.Direction
	data      []byte
}

func sent(protocol int, data []byte) crossing     { return crossing{protocol, explain.Sent, data} }
func received(protocol int, data []byte) crossing { return crossing{protocol, explain.Received, data} }

// message is one message.
func message(h wire.Header, parts ...[]byte) []byte {
	return wire.AppendMessage(nil, h, bytes.Join(parts, nil))
}

func genl(cmd uint8) []byte {
	return wire.AppendGenlHeader(nil, wire.GenlHeader{Command: cmd, Version: 1})
}

func u8(typ uint16, v uint8) []byte          { return wire.AppendUint8(nil, typ, v) }
func u16(typ uint16, v uint16) []byte        { return wire.AppendUint16(nil, typ, v) }
func u32(typ uint16, v uint32) []byte        { return wire.AppendUint32(nil, typ, v) }
func u64(typ uint16, v uint64) []byte        { return wire.AppendUint64(nil, typ, v) }
func text(typ uint16, s string) []byte       { return wire.AppendString(nil, typ, s) }
func binaryAttr(typ uint16, b []byte) []byte { return wire.AppendAttr(nil, typ, b) }

func nest(typ uint16, parts ...[]byte) []byte {
	return wire.EndNest(append(wire.BeginNest(nil, typ), bytes.Join(parts, nil)...), 0)
}

// code is the outcome in an acknowledgment.
func code(errno syscall.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
}

// join puts messages into one datagram.
func join(all ...[]byte) []byte { return bytes.Join(all, nil) }

// with returns a copy of b in which one byte is another.
func with(b []byte, at int, c byte) []byte {
	b = bytes.Clone(b)
	b[at] = c
	return b
}

var newFamily = received(generic, message(wire.Header{Type: ctrl, Seq: 1, PortID: 88},
	wire.AppendGenlHeader(nil, wire.GenlHeader{Command: 1, Version: 2}),
	text(2, "nlpeer"), u16(1, nlpeer), u32(3, 1), u32(5, 4),
	nest(6, nest(1, u32(1, 1), u32(2, 0xa)), nest(2, u32(1, 4), u32(2, 0x1a))),
	nest(7, nest(1, u32(2, 9), text(1, "beacon")))))

var echo = message(wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 42}, []byte("hello"))

var event = message(wire.Header{Type: wire.MsgEvent},
	wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 7, Time: 60e9, Kind: wire.KindBeacon, Data: []byte{7, 8, 9}}))

var beaconSet = message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest | wire.FlagAck, Seq: 9},
	genl(wire.CmdBeaconSet), u32(wire.AttrBeaconSize, 4), u32(wire.AttrBeaconInterval, 4000000))

var outOfRange = join(text(1, "integer out of range"), u32(2, 28), nest(4, u32(1, 4), u64(4, 0), u64(5, 3600000)))

var tests = []struct {
	name    string
	crosses []crossing
}{
	{"raw-echo", []crossing{
		sent(raw, echo),
		received(raw, message(wire.Header{Type: wire.MsgEcho, Seq: 42, PortID: 88}, []byte("hello"))),
	}},
	{"raw-echo-empty-and-long", []crossing{
		sent(raw, join(
			message(wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest | wire.FlagAck | wire.FlagEcho, Seq: 1}),
			message(wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 2}, bytes.Repeat([]byte{0, 1, 2, 3, 4, 5, 6}, 30)))),
	}},
	{"raw-event", []crossing{received(raw, event)}},
	{"raw-refused", []crossing{
		sent(raw, message(wire.Header{Type: 99, Flags: wire.FlagRequest, Seq: 5}, u32(1, 1))),
		received(raw, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagAckTLVs, Seq: 5, PortID: 88},
			code(syscall.EOPNOTSUPP), message(wire.Header{Type: 99, Flags: wire.FlagRequest, Seq: 5}, u32(1, 1)), text(1, "unknown type"))),
	}},
	{"genl-lookup", []crossing{
		sent(generic, message(wire.Header{Type: ctrl, Flags: wire.FlagRequest, Seq: 1}, genl(3), text(2, "nlpeer"))),
		newFamily,
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 2}, genl(wire.CmdEcho), binaryAttr(wire.AttrEchoPayload, []byte("hello")))),
	}},
	{"genl-refused-capped", []crossing{
		newFamily, sent(generic, beaconSet),
		received(generic, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped | wire.FlagAckTLVs, Seq: 9, PortID: 88},
			code(syscall.ERANGE), beaconSet[:16], outOfRange)),
	}},
	{"genl-refused-quoted", []crossing{
		newFamily,
		received(generic, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagAckTLVs, Seq: 9, PortID: 88},
			code(syscall.ERANGE), beaconSet, outOfRange)),
	}},
	{"genl-missing-attribute", []crossing{
		newFamily, sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 3}, genl(wire.CmdEcho))),
		received(generic, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped | wire.FlagAckTLVs, Seq: 3, PortID: 88},
			code(syscall.EINVAL), message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 3}), u32(5, 1), binaryAttr(3, []byte{1, 2, 3}))),
		received(generic, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped, Seq: 4, PortID: 88},
			code(0), message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest | wire.FlagAck, Seq: 4}))),
	}},
	{"genl-stats", []crossing{
		newFamily,
		received(generic, message(wire.Header{Type: nlpeer, Seq: 2, PortID: 88}, genl(wire.CmdStatsGet),
			nest(wire.AttrStatsCarrier, u32(wire.AttrCarrierStatsCarrier, 1), u64(wire.AttrCarrierStatsRequests, 3), binaryAttr(wire.AttrCarrierStatsPad, nil)),
			nest(wire.AttrStatsCarrier, u32(wire.AttrCarrierStatsCarrier, 7)),
			nest(wire.AttrStatsHistory, u32(wire.AttrHistoryStatsSize, 1024)))),
	}},
	{"genl-dump", []crossing{
		newFamily,
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest | wire.FlagDump, Seq: 6}, genl(wire.CmdEventGet), u32(1, 1), u64(2, 99))),
		received(generic, join(
			message(wire.Header{Type: nlpeer, Flags: wire.FlagMulti | wire.FlagDumpIntr, Seq: 6, PortID: 88}, genl(wire.CmdEventGet), u32(1, 1)),
			message(wire.Header{Type: wire.MsgDone, Flags: wire.FlagMulti | wire.FlagAckTLVs, Seq: 6, PortID: 88},
				code(syscall.ERANGE), text(1, "not reached yet"), u32(2, 28)))),
		received(generic, message(wire.Header{Type: wire.MsgDone, Flags: wire.FlagMulti, Seq: 7, PortID: 88}, code(0))),
		received(generic, message(wire.Header{Type: wire.MsgDone, Flags: wire.FlagMulti, Seq: 7, PortID: 88})),
	}},
	{"genl-unknown", []crossing{
		sent(generic, message(wire.Header{Type: 0x33, Flags: wire.FlagRequest | wire.FlagCreate, Seq: 1}, genl(2), u32(1, 1), nest(2, u8(1, 1)))),
		sent(generic, message(wire.Header{Type: 0x33, Flags: wire.FlagRequest, Seq: 1}, genl(2), []byte{1, 2, 3})),
		newFamily,
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 1}, genl(200), u32(1, 1))),
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 1}, genl(wire.CmdBeaconSet), u32(77, 1))),
		sent(generic, message(wire.Header{Type: nlpeer, Seq: 1}, wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdBeaconGet, Reserved: 3}))),
	}},
	{"wrong-attributes", []crossing{
		newFamily,
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 1}, genl(wire.CmdBeaconSet),
			u16(wire.AttrBeaconInterval, 1), with(u8(wire.AttrBeaconGroups, 1), 6, 0xaa), nest(wire.AttrBeaconGenl),
			with(u32(wire.AttrBeaconSize|0x4000, 0), 7, 4))),
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 2}, genl(wire.CmdBeaconSet), with(u32(wire.AttrBeaconSize, 1), 0, 3))),
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 3}, genl(wire.CmdBeaconSet), with(u32(wire.AttrBeaconSize, 1), 0, 99))),
		sent(generic, message(wire.Header{Type: nlpeer, Flags: wire.FlagRequest, Seq: 4}, genl(wire.CmdBeaconSet), u32(wire.AttrBeaconSize, 1), []byte{1, 2})),
	}},
	{"wrong-lengths", []crossing{
		sent(raw, nil),
		sent(raw, echo[:2]), sent(raw, echo[:7]), sent(raw, echo[:12]),
		sent(raw, with(echo, 0, 15)), sent(raw, with(echo, 0, 0)), sent(raw, with(echo, 0, 200)), sent(raw, echo[:21]),
		sent(raw, with(echo, 22, 0x7f)), sent(raw, join(echo, []byte{0xff})),
		received(raw, event[:30]),
	}},
	{"wrong-acknowledgments", []crossing{
		received(raw, message(wire.Header{Type: wire.MsgError, Seq: 1}, []byte{1})),
		received(raw, message(wire.Header{Type: wire.MsgError, Seq: 1}, code(syscall.EPERM), echo[:10])),
		received(raw, message(wire.Header{Type: wire.MsgError, Seq: 1}, code(syscall.EPERM), echo[:18])),
		received(raw, message(wire.Header{Type: wire.MsgError, Seq: 1}, code(syscall.Errno(5000)), with(echo, 0, 3))),
		received(raw, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped, Seq: 1}, code(syscall.EPERM), echo)),
		received(raw, message(wire.Header{Type: wire.MsgDone, Flags: wire.FlagMulti, Seq: 1}, []byte{0, 0})),
		received(raw, message(wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped | wire.FlagAckTLVs, Seq: 1}, code(syscall.EPERM), echo[:16],
			binaryAttr(1, []byte("no NUL")), binaryAttr(1, []byte("two\x00parts\x00")))),
	}},
	{"reserved-types", []crossing{
		sent(raw, message(wire.Header{Type: 0, Flags: wire.FlagRequest})),
		sent(raw, message(wire.Header{Type: wire.MsgNoop, Flags: wire.FlagRequest | wire.FlagAck | 0x8000})),
		sent(raw, message(wire.Header{Type: wire.MsgOverrun}, []byte{1, 2, 3, 4})),
		sent(raw, message(wire.Header{Type: 15}, []byte{1, 2, 3, 4})),
	}},
	{"connector", []crossing{
		sent(connector, message(wire.Header{Type: wire.MsgDone, Seq: 3},
			bytes.Join([][]byte{le32(16), le32(1), le32(3), le32(0), le16(5), le16(0)}, nil), []byte("hello"))),
		received(connector, message(wire.Header{Type: wire.MsgDone},
			bytes.Join([][]byte{le32(16), le32(1), le32(3), le32(0), le16(50), le16(0)}, nil), []byte{1, 2})),
		received(connector, message(wire.Header{Type: wire.MsgDone}, le32(16))),
		received(connector, message(wire.Header{Type: wire.MsgDone},
			bytes.Join([][]byte{le32(16), le32(1), le32(7), le32(0), le16(uint16(len(event) - 16)), le16(0)}, nil), event[16:])),
		received(connector, message(wire.Header{Type: wire.MsgDone},
			bytes.Join([][]byte{le32(1), le32(1), le32(0), le32(0), le16(3), le16(0)}, nil), []byte{1, 2, 3})),
	}},
	{"route", []crossing{
		sent(route, message(wire.Header{Type: 18, Flags: wire.FlagRequest | wire.FlagDump, Seq: 1}, []byte{17, 0, 0, 0})),
		received(route, message(wire.Header{Type: 16, Flags: wire.FlagMulti, Seq: 1, PortID: 88},
			bytes.Join([][]byte{{0, 0}, le16(772), le32(1), le32(0x10049), le32(0)}, nil), text(3, "lo"))),
		sent(route, message(wire.Header{Type: 24, Flags: wire.FlagRequest | wire.FlagCreate | wire.FlagExcl, Seq: 1}, make([]byte, 12))),
		sent(route, message(wire.Header{Type: 25, Flags: wire.FlagRequest | wire.FlagNonRec, Seq: 1}, make([]byte, 12), u32(15, 254))),
		sent(route, message(wire.Header{Type: 999, Flags: wire.FlagRequest, Seq: 1}, []byte{1})),
		sent(route, message(wire.Header{Type: 74, Flags: wire.FlagRequest, Seq: 1})),
	}},
	{"other-protocols", []crossing{
		received(15, []byte("add@/module/nlpeer\x00ACTION=add\x00")),
		received(12, message(wire.Header{Type: 0x100, Seq: 1}, u32(1, 1))),
		received(30, message(wire.Header{Type: 0x100, Flags: 0xffff, Seq: 1}, []byte("text"))),
	}},
}

func le32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func le16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

// What is shown of each datagram, and that nothing of it is left out.
func TestGolden(t *testing.T) {
	if number := binary.NativeEndian.Uint16([]byte{1, 0}); number != 1 {
		t.Skip("the golden files are those of a little-endian machine")
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var d explain.Decoder
			var got []byte
			for _, c := range test.crosses {
				for _, m := range decode(t, &d, c) {
					got = append(m.AppendText(got), '\n')
				}
			}
			golden := filepath.Join("testdata", test.name+".golden")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// decode decodes a datagram and checks what always holds.
func decode(t *testing.T, d *explain.Decoder, c crossing) []explain.Message {
	t.Helper()
	all := d.Decode(explain.Datagram{Protocol: c.protocol, Direction: c.direction, Data: c.data})
	at := 0
	for _, m := range all {
		if m.Offset != at || m.Size == 0 || m.Protocol != c.protocol || m.Direction != c.direction || m.Summary == "" {
			t.Errorf("at %d there is %+v", at, m)
		}
		for _, f := range m.Fields {
			if f.Offset != at || !bytes.Equal(f.Bytes, c.data[at:at+len(f.Bytes)]) || f.Name == "" || f.Depth < 0 ||
				f.Kind == explain.Heading && len(f.Bytes) > 0 || f.Kind == explain.Rest && f.Problem == "" {
				t.Fatalf("at %d of %x there is %+v", at, c.data, f)
			}
			at += len(f.Bytes)
		}
		if at != m.Offset+m.Size {
			t.Fatalf("%d of %x: the fields end at %d, the message at %d", m.Offset, c.data, at, m.Offset+m.Size)
		}
	}
	if at != len(c.data) {
		t.Fatalf("%d of %d bytes are covered", at, len(c.data))
	}
	return all
}

// Values that a program may want.
func TestValues(t *testing.T) {
	var d explain.Decoder
	got := make(map[string]any)
	for _, m := range decode(t, &d, received(raw, event)) {
		for _, f := range m.Fields {
			if f.Kind == explain.Value && !strings.HasPrefix(f.Name, "nl") {
				got[f.Name] = f.Value
			}
		}
		if m.Problems() != 0 || m.Summary != "NETLINK_TEST event" || m.Header.Type != wire.MsgEvent || m.Header.Len != 64 {
			t.Errorf("%+v", m)
		}
	}
	want := map[string]any{"group": uint64(1), "seq": uint64(7), "time": uint64(60e9), "kind": uint64(1), "data": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A module that was loaded with another number.
func TestRawProtocol(t *testing.T) {
	d := explain.Decoder{RawProtocol: 25}
	for protocol, want := range map[int]string{25: "NETLINK_TEST echo", 31: "protocol 31 message of type 16"} {
		if got := decode(t, &d, sent(protocol, echo))[0].Summary; got != want {
			t.Errorf("protocol %d: %q, want %q", protocol, got, want)
		}
	}
}

// In the address family of nlpeer, messages of NETLINK_ROUTE carry attributes of
// the raw protocol; in all others they are what they always were.
func TestObjectsOnRoute(t *testing.T) {
	defer explain.SetObjects("event")()
	for _, test := range []struct {
		typ, family byte
		summary     string
		value       any
	}{
		{72, 127, "NETLINK_ROUTE RTM_NEWADDRLABEL, an object of nlpeer", uint64(7)},
		{74, 127, "NETLINK_ROUTE RTM_GETADDRLABEL, an object of nlpeer", uint64(7)},
		{75, 127, "NETLINK_ROUTE RTM_SETADDRLABEL", nil},
		{72, 10, "NETLINK_ROUTE RTM_NEWADDRLABEL", nil},
	} {
		var d explain.Decoder
		m := decode(t, &d, sent(route, message(wire.Header{Type: uint16(test.typ), Flags: wire.FlagRequest},
			[]byte{test.family, 0, 0, 0}, u64(wire.AttrEventSeq, 7))))[0]
		var value any
		for _, f := range m.Fields {
			if f.Name == "seq" {
				value = f.Value
			}
		}
		if m.Summary != test.summary || value != test.value {
			t.Errorf("type %d, family %d: %q with %v, want %q with %v", test.typ, test.family, m.Summary, value, test.summary, test.value)
		}
	}
}

// acks is an acknowledgment that quotes an acknowledgment, and so on, each without a
// byte of its own but the outcome.
func acks(size int) []byte {
	var b []byte
	for left := size; left >= 4+wire.HeaderLen; left -= 4 + wire.HeaderLen {
		h := binary.NativeEndian.AppendUint32(nil, uint32(left))
		h = append(append(append(h, le16(wire.MsgError)...), le16(0)...), make([]byte, 8)...)
		b = append(append(b, h...), code(syscall.EPERM)...)
	}
	return b
}

// Whoever sends what quotes itself over and over gets no picture that is a thousand
// times as long.
func TestAcksInAcks(t *testing.T) {
	c := received(raw, acks(64000))
	var d explain.Decoder
	m := decode(t, &d, c)[0]
	deepest := 0
	for _, f := range m.Fields {
		deepest = max(deepest, f.Depth)
	}
	if n := len(m.AppendText(nil)); deepest > 17 || n > 10*len(c.data) {
		t.Errorf("%d bytes are shown %d deep, in %d bytes", len(c.data), deepest, n)
	}
	last := m.Fields[len(m.Fields)-1]
	if last.Kind != explain.Rest || last.Problem != "quoted more than 16 deep" {
		t.Errorf("what is not shown is %+v", last)
	}
	// All that the kernel quotes, and more, is followed.
	if m := decode(t, &d, received(raw, acks(17*20)))[0]; m.Problems() != 1 || m.Fields[len(m.Fields)-1].Name != "nlmsg_len" {
		t.Errorf("of 17 acknowledgments in each other there is\n%s", m.AppendText(nil))
	}
}

// What a Decoder keeps is bounded.
func TestManyRequests(t *testing.T) {
	var d explain.Decoder
	for seq := range uint32(5000) {
		d.Decode(explain.Datagram{Protocol: raw, Direction: explain.Sent, Data: message(wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: seq})})
	}
	if n := explain.Requests(&d); n > 1024 {
		t.Errorf("%d requests are kept", n)
	}
}

// Every byte of any datagram is covered once, in order, whatever it holds.
func FuzzDecode(f *testing.F) {
	for _, test := range tests {
		for _, c := range test.crosses {
			f.Add(uint8(c.protocol), uint8(c.direction), c.data)
		}
	}
	f.Add(uint8(raw), uint8(explain.Received), acks(600)) // deeper than what is followed
	f.Fuzz(func(t *testing.T, protocol, direction uint8, data []byte) {
		defer fuzzing.Limit(protocol, direction, data)()
		var d explain.Decoder
		d.AddFamily(nlpeer, "nlpeer")
		c := crossing{int(protocol % 32), explain.Direction(direction % 3), data}
		for _, m := range decode(t, &d, c) {
			text := m.AppendText(nil)
			if bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
				t.Errorf("%x is shown as %q", data, text)
			}
		}
		decode(t, &d, c) // with what it has learnt
	})
}

func Example() {
	b, _ := hex.DecodeString("1500000010000100010000000000000068656c6c6f000000")
	var d explain.Decoder
	for _, m := range d.Decode(explain.Datagram{Protocol: wire.NetlinkTest, Data: b}) {
		fmt.Printf("%s", m.AppendText(nil))
	}
	// Output:
	// NETLINK_TEST echo, 24 bytes
	//       +-------------+ nlmsghdr
	//     0 | 15 00 00 00 |   nlmsg_len    21 bytes, 5 of them after this header
	//     4 | 10 00       |   nlmsg_type   16 NETLINK_TEST_MSG_ECHO
	//     6 |       01 00 |   nlmsg_flags  0x1 NLM_F_REQUEST
	//     8 | 01 00 00 00 |   nlmsg_seq    1, which the answer repeats
	//    12 | 00 00 00 00 |   nlmsg_pid    0
	//       +-------------+ payload
	//    16 | 68 65 6c 6c |   payload      "hello"
	//    20 | 6f          |
	//    21 |    00 00 00 |   padding      up to a multiple of 4
	//       +-------------+
}

// A length is what the bytes say, also where an int has 32 bits.
func TestLargestLength(t *testing.T) {
	m := binary.NativeEndian.AppendUint32(nil, 0xffffffff)
	m = append(m, make([]byte, 12)...)
	var d explain.Decoder
	got := d.Decode(explain.Datagram{Protocol: wire.NetlinkTest, Data: m})
	want := "4294967295 bytes, 4294967279 of them after this header"
	if len(got) != 1 || got[0].Fields[1].Meaning != want || got[0].Fields[1].Problem != "only 16 are there" {
		t.Errorf("%+v, want %q", got, want)
	}
}
