// SPDX-License-Identifier: MIT

package client

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// What comes back waits in the receive buffer, of which the kernel counts not
// the bytes of messages but those of the memory that holds them (truesize of an
// sk_buff): a buffer whose length is a power of two, with up to 320 bytes for its
// end (skb_shared_info), and up to 256 for the sk_buff. Message, end and sk_buff
// each take whole lines of the processor's cache. The kernel gives back what is
// not used of a buffer if that is half of it (netlink_trim in
// net/netlink/af_netlink.c). So a message of n bytes takes up to 2*(n+320)+256
// alone where a line is 64 bytes, and 2*(n+192+512)+256 where it is 256, as on
// s390x; several that share a datagram take less than that each. Newer kernels
// have a pool for short ones, where each takes 960 bytes, however short it is;
// the shortest has 16, and so the estimate is 32 more.

// roomFor is what an answer of n bytes may take of the receive buffer.
func roomFor(n int) int { return roomForOn(cacheLine, n) }

// cacheLine is the length of a line of the processor's cache, in bytes.
const cacheLine = int(unsafe.Sizeof(cpu.CacheLinePad{}))

func roomForOn(line, n int) int {
	lines := func(n int) int { return (n + line - 1) / line * line }
	return 2*(n+max(line-64, 0)+lines(320)) + lines(256) + 32
}

// roomTaken is the least that a datagram of n bytes may have taken of the receive
// buffer: the sk_buff and its end have more than 256 bytes on every processor.
//
// It tells when all has been read that was there at some moment. The kernel puts
// nothing into a buffer that has more in it than its size, so all datagrams but the
// last fit. Those read since then that took more than the size are all that were
// there, and whatever follows came later.
func roomTaken(n int) int { return n + 256 }

