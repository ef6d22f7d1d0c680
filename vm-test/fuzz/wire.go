// SPDX-License-Identifier: MIT

package fuzz

import (
	"encoding/binary"

	"nlpeer/pkg/wire"
)

var native = binary.NativeEndian

const (
	headerLen = wire.HeaderLen
	attrLen   = wire.AttrHeaderLen

	msgEcho      = wire.MsgEcho
	msgEvent     = wire.MsgEvent
	msgObjectNew = wire.MsgObjectNew

	// The message types of rtnetlink that the peer has (RTM_NEWADDRLABEL…).
	rtmNew, rtmDel, rtmGet = 72, 73, 74
	// The controller of generic netlink.
	ctrlID = 16
)

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// appendAttr lays an attribute out whose header says length.
func appendAttr(b []byte, typ uint16, length int, data []byte) []byte {
	b = native.AppendUint16(b, uint16(length))
	b = native.AppendUint16(b, typ)
	return pad(append(b, data...))
}
