// SPDX-License-Identifier: MIT

package explain

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"nlpeer/pkg/wire"
)

// A walker goes through one message. Each of its methods covers bytes from at on
// and moves at; nothing else does. An end is an offset in data that a method does
// not go beyond.
type walker struct {
	d     *Decoder
	data  []byte
	at    int
	m     *Message
	depth int

	// What the message turned out to be, if the tables know it.
	table *table
	set   string
}

// heading begins a header or an attribute.
func (w *walker) heading(format string, args ...any) *Field {
	return w.add(Heading, 0, fmt.Sprintf(format, args...))
}

// add covers n bytes.
func (w *walker) add(kind Kind, n int, name string) *Field {
	w.m.Fields = append(w.m.Fields, Field{
		Kind:   kind,
		Offset: w.at,
		Bytes:  w.data[w.at : w.at+n : w.at+n],
		Depth:  w.depth,
		Name:   name,
	})
	w.at += n
	return &w.m.Fields[len(w.m.Fields)-1]
}

// rest covers all up to end as bytes that can not be interpreted.
func (w *walker) rest(end int, format string, args ...any) {
	if w.at < end {
		f := w.add(Rest, end-w.at, "rest")
		f.Meaning = count(len(f.Bytes), "byte")
		f.Problem = fmt.Sprintf(format, args...)
	}
}

// padding covers what is there of the padding of something that began at start.
func (w *walker) padding(start, end int) {
	n := min(wire.Align(w.at-start)-(w.at-start), end-w.at)
	if n <= 0 {
		return
	}
	f := w.add(Padding, n, "padding")
	f.Meaning = "up to a multiple of 4"
	for _, c := range f.Bytes {
		if c != 0 {
			f.Problem = "not zero: memory of the sender shows, or its lengths are wrong"
		}
	}
}

// A member is one of the numbers that a header consists of.
type member struct {
	name string
	size int
	// mean returns what a value means, nil if the number says it all.
	mean func(v uint64) (meaning, problem string)
}

// members covers a header, and reports whether all of it was there. set, if not
// nil, gets the values.
func (w *walker) members(end int, all []member, set func(name string, v uint64)) bool {
	for _, m := range all {
		if left := end - w.at; left < m.size {
			if left > 0 {
				f := w.add(Value, left, m.name)
				f.Problem = fmt.Sprintf("cut short: %d of %d bytes", left, m.size)
			} else {
				f := w.add(Value, 0, m.name)
				f.Problem = "missing: the bytes end here"
			}
			return false
		}
		f := w.add(Value, m.size, m.name)
		v := number(f.Bytes)
		f.Value = v
		f.Meaning = strconv.FormatUint(v, 10)
		if set != nil {
			set(m.name, v)
		}
		if m.mean != nil {
			f.Meaning, f.Problem = m.mean(v)
		}
	}
	return true
}

// bytes covers all up to end as the bytes that they are.
func (w *walker) bytes(end int, name string) *Field {
	f := w.add(Value, end-w.at, name)
	if printable(f.Bytes) {
		f.Value = string(f.Bytes)
		f.Meaning = quote(f.Bytes)
	} else {
		f.Meaning = count(len(f.Bytes), "byte")
	}
	if len(f.Bytes) == 0 {
		f.Meaning = "empty"
	}
	return f
}

// names returns the attributes among the fields from one on, by their offsets
// from where the message begins.
func (w *walker) names(from, begin int) map[uint32]string {
	var names map[uint32]string
	for _, f := range w.m.Fields[from:] {
		if f.Kind == Heading && strings.HasPrefix(f.Name, attributePrefix) {
			if names == nil {
				names = make(map[uint32]string)
			}
			names[uint32(f.Offset-begin)] = f.Name
		}
	}
	return names
}

// number returns the value of up to 8 bytes in the byte order of this machine.
func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

// bigEndian is number in network byte order.
func bigEndian(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func decimal(n int) string { return strconv.Itoa(n) }

// count writes a number of things.
func count[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.FormatUint(uint64(n), 10) + " " + thing + "s"
}
