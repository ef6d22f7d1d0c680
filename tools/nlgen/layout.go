// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Sizes and flags of netlink's own headers.
const (
	nlmsgHdrLen = 16
	genlHdrLen  = 4
	attrHdrLen  = 4
	flagRequest = 1
)

// A field is one part of a message, with an example of its bytes. A field that
// is wider than the drawing spans rows.
type field struct {
	name  string
	bytes []byte
	note  string
}

// A layout is a message in the making. The first field is its length, which
// finish fills in.
type layout struct {
	fields []field
}

func (l *layout) size() int {
	n := 0
	for _, f := range l.fields {
		n += len(f.bytes)
	}
	return n
}

func (l *layout) bytes(name string, b []byte, note string) {
	l.fields = append(l.fields, field{name, b, note})
}

func (l *layout) u8(name string, v uint8, note string) { l.bytes(name, []byte{v}, note) }

func (l *layout) u16(name string, v uint16, note string) {
	l.bytes(name, binary.LittleEndian.AppendUint16(nil, v), note)
}

func (l *layout) u32(name string, v uint32, note string) {
	l.bytes(name, binary.LittleEndian.AppendUint32(nil, v), note)
}

// nlmsghdr begins a message.
func (l *layout) nlmsghdr(typ uint16, typeNote string, flags uint16, flagNote string, seq, pid uint32, seqNote, pidNote string) {
	l.u32("nlmsg_len", 0, "")
	l.u16("nlmsg_type", typ, typeNote)
	l.u16("nlmsg_flags", flags, flagNote)
	l.u32("nlmsg_seq", seq, seqNote)
	l.u32("nlmsg_pid", pid, pidNote)
}

// attribute adds one attribute, and fills up to a multiple of 4.
func (l *layout) attribute(a *attr, cname string, value []byte, note string) {
	l.u16("nla_len", uint16(attrHdrLen+len(value)), fmt.Sprintf("%d", attrHdrLen+len(value)))
	l.u16("nla_type", uint16(*a.Value), fmt.Sprintf("%d %s", *a.Value, cname))
	l.bytes(a.Name, value, note)
	if n := -len(value) & 3; n > 0 {
		l.bytes("padding", make([]byte, n), "")
	}
}

// finish sets the length of the message.
func (l *layout) finish() *layout {
	n := l.size()
	binary.LittleEndian.PutUint32(l.fields[0].bytes, uint32(n))
	l.fields[0].note = fmt.Sprintf("%d bytes in all", n)
	return l
}

// cell is how wide a byte is drawn, its right border included.
const cell = 9

// A part is what one row of the drawing holds of a field.
type part struct {
	field
	more bool // the field began in a row above
}

// rows splits the fields into rows of four bytes.
func (l *layout) rows() [][]part {
	var rows [][]part
	room := 0
	for _, f := range l.fields {
		for more := false; len(f.bytes) > 0; more = true {
			if room == 0 {
				rows = append(rows, nil)
				room = 4
			}
			n := min(room, len(f.bytes))
			p := part{f, more}
			if p.bytes = f.bytes[:n]; more {
				p.name, p.note = "", ""
			}
			rows[len(rows)-1] = append(rows[len(rows)-1], p)
			f.bytes = f.bytes[n:]
			room -= n
		}
	}
	return rows
}

// border draws the line between two rows: a dash along both, a plus where a
// field begins or ends, and nothing inside a field that stands in both.
func border(above, below []part) string {
	line := []byte(strings.Repeat(" ", 4*cell+1))
	edges := []int{0}
	for _, row := range [][]part{above, below} {
		at := 0
		for _, p := range row {
			for end := at + cell*len(p.bytes); at < end; at++ {
				line[at] = '-'
			}
			edges = append(edges, at)
		}
	}
	if len(below) > 0 && below[0].more {
		from := cell * (4 - len(above[len(above)-1].bytes))
		to := cell * len(below[0].bytes)
		for at := from; at < to; at++ {
			line[at] = ' '
		}
	}
	for _, at := range edges {
		line[at] = '+'
	}
	return strings.TrimRight(string(line), " ")
}

// String draws the message: a row for every four bytes, with the offset in
// front, and the bytes and notes behind.
func (l *layout) String() string {
	var b strings.Builder
	b.WriteString("offset  +0       +1       +2       +3\n")
	var above []part
	for i, row := range l.rows() {
		inside := row[0].more && len(row[0].bytes) == 4 && len(above) == 1
		if !inside {
			fmt.Fprintf(&b, "       %s\n", border(above, row))
		}

		drawing, hex, notes := "|", "", []string(nil)
		for _, p := range row {
			drawing += fmt.Sprintf("%-*s|", cell*len(p.bytes)-1, " "+p.name)
			hex += fmt.Sprintf("% x ", p.bytes)
			if p.note != "" {
				notes = append(notes, p.note)
			}
		}
		line := fmt.Sprintf("%5d  %-*s  %-12s  %s", 4*i, 4*cell+1, drawing, hex, strings.Join(notes, "; "))
		fmt.Fprintln(&b, strings.TrimRight(line, " "))
		above = row
	}
	fmt.Fprintf(&b, "       %s\n", border(above, nil))
	return b.String()
}

// example is the payload of the echoes and samples are the values of the
// event that are drawn.
const example = "hello"

var samples = map[string]struct {
	value uint64
	note  string
}{
	"group": {1, "group 1"},
	"seq":   {7, "the seventh in the group"},
	"time":  {60_000_000_000, "one minute after boot"},
}

