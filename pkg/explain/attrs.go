// SPDX-License-Identifier: MIT

package explain

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"nlpeer/pkg/wire"
)

// Flags in an attribute's type.
const (
	attrNested   = 1 << 15
	attrNetOrder = 1 << 14
	attrTypeMask = attrNetOrder - 1
)

// attributePrefix begins the heading of every attribute.
const attributePrefix = "attribute "

// maxNests is how deep nests are followed. The kernel's own limit for what it
// validates is 10 (MAX_POLICY_RECURSION_DEPTH in lib/nlattr.c).
const maxNests = 16

// attrs covers attributes of a set, or of none that is known.
func (w *walker) attrs(end int, t *table, s set) {
	for w.at < end {
		if !w.attr(end, func(typ uint16) (attribute, bool) {
			a, ok := s[typ]
			return a, ok
		}, t) {
			return
		}
	}
}

// array covers attributes whose types are indexes.
func (w *walker) array(end int, t *table, element attribute) {
	for w.at < end {
		if !w.attr(end, func(typ uint16) (attribute, bool) {
			a := element
			a.name = fmt.Sprintf("[%d]", typ)
			return a, true
		}, t) {
			return
		}
	}
}

// attr covers one attribute and its padding. It reports whether another can
// follow.
func (w *walker) attr(end int, find func(typ uint16) (attribute, bool), t *table) bool {
	start, left := w.at, end-w.at
	if left < wire.AttrHeaderLen {
		w.rest(end, "left over: an attribute's header alone has %d bytes", wire.AttrHeaderLen)
		return false
	}
	length, typ := int(number(w.data[start:start+2])), uint16(number(w.data[start+2:start+4]))
	a, known := find(typ & attrTypeMask)
	if !known {
		a = attribute{name: strconv.Itoa(int(typ & attrTypeMask))}
	}

	w.heading("%s%s", attributePrefix, a.name)
	w.depth++
	defer func() { w.depth-- }()

	f := w.add(Value, 2, "nla_len")
	f.Value, f.Meaning = uint64(length), count(length, "byte")
	switch {
	case length < wire.AttrHeaderLen:
		f.Problem = "less than this header has"
	case length == wire.AttrHeaderLen:
		f.Meaning += ", this header alone"
	default:
		f.Meaning += fmt.Sprintf(", %d of them after this header", length-wire.AttrHeaderLen)
	}
	if length > left {
		f.Problem = fmt.Sprintf("only %d are left", left)
	}

	f = w.add(Value, 2, "nla_type")
	f.Value, f.Meaning = uint64(typ), strconv.Itoa(int(typ&attrTypeMask))+words(a.c)
	if typ&attrNested != 0 {
		f.Meaning += " | NLA_F_NESTED"
	}
	if typ&attrNetOrder != 0 {
		f.Meaning += " | NLA_F_NET_BYTEORDER"
	}
	switch nests := strings.HasPrefix(a.typ, "nest"); {
	case !known && t != nil:
		f.Problem = "unknown here"
	case known && typ&attrNested != 0 && !nests:
		f.Problem = "NLA_F_NESTED, but it is no nest"
	}

	if length < wire.AttrHeaderLen {
		w.rest(end, "nothing after a length that is wrong can be told apart")
		return false
	}
	to := start + min(length, left)
	if length > left {
		w.bytes(to, valueName(a, known))
		return false
	}
	if !known && typ&attrNested != 0 && areAttrs(w.data[w.at:to]) {
		a.typ = "nest"
	}
	w.value(to, a, valueName(a, known), typ&attrNetOrder != 0, t)
	w.padding(start, end)
	return true
}

// valueName is what the value of an attribute is called.
func valueName(a attribute, known bool) string {
	if known {
		return a.name
	}
	return "value"
}

