// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// What comes back waits in the receive buffer, of which the kernel counts not
// the bytes of messages but those of the memory that holds them (truesize of an
// sk_buff): a buffer whose length is a power of two, with 320 bytes for its end
// (skb_shared_info), and 256 for the sk_buff. It gives back what is not used of
// a buffer if that is half of it (netlink_trim in net/netlink/af_netlink.c). So
// a message of n bytes takes up to 2*(n+320)+256 alone, and several that share
// a datagram take less than that each. Newer kernels have a pool for short ones,
// with 960 bytes for each at the most.

// roomFor is what an answer of n bytes may take of the receive buffer.
func roomFor(n int) int { return 2*n + 896 }

const (
	// ackRoom is that of an acknowledgment. That of an error is the longest: it
	// has a text, an offset and a policy with it.
	ackRoom = 2*256 + 896
	// objectRoom is that of any object.
	objectRoom = 2*(wire.ObjectMax+256) + 896
)

// A flight carries Batches to the peer and answers from there, for Do and for a
// Pipeline: it sends what the receive buffer has room for the answers to, takes
// what comes, and knows by the sequence number what request it answers. All of
// it belongs to the holder of the Conn's lock.
type flight struct {
	c *Conn
	// size is the length of the receive buffer as the kernel counts it, free what
	// of it nothing that is on its way may take.
	size, free int
	// most is the greatest length of a datagram to send.
	most int

	out     []*Batch // those that are not done with, oldest first
	answer  func(Answer)
	sending func(first, n int) // PipelineConfig.Sending
	object  ObjectView         // what Answer.Object is
	// overrun says that answers were lost. What was queued before that is still
	// in the receive buffer.
	overrun bool

	sent, received uint64 // datagrams
	ended, failed  uint64 // requests
}

// open reads how large the socket's buffers are.
func (f *flight) open(c *Conn) error {
	f.c = c
	size, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_RCVBUF", err)
	}
	// The kernel refuses more than the buffer without its own 32 bytes
	// (netlink_sendmsg in net/netlink/af_netlink.c).
	most, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_SNDBUF", err)
	}
	f.size, f.free = size, size
	// A peer makes no datagram longer than the one that it answers, unless one
	// answer is, or it is short anyway. So what comes back fits our buffer.
	f.most = min(most-32, len(c.buf))
	return nil
}

// carry takes one batch to its end. The lock is held, and c.seq is not in use.
func (f *flight) carry(lim *limit, b *Batch, answer func(Answer)) error {
	f.answer = answer
	if err := f.launch(b); err != nil {
		return err
	}
	defer f.land()
	for {
		if err := f.send(lim, b); err != nil {
			return err
		}
		if b.done() {
			return nil
		}
		if _, err := f.receive(lim, true); err != nil {
			return err
		}
	}
}

// launch takes a batch on, and sends nothing yet.
func (f *flight) launch(b *Batch) error {
	c := f.c
	if c.unsettled {
		// What is late takes room that is counted on.
		if err := c.settle(); err != nil {
			return err
		}
	}
	b.start(c.seq)
	c.seq += uint32(max(len(b.reqs), 1) - 1)
	f.out = append(f.out, b)
	return nil
}

// land ends all that is on its way, answered or not.
func (f *flight) land() {
	f.c.unsettled = f.onWay()
	clear(f.out)
	f.out, f.free, f.overrun, f.answer = f.out[:0], f.size, false, nil
}

// onWay says that an answer is waited for.
func (f *flight) onWay() bool { return f.free != f.size }

// send sends of a batch as much as there is room for the answers to.
func (f *flight) send(lim *limit, b *Batch) error {
	c := f.c
	for b.sent < len(b.reqs) && !f.overrun {
		if err := lim.ctx.Err(); err != nil {
			return err
		}
		d := f.pack(b)
		if d.next == b.sent {
			return nil // no room yet
		}
		if d.n > 0 {
			if f.sending != nil {
				f.sending(b.first+b.sent, d.next-b.sent)
			}
			err := c.sendAs(d.data, d.short)
			if errors.Is(err, syscall.EAGAIN) && f.onWay() {
				return nil // to a process that has not read what it has yet
			}
			if err != nil {
				return err
			}
			c.raw = d.short
			f.free -= d.room
			f.sent++
			b.datagramsOut++
			b.open += d.n
		}
		b.sent = d.next
		f.tell(b)
	}
	return nil
}

