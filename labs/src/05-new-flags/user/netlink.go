// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// What labs 1 to 4 were about: messages, attributes, acknowledgments.

// A conn is a socket to the kernel.
type conn struct {
	fd  int
	seq uint32
}

func dial(protocol int) (*conn, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	limit := syscall.NsecToTimeval(int64(10 * time.Second))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return &conn{fd: fd}, nil
}

// attr lays an attribute out.
func attr(typ uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// findAttr is the value of the attribute of a type, nil if there is none.
func findAttr(b []byte, typ uint16) []byte {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:]) == typ {
			return b[4:n]
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func words(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// ask sends a request, and returns the payload of the answer, or the errno by
// which it was refused. With NLM_F_ACK the answer is the acknowledgment, and
// has no payload.
func (c *conn) ask(typ, flags uint16, payload ...[]byte) ([]byte, error) {
	c.seq++
	b := make([]byte, syscall.NLMSG_HDRLEN)
	for _, p := range payload {
		b = append(b, p...)
	}
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], flags|syscall.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], c.seq)
	if err := syscall.Sendto(c.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, 16<<10)
	for {
		n, _, err := syscall.Recvfrom(c.fd, buf, 0)
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if n < syscall.NLMSG_HDRLEN+4 {
			return nil, errors.New("an answer that is too short")
		}
		if binary.NativeEndian.Uint32(buf[8:]) != c.seq {
			continue
		}
		body := buf[syscall.NLMSG_HDRLEN:n]
		if binary.NativeEndian.Uint16(buf[4:]) != syscall.NLMSG_ERROR {
			return body, nil
		}
		if errno := -int32(binary.NativeEndian.Uint32(body)); errno != 0 {
			return nil, syscall.Errno(errno)
		}
		return nil, nil
	}
}