// rawEcho lays out a request to echo on the raw protocol.
func rawEcho(raw *spec, op *operation) *layout {
	l := new(layout)
	l.nlmsghdr(uint16(*op.Value), fmt.Sprintf("%d %s", *op.Value, raw.cOp(op)), flagRequest, "NLM_F_REQUEST", 1, 0, "chosen by the asker", "0 to the kernel")
	l.bytes("payload", []byte(example), fmt.Sprintf("%q", example))
	return l.finish()
}

// genlEcho lays out a request to echo on generic netlink.
func genlEcho(genl *spec, op *operation) *layout {
	l := new(layout)
	l.nlmsghdr(0x1f, "of the family, from nlctrl", flagRequest, "NLM_F_REQUEST", 1, 0, "chosen by the asker", "0 to the kernel")
	l.u8("cmd", uint8(*op.Value), fmt.Sprintf("%d %s", *op.Value, genl.cOp(op)))
	l.u8("version", familyVersion, fmt.Sprintf("version %d", familyVersion))
	l.u16("reserved", 0, "0")
	for _, name := range op.requestAttrs() {
		l.attribute(genl.set(op.AttributeSet).attr(name), cName(genl.Name, "a", op.AttributeSet, name), []byte(example), fmt.Sprintf("%q", example))
	}
	return l.finish()
}

// rawEvent lays out an event on the raw protocol, on a machine that needs no
// padding for 64-bit values. It takes the meaning of the kind from genl; the
// first kind has data and nothing nested.
func rawEvent(genl, raw *spec, op *operation) *layout {
	l := new(layout)
	l.nlmsghdr(uint16(*op.Value), fmt.Sprintf("%d %s", *op.Value, raw.cOp(op)), 0, "no flags", 0, 0, "0: not an answer", "0: from the kernel")
	for _, name := range op.Event.Attributes {
		a := raw.set(op.AttributeSet).attr(name)
		if a.Type == "nest" {
			continue
		}
		value, note := sample(genl, op.AttributeSet, a)
		l.attribute(a, cName(raw.Name, "a", op.AttributeSet, name), value, note)
	}
	return l.finish()
}

// sample makes up a value for an attribute.
func sample(genl *spec, setName string, a *attr) ([]byte, string) {
	s := samples[a.Name]
	if set := genl.set(setName); set != nil {
		if b := set.attr(a.Name); b.Enum != "" {
			e := genl.definition("enum", b.Enum).Entries[0]
			s.value = uint64(*e.Value)
			s.note = fmt.Sprintf("%d %s", *e.Value, cName(genl.Name, b.Enum, e.Name))
		}
	}
	size, scalar := scalars[a.Type]
	if !scalar {
		seq := byte(samples["seq"].value)
		return []byte{seq, seq + 1, seq + 2, seq + 3}, "as many bytes as set, here 4"
	}
	return binary.LittleEndian.AppendUint64(nil, s.value)[:size], s.note
}

// padded returns the attributes of an event before which a machine without
// efficient unaligned access puts a pad, if the attributes begin at offset.
func padded(set *attrSet, names []string, offset int) []string {
	var all []string
	for _, name := range names {
		a := set.attr(name)
		size := scalars[a.Type] // data of any length comes last or not at all
		if a.Type == "u64" {
			if offset%8 == 0 {
				all = append(all, name)
				offset += attrHdrLen
			}
		}
		offset += attrHdrLen + (size+3)&^3
	}
	return all
}

func (w *docWriter) layouts(genl, raw *spec) {
	find := func(s *spec, name string) *operation {
		i := slices.IndexFunc(s.Operations.List, func(op operation) bool { return op.Name == name })
		if i < 0 {
			return nil
		}
		return &s.Operations.List[i]
	}
	draw := func(title, text string, l *layout) {
		w.printf("### %s\n\n", title)
		w.para(text)
		w.printf("```text\n%s```\n\n", l)
	}

	w.printf("## Byte by byte\n\n")
	w.para("Offsets and bytes of three messages as they are on x86-64, where the lowest byte of a number comes first.")
	if op := find(raw, "echo"); op != nil {
		draw("A raw echo", "The payload is not padded: nlmsg_len says where it ends. The answer differs in nlmsg_flags, which is 0, "+
			"and in nlmsg_pid, which is the asker's port ID.", rawEcho(raw, op))
	}
	if op := find(genl, "echo"); op != nil {
		draw("A generic echo", "The length of the payload is nla_len without the 4 bytes of the attribute's header. The message type of the "+
			"family differs from one kernel to the next; ask nlctrl.", genlEcho(genl, op))
	}
	if op := find(raw, "event"); op != nil {
		draw("A raw event", "On the generic family the 4 bytes of genlmsghdr stand between nlmsghdr and the attributes, "+
			"and all offsets behind them are greater by 4.", rawEvent(genl, raw, op))
		set := raw.set(op.AttributeSet)
		where := func(names []string) string {
			if len(names) == 0 {
				return "nowhere"
			}
			return "before " + strings.Join(names, " and ")
		}
		w.para(fmt.Sprintf("A kernel without efficient unaligned access (not x86-64, not arm64) puts an empty attribute pad wherever a u64 would "+
			"not stand at a multiple of 8: %s on the raw protocol, %s on the generic family. So walk the attributes and trust no offset behind the header.",
			where(padded(set, op.Event.Attributes, nlmsgHdrLen)), where(padded(set, op.Event.Attributes, nlmsgHdrLen+genlHdrLen))))
	}
}
