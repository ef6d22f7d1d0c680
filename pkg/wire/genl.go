// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/binary"
	"errors"
)

// GenlHeaderLen is the length of a generic netlink header in bytes.
const GenlHeaderLen = 4

// NetlinkGeneric is the protocol number of generic netlink.
const NetlinkGeneric = 16

// ErrGenlShort says that a message is too short for a generic netlink header.
var ErrGenlShort = errors.New("generic netlink header is cut short")

// A GenlHeader is what follows the message header on generic netlink (struct
// genlmsghdr).
type GenlHeader struct {
	// Command is the family's number for the operation or event.
	Command uint8
	// Version is the family's version that the sender speaks.
	Version uint8
	// Reserved is 0. A kernel with strict checking refuses anything else.
	Reserved uint16
}

// AppendGenlHeader appends h.
func AppendGenlHeader(b []byte, h GenlHeader) []byte {
	b = append(b, h.Command, h.Version)
	return binary.NativeEndian.AppendUint16(b, h.Reserved)
}

// ParseGenl splits the body of a generic netlink message into its header and
// its attributes, a view. It returns [ErrGenlShort].
func ParseGenl(body []byte) (h GenlHeader, attrs []byte, err error) {
	if len(body) < GenlHeaderLen {
		return GenlHeader{}, nil, ErrGenlShort
	}
	h = GenlHeader{
		Command:  body[0],
		Version:  body[1],
		Reserved: binary.NativeEndian.Uint16(body[2:4]),
	}
	return h, body[GenlHeaderLen:], nil
}
