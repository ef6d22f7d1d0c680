// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/binary"
	"errors"
	"iter"
)

// HeaderLen is the length of a netlink message header in bytes.
const HeaderLen = 16

// Message types below MsgMin belong to netlink itself (NLMSG_* in
// linux/netlink.h).
const (
	MsgNoop    = 1
	MsgError   = 2
	MsgDone    = 3
	MsgOverrun = 4
	MsgMin     = 16
)

// Flags that any message may have (NLM_F_* in linux/netlink.h).
const (
	FlagRequest      = 0x1  // a request: the kernel passes over messages without it
	FlagMulti        = 0x2  // one of several parts, which end with a MsgDone
	FlagAck          = 0x4  // asks for an acknowledgment on success too
	FlagEcho         = 0x8  // asks to receive the notification that the request causes
	FlagDumpIntr     = 0x10 // the table changed while it was dumped
	FlagDumpFiltered = 0x20 // the dump was filtered as asked
)

// Flags of requests that get.
const (
	FlagRoot   = 0x100 // return the whole table
	FlagMatch  = 0x200 // return what matches
	FlagAtomic = 0x400 // return a snapshot
	FlagDump   = FlagRoot | FlagMatch
)

// Flags of requests that create.
const (
	FlagReplace = 0x100 // replace what exists
	FlagExcl    = 0x200 // refuse if it exists
	FlagCreate  = 0x400 // create if it does not exist
	FlagAppend  = 0x800 // add to the end of the list
)

// Flags of requests that delete.
const (
	FlagNonRec = 0x100 // do not delete recursively
	FlagBulk   = 0x200 // delete all that match
)

// Flags of acknowledgments, see [ParseAck].
const (
	FlagCapped  = 0x100 // the request's payload is not quoted
	FlagAckTLVs = 0x200 // an extended acknowledgment follows
)

// Errors of [NextMessage].
var (
	// ErrMessageShort says that fewer bytes are left than a header has.
	ErrMessageShort = errors.New("netlink message header is cut short")
	// ErrMessageLength says that a header's length is less than the header's
	// own or more than the bytes that are there.
	ErrMessageLength = errors.New("netlink message length does not fit")
)

// A Header is a netlink message header (struct nlmsghdr).
type Header struct {
	// Len is the length of the message with its header and without padding.
	// Encoders compute it.
	Len uint32
	// Type says what the message is: a value below [MsgMin], a message type of
	// a raw protocol, or the number of a generic netlink family.
	Type uint16
	// Flags are some of the Flag constants.
	Flags uint16
	// Seq is chosen by who asks and repeated by who answers; 0 in events.
	Seq uint32
	// PortID names a socket: in an answer, the one that asked. The kernel does
	// not look at it in a request.
	PortID uint32
}

// A Message is one message of a datagram.
type Message struct {
	Header
	// Body is what follows the header up to Len, a view.
	Body []byte
}

// Align returns n rounded up to the alignment of messages and attributes,
// which is 4.
func Align(n int) int { return (n + 3) &^ 3 }

// pad appends zeros until what was begun at start is aligned.
func pad(b []byte, start int) []byte {
	switch (len(b) - start) & 3 {
	case 1:
		return append(b, 0, 0, 0)
	case 2:
		return append(b, 0, 0)
	case 3:
		return append(b, 0)
	}
	return b
}

// AppendHeader appends h as it is, its Len too.
func AppendHeader(b []byte, h Header) []byte {
	b = append(b, make([]byte, HeaderLen)...)
	PutHeader(b[len(b)-HeaderLen:], h)
	return b
}

// PutHeader writes h over the first [HeaderLen] bytes of b. It panics if b is
// shorter.
func PutHeader(b []byte, h Header) {
	_ = b[HeaderLen-1]
	binary.NativeEndian.PutUint32(b[0:4], h.Len)
	binary.NativeEndian.PutUint16(b[4:6], h.Type)
	binary.NativeEndian.PutUint16(b[6:8], h.Flags)
	binary.NativeEndian.PutUint32(b[8:12], h.Seq)
	binary.NativeEndian.PutUint32(b[12:16], h.PortID)
}

// BeginMessage appends h to start a message at len(b). [EndMessage] completes
// it.
func BeginMessage(b []byte, h Header) []byte { return AppendHeader(b, h) }

// EndMessage completes the message that begins at b[start]: it writes its
// length and appends padding.
func EndMessage(b []byte, start int) []byte {
	binary.NativeEndian.PutUint32(b[start:start+4], uint32(len(b)-start))
	return pad(b, start)
}

// AppendMessage appends a whole message: h with its Len computed, body, and
// padding.
func AppendMessage(b []byte, h Header, body []byte) []byte {
	start := len(b)
	b = AppendHeader(b, h)
	b = append(b, body...)
	return EndMessage(b, start)
}

// ParseHeader decodes the header at the front of b and believes it: nothing
// but the presence of its bytes is checked. Use [NextMessage] to take messages
// apart.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, ErrMessageShort
	}
	return Header{
		Len:    binary.NativeEndian.Uint32(b[0:4]),
		Type:   binary.NativeEndian.Uint16(b[4:6]),
		Flags:  binary.NativeEndian.Uint16(b[6:8]),
		Seq:    binary.NativeEndian.Uint32(b[8:12]),
		PortID: binary.NativeEndian.Uint32(b[12:16]),
	}, nil
}

// MessageLen returns the length of the first message of a datagram, without its
// padding. It is 0 if the first message is cut short or has a length that does
// not fit, and then [NextMessage] says which. It is for who walks through many
// small messages and looks at the header in place.
func MessageLen(b []byte) int {
	if len(b) < HeaderLen {
		return 0
	}
	n := uint64(binary.NativeEndian.Uint32(b))
	if n < HeaderLen || n > uint64(len(b)) {
		return 0
	}
	return int(n)
}

// NextMessage takes the first message off a datagram and returns it with the
// bytes after it. The padding of the last message may be missing. After an
// error nothing in b is to be trusted and the rest is nil.
//
// It returns [ErrMessageShort] or [ErrMessageLength].
func NextMessage(b []byte) (m Message, rest []byte, err error) {
	h, err := ParseHeader(b)
	if err != nil {
		return Message{}, nil, err
	}
	if h.Len < HeaderLen || uint64(h.Len) > uint64(len(b)) {
		return Message{}, nil, ErrMessageLength
	}
	n := int(h.Len)
	end := min(Align(n), len(b))
	return Message{Header: h, Body: b[HeaderLen:n:n]}, b[end:], nil
}

// Messages ranges over the messages of a datagram. An error is yielded with a
// zero message and is the last item.
func Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for len(b) > 0 {
			m, rest, err := NextMessage(b)
			if !yield(m, err) || err != nil {
				return
			}
			b = rest
		}
	}
}