var (
	// ackRoom is that of an acknowledgment. That of an error is the longest: it
	// has a text, an offset and a policy with it.
	ackRoom = roomFor(256)
	// objectRoom is that of any object.
	objectRoom = roomFor(wire.ObjectMax + 256)
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
	// each says that a datagram that the kernel refuses is the end of the requests
	// in it alone.
	each   bool
	object ObjectView // what Answer.Object is
	// overrun says that answers were lost. What was queued before that is still
	// in the receive buffer.
	overrun bool

	sent, received uint64 // datagrams
	failed         uint64 // requests
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
	c.seq = b.following - 1
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

// send sends of a batch as much as there is room for the answers to. It sends
// nothing after the end of the context, and takes the answers that are there then.
func (f *flight) send(lim *limit, b *Batch) error {
	c := f.c
	for b.sent < len(b.reqs) && !f.overrun {
		if err := lim.ctx.Err(); err != nil {
			return cmp.Or(f.receiveAll(lim), err)
		}
		d := f.pack(b)
		if d.next == b.sent {
			return nil // no room yet
		}
		if d.n > 0 {
			if f.sending != nil {
				f.sending(b.first+b.sent, d.next-b.sent)
			}
			err := c.send(d.data, d.short)
			if errors.Is(err, syscall.EAGAIN) && f.onWay() {
				return nil // to a process that has not read what it has yet
			}
			if err != nil {
				if !f.each {
					return err
				}
				f.refused(b, d, err)
				continue
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

// refused is the end of the requests in a datagram that could not be sent.
func (f *flight) refused(b *Batch, d packed, err error) {
	first := b.sent
	f.free -= d.room
	b.open += d.n
	b.sent = d.next
	f.tell(b)
	for i := first; i < d.next; i++ {
		if r := &b.reqs[i]; r.want != 0 {
			f.finish(b, i, nil, nil, err)
		}
	}
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

// pack finds the next datagram.
func (f *flight) pack(b *Batch) packed {
	p := packed{next: len(b.reqs), n: len(b.reqs) - len(b.bad), room: b.room}
	if b.sent > 0 || b.room > f.free || len(b.buf) > f.most || f.c.cfg.Carrier == Connector || b.many {
		p = f.cut(b)
	}
	if p.next > b.sent {
		p.data = b.buf[b.begins(b.sent):b.reqs[p.next-1].end]
	}
	p.short = !b.others && len(p.data) <= rawLimit
	return p
}

// cut takes as many of the next requests as fit.
func (f *flight) cut(b *Batch) packed {
	p, reqs := packed{next: b.sent}, b.reqs
	most := b.begins(p.next) + f.most
	free := f.free
	if !f.onWay() {
		free = math.MaxInt // for one, whatever it takes
	}
	for p.next < len(reqs) {
		r := &reqs[p.next]
		if r.end > most || p.room+int(r.room) > free {
			break
		}
		p.room += int(r.room)
		p.next++
		if r.wants != 0 {
			p.n++
			free = f.free
			if f.c.cfg.Carrier == Connector {
				break // which looks at the first message alone
			}
			if f.c.cfg.Carrier == Generic && r.kind == kindDeleteMany {
				break // which takes it only at the end
			}
		}
	}
	return p
}

// receive takes one datagram and the answers in it. If there is none, it waits
// for one, or says so. The context is for waiting alone: what is there by its end
// came in time. What comes later and ends no request is not read without limit.
func (f *flight) receive(lim *limit, wait bool) (got bool, err error) {
	c := f.c
	for {
		c.n, c.errno = recv(c.fd, c.buf, c.raw)
		if c.errno == unix.EAGAIN {
			switch {
			case f.overrun:
				f.overrun = false
				f.lose(func(op string) error { return &OverrunError{Op: op, Count: c.overruns.Load()} })
				return true, nil
			case c.silent():
				f.lose(func(op string) error { return errNobody })
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
			free := f.free
			if err := f.walk(c.buf[:c.n]); err != nil || f.free != free {
				return true, err
			}
			return true, c.inVain(lim)
		case unix.ENOBUFS:
			c.overruns.Add(1)
			f.overrun = true
		case unix.EINTR:
		default:
			return false, os.NewSyscallError("recvfrom", c.errno)
		}
	}
}

// receiveAll takes what there is, and waits for nothing.
func (f *flight) receiveAll(lim *limit) error {
	for f.onWay() {
		if got, err := f.receive(lim, false); err != nil || !got {
			return err
		}
	}
	return nil
}

// walkEchoes gives the answers at the front of a datagram to whom they are for,
// as long as they are echoes on the raw protocol, which is what batches are made
// for, and of one batch that has none but good requests. It returns where it ends.
func (f *flight) walkEchoes(d []byte, b *Batch) (end int) {
	port, answer, reqs := f.c.port, f.c.echoes.answer, b.reqs[:b.sent]
	var a Answer
	for len(d)-end >= wire.HeaderLen {
		m := d[end:]
		h := (*[wire.HeaderLen]byte)(m)
		n := uint(binary.NativeEndian.Uint32(h[0:]))
		i := uint(binary.NativeEndian.Uint32(h[8:]) - b.base)
		if n < wire.HeaderLen || n > uint(len(m)) || i >= uint(len(reqs)) ||
			binary.NativeEndian.Uint32(h[12:]) != port || binary.NativeEndian.Uint16(h[4:]) != answer {
			break
		}
		r := &reqs[i]
		if r.want != wantEcho {
			break
		}
		r.want = 0
		f.free += int(r.room)
		b.open--
		end += wire.Align(int(n))
		a.Index, a.Payload = b.first+int(i), m[wire.HeaderLen:n:n]
		f.answer(a)
	}
	return end
}

// walk gives the answers in a datagram to whom they are for.
func (f *flight) walk(d []byte) error {
	c, b, counted := f.c, f.out[0], false
	if c.echoes.plain && len(b.bad) == 0 {
		if end := f.walkEchoes(d, b); end > 0 {
			counted = true
			f.received++
			b.datagramsIn++
			b.heard = true
			d = d[min(end, len(d)):]
		}
	}
	for len(d) > 0 {
		n := wire.MessageLen(d)
		if n == 0 {
			_, _, err := wire.NextMessage(d)
			return err
		}
		h, body := (*[wire.HeaderLen]byte)(d), d[wire.HeaderLen:n:n]
		d = d[min(wire.Align(n), len(d)):]

		seq, ours := binary.NativeEndian.Uint32(h[8:]), binary.NativeEndian.Uint32(h[12:]) == c.port
		if c.cfg.Carrier == Connector {
			seq, ours = c.connectorSeq(body)
		}
		if !ours {
			c.foreign.Add(1)
			continue
		}
		if uint64(seq-b.base) >= uint64(b.sent) { // an older one is, too
			found := f.find(seq)
			if found == nil {
				c.stale.Add(1)
				continue
			}
			b = found
		}
		i := int(seq - b.base)
		r := &b.reqs[i]
		if r.want == 0 {
			c.stale.Add(1)
			continue
		}
		if !counted {
			counted = true
			f.received++
			b.datagramsIn++
		}

		f.take(b, i, wire.Message{Header: wire.Header{
			Len:    uint32(n),
			Type:   binary.NativeEndian.Uint16(h[4:]),
			Flags:  binary.NativeEndian.Uint16(h[6:]),
			Seq:    seq,
			PortID: c.port,
		}, Body: body})
	}
	return nil
}

// find finds the batch of the request that has a sequence number, if that was
// sent.
func (f *flight) find(seq uint32) *Batch {
	for _, b := range f.out {
		if uint64(seq-b.base) < uint64(b.sent) {
			return b
		}
	}
	return nil
}

// take takes any message that answers a request.
func (f *flight) take(b *Batch, i int, m wire.Message) {
	c, r := f.c, &b.reqs[i]
	op := r.kind.op()
	switch {
	case m.Type == wire.MsgError:
		if err := c.ack(op, m); err != nil {
			f.finish(b, i, nil, nil, err)
			return
		}
		if r.want &^= wantAck; r.want != 0 {
			return // an acknowledgment that nobody asked for, or too early
		}
		if r.kind == kindNew || r.kind == kindDelete || r.kind == kindDeleteMany {
			f.finish(b, i, nil, nil, nil)
			return
		}
		if b.heldBy != i {
			f.finish(b, i, nil, nil, unexpected(m))
			return
		}
		f.deliver(b, i, wire.Message{Header: wire.Header{Type: b.heldType}, Body: b.held})
	case r.want&(wantAnswer|wantEcho) == 0:
		f.finish(b, i, nil, nil, unexpected(m))
	case r.want&wantAck != 0:
		// The acknowledgment may come in another datagram, into the same buffer.
		r.want &^= wantAnswer
		b.held, b.heldType, b.heldBy = append(b.held[:0], m.Body...), m.Type, i
	default:
		f.deliver(b, i, m)
	}
}

// deliver is the end of a request with the message that has what it asked for.
func (f *flight) deliver(b *Batch, i int, m wire.Message) {
	c := f.c
	switch {
	case b.reqs[i].kind == kindGet:
		v, err := c.objectAnswer(&objectGet, m)
		if err == nil && !bytes.Equal(v.Key, b.key(i)) {
			err = otherObject(v.Key)
		}
		if err != nil {
			f.finish(b, i, nil, nil, err)
			return
		}
		f.object = v
		f.finish(b, i, nil, &f.object, nil)
	case m.Type != c.echoes.answer:
		f.finish(b, i, nil, nil, unexpected(m))
	default:
		payload, err := c.echoAnswer(m.Body)
		f.finish(b, i, payload, nil, err)
	}
}

// finish is the end of a request that was sent.
func (f *flight) finish(b *Batch, i int, payload []byte, object *ObjectView, err error) {
	r := &b.reqs[i]
	r.want = 0
	f.free += int(r.room)
	b.open--
	b.heard = true
	if err != nil {
		f.failed++
		payload, err = nil, opError(r.kind.op(), err)
	}
	f.answer(Answer{Index: b.first + i, Payload: payload, Object: object, Err: err})
	if b.due < len(b.bad) {
		f.tell(b)
	}
}

// unfinished is the number of requests that have not come to their end.
func (f *flight) unfinished() (n int) {
	for _, b := range f.out {
		n += len(b.reqs) - b.sent + b.open
	}
	return n
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
			f.finish(b, i, nil, nil, why(r.kind.op()))
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
			f.failed++
			f.answer(Answer{Index: b.first + bad.index, Err: bad.err})
			continue
		} else if r.want != 0 {
			return
		}
		b.front++
	}
}

// settle drops what answers to earlier calls are in the receive buffer. What comes
// in meanwhile may stay, or it would go on as long as a flood.
func (c *Conn) settle() error {
	for read := 0; read <= c.flight.size; {
		n, errno := recv(c.fd, c.buf, false)
		switch errno {
		case 0:
			read += roomTaken(n)
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
	c.unsettled = false
	return nil
}
