package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A socket is a netlink socket that believes one sender alone, the kernel.
// Package netlink opens it and keeps it in the runtime's network poller; messages cross it by
// system calls on fd, which is valid as long as the lock is held and closed is
// false.
type socket struct {
	nl     *netlink.Conn
	rc     syscall.RawConn
	fd     int
	port   uint32
	peer   uint32 // who is believed
	closed atomic.Bool
	lock   lock

	family genetlink.Family // on generic netlink

	// receive takes one datagram without waiting and keeps what comes of it in
	// the owner of the socket. It reports whether there was anything. It is
	// made once, as each closure costs an allocation.
	receive func(fd uintptr) bool
}

// past is a deadline that makes a waiting read return at once.
var past = time.Unix(1, 0)

// open opens a socket as cfg says, connects it, and looks up the family. The
// owner sets receive.
func open(ctx context.Context, cfg *Config, to target) (*socket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}

	nl, err := netlink.Dial(to.protocol, &netlink.Config{
		Groups: cfg.Groups,
		PID:    cfg.PortID,
		NetNS:  cfg.NetNS,
	})
	if err != nil {
		if errors.Is(err, unix.EPROTONOSUPPORT) {
			err = &notLoadedError{fmt.Sprintf("protocol %d is unknown to this kernel", to.protocol), err}
		}
		return nil, err
	}

	s := &socket{nl: nl, peer: to.port, lock: newLock()}
	if err := s.prepare(ctx, cfg, to); err != nil {
		_ = nl.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare(ctx context.Context, cfg *Config, to target) error {
	rc, err := s.nl.SyscallConn()
	if err != nil {
		return err
	}
	s.rc = rc

	if cfg.ReceiveBuffer != 0 {
		if err := s.nl.SetReadBuffer(cfg.ReceiveBuffer); err != nil {
			return err
		}
	}
	if cfg.AllNSID {
		if err := s.nl.SetOption(netlink.ListenAllNSID, true); err != nil {
			return err
		}
	}

	// Connected to the kernel, the socket refuses what another process sends to
	// it alone; the sender gets ECONNREFUSED (netlink_getsockbyportid in
	// net/netlink/af_netlink.c).
	err = s.control(func(fd int) error {
		if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: to.port}); err != nil {
			return os.NewSyscallError("connect", err)
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		nla, ok := sa.(*unix.SockaddrNetlink)
		if !ok {
			return os.NewSyscallError("getsockname", unix.EAFNOSUPPORT)
		}
		s.fd, s.port = fd, nla.Pid
		return nil
	})
	if err != nil {
		return err
	}

	// The look-up comes before the options: package netlink can not read an
	// acknowledgment that is both capped and extended.
	if to.family != "" {
		if err := s.lookUp(ctx, to.family); err != nil {
			return err
		}
	}
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge} {
		if err := s.nl.SetOption(o, true); err != nil {
			return err
		}
	}
	return nil
}

// lookUp asks the kernel for the number and the groups of a family.
func (s *socket) lookUp(ctx context.Context, name string) error {
	disarm := s.arm(ctx)
	f, err := genetlink.NewConn(s.nl).GetFamily(name)
	disarm()

	switch {
	case err == nil:
		s.family = f
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrNotExist):
		return &notLoadedError{fmt.Sprintf("generic netlink family %q is unknown to this kernel", name), err}
	}
	return err
}

// control calls f with the file descriptor.
func (s *socket) control(f func(fd int) error) error {
	var err error
	if cerr := s.rc.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// arm makes reads of s return once ctx is done, until disarm is called.
func (s *socket) arm(ctx context.Context) (disarm func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.nl.SetReadDeadline(past)
		close(fired)
	})
	return func() {
		if stop() {
			return
		}
		// The deadline must not hit who reads next. Close may have set it as
		// well, but who reads next looks at closed first.
		<-fired
		_ = s.nl.SetReadDeadline(time.Time{})
	}
}

// wait waits for a datagram and receives it. The lock is held. It fails with
// the error of the context, [os.ErrDeadlineExceeded] or closedError. All
// allocations of an exchange are here.
func (s *socket) wait(lim *limit) error {
	if d := lim.start(); !d.IsZero() {
		_ = s.nl.SetReadDeadline(d)
		defer func() { _ = s.nl.SetReadDeadline(time.Time{}) }()
	}
	defer s.arm(lim.ctx)()
	return s.waitArmed(lim.ctx)
}

// waitArmed is wait for those who have armed the socket themselves.
func (s *socket) waitArmed(ctx context.Context) error {
	// Close sets closed and then the deadline. Whoever set the deadline since
	// then finds closed set.
	if s.closed.Load() {
		return closedError{}
	}
	err := s.rc.Read(s.receive)
	switch {
	case err == nil:
		return nil
	case s.closed.Load():
		return closedError{}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// close closes the socket after all who wait on it have left. Only the first
// call does.
func (s *socket) close() error {
	if s.closed.Swap(true) {
		return closedError{}
	}
	// Who waits for a datagram holds the lock.
	_ = s.nl.SetReadDeadline(past)
	s.lock.acquireAlways()
	defer s.lock.release()
	return s.nl.Close()
}

// rawLimit is the number of bytes up to which a message crosses by a raw system
// call, one of which the Go scheduler is not told. That spares the bookkeeping
// on both sides of it, about the twentieth part of a small echo. The price is
// that the processor is not given to another goroutine and that a garbage
// collection waits meanwhile, so a raw call must be short and must not sleep:
// ours do not wait for data (MSG_DONTWAIT), and the kernel's part is a few
// microseconds as long as there are few bytes to copy.
const rawLimit = 8192

// send sends one datagram to the kernel, which carries out the request before
// this returns.
func (s *socket) send(b []byte) error {
	for {
		var errno syscall.Errno
		if len(b) <= rawLimit {
			_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		} else {
			_, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		}
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return os.NewSyscallError("sendto", errno)
		}
	}
}

// recv receives one datagram into b without waiting and returns its whole
// length, which may be more than b has room for.
func recv(fd int, b []byte, raw bool) (int, syscall.Errno) {
	var n uintptr
	var errno syscall.Errno
	if raw {
		n, _, errno = unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	}
	return int(n), errno
}
