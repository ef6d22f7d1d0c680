// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// receiveSize is the length of a Conn's receive buffer in bytes: the largest
// payload, and room for whatever a kernel may put around it.
const receiveSize = wire.PayloadMax + 64<<10

// A Conn asks the peer. [Dial] makes one.
//
// It is safe for concurrent use. Calls wait for each other; see the package's
// documentation.
type Conn struct {
	*socket
	cfg Config

	// All that follows belongs to the holder of the lock.

	seq uint32
	req []byte // the request, built anew for each call
	buf []byte // the datagram received last
	// rest is what of buf is not looked at yet.
	rest   []byte
	raw    bool   // what is expected is small, see rawLimit
	cookie uint32 // repeated in the answers on the connector
	echoes echoForm
	// overran says that the receive buffer was full during the exchange.
	overran bool

	// What receive leaves.
	n     int
	errno syscall.Errno

	flight flight
	// unsettled says that answers to calls that were given up may still come.
	unsettled bool

	stale, foreign, overruns atomic.Uint64

	// side is the generic netlink Conn of a raw one, made when first needed, by who
	// has sideLock. That is taken before the lock.
	sideLock lock
	side     atomic.Pointer[Conn]
}

// Counters tell what a Conn has had to deal with since Dial.
type Counters struct {
	// Stale is the number of messages dropped because they answered an earlier
	// call, one that was cancelled or failed before its answer came.
	Stale uint64
	// Foreign is the number of messages dropped because they were not meant for
	// this Conn or did not come from its peer.
	Foreign uint64
	// Overruns is how often the kernel found the receive buffer full.
	Overruns uint64
}

// Dial opens a connection to the peer. ctx limits the call, not the Conn.
//
// On [Connector] and [Rtnl] it sends an empty echo, as only the answer tells that
// the peer is there.
//
// It fails with [ErrNotLoaded] if the kernel does not know the peer,
// [ErrNoCarrier] if that has no such carrier in the namespace, EINVAL if cfg
// makes no sense, EADDRINUSE if cfg.PortID is in use, and
// [os.ErrPermission] if cfg asks for what the caller may not have.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := dial(ctx, cfg, cfg.target())
	if err != nil {
		return nil, opError("dial", err)
	}
	return c, nil
}

func dial(ctx context.Context, cfg Config, to target) (*Conn, error) {
	if err := cfg.check(false); err != nil {
		return nil, err
	}
	s, err := open(ctx, &cfg, to)
	if err != nil {
		return nil, err
	}
	c := newConn(s, cfg, receiveSize)
	if err := c.flight.open(c); err != nil {
		_ = c.close()
		return nil, err
	}
	c.echoes = c.newEchoForm()

	// What came in before the socket was connected may be from anybody. It is no
	// more than the receive buffer holds; what comes later is the peer's.
	for read := 0; read <= c.flight.size; {
		n, errno := recv(c.fd, c.buf, true)
		switch errno {
		case 0:
			c.foreign.Add(1)
			read += roomTaken(n)
		case unix.ENOBUFS:
			c.overruns.Add(1)
		case unix.EINTR:
		case unix.EAGAIN:
			return c, nil
		default:
			_ = c.close()
			return nil, os.NewSyscallError("recvfrom", errno)
		}
	}
	return c, nil
}

// newConn makes a Conn of a connected socket.
func newConn(s *socket, cfg Config, size int) *Conn {
	c := &Conn{
		socket: s,
		cfg:    cfg,
		// Sequence numbers begin anywhere, so that nobody can guess them and an
		// answer to an earlier socket with our port ID is not taken for ours.
		seq:      rand.Uint32(),
		cookie:   rand.Uint32(),
		buf:      make([]byte, size),
		sideLock: newLock(),
	}
	c.receive = func(uintptr) bool {
		c.n, c.errno = recv(c.fd, c.buf, c.raw)
		return c.errno != unix.EAGAIN
	}
	return c
}

// atKernel says that settings, statistics and events can be asked for.
func (c *Conn) atKernel() error {
	if c.cfg.To != 0 {
		return configError(fmt.Sprintf("the peer is a process, port ID %d, and has nothing but an echo", c.cfg.To))
	}
	return nil
}

