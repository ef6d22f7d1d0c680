// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// What lab 1 was about: a message with one text in it.

const msgText = syscall.NLMSG_MIN_TYPE

// build makes a message. The port in its header is only what the sender says.
func build(port uint32, text string) []byte {
	b := make([]byte, 0, syscall.NLMSG_HDRLEN+len(text)+3)
	b = binary.NativeEndian.AppendUint32(b, uint32(syscall.NLMSG_HDRLEN+len(text)))
	b = binary.NativeEndian.AppendUint16(b, msgText)
	b = binary.NativeEndian.AppendUint16(b, 0) // flags
	b = binary.NativeEndian.AppendUint32(b, 1) // sequence number
	b = binary.NativeEndian.AppendUint32(b, port)
	b = append(b, text...)
	for len(b)%syscall.NLMSG_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

// parse takes one apart.
func parse(b []byte) (headerPort uint32, text string, err error) {
	if len(b) < syscall.NLMSG_HDRLEN {
		return 0, "", errors.New("a datagram that is shorter than a header")
	}
	length := binary.NativeEndian.Uint32(b)
	if length < syscall.NLMSG_HDRLEN || int64(length) > int64(len(b)) {
		return 0, "", errors.New("a message whose length does not fit")
	}
	return binary.NativeEndian.Uint32(b[12:]), string(b[syscall.NLMSG_HDRLEN:length]), nil
}
