// SPDX-License-Identifier: MIT

package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A Beacon is the settings of a namespace's beacon.
type Beacon struct {
	// Interval is the time between two ticks, whole milliseconds up to
	// [wire.IntervalMax] of them; 0 if the beacon is off.
	Interval time.Duration
	// Groups are the groups of the raw protocol that hear it: bit n-1 stands
	// for group n.
	Groups uint32
	// Generic says that the generic netlink group [wire.McgrpBeacon] hears it.
	Generic bool
	// Size is the length of each event's data, 0 to [wire.DataMax] bytes.
	Size int
	// Connector says that the connector's group hears it.
	Connector bool
	// Packed are the groups of the raw protocol in which the events of a burst
	// come several to a datagram, like Groups.
	Packed uint32
}

// A BeaconChange is what to change about a beacon. Fields that are nil stay as
// they are:
//
//	conn.SetBeacon(ctx, client.BeaconChange{Interval: new(100 * time.Millisecond)})
type BeaconChange struct {
	// Interval is as in [Beacon]. A new one starts a new schedule.
	Interval *time.Duration
	// Groups is as in [Beacon].
	Groups *uint32
	// Generic is as in [Beacon].
	Generic *bool
	// Size is as in [Beacon].
	Size *int
	// Connector is as in [Beacon]. Only the initial network namespace has a
	// connector; in others the kernel refuses true with EOPNOTSUPP.
	Connector *bool
	// Packed is as in [Beacon].
	Packed *uint32
	// Burst is how many events to send at once to each group that hears the
	// beacon, 1 to [wire.BurstMax], besides its ticks; 0 for none. They are sent
	// by the settings as they are after the change, and before SetBeacon returns.
	// EAGAIN means that they took more than five seconds, for a great many
	// listeners: the settings have changed, and the rest is not sent.
	Burst int
}

// Stats are the statistics of a namespace since it came to be.
type Stats struct {
	// Carriers has one entry for each carrier, in the order of their numbers.
	Carriers []CarrierStats
	// Beacon is about the beacon.
	Beacon BeaconStats
	// History is about the history of events.
	History HistoryStats
	// Objects is about the table of objects.
	Objects ObjectStats
}

// CarrierStats tell what one carrier did.
type CarrierStats struct {
	// Carrier is which.
	Carrier wire.Carrier
	// Requests is the number of requests that reached a handler of the peer.
	Requests uint64
	// Replies is the number of replies handed to the asker. Acknowledgments do
	// not count.
	Replies uint64
	// Errors is the number of requests that failed in a handler. Those that the
	// netlink core refused before do not count.
	Errors uint64
	// Errs are the same one by one, those that occurred.
	Errs []ErrorCount
	// RxBytes and TxBytes are the bytes of the requests and of the replies,
	// message headers included.
	RxBytes, TxBytes uint64
	// Events is the number of events sent to a group that had a listener.
	Events uint64
	// EventErrors is the number of events lost for lack of memory.
	EventErrors uint64
}

// An ErrorCount tells how often requests failed with one error.
type ErrorCount struct {
	// Errno is the error, 0 for all those that have no counter of their own.
	Errno syscall.Errno
	// Count is how often.
	Count uint64
}

// BeaconStats tell what the beacon did.
type BeaconStats struct {
	// Ticks is the number of ticks that came due while the beacon kept up.
	Ticks uint64
	// Idle is the number of ticks among them that found no listener.
	Idle uint64
	// Missed is the number of ticks skipped because the machine was behind.
	Missed uint64
}

// HistoryStats tell about the history of events, which is shared by all groups of
// the namespace.
type HistoryStats struct {
	// Size is the greatest number of events that it holds.
	Size uint32
	// Held is the number of events that it holds.
	Held uint32
	// Bytes is the number of bytes that the objects in those events take,
	// BytesMax the greatest number that they may.
	Bytes, BytesMax uint64
}

// ObjectStats tell about the table of objects.
type ObjectStats struct {
	// Count is the number of objects, CountMax the greatest number that there
	// may be.
	Count, CountMax uint32
	// Bytes is the number of bytes that they take, BytesMax the greatest number
	// that they may.
	Bytes, BytesMax uint64
	// Generation is the number of changes up to now.
	Generation uint64
	// Snapshots is the number of atomic dumps in progress.
	Snapshots uint32
}

// Beacon returns the settings of the namespace's beacon. It needs no privilege.
//
// On another carrier it uses a generic netlink socket in the same namespace.
func (c *Conn) Beacon(ctx context.Context) (Beacon, error) {
	var b Beacon
	err := c.call(ctx, "beacon-get", wire.CmdBeaconGet, nil, func(attrs []byte) (err error) {
		b, err = parseBeacon(attrs)
		return err
	})
	if err != nil {
		return Beacon{}, err
	}
	return b, nil
}

