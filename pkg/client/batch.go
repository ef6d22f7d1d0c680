// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"nlpeer/pkg/wire"
)

// A Batch is requests that [Conn.Do] sends together. [Conn.NewBatch] makes one,
// for that Conn alone. The methods that add a request encode it into a buffer of
// the Batch, so that what they are given may be changed afterwards, and a Batch
// that is used again after [Batch.Reset] allocates nothing.
//
// Adding does not fail: what can not be sent, such as a payload that is too long,
// has its error in the [Answer] like a request that the kernel refuses, and the
// others are not held up by it.
//
// A Batch is for one goroutine at a time.
type Batch struct {
	c    *Conn
	buf  []byte // the messages, one behind the other
	reqs []request
	bad  []badRequest // those without a message, in order
	// room is the sum of that of all requests; others says that some are no
	// echoes, many that some delete many objects.
	room         int
	others, many bool

	// Where it is on its way, see flight.

	first int // what the index of request 0 is to be
	// base is the sequence number of request 0 as the messages have it. While
	// they are encoded it is what it will most likely be, see rebase.
	base uint32
	sent int // requests from here on are still here
	open int // those sent that are not done with
	due  int // the first of bad that is not told of
	// answered up to here, as far as it is known; only kept if there are bad ones.
	front int
	// deadline is that of its next answer, zero before the first wait; heard says
	// that a request has come to its end since it was set.
	deadline time.Time
	heard    bool
	// following is the sequence number after that of the last request.
	following uint32

	held     []byte // an answer whose acknowledgment is still to come
	heldType uint16
	heldBy   int // whose, -1 if there is none

	datagramsOut, datagramsIn int
}

// A request is one message of a Batch.
type request struct {
	end  int    // of its message in the buffer, padding included
	room uint32 // that what comes back may take, see roomFor
	kind requestKind
	// wants is what is to come back, and want what of that is still to come.
	wants, want uint8
}

// A badRequest is one that is not sent.
type badRequest struct {
	index int
	err   error
}

type requestKind uint8

const (
	kindEcho       requestKind = iota
	kindGet                    // of an object
	kindNew                    // of an object, answered by an acknowledgment alone
	kindDelete                 // likewise
	kindDeleteMany             // likewise
	kindBad
)

// op is the name of the operation.
func (k requestKind) op() string {
	switch k {
	case kindGet:
		return objectGet.name
	case kindNew:
		return objectNew.name
	case kindDelete, kindDeleteMany:
		return objectDel.name
	}
	return "echo"
}

// What a request waits for.
const (
	wantAnswer = 1 << iota
	wantAck
	wantEcho // an answer to an echo, and no acknowledgment
)

// An Answer is what became of one request.
type Answer struct {
	// Index is the number of the request: in a [Batch] how many were added before
	// it, in a [Pipeline] how many were made before it.
	Index int
	// Payload is what an echo brought back. It is a view that is valid until the
	// function returns that the Answer is given to.
	Payload []byte
	// Object is what [Batch.Get] asked for, and nil for other requests. It is
	// valid as long as Payload.
	Object *ObjectView
	// Err is why the request failed, nil if it did not; all else but Index is
	// zero then. It is an [*OpError] or an [*OverrunError], as that of the call
	// that makes a request like it alone.
	Err error
}

// NewBatch returns an empty Batch for requests to the peer of c.
func (c *Conn) NewBatch() *Batch { return &Batch{c: c} }

// Len is the number of requests.
func (b *Batch) Len() int { return len(b.reqs) }

// Reset forgets the requests and keeps the memory for others.
func (b *Batch) Reset() {
	clear(b.bad)
	b.buf, b.reqs, b.bad = b.buf[:0], b.reqs[:0], b.bad[:0]
	b.room, b.others, b.many = 0, false, false
	b.base = b.following
}

