// SPDX-License-Identifier: MIT

// Package client talks to nlpeer, the netlink peer in the Linux kernel.
//
// A [Conn] asks: it sends a request and waits for the answer to it. A
// [Subscription] listens: it receives the events of multicast groups. Each has
// a socket of its own, because answers and events that share one receive
// buffer push each other out, and a burst of events would then cost an answer.
//
// # Carriers
//
// The peer is reached by its raw protocol, NETLINK_TEST, by its generic netlink
// family, nlpeer, over the connector, and by a protocol family of rtnetlink;
// [Config] chooses. What each can do:
//
//	            echo  objects  events  settings and statistics
//	Raw         yes   yes      yes     by generic netlink
//	Generic     yes   yes      yes     yes
//	Connector   yes   no       yes     by generic netlink
//	Rtnl        yes   yes      no      by generic netlink
//
// Where it says "by generic netlink", a Conn opens a second socket when it is
// first asked, as a Subscription does for the events that it missed.
//
// # Objects
//
// [Conn.NewObject] and its relatives keep a table of objects in the peer, each a
// key with values. [Conn.Objects] dumps it, and says so if the table changed
// meanwhile; every change is an event as well. [Conn.ViewObject] and
// [Conn.ObjectViews] are the same without an allocation for each object.
//
// # Batches and pipelines
//
// A [Batch] is many requests that [Conn.Do] sends in as few datagrams as may be;
// a [Pipeline] does the same with a stream of them. Both tell of each request by
// an [Answer]: one that fails keeps none from going on. They have as much on their
// way as the receive buffer has room for the answers to, and no more, so that
// nothing is lost to an overrun of their own making.
//
// # Events without loss
//
// A Subscription that misses events, because its receive buffer was full, asks
// the peer for them and yields them in their place: the events of a group come
// in order and each once, and what the peer no longer remembers is counted
// exactly. [Config] can turn that off, and let a new Subscription begin where an
// earlier one has stopped. [Conn.EventsSince] asks by hand.
//
// # Contexts
//
// Each call that may wait takes a context and returns soon after it is done. A
// request that was already sent is not taken back by that: the kernel has
// carried it out. Its late answer is dropped, and counted in [Counters].
//
// # Concurrency
//
// All methods of Conn and Subscription may be called from several goroutines
// at once. The calls on one Conn wait for each other, as a request and its
// answer are one exchange; who needs more at a time dials more Conns. The
// events of one Subscription are ranged over by one goroutine at a time.
// Close may be called at any time and makes every waiting call return.
//
// # Errors
//
// Calls return a [*OpError] with the errno and all that the kernel had to say
// about it. An overrun is a [*OverrunError]; it ends neither a Conn nor a
// Subscription. Without the module, Dial and Subscribe fail with
// [ErrNotLoaded]; a Subscription whose module is unloaded ends with [ErrEnded]. A
// carrier that the peer does not have in the namespace is [ErrNoCarrier]. Use
// errors.Is with [syscall.Errno] values, [os.ErrPermission], [os.ErrExist],
// [os.ErrNotExist], [os.ErrDeadlineExceeded], [net.ErrClosed] and [os.ErrClosed],
// and the errors of package context.
//
// # Speed
//
// An echo makes two system calls and no heap allocation: the kernel has queued
// the answer by the time the request has been sent. The same goes for an event
// that is already there, which takes one system call, as do many that came
// packed. On the raw protocol 64 small echoes in a [Batch] make two system calls.
// Only a call that really has to wait goes through the runtime's network poller.
//
// # Other listeners
//
// nlmon devices see generic netlink; they do not see NETLINK_TEST (net/netlink/
// af_netlink.c, netlink_filter_tap). Config.Tap sees both.
package client