// PortID returns the address of the Conn's socket, nl_pid in netlink(7).
func (c *Conn) PortID() uint32 { return c.port }

// Carrier returns the way to the peer that the Conn uses.
func (c *Conn) Carrier() Carrier { return c.cfg.Carrier }

// Counters returns what has happened so far. Those of the generic netlink
// socket that a raw Conn uses for settings and statistics are included.
func (c *Conn) Counters() Counters {
	n := Counters{
		Stale:    c.stale.Load(),
		Foreign:  c.foreign.Load(),
		Overruns: c.overruns.Load(),
	}
	if g := c.side.Load(); g != nil {
		m := g.Counters()
		n.Stale += m.Stale
		n.Foreign += m.Foreign
		n.Overruns += m.Overruns
	}
	return n
}

// Close closes the Conn. Calls that are waiting return at once. All calls after
// the first, and all that were waiting, fail with [net.ErrClosed].
func (c *Conn) Close() error {
	err := c.close()

	// Who has sideLock now may still make one; who has it later finds closed set.
	c.sideLock.acquireAlways()
	g := c.side.Swap(nil)
	c.sideLock.release()
	if g != nil {
		_ = g.Close()
	}
	return opError("close", err)
}

// begin starts an exchange: it takes the lock and drops what the last one left
// behind. The caller releases the lock if it succeeds.
func (c *Conn) begin(lim *limit) error {
	if err := lim.ctx.Err(); err != nil {
		return err
	}
	return c.beginLate(lim)
}

// beginLate is begin also after the end of the context.
func (c *Conn) beginLate(lim *limit) error {
	if err := c.lock.acquire(lim); err != nil {
		return err
	}
	if c.closed.Load() {
		c.lock.release()
		return closedError{}
	}
	for len(c.rest) > 0 {
		_, rest, _ := wire.NextMessage(c.rest)
		c.rest = rest
		c.stale.Add(1)
	}
	c.seq++
	c.overran = false
	return nil
}

// next returns the next message that answers the request in progress, a view
// that is valid until the next call. It drops and counts all others.
func (c *Conn) next(op string, lim *limit) (wire.Message, error) {
	for {
		for len(c.rest) > 0 {
			m, rest, err := wire.NextMessage(c.rest)
			c.rest = rest
			if err != nil {
				return wire.Message{}, err
			}
			if c.ours(m) {
				lim.idle = 0
				return m, nil
			}
		}
		if err := c.more(op, lim); err != nil {
			return wire.Message{}, err
		}
		if err := c.inVain(lim); err != nil {
			c.unsettled = true
			return wire.Message{}, err
		}
	}
}

// inVain is told of each datagram that may have been of no use to the call. Many of
// them, such as messages for others, must not put off the call's end. So after that
// of the context, or of the time, it counts the room that they took of the receive
// buffer, see roomTaken. When it is more than there is, all that was there at the end
// has been looked at, and it fails with the error of that.
func (c *Conn) inVain(lim *limit) error {
	if c.errno != 0 {
		return nil
	}
	room := roomTaken(c.n)
	err := lim.ctx.Err()
	if err == nil {
		err = lim.over(room, c.flight.size)
	}
	if err == nil || lim.vain > c.flight.size {
		return err
	}
	lim.vain += room
	return nil
}

// more receives the next datagram into rest, which may be empty after it.
func (c *Conn) more(op string, lim *limit) error {
	c.n, c.errno = recv(c.fd, c.buf, c.raw)
	if c.errno == unix.EAGAIN {
		if c.overran {
			return &OverrunError{Op: op, Count: c.overruns.Load()}
		}
		if c.silent() {
			return errNobody
		}
		if err := c.wait(lim); err != nil {
			c.unsettled = true
			return err
		}
	}

	switch c.errno {
	case 0:
		c.tapped(c.buf, c.n)
		if c.n > len(c.buf) {
			h, err := wire.ParseHeader(c.buf)
			if err != nil || c.ours(wire.Message{Header: h, Body: c.buf[wire.HeaderLen:]}) {
				return ErrTruncated
			}
			return nil
		}
		c.rest = c.buf[:c.n]
	case unix.ENOBUFS:
		// What was queued before the overrun is still there, and the answer
		// may be in it.
		c.overruns.Add(1)
		c.overran = true
	case unix.EINTR:
	default:
		return os.NewSyscallError("recvfrom", c.errno)
	}
	return nil
}