// value covers the value of an attribute.
func (w *walker) value(end int, a attribute, name string, netOrder bool, t *table) {
	size := end - w.at
	switch a.typ {
	case "nest", "nest-array", "nest-array-array":
		if w.depth > maxNests {
			w.bytes(end, name).Problem = fmt.Sprintf("nested more than %d deep", maxNests)
			return
		}
		w.nest(end, a, t)
	case "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "uint", "sint":
		w.integer(end, a, name, netOrder)
	case "string", "nul-string":
		w.text(end, name)
	case "flag":
		if f := w.add(Value, size, name); size == 0 {
			f.Meaning = "set, by being there"
		} else {
			f.Meaning, f.Problem = count(size, "byte"), "a flag has no value"
		}
	case "pad":
		if f := w.add(Value, size, name); size == 0 {
			f.Meaning = "aligns the 64-bit value that follows"
		} else {
			f.Meaning = "aligns the 64-bit value that follows, " + count(size, "byte")
		}
	default:
		w.bytes(end, name)
	}
}

// nest covers the attributes in a nest.
func (w *walker) nest(end int, a attribute, t *table) {
	switch {
	case a.typ == "nest-array":
		w.array(end, t, attribute{typ: "nest", nest: a.nest})
	case a.typ == "nest-array-array":
		w.array(end, t, attribute{typ: "nest-array", nest: a.nest})
	case t == nil:
		w.attrs(end, nil, nil)
	default:
		w.attrs(end, t, t.sets[a.nest])
	}
}

// integer covers a number.
func (w *walker) integer(end int, a attribute, name string, netOrder bool) {
	n := end - w.at
	want := integerSizes[a.typ]
	if n != want && !(want == 0 && (n == 4 || n == 8)) {
		f := w.bytes(end, name)
		f.Value, f.Meaning = nil, count(n, "byte")
		f.Problem = fmt.Sprintf("a %s has %s", a.typ, count(want, "byte"))
		if want == 0 {
			f.Problem = fmt.Sprintf("a %s has 4 or 8 bytes", a.typ)
		}
		return
	}
	f := w.add(Value, n, name)
	v := number(f.Bytes)
	if netOrder {
		v = bigEndian(f.Bytes)
	}
	if a.typ[0] == 's' {
		s := int64(v) << (64 - 8*n) >> (64 - 8*n)
		f.Value, f.Meaning = s, strconv.FormatInt(s, 10)
		return
	}
	f.Value, f.Meaning = v, strconv.FormatUint(v, 10)
	if a.enum == "" {
		return
	}
	e, ok := specEnums[a.enum]
	if !ok {
		e, ok = ownEnums[a.enum]
	}
	switch {
	case !ok:
	case e.flags:
		names, left := nameBits(v, e.values)
		f.Meaning = fmt.Sprintf("%#x", v) + words(strings.Join(names, " | "))
		if left != 0 {
			f.Problem = fmt.Sprintf("%#x has no name in %s", left, a.enum)
		}
	default:
		if c := e.name(v); c != "" {
			f.Meaning += " " + c
		} else {
			f.Problem = "no value of the enumeration " + a.enum
		}
	}
}

// text covers a string.
func (w *walker) text(end int, name string) {
	f := w.add(Value, end-w.at, name)
	text, after, ended := bytes.Cut(f.Bytes, []byte{0})
	f.Value, f.Meaning = string(text), quote(text)
	switch {
	case len(bytes.Trim(after, "\x00")) > 0:
		f.Problem = fmt.Sprintf("%s after the NUL that ends it", count(len(after), "byte"))
	case !ended:
		f.Meaning += " without a NUL"
	}
}

// areAttrs says that bytes are attributes and nothing else.
func areAttrs(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	for _, err := range wire.Attrs(b) {
		if err != nil {
			return false
		}
	}
	return true
}

// shownText is how much of a text is shown, in bytes.
const shownText = 60

// quote shows bytes as a quoted string, cut off if long.
func quote(b []byte) string {
	if len(b) <= shownText {
		return strconv.Quote(string(b))
	}
	end := shownText
	for end > shownText-utf8.UTFMax && !utf8.RuneStart(b[end]) {
		end--
	}
	return strconv.Quote(string(b[:end])) + "... " + count(len(b), "byte")
}

// printable says that bytes are text.
func printable(b []byte) bool {
	if len(b) == 0 || !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return false
		}
	}
	return true
}