// SetBeacon changes the settings of the namespace's beacon that change names,
// all or none. It needs CAP_NET_ADMIN in the user namespace that owns the
// network namespace; without it fails with [os.ErrPermission] (EPERM).
//
// A value that the protocol can not express, such as a part of a millisecond,
// fails with EINVAL before anything is sent. One out of range is refused by
// the kernel with ERANGE.
//
// On another carrier it uses a generic netlink socket in the same namespace.
func (c *Conn) SetBeacon(ctx context.Context, change BeaconChange) error {
	attrs, err := change.append(nil)
	if err != nil {
		return opError("beacon-set", err)
	}
	return c.call(ctx, "beacon-set", wire.CmdBeaconSet, attrs, nil)
}

// Stats returns the statistics of the namespace. It needs no privilege.
//
// On another carrier it uses a generic netlink socket in the same namespace.
func (c *Conn) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	err := c.call(ctx, "stats-get", wire.CmdStatsGet, nil, func(attrs []byte) (err error) {
		s, err = parseStats(attrs)
		return err
	})
	if err != nil {
		return Stats{}, err
	}
	return s, nil
}

// call makes a request of the generic netlink family, and passes the attributes
// of the answer to parse, a view. A nil parse means that nothing but an
// acknowledgment is expected.
func (c *Conn) call(ctx context.Context, op string, cmd uint8, attrs []byte, parse func([]byte) error) error {
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	for again := true; ; again = false {
		gone, err := c.callOnce(&lim, op, cmd, attrs, parse)
		if !gone || !again {
			return opError(op, err)
		}
	}
}

// callOnce is call on the socket that there is. gone is as with hangUp.
func (c *Conn) callOnce(lim *limit, op string, cmd uint8, attrs []byte, parse func([]byte) error) (gone bool, err error) {
	g, err := c.beginGeneric(lim)
	if err != nil {
		return false, err
	}
	defer g.lock.release()
	err = g.exchange(lim, op, cmd, attrs, parse)
	return c.hangUp(g, err), err
}

// exchange sends one request and receives all of its answer. The lock is held.
func (c *Conn) exchange(lim *limit, op string, cmd uint8, attrs []byte, parse func([]byte) error) error {
	h := wire.Header{Type: c.family.ID, Flags: wire.FlagRequest, Seq: c.seq}
	answered := parse == nil
	acked := !answered && !c.cfg.Acknowledge
	if !acked {
		h.Flags |= wire.FlagAck
	}
	c.req = wire.BeginMessage(c.req[:0], h)
	c.req = wire.AppendGenlHeader(c.req, wire.GenlHeader{Command: cmd, Version: wire.FamilyVersion})
	c.req = append(c.req, attrs...)
	c.req = wire.EndMessage(c.req, 0)

	c.raw = false
	if err := c.send(c.req, false); err != nil {
		return err
	}

	for !answered || !acked {
		m, err := c.next(op, lim)
		if err != nil {
			return err
		}
		switch {
		case m.Type == wire.MsgError:
			if err := c.ack(op, m); err != nil {
				return err
			}
			acked = true
		case m.Type != h.Type || answered:
			return unexpected(m)
		default:
			g, attrs, err := wire.ParseGenl(m.Body)
			if err != nil {
				return err
			}
			if g.Command != cmd {
				return fmt.Errorf("answer has command %d: %w", g.Command, syscall.EBADMSG)
			}
			if err := parse(attrs); err != nil {
				return err
			}
			answered = true
		}
	}
	return nil
}

// beginGeneric begins an exchange on what generic returns.
func (c *Conn) beginGeneric(lim *limit) (*Conn, error) {
	for {
		g, err := c.generic(lim)
		if err != nil {
			return nil, err
		}
		err = g.begin(lim)
		if err == nil {
			return g, nil
		}
		// That it is closed, but c is not, means that another call has hung up.
		if g == c || c.closed.Load() || !errors.Is(err, net.ErrClosed) {
			return nil, err
		}
	}
}

// hangUp closes the generic netlink Conn of a raw one if err is that its family is
// gone, as one that comes back has another number. It says so: another socket may
// find the family, and what was asked was not carried out. The lock of g is held.
func (c *Conn) hangUp(g *Conn, err error) (gone bool) {
	if g == c || !errors.Is(err, ErrNotLoaded) {
		return false
	}
	if c.side.CompareAndSwap(g, nil) {
		c.stale.Add(g.stale.Load())
		c.foreign.Add(g.foreign.Load())
		c.overruns.Add(g.overruns.Load())
	}
	if !g.closed.Swap(true) {
		_ = g.shut()
	}
	return true
}

