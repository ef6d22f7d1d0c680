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
