// SPDX-License-Identifier: MIT

package check

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var native = binary.NativeEndian

// Socket is a netlink socket with nothing in between.
type Socket struct {
	FD       int
	Protocol int
	PortID   uint32
	t        *T
	buf      []byte
}

// Dial makes a socket, bound to a port ID that the kernel chooses. It is closed
// when the step ends.
func Dial(t *T, protocol int) *Socket {
	t.Helper()
	return DialPort(t, protocol, 0, 0)
}

// DialPort is Dial with a port ID (0: the kernel chooses) and a mask of groups.
func DialPort(t *T, protocol int, portID, groups uint32) *Socket {
	t.Helper()
	s, err := TryDial(t, protocol, portID, groups)
	if err != nil {
		t.Fatalf("a socket of netlink protocol %d, port %d, groups %#x: %v%s", protocol, portID, groups, err, noProtocol(err))
	}
	return s
}

// noProtocol says what an error of socket(2) means.
func noProtocol(err error) string {
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return " (no kernel socket of that protocol: netlink_kernel_create was not called, or failed)"
	}
	return ""
}

// TryDial is DialPort for those who expect an error.
func TryDial(t *T, protocol int, portID, groups uint32) (*Socket, error) {
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
	s := &Socket{FD: fd, Protocol: protocol, PortID: sa.(*unix.SockaddrNetlink).Pid, t: t, buf: make([]byte, 256<<10)}
	t.protocol = protocol
	t.Cleanup(s.Close)
	return s, nil
}

// Close closes the socket; again is harmless.
func (s *Socket) Close() {
	if s.FD >= 0 {
		unix.Close(s.FD)
		s.FD = -1
	}
}

// Set sets a socket option of SOL_NETLINK.
func (s *Socket) Set(option, value int) {
	s.t.Helper()
	if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, option, value); err != nil {
		s.t.Fatalf("setsockopt(SOL_NETLINK, %d, %d): %v", option, value, err)
	}
}

// SetBuffer sets the size of the receive buffer, of which the kernel makes the
// double, or the least there is if that is more.
func (s *Socket) SetBuffer(n int) {
	s.t.Helper()
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n); err != nil {
		s.t.Fatalf("setsockopt(SO_RCVBUFFORCE, %d): %v", n, err)
	}
}

// Send sends bytes to the kernel in one sendmsg.
func (s *Socket) Send(b []byte) {
	s.t.Helper()
	if err := s.SendTo(b, 0, 0); err != nil {
		s.t.Fatalf("sending %d bytes to the kernel: %v", len(b), err)
	}
}

// SendTo sends bytes to a port and groups.
func (s *Socket) SendTo(b []byte, portID, groups uint32) error {
	doing(fmt.Sprintf("sending %d bytes on netlink protocol %d to port %d", len(b), s.Protocol, portID))
	return unix.Sendto(s.FD, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: portID, Groups: groups})
}

// ErrNothing says that nothing came in time.
var ErrNothing = errors.New("nothing came")

// Recv receives one datagram. One that does not come in time ends the step; what
// names it.
func (s *Socket) Recv(what string) []byte {
	s.t.Helper()
	b, _, err := s.RecvFrom(Deadline())
	if err != nil {
		s.t.Fatalf("waiting for %s at port %d: %v%s", what, s.PortID, err, why(s.t))
	}
	return b
}

