// SPDX-License-Identifier: MIT

package wire_test

import (
	"testing"

	"nlpeer/pkg/wire"
)

func TestNothingIsAllocated(t *testing.T) {
	event := wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 1, Data: []byte("data")}))
	datagram := append(append([]byte(nil), event...), event...)
	refusal := ack(wire.MsgError, wire.FlagCapped|wire.FlagAckTLVs,
		raw(int32(-22), u32(16), u16(16), u16(1), u32(9), u32(0), string(textAttr), string(policyAttr)))
	about := wire.AppendEvent(nil, wire.Event{Group: 2, Seq: 1, Object: object("key", 1, "one", "two", "three")})
	connector := wire.AppendConnector(nil, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal}, about)
	o := object("key", 1, "one", "two", "three")
	var seen int
	buf := make([]byte, 0, 256)
	payload := []byte("payload")

	for _, tt := range []struct {
		name string
		f    func() error
	}{
		{"encode", func() error {
			b := wire.BeginMessage(buf, wire.Header{Type: 30})
			b = wire.AppendGenlHeader(b, wire.GenlHeader{Command: 1})
			b = wire.AppendAttr(b, 1, payload)
			start := len(b)
			b = wire.BeginNest(b, 2)
			b = wire.AppendUint64(b, 1, 1)
			b = wire.AppendString(b, 2, "name")
			b = wire.EndNest(b, start)
			wire.EndMessage(b, 0)
			return nil
		}},
		{"decode", func() error {
			for m, err := range wire.Messages(datagram) {
				if err != nil {
					return err
				}
				for _, err := range wire.Attrs(m.Body) {
					if err != nil {
						return err
					}
				}
				if _, err := wire.ParseEvent(m.Body); err != nil {
					return err
				}
			}
			return nil
		}},
		{"encode object", func() error {
			b := wire.AppendRtnlHeader(buf, wire.RtnlFamily)
			b = wire.AppendObject(b, o)
			b = wire.AppendValues(b, payload, payload)
			b = wire.AppendConnector(b[:0], wire.ConnectorHeader{Seq: 1}, payload)
			wire.AppendEvent(b[:0], wire.Event{Object: o})
			return nil
		}},
		{"decode object", func() error {
			_, attrs, err := wire.ParseConnector(connector)
			if err != nil {
				return err
			}
			e, err := wire.ParseEvent(attrs)
			if err != nil {
				return err
			}
			for v := range e.Object.Values() {
				seen += len(v)
			}
			seen += e.Object.Len() + e.Object.Size()
			if !e.Object.Equal(o) {
				return wire.ErrMissing
			}
			_, _, err = wire.ParseRtnl(attrs)
			return err
		}},
		{"acknowledgment", func() error {
			_, err := wire.ParseAck(refusal)
			return err
		}},
		{"garbage", func() error {
			for range wire.Messages(payload) {
			}
			for range wire.Attrs(payload[:3]) {
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.f(); err != nil {
				t.Fatal(err)
			}
			if n := testing.AllocsPerRun(100, func() { _ = tt.f() }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