// A packed is the next requests of a batch that go into one datagram.
type packed struct {
	data []byte
	next int // the first request that is not in it
	n    int // how many are
	room int // that the answers may take
	// short says that raw system calls may carry it and what answers it, see
	// rawLimit: for longer ones, and where objects are looked for and events
	// sent, they would take too long.
	short bool
}

// pack completes the messages of the next datagram.
func (f *flight) pack(b *Batch) packed {
	c := f.c
	from := b.begins(b.sent)
	start := from
	p := packed{next: b.sent, short: true}
	buf, reqs := b.buf, b.reqs
	seq := b.base + uint32(p.next)
	for p.next < len(reqs) {
		r := &reqs[p.next]
		if r.kind != kindBad {
			if r.end-from > f.most || p.n > 0 && c.cfg.Carrier == Connector {
				break
			}
			if room := p.room + int(r.room); room <= f.free || p.n == 0 && !f.onWay() {
				p.room = room
			} else {
				break
			}
			binary.NativeEndian.PutUint32(buf[start+8:], seq)
			if c.cfg.Carrier == Connector {
				binary.NativeEndian.PutUint32(buf[start+wire.HeaderLen+8:], seq)
			}
			r.want = r.wants
			p.short = p.short && r.kind == kindEcho
			start = r.end
			p.n++
		}
		seq++
		p.next++
	}
	p.data = buf[from:start]
	p.short = p.short && len(p.data) <= rawLimit
	return p
}

// receive takes one datagram and the answers in it. If there is none, it waits
// for one, or says so.
func (f *flight) receive(lim *limit, wait bool) (got bool, err error) {
	c := f.c
	if err := lim.ctx.Err(); err != nil {
		return false, err
	}
	for {
		c.n, c.errno = recv(c.fd, c.buf, c.raw)
		if c.errno == unix.EAGAIN {
			switch {
			case f.overrun:
				f.overrun = false
				f.lose(func(op string) error { return &OverrunError{Op: op, Count: c.overruns.Load()} })
				return true, nil
			case c.silent():
				f.lose(func(op string) error { return opError(op, errNobody) })
				return true, nil
			case !wait:
				return false, nil
			}
			if err := c.wait(lim); err != nil {
				return false, err
			}
		}
		switch c.errno {
		case 0:
			c.tapped(c.buf, c.n)
			if c.n > len(c.buf) {
				return false, ErrTruncated
			}
			return true, f.walk(c.buf[:c.n])
		case unix.ENOBUFS:
			c.overruns.Add(1)
			f.overrun = true
		case unix.EINTR:
		default:
			return false, os.NewSyscallError("recvfrom", c.errno)
		}
	}
}

// walk gives the answers in a datagram to whom they are for.
func (f *flight) walk(d []byte) error {
	c := f.c
	echo := c.echoType()
	counted := false
	for len(d) > 0 {
		n := wire.MessageLen(d)
		if n == 0 {
			_, _, err := wire.NextMessage(d)
			return err
		}
		h := wire.Header{
			Type:   binary.NativeEndian.Uint16(d[4:]),
			Seq:    binary.NativeEndian.Uint32(d[8:]),
			PortID: binary.NativeEndian.Uint32(d[12:]),
		}
		body := d[wire.HeaderLen:n:n]
		ours := h.PortID == c.port
		if c.cfg.Carrier == Connector {
			h.Seq, ours = c.connectorSeq(body)
		}
		if b, i := f.find(h.Seq); !ours {
			c.foreign.Add(1)
		} else if b == nil || b.reqs[i].want == 0 {
			c.stale.Add(1)
		} else {
			if !counted {
				counted = true
				f.received++
				b.datagramsIn++
			}
			if b.reqs[i].want == wantAnswer && h.Type == echo && b.reqs[i].kind == kindEcho {
				payload, err := c.echoAnswer(body)
				f.finish(b, i, Answer{Payload: payload, Err: opError("echo", err)})
			} else {
				h.Len, h.Flags = uint32(n), binary.NativeEndian.Uint16(d[6:])
				f.take(b, i, wire.Message{Header: h, Body: body})
			}
		}
		d = d[min(wire.Align(n), len(d)):]
	}
	return nil
}

