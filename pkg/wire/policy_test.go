// SPDX-License-Identifier: MIT

package wire_test

import (
	"errors"
	"math"
	"testing"

	"nlpeer/pkg/wire"
)

func TestParsePolicy(t *testing.T) {
	in := raw(
		u16(8), u16(1), u32(4),
		u16(12), u16(2), u64(math.MaxUint64), // -1
		u16(4), u16(11), // padding
		u16(12), u16(3), u64(1),
		u16(12), u16(4), u64(2),
		u16(12), u16(5), u64(3),
		u16(8), u16(6), u32(4),
		u16(8), u16(7), u32(5),
		u16(8), u16(8), u32(6),
		u16(8), u16(9), u32(7),
		u16(8), u16(10), u32(8),
		u16(12), u16(12), u64(9),
		u16(8), u16(77), u32(1), // from a later kernel
	)
	got, err := wire.ParsePolicy(in)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, wire.Policy{
		Has: 1<<11 - 1, Type: wire.PolicyU32,
		MinS: -1, MaxS: 1, MinU: 2, MaxU: 3, MinLen: 4, MaxLen: 5,
		Index: 6, MaxType: 7, Bitfield: 8, Mask: 9,
	}, got)

	for typ := range uint16(13) {
		if typ == 0 || typ == 11 {
			continue
		}
		got, err := wire.ParsePolicy(raw(u16(5), typ, u32(1)))
		if !errors.Is(err, wire.ErrValueLength) {
			t.Errorf("attribute %d of one byte: error is %v", typ, err)
		}
		diff(t, wire.Policy{}, got)
	}
	if _, err := wire.ParsePolicy(raw(u16(3), u16(1))); !errors.Is(err, wire.ErrAttrLength) {
		t.Errorf("error is %v", err)
	}
}

func TestPolicyString(t *testing.T) {
	const (
		typ  = wire.PolicyHasType
		rngU = wire.PolicyHasMinU | wire.PolicyHasMaxU
		rngS = wire.PolicyHasMinS | wire.PolicyHasMaxS
	)
	tests := []struct {
		in   wire.Policy
		want string
	}{
		{wire.Policy{}, ""},
		{wire.Policy{Has: typ, Type: wire.PolicyFlag}, "flag"},
		{wire.Policy{Has: typ | rngU, Type: wire.PolicyU32, MaxU: 3600000}, "u32 from 0 to 3600000"},
		{wire.Policy{Has: typ | rngU, Type: wire.PolicyU64, MaxU: math.MaxUint64}, "u64"},
		{wire.Policy{Has: typ | rngS, Type: wire.PolicyS8, MinS: -3, MaxS: 4}, "s8 from -3 to 4"},
		{wire.Policy{Has: typ | rngS, Type: wire.PolicyS64, MinS: math.MinInt64, MaxS: math.MaxInt64}, "s64"},
		{wire.Policy{Has: typ | wire.PolicyHasMinU, Type: wire.PolicyU8, MinU: 3}, "u8 of at least 3"},
		{wire.Policy{Has: typ | wire.PolicyHasMaxU, Type: wire.PolicyU8, MaxU: 3}, "u8 of at most 3"},
		{wire.Policy{Has: typ | wire.PolicyHasMinS, Type: wire.PolicyS8, MinS: -3}, "s8 of at least -3"},
		{wire.Policy{Has: typ | wire.PolicyHasMaxS, Type: wire.PolicyS8, MaxS: -3}, "s8 of at most -3"},
		{wire.Policy{Has: typ | wire.PolicyHasMaxLen, Type: wire.PolicyBinary, MaxLen: 32768}, "binary of at most 32768 bytes"},
		{wire.Policy{Has: typ | wire.PolicyHasMinLen, Type: wire.PolicyBinary, MinLen: 2}, "binary of at least 2 bytes"},
		{wire.Policy{Has: typ | wire.PolicyHasMinLen | wire.PolicyHasMaxLen, Type: wire.PolicyString, MinLen: 2, MaxLen: 9}, "string of 2 to 9 bytes"},
		{wire.Policy{Has: typ | wire.PolicyHasMinLen | wire.PolicyHasMaxLen, Type: wire.PolicyBinary, MinLen: 6, MaxLen: 6}, "binary of exactly 6 bytes"},
		{wire.Policy{Has: typ | wire.PolicyHasBitfield, Type: wire.PolicyBitfield32, Bitfield: 6}, "bitfield32 with bits 0x6"},
		{wire.Policy{Has: typ | wire.PolicyHasMask, Type: wire.PolicyU32, Mask: 7}, "u32 with bits 0x7"},
		{wire.Policy{Has: typ, Type: 99}, "type 99"},
		{wire.Policy{Has: rngU, MaxU: 1}, "value from 0 to 1"},
	}
	for _, tt := range tests {
		diff(t, tt.want, tt.in.String())
	}
	// Every type has a name.
	for typ := wire.PolicyInvalid; typ <= wire.PolicyUint; typ++ {
		if s := typ.String(); s == "" || len(s) > 5 && s[:5] == "type " {
			t.Errorf("type %d has no name", uint32(typ))
		}
	}
}
