// SPDX-License-Identifier: MIT

package explain

import (
	"fmt"
	"strings"

	"nlpeer/pkg/wire"
)

// A verb is what a message does, as far as the meaning of its flags goes: the
// upper bits of nlmsg_flags mean different things to different messages.
type verb int

const (
	unknownVerb verb = iota
	plain            // the upper bits mean nothing
	get
	create
	remove
	genericVerb // get, as long as both bits of a dump are set
	ack
)

var commonFlags = []enumValue{
	{wire.FlagRequest, "request", "NLM_F_REQUEST"},
	{wire.FlagMulti, "multi", "NLM_F_MULTI"},
	{wire.FlagAck, "ack", "NLM_F_ACK"},
	{wire.FlagEcho, "echo", "NLM_F_ECHO"},
	{wire.FlagDumpIntr, "dump-intr", "NLM_F_DUMP_INTR"},
	{wire.FlagDumpFiltered, "dump-filtered", "NLM_F_DUMP_FILTERED"},
}

var verbFlags = map[verb][]enumValue{
	get: {
		{wire.FlagDump, "dump", "NLM_F_DUMP (ROOT and MATCH)"},
		{wire.FlagRoot, "root", "NLM_F_ROOT"},
		{wire.FlagMatch, "match", "NLM_F_MATCH"},
		{wire.FlagAtomic, "atomic", "NLM_F_ATOMIC"},
	},
	create: {
		{wire.FlagReplace, "replace", "NLM_F_REPLACE"},
		{wire.FlagExcl, "excl", "NLM_F_EXCL"},
		{wire.FlagCreate, "create", "NLM_F_CREATE"},
		{wire.FlagAppend, "append", "NLM_F_APPEND"},
	},
	remove: {
		{wire.FlagNonRec, "nonrec", "NLM_F_NONREC"},
		{wire.FlagBulk, "bulk", "NLM_F_BULK"},
	},
	// The generic netlink core knows a dump by both bits, and refuses the others
	// for new commands: it does not know what a command does (genl_header_check
	// in net/netlink/genetlink.c).
	genericVerb: {
		{wire.FlagDump, "dump", "NLM_F_DUMP"},
		{0x100, "", "0x100 (NLM_F_ROOT, NLM_F_REPLACE or NLM_F_NONREC)"},
		{0x200, "", "0x200 (NLM_F_MATCH, NLM_F_EXCL or NLM_F_BULK)"},
		{0x400, "", "0x400 (NLM_F_ATOMIC or NLM_F_CREATE)"},
		{0x800, "", "0x800 (NLM_F_APPEND)"},
	},
	ack: {
		{wire.FlagCapped, "capped", "NLM_F_CAPPED"},
		{wire.FlagAckTLVs, "ack-tlvs", "NLM_F_ACK_TLVS"},
	},
}

// verb returns what a message does.
func (w *walker) verb(typ uint16) verb {
	switch p := w.m.Protocol; {
	case typ == wire.MsgError || typ == wire.MsgDone && p != protocolConnector:
		return ack
	case typ < wire.MsgMin:
		return plain
	case w.d.isRaw(p):
		return verbOf(rawTable.ops[typ].name)
	case p == wire.NetlinkGeneric:
		return genericVerb
	case p == protocolRoute:
		return [...]verb{create, remove, get, unknownVerb}[typ%4]
	}
	return unknownVerb
}

// verbOf tells by the words of an operation's name.
func verbOf(name string) verb {
	for word := range strings.SplitSeq(name, "-") {
		switch word {
		case "get", "list", "dump":
			return get
		case "new", "add", "set", "replace":
			return create
		case "del":
			return remove
		}
	}
	return plain
}

// flags names the flags of a message.
func (w *walker) flags(h *wire.Header) string {
	v := w.verb(h.Type)
	if v == unknownVerb {
		v = genericVerb // as ambiguous
	}
	text := fmt.Sprintf("%#x", h.Flags)
	if h.Flags == 0 {
		return "0, none"
	}
	names, left := nameBits(uint64(h.Flags), commonFlags)
	more, left := nameBits(left, verbFlags[v])
	names = append(names, more...)
	if left != 0 {
		names = append(names, fmt.Sprintf("%#x (without a meaning here)", left))
	}
	return text + " " + strings.Join(names, " | ")
}

// nameBits names the bits of v and returns those that have no name.
func nameBits(v uint64, values []enumValue) (names []string, left uint64) {
	for _, f := range values {
		if f.value != 0 && v&f.value == f.value {
			names = append(names, f.c)
			v &^= f.value
		}
	}
	return names, v
}
