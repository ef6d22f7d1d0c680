// SPDX-License-Identifier: MIT

package explain

import (
	"bytes"
	"fmt"
	"strconv"

	"nlpeer/pkg/wire"
)

// message covers one message, to the end of its padding or of the datagram.
func (w *walker) message() {
	start, end := w.at, len(w.data)
	h := &w.m.Header
	if w.m.Protocol == protocolUevent {
		w.uevent(end)
		return
	}
	w.m.Summary = w.d.protocolName(w.m.Protocol) + " message, cut short"
	w.heading("nlmsghdr")
	if !w.header(end, h) {
		return
	}
	n := end - start
	switch {
	case h.Len < wire.HeaderLen:
		w.m.Summary = w.d.protocolName(w.m.Protocol) + " message of an impossible length"
		w.rest(end, "nothing after a length that is wrong can be told apart")
		return
	case uint64(h.Len) < uint64(n):
		n = int(h.Len)
	}
	w.body(*h, start+n)
	w.rest(start+n, "left over in the message")
	w.padding(start, end)
}

// header covers a message's header, and reports whether it was all there.
func (w *walker) header(end int, h *wire.Header) bool {
	quoted := w.depth > 0
	available := end - w.at
	return w.members(end, []member{
		{"nlmsg_len", 4, func(v uint64) (string, string) {
			h.Len = uint32(v)
			meaning := count(v, "byte")
			switch {
			case v < wire.HeaderLen:
				return meaning, "less than this header has"
			case v == wire.HeaderLen:
				meaning += ", this header alone"
			default:
				meaning += fmt.Sprintf(", %d of them after this header", v-wire.HeaderLen)
			}
			if v > uint64(available) && !quoted {
				return meaning, fmt.Sprintf("only %d are there", available)
			}
			return meaning, ""
		}},
		{"nlmsg_type", 2, func(v uint64) (string, string) {
			h.Type = uint16(v)
			if v == 0 {
				return "0", "no message has this type"
			}
			return strconv.FormatUint(v, 10) + words(w.typeName(h.Type)), ""
		}},
		{"nlmsg_flags", 2, func(v uint64) (string, string) {
			h.Flags = uint16(v)
			return w.flags(h), ""
		}},
		{"nlmsg_seq", 4, func(v uint64) (string, string) {
			h.Seq = uint32(v)
			meaning := strconv.FormatUint(v, 10)
			switch {
			case quoted:
			case h.Flags&wire.FlagRequest != 0:
				meaning += ", which the answer repeats"
			case w.m.Direction == Received && v == 0:
				meaning += ": no answer to anything"
			case w.m.Direction == Received:
				meaning += ", as in the request"
			}
			return meaning, ""
		}},
		{"nlmsg_pid", 4, func(v uint64) (string, string) {
			h.PortID = uint32(v)
			meaning := strconv.FormatUint(v, 10)
			switch {
			case quoted:
			case v == 0 && w.m.Direction == Sent:
				meaning += ": left to the kernel"
			case v == 0 && w.m.Direction == Received:
				meaning += ": from the kernel to all who listen"
			case w.m.Direction == Received:
				meaning += ", the port ID of who asked"
			}
			return meaning, ""
		}},
	}, nil)
}

// words puts a name behind a number.
func words(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}

// typeName returns what a message type is called.
func (w *walker) typeName(typ uint16) string {
	if typ < wire.MsgMin {
		return messageTypes[typ]
	}
	switch p := w.m.Protocol; {
	case w.d.isRaw(p):
		return rawTable.ops[typ].c
	case p == wire.NetlinkGeneric && typ == ctrlID:
		return "GENL_ID_CTRL, the family nlctrl"
	case p == wire.NetlinkGeneric:
		if name, ok := w.d.families[typ]; ok {
			return "the family " + name
		}
		return "a family that nlctrl did not name here"
	case p == protocolRoute:
		return routeType(typ)
	}
	return ""
}

// body covers what follows a message's header, or that of a quoted request.
func (w *walker) body(h wire.Header, end int) {
	name := w.d.protocolName(w.m.Protocol)
	summary := &w.m.Summary
	if w.depth > 0 {
		summary = new(string) // a quoted request's is not the message's
	}
	switch p := w.m.Protocol; {
	case h.Type == wire.MsgError:
		*summary = w.nlmsgerr(h, end)
	case p == protocolConnector && h.Type >= wire.MsgDone:
		*summary = w.connector(end)
	case h.Type == wire.MsgDone:
		*summary = w.done(h, end)
	case h.Type < wire.MsgMin:
		*summary = name + " message of type " + strconv.Itoa(int(h.Type)) + words(messageTypes[h.Type])
		w.payload(end)
	case w.d.isRaw(p):
		op, ok := rawTable.ops[h.Type]
		if !ok {
			*summary = fmt.Sprintf("%s message of the unknown type %d", name, h.Type)
			w.unknown(end)
			return
		}
		*summary = name + " " + op.name
		w.operation(&rawTable, op, end)
	case p == wire.NetlinkGeneric:
		*summary = w.generic(h, end)
	case p == protocolRoute:
		*summary = w.route(h, end)
	default:
		*summary = fmt.Sprintf("%s message of type %d", name, h.Type)
		w.unknown(end)
	}
}

// operation covers what an operation of a table carries.
func (w *walker) operation(t *table, op operation, end int) {
	if w.depth == 0 {
		w.table, w.set = t, op.set
	}
	if op.opaque {
		w.heading("payload")
		w.bytes(end, "payload")
		return
	}
	w.attrs(end, t, t.sets[op.set])
}