// silent says that the kernel has answered by now if it ever will. On other
// carriers it says so when it will not.
func (c *Conn) silent() bool { return c.cfg.Carrier == Connector && c.peer == 0 }

// errNobody is what a request fails with then.
var errNobody = &notLoadedError{"nobody answers on the connector, which reports no errors", errSilent}

// ours tells whether a message answers the request in progress, and counts it
// if not.
func (c *Conn) ours(m wire.Message) bool {
	h := m.Header
	if c.cfg.Carrier == Connector {
		var ok bool
		if h.Seq, ok = c.connectorSeq(m.Body); !ok {
			c.foreign.Add(1)
			return false
		}
		h.PortID = c.port
	}
	switch {
	case h.PortID != c.port:
		c.foreign.Add(1)
	case h.Seq != c.seq:
		c.stale.Add(1)
	default:
		return true
	}
	return false
}

// connectorSeq returns the sequence number in the body of an answer on the
// connector; ok is false if it is not for us. Neither side has a use for the
// message header. The port ID in it is 0, but nobody else sees what is sent to
// our socket alone.
func (c *Conn) connectorSeq(body []byte) (seq uint32, ok bool) {
	cn, _, err := wire.ParseConnector(body)
	return cn.Seq, err == nil && cn.Idx == wire.CnIdx && cn.Val == wire.CnVal && cn.Ack == c.cookie
}

// unexpected is an answer that is no answer.
func unexpected(m wire.Message) error {
	return fmt.Errorf("answer has message type %d: %w", m.Type, syscall.EBADMSG)
}

// ack returns the error that an acknowledgment reports.
func (c *Conn) ack(op string, m wire.Message) error {
	a, err := wire.ParseAck(m)
	if err != nil && a.Errno == 0 {
		return err
	}
	// A family that was there at Dial is gone if its number is unknown; the
	// handlers of a family always add a text (genl_rcv_msg in
	// net/netlink/genetlink.c).
	if a.Errno == syscall.ENOENT && c.cfg.Carrier == Generic && a.ExtAck.Empty() {
		return &notLoadedError{fmt.Sprintf("generic netlink family %q is gone", c.family.Name), a.Errno}
	}
	if a.Errno == syscall.EOPNOTSUPP && c.cfg.Carrier == Rtnl && a.ExtAck.Empty() {
		return &notLoadedError{fmt.Sprintf("rtnetlink has no protocol family %d any more", wire.RtnlFamily), a.Errno}
	}
	return ackError(op, &a)
}

// A Family is what the kernel calls a generic netlink family.
type Family struct {
	// ID is its number, the type of its messages, until the module is unloaded.
	ID uint16
	// Version is that of its interface, [wire.FamilyVersion].
	Version uint8
	// Name is [wire.FamilyName].
	Name string
	// Groups are its multicast groups.
	Groups []FamilyGroup
}

// A FamilyGroup is a multicast group of a Family.
type FamilyGroup struct {
	// ID is the number of the group on generic netlink. It is not that in
	// [Event].
	ID uint32
	// Name is the group's name, such as [wire.McgrpBeacon].
	Name string
}

// Family returns what the kernel said about the peer's generic netlink family
// when its socket was opened. It needs no privilege.
//
// On another carrier it uses a generic netlink socket in the same namespace.
func (c *Conn) Family(ctx context.Context) (Family, error) {
	g, err := c.generic(&limit{ctx: ctx, timeout: c.cfg.Timeout})
	if err != nil {
		return Family{}, opError("getfamily", err)
	}
	f := Family{ID: g.family.ID, Version: g.family.Version, Name: g.family.Name}
	for _, m := range g.family.Groups {
		f.Groups = append(f.Groups, FamilyGroup{m.ID, m.Name})
	}
	return f, nil
}
