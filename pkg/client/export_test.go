// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// Tests without the module use the real sockets of other protocols: a user
// socket in the place of the kernel on NETLINK_USERSOCK, or the subsystems that
// every kernel has.

// DialUser returns a Conn whose peer is a socket of a process, on
// NETLINK_USERSOCK, framed as cfg.Carrier says. With port 0 the peer is the
// Conn itself: what it sends is its answer, and is there when send returns, as
// it is with the kernel. size is the length of the receive buffer, 0 the usual.
func DialUser(ctx context.Context, cfg Config, port uint32, size int) (*Conn, error) {
	c, err := dial(ctx, cfg, target{protocol: unix.NETLINK_USERSOCK, port: port})
	if err != nil {
		return nil, err
	}
	if size != 0 {
		c.buf = c.buf[:size]
	}
	c.family.ID, c.family.Name = UserFamily, "user"
	c.echoes = c.newEchoForm()
	if port == 0 {
		if err := unix.Connect(c.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: c.port}); err != nil {
			return nil, os.NewSyscallError("connect", err)
		}
		c.port = 0 // what the header of a request says
	}
	return c, nil
}

// PipelineUser is DialUser for a Pipeline.
func PipelineUser(ctx context.Context, cfg Config, pc PipelineConfig, port uint32) (*Pipeline, error) {
	c, err := DialUser(ctx, cfg, port, 0)
	if err != nil {
		return nil, err
	}
	return newPipeline(c, pc), nil
}

// UserFamily is the number of the family that DialUser and SubscribeUser speak
// on Generic.
const UserFamily = 0x77

// DialFamily returns a Conn to another generic netlink family.
func DialFamily(ctx context.Context, cfg Config, name string) (*Conn, error) {
	cfg.Carrier = Generic
	return dial(ctx, cfg, target{protocol: unix.NETLINK_GENERIC, family: name})
}

// DialProtocol returns a raw Conn to another protocol of the kernel.
func DialProtocol(ctx context.Context, cfg Config, protocol int) (*Conn, error) {
	return dial(ctx, cfg, target{protocol: protocol})
}

// SubscribeUser returns a Subscription to what the socket with the given port
// ID multicasts on NETLINK_USERSOCK.
func SubscribeUser(ctx context.Context, cfg Config, port uint32, size int) (*Subscription, error) {
	carrier := cfg.Carrier
	cfg.Carrier = Raw
	s, err := subscribe(ctx, cfg, target{protocol: unix.NETLINK_USERSOCK, port: port})
	if err != nil {
		return nil, err
	}
	if size != 0 {
		s.buf = s.buf[:size]
	}
	s.cfg.Carrier = carrier
	s.family.ID = UserFamily
	return s, nil
}

// SubscribeProtocol returns a Subscription to another protocol of the kernel.
func SubscribeProtocol(ctx context.Context, cfg Config, protocol int) (*Subscription, error) {
	return subscribe(ctx, cfg, target{protocol: protocol})
}

// SubscribeFamily returns a Subscription to another generic netlink family.
func SubscribeFamily(ctx context.Context, cfg Config, name string) (*Subscription, error) {
	cfg.Carrier = Generic
	return subscribe(ctx, cfg, target{protocol: unix.NETLINK_GENERIC, family: name})
}

// Fill receives one datagram and returns its length and the ID of its
// namespace.
func (s *Subscription) Fill(ctx context.Context) (n int, nsid int32, err error) {
	defer s.stopRanging()
	s.at, s.till = 0, 0
	_, _, err = s.fill(ctx, true)
	return s.till, s.nsid, err
}

// SetSide makes c the Conn that missed events are asked for by, until one of its
// answers makes no sense.
func (s *Subscription) SetSide(c *Conn) { s.side = c }

// SetSide makes g the Conn that settings and events are asked for by.
func (c *Conn) SetSide(g *Conn) { c.side.Store(g) }

// Request sends a message of any type and returns copies of all that answers
// it, up to the acknowledgment that flags ask for, or up to one answer.
func (c *Conn) Request(ctx context.Context, typ, flags uint16, body []byte) ([]wire.Message, error) {
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	if err := c.begin(&lim); err != nil {
		return nil, opError("request", err)
	}
	defer c.lock.release()
	c.req = wire.AppendMessage(c.req[:0], wire.Header{Type: typ, Flags: flags, Seq: c.seq}, body)
	if err := c.send(c.req, false); err != nil {
		return nil, opError("request", err)
	}
	var answers []wire.Message
	for {
		m, err := c.next("request", &lim)
		if err != nil {
			return answers, opError("request", err)
		}
		if m.Type == wire.MsgError {
			return answers, opError("request", c.ack("request", m))
		}
		m.Body = append([]byte(nil), m.Body...)
		answers = append(answers, m)
		if flags&wire.FlagAck == 0 {
			return answers, nil
		}
	}
}

