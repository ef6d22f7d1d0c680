// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A socket is one by raw system calls: the least that Go can do. The scheduler is
// not told of them, so they must not wait, and do not: the kernel answers before
// a send returns.
type socket struct {
	fd  int
	buf []byte
}

// socketRoom is the socket's receive and send buffer, if we may have it.
const socketRoom = 32 << 20

func openSocket(protocol int, groups uint32, room int) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{fd: fd}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		s.close()
		return nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.close()
		return nil, os.NewSyscallError("connect", err)
	}
	if room > 0 {
		// Without the privilege it stays at what everybody has.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room)
	}
	return s, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

func (s *socket) send(b []byte) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("sendto", errno)
	}
	return nil
}

// receive returns the next datagram, a view of the socket's buffer.
func (s *socket) receive() ([]byte, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(&s.buf[0])), uintptr(len(s.buf)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("recvfrom", errno)
	}
	if int(n) > len(s.buf) {
		return nil, fmt.Errorf("a datagram of %d bytes", n)
	}
	return s.buf[:n], nil
}

// openFloor is what Go can do with system calls and nothing else.
func openFloor(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	switch c.Name {
	case Syscall:
		if c.Carrier != "" {
			return nil, nil, errNotHere
		}
		return func(n int, m *meter) error {
			m.start()
			for range n {
				unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
			}
			m.stop(n)
			return nil
		}, nil, nil
	case Family:
		return floorFamily()
	case Echo:
		return floorEcho(ctx, b, c)
	}
	if c.Carrier != "raw" {
		return nil, nil, errNotHere
	}
	return b.receiving(ctx, c, floorListen)
}

func floorEcho(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	if c.Carrier == "usersock" {
		return nil, nil, errNotHere // a library's socket answers there
	}
	sh, err := b.shape(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	s, err := openSocket(sh.protocol, 0, socketRoom)
	if err != nil {
		return nil, nil, err
	}
	// The requests are written once, and of each no more than what changes anew.
	var datagram []byte
	var starts []int
	for range c.Batch {
		start := len(datagram)
		starts = append(starts, start)
		datagram = wire.BeginMessage(datagram, wire.Header{Type: sh.request, Flags: wire.FlagRequest})
		datagram = sh.body(datagram, make([]byte, c.Size))
		datagram = wire.EndMessage(datagram, start)
	}
	at := wire.HeaderLen + len(sh.head) // of the payload in a request
	if sh.attr != 0 {
		at += 4
	}
	s.buf = make([]byte, len(datagram)+64<<10)
	seq := uint32(0)
	do := func(payload []byte, answer func([]byte)) error {
		first := seq
		for _, start := range starts {
			seq++
			*(*uint32)(unsafe.Pointer(&datagram[start+8])) = seq
			copy(datagram[start+at:], payload)
		}
		if err := s.send(datagram); err != nil {
			return err
		}
		for first != seq {
			rest, err := s.receive()
			if err != nil {
				return err
			}
			for len(rest) > 0 {
				var m wire.Message
				if m, rest, err = wire.NextMessage(rest); err != nil {
					return err
				}
				first++
				if m.Type != sh.answer || m.Seq != first {
					return errWrong
				}
				p, err := sh.payload(m.Body)
				if err != nil {
					return err
				}
				answer(p)
			}
		}
		return nil
	}
	if c.Batch > 1 {
		return batched(c, func(e *echoed) func() error {
			each := e.answer
			return func() error { return do(e.sent, each) }
		}), s.close, nil
	}
	var got []byte
	keep := func(p []byte) { got = p }
	return echoes(c.Size, func(p []byte) ([]byte, error) {
		err := do(p, keep)
		return got, err
	}), s.close, nil
}

// floorFamily asks for a family, and believes the answer if it is one.
func floorFamily() (sampler, func(), error) {
	s, err := openSocket(wire.NetlinkGeneric, 0, 0)
	if err != nil {
		return nil, nil, err
	}
	s.buf = make([]byte, 64<<10)
	request := wire.BeginMessage(nil, wire.Header{Type: unix.GENL_ID_CTRL, Flags: wire.FlagRequest})
	request = wire.AppendGenlHeader(request, wire.GenlHeader{Command: unix.CTRL_CMD_GETFAMILY, Version: 1})
	request = wire.AppendString(request, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl")
	request = wire.EndMessage(request, 0)
	return families(func() error {
		if err := s.send(request); err != nil {
			return err
		}
		d, err := s.receive()
		if err != nil {
			return err
		}
		m, _, err := wire.NextMessage(d)
		if err == nil && m.Type != unix.GENL_ID_CTRL {
			err = errWrong
		}
		return err
	}), s.close, nil
}

func floorListen(_ context.Context, c Case, room int) (listener, error) {
	s, err := openSocket(wire.NetlinkTest, groupMask(c), room)
	if err != nil {
		return listener{}, err
	}
	s.buf = make([]byte, 64<<10)
	last := uint64(0)
	take := func(n int) error {
		for n > 0 {
			rest, err := s.receive()
			if err != nil {
				return err
			}
			for len(rest) > 0 {
				var m wire.Message
				if m, rest, err = wire.NextMessage(rest); err != nil {
					return err
				}
				e, err := wire.ParseEvent(m.Body)
				if err != nil {
					return err
				}
				if last != 0 && e.Seq != last+1 || len(e.Data) != c.Size {
					return fmt.Errorf("%w: event %d after %d, of %d bytes", errWrong, e.Seq, last, len(e.Data))
				}
				last = e.Seq
				n--
			}
		}
		return nil
	}
	return listener{take, s.close}, nil
}

// shape is that of a case's echo.
func (b *Bench) shape(ctx context.Context, c Case) (shape, error) {
	var family uint16
	if c.Carrier == "genl" {
		conn, err := b.peer(ctx)
		if err != nil {
			return shape{}, err
		}
		f, err := conn.Family(ctx)
		if err != nil {
			return shape{}, err
		}
		family = f.ID
	}
	return shapeOf(c.Carrier, family)
}