// generic returns the generic netlink Conn in the namespace of one on another
// carrier, and c if it is one.
func (c *Conn) generic(lim *limit) (*Conn, error) {
	if c.cfg.Carrier == Generic {
		return c, nil
	}
	if err := c.atKernel(); err != nil {
		return nil, err
	}
	if err := c.sideLock.acquire(lim); err != nil {
		return nil, err
	}
	defer c.sideLock.release()
	if c.closed.Load() {
		return nil, closedError{}
	}
	if g := c.side.Load(); g != nil {
		return g, nil
	}

	var g *Conn
	err := c.sibling(lim, &c.cfg, func(netns int) (s *socket, err error) {
		cfg := Config{
			Carrier:       Generic,
			NetNS:         netns,
			ReceiveBuffer: c.cfg.ReceiveBuffer,
			Acknowledge:   c.cfg.Acknowledge,
			Tap:           c.cfg.Tap,
		}
		g, err = dial(lim.ctx, cfg, cfg.target())
		if err != nil {
			return nil, err
		}
		return g.socket, nil
	})
	if err != nil {
		return nil, err
	}
	c.side.Store(g)
	return g, nil
}

// sibling opens another socket in the namespace of s. Where s was opened the
// plain way, that is most likely the namespace of the calling thread, but a
// thread may have moved on since. The socket is asked, not the Config: the
// NetNS there may be closed by now.
func (s *socket) sibling(lim *limit, cfg *Config, open func(netns int) (*socket, error)) error {
	if err := s.lock.acquire(lim); err != nil {
		return err
	}
	defer s.lock.release()
	if s.closed.Load() {
		return closedError{}
	}

	// What the thread's namespace refuses, that of s may have.
	var refused error
	if cfg.NetNS == 0 {
		other, err := open(0)
		if refused = err; err == nil {
			// Needs no privilege, but Linux 5.14; before that, believe it.
			ours, err := unix.GetsockoptUint64(s.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
			if err != nil {
				return nil
			}
			if theirs, err := unix.GetsockoptUint64(other.fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil && theirs == ours {
				return nil
			}
			_ = other.close()
		}
	}

	// Needs CAP_NET_ADMIN in the namespace, and to enter it CAP_SYS_ADMIN.
	ns, err := unix.IoctlRetInt(s.fd, unix.SIOCGSKNS)
	if err != nil {
		return cmp.Or(refused, os.NewSyscallError("ioctl SIOCGSKNS", err))
	}
	defer unix.Close(ns)
	if _, err = open(ns); refused != nil && errors.Is(err, os.ErrPermission) {
		return refused
	}
	return err
}

func (b *BeaconChange) append(attrs []byte) ([]byte, error) {
	if b.Interval != nil {
		d := *b.Interval
		ms := d / time.Millisecond
		if ms*time.Millisecond != d || ms < 0 || ms > math.MaxUint32 {
			return nil, configError(fmt.Sprintf("interval %v is not a whole number of milliseconds from 0 to %d", d, wire.IntervalMax))
		}
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconInterval, uint32(ms))
	}
	if b.Groups != nil {
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconGroups, *b.Groups)
	}
	if b.Generic != nil {
		var v uint32
		if *b.Generic {
			v = 1
		}
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconGenl, v)
	}
	if b.Size != nil {
		if *b.Size < 0 || int64(*b.Size) > math.MaxUint32 {
			return nil, configError(fmt.Sprintf("size %d is not 0 to %d", *b.Size, wire.DataMax))
		}
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconSize, uint32(*b.Size))
	}
	if b.Connector != nil {
		var v uint32
		if *b.Connector {
			v = 1
		}
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconConnector, v)
	}
	if b.Packed != nil {
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconPacked, *b.Packed)
	}
	if b.Burst != 0 {
		if b.Burst < 0 || b.Burst > wire.BurstMax {
			return nil, configError(fmt.Sprintf("burst %d is not 1 to %d", b.Burst, wire.BurstMax))
		}
		attrs = wire.AppendUint32(attrs, wire.AttrBeaconBurst, uint32(b.Burst))
	}
	return attrs, nil
}

func parseBeacon(attrs []byte) (Beacon, error) {
	var b Beacon
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return Beacon{}, err
		}
		var v uint32
		switch a.Type {
		case wire.AttrBeaconInterval:
			v, err = a.Uint32()
			b.Interval = time.Duration(v) * time.Millisecond
		case wire.AttrBeaconGroups:
			b.Groups, err = a.Uint32()
		case wire.AttrBeaconGenl:
			v, err = a.Uint32()
			b.Generic = v != 0
		case wire.AttrBeaconSize:
			v, err = a.Uint32()
			b.Size = int(v)
		case wire.AttrBeaconConnector:
			v, err = a.Uint32()
			b.Connector = v != 0
		case wire.AttrBeaconPacked:
			b.Packed, err = a.Uint32()
		}
		if err != nil {
			return Beacon{}, err
		}
	}
	return b, nil
}

