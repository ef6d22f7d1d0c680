// SPDX-License-Identifier: MIT

package wire_test

import (
	"bytes"
	"testing"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/wire"
)

// damaged adds b to the corpus whole, cut short, and with lying lengths.
func damaged(f *testing.F, b []byte) {
	f.Add(b)
	for _, n := range []int{0, 1, 3, 4, 15, 16, len(b) - 1} {
		if n >= 0 && n < len(b) {
			f.Add(b[:n:n])
		}
	}
	for _, i := range []int{0, 1, 2, 16, 20, 36} {
		for _, v := range []byte{0, 1, 3, 0x80, 0xff} {
			if i < len(b) {
				c := bytes.Clone(b)
				c[i] = v
				f.Add(c)
			}
		}
	}
	f.Add(append(bytes.Clone(b), 0))
}

// within tells whether b has the bytes of view at off.
func within(b, view []byte, off int) bool {
	return off+len(view) <= len(b) && bytes.Equal(b[off:off+len(view)], view)
}

func FuzzMessages(f *testing.F) {
	b := wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Seq: 1}, []byte("hello"))
	b = wire.AppendMessage(b, wire.Header{Type: wire.MsgEcho, Seq: 2}, nil)
	damaged(f, b)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		off, rest := 0, b
		for len(rest) > 0 {
			m, next, err := wire.NextMessage(rest)
			if err != nil {
				if next != nil {
					t.Fatal("an error leaves a rest")
				}
				break
			}
			if int(m.Len) != wire.HeaderLen+len(m.Body) || !within(b, m.Body, off+wire.HeaderLen) {
				t.Fatalf("body is not where the header says: %+v", m)
			}
			if len(next) >= len(rest) || len(next) > len(rest)-int(m.Len) {
				t.Fatal("no progress")
			}
			// What was decoded encodes to the same bytes, up to the padding.
			again := wire.AppendMessage(nil, m.Header, m.Body)
			if !bytes.Equal(again[:m.Len], rest[:m.Len]) {
				t.Fatalf("%x encodes to %x", rest[:m.Len], again[:m.Len])
			}
			off += len(rest) - len(next)
			rest = next
		}

		n := 0
		for range wire.Messages(b) {
			n++
		}
		if n > len(b)/wire.HeaderLen+1 {
			t.Fatalf("%d messages in %d bytes", n, len(b))
		}
	})
}

func FuzzAttrs(f *testing.F) {
	b := wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 2, Data: []byte("data")})
	start := len(b)
	b = wire.BeginNest(b, 9)
	b = wire.AppendUint64(b, 1, 1)
	b = wire.EndNest(b, start)
	damaged(f, b)
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		off, rest := 0, b
		for len(rest) > 0 {
			a, next, err := wire.NextAttr(rest)
			if err != nil {
				if next != nil {
					t.Fatal("an error leaves a rest")
				}
				return
			}
			if !within(b, a.Data, off+wire.AttrHeaderLen) || len(next) > len(rest)-wire.AttrHeaderLen-len(a.Data) {
				t.Fatalf("data are not where the header says: %+v", a)
			}
			typ := a.Type
			if a.Nested {
				typ |= 1 << 15
			}
			if a.NetOrder {
				typ |= 1 << 14
			}
			n := wire.AttrHeaderLen + len(a.Data)
			if again := wire.AppendAttr(nil, typ, a.Data); !bytes.Equal(again[:n], rest[:n]) {
				t.Fatalf("%x encodes to %x", rest[:n], again[:n])
			}
			_, _ = a.Uint8()
			_, _ = a.Uint16()
			_, _ = a.Uint32()
			_, _ = a.Int64()
			if bytes.IndexByte(a.Bytes(), 0) >= 0 {
				t.Fatal("NUL in a string")
			}
			off += len(rest) - len(next)
			rest = next
		}
	})
}

func FuzzParseAck(f *testing.F) {
	add := func(typ, flags uint16, body []byte) {
		f.Add(typ, flags, body)
		for i := range len(body) {
			f.Add(typ, flags, body[:i:i])
		}
	}
	head := string(raw(u32(20), u16(16), u16(1), u32(9), u32(0)))
	ext := string(textAttr) + string(offsetAttr) + string(cookieAttr) + string(policyAttr) + string(missType) + string(missNest)
	add(wire.MsgError, wire.FlagCapped, raw(int32(0), head))
	add(wire.MsgError, wire.FlagAckTLVs, raw(int32(-22), head, "abcd", ext))
	add(wire.MsgError, wire.FlagAckTLVs|wire.FlagCapped, raw(int32(-34), head, ext))
	add(wire.MsgDone, wire.FlagAckTLVs, raw(int32(-22), ext))
	f.Fuzz(func(t *testing.T, typ, flags uint16, body []byte) {
		defer fuzzing.Limit(typ, flags, body)()
		a, err := wire.ParseAck(ack(typ, flags, body))
		if a.Errno > 4095 {
			t.Fatalf("errno %d", a.Errno)
		}
		if err != nil && (a.Quote != nil || !a.ExtAck.Empty()) {
			t.Fatalf("an error comes with %+v", a)
		}
		if len(a.Quote)+len(a.ExtAck.Text)+len(a.ExtAck.Cookie) > len(body) {
			t.Fatalf("more than there was: %+v", a)
		}
		_ = a.ExtAck.Policy.String()
	})
}

