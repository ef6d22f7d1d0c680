// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// patience is how long anything may take that must happen.
const patience = 30 * time.Second

// background is a context that ends before the test binary's own time limit, so
// that a test which hangs says where.
func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func diff(t *testing.T, want, got any, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// wantError checks that err is each of targets.
func wantError(t *testing.T, err error, targets ...error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	var op *client.OpError
	var overrun *client.OverrunError
	if !errors.As(err, &op) && !errors.As(err, &overrun) {
		t.Errorf("error %q (%T) is neither an OpError nor an OverrunError", err, err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q is no %q", err, target)
		}
	}
}

// needs skips a test for the lack of something, or fails it where there can be
// no excuse.
func needs(t testing.TB, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("NLPEER_CI") == "1" {
		t.Fatalf("needs %s: %v", what, err)
	}
	t.Skipf("needs %s: %v", what, err)
}

// must returns v, unless there is an error.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// eventually waits until ok. Nothing signals what it is for.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// async calls f and returns where its result will be.
func async[T any](f func() (T, error)) <-chan result[T] {
	c := make(chan result[T], 1)
	go func() {
		v, err := f()
		c <- result[T]{v, err}
	}()
	return c
}

type result[T any] struct {
	v   T
	err error
}

func await[T any](t *testing.T, c <-chan result[T]) (T, error) {
	t.Helper()
	select {
	case r := <-c:
		return r.v, r.err
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("no result after %v\n%s", patience, buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}

// A user is a socket of a process on NETLINK_USERSOCK. It plays the kernel, or
// somebody who should not be believed.
type user struct {
	t    testing.TB
	fd   int
	port uint32
}

func newUser(t testing.TB) *user {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_USERSOCK)
	needs(t, "NETLINK_USERSOCK", err)
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	tv := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	return &user{t, fd, sa.(*unix.SockaddrNetlink).Pid}
}

// recv is recvfrom, also after a signal of the Go runtime's: the kernel restarts no
// call on a socket with a time limit.
func (u *user) recv(b []byte) (n int, sa unix.Sockaddr, err error) {
	for {
		if n, sa, err = unix.Recvfrom(u.fd, b, 0); err != unix.EINTR {
			return n, sa, err
		}
	}
}

// receive returns the next request and who sent it.
func (u *user) receive() (m wire.Message, from uint32) {
	u.t.Helper()
	b := make([]byte, 128<<10)
	n, sa, err := u.recv(b)
	if err != nil {
		u.t.Fatalf("no request: %v", err)
	}
	m, rest, err := wire.NextMessage(b[:n])
	if err != nil || len(rest) != 0 {
		u.t.Fatalf("request %x: error %v, %d bytes left", b[:n], err, len(rest))
	}
	return m, sa.(*unix.SockaddrNetlink).Pid
}

func (u *user) send(to uint32, datagram []byte) {
	u.t.Helper()
	if err := u.trySend(to, datagram); err != nil {
		u.t.Fatalf("send to %d: %v", to, err)
	}
}

func (u *user) trySend(to uint32, datagram []byte) error {
	return unix.Sendto(u.fd, datagram, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: to})
}

// multicast sends to the groups whose bits are set.
func (u *user) multicast(groups uint32, datagram []byte) {
	u.t.Helper()
	err := unix.Sendto(u.fd, datagram, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	if err != nil && err != unix.ECONNREFUSED { // nobody listens
		u.t.Fatalf("multicast to %#x: %v", groups, err)
	}
}

// answer encodes what the peer would answer to a request of a socket.
func answer(req wire.Message, to uint32, body []byte) []byte {
	return wire.AppendMessage(nil, wire.Header{Type: req.Type, Seq: req.Seq, PortID: to}, body)
}

// ack encodes an acknowledgment.
func ack(req wire.Message, to uint32, errno syscall.Errno, ext []byte) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	b = wire.AppendHeader(b, req.Header)
	flags := uint16(wire.FlagCapped)
	if ext != nil {
		flags |= wire.FlagAckTLVs
	}
	return wire.AppendMessage(nil, wire.Header{Type: wire.MsgError, Flags: flags, Seq: req.Seq, PortID: to}, append(b, ext...))
}

func event(carrier client.Carrier, e wire.Event) []byte {
	if carrier == client.Raw {
		return wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, wire.AppendEvent(nil, e))
	}
	if carrier == client.Connector {
		h := wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: uint32(e.Seq)}
		return wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone, Seq: h.Seq}, wire.AppendConnector(nil, h, wire.AppendEvent(nil, e)))
	}
	b := wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEvent, Version: wire.FamilyVersion})
	return wire.AppendMessage(nil, wire.Header{Type: client.UserFamily}, wire.AppendEvent(b, e))
}

// dialUser returns a Conn whose peer the test plays.
func dialUser(t *testing.T, cfg client.Config) (*client.Conn, *user) {
	t.Helper()
	u := newUser(t)
	c, err := client.DialUser(background(t), cfg, u.port, 0)
	needs(t, "NETLINK_USERSOCK", err)
	t.Cleanup(func() { c.Close() })
	return c, u
}

// dialSelf returns a Conn that is its own peer.
func dialSelf(t *testing.T, cfg client.Config) *client.Conn {
	t.Helper()
	c, err := client.DialUser(background(t), cfg, 0, 0)
	needs(t, "NETLINK_USERSOCK", err)
	t.Cleanup(func() { c.Close() })
	return c
}

// subscribeUser returns a Subscription whose peer the test plays.
func subscribeUser(t *testing.T, cfg client.Config) (*client.Subscription, *user) {
	t.Helper()
	u := newUser(t)
	s, err := client.SubscribeUser(background(t), cfg, u.port, 0)
	needs(t, "root, to join groups of NETLINK_USERSOCK", err)
	t.Cleanup(func() { s.Close() })
	return s, u
}

// inThread calls f on an operating system thread of its own that may be changed
// for good, as it ends with f.
func inThread(t *testing.T, f func() error) error {
	t.Helper()
	_, err := await(t, async(func() (struct{}, error) {
		runtime.LockOSThread() // and never unlocked
		return struct{}{}, f()
	}))
	return err
}

// newNetNS returns a file descriptor of a new network namespace.
func newNetNS(t *testing.T) int {
	t.Helper()
	var fd int
	err := inThread(t, func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	needs(t, "root, to make a network namespace", err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// dropCapabilities takes all privileges from the thread.
func dropCapabilities() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&hdr, &none[0])
}