// Send sends a message without a body and waits for nothing.
func (c *Conn) Send(typ, flags uint16) error {
	lim := limit{ctx: context.Background()}
	if err := c.begin(&lim); err != nil {
		return err
	}
	defer c.lock.release()
	return c.send(wire.AppendMessage(nil, wire.Header{Type: typ, Flags: flags, Seq: c.seq}, nil), false)
}

// CloseThenWait waits for a datagram after Close has looked for who waits, and
// found nobody.
func (c *Conn) CloseThenWait(ctx context.Context) error {
	lim := limit{ctx: ctx}
	if err := c.begin(&lim); err != nil {
		return err
	}
	defer c.lock.release()
	go c.Close()
	for !c.closed.Load() || c.lock.held.Load() != 2 {
		runtime.Gosched()
	}
	return opError("wait", c.wait(&lim))
}

// Call makes a request of the Conn's family.
func (c *Conn) Call(ctx context.Context, cmd uint8, attrs []byte, parse func([]byte) error) error {
	return c.call(ctx, "call", cmd, attrs, parse)
}

// SameNamespace returns a Conn to another protocol, as a raw Conn makes one for
// settings and statistics.
func (c *Conn) SameNamespace(ctx context.Context, protocol int) (*Conn, error) {
	return c.SameNamespaceWith(ctx, protocol, 0)
}

// SameNamespaceWith is SameNamespace with a port ID.
func (c *Conn) SameNamespaceWith(ctx context.Context, protocol int, port uint32) (*Conn, error) {
	var g *Conn
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	err := c.sibling(&lim, &c.cfg, func(netns int) (_ *socket, err error) {
		g, err = dial(ctx, Config{NetNS: netns, PortID: port}, target{protocol: protocol})
		if err != nil {
			return nil, err
		}
		return g.socket, nil
	})
	return g, err
}

// Waiting is the number of calls that hold or wait for the lock.
func (s *socket) Waiting() int { return int(s.lock.held.Load()) }

// Sleeps says that a call waits for a datagram, or is about to.
func (s *socket) Sleeps() bool { return s.poller.Load() != nil }

// NetNSCookie names the socket's namespace.
func (c *Conn) NetNSCookie() (uint64, error) {
	return unix.GetsockoptUint64(c.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// ReceiveBufferSize is what the kernel made of Config.ReceiveBuffer.
func (c *Conn) ReceiveBufferSize() (int, error) {
	return unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
}

var (
	ParseBeacon = parseBeacon
	ParseStats  = parseStats
)

// AppendBeaconChange encodes a change.
func AppendBeaconChange(b []byte, change BeaconChange) ([]byte, error) { return change.append(b) }

// A Lock is a lock on its own.
type Lock struct{ l lock }

func NewLock() *Lock { return &Lock{newLock()} }

func (l *Lock) Acquire(ctx context.Context) error { return l.l.acquire(&limit{ctx: ctx}) }
func (l *Lock) AcquireAlways()                    { l.l.acquireAlways() }
func (l *Lock) Release()                          { l.l.release() }
func (l *Lock) Held() int                         { return int(l.l.held.Load()) }
func (l *Lock) Tokens() int                       { return len(l.l.wake) }

// Enter is the beginning of an Acquire that has to wait, leave the end of one
// that gives up.
func (l *Lock) Enter() (leave func()) {
	l.l.held.Add(1)
	return l.l.leave
}

// ShowLookUp shows a tap what comes of a look-up on any socket.
func ShowLookUp(fd int, tap func(Crossing)) error {
	return (&socket{fd: fd, tap: tap}).showLookUp("nlctrl")
}

// TapRaw has f see, before the tap does, whether what is sent crosses by a raw system
// call.
func (s *socket) TapRaw(f func(raw bool)) { s.tapRaw = f }

// FD is the socket's file descriptor.
func (s *socket) FD() int { return s.fd }

// SetMost sets the greatest length of a datagram to send.
func (c *Conn) SetMost(n int) {
	c.flight.most = n
	c.echoes = c.newEchoForm()
}

// Waiting is that of the Pipeline's socket.
func (p *Pipeline) Waiting() int { return p.c.Waiting() }

// Expire ends the time of all batches that are waited for.
func (p *Pipeline) Expire() {
	for _, b := range p.c.flight.out {
		if !b.deadline.IsZero() {
			b.deadline = past
		}
	}
}
