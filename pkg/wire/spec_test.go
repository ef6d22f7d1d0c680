// SPDX-License-Identifier: MIT

package wire_test

import (
	"testing"

	"nlpeer/pkg/wire"
)

// A value is shown by the names that the specification has for it, and what it
// has no name for by its number, so that nothing is lost in print.
func TestEnumStrings(t *testing.T) {
	tests := []struct {
		value interface{ String() string }
		want  string
	}{
		{wire.KindBeacon, "beacon"},
		{wire.KindObjectNew, "object-new"},
		{wire.KindObjectChange, "object-change"},
		{wire.KindObjectDel, "object-del"},
		{wire.KindEnd, "end"},
		{wire.Kind(0), "kind(0)"},
		{wire.Kind(1<<32 - 1), "kind(4294967295)"},
		{wire.CarrierRaw, "raw"},
		{wire.CarrierGenl, "genl"},
		{wire.CarrierConnector, "connector"},
		{wire.CarrierRtnl, "rtnl"},
		{wire.Carrier(5), "carrier(5)"},

		{wire.Modifier(0), "0x0"},
		{wire.ModifierReplace, "replace"},
		{wire.ModifierExcl, "excl"},
		{wire.ModifierCreate, "create"},
		{wire.ModifierAppend, "append"},
		{wire.ModifierAppend | wire.ModifierReplace, "replace|append"},
		{wire.Modifier(0xf00), "replace|excl|create|append"},
		{wire.ModifierCreate | 0x1001, "create|0x1001"},
		{wire.Modifier(1<<32 - 1), "replace|excl|create|append|0xfffff0ff"},
		{wire.Modifier(0x80), "0x80"},
	}
	for _, tt := range tests {
		if got := tt.value.String(); got != tt.want {
			t.Errorf("%T %#x: %s, want %s", tt.value, tt.value, got, tt.want)
		}
	}
}

// The bits of a Modifier are those of nlmsg_flags, linux/netlink.h.
func TestModifierBits(t *testing.T) {
	for _, m := range []struct {
		bit  wire.Modifier
		want uint32
	}{
		{wire.ModifierReplace, 0x100}, {wire.ModifierExcl, 0x200},
		{wire.ModifierCreate, 0x400}, {wire.ModifierAppend, 0x800},
	} {
		if uint32(m.bit) != m.want {
			t.Errorf("%v is %#x, want %#x", m.bit, uint32(m.bit), m.want)
		}
	}
}
