// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// eventRoom is the length of a Subscription's receive buffer in bytes: several
// of the largest events.
const eventRoom = 64 << 10

// OwnNSID is the namespace ID of events from the subscription's own namespace.
const OwnNSID = -1

// An Event is one event of a multicast group.
type Event struct {
	// Group is the group it was sent to: 1 to 32 on the raw carrier,
	// [wire.GroupBeacon] or [wire.GroupObjects] on generic netlink,
	// [wire.GroupConnector] on the connector.
	Group uint32
	// Seq is its number in its group and namespace. Numbers begin at 1.
	Seq uint64
	// Time is when it was made, since the machine was started (CLOCK_BOOTTIME
	// in clock_gettime(2)).
	Time time.Duration
	// Kind says what it is about.
	Kind wire.Kind
	// Data depends on Kind. It is valid until the iteration goes on; Clone
	// keeps it longer.
	Data []byte
	// Object is what the event is about if Kind is one of an object's: as it is
	// since, or as it was before [wire.KindObjectDel]. It is valid as long as
	// Data. Its Key is nil otherwise.
	Object ObjectView
	// Lost is the number of events that are missing right before this one in
	// its group and namespace, and could not be recovered. It is 0 in the first
	// event of a group that Config.Since does not name, as nobody knows what the
	// subscription was to hear. It may be wrong where an NSID has come to mean
	// another namespace, see Config.AllNSID.
	Lost uint64
	// Recovered says that the event is from the peer's history, which was asked
	// because events were missed. One that came live meanwhile may be among them.
	Recovered bool
	// NSID is the ID, in the subscription's namespace, of the namespace that
	// the event is from; [OwnNSID] is its own. It is always that without
	// Config.AllNSID.
	NSID int32
}

// Clone returns a copy of e whose Data and Object stay valid.
func (e Event) Clone() Event {
	e.Data = bytes.Clone(e.Data)
	if e.Object.Key != nil {
		e.Object = e.Object.in(nil)
	}
	return e
}

// A Subscription listens to multicast groups. [Subscribe] makes one.
//
// Events that nobody ranges over wait in the kernel's receive buffer. Once that
// is full, the kernel drops events, and the next one to range is told by an
// [*OverrunError].
//
// What was missed is then asked for from the peer's history, as it is when a
// number is missing between two events. So the events of a group come in order,
// each once; those that the history no longer holds are counted in the Lost of
// the next one. This is not done with Config.NoResync, nor for the events of
// other namespaces. And a group of which nothing was heard before an overrun
// has no number to go on from, unless Config.Since has one: what it lost is not
// known. If the peer can not be asked, what is missing counts as lost.
//
// A Subscription on [Raw] holds the module: it can not be unloaded until that is
// closed (rmmod fails with EBUSY). On [Generic] and [Connector] it can, and the
// peer says so in each group by an event of kind [wire.KindEnd], the group's
// last. The iteration then ends with [ErrEnded]. Such an event of another
// namespace (Config.AllNSID) is an [Event] like any other: the module was
// unloaded. That a namespace was removed is told to nobody elsewhere, because its
// ID is gone before its last events are sent.
//
// With Config.AllNSID there may be more from other namespaces when the iteration
// ends; what is in the receive buffer by then is yielded before.
//
// On the connector the peer does not learn of listeners but by sending, and does
// not keep what nobody took. A Subscription asks the kernel to say that its
// buffer was full (NETLINK_BROADCAST_ERROR in netlink(7)), so that what it misses
// is kept like the events of other groups.
type Subscription struct {
	*socket
	cfg Config

	ranging atomic.Bool

	// side is the generic netlink Conn that the history is asked by, made when
	// first needed.
	sideMu sync.Mutex
	side   *Conn

	// All that follows belongs to who ranges; what receive uses is touched with
	// the lock held.

	buf []byte
	// What of buf is not yielded yet, nothing if till is not greater than at.
	at, till int
	nsid     int32 // whence it is

	last lastEvent

	// What receive uses and leaves.
	from    unix.RawSockaddrNetlink
	fromLen uint32
	iov     unix.Iovec
	msg     unix.Msghdr
	oob     [8]uint64
	n       int
	errno   syscall.Errno

	resync resync
	end    end
	large  bool // events may be, see rawLimit

	// disarm ends what arm began, nil if nothing waited yet.
	disarm func() bool

	overruns, failed, foreign, unknown atomic.Uint64

	// groupsMu guards groups, not what they hold.
	groupsMu sync.Mutex
	groups   map[groupKey]*group
}