func FuzzParsePolicy(f *testing.F) {
	damaged(f, policyAttr[wire.AttrHeaderLen:])
	damaged(f, raw(u16(12), u16(4), u64(0), u16(12), u16(5), u64(9), u16(12), u16(2), u64(0), u16(12), u16(12), u64(1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		p, err := wire.ParsePolicy(b)
		if err != nil && p != (wire.Policy{}) {
			t.Fatalf("an error comes with %+v", p)
		}
		if (p.String() == "") != (p.Has == 0) {
			t.Fatalf("%+v is %q", p, p)
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	damaged(f, wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 2, Time: 3, Kind: wire.KindBeacon, Data: []byte("data")}))
	damaged(f, wire.AppendEvent(nil, wire.Event{Group: 2, Seq: 2, Time: 3, Kind: wire.KindObjectDel, Object: object("key", 4, "one", "")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		e, err := wire.ParseEvent(b)
		if err != nil {
			if e.Data != nil || e.Object.Key != nil || e.Object.Attrs != nil || e.Group != 0 || e.Seq != 0 || e.Time != 0 || e.Kind != 0 {
				t.Fatalf("an error comes with %+v", e)
			}
			return
		}
		again, err := wire.ParseEvent(wire.AppendEvent(nil, e))
		if e.Object.Key != nil {
			e.Data = nil // an event has one of them
		}
		if err != nil || !e.Object.Equal(again.Object) || !bytes.Equal(e.Data, again.Data) || e.Group != again.Group || e.Seq != again.Seq || e.Time != again.Time || e.Kind != again.Kind {
			t.Fatalf("%+v comes back as %+v, %v", e, again, err)
		}
	})
}

// What a tick says is what its message says by the long way.
func FuzzParseTick(f *testing.F) {
	event := wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 2, Time: 3, Kind: wire.KindBeacon, Data: []byte("data5")})
	damaged(f, wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, event))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		tick, data, n := wire.ParseTick(b)
		if tick == nil {
			return
		}
		m, rest, err := wire.NextMessage(b)
		if err != nil || m.Type != wire.MsgEvent || len(b)-len(rest) != n {
			t.Fatalf("a tick of %d bytes, but %+v and %d bytes behind it, %v", n, m, len(rest), err)
		}
		e, err := wire.ParseEvent(m.Body)
		if err != nil || e.Object.Key != nil || !bytes.Equal(e.Data, data) || e.Group != tick.Group() || e.Seq != tick.Seq() || e.Time != tick.Time() || e.Kind != tick.Kind() {
			t.Fatalf("a tick, but %+v, %v", e, err)
		}
	})
}

func FuzzParseObject(f *testing.F) {
	damaged(f, wire.AppendObject(nil, object("key", 1, "one", "", "three")))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		o, err := wire.ParseObject(b)
		if err != nil {
			if o.Key != nil || o.Attrs != nil || o.Generation != 0 {
				t.Fatalf("an error comes with %+v", o)
			}
			// Values make do with anything.
			o.Attrs = b
			if o.Size() > len(b) || o.Len() > len(b)/wire.AttrHeaderLen || !o.Equal(o) {
				t.Fatalf("%d values of %d bytes", o.Len(), o.Size())
			}
			return
		}
		if len(o.Key)+o.Size() > len(b) {
			t.Fatalf("more than there was: %+v", o)
		}
		again, err := wire.ParseObject(wire.AppendObject(nil, o))
		if err != nil || !o.Equal(again) || again.Len() != o.Len() {
			t.Fatalf("%+v comes back as %+v, %v", o, again, err)
		}
	})
}

func FuzzParseHeaders(f *testing.F) {
	damaged(f, wire.AppendConnector(nil, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: 1, Ack: 2}, []byte("data")))
	damaged(f, wire.AppendRtnlHeader(nil, wire.RtnlFamily))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		h, data, err := wire.ParseConnector(b)
		switch {
		case err != nil:
			if data != nil || h != (wire.ConnectorHeader{}) {
				t.Fatalf("an error comes with %+v and %x", h, data)
			}
		case !bytes.Equal(wire.AppendConnector(nil, h, data), b[:wire.ConnectorHeaderLen+len(data)]):
			t.Fatalf("%x is %+v and %x", b, h, data)
		}
		family, attrs, err := wire.ParseRtnl(b)
		if (err != nil) != (len(b) < wire.RtnlHeaderLen) || err == nil && (family != b[0] || !bytes.Equal(attrs, b[wire.RtnlHeaderLen:])) {
			t.Fatalf("%x is of family %d, %x, %v", b, family, attrs, err)
		}
	})
}

func FuzzMessageRoundTrip(f *testing.F) {
	f.Add(uint16(16), uint16(1), uint32(2), uint32(3), []byte("hello"), []byte("next"))
	f.Add(uint16(0), uint16(0xffff), uint32(1<<32-1), uint32(0), []byte{}, []byte{0})
	f.Fuzz(func(t *testing.T, typ, flags uint16, seq, port uint32, one, two []byte) {
		defer fuzzing.Limit(typ, flags, seq, port, one, two)()
		if len(one) > wire.AttrDataMax {
			t.Skip()
		}
		h := wire.Header{Type: typ, Flags: flags, Seq: seq, PortID: port}
		b := wire.AppendMessage(nil, h, wire.AppendAttr(nil, typ, one))
		b = wire.AppendMessage(b, h, two)
		if len(b)%4 != 0 {
			t.Fatalf("%d bytes are not aligned", len(b))
		}
		m, rest, err := wire.NextMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		a, left, err := wire.NextAttr(m.Body)
		if err != nil || len(left) != 0 || !bytes.Equal(a.Data, one) || a.Type != typ&0x3fff {
			t.Fatalf("attribute is %+v, %d left, error %v", a, len(left), err)
		}
		m, rest, err = wire.NextMessage(rest)
		h.Len = m.Len
		if err != nil || len(rest) != 0 || m.Header != h || !bytes.Equal(m.Body, two) {
			t.Fatalf("second message is %+v, %d left, error %v", m, len(rest), err)
		}
	})
}
