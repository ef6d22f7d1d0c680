// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/binary"
	"errors"
)

// NetlinkConnector is the protocol number of the connector.
const NetlinkConnector = 11

const (
	// ConnectorHeaderLen is the length of a connector header in bytes.
	ConnectorHeaderLen = 20
	// ConnectorMax is the greatest length of a connector header and its data
	// together that the kernel looks at; it drops what is longer, and says
	// nothing (cn_rx_skb in drivers/connector/connector.c).
	ConnectorMax = 16384
)

// Errors of [ParseConnector].
var (
	// ErrConnectorShort says that a message is too short for a connector header.
	ErrConnectorShort = errors.New("connector header is cut short")
	// ErrConnectorLength says that a connector header's length is more than the
	// bytes that are there.
	ErrConnectorLength = errors.New("connector length does not fit")
)

// A ConnectorHeader is what follows the message header on the connector (struct
// cn_msg). The connector looks at neither the type nor the flags of the message
// header; the kernel sends [MsgDone] and 0.
type ConnectorHeader struct {
	// Idx and Val name the callback that a message is for, or that it is from.
	// Idx is the multicast group as well.
	Idx, Val uint32
	// Seq and Ack are whatever the two sides make of them. The peer repeats both
	// in its answer; in an event Seq is the low half of its number.
	Seq, Ack uint32
	// Len is the length of the data. Encoders compute it.
	Len uint16
	// Flags are 0.
	Flags uint16
}

// AppendConnectorHeader appends h, its Len too.
func AppendConnectorHeader(b []byte, h ConnectorHeader) []byte {
	b = binary.NativeEndian.AppendUint32(b, h.Idx)
	b = binary.NativeEndian.AppendUint32(b, h.Val)
	b = binary.NativeEndian.AppendUint32(b, h.Seq)
	b = binary.NativeEndian.AppendUint32(b, h.Ack)
	b = binary.NativeEndian.AppendUint16(b, h.Len)
	return binary.NativeEndian.AppendUint16(b, h.Flags)
}

// AppendConnector appends h with its Len computed, and data, as the body of a
// message. It panics if data are longer than 65535 bytes, as that cannot be
// expressed.
func AppendConnector(b []byte, h ConnectorHeader, data []byte) []byte {
	if len(data) > 1<<16-1 {
		panic("wire: connector data are longer than 65535 bytes")
	}
	h.Len = uint16(len(data))
	return append(AppendConnectorHeader(b, h), data...)
}

// ParseConnector splits the body of a message of the connector into its header
// and its data, a view. What follows the data is passed over.
//
// It returns [ErrConnectorShort] or [ErrConnectorLength], each with a zero
// header.
func ParseConnector(body []byte) (h ConnectorHeader, data []byte, err error) {
	if len(body) < ConnectorHeaderLen {
		return ConnectorHeader{}, nil, ErrConnectorShort
	}
	h = ConnectorHeader{
		Idx:   binary.NativeEndian.Uint32(body[0:4]),
		Val:   binary.NativeEndian.Uint32(body[4:8]),
		Seq:   binary.NativeEndian.Uint32(body[8:12]),
		Ack:   binary.NativeEndian.Uint32(body[12:16]),
		Len:   binary.NativeEndian.Uint16(body[16:18]),
		Flags: binary.NativeEndian.Uint16(body[18:20]),
	}
	end := ConnectorHeaderLen + int(h.Len)
	if end > len(body) {
		return ConnectorHeader{}, nil, ErrConnectorLength
	}
	return h, body[ConnectorHeaderLen:end:end], nil
}
