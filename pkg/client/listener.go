// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"fmt"
	"iter"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagramRoom is the length of a Listener's receive buffer in bytes: more than
// a process can send with a send buffer of the usual size, and more than the
// kernel puts into one datagram.
const datagramRoom = 256 << 10

// A ListenConfig says what a [Listener] listens to. Nothing in it needs a
// privilege except where a field says so.
type ListenConfig struct {
	// Protocol is the number of a netlink protocol, NETLINK_* in
	// linux/netlink.h.
	Protocol int

	// PortID is the socket's address, as in [Config]: it is where others send
	// to.
	PortID uint32

	// Groups are the numbers of multicast groups to join, from 1. The protocol
	// says if that needs CAP_NET_ADMIN, as on NETLINK_USERSOCK.
	Groups []uint32

	// KernelOnly lets in nothing but what the kernel sends. What a process sends
	// to the socket alone is refused (ECONNREFUSED at the sender), what it sends
	// to a group is dropped and counted.
	KernelOnly bool

	// NetNS, ReceiveBuffer, AllNSID and Tap are as in [Config]. What is dropped
	// is not shown.
	NetNS         int
	ReceiveBuffer int
	AllNSID       bool
	Tap           func(Crossing)
}

// A Datagram is what a Listener received in one piece.
type Datagram struct {
	// Data is valid until the iteration goes on. Whoever sent it made it up: it
	// need not be a message.
	Data []byte
	// From is the port ID of the sender, 0 for the kernel. The kernel vouches
	// for it.
	From uint32
	// Group is the group that it was sent to, 0 if to the socket alone.
	Group uint32
	// NSID is the ID of the namespace that it is from, [OwnNSID] if ours.
	NSID int32
	// Sender is who sent it, as the kernel saw it.
	Sender Credentials
}

// Credentials tell who sent a datagram (SCM_CREDENTIALS in unix(7)). They are in
// terms of the receiver's PID and user namespace, and all zero for the kernel.
type Credentials struct {
	PID      int32
	UID, GID uint32
}

// ListenerStats tell what a Listener has seen since Listen.
type ListenerStats struct {
	// Received is the number of datagrams that were let in.
	Received uint64
	// Foreign is the number of datagrams dropped because of KernelOnly.
	Foreign uint64
	// Overruns is how often the kernel found the receive buffer full. Nobody
	// numbers datagrams, so how many were lost is not known.
	Overruns uint64
}

// A Listener receives datagrams of any netlink protocol, from the kernel, from
// other processes, or both, and sends some. [Listen] makes one. A
// [Subscription] is the better choice for the events of the peer.
type Listener struct {
	*socket
	cfg ListenConfig

	ranging atomic.Bool

	// What receive uses and leaves; touched with the lock held.
	buf   []byte
	from  unix.RawSockaddrNetlink
	iov   unix.Iovec
	msg   unix.Msghdr
	oob   [16]uint64 // aligned as control data must be
	n     int
	errno syscall.Errno

	received, foreign, overruns atomic.Uint64
}

// Listen begins to listen. ctx limits the call, not the Listener.
//
// It fails with EPROTONOSUPPORT if the kernel does not know the protocol, EINVAL
// if cfg makes no sense, EADDRINUSE if cfg.PortID is in use, and
// [os.ErrPermission] if cfg asks for what the caller may not have.
func Listen(ctx context.Context, cfg ListenConfig) (*Listener, error) {
	l, err := listen(ctx, cfg)
	if err != nil {
		return nil, opError("listen", err)
	}
	return l, nil
}

func listen(ctx context.Context, cfg ListenConfig) (*Listener, error) {
	base := Config{PortID: cfg.PortID, NetNS: cfg.NetNS, ReceiveBuffer: cfg.ReceiveBuffer, AllNSID: cfg.AllNSID, Tap: cfg.Tap}
	if err := base.check(true); err != nil {
		return nil, err
	}
	if cfg.Protocol < 0 || cfg.Protocol > maxProtocol {
		return nil, configError(fmt.Sprintf("ListenConfig.Protocol is %d, must be 0 to %d", cfg.Protocol, maxProtocol))
	}
	sock, err := open(ctx, &base, target{protocol: cfg.Protocol, anyone: !cfg.KernelOnly, foreign: true})
	if err != nil {
		return nil, err
	}
	if err := prepareListener(sock.fd, cfg.Groups); err != nil {
		_ = sock.close()
		return nil, err
	}
	p, err := newPoller(sock.fd)
	if err != nil {
		_ = sock.close()
		return nil, err
	}
	sock.poller.Store(p)

	l := &Listener{socket: sock, cfg: cfg, buf: make([]byte, datagramRoom)}
	l.iov.Base = &l.buf[0]
	l.iov.SetLen(len(l.buf))
	l.msg.Name = (*byte)(unsafe.Pointer(&l.from))
	l.msg.Iov = &l.iov
	l.msg.SetIovlen(1)
	l.msg.Control = (*byte)(unsafe.Pointer(&l.oob))
	l.receive = func(uintptr) bool { return l.recvMsg() }
	return l, nil
}