type groupKey struct {
	nsid int32
	num  uint32
}

type group struct {
	key   groupKey
	known bool          // seq is a number to count from
	seq   uint64        // of the last event
	time  time.Duration // the latest of all events
	// recoveredSeq is the last number that came from the history. Up to there
	// what comes live is a duplicate, unless it was made later than all that
	// came before: then it is of a peer that was loaded anew and numbers anew.
	recoveredSeq              uint64
	received, recovered, lost atomic.Uint64
}

// restart is for a peer that was loaded anew: its events are numbered from 1 on.
func (g *group) restart() { g.seq, g.recoveredSeq, g.time = 0, 0, 0 }

// SubscriptionStats tell what a Subscription has seen since Subscribe.
type SubscriptionStats struct {
	// Received is the number of events that came live.
	Received uint64
	// Recovered is the number of events that were missed, and came from the
	// peer's history instead.
	Recovered uint64
	// Lost is the number of events missing between those that came. What is
	// missing after the last one is not known.
	Lost uint64
	// Overruns is how often the kernel found the receive buffer full.
	Overruns uint64
	// Failed is how often missed events were asked for in vain. They count as
	// lost as soon as the next one comes live.
	Failed uint64
	// Foreign is the number of datagrams dropped because they did not come from
	// the kernel.
	Foreign uint64
	// Unknown is the number of messages dropped because they were no events.
	Unknown uint64
	// Groups has an entry for each group that was heard or that Config.Since
	// names, ordered by NSID and Group.
	Groups []GroupStats
}

// GroupStats tell what a Subscription has seen of one group of one namespace.
type GroupStats struct {
	// NSID and Group are as in [Event].
	NSID  int32
	Group uint32
	// Received, Recovered and Lost are as in [SubscriptionStats].
	Received, Recovered, Lost uint64
}

// Subscribe joins multicast groups. ctx limits the call, not the Subscription.
// Events that are sent from then on are received; [Subscription.Events] ranges
// over them.
//
// Joining the groups of the peer needs no privilege, except that of the
// connector, which needs CAP_NET_ADMIN in the user namespace that owns the
// network namespace. It fails with [ErrNotLoaded] if the kernel does not know the
// peer, [ErrNoCarrier] if that has no such carrier in the namespace, a
// [*GroupError] if generic netlink has no group of a name, EINVAL if cfg makes no
// sense,
// EADDRINUSE if cfg.PortID is in use, and [os.ErrPermission] if cfg asks for
// what the caller may not have.
func Subscribe(ctx context.Context, cfg Config) (*Subscription, error) {
	s, err := subscribe(ctx, cfg, cfg.target())
	if err != nil {
		return nil, opError("subscribe", err)
	}
	return s, nil
}

