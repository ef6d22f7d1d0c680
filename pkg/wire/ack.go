// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// Attribute types of an extended acknowledgment (enum nlmsgerr_attrs).
const (
	ackAttrText        = 1
	ackAttrOffset      = 2
	ackAttrCookie      = 3
	ackAttrPolicy      = 4
	ackAttrMissingType = 5
	ackAttrMissingNest = 6
)

// maxErrno is the greatest errno that the kernel hands out (MAX_ERRNO in
// linux/err.h).
const maxErrno = 4095

// Errors of [ParseAck], besides those of [NextAttr] and [ErrValueLength].
var (
	// ErrAckType says that a message is neither a [MsgError] nor a [MsgDone].
	ErrAckType = errors.New("netlink message is no acknowledgment")
	// ErrAckShort says that an acknowledgment is too short for what it must
	// hold.
	ErrAckShort = errors.New("netlink acknowledgment is cut short")
	// ErrAckCode says that the code of an acknowledgment is neither 0 nor a
	// negative errno.
	ErrAckCode = errors.New("netlink acknowledgment has no errno")
)

// An Ack is an acknowledgment: the outcome of a request, as a [MsgError] or,
// at the end of a dump, as a [MsgDone].
type Ack struct {
	// Errno is why the request failed, 0 if it succeeded.
	Errno syscall.Errno
	// Request is the header of the request, repeated by the kernel; zero in a
	// [MsgDone].
	Request Header
	// Quote is the payload of the failed request, repeated by the kernel, a
	// view. It is nil if Capped.
	Quote []byte
	// Capped says that the kernel left out the request's payload: always on
	// success, and on failure if the socket asked for it by NETLINK_CAP_ACK.
	Capped bool
	// ExtAck is what the kernel had to say besides, if the socket asked for it
	// by NETLINK_EXT_ACK. On success its text is a warning.
	ExtAck ExtAck
}

// An ExtAck is an extended acknowledgment. Fields that the kernel left out are
// zero, and zero is no value that it sends.
type ExtAck struct {
	// Text says in English what is wrong, a view without the NUL.
	Text []byte
	// Offset is where the bad attribute begins, in bytes from the beginning of
	// the request's header.
	Offset uint32
	// MissingType is the type of an attribute that must be there.
	MissingType uint32
	// MissingNest is the offset of the nest that it is missing from, 0 at the
	// top level. It has no meaning without MissingType.
	MissingNest uint32
	// Cookie is whatever the kernel's subsystem chose to put there, a view.
	Cookie []byte
	// Policy is what the bad attribute's value has to fulfil.
	Policy Policy
}

// Empty says that the kernel sent nothing besides the errno.
func (e *ExtAck) Empty() bool {
	return len(e.Text) == 0 && e.Offset == 0 && e.MissingType == 0 && e.MissingNest == 0 &&
		len(e.Cookie) == 0 && e.Policy == Policy{}
}

// ParseAck decodes the acknowledgment in m, capped or not, with or without an
// extended part, as the flags of m say. Attributes that it does not know are
// passed over. After an error the Errno that it returns is still right, if
// there was one; all else is zero.
//
// It returns [ErrAckType], [ErrAckShort], [ErrAckCode], or the error of an
// attribute.
//
// The form is that of netlink_ack and netlink_dump_done in
// net/netlink/af_netlink.c.
func ParseAck(m Message) (Ack, error) {
	var a Ack
	body := m.Body

	switch m.Type {
	case MsgError:
		if len(body) < 4+HeaderLen {
			return a, ErrAckShort
		}
	case MsgDone:
		// Some subsystems end a dump with an empty message.
		if len(body) == 0 {
			return a, nil
		}
		if len(body) < 4 {
			return a, ErrAckShort
		}
	default:
		return a, ErrAckType
	}

	code := int32(binary.NativeEndian.Uint32(body))
	if code > 0 || code < -maxErrno {
		return a, ErrAckCode
	}
	a.Errno = syscall.Errno(-code)
	failed := Ack{Errno: a.Errno}
	body = body[4:]

	if m.Type == MsgError {
		a.Request, _ = ParseHeader(body)
		body = body[HeaderLen:]
		a.Capped = m.Flags&FlagCapped != 0
		if !a.Capped {
			// The quote is as long as the quoted header says, and padded.
			if a.Request.Len < HeaderLen || uint64(a.Request.Len)-HeaderLen > uint64(len(body)) {
				return failed, ErrAckShort
			}
			n := int(a.Request.Len) - HeaderLen
			a.Quote = body[:n:n]
			body = body[min(Align(n), len(body)):]
		}
	}

	if m.Flags&FlagAckTLVs == 0 {
		return a, nil
	}
	if err := a.ExtAck.parse(body); err != nil {
		return failed, err
	}
	return a, nil
}

func (e *ExtAck) parse(b []byte) error {
	for len(b) > 0 {
		a, rest, err := NextAttr(b)
		if err != nil {
			return err
		}
		b = rest

		switch a.Type {
		case ackAttrText:
			e.Text = a.Bytes()
		case ackAttrOffset:
			e.Offset, err = a.Uint32()
		case ackAttrCookie:
			e.Cookie = a.Data
		case ackAttrPolicy:
			e.Policy, err = ParsePolicy(a.Data)
		case ackAttrMissingType:
			e.MissingType, err = a.Uint32()
		case ackAttrMissingNest:
			e.MissingNest, err = a.Uint32()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
