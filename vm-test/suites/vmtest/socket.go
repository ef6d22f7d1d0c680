// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The contract, written out once more on purpose: a change of spec/ that would
// break programs in the field must turn a test red.
const (
	NetlinkTest = 31
	MsgEcho     = 16
	MsgEvent    = 17
	CmdEcho     = 1
	PayloadMax  = 32768
)

var native = binary.NativeEndian

// Socket is a netlink socket with nothing in between.
type Socket struct {
	FD     int
	PortID uint32
	buf    []byte // of TryRecv
}

// Open makes a socket and binds it to a port ID (0: the kernel chooses) and
// groups. It is closed when the test ends.
func Open(t testing.TB, protocol int, portID, groups uint32) *Socket {
	t.Helper()
	s, err := TryOpen(protocol, portID, groups)
	if err != nil {
		t.Fatalf("netlink socket of protocol %d, port %d, groups %#x: %v", protocol, portID, groups, err)
	}
	t.Cleanup(s.Close)
	return s
}

// TryOpen is Open for those who expect an error, or have no test at hand.
func TryOpen(protocol int, portID, groups uint32) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: portID, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Socket{FD: fd, PortID: sa.(*unix.SockaddrNetlink).Pid}, nil
}

// Close closes the socket; again is harmless. A test may open many, and keeps
// them to its end.
func (s *Socket) Close() {
	if s.FD >= 0 {
		unix.Close(s.FD)
		s.FD = -1
		s.buf = nil
	}
}

// Set sets a socket option of SOL_NETLINK.
func (s *Socket) Set(t testing.TB, option, value int) {
	t.Helper()
	if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, option, value); err != nil {
		t.Fatalf("setsockopt(SOL_NETLINK, %d, %d): %v", option, value, err)
	}
}

// SetBuffer sets the size of the receive buffer, of which the kernel makes the
// double, or the least there is if that is more. Above the system's limit it
// needs privilege.
func (s *Socket) SetBuffer(t testing.TB, n int) {
	t.Helper()
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n); err != nil {
		t.Fatalf("setsockopt(SO_RCVBUFFORCE, %d): %v", n, err)
	}
}

// Send sends bytes to the kernel in one sendmsg.
func (s *Socket) Send(t testing.TB, b []byte) {
	t.Helper()
	if err := s.TrySend(b); err != nil {
		t.Fatalf("sending %d bytes: %v", len(b), err)
	}
}