// Subscribe joins multicast groups of the peer that c talks to, in the same
// namespace and by the same carrier, on a socket of its own. Groups are the
// numbers of [Event]; none means the beacon's, or the connector's. The Subscription lives on when c
// is closed. It fails as the function [Subscribe] does.
func (c *Conn) Subscribe(ctx context.Context, groups ...uint32) (*Subscription, error) {
	if err := c.atKernel(); err != nil {
		return nil, opError("subscribe", err)
	}
	cfg := Config{
		Carrier:       c.cfg.Carrier,
		Protocol:      c.cfg.Protocol,
		ReceiveBuffer: c.cfg.ReceiveBuffer,
		Tap:           c.cfg.Tap,
	}
	for _, g := range groups {
		switch {
		case c.cfg.Carrier == Raw && g >= 1 && g <= 32:
			cfg.Groups |= 1 << (g - 1)
		case c.cfg.Carrier == Generic && g == wire.GroupBeacon:
			cfg.GroupNames = append(cfg.GroupNames, wire.McgrpBeacon)
		case c.cfg.Carrier == Generic && g == wire.GroupObjects:
			cfg.GroupNames = append(cfg.GroupNames, wire.McgrpObjects)
		case c.cfg.Carrier == Connector && g == wire.GroupConnector:
		default:
			return nil, opError("subscribe", configError(fmt.Sprintf("the %v carrier has no group %d", c.cfg.Carrier, g)))
		}
	}

	var s *Subscription
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	err := c.sibling(&lim, &c.cfg, func(netns int) (_ *socket, err error) {
		cfg.NetNS = netns
		if s, err = subscribe(ctx, cfg, cfg.target()); err != nil {
			return nil, err
		}
		return s.socket, nil
	})
	if err != nil {
		return nil, opError("subscribe", err)
	}
	return s, nil
}

func subscribe(ctx context.Context, cfg Config, to target) (*Subscription, error) {
	if err := cfg.check(true); err != nil {
		return nil, err
	}
	if cfg.Carrier == Raw && cfg.Groups == 0 {
		cfg.Groups = 1
	}
	if cfg.Carrier == Generic && len(cfg.GroupNames) == 0 {
		cfg.GroupNames = []string{wire.McgrpBeacon}
	}
	if cfg.Carrier == Connector {
		to.join = wire.CnIdx
	}
	sock, err := open(ctx, &cfg, to)
	if err != nil {
		return nil, err
	}
	p, err := newPoller(sock.fd)
	if err != nil {
		return nil, err
	}
	sock.poller.Store(p)
	return newSubscription(sock, cfg, eventRoom), nil
}

func newSubscription(sock *socket, cfg Config, size int) *Subscription {
	s := &Subscription{
		socket: sock,
		cfg:    cfg,
		buf:    make([]byte, size),
		nsid:   OwnNSID,
		groups: make(map[groupKey]*group),
	}
	s.end.open = cfg.groups()
	for _, num := range s.end.open {
		s.large = s.large || num == wire.GroupObjects || num == wire.GroupConnector || num == wire.GrpObjects
	}
	for num, seq := range cfg.Since {
		g := s.group(groupKey{OwnNSID, num})
		g.known, g.seq = true, seq
		s.resync.behind = !cfg.NoResync
	}
	if cfg.AllNSID {
		s.iov.Base = &s.buf[0]
		s.iov.SetLen(len(s.buf))
		s.msg.Name = (*byte)(unsafe.Pointer(&s.from))
		s.msg.Iov = &s.iov
		s.msg.SetIovlen(1)
		s.msg.Control = (*byte)(unsafe.Pointer(&s.oob))
	}
	s.receive = func(uintptr) bool { return s.recv() }
	return s
}

// PortID returns the address of the Subscription's socket, nl_pid in
// netlink(7).
func (s *Subscription) PortID() uint32 { return s.port }

// Carrier returns the way to the peer that the Subscription uses.
func (s *Subscription) Carrier() Carrier { return s.cfg.Carrier }

// Close leaves the groups and closes the Subscription. A waiting iteration ends
// with [net.ErrClosed], and so does every later one. So does a second Close.
func (s *Subscription) Close() error {
	err := s.close()

	s.sideMu.Lock()
	defer s.sideMu.Unlock()
	if s.side != nil {
		_ = s.side.Close()
		s.side = nil
	}
	return opError("close", err)
}