// RecvFrom receives one datagram, and says who sent it, to which groups. It
// waits at most d, and returns ErrNothing after that. The kernel answers in the
// course of sendmsg, so for "nothing" a d of 0 will do.
func (s *Socket) RecvFrom(d time.Duration) ([]byte, *unix.SockaddrNetlink, error) {
	end := time.Now().Add(d)
	for {
		n, from, err := unix.Recvfrom(s.FD, s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err == nil {
			if n > len(s.buf) {
				return nil, nil, unix.EMSGSIZE
			}
			sender, _ := from.(*unix.SockaddrNetlink)
			return bytes.Clone(s.buf[:n]), sender, nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			return nil, nil, err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil, nil, ErrNothing
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
	}
}

// Overfill sends a request so often that the answers find no room, as nobody reads
// them. What the module does about an answer that cannot be sent shows then, and
// at the latest when memory is used again that it gave back twice. The request is
// answered as long as there is room; all of that is thrown away.
func (s *Socket) Overfill(request Message) {
	s.t.Helper()
	s.SetBuffer(0)
	var many []byte
	for range 64 {
		many = append(many, request.Bytes()...)
	}
	s.Send(many)
	overrun := false
	for {
		_, _, err := s.RecvFrom(0)
		if errors.Is(err, ErrNothing) {
			break
		}
		if err != nil && err != unix.ENOBUFS {
			s.t.Fatalf("receiving at port %d: %v", s.PortID, err)
		}
		overrun = overrun || err == unix.ENOBUFS
	}
	if !overrun {
		s.t.Fatalf("64 requests in one datagram, and a receive buffer with room for a few answers: recvfrom() says nothing of an overrun, so how many answers were there?")
	}
}

// Empty ends the step if anything waits to be received.
func (s *Socket) Empty(why string) {
	s.t.Helper()
	if b, _, err := s.RecvFrom(0); !errors.Is(err, ErrNothing) {
		s.t.Fatalf("%s, but something came (%v):\n%s", why, err, indent(picture(s.Protocol, b)))
	}
}

// Message is a netlink message. Body begins after the header.
type Message struct {
	Type   uint16
	Flags  uint16
	Seq    uint32
	PortID uint32
	Body   []byte
	// Len is nlmsg_len, if it is not to be the length that is right.
	Len uint32
}

// Bytes lays a message out, padded to a multiple of four.
func (m Message) Bytes() []byte {
	length := uint32(16 + len(m.Body))
	if m.Len != 0 {
		length = m.Len
	}
	b := make([]byte, 16, 16+len(m.Body)+3)
	native.PutUint32(b[0:], length)
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

// Parse takes a datagram apart into messages. Lengths that do not fit end the
// step; what names the datagram.
func Parse(t *T, what string, b []byte) []Message {
	t.Helper()
	var all []Message
	for rest := b; len(rest) > 0; {
		if len(rest) < 16 {
			t.Fatalf("%s: %d bytes are left behind its last message, too few for a header:\n%s", what, len(rest), indent(picture(t.protocol, b)))
		}
		n := int(native.Uint32(rest))
		if n < 16 || n > len(rest) {
			t.Fatalf("%s: nlmsg_len is %d, where %d bytes are left and a header alone has 16:\n%s", what, n, len(rest), indent(picture(t.protocol, b)))
		}
		all = append(all, Message{
			Type: native.Uint16(rest[4:]), Flags: native.Uint16(rest[6:]),
			Seq: native.Uint32(rest[8:]), PortID: native.Uint32(rest[12:]), Body: rest[16:n:n],
		})
		rest = rest[min((n+3)&^3, len(rest)):]
	}
	return all
}

// Attr lays a netlink attribute out, padded.
func Attr(typ uint16, data []byte) []byte {
	b := make([]byte, 4, 4+len(data)+3)
	native.PutUint16(b, uint16(4+len(data)))
	native.PutUint16(b[2:], typ)
	b = append(b, data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Attribute is a netlink attribute taken apart; Type is without its flags.
type Attribute struct {
	Type uint16
	Data []byte
}

// Attrs takes a run of attributes apart. Lengths that do not fit end the step.
func Attrs(t *T, what string, b []byte) []Attribute {
	t.Helper()
	var all []Attribute
	for len(b) > 0 {
		if len(b) < 4 {
			t.Fatalf("%s: %d bytes are left behind its last attribute: % x", what, len(b), b)
		}
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			t.Fatalf("%s: nla_len is %d, where %d bytes are left and a header alone has 4: % x", what, n, len(b), b)
		}
		all = append(all, Attribute{Type: native.Uint16(b[2:]) & 0x3fff, Data: b[4:n:n]})
		b = b[min((n+3)&^3, len(b)):]
	}
	return all
}

// U16 and U32 are integers as they cross the wire.
func U16(v uint16) []byte { return native.AppendUint16(nil, v) }

// U32 is U16 for four bytes.
func U32(v uint32) []byte { return native.AppendUint32(nil, v) }