// TrySend is Send for those who expect an error.
func (s *Socket) TrySend(b []byte) error {
	return unix.Sendto(s.FD, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// Recv receives one datagram. One that does not come in time fails the test.
func (s *Socket) Recv(t testing.TB) []byte {
	t.Helper()
	b, err := s.TryRecv(Deadline())
	if err != nil {
		t.Fatalf("receiving: %v", err)
	}
	return b
}

// TryRecv receives one datagram from the kernel, waiting at most d for it; it
// returns unix.ETIMEDOUT after that. One goroutine may receive at a time.
func (s *Socket) TryRecv(d time.Duration) ([]byte, error) {
	end := time.Now().Add(d)
	if s.buf == nil {
		s.buf = make([]byte, 128<<10)
	}
	for {
		n, from, err := unix.Recvfrom(s.FD, s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err == nil {
			if n > len(s.buf) {
				return nil, unix.EMSGSIZE
			}
			if from.(*unix.SockaddrNetlink).Pid != 0 {
				return nil, errors.New("a datagram that is not from the kernel")
			}
			return bytes.Clone(s.buf[:n]), nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			return nil, err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, unix.ETIMEDOUT
		}
		unix.Poll([]unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
}

// Empty fails the test if anything waits to be received. The kernel answers
// before send returns, so nothing can be on its way.
func (s *Socket) Empty(t testing.TB) {
	t.Helper()
	if b, err := s.TryRecv(0); err != unix.ETIMEDOUT {
		t.Errorf("received % x, %v; want nothing", b, err)
	}
}

// Message is a netlink message taken apart. Body begins after the header and
// ends at nlmsg_len.
type Message struct {
	Type   uint16
	Flags  uint16
	Seq    uint32
	PortID uint32
	Body   []byte
}

// Bytes lays a message out, padded to a multiple of four.
func (m Message) Bytes() []byte {
	b := make([]byte, 16, 16+len(m.Body)+3)
	native.PutUint32(b[0:], uint32(16+len(m.Body)))
	native.PutUint16(b[4:], m.Type)
	native.PutUint16(b[6:], m.Flags)
	native.PutUint32(b[8:], m.Seq)
	native.PutUint32(b[12:], m.PortID)
	b = append(b, m.Body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Join lays several messages out for one sendmsg.
func Join(messages ...Message) []byte {
	var b []byte
	for _, m := range messages {
		b = append(b, m.Bytes()...)
	}
	return b
}

// Parse takes a datagram apart. Padding that is not zero, and bytes that belong
// to no message, fail the test.
func Parse(t testing.TB, b []byte) []Message {
	t.Helper()
	var all []Message
	for len(b) > 0 {
		if len(b) < 16 {
			t.Fatalf("%d bytes behind the last message: % x", len(b), b)
		}
		n := int(native.Uint32(b))
		if n < 16 || n > len(b) {
			t.Fatalf("nlmsg_len is %d with %d bytes left", n, len(b))
		}
		all = append(all, Message{
			Type:   native.Uint16(b[4:]),
			Flags:  native.Uint16(b[6:]),
			Seq:    native.Uint32(b[8:]),
			PortID: native.Uint32(b[12:]),
			Body:   b[16:n:n],
		})
		next := min((n+3)&^3, len(b))
		Zero(t, "padding of a message", b[n:next])
		b = b[next:]
	}
	return all
}

// RecvOne receives a datagram that must hold exactly one message.
func (s *Socket) RecvOne(t testing.TB) Message {
	t.Helper()
	all := Parse(t, s.Recv(t))
	if len(all) != 1 {
		t.Fatalf("%d messages in a datagram, want 1: %+v", len(all), all)
	}
	return all[0]
}

// RecvMany receives datagrams until they have held n messages, and no more.
func (s *Socket) RecvMany(t testing.TB, n int) []Message {
	t.Helper()
	var all []Message
	for len(all) < n {
		all = append(all, Parse(t, s.Recv(t))...)
	}
	if len(all) != n {
		t.Fatalf("%d messages, want %d: %+v", len(all), n, all)
	}
	return all
}

// Zero fails the test if a byte is not zero.
func Zero(t testing.TB, what string, b []byte) {
	t.Helper()
	for _, c := range b {
		if c != 0 {
			t.Errorf("%s is not zero: % x", what, b)
			return
		}
	}
}

// Attr is a netlink attribute taken apart.
type Attr struct {
	Type uint16
	Data []byte
}

// Bytes lays an attribute out, padded.
func (a Attr) Bytes() []byte {
	b := make([]byte, 4, 4+len(a.Data)+3)
	native.PutUint16(b, uint16(4+len(a.Data)))
	native.PutUint16(b[2:], a.Type)
	b = append(b, a.Data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// U32 is the payload of an attribute of type u32.
func U32(v uint32) []byte { return native.AppendUint32(nil, v) }

// Attrs takes a run of attributes apart, as strictly as Parse.
func Attrs(t testing.TB, b []byte) []Attr {
	t.Helper()
	var all []Attr
	for len(b) > 0 {
		if len(b) < 4 {
			t.Fatalf("%d bytes behind the last attribute: % x", len(b), b)
		}
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			t.Fatalf("nla_len is %d with %d bytes left", n, len(b))
		}
		all = append(all, Attr{Type: native.Uint16(b[2:]) & 0x3fff, Data: b[4:n:n]})
		next := min((n+3)&^3, len(b))
		Zero(t, "padding of an attribute", b[n:next])
		b = b[next:]
	}
	return all
}

// NewEcho is a raw echo request.
func NewEcho(seq uint32, payload []byte) Message {
	return Message{Type: MsgEcho, Flags: unix.NLM_F_REQUEST, Seq: seq, Body: payload}
}
