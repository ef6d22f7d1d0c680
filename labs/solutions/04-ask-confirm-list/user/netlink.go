// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// What labs 1 to 3 were about: a socket, and messages as bytes.

const (
	netlinkLab = 31

	solNetlink = 270 // SOL_NETLINK
	extAck     = 11  // NETLINK_EXT_ACK

	headerLen = syscall.NLMSG_HDRLEN
)

// A message is one that was received.
type message struct {
	Type, Flags uint16
	Seq, PortID uint32
	Payload     []byte
}

// A conn is a socket to the book in the kernel.
type conn struct {
	fd  int
	seq uint32 // of the last request

	buf   [4096]byte
	inbox []message // received, but not looked at
	reads int       // datagrams since the last request

	// onRead is called before a datagram is received, with the number of those
	// that came since the last request.
	onRead func(reads int)
}

func dial() (*conn, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkLab)
	if err != nil {
		return nil, fmt.Errorf("socket: %w (is the module loaded?)", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	// The kernel is to say in words what it does not like.
	if err := syscall.SetsockoptInt(fd, solNetlink, extAck, 1); err != nil {
		return nil, fmt.Errorf("NETLINK_EXT_ACK: %w", err)
	}
	// Who waits for an answer that never comes should be told.
	limit := syscall.NsecToTimeval(int64(10 * time.Second))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() { syscall.Close(c.fd) }

// send sends one request, and returns its sequence number.
func (c *conn) send(typ, flags uint16, words ...uint32) (seq uint32, err error) {
	c.seq++
	c.reads = 0
	b := make([]byte, 0, headerLen+4*len(words))
	b = binary.NativeEndian.AppendUint32(b, uint32(headerLen+4*len(words)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags|syscall.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, c.seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows our port ID
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	err = syscall.Sendto(c.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
	if err != nil {
		return 0, fmt.Errorf("send: %w", err)
	}
	return c.seq, nil
}

// receive receives one datagram and puts its messages into the inbox.
func (c *conn) receive() error {
	if c.onRead != nil {
		c.onRead(c.reads)
	}
	n, _, err := syscall.Recvfrom(c.fd, c.buf[:], syscall.MSG_TRUNC)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return errors.New("receive: no answer within 10 seconds")
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case n > len(c.buf):
		return fmt.Errorf("receive: a datagram of %d bytes, and the buffer has %d", n, len(c.buf))
	}
	c.reads++
	for b := c.buf[:n]; len(b) > 0; {
		if len(b) < headerLen {
			return errors.New("receive: a message without a header")
		}
		length := int(binary.NativeEndian.Uint32(b))
		if length < headerLen || length > len(b) {
			return fmt.Errorf("receive: a message says that it has %d bytes, and there are %d", length, len(b))
		}
		c.inbox = append(c.inbox, message{
			Type:    binary.NativeEndian.Uint16(b[4:]),
			Flags:   binary.NativeEndian.Uint16(b[6:]),
			Seq:     binary.NativeEndian.Uint32(b[8:]),
			PortID:  binary.NativeEndian.Uint32(b[12:]),
			Payload: append([]byte(nil), b[headerLen:length]...),
		})
		b = b[min(align(length), len(b)):]
	}
	return nil
}

// align rounds up to a multiple of four.
func align(n int) int { return (n + 3) &^ 3 }