func parseStats(attrs []byte) (Stats, error) {
	var s Stats
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return Stats{}, err
		}
		switch a.Type {
		case wire.AttrStatsCarrier:
			var c CarrierStats
			c, err = parseCarrierStats(a.Data)
			s.Carriers = append(s.Carriers, c)
		case wire.AttrStatsBeacon:
			s.Beacon, err = parseBeaconStats(a.Data)
		case wire.AttrStatsHistory:
			s.History, err = parseHistoryStats(a.Data)
		case wire.AttrStatsObjects:
			s.Objects, err = parseObjectStats(a.Data)
		}
		if err != nil {
			return Stats{}, err
		}
	}
	return s, nil
}

func parseCarrierStats(attrs []byte) (CarrierStats, error) {
	var s CarrierStats
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return CarrierStats{}, err
		}
		switch a.Type {
		case wire.AttrCarrierStatsCarrier:
			var v uint32
			v, err = a.Uint32()
			s.Carrier = wire.Carrier(v)
		case wire.AttrCarrierStatsRequests:
			s.Requests, err = a.Uint64()
		case wire.AttrCarrierStatsReplies:
			s.Replies, err = a.Uint64()
		case wire.AttrCarrierStatsErrors:
			s.Errors, err = a.Uint64()
		case wire.AttrCarrierStatsRxBytes:
			s.RxBytes, err = a.Uint64()
		case wire.AttrCarrierStatsTxBytes:
			s.TxBytes, err = a.Uint64()
		case wire.AttrCarrierStatsEvents:
			s.Events, err = a.Uint64()
		case wire.AttrCarrierStatsEventErrors:
			s.EventErrors, err = a.Uint64()
		case wire.AttrCarrierStatsError:
			var e ErrorCount
			e, err = parseErrorCount(a.Data)
			s.Errs = append(s.Errs, e)
		}
		if err != nil {
			return CarrierStats{}, err
		}
	}
	return s, nil
}

func parseErrorCount(attrs []byte) (ErrorCount, error) {
	var e ErrorCount
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return ErrorCount{}, err
		}
		switch a.Type {
		case wire.AttrErrorStatsErrno:
			var v uint32
			v, err = a.Uint32()
			e.Errno = syscall.Errno(v)
		case wire.AttrErrorStatsCount:
			e.Count, err = a.Uint64()
		}
		if err != nil {
			return ErrorCount{}, err
		}
	}
	return e, nil
}

func parseBeaconStats(attrs []byte) (BeaconStats, error) {
	var s BeaconStats
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return BeaconStats{}, err
		}
		switch a.Type {
		case wire.AttrBeaconStatsTicks:
			s.Ticks, err = a.Uint64()
		case wire.AttrBeaconStatsIdle:
			s.Idle, err = a.Uint64()
		case wire.AttrBeaconStatsMissed:
			s.Missed, err = a.Uint64()
		}
		if err != nil {
			return BeaconStats{}, err
		}
	}
	return s, nil
}

func parseHistoryStats(attrs []byte) (HistoryStats, error) {
	var s HistoryStats
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return HistoryStats{}, err
		}
		switch a.Type {
		case wire.AttrHistoryStatsSize:
			s.Size, err = a.Uint32()
		case wire.AttrHistoryStatsHeld:
			s.Held, err = a.Uint32()
		case wire.AttrHistoryStatsBytes:
			s.Bytes, err = a.Uint64()
		case wire.AttrHistoryStatsBytesMax:
			s.BytesMax, err = a.Uint64()
		}
		if err != nil {
			return HistoryStats{}, err
		}
	}
	return s, nil
}

func parseObjectStats(attrs []byte) (ObjectStats, error) {
	var s ObjectStats
	for a, err := range wire.Attrs(attrs) {
		if err != nil {
			return ObjectStats{}, err
		}
		switch a.Type {
		case wire.AttrObjectStatsCount:
			s.Count, err = a.Uint32()
		case wire.AttrObjectStatsCountMax:
			s.CountMax, err = a.Uint32()
		case wire.AttrObjectStatsBytes:
			s.Bytes, err = a.Uint64()
		case wire.AttrObjectStatsBytesMax:
			s.BytesMax, err = a.Uint64()
		case wire.AttrObjectStatsGeneration:
			s.Generation, err = a.Uint64()
		case wire.AttrObjectStatsSnapshots:
			s.Snapshots, err = a.Uint32()
		}
		if err != nil {
			return ObjectStats{}, err
		}
	}
	return s, nil
}
