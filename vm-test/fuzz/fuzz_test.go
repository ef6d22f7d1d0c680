// SPDX-License-Identifier: MIT

package fuzz_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/fuzz"
)

const family = 0x21

// corpus returns programs as a run of the fuzzer makes them.
func corpus(t *testing.T, seed uint64, n int) []*fuzz.Program {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	seeds, err := fuzz.Seeds()
	if err != nil {
		t.Fatal(err)
	}
	var all []*fuzz.Program
	for _, s := range seeds {
		all = append(all, s.Program)
	}
	for range n {
		all = append(all, fuzz.Next(r, all))
	}
	return all
}

// A program is its text, and a seed is a program.
func TestText(t *testing.T) {
	again := corpus(t, 7, 100)
	for i, p := range corpus(t, 7, 100) {
		q, err := fuzz.Parse(p.String())
		if err != nil {
			t.Fatalf("%v in\n%s", err, p)
		}
		if q.String() != p.String() {
			t.Fatalf("%s\ncomes back as\n%s", p, q)
		}
		if again[i].String() != p.String() {
			t.Fatalf("program %d of the same seed is another one", i)
		}
	}
}

// Most requests to delete over generic netlink are good ones: they have a key or a
// prefix, and both is refused.
func TestDeleteOneThing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	good, all := map[uint16]int{}, 0
	for range 2000 {
		for _, op := range fuzz.Generate(r).Ops {
			for _, m := range op.Messages {
				if m.Type != fuzz.TypePeer || len(m.Body) < 4 || m.Body[0] != wire.CmdObjectDel {
					continue
				}
				all++
				var which []uint16
				for rest := m.Body[4:]; len(rest) > 0; {
					a, next, err := wire.NextAttr(rest)
					if err != nil {
						break
					}
					if a.Type == wire.AttrObjectKey || a.Type == wire.AttrObjectPrefix {
						which = append(which, a.Type)
					}
					rest = next
				}
				if len(which) == 1 {
					good[which[0]]++
				}
			}
		}
	}
	key, prefix := good[wire.AttrObjectKey], good[wire.AttrObjectPrefix]
	if 2*(key+prefix) < all || 10*key < all || 10*prefix < all {
		t.Errorf("of %d, %d have only a key and %d only a prefix", all, key, prefix)
	}
}

// Every kind of operation, and every operation of each carrier, comes up.
func TestAllComeUp(t *testing.T) {
	kinds, types := map[string]int{}, map[[2]int]int{}
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		protocol := [fuzz.Sockets]uint32{}
		for _, op := range fuzz.Generate(r).Ops {
			kinds[op.Kind]++
			if op.Kind == fuzz.Open {
				protocol[op.Socket] = op.A
			}
			for _, m := range op.Messages {
				typ := int(m.Type)
				if m.Type == fuzz.TypePeer && len(m.Body) > 0 {
					typ = 1<<16 + int(m.Body[0])
				}
				types[[2]int{int(protocol[op.Socket]), typ}]++
			}
		}
	}
	for _, kind := range []string{fuzz.Open, fuzz.Close, fuzz.Connect, fuzz.Option, fuzz.Buffer, fuzz.SockOpt, fuzz.GetOpt, fuzz.Fail, fuzz.Send, fuzz.Call, fuzz.Receive, fuzz.Namespace, fuzz.Fresh, fuzz.Privilege} {
		if kinds[kind] < 5 {
			t.Errorf("%s came up %d times", kind, kinds[kind])
		}
	}
	want := [][2]int{{fuzz.Route, 72}, {fuzz.Route, 73}, {fuzz.Route, 74}, {fuzz.Connector, unix.NLMSG_DONE}}
	for _, typ := range []int{wire.MsgEcho, wire.MsgEvent, wire.MsgObjectNew, wire.MsgObjectDel, wire.MsgObjectGet} {
		want = append(want, [2]int{fuzz.Raw, typ})
	}
	for cmd := 1; cmd <= wire.CmdObjectGet; cmd++ {
		want = append(want, [2]int{fuzz.Genl, 1<<16 + cmd})
	}
	for _, w := range want {
		if types[w] < 20 {
			t.Errorf("protocol %d, type %#x came up %d times", w[0], w[1], types[w])
		}
	}
}

