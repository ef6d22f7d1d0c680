// SPDX-License-Identifier: MIT

package fuzz

import "slices"

// A table is what the specification says of a protocol.
type table struct {
	ops  []operation
	sets map[string]set
}

// An operation lists the numbers of the attributes that its requests may have,
// and its answers or events. Without a list there is no such message.
type operation struct {
	number, reply    uint16
	name, set        string
	opaque           bool // bytes, not attributes
	do, dump, answer []uint16
}

// A set is one number space of attributes.
type set map[uint16]attribute

type attribute struct {
	name, typ                          string
	nest                               string // the set of a nest
	multi                              bool   // may occur several times
	min, max, minLen, maxLen, exactLen uint64 // 0 for no limit
}

// size is the length of an attribute's value, -1 if it varies.
func (a attribute) size() int {
	switch a.typ {
	case "flag", "pad":
		return 0
	case "u8", "s8":
		return 1
	case "u16", "s16":
		return 2
	case "u32", "s32":
		return 4
	case "u64", "s64":
		return 8
	}
	if a.exactLen != 0 {
		return int(a.exactLen)
	}
	return -1
}

// What answers have on carriers without a table of their own.
var (
	objectAnswer = rawTable.answer(msgObjectNew)
	eventAnswer  = rawTable.answer(msgEvent)
)

// answer finds the operation whose answers or events have a number.
func (t *table) answer(number uint16) *operation {
	i := slices.IndexFunc(t.ops, func(op operation) bool { return op.answer != nil && op.reply == number })
	if i < 0 {
		return nil
	}
	return &t.ops[i]
}
