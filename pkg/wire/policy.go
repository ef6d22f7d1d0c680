// SPDX-License-Identifier: MIT

package wire

import (
	"fmt"
	"math"
	"strings"
)

// A PolicyType is the kind of value that an attribute must have (enum
// netlink_attribute_type).
type PolicyType uint32

// The types that the kernel reports.
const (
	PolicyInvalid PolicyType = iota // no such attribute
	PolicyFlag
	PolicyU8
	PolicyU16
	PolicyU32
	PolicyU64
	PolicyS8
	PolicyS16
	PolicyS32
	PolicyS64
	PolicyBinary
	PolicyString
	PolicyNulString
	PolicyNested
	PolicyNestedArray
	PolicyBitfield32
	PolicySint
	PolicyUint
)

var policyTypes = [...]string{
	"invalid", "flag", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64",
	"binary", "string", "nul-string", "nested", "nested-array", "bitfield32", "sint", "uint",
}

// String returns the type's name as the specifications in spec/ write it.
func (t PolicyType) String() string {
	if int64(t) < int64(len(policyTypes)) {
		return policyTypes[t]
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Attribute types of a policy (enum netlink_policy_type_attr).
const (
	policyAttrType     = 1
	policyAttrMinS     = 2
	policyAttrMaxS     = 3
	policyAttrMinU     = 4
	policyAttrMaxU     = 5
	policyAttrMinLen   = 6
	policyAttrMaxLen   = 7
	policyAttrIndex    = 8
	policyAttrMaxType  = 9
	policyAttrBitfield = 10
	policyAttrMask     = 12
)

// A PolicyField names a field of a [Policy].
type PolicyField uint16

// The fields that may be absent.
const (
	PolicyHasType PolicyField = 1 << iota
	PolicyHasMinS
	PolicyHasMaxS
	PolicyHasMinU
	PolicyHasMaxU
	PolicyHasMinLen
	PolicyHasMaxLen
	PolicyHasIndex
	PolicyHasMaxType
	PolicyHasBitfield
	PolicyHasMask
)

// A Policy is what the kernel demands of an attribute, as it says so in an
// extended acknowledgment (since Linux 5.10) and in policy dumps. The zero
// Policy says nothing.
type Policy struct {
	// Has tells which of the other fields the kernel sent.
	Has PolicyField
	// Type is the kind of value.
	Type PolicyType
	// MinS and MaxS bound a signed number.
	MinS, MaxS int64
	// MinU and MaxU bound an unsigned number.
	MinU, MaxU uint64
	// MinLen and MaxLen bound the length of strings and binary data, in bytes.
	MinLen, MaxLen uint32
	// Index and MaxType tell which policy a nest's attributes have, and their
	// greatest type; in policy dumps only.
	Index, MaxType uint32
	// Bitfield holds the bits that a bitfield32 may have.
	Bitfield uint32
	// Mask holds the bits that an unsigned number may have.
	Mask uint64
}

// ParsePolicy decodes the attributes of a policy. Those that it does not know
// are passed over. It returns the errors of [NextAttr] and [ErrValueLength],
// each with a zero Policy.
func ParsePolicy(attrs []byte) (Policy, error) {
	var p Policy
	for len(attrs) > 0 {
		a, rest, err := NextAttr(attrs)
		if err != nil {
			return Policy{}, err
		}
		attrs = rest

		var has PolicyField
		switch a.Type {
		case policyAttrType:
			var t uint32
			t, err = a.Uint32()
			p.Type, has = PolicyType(t), PolicyHasType
		case policyAttrMinS:
			p.MinS, err = a.Int64()
			has = PolicyHasMinS
		case policyAttrMaxS:
			p.MaxS, err = a.Int64()
			has = PolicyHasMaxS
		case policyAttrMinU:
			p.MinU, err = a.Uint64()
			has = PolicyHasMinU
		case policyAttrMaxU:
			p.MaxU, err = a.Uint64()
			has = PolicyHasMaxU
		case policyAttrMinLen:
			p.MinLen, err = a.Uint32()
			has = PolicyHasMinLen
		case policyAttrMaxLen:
			p.MaxLen, err = a.Uint32()
			has = PolicyHasMaxLen
		case policyAttrIndex:
			p.Index, err = a.Uint32()
			has = PolicyHasIndex
		case policyAttrMaxType:
			p.MaxType, err = a.Uint32()
			has = PolicyHasMaxType
		case policyAttrBitfield:
			p.Bitfield, err = a.Uint32()
			has = PolicyHasBitfield
		case policyAttrMask:
			p.Mask, err = a.Uint64()
			has = PolicyHasMask
		}
		if err != nil {
			return Policy{}, err
		}
		p.Has |= has
	}
	return p, nil
}

// String describes the policy in a few words, for example
// "u32 from 0 to 3600000" or "binary of at most 32768 bytes". It is empty for
// the zero Policy.
func (p Policy) String() string {
	if p.Has == 0 {
		return ""
	}

	words := []string{"value"}
	if p.Has&PolicyHasType != 0 {
		words[0] = p.Type.String()
	}
	has := func(f PolicyField) bool { return p.Has&f == f }
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }

	// The kernel sends both bounds of a number even if its type alone is the
	// bound; the greatest number of 64 bits tells a reader nothing.
	switch {
	case has(PolicyHasMinS | PolicyHasMaxS):
		if p.MinS != math.MinInt64 || p.MaxS != math.MaxInt64 {
			add("from %d to %d", p.MinS, p.MaxS)
		}
	case has(PolicyHasMinU | PolicyHasMaxU):
		if p.MinU != 0 || p.MaxU != math.MaxUint64 {
			add("from %d to %d", p.MinU, p.MaxU)
		}
	case has(PolicyHasMinS):
		add("of at least %d", p.MinS)
	case has(PolicyHasMaxS):
		add("of at most %d", p.MaxS)
	case has(PolicyHasMinU):
		add("of at least %d", p.MinU)
	case has(PolicyHasMaxU):
		add("of at most %d", p.MaxU)
	}
	switch {
	case has(PolicyHasMinLen|PolicyHasMaxLen) && p.MinLen == p.MaxLen:
		add("of exactly %d bytes", p.MinLen)
	case has(PolicyHasMinLen | PolicyHasMaxLen):
		add("of %d to %d bytes", p.MinLen, p.MaxLen)
	case has(PolicyHasMinLen):
		add("of at least %d bytes", p.MinLen)
	case has(PolicyHasMaxLen):
		add("of at most %d bytes", p.MaxLen)
	}
	if has(PolicyHasBitfield) {
		add("with bits %#x", p.Bitfield)
	}
	if has(PolicyHasMask) {
		add("with bits %#x", p.Mask)
	}
	return strings.Join(words, " ")
}