// What counts as a message is one that the peer gets to see.
func TestTaken(t *testing.T) {
	messages := []fuzz.Message{{Type: fuzz.TypePeer, Len: fuzz.AutoLen}, {Type: 3, Len: fuzz.AutoLen, Body: []byte{1}}, {Type: 16, Len: fuzz.AutoLen}, {Type: 72, Len: 4}, {Type: 73, Len: fuzz.AutoLen}}
	b := fuzz.Datagram(messages, family)
	for protocol, want := range map[int]int{fuzz.Raw: 3, fuzz.Genl: 1, fuzz.Connector: 1, fuzz.Route: 2} {
		if got := fuzz.Taken(b, protocol, family); got != want {
			t.Errorf("protocol %d: %d messages, want %d: the fourth, whose length lies, is the end", protocol, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "race", "0 open", "4 open 0 0 0 0", "0 open 8 0 0 0", "0 opened 0", "0 open 0 4 0 0", "0 open 0 0 0",
		"0 close 0 16/1/=/1/0/", "0 call 0 16/1/=/1/0", "0 call 0 65536/1/=/1/0/", "0 call 0 16/1/=/1/0/abc", "0 call 0 16/1/=/1/0/.61*99999.",
		"0 call 0 16/1/-3/1/0/", "0 call 0 16/1/=/1/0/.6162*3.",
	} {
		if p, err := fuzz.Parse(text); err == nil {
			t.Errorf("%q is taken for\n%s", text, p)
		}
	}
}

// What the kernel sees is tame, wherever lengths that lie lead it.
func TestTame(t *testing.T) {
	for _, p := range corpus(t, 9, 150) {
		for _, op := range p.Ops {
			for protocol := range fuzz.Protocols {
				b := fuzz.Datagram(op.Messages, family)
				fuzz.Tame(b, protocol, family)
				fuzz.Walk(b, func(m []byte) {
					typ := binary.NativeEndian.Uint16(m[4:])
					switch {
					case protocol == fuzz.Genl && typ > 16 && typ != family && typ < 0x7f00:
						t.Errorf("generic netlink: type %d of another family", typ)
					case protocol == fuzz.Route && typ >= 16 && (typ < 72 || typ > 75):
						t.Errorf("rtnetlink: type %d is not the peer's", typ)
					case protocol == fuzz.Route && typ >= 16 && len(m) > 16 && m[16] != wire.RtnlFamily:
						t.Errorf("rtnetlink: family %d", m[16])
					case protocol == fuzz.Connector && len(m) >= 20 && binary.NativeEndian.Uint32(m[16:]) < wire.CnIdx:
						t.Errorf("connector: index %d", m[16])
					}
				})
			}
		}
	}
	burst := func(n uint32) fuzz.Message {
		return fuzz.Message{Type: fuzz.TypePeer, Len: fuzz.AutoLen, Body: wire.AppendUint32([]byte{wire.CmdBeaconSet, 1, 0, 0}, wire.AttrBeaconBurst, n)}
	}
	for _, n := range []uint32{0, 1, 32, 33, 4096, 4097} {
		b := fuzz.Datagram([]fuzz.Message{burst(n)}, family)
		fuzz.Tame(b, fuzz.Genl, family)
		if got := binary.NativeEndian.Uint32(b[24:]); got > 32 && got <= 4096 || (n <= 32 || n > 4096) && got != n {
			t.Errorf("a burst of %d becomes %d", n, got)
		}
	}
}

// The checks of what comes back can fail.
func TestCheckDatagram(t *testing.T) {
	message := func(typ, flags uint16, body []byte) []byte {
		return wire.AppendMessage(nil, wire.Header{Type: typ, Flags: flags, Seq: 9, PortID: 5}, body)
	}
	genl := func(cmd byte, attrs []byte) []byte { return message(family, 0, append([]byte{cmd, 1, 0, 0}, attrs...)) }
	padded := message(wire.MsgEcho, 0, []byte("abcde"))
	quote := message(wire.MsgEcho, 5, nil)
	ack := func(errno int32, extra ...byte) []byte {
		return append(append(binary.NativeEndian.AppendUint32(nil, uint32(errno)), quote...), extra...)
	}
	object := wire.AppendAttr(nil, wire.AttrObjectKey, []byte("key\x00"))
	text := wire.AppendAttr(nil, 1, []byte("no\x00"))
	long := wire.AppendAttr(nil, wire.AttrObjectKey, append([]byte(strings.Repeat("k", wire.KeyMax+1)), 0))
	tests := []struct {
		name     string
		protocol int
		b        []byte
		want     string
	}{
		{"echo", fuzz.Raw, padded, ""},
		{"padding", fuzz.Raw, append(padded[:21:21], 0, 1, 0), "padding of a message"},
		{"echo with flags", fuzz.Raw, message(wire.MsgEcho, 2, nil), "an echo has flags"},
		{"echo beyond its bound", fuzz.Raw, message(wire.MsgEcho, 0, make([]byte, wire.PayloadMax+1)), "longer than what it may answer"},
		{"short", fuzz.Raw, padded[:10], "behind the last message"},
		{"long", fuzz.Raw, padded[:20], "nlmsg_len is 21"},
		{"type", fuzz.Raw, message(21, 0, nil), "no answer has this type"},
		{"object", fuzz.Raw, message(wire.MsgObjectNew, 0, object), ""},
		{"other attribute", fuzz.Raw, message(wire.MsgObjectNew, 0, wire.AppendAttr(nil, wire.AttrObjectPrefix, []byte{0})), "has no business"},
		{"unknown attribute", fuzz.Raw, message(wire.MsgObjectNew, 0, wire.AppendAttr(nil, 99, nil)), "not in the set"},
		{"twice", fuzz.Raw, message(wire.MsgObjectNew, 0, append(object, object...)), "there twice"},
		{"no string", fuzz.Raw, message(wire.MsgObjectNew, 0, wire.AppendAttr(nil, wire.AttrObjectKey, []byte("key"))), "no string"},
		{"long string", fuzz.Raw, message(wire.MsgObjectNew, 0, long), "has 66 bytes"},
		{"size", fuzz.Raw, message(wire.MsgObjectNew, 0, wire.AppendUint32(nil, wire.AttrObjectGeneration, 1)), "generation has 4 bytes"},
		{"attribute padding", fuzz.Raw, message(wire.MsgObjectNew, 0, append(wire.AppendAttr(nil, wire.AttrObjectValue, []byte("x"))[:7], 1)), "padding of an attribute"},
		{"inside a nest", fuzz.Raw, message(wire.MsgEvent, 0, wire.AppendAttr(nil, wire.AttrEventObject, wire.AppendUint32(nil, wire.AttrObjectGeneration, 1))), "object: set object-state: attribute generation"},
		{"generic echo", fuzz.Genl, genl(wire.CmdEcho, wire.AppendAttr(nil, wire.AttrEchoPayload, []byte("x"))), ""},
		{"other command", fuzz.Genl, genl(wire.CmdObjectDel, nil), "command 8"},
		{"other family", fuzz.Genl, message(family+1, 0, make([]byte, 4)), "not of the family"},
		{"ack", fuzz.Raw, message(unix.NLMSG_ERROR, wire.FlagCapped, ack(0)), ""},
		{"error", fuzz.Raw, message(unix.NLMSG_ERROR, wire.FlagAckTLVs, ack(-22, text...)), ""},
		{"errno", fuzz.Raw, message(unix.NLMSG_ERROR, 0, ack(-512)), "errno 512"},
		{"text", fuzz.Raw, message(unix.NLMSG_ERROR, wire.FlagAckTLVs, ack(-22, wire.AppendAttr(nil, 1, []byte("no"))...)), "extended acknowledgment"},
		{"offset", fuzz.Raw, message(unix.NLMSG_ERROR, wire.FlagAckTLVs, ack(-22, wire.AppendUint32(nil, 2, 16)...)), "extended acknowledgment"},
		{"end", fuzz.Raw, message(unix.NLMSG_DONE, 2, make([]byte, 4)), ""},
		{"rtnetlink", fuzz.Route, message(72, 0, append([]byte{127, 0, 0, 0}, object...)), ""},
		{"header of rtnetlink", fuzz.Route, message(72, 0, append([]byte{127, 0, 1, 0}, object...)), "not of the family"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := fuzz.CheckDatagram(tt.b, tt.protocol, family)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Only what the property needs is left.
func TestMinimize(t *testing.T) {
	all := corpus(t, 3, 8)
	p := all[len(all)-1]
	for _, other := range corpus(t, 4, 4) {
		p.Ops = append(p.Ops, other.Ops...)
	}
	p.Ops = append(p.Ops, fuzz.Op{Kind: fuzz.Call, Messages: []fuzz.Message{{Len: fuzz.AutoLen}, {Type: 4711, Len: fuzz.AutoLen}, {Len: fuzz.AutoLen}}})
	has := func(p *fuzz.Program) bool {
		for _, op := range p.Ops {
			for _, m := range op.Messages {
				if m.Type == 4711 {
					return true
				}
			}
		}
		return false
	}
	small := fuzz.Minimize(p, 10000, has)
	if diff := cmp.Diff("0 call 0 4711/0x0/=/0/0/\n", small.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if tried := 0; fuzz.Minimize(p, 5, func(*fuzz.Program) bool { tried++; return false }) != p || tried != 5 {
		t.Errorf("tried %d times", tried)
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := fuzz.Seeds()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		f.Add(s.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		defer fuzzing.Limit(text)()
		p, err := fuzz.Parse(text)
		if err != nil {
			return
		}
		again, err := fuzz.Parse(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%v:\n%s\ncomes back as\n%s", err, p, again)
		}
		for _, op := range p.Ops {
			for protocol := range fuzz.Protocols {
				b := fuzz.Datagram(op.Messages, family)
				fuzz.Tame(b, protocol, family)
				_, _ = fuzz.CheckDatagram(b, protocol, family)
			}
		}
	})
}