// Stats returns what has been seen so far.
func (s *Subscription) Stats() SubscriptionStats {
	st := SubscriptionStats{
		Overruns: s.overruns.Load(),
		Failed:   s.failed.Load(),
		Foreign:  s.foreign.Load(),
		Unknown:  s.unknown.Load(),
	}
	s.groupsMu.Lock()
	defer s.groupsMu.Unlock()
	for _, g := range s.groups {
		of := GroupStats{
			NSID:      g.key.nsid,
			Group:     g.key.num,
			Received:  g.received.Load(),
			Recovered: g.recovered.Load(),
			Lost:      g.lost.Load(),
		}
		st.Received += of.Received
		st.Recovered += of.Recovered
		st.Lost += of.Lost
		st.Groups = append(st.Groups, of)
	}
	slices.SortFunc(st.Groups, func(a, b GroupStats) int {
		if a.NSID != b.NSID {
			return int(a.NSID) - int(b.NSID)
		}
		return int(int64(a.Group) - int64(b.Group))
	})
	return st
}

// errRanging is what a second iteration at the same time fails with.
var errRanging = errors.New("events are already ranged over")

// Events ranges over the events, waiting for each, until ctx is done, the
// Subscription is closed, or the loop breaks off. Another range goes on where
// the last one stopped. Only one may be in progress.
//
//	for event, err := range sub.Events(ctx) {
//
// An error comes with a zero Event. After an [*OverrunError], a
// [ErrTruncated], or an error of package wire about a message that makes no
// sense, the iteration goes on. All others are its last: the error of ctx, or
// [net.ErrClosed], or [ErrEnded], or one that the socket reports.
//
// An event's Data and Object are valid until the loop's body ends. Nothing is allocated
// per event.
func (s *Subscription) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if !s.ranging.CompareAndSwap(false, true) {
			yield(Event{}, opError("events", errRanging))
			return
		}
		defer s.stopRanging()

		for {
			last, err := s.next(ctx)
			if err != nil {
				if !yield(Event{}, opError("events", err)) || last {
					return
				}
				continue
			}
			if !yield(s.last.Event, nil) {
				return
			}
		}
	}
}

// stopRanging is the end of an iteration.
func (s *Subscription) stopRanging() {
	if s.disarm != nil {
		if s.disarm() {
			// Not for the next iteration. If Close has set it as well, the next
			// one finds closed set.
			_ = s.poller.Load().file.SetReadDeadline(time.Time{})
		}
		s.disarm = nil
	}
	s.ranging.Store(false)
}

// next leaves the next event in s.last. last says that no other can follow the
// error.
func (s *Subscription) next(ctx context.Context) (last bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return true, err
		}
		if s.closed.Load() {
			return true, closedError{}
		}
		if s.resync.group != nil || len(s.resync.due) > 0 {
			ok, last, err := s.recover(ctx)
			if err != nil || ok && !s.ended() {
				return last, err
			}
			continue
		}
		if s.at >= s.till {
			got, last, err := s.fill(ctx, !s.resync.behind && !s.end.gone)
			if err != nil {
				return last, err
			}
			switch {
			case got:
			case s.resync.behind:
				s.resync.behind = false
				s.resync.due = s.known()
			case s.end.gone:
				return true, ErrEnded
			}
		}
		for s.at < s.till && s.resync.group == nil {
			ok, err := s.nextLive()
			if err != nil || ok && !(s.last.Kind == wire.KindEnd && s.ended()) {
				return false, err
			}
		}
	}
}

// nextLive takes the next message of buf. It leaves the event in s.last if ok; if
// not, that was no event, or one that comes later, or came before.
func (s *Subscription) nextLive() (ok bool, err error) {
	t, data, n := wire.ParseTick(s.buf[s.at:s.till])
	e, g := &s.last, s.last.group
	// Nearly all are ticks, the next of the same group. Nothing is missing then.
	if t == nil || s.cfg.Carrier != Raw || g == nil || !g.known || t.Seq() != g.seq+1 ||
		t.Group() != g.key.num || s.nsid != g.key.nsid || t.Kind() == wire.KindEnd {
		return s.take(s.buf[s.at:s.till])
	}
	s.at += n
	e.Group, e.Seq, e.Time, e.Kind, e.Data = t.Group(), t.Seq(), time.Duration(t.Time()), t.Kind(), data
	e.Lost, e.Recovered = 0, false
	if e.Object.Key != nil { // as every object has one
		e.Object = ObjectView{}
	}
	g.seq, g.time = e.Seq, max(g.time, e.Time)
	g.received.Add(1)
	return true, nil
}