// Datagrams tells how many datagrams the last [Conn.Do] sent, and in how many
// the answers came. A peer that packs answers several requests of one datagram by
// one. One that does not needs one for each answer: an older module or one loaded
// with batch=0, generic netlink and rtnetlink always. With Config.Acknowledge each
// peer does, as an acknowledgment ends its datagram.
func (b *Batch) Datagrams() (sent, received int) { return b.datagramsOut, b.datagramsIn }

// Echo adds what [Conn.Echo] asks. Its Payload has the answer.
func (b *Batch) Echo(payload []byte) {
	f := &b.c.echoes
	start, i := len(b.buf), len(b.reqs)
	n := f.size(len(payload))
	if len(payload) > f.max || n > cap(b.buf)-start || i == cap(b.reqs) {
		b.echoSlow(payload, n)
		return
	}
	room := f.room + 2*uint32(n)
	b.room += int(room)
	b.reqs = b.reqs[:i+1]
	b.reqs[i] = request{end: start + n, room: room, kind: kindEcho, wants: f.wants, want: f.wants}

	b.buf = b.buf[:start+n]
	m, seq := b.buf[start:start+n], b.base+uint32(i)
	if f.plain {
		f.putPlain(m, seq, payload)
	} else {
		f.put(m, seq, payload)
	}
}

// echoSlow makes room for an echo of n bytes and adds it, or refuses it.
func (b *Batch) echoSlow(payload []byte, n int) {
	f := &b.c.echoes
	if len(payload) > f.max {
		b.refuse("echo", sizeError{"payload", len(payload), f.max})
		return
	}
	b.buf = slices.Grow(b.buf, n)
	b.reqs = slices.Grow(b.reqs, 1)
	b.Echo(payload)
}

// Get adds what [Conn.GetObject] asks. Its Object has the answer.
func (b *Batch) Get(key string) {
	op := &objectGet
	if err := b.c.checkObject(key, nil); err != nil {
		b.refuse(op.name, err)
		return
	}
	room, wants := objectRoom, uint8(wantAnswer)
	if b.c.cfg.Acknowledge {
		room, wants = room+ackRoom, wantAnswer|wantAck
	}
	b.add(kindGet, wants, room, b.c.appendObjectGet(b.buf, b.base+uint32(len(b.reqs)), key))
}

// NewObject adds what [Conn.NewObject] asks.
func (b *Batch) NewObject(key string, flags wire.Modifier, values ...[]byte) {
	if err := b.c.checkNewObject(key, flags, values); err != nil {
		b.refuse(objectNew.name, err)
		return
	}
	b.add(kindNew, wantAck, ackRoom, b.c.appendObjectNew(b.buf, b.base+uint32(len(b.reqs)), key, flags, values))
}

// DeleteObject adds what [Conn.DeleteObject] asks.
func (b *Batch) DeleteObject(key string) {
	if err := b.c.checkObject(key, nil); err != nil {
		b.refuse(objectDel.name, err)
		return
	}
	b.add(kindDelete, wantAck, ackRoom, b.c.appendObjectDel(b.buf, b.base+uint32(len(b.reqs)), key))
}

// DeleteObjects adds what [Conn.DeleteObjects] asks.
func (b *Batch) DeleteObjects(prefix string) {
	if err := b.c.checkObject(prefix, nil); err != nil {
		b.refuse(objectDel.name, err)
		return
	}
	b.many = true
	b.add(kindDeleteMany, wantAck, ackRoom, b.c.appendObjectsDel(b.buf, b.base+uint32(len(b.reqs)), prefix))
}

// add adds the request that buf ends with.
func (b *Batch) add(kind requestKind, wants uint8, room int, buf []byte) {
	if n := len(buf) - len(b.buf); n > b.c.flight.most {
		b.buf = buf[:len(b.buf)]
		b.refuse(kind.op(), sizeError{"request", n, b.c.flight.most})
		return
	}
	b.buf = buf
	b.room += room
	b.others = true
	b.reqs = append(b.reqs, request{end: len(buf), room: uint32(room), kind: kind, wants: wants, want: wants})
}

