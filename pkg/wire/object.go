// SPDX-License-Identifier: MIT

package wire

import (
	"bytes"
	"iter"
)

// An Object is an object of a namespace's table, the same on every carrier.
type Object struct {
	// Key is its name, a view.
	Key []byte
	// Generation is the number of the change that made it what it is.
	Generation uint64
	// Attrs are the attributes that it was decoded from, a view. Values ranges
	// over the values among them, Len counts those.
	Attrs []byte
}

// ParseObject decodes the attributes of an object. Those that it does not know
// are passed over; key and generation must be there.
//
// It returns [ErrMissing], [ErrValueLength], or an error of [NextAttr], each
// with a zero Object.
func ParseObject(attrs []byte) (Object, error) {
	o := Object{Attrs: attrs}
	var have uint
	for len(attrs) > 0 {
		a, rest, err := NextAttr(attrs)
		if err != nil {
			return Object{}, err
		}
		attrs = rest

		switch a.Type {
		case AttrObjectKey:
			o.Key = a.Bytes()
			have |= 1
		case AttrObjectGeneration:
			o.Generation, err = a.Uint64()
			have |= 2
		}
		if err != nil {
			return Object{}, err
		}
	}
	if have != 3 {
		return Object{}, ErrMissing
	}
	return o, nil
}

// Values ranges over the values, which are views, in their order. It ends at
// the first attribute that makes no sense, of which [ParseObject] leaves none.
func (o Object) Values() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for b := o.Attrs; len(b) > 0; {
			a, rest, err := NextAttr(b)
			if err != nil || a.Type == AttrObjectValue && !yield(a.Data) {
				return
			}
			b = rest
		}
	}
}

// Len is the number of values.
func (o Object) Len() int {
	n := 0
	for range o.Values() {
		n++
	}
	return n
}

// Size is the number of bytes of all values together.
func (o Object) Size() int {
	n := 0
	for v := range o.Values() {
		n += len(v)
	}
	return n
}

// Equal says that two objects have the same key, generation and values, whatever
// other attributes they were decoded from.
func (o Object) Equal(p Object) bool {
	if !bytes.Equal(o.Key, p.Key) || o.Generation != p.Generation {
		return false
	}
	a, b := o.Attrs, p.Attrs
	for {
		v, moreA := nextValue(&a)
		w, moreB := nextValue(&b)
		if moreA != moreB || !bytes.Equal(v, w) {
			return false
		}
		if !moreA {
			return true
		}
	}
}

// nextValue takes the first value off attributes, and all before it.
func nextValue(b *[]byte) (value []byte, ok bool) {
	for len(*b) > 0 {
		a, rest, err := NextAttr(*b)
		*b = rest
		if err == nil && a.Type == AttrObjectValue {
			return a.Data, true
		}
	}
	return nil, false
}

// AppendObject appends the attributes of o in the order in which the kernel
// sends them: key, generation, values.
func AppendObject(b []byte, o Object) []byte {
	start := len(b)
	b = appendAttrHeader(b, AttrObjectKey, len(o.Key)+1)
	b = append(b, o.Key...)
	b = append(b, 0)
	b = pad(b, start)
	b = AppendUint64(b, AttrObjectGeneration, o.Generation)
	for v := range o.Values() {
		b = AppendAttr(b, AttrObjectValue, v)
	}
	return b
}

// AppendValues appends values as attributes of an object. It panics if one is
// longer than [AttrDataMax].
func AppendValues(b []byte, values ...[]byte) []byte {
	for _, v := range values {
		b = AppendAttr(b, AttrObjectValue, v)
	}
	return b
}
