// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Routing tables (enum rt_class_t in linux/rtnetlink.h).
const (
	TableDefault = 253
	TableMain    = 254
	TableLocal   = 255
)

// fibLen is the length of struct fib_result_nl (include/net/ip_fib.h).
const fibLen = 20

// A FIBQuery is a question of where an address is routed.
type FIBQuery struct {
	// Addr is an IPv4 address.
	Addr netip.Addr
	// Table is the table to look in. 0 looks where the kernel looks as long as
	// nobody has set other rules: in local, main and default, until one has an
	// answer. Rules are not looked at.
	Table uint8
	// TOS is the type of service of the packet, a mark that routes may ask for.
	TOS uint8
	// Scope is the least scope, RT_SCOPE_*, that the route must have.
	Scope uint8
	// Mark is the packet's mark. It is sent, but a table has no use for it: only
	// rules look at marks.
	Mark uint32
	// NetNS is an open file descriptor of a network namespace, 0 for ours.
	NetNS int
}

// A FIBResult is what the kernel answers.
type FIBResult struct {
	// Err is why there is no route: EAGAIN if the table has none, ENOENT if
	// there is no such table, EHOSTUNREACH, EINVAL or EACCES if the route says
	// unreachable, blackhole or prohibit. 0 if there is one, and then the fields
	// below have a meaning.
	Err syscall.Errno
	// Table is the one that the answer is from, if it exists. The kernel keeps
	// local and main in one until somebody sets a rule, and answers a question
	// for either from both.
	Table uint8
	// Prefix is the destination of the route.
	Prefix netip.Prefix
	// Type and Scope are the route's, RTN_* and RT_SCOPE_*.
	Type, Scope uint8
	// Hop is which of its next hops was chosen, from 0.
	Hop uint8
}

// ErrFIB says that an answer makes no sense.
var ErrFIB = errors.New("answer of NETLINK_FIB_LOOKUP makes no sense")

// LookUpFIB asks NETLINK_FIB_LOOKUP for the route of an IPv4 address. It needs no
// privilege. That there is no route is no error, but [FIBResult].Err.
//
// It fails with EAFNOSUPPORT if Addr is no IPv4 address, and
// [os.ErrDeadlineExceeded] or the error of ctx if there is no answer.
func LookUpFIB(ctx context.Context, q FIBQuery) (FIBResult, error) {
	if !q.Addr.Is4() {
		return FIBResult{}, fmt.Errorf("NETLINK_FIB_LOOKUP knows IPv4 addresses only: %w", syscall.EAFNOSUPPORT)
	}
	c, err := netlink.Dial(unix.NETLINK_FIB_LOOKUP, &netlink.Config{NetNS: q.NetNS})
	if err != nil {
		return FIBResult{}, err
	}
	defer c.Close()
	defer limit(ctx, c)()

	if q.Table != 0 {
		return askFIB(ctx, c, q)
	}
	var r FIBResult
	for _, q.Table = range []uint8{TableLocal, TableMain, TableDefault} {
		// A table without a route, and a route that says "throw", leave the
		// answer to the next table.
		if r, err = askFIB(ctx, c, q); err != nil || r.Err != syscall.EAGAIN && r.Err != syscall.ENOENT {
			break
		}
	}
	if err != nil || r.Table != TableLocal || r.Err == 0 && r.Type != unix.RTN_UNICAST {
		return r, err
	}
	// As long as nobody has set rules, the kernel keeps local and main in one,
	// and calls it what it was asked for (fib_trie_table in
	// net/ipv4/fib_trie.c).
	q.Table = TableMain
	other, err := askFIB(ctx, c, q)
	if r.Table = TableMain; err == nil && other != r {
		r.Table = TableLocal
	}
	return r, err
}

// askFIB asks for one table.
func askFIB(ctx context.Context, c *netlink.Conn, q FIBQuery) (FIBResult, error) {
	// The answer is the question with its blanks filled in, header and all, so a
	// wrong one is told by its numbers.
	answers, err := c.Execute(netlink.Message{Header: netlink.Header{Flags: netlink.Request}, Data: appendFIB(nil, &q)})
	if err != nil {
		return FIBResult{}, done(ctx, err)
	}
	if len(answers) != 1 {
		return FIBResult{}, ErrFIB
	}
	return ParseFIB(answers[0].Data)
}

func appendFIB(b []byte, q *FIBQuery) []byte {
	addr := q.Addr.As4()
	b = append(b, addr[:]...)
	b = binary.NativeEndian.AppendUint32(b, q.Mark)
	b = append(b, q.TOS, q.Scope, q.Table, 0)
	return append(b, make([]byte, fibLen-12)...)
}

// ParseFIB decodes an answer (struct fib_result_nl). It returns [ErrFIB].
func ParseFIB(b []byte) (FIBResult, error) {
	if len(b) < fibLen {
		return FIBResult{}, ErrFIB
	}
	r := FIBResult{Table: b[11], Err: syscall.Errno(-int32(binary.NativeEndian.Uint32(b[16:])))}
	if r.Err != 0 {
		if r.Err > 4095 {
			return FIBResult{}, ErrFIB
		}
		if r.Err == syscall.ENOENT {
			r.Table = 0
		}
		return r, nil
	}
	prefix, err := netip.AddrFrom4([4]byte(b[:4])).Prefix(int(b[12]))
	if err != nil {
		return FIBResult{}, ErrFIB
	}
	r.Prefix, r.Hop, r.Type, r.Scope = prefix, b[13], b[14], b[15]
	return r, nil
}

// past is a deadline that makes a waiting call return at once.
var past = time.Unix(1, 0)

// limit makes calls on c end with ctx, until the function that it returns is
// called.
func limit(ctx context.Context, c *netlink.Conn) (unlimited func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
}

// done prefers the error of ctx, which is why a call ended.
func done(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