// find finds the request that has a sequence number, if it was sent.
func (f *flight) find(seq uint32) (b *Batch, i int) {
	for _, b := range f.out {
		if i := seq - b.base; uint64(i) < uint64(b.sent) {
			return b, int(i)
		}
	}
	return nil, 0
}

// take takes any message that answers a request.
func (f *flight) take(b *Batch, i int, m wire.Message) {
	c, r := f.c, &b.reqs[i]
	op := r.kind.op()
	switch {
	case m.Type == wire.MsgError:
		if err := c.ack(op, m); err != nil {
			f.finish(b, i, Answer{Err: opError(op, err)})
			return
		}
		if r.want &^= wantAck; r.want != 0 {
			return // an acknowledgment that nobody asked for, or too early
		}
		if r.kind == kindNew || r.kind == kindDelete {
			f.finish(b, i, Answer{})
			return
		}
		if b.heldBy != i {
			f.finish(b, i, Answer{Err: opError(op, unexpected(m))})
			return
		}
		f.finish(b, i, f.decode(b, i, wire.Message{Header: wire.Header{Type: b.heldType}, Body: b.held}))
	case r.want&wantAnswer == 0:
		f.finish(b, i, Answer{Err: opError(op, unexpected(m))})
	case r.want&wantAck != 0:
		// The acknowledgment may come in another datagram, into the same buffer.
		r.want &^= wantAnswer
		b.held, b.heldType, b.heldBy = append(b.held[:0], m.Body...), m.Type, i
	default:
		f.finish(b, i, f.decode(b, i, m))
	}
}

// decode makes an Answer of a message that has what was asked for.
func (f *flight) decode(b *Batch, i int, m wire.Message) (a Answer) {
	c, kind := f.c, b.reqs[i].kind
	var err error
	switch {
	case kind == kindGet:
		if f.object, err = c.objectAnswer(&objectGet, m); err == nil {
			a.Object = &f.object
			if key := b.key(i); !bytes.Equal(f.object.Key, key) {
				a.Object, err = nil, otherObject(f.object.Key)
			}
		}
	case m.Type != c.echoType():
		err = unexpected(m)
	default:
		a.Payload, err = c.echoAnswer(m.Body)
	}
	a.Err = opError(kind.op(), err)
	return a
}

// finish is the end of a request that was sent.
func (f *flight) finish(b *Batch, i int, a Answer) {
	r := &b.reqs[i]
	r.want = 0
	f.free += int(r.room)
	b.open--
	f.ended++
	if a.Err != nil {
		f.failed++
	}
	a.Index = b.first + i
	f.answer(a)
	f.tell(b)
}

// lose is the end of all requests that are on their way.
func (f *flight) lose(why func(op string) error) {
	for _, b := range f.out {
		f.giveUp(b, why)
	}
}

// giveUp is the end of all requests of a batch that are on their way.
func (f *flight) giveUp(b *Batch, why func(op string) error) {
	for i := range b.reqs[:b.sent] {
		if r := &b.reqs[i]; r.want != 0 {
			f.finish(b, i, Answer{Err: why(r.kind.op())})
		}
	}
}

// tell tells of the requests that could not be sent, each after those before it.
func (f *flight) tell(b *Batch) {
	if b.due == len(b.bad) {
		return
	}
	for b.front < b.sent {
		if r := &b.reqs[b.front]; r.kind == kindBad {
			bad := b.bad[b.due]
			b.due++
			b.front++
			f.ended++
			f.failed++
			f.answer(Answer{Index: b.first + bad.index, Err: bad.err})
			continue
		} else if r.want != 0 {
			return
		}
		b.front++
	}
}

// settle drops what answers to earlier calls are in the receive buffer.
func (c *Conn) settle() error {
	for {
		n, errno := recv(c.fd, c.buf, false)
		switch errno {
		case 0:
			c.tapped(c.buf, n)
			for d := c.buf[:min(n, len(c.buf))]; len(d) > 0; {
				_, rest, _ := wire.NextMessage(d)
				d = rest
				c.stale.Add(1)
			}
		case unix.ENOBUFS:
			c.overruns.Add(1)
		case unix.EINTR:
		case unix.EAGAIN:
			c.unsettled = false
			return nil
		default:
			return os.NewSyscallError("recvfrom", errno)
		}
	}
}
