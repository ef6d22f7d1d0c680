// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A socket is a netlink socket that believes one sender alone, the kernel or a
// process, unless it is a Listener's.
// Messages cross it by system calls on fd, which is valid as long as the lock
// is held and closed is false.
type socket struct {
	fd     int
	port   uint32
	peer   uint32 // who is believed
	closed atomic.Bool
	lock   lock

	family genetlink.Family // on generic netlink

	tap      func(Crossing) // Config.Tap
	tapRaw   func(raw bool) // for tests; called before tap, if that is set
	protocol int

	// poller is set while the socket is in the runtime's network poller: always
	// for a Subscription, and for a Conn only while a call waits. There the
	// poller costs more than it seems. It learns of each answer that is queued,
	// though nobody waits for it, and wakes up a thread that idles in
	// epoll_wait(2): one more system call for each echo, on another processor.
	poller atomic.Pointer[poller]

	// receive takes one datagram without waiting and keeps what comes of it in
	// the owner of the socket. It reports whether there was anything. It is
	// made once, as each closure costs an allocation.
	receive func(fd uintptr) bool
}

// A poller is a file descriptor in the runtime's network poller.
type poller struct {
	file *os.File
	rc   syscall.RawConn
}

// newPoller puts fd into the poller and takes ownership of it.
func newPoller(fd int) (*poller, error) {
	p := &poller{file: os.NewFile(uintptr(fd), "netlink")}
	rc, err := p.file.SyscallConn()
	if err != nil {
		_ = p.file.Close()
		return nil, err
	}
	p.rc = rc
	return p, nil
}

// past is a deadline that makes a waiting read return at once.
var past = time.Unix(1, 0)

// interrupt makes a read that waits, or is about to, return at once.
func (p *poller) interrupt() { _ = p.file.SetReadDeadline(past) }

// open opens a socket as cfg says, connects it, and joins groups. The owner
// sets receive. Package netlink does the work; fd is its socket, which it no
// longer has.
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
		if errors.Is(err, unix.EPROTONOSUPPORT) && !to.foreign {
			err = &notLoadedError{fmt.Sprintf("protocol %d is unknown to this kernel", to.protocol), err}
		}
		return nil, err
	}
	defer nl.Close()

	s := &socket{port: nl.PID(), peer: to.port, lock: newLock(), tap: cfg.Tap, protocol: to.protocol}
	if err := s.prepare(ctx, nl, cfg, to); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare(ctx context.Context, nl *netlink.Conn, cfg *Config, to target) error {
	if cfg.ReceiveBuffer != 0 {
		if err := nl.SetReadBuffer(cfg.ReceiveBuffer); err != nil {
			return err
		}
	}
	if cfg.AllNSID {
		if err := nl.SetOption(netlink.ListenAllNSID, true); err != nil {
			return err
		}
	}

	// Connected to its peer, the socket refuses what another process sends to
	// it alone; the sender gets ECONNREFUSED (netlink_getsockbyportid in
	// net/netlink/af_netlink.c).
	rc, err := nl.SyscallConn()
	if err != nil {
		return err
	}
	err = control(rc, func(fd int) error {
		if to.anyone {
			return nil
		}
		return os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: to.port}))
	})
	if err != nil {
		return err
	}

	// The look-up comes before the options: package netlink can not read an
	// acknowledgment that is both capped and extended.
	if to.family != "" {
		if err := s.lookUp(ctx, nl, to.family); err != nil {
			return err
		}
	}
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.CapAcknowledge} {
		if err := nl.SetOption(o, true); err != nil {
			return err
		}
	}
	if s.tap != nil && to.family != "" {
		// Before a group is joined, so that no event is dropped on the way to the answer.
		err := control(rc, func(fd int) error {
			s.fd = fd
			return s.showLookUp(to.family)
		})
		if err != nil {
			return err
		}
	}
	if to.probe != nil {
		// Before a group is joined, so that nothing but the answer can come.
		if err := control(rc, to.probe); err != nil {
			return explainProbe(ctx, cfg, err)
		}
	}
	if to.join != 0 {
		if err := nl.SetOption(netlink.BroadcastError, true); err != nil {
			return err
		}
		if err := nl.JoinGroup(to.join); err != nil {
			return err
		}
	}
	for _, name := range cfg.GroupNames {
		i := slices.IndexFunc(s.family.Groups, func(g genetlink.MulticastGroup) bool { return g.Name == name })
		if i < 0 {
			e := &GroupError{Family: s.family.Name, Group: name}
			for _, g := range s.family.Groups {
				e.Known = append(e.Known, g.Name)
			}
			return e
		}
		if err := nl.JoinGroup(s.family.Groups[i].ID); err != nil {
			return err
		}
	}

	return control(rc, func(fd int) (err error) {
		s.fd, err = duplicate(fd)
		return err
	})
}

