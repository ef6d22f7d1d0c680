// SPDX-License-Identifier: MIT

package wire

import "errors"

// NetlinkRoute is the protocol number of rtnetlink.
const NetlinkRoute = 0

// Message types of rtnetlink that the peer has for its family, [RtnlFamily]
// (RTM_*ADDRLABEL in linux/rtnetlink.h).
const (
	RtnlNew = 72 // as MsgObjectNew; also the answer to an echo
	RtnlDel = 73 // as MsgObjectDel
	RtnlGet = 74 // as MsgObjectGet; with a payload it is an echo
)

// RtnlHeaderLen is the length of the peer's header on rtnetlink in bytes.
const RtnlHeaderLen = 4

// ErrRtnlShort says that a message is too short for the peer's header on
// rtnetlink.
var ErrRtnlShort = errors.New("rtnetlink header is cut short")

// AppendRtnlHeader appends what follows the message header on rtnetlink: a
// protocol family (struct rtgenmsg) and its padding.
func AppendRtnlHeader(b []byte, family uint8) []byte {
	return append(b, family, 0, 0, 0)
}

// ParseRtnl splits the body of a message of rtnetlink into the protocol family
// and the attributes, a view. It returns [ErrRtnlShort].
//
// It is for families whose header is struct rtgenmsg, as the peer's is.
func ParseRtnl(body []byte) (family uint8, attrs []byte, err error) {
	if len(body) < RtnlHeaderLen {
		return 0, nil, ErrRtnlShort
	}
	return body[0], body[RtnlHeaderLen:], nil
}