// prepareListener asks for what else there is to know about a datagram, and
// joins groups last, so that it is known from the first one on.
func prepareListener(fd int, groups []uint32) error {
	for _, o := range []struct {
		name          string
		level, option int
	}{
		{"setsockopt NETLINK_PKTINFO", unix.SOL_NETLINK, unix.NETLINK_PKTINFO},
		{"setsockopt SO_PASSCRED", unix.SOL_SOCKET, unix.SO_PASSCRED},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, 1); err != nil {
			return os.NewSyscallError(o.name, err)
		}
	}
	for _, group := range groups {
		// Group 0 would be joined without a word, and never heard.
		if group == 0 || group > maxGroup {
			return configError(fmt.Sprintf("ListenConfig.Groups has %d, which is no number of a group", group))
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
			return fmt.Errorf("group %d: %w", group, os.NewSyscallError("setsockopt NETLINK_ADD_MEMBERSHIP", err))
		}
	}
	return nil
}

// maxGroup is the greatest number that an option of type int can hold.
const maxGroup = 1<<31 - 1

// PortID returns the address of the Listener's socket, nl_pid in netlink(7).
func (l *Listener) PortID() uint32 { return l.port }

// Stats returns what has been seen so far.
func (l *Listener) Stats() ListenerStats {
	return ListenerStats{l.received.Load(), l.foreign.Load(), l.overruns.Load()}
}

// Close leaves the groups and closes the Listener. A waiting iteration ends with
// [net.ErrClosed], and so does every later one. So does a second Close.
func (l *Listener) Close() error { return opError("close", l.close()) }

// Datagrams ranges over what comes in, waiting for each, until ctx is done, the
// Listener is closed, or the loop breaks off. Another range goes on where the
// last one stopped. Only one may be in progress.
//
// An error comes with a zero Datagram. After an [*OverrunError] or an
// [ErrTruncated] the iteration goes on. All others are its last: the error of
// ctx, or [net.ErrClosed], or one that the socket reports. Nothing is allocated
// per datagram.
func (l *Listener) Datagrams(ctx context.Context) iter.Seq2[Datagram, error] {
	return func(yield func(Datagram, error) bool) {
		if !l.ranging.CompareAndSwap(false, true) {
			yield(Datagram{}, opError("receive", errRanging))
			return
		}
		defer l.ranging.Store(false)
		p := l.poller.Load()
		stop := arm(ctx, p.interrupt)
		defer func() {
			if stop() {
				_ = p.file.SetReadDeadline(time.Time{}) // not for the next iteration
			}
		}()

		for {
			d, _, last, err := l.next(ctx, p, true)
			if !yield(d, opError("receive", err)) || last {
				return
			}
		}
	}
}

// Poll returns a datagram that is there already; ok is false if there is none.
// Of the errors, see [Listener.Datagrams], only those that an iteration survives
// say that there may be more.
func (l *Listener) Poll(ctx context.Context) (d Datagram, ok bool, err error) {
	if !l.ranging.CompareAndSwap(false, true) {
		return Datagram{}, false, opError("receive", errRanging)
	}
	defer l.ranging.Store(false)
	d, ok, _, err = l.next(ctx, nil, false)
	return d, ok, opError("receive", err)
}