// refuse adds a request that is not sent.
func (b *Batch) refuse(op string, err error) {
	b.bad = append(b.bad, badRequest{len(b.reqs), opError(op, err)})
	b.reqs = append(b.reqs, request{end: len(b.buf), kind: kindBad})
}

// Do sends the requests of b, as many in a datagram as may be, and calls answer
// with what became of each. The Answers come as the peer gives them, which from
// the kernel is the order of the requests. Many requests are on their way at a
// time, but never more than the receive buffer has room for the answers to, so
// that none is lost; what does not fit at once is sent as answers come in. One
// request is sent also if there can never be room for what comes back.
//
// A request that fails has its error in its Answer, and does not keep the others
// from going on. The error of Do says that the whole could not be carried to its
// end: that of ctx, [os.ErrDeadlineExceeded] after Config.Timeout,
// [net.ErrClosed], or one that the socket reports. What was answered before was
// told of, also what nobody had waited for at the end of ctx, and the Conn goes on to
// work; of the other requests those that were
// sent are carried out all the same, and their answers are dropped.
//
// A datagram has at most 96 KiB and what the send buffer allows (SO_SNDBUF in
// socket(7)); on [Connector] it has one request, and on [Generic] it ends with one
// by [Batch.DeleteObjects]. Who asks for many objects may
// want a larger Config.ReceiveBuffer, as each of them may be as large as
// [wire.ObjectMax].
//
// The Conn is in use until Do returns: other calls wait, so that one in answer,
// Close included, waits for ever. b may be sent again. Nothing is allocated
// but errors, if answer is not a new closure for each call.
func (c *Conn) Do(ctx context.Context, b *Batch, answer func(Answer)) error {
	const op = "batch"
	if b.c != c {
		return opError(op, configError("the Batch is that of another Conn"))
	}
	lim := limit{ctx: ctx, timeout: c.cfg.Timeout}
	if err := c.begin(&lim); err != nil {
		return opError(op, err)
	}
	defer c.lock.release()
	return opError(op, c.flight.carry(&lim, b, answer))
}

// start puts the batch before its first request, which has the sequence number
// base.
func (b *Batch) start(base uint32) {
	if b.base != base {
		b.rebase(base)
	}
	b.following = base + uint32(max(len(b.reqs), 1))
	b.sent, b.open, b.due, b.front = 0, 0, 0, 0
	b.deadline, b.heard = time.Time{}, false
	b.heldBy = -1
	b.datagramsOut, b.datagramsIn = 0, 0
}

// rebase makes base the sequence number of the first request, of a batch that is
// sent again or that was encoded while other calls were made.
func (b *Batch) rebase(base uint32) {
	b.base = base
	start := 0
	for i := range b.reqs {
		if r := &b.reqs[i]; r.wants != 0 {
			r.want = r.wants
			binary.NativeEndian.PutUint32(b.buf[start+8:], base)
			if b.c.cfg.Carrier == Connector {
				binary.NativeEndian.PutUint32(b.buf[start+wire.HeaderLen+8:], base)
			}
			start = r.end
		}
		base++
	}
}

// done says that all requests have come to their end.
func (b *Batch) done() bool { return b.open == 0 && b.sent == len(b.reqs) }

// key is that of the object that request i asks for.
func (b *Batch) key(i int) []byte {
	attrs := b.buf[b.begins(i)+wire.HeaderLen : b.reqs[i].end]
	if b.c.cfg.Carrier != Raw {
		attrs = attrs[wire.GenlHeaderLen:] // as long as that of rtnetlink
	}
	a, _, _ := wire.NextAttr(attrs)
	return a.Bytes()
}

// begins is where the message of request i begins.
func (b *Batch) begins(i int) int {
	if i == 0 {
		return 0
	}
	return b.reqs[i-1].end
}