// showLookUp looks a family up for the tap to see, which the look-up by package
// netlink passes by. The answer is there when the request has been sent.
func (s *socket) showLookUp(name string) error {
	seq := rand.Uint32()
	b := wire.BeginMessage(nil, wire.Header{Type: unix.GENL_ID_CTRL, Flags: wire.FlagRequest, Seq: seq})
	b = wire.AppendGenlHeader(b, wire.GenlHeader{Command: unix.CTRL_CMD_GETFAMILY, Version: 1})
	b = wire.AppendString(b, unix.CTRL_ATTR_FAMILY_NAME, name)
	if err := s.send(wire.EndMessage(b, 0), false); err != nil {
		return err
	}
	b = make([]byte, eventRoom)
	for {
		n, errno := recv(s.fd, b, false)
		switch errno {
		case 0:
			// What came before the socket was connected may be from anybody.
			h, err := wire.ParseHeader(b[:min(n, len(b))])
			if err == nil && h.Seq == seq && h.PortID == s.port {
				s.tapped(b, n)
				return nil
			}
		case unix.ENOBUFS, unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return os.NewSyscallError("recvfrom", errno)
		}
	}
}

// lookUp asks the kernel for the number and the groups of a family.
func (s *socket) lookUp(ctx context.Context, nl *netlink.Conn, name string) error {
	disarm := arm(ctx, func() { _ = nl.SetReadDeadline(past) })
	f, err := genetlink.NewConn(nl).GetFamily(name)
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

// control calls f with the file descriptor of rc.
func control(rc syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := rc.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// duplicate returns another file descriptor of the same socket.
func duplicate(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// arm calls interrupt once ctx is done, unless disarm is called before. After
// disarm it is not called any more. disarm reports whether it was.
func arm(ctx context.Context, interrupt func()) (disarm func() bool) {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	finished := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		interrupt()
		close(finished)
	})
	return func() bool {
		if stop() {
			return false
		}
		<-finished
		return true
	}
}

// wait waits for a datagram and receives it. The lock is held. It fails with
// the error of the context, [os.ErrDeadlineExceeded] or closedError. All
// allocations of an exchange are here.
func (s *socket) wait(lim *limit) error {
	fd, err := duplicate(s.fd)
	if err != nil {
		return err
	}
	p, err := newPoller(fd)
	if err != nil {
		return err
	}
	defer p.file.Close()
	s.poller.Store(p)
	defer s.poller.Store(nil)

	if d := lim.start(); !d.IsZero() {
		_ = p.file.SetReadDeadline(d)
	}
	defer arm(lim.ctx, p.interrupt)()
	err = s.waitIn(p, lim.ctx)
	// The poller tells of the end, also if a datagram came right before it.
	if err != nil && !s.closed.Load() && s.receive(0) {
		return nil
	}
	return err
}

// waitIn is wait in a poller whose deadlines are set.
func (s *socket) waitIn(p *poller, ctx context.Context) error {
	// Close sets closed and then interrupts the poller that it finds. If it
	// found none, or the deadline was set after that, closed is set here.
	if s.closed.Load() {
		return closedError{}
	}
	err := p.rc.Read(s.receive)
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
	if p := s.poller.Load(); p != nil {
		p.interrupt()
	}
	s.lock.acquireAlways()
	defer s.lock.release()
	return s.shut()
}

// shut closes the file. Nobody waits on it, as the lock is held, and closed is set.
func (s *socket) shut() error {
	if p := s.poller.Load(); p != nil {
		return p.file.Close()
	}
	return os.NewSyscallError("close", unix.Close(s.fd))
}

// rawLimit is the number of bytes up to which a message crosses by a raw system
// call, one of which the Go scheduler is not told. That spares the bookkeeping
// on both sides of it, about the twentieth part of a small echo. The price is
// that the processor is not given to another goroutine and that a garbage
// collection waits meanwhile, so a raw call must be short and must not sleep:
// ours do not wait for data (MSG_DONTWAIT), and the kernel's part is a few
// microseconds as long as there are few bytes to copy.
const rawLimit = 8192

// send sends one datagram to the peer, by a raw system call or not. The kernel carries
// out the request before this returns, so raw is for short echoes alone: other requests
// may take long, or wait for a lock. A process does it when it gets there.
func (s *socket) send(b []byte, raw bool) error {
	if s.tap != nil {
		if s.tapRaw != nil {
			s.tapRaw(raw)
		}
		s.tap(Crossing{Sent: true, Protocol: s.protocol, PortID: s.port, Data: b, Size: len(b)})
	}
	for {
		var errno syscall.Errno
		if raw {
			_, _, errno = syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
		} else {
			_, _, errno = syscall.Syscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
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

// tapped lets the tap see a datagram of n bytes that was received into b.
func (s *socket) tapped(b []byte, n int) {
	if s.tap != nil {
		s.show(b, n)
	}
}

func (s *socket) show(b []byte, n int) {
	s.tap(Crossing{Protocol: s.protocol, PortID: s.port, Data: b[:min(n, len(b))], Size: n})
}

// recv receives one datagram into b without waiting and returns its whole
// length, which may be more than b has room for.
func recv(fd int, b []byte, raw bool) (int, syscall.Errno) {
	var n uintptr
	var errno syscall.Errno
	if raw {
		n, _, errno = syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	} else {
		n, _, errno = syscall.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	}
	return int(n), errno
}