// unknown covers attributes if the bytes are some, else bytes.
func (w *walker) unknown(end int) {
	if areAttrs(w.data[w.at:end]) {
		w.attrs(end, nil, nil)
		return
	}
	w.payload(end)
}

func (w *walker) payload(end int) {
	if w.at < end {
		w.heading("payload")
		w.bytes(end, "payload")
	}
}

// generic covers the header of generic netlink and what follows.
func (w *walker) generic(h wire.Header, end int) (summary string) {
	family, known := w.d.families[h.Type]
	var t *table
	switch {
	case h.Type == ctrlID:
		t, family = &ctrlTable, ctrlTable.name
	case family == genlTable.name:
		t = &genlTable
	case !known:
		family = fmt.Sprintf("family %d", h.Type)
	}

	var op operation
	var found bool
	var cmd uint64
	w.heading("genlmsghdr")
	whole := w.members(end, []member{
		{"cmd", 1, func(v uint64) (string, string) {
			cmd = v
			if t == nil {
				return strconv.FormatUint(v, 10), ""
			}
			if op, found = t.ops[uint16(v)]; !found {
				return strconv.FormatUint(v, 10), "the family " + t.name + " has no such command"
			}
			return strconv.FormatUint(v, 10) + " " + op.c, ""
		}},
		{"version", 1, nil},
		{"reserved", 2, func(v uint64) (string, string) {
			if v != 0 {
				return strconv.FormatUint(v, 10), "must be 0"
			}
			return "0", ""
		}},
	}, nil)
	switch {
	case !whole:
		return family + " message, cut short"
	case !found:
		w.unknown(end)
		return fmt.Sprintf("%s command %d", family, cmd)
	}
	from := len(w.m.Fields)
	w.operation(t, op, end)
	if t == &ctrlTable && w.m.Direction != Sent {
		w.learn(w.m.Fields[from:])
	}
	return family + " " + op.name
}

// learn looks for the number of a family in what nlctrl says.
func (w *walker) learn(fields []Field) {
	id, name := uint64(0), ""
	for _, f := range fields {
		switch v := f.Value.(type) {
		case uint64:
			if f.Depth == w.depth+1 && f.Name == "family-id" {
				id = v
			}
		case string:
			if f.Depth == w.depth+1 && f.Name == "family-name" {
				name = v
			}
		}
	}
	if id >= wire.MsgMin && name != "" {
		w.d.AddFamily(uint16(id), name)
	}
}

// connector covers the header of the connector, and its data.
func (w *walker) connector(end int) (summary string) {
	w.heading("cn_msg")
	is := make(map[string]uint64)
	if !w.members(end, cnMsg, func(name string, v uint64) { is[name] = v }) {
		return "NETLINK_CONNECTOR message, cut short"
	}
	length := is["len"]
	left := uint64(end - w.at)
	if length > left {
		w.m.Fields[len(w.m.Fields)-2].Problem = fmt.Sprintf("only %d are there", left)
	}
	data := w.at + int(min(length, left))
	if is["id.idx"] != peerIdx || is["id.val"] != peerVal {
		w.heading("data")
		w.bytes(data, "data")
		return "NETLINK_CONNECTOR message"
	}
	// An event of nlpeer has the attributes that it has everywhere; an echo is
	// any bytes.
	if _, err := wire.ParseEvent(w.data[w.at:data]); err == nil && w.m.Direction != Sent {
		w.attrs(data, &rawTable, rawTable.sets["event"])
		return "NETLINK_CONNECTOR event of nlpeer"
	}
	w.heading("data")
	w.bytes(data, "data")
	return "NETLINK_CONNECTOR echo of nlpeer"
}

// uevent covers what the kernel says of devices: texts, without a header.
func (w *walker) uevent(end int) {
	w.m.Summary = "NETLINK_KOBJECT_UEVENT"
	w.heading("texts, each ended by a NUL")
	for first := true; w.at < end; first = false {
		n := bytes.IndexByte(w.data[w.at:end], 0) + 1
		if n == 0 {
			n = end - w.at
		}
		f := w.add(Value, n, "text")
		text := bytes.TrimSuffix(f.Bytes, []byte{0})
		f.Value, f.Meaning = string(text), quote(text)
		if first {
			w.m.Summary += " " + quote(text)
		}
	}
}

// route covers the fixed header of a message of NETLINK_ROUTE, and its
// attributes.
func (w *walker) route(h wire.Header, end int) (summary string) {
	summary = "NETLINK_ROUTE " + routeType(h.Type)
	if routeType(h.Type) == "" {
		summary = fmt.Sprintf("NETLINK_ROUTE message of type %d", h.Type)
	}
	if w.at == end {
		return summary
	}
	if p, ok := peerRoute(h.Type, w.data[w.at]); ok {
		header(w, end, p.header)
		if w.depth == 0 {
			w.table, w.set = p.table, p.set
		}
		w.attrs(end, p.table, p.table.sets[p.set])
		return summary + ", " + p.what
	}

	hdr, ok := routeHeader(h.Type)
	switch {
	case !ok:
		w.unknown(end)
		return summary
	case end-w.at < hdr.size():
		// A request may have the least header of all.
		hdr = rtgenmsg
	}
	if header(w, end, hdr) {
		w.attrs(end, nil, nil)
	}
	return summary
}

// header covers a fixed header and the padding that aligns what follows.
func header(w *walker, end int, s structure) bool {
	start := w.at
	w.heading("%s", s.name)
	if !w.members(end, s.members, nil) {
		return false
	}
	w.padding(start, end)
	return true
}