// take is nextLive for any message.
func (s *Subscription) take(d []byte) (ok bool, err error) {
	m, rest, err := wire.NextMessage(d)
	s.at = s.till - len(rest)
	if err != nil {
		return false, err
	}
	attrs, ok := s.attrs(m)
	if !ok {
		s.unknown.Add(1)
		return false, nil
	}
	w, err := wire.ParseEvent(attrs)
	if err != nil {
		s.unknown.Add(1)
		return false, err
	}
	g := s.last.group
	if g == nil || g.key.num != w.Group || g.key.nsid != s.nsid {
		g = s.group(groupKey{s.nsid, w.Group})
	}
	if w.Seq <= g.recoveredSeq && time.Duration(w.Time) <= g.time {
		return false, nil // recovered already
	}
	if g.known && g.time == 0 && w.Seq <= g.seq {
		g.restart() // of Config.Since; nothing was heard yet
	}
	if s.gap(g, w.Seq) {
		s.resync.group, s.resync.held, s.resync.holding = g, w, true
		return false, nil
	}
	s.last.set(&w)
	s.count(g, false)
	return true, nil
}

// attrs returns the attributes of an event.
func (s *Subscription) attrs(m wire.Message) (attrs []byte, ok bool) {
	switch {
	case s.cfg.Carrier == Connector:
		h, attrs, err := wire.ParseConnector(m.Body)
		return attrs, err == nil && h.Idx == wire.CnIdx && h.Val == wire.CnVal
	case s.cfg.Carrier != Raw:
		h, attrs, err := wire.ParseGenl(m.Body)
		return attrs, err == nil && h.Command == wire.CmdEvent && m.Type == s.family.ID
	}
	return m.Body, m.Type == wire.MsgEvent
}

// fill receives one datagram, waiting for it if it may. got is false if there
// was none.
func (s *Subscription) fill(ctx context.Context, wait bool) (got, last bool, err error) {
	s.lock.acquireAlways() // held by nobody but Close for long
	if s.closed.Load() {
		s.lock.release()
		return false, true, closedError{}
	}
	got = s.recv()
	if !got && wait {
		got, err = true, s.wait(ctx)
	}
	s.lock.release()
	if err != nil || !got {
		return false, err != nil, err
	}
	switch s.errno {
	case 0:
		switch {
		case s.from.Pid != s.peer:
			s.foreign.Add(1)
		case s.n > len(s.buf):
			s.tapped(s.buf, s.n)
			return true, false, ErrTruncated
		default:
			s.tapped(s.buf, s.n)
			s.at, s.till = 0, s.n
		}
		return true, false, nil
	case unix.EINTR:
		return true, false, nil // as good as a datagram that is dropped
	case unix.ENOBUFS:
		s.resync.behind = !s.cfg.NoResync
		return true, false, &OverrunError{Op: "events", Count: s.overruns.Add(1)}
	}
	return false, true, os.NewSyscallError("recvfrom", s.errno)
}

// wait waits for a datagram and receives it. The lock is held.
func (s *Subscription) wait(ctx context.Context) error {
	p := s.poller.Load()
	if s.disarm == nil {
		s.disarm = arm(ctx, p.interrupt)
	}
	return s.waitIn(p, ctx)
}

// recv receives one datagram and its sender without waiting, and reports whether
// there was anything. For why the system call is a raw one, see rawLimit; only an
// object makes an event longer than that.
func (s *Subscription) recv() bool {
	if s.cfg.AllNSID {
		return s.recvMsg()
	}
	s.fromLen = unix.SizeofSockaddrNetlink
	var n uintptr
	var errno syscall.Errno
	if s.large {
		n, _, errno = syscall.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)), unix.MSG_DONTWAIT|unix.MSG_TRUNC,
			uintptr(unsafe.Pointer(&s.from)), uintptr(unsafe.Pointer(&s.fromLen)))
	} else {
		n, _, errno = syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)), unix.MSG_DONTWAIT|unix.MSG_TRUNC,
			uintptr(unsafe.Pointer(&s.from)), uintptr(unsafe.Pointer(&s.fromLen)))
	}
	s.n, s.errno = int(n), errno
	return errno != unix.EAGAIN
}

