// SPDX-License-Identifier: MIT

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

const (
	// AttrHeaderLen is the length of an attribute's header in bytes.
	AttrHeaderLen = 4
	// AttrDataMax is the greatest length of an attribute's data in bytes: the
	// length field has 16 bits and counts the header.
	AttrDataMax = 1<<16 - 1 - AttrHeaderLen
)

// The two upper bits of an attribute's type are flags (NLA_F_* in
// linux/netlink.h).
const (
	attrNested   = 1 << 15
	attrNetOrder = 1 << 14
	attrTypeMask = attrNetOrder - 1
)

// Errors of [NextAttr] and of the methods of [Attr].
var (
	// ErrAttrShort says that fewer bytes are left than an attribute's header
	// has.
	ErrAttrShort = errors.New("netlink attribute header is cut short")
	// ErrAttrLength says that an attribute's length is less than its header's
	// or more than the bytes that are there.
	ErrAttrLength = errors.New("netlink attribute length does not fit")
	// ErrValueLength says that an attribute's data do not have the length of
	// the value that was expected.
	ErrValueLength = errors.New("netlink attribute value has the wrong length")
	// ErrMissing says that an attribute that must be there is not.
	ErrMissing = errors.New("netlink attribute is missing")
)

// An Attr is one attribute (struct nlattr and its data).
type Attr struct {
	// Type is the attribute's number in its set, without the two flags.
	Type uint16
	// Nested says that the flag NLA_F_NESTED is set. A nest without it is
	// legal: older families do not set it.
	Nested bool
	// NetOrder says that the flag NLA_F_NET_BYTEORDER is set. Most families
	// with big-endian values do not set it.
	NetOrder bool
	// Data is the value, a view.
	Data []byte
}

// NextAttr takes the first attribute off b and returns it with the bytes after
// it. The padding of the last attribute may be missing; anything else that is
// left over is an error. After an error nothing in b is to be trusted and the
// rest is nil.
//
// It returns [ErrAttrShort] or [ErrAttrLength].
func NextAttr(b []byte) (a Attr, rest []byte, err error) {
	if len(b) < AttrHeaderLen {
		return Attr{}, nil, ErrAttrShort
	}
	n := int(binary.NativeEndian.Uint16(b[0:2]))
	if n < AttrHeaderLen || n > len(b) {
		return Attr{}, nil, ErrAttrLength
	}
	t := binary.NativeEndian.Uint16(b[2:4])
	return Attr{
		Type:     t & attrTypeMask,
		Nested:   t&attrNested != 0,
		NetOrder: t&attrNetOrder != 0,
		Data:     b[AttrHeaderLen:n:n],
	}, b[min(Align(n), len(b)):], nil
}

// Attrs ranges over attributes. An error is yielded with a zero attribute and
// is the last item.
func Attrs(b []byte) iter.Seq2[Attr, error] {
	return func(yield func(Attr, error) bool) {
		for len(b) > 0 {
			a, rest, err := NextAttr(b)
			if !yield(a, err) || err != nil {
				return
			}
			b = rest
		}
	}
}

// Uint8 returns the data as a u8, or [ErrValueLength] if it is not one byte.
func (a Attr) Uint8() (uint8, error) {
	if len(a.Data) != 1 {
		return 0, ErrValueLength
	}
	return a.Data[0], nil
}

// Uint16 returns the data as a u16, or [ErrValueLength] if they are not two
// bytes.
func (a Attr) Uint16() (uint16, error) {
	if len(a.Data) != 2 {
		return 0, ErrValueLength
	}
	return binary.NativeEndian.Uint16(a.Data), nil
}

// Uint32 returns the data as a u32, or [ErrValueLength] if they are not four
// bytes.
func (a Attr) Uint32() (uint32, error) {
	if len(a.Data) != 4 {
		return 0, ErrValueLength
	}
	return binary.NativeEndian.Uint32(a.Data), nil
}

// Uint64 returns the data as a u64, or [ErrValueLength] if they are not eight
// bytes. They need not be aligned to 8.
func (a Attr) Uint64() (uint64, error) {
	if len(a.Data) != 8 {
		return 0, ErrValueLength
	}
	return binary.NativeEndian.Uint64(a.Data), nil
}

// Int64 returns the data as an s64, or [ErrValueLength] if they are not eight
// bytes.
func (a Attr) Int64() (int64, error) {
	v, err := a.Uint64()
	return int64(v), err
}

// Bytes returns the data up to the first NUL, which is how strings travel with
// and without a NUL at their end. It is a view.
func (a Attr) Bytes() []byte {
	if i := bytes.IndexByte(a.Data, 0); i >= 0 {
		return a.Data[:i]
	}
	return a.Data
}

// appendAttrHeader appends the header of an attribute with n bytes of data.
func appendAttrHeader(b []byte, typ uint16, n int) []byte {
	if n > AttrDataMax {
		panic(fmt.Sprintf("wire: attribute %d has %d bytes of data, at most %d fit", typ, n, AttrDataMax))
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(AttrHeaderLen+n))
	return binary.NativeEndian.AppendUint16(b, typ)
}

// AppendAttr appends an attribute with its padding. It panics if data are
// longer than [AttrDataMax], as that cannot be expressed.
func AppendAttr(b []byte, typ uint16, data []byte) []byte {
	start := len(b)
	b = appendAttrHeader(b, typ, len(data))
	b = append(b, data...)
	return pad(b, start)
}

// AppendString appends a string attribute with a NUL at its end. It panics if
// s and the NUL are longer than [AttrDataMax].
func AppendString(b []byte, typ uint16, s string) []byte {
	start := len(b)
	b = appendAttrHeader(b, typ, len(s)+1)
	b = append(b, s...)
	b = append(b, 0)
	return pad(b, start)
}

// AppendUint8 appends a u8 attribute.
func AppendUint8(b []byte, typ uint16, v uint8) []byte {
	return append(appendAttrHeader(b, typ, 1), v, 0, 0, 0)
}

// AppendUint16 appends a u16 attribute.
func AppendUint16(b []byte, typ uint16, v uint16) []byte {
	b = binary.NativeEndian.AppendUint16(appendAttrHeader(b, typ, 2), v)
	return append(b, 0, 0)
}

// AppendUint32 appends a u32 attribute.
func AppendUint32(b []byte, typ uint16, v uint32) []byte {
	return binary.NativeEndian.AppendUint32(appendAttrHeader(b, typ, 4), v)
}

// AppendUint64 appends a u64 attribute. It is aligned to 4 bytes, not to 8,
// which is all that the kernel asks for.
func AppendUint64(b []byte, typ uint16, v uint64) []byte {
	return binary.NativeEndian.AppendUint64(appendAttrHeader(b, typ, 8), v)
}

// BeginNest appends the header of an attribute that holds attributes, with
// NLA_F_NESTED set. Its start is len(b) before the call; [EndNest] completes
// it.
func BeginNest(b []byte, typ uint16) []byte {
	return appendAttrHeader(b, typ|attrNested, 0)
}

// EndNest completes the nest that begins at b[start]. It panics if what it
// holds is longer than [AttrDataMax].
func EndNest(b []byte, start int) []byte {
	n := len(b) - start
	if n > AttrHeaderLen+AttrDataMax {
		panic(fmt.Sprintf("wire: nest holds %d bytes, at most %d fit", n-AttrHeaderLen, AttrDataMax))
	}
	binary.NativeEndian.PutUint16(b[start:start+2], uint16(n))
	return pad(b, start)
}
