// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// listenUser returns a Listener on NETLINK_USERSOCK.
func listenUser(t *testing.T, cfg client.ListenConfig) *client.Listener {
	t.Helper()
	cfg.Protocol = unix.NETLINK_USERSOCK
	l, err := client.Listen(background(t), cfg)
	needs(t, "root, to join groups of NETLINK_USERSOCK", err)
	t.Cleanup(func() { l.Close() })
	return l
}

// heard returns the next datagram.
func heard(t *testing.T, l *client.Listener) client.Datagram {
	t.Helper()
	for d, err := range l.Datagrams(background(t)) {
		if err != nil {
			t.Fatal(err)
		}
		d.Data = bytes.Clone(d.Data)
		return d
	}
	t.Fatal("no datagram")
	panic("unreachable")
}

func TestListener(t *testing.T) {
	l := listenUser(t, client.ListenConfig{Groups: []uint32{3, 32}})
	u := newUser(t)
	me := client.Credentials{PID: int32(os.Getpid()), UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}
	for _, want := range []client.Datagram{
		{Data: []byte("hi"), Group: 0},
		{Data: bytes.Repeat([]byte{1}, 65536), Group: 3},
		{Data: []byte{0}, Group: 32},
	} {
		want.From, want.NSID, want.Sender = u.port, client.OwnNSID, me
		if want.Group == 0 {
			u.send(l.PortID(), want.Data)
		} else {
			u.multicast(1<<(want.Group-1), want.Data)
		}
		diff(t, want, heard(t, l))
	}
	u.multicast(2, []byte("a group that was not joined"))
	if d, ok, err := l.Poll(background(t)); ok || err != nil {
		t.Errorf("%v, %v, %v", d, ok, err)
	}
	diff(t, client.ListenerStats{Received: 3}, l.Stats())

	if err := l.Send(u.port, wire.AppendMessage(nil, wire.Header{Type: 20}, []byte("answer"))); err != nil {
		t.Fatal(err)
	}
	if m, from := u.receive(); string(m.Body) != "answer" || from != l.PortID() {
		t.Errorf("%v from %d", m, from)
	}
	wantError(t, l.Send(u.port+12345, []byte("x")), syscall.ECONNREFUSED)
	wantError(t, l.Multicast(0, []byte("x")), syscall.EINVAL)
	wantError(t, l.Multicast(33, []byte("x")), syscall.EINVAL)
	other := listenUser(t, client.ListenConfig{Groups: []uint32{7}})
	if err := l.Multicast(7, []byte("to seven")); err != nil {
		t.Fatal(err)
	}
	if d := heard(t, other); string(d.Data) != "to seven" || d.Group != 7 || d.From != l.PortID() {
		t.Errorf("%+v", d)
	}
	if err := l.Multicast(9, []byte("to nobody")); err != nil {
		t.Error(err)
	}
}

// What processes send is kept away from who wants the kernel alone.
func TestListenerKernelOnly(t *testing.T) {
	l := listenUser(t, client.ListenConfig{KernelOnly: true, Groups: []uint32{1}})
	u := newUser(t)
	if err := u.trySend(l.PortID(), []byte("psst")); err != unix.ECONNREFUSED {
		t.Errorf("%v, want ECONNREFUSED", err)
	}
	u.multicast(1, []byte("everybody"))
	if d, ok, err := l.Poll(background(t)); ok || err != nil {
		t.Errorf("%v, %v, %v", d, ok, err)
	}
	diff(t, client.ListenerStats{Foreign: 1}, l.Stats())
}

func TestListenerOverrun(t *testing.T) {
	l := listenUser(t, client.ListenConfig{Groups: []uint32{1}, ReceiveBuffer: 4096})
	u := newUser(t)
	for range 100 {
		u.multicast(1, make([]byte, 1000))
	}
	overruns, n := 0, 0
	for {
		_, ok, err := l.Poll(background(t))
		var overrun *client.OverrunError
		switch {
		case errors.As(err, &overrun):
			overruns++
			if overrun.Count != 1 || overrun.Op != "receive" {
				t.Errorf("%+v", overrun)
			}
			continue
		case err != nil:
			t.Fatal(err)
		case ok:
			n++
			continue
		}
		break
	}
	if overruns != 1 || n == 0 || n >= 100 {
		t.Errorf("%d overruns, %d datagrams", overruns, n)
	}
	u.multicast(1, []byte("after"))
	if d := heard(t, l); string(d.Data) != "after" {
		t.Errorf("%q", d.Data)
	}
	diff(t, client.ListenerStats{Received: uint64(n) + 1, Overruns: 1}, l.Stats())
}

func TestListenerTruncated(t *testing.T) {
	l := listenUser(t, client.ListenConfig{ReceiveBuffer: 4 << 20})
	u := newUser(t)
	if err := unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20); err != nil {
		needs(t, "root, for a large send buffer", err)
	}
	u.send(l.PortID(), make([]byte, 256<<10+1))
	u.send(l.PortID(), make([]byte, 256<<10))
	var errs []error
	for d, err := range l.Datagrams(background(t)) {
		errs = append(errs, err)
		if err == nil {
			if len(d.Data) != 256<<10 {
				t.Errorf("%d bytes", len(d.Data))
			}
			break
		}
	}
	if len(errs) != 2 || !errors.Is(errs[0], client.ErrTruncated) {
		t.Errorf("%v", errs)
	}
}