// recvMsg is recv with the ID of the namespace.
func (s *Subscription) recvMsg() bool {
	s.msg.Namelen = unix.SizeofSockaddrNetlink
	s.msg.SetControllen(int(unsafe.Sizeof(s.oob)))
	var n uintptr
	var errno syscall.Errno
	if s.large {
		n, _, errno = syscall.Syscall(unix.SYS_RECVMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&s.msg)), unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	} else {
		n, _, errno = syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&s.msg)), unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	}
	s.n, s.errno = int(n), errno
	s.nsid = OwnNSID
	if errno == 0 {
		s.nsid = s.parseNSID()
	}
	return errno != unix.EAGAIN
}

// parseNSID finds the namespace ID in the control data. The kernel sends none
// for the socket's own namespace.
func (s *Subscription) parseNSID() int32 {
	if int(s.msg.Controllen) < unix.CmsgLen(4) {
		return OwnNSID
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.oob))
	if h.Level != unix.SOL_NETLINK || h.Type != unix.NETLINK_LISTEN_ALL_NSID || int(h.Len) < unix.CmsgLen(4) {
		return OwnNSID
	}
	return *(*int32)(unsafe.Add(unsafe.Pointer(&s.oob), unix.CmsgLen(0)))
}

// A lastEvent is the event that was received last, a view of a buffer. It is
// filled in place, as it is too large to be handed around.
type lastEvent struct {
	Event
	group *group
}

// set makes it what a message says.
func (e *lastEvent) set(w *wire.Event) {
	e.Group, e.Seq, e.Time, e.Kind = w.Group, w.Seq, time.Duration(w.Time), w.Kind
	e.Data, e.Object = w.Data, ObjectView{w.Object}
}

// count makes what is in s.last an event of a group that came live or was
// recovered, and sees what is missing before it.
func (s *Subscription) count(g *group, recovered bool) {
	e := &s.last
	e.group, e.NSID, e.Lost, e.Recovered = g, g.key.nsid, 0, recovered
	switch {
	case !g.known || e.Seq > g.seq:
		if g.known {
			e.Lost = e.Seq - g.seq - 1
		}
		g.time = max(g.time, e.Time)
	default:
		// A number that is not greater is that of a peer that was loaded anew.
		g.time, g.recoveredSeq = e.Time, 0
	}
	g.known, g.seq = true, e.Seq
	if recovered {
		g.recoveredSeq = e.Seq
	}
	switch {
	case e.ends():
		// The iteration tells of it in its own way.
	case recovered:
		g.recovered.Add(1)
	default:
		g.received.Add(1)
	}
	if e.Lost != 0 {
		g.lost.Add(e.Lost)
	}
}

// An end is what a Subscription knows of the peer's end in its namespace.
type end struct {
	// open are the groups joined that have not ended.
	open []uint32
	// gone says that the peer is not there any more, whether or not it said so,
	// and that what is in the receive buffer is all that there will be.
	gone bool
}

// ends says that the event is the last of its group in the Subscription's own
// namespace.
func (e *lastEvent) ends() bool { return e.Kind == wire.KindEnd && e.group.key.nsid == OwnNSID }

// ended says that the event received last was the last of its group.
func (s *Subscription) ended() bool {
	if !s.last.ends() {
		return false
	}
	end := &s.end
	end.open = slices.DeleteFunc(end.open, func(group uint32) bool { return group == s.last.Group })
	end.gone = end.gone || len(end.open) == 0
	return true
}

// group returns the group with a key.
func (s *Subscription) group(key groupKey) *group {
	s.groupsMu.Lock()
	defer s.groupsMu.Unlock()
	g := s.groups[key]
	if g == nil {
		g = &group{key: key}
		s.groups[key] = g
	}
	return g
}