// next receives a datagram that is let in, waiting for it if it may. last says
// that nothing can follow the error.
func (l *Listener) next(ctx context.Context, p *poller, wait bool) (d Datagram, ok, last bool, err error) {
	l.lock.acquireAlways() // held by nobody but Close for long
	defer l.lock.release()
	for {
		if err := ctx.Err(); err != nil {
			return Datagram{}, false, true, err
		}
		if l.closed.Load() {
			return Datagram{}, false, true, closedError{}
		}
		if !l.receive(0) {
			if !wait {
				return Datagram{}, false, false, nil
			}
			if err := l.waitIn(p, ctx); err != nil {
				return Datagram{}, false, true, err
			}
		}
		switch l.errno {
		case 0:
			switch {
			case l.cfg.KernelOnly && l.from.Pid != 0:
				l.foreign.Add(1)
			case l.n > len(l.buf):
				l.tapped(l.buf, l.n)
				return Datagram{}, false, false, ErrTruncated
			default:
				l.received.Add(1)
				l.tapped(l.buf, l.n)
				d := Datagram{Data: l.buf[:l.n], From: l.from.Pid, NSID: OwnNSID}
				l.control(&d)
				return d, true, false, nil
			}
		case unix.EINTR:
		case unix.ENOBUFS:
			return Datagram{}, false, false, &OverrunError{Op: "receive", Count: l.overruns.Add(1)}
		default:
			return Datagram{}, false, true, os.NewSyscallError("recvmsg", l.errno)
		}
	}
}

// recvMsg receives one datagram and what the kernel says about it, without
// waiting.
func (l *Listener) recvMsg() bool {
	l.msg.Namelen = unix.SizeofSockaddrNetlink
	l.msg.SetControllen(int(unsafe.Sizeof(l.oob)))
	n, _, errno := syscall.Syscall(unix.SYS_RECVMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.msg)), unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	l.n, l.errno = int(n), errno
	return errno != unix.EAGAIN
}

// control reads the control data of the datagram.
func (l *Listener) control(d *Datagram) {
	b := unsafe.Slice((*byte)(unsafe.Pointer(&l.oob)), unsafe.Sizeof(l.oob))[:l.msg.Controllen]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if uint64(h.Len) < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(b)) {
			return
		}
		data := b[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level == unix.SOL_NETLINK && h.Type == unix.NETLINK_PKTINFO && len(data) >= 4:
			d.Group = *(*uint32)(unsafe.Pointer(&data[0]))
		case h.Level == unix.SOL_NETLINK && h.Type == unix.NETLINK_LISTEN_ALL_NSID && len(data) >= 4:
			d.NSID = *(*int32)(unsafe.Pointer(&data[0]))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_CREDENTIALS && len(data) >= unix.SizeofUcred:
			c := (*unix.Ucred)(unsafe.Pointer(&data[0]))
			d.Sender = Credentials{c.Pid, c.Uid, c.Gid}
		}
		b = b[min(unix.CmsgSpace(len(data)), len(b)):]
	}
}

// Send sends one datagram to the socket with a port ID, 0 being the kernel. It
// does not wait: it fails with ECONNREFUSED if nobody has the port ID, or its
// socket is connected to another one, EAGAIN if the receive buffer there is
// full, and EPERM if the protocol lets nobody send to processes without
// CAP_NET_ADMIN.
func (l *Listener) Send(port uint32, b []byte) error {
	return opError("send", l.sendTo(&unix.RawSockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}, b))
}

// Multicast sends one datagram to a group, 1 to 32. Nobody is told who heard it:
// that there is no listener is no error, nor that one had no room. It fails with
// EPERM as Send does. Where the protocol has a kernel socket, that receives it
// too.
func (l *Listener) Multicast(group uint32, b []byte) error {
	if group < 1 || group > 32 {
		return opError("send", configError(fmt.Sprintf("group %d is not 1 to 32", group)))
	}
	// An address holds 32 groups, but the kernel takes the lowest alone, and
	// then sends to the port ID as well, which is the kernel's (netlink_sendmsg
	// in net/netlink/af_netlink.c).
	err := l.sendTo(&unix.RawSockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (group - 1)}, b)
	if err == unix.ECONNREFUSED {
		err = nil
	}
	return opError("send", err)
}

func (l *Listener) sendTo(to *unix.RawSockaddrNetlink, b []byte) error {
	if l.tap != nil {
		l.tap(Crossing{Sent: true, Protocol: l.protocol, PortID: l.port, Data: b, Size: len(b)})
	}

	// Not under the lock, which is held while somebody waits for a datagram.
	var errno syscall.Errno
	p := l.poller.Load()
	err := p.rc.Write(func(fd uintptr) bool {
		for {
			_, _, errno = syscall.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
				unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrNetlink)
			if errno != unix.EINTR {
				return true
			}
		}
	})
	switch {
	case l.closed.Load():
		return closedError{}
	case err != nil:
		return err
	case errno != 0:
		return errno
	}
	return nil
}