func TestListenerEnds(t *testing.T) {
	l := listenUser(t, client.ListenConfig{})
	ctx, cancel := context.WithCancel(background(t))
	waiting := func(ctx context.Context) <-chan result[int] {
		return async(func() (n int, err error) {
			for _, err := range l.Datagrams(ctx) {
				return 0, err
			}
			return 0, errors.New("no error")
		})
	}
	c := waiting(ctx)
	eventually(t, "it waits", func() bool { return l.Waiting() > 0 })
	cancel()
	_, err := await(t, c)
	wantError(t, err, context.Canceled)

	c = waiting(background(t))
	eventually(t, "it waits", func() bool { return l.Waiting() > 0 })
	if err := l.Send(l.PortID(), []byte("sending does not wait")); err != nil {
		t.Error(err)
	}
	if _, err := await(t, c); err != nil {
		t.Error(err)
	}
	c = waiting(background(t))
	eventually(t, "it waits", func() bool { return l.Waiting() > 0 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	_, err = await(t, c)
	wantError(t, err, net.ErrClosed)
	wantError(t, l.Send(1, []byte("x")), net.ErrClosed)
	wantError(t, l.Close(), net.ErrClosed)
	_, _, err = l.Poll(background(t))
	wantError(t, err, net.ErrClosed)
}

func TestListenRefused(t *testing.T) {
	taken := newUser(t)
	for _, tt := range []struct {
		cfg  client.ListenConfig
		want error
	}{
		{client.ListenConfig{Protocol: 32}, syscall.EINVAL},
		{client.ListenConfig{Protocol: -1}, syscall.EINVAL},
		{client.ListenConfig{Protocol: 22}, syscall.EPROTONOSUPPORT},
		{client.ListenConfig{Protocol: unix.NETLINK_USERSOCK, PortID: taken.port}, syscall.EADDRINUSE},
		{client.ListenConfig{Protocol: unix.NETLINK_ROUTE, Groups: []uint32{0}}, syscall.EINVAL},
		{client.ListenConfig{Protocol: unix.NETLINK_ROUTE, Groups: []uint32{1 << 31}}, syscall.EINVAL},
		{client.ListenConfig{Protocol: unix.NETLINK_ROUTE, Groups: []uint32{1 << 20}}, syscall.EINVAL},
		{client.ListenConfig{NetNS: -1}, syscall.EINVAL},
		{client.ListenConfig{ReceiveBuffer: -1}, syscall.EINVAL},
	} {
		_, err := client.Listen(background(t), tt.cfg)
		wantError(t, err, tt.want)
		if errors.Is(err, client.ErrNotLoaded) {
			t.Errorf("%v speaks of the module", err)
		}
	}
	err := inThread(t, func() error {
		if err := dropCapabilities(); err != nil {
			return err
		}
		_, err := client.Listen(background(t), client.ListenConfig{Protocol: unix.NETLINK_USERSOCK, Groups: []uint32{1}})
		return err
	})
	wantError(t, err, os.ErrPermission)
}

// Nothing is allocated for a datagram that is there.
func TestListenerAllocates(t *testing.T) {
	l := listenUser(t, client.ListenConfig{})
	u := newUser(t)
	message := wire.AppendMessage(nil, wire.Header{Type: 16}, []byte("x"))
	ctx := background(t)
	const rounds = 100
	for range rounds + 1 {
		u.send(l.PortID(), message)
	}
	if n := testing.AllocsPerRun(rounds, func() {
		if _, ok, err := l.Poll(ctx); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a datagram", n)
	}
}

// UserSock is a carrier: the peer is a process, and is believed alone.
func TestUserSock(t *testing.T) {
	u, other := newUser(t), newUser(t)
	c, err := client.Dial(background(t), client.Config{Carrier: client.UserSock, To: u.port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	echo := async(func() ([]byte, error) { return c.Echo(background(t), []byte("hello")) })
	req, from := u.receive()
	if from != c.PortID() || req.Type != wire.MsgEcho || req.Flags != wire.FlagRequest || string(req.Body) != "hello" {
		t.Errorf("%+v from %d", req, from)
	}
	if err := other.trySend(from, answer(req, from, []byte("no..."))); err != unix.ECONNREFUSED {
		t.Errorf("an answer of another: %v, want ECONNREFUSED", err)
	}
	u.send(from, answer(req, from, req.Body))
	if got, err := await(t, echo); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}

	// There is nothing but the echo.
	_, err = c.Beacon(background(t))
	wantError(t, err, syscall.EINVAL)
	_, err = c.Stats(background(t))
	wantError(t, err, syscall.EINVAL)
	_, err = c.Subscribe(background(t))
	wantError(t, err, syscall.EINVAL)

	unix.Close(u.fd)
	_, err = c.Echo(background(t), []byte("hello"))
	wantError(t, err, syscall.ECONNREFUSED)
}

// A peer that does not read is not waited for.
func TestUserSockFull(t *testing.T) {
	u := newUser(t)
	if err := unix.SetsockoptInt(u.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(background(t), client.Config{Carrier: client.UserSock, To: u.port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	for range 100 {
		if err = c.Send(wire.MsgEcho, wire.FlagRequest); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v, want EAGAIN", err)
	}
}

func TestToRefused(t *testing.T) {
	for _, cfg := range []client.Config{
		{Carrier: client.UserSock},
		{Carrier: client.Generic, To: 5},
		{Carrier: client.UserSock, To: 5, Protocol: 31},
		{Carrier: client.UserSock, To: 5, Acknowledge: true},
		{To: 5, Acknowledge: true},
	} {
		_, err := client.Dial(background(t), cfg)
		wantError(t, err, syscall.EINVAL)
	}
	for _, cfg := range []client.Config{{Carrier: client.UserSock}, {Carrier: client.UserSock, To: 5}, {To: 5}} {
		_, err := client.Subscribe(background(t), cfg)
		wantError(t, err, syscall.EINVAL)
	}
}
