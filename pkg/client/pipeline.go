// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// pipelineBatch is the number of requests of a datagram, where PipelineConfig
// has none.
const pipelineBatch = 64

// A PipelineConfig says how a [Pipeline] works.
type PipelineConfig struct {
	// Answer is called with what became of each request, on the goroutine that
	// calls a method of the Pipeline. Answers come in the order in which the peer
	// gives them, which from the kernel is that of the requests. It must be set,
	// and must not call methods of the Pipeline.
	Answer func(Answer)

	// Batch is the greatest number of requests in a datagram; 0 means 64.
	Batch int

	// Sending, if it is not nil, is called right before a datagram is sent, with
	// the index of its first request and their number. Requests that can not be
	// sent may be among them or left out. It is called for the same requests again
	// if the kernel refuses the datagram for now, as a process has yet to read what
	// it was sent before. Who measures how long answers take looks at a clock there.
	Sending func(first, n int)
}

// A Pipeline sends a stream of requests and takes their answers as they come.
// [DialPipeline] makes one. Requests wait until there are enough of them for a
// datagram, or until [Pipeline.Flush]; answers are waited for only when the
// receive buffer has no room for more of them. So a slow answer holds up
// nothing, and a request that fails only has its own [Answer]. So has each request
// of a datagram that the kernel refuses: with ECONNREFUSED if the peer is a process
// that is not there, with EAGAIN if its receive buffer is full and no answer of it
// is waited for.
//
// Requests have indexes from 0 on, in the order in which they are made.
//
// A Pipeline is for one goroutine at a time; [Pipeline.Close] and
// [Pipeline.Counters] may be called at any time.
type Pipeline struct {
	c     *Conn
	batch int

	next *Batch   // that requests are added to
	made int      // how many there were before it
	free []*Batch // those that may be next

	requests, answers, failed, sent, received atomic.Uint64
}

// PipelineCounters tell what a Pipeline has done since DialPipeline.
type PipelineCounters struct {
	// Requests is the number of requests that were taken on to be sent, which is
	// when there are enough for a datagram, or at a Flush. Answers is the number of
	// those that came to their end, Failed that of those among them that failed.
	// Requests that could not be sent count as all three.
	Requests, Answers, Failed uint64
	// Sent is how many datagrams the requests took, Received how many the answers
	// did, see [Batch.Datagrams].
	Sent, Received uint64
	// Stale, Foreign and Overruns are as in [Counters].
	Stale, Foreign, Overruns uint64
}

// DialPipeline opens a connection to the peer for a stream of requests. ctx
// limits the call, not the Pipeline. It fails as [Dial] does.
//
// Config.Timeout limits how long the answers to requests that were made for the
// same datagram are waited for while none of them comes. Those that are on their
// way without an answer fail with [os.ErrDeadlineExceeded] then, and others go on.
func DialPipeline(ctx context.Context, cfg Config, pc PipelineConfig) (*Pipeline, error) {
	switch {
	case pc.Answer == nil:
		return nil, opError("dial", configError("PipelineConfig.Answer is not set"))
	case pc.Batch < 0:
		return nil, opError("dial", configError(fmt.Sprintf("PipelineConfig.Batch is %d", pc.Batch)))
	}
	c, err := Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return newPipeline(c, pc), nil
}

func newPipeline(c *Conn, pc PipelineConfig) *Pipeline {
	p := &Pipeline{c: c, batch: pc.Batch, next: c.NewBatch()}
	if p.batch == 0 {
		p.batch = pipelineBatch
	}
	c.flight.answer, c.flight.sending, c.flight.each = pc.Answer, pc.Sending, true
	return p
}

// PortID returns the address of the Pipeline's socket, nl_pid in netlink(7).
func (p *Pipeline) PortID() uint32 { return p.c.PortID() }

// Carrier returns the way to the peer that the Pipeline uses.
func (p *Pipeline) Carrier() Carrier { return p.c.Carrier() }

// Counters returns what has happened so far.
func (p *Pipeline) Counters() PipelineCounters {
	n := p.c.Counters()
	return PipelineCounters{
		Requests: p.requests.Load(),
		Answers:  p.answers.Load(),
		Failed:   p.failed.Load(),
		Sent:     p.sent.Load(),
		Received: p.received.Load(),
		Stale:    n.Stale,
		Foreign:  n.Foreign,
		Overruns: n.Overruns,
	}
}

// Echo makes a request for an echo of payload, which may be changed afterwards;
// see [Conn.Echo]. When there are enough requests for a datagram it does what
// [Pipeline.Flush] does, and fails as that does; the request was made all the
// same, and the next Flush sends it.
func (p *Pipeline) Echo(ctx context.Context, payload []byte) error {
	p.next.Echo(payload)
	if p.next.Len() < p.batch {
		return nil
	}
	return p.Flush(ctx)
}

// Flush sends the requests that were made, and takes those answers that are
// there. It waits only if there is no room for more answers.
//
// It fails with the error of ctx, [net.ErrClosed], or one that the socket
// reports, but not if the kernel refuses a datagram: that is an [Answer] to each of
// its requests. What was not tried to be sent by then is by the next Flush. After
// the end of ctx it sends nothing, but takes the answers that are there; it does not
// fail then if that was all there was to do.
func (p *Pipeline) Flush(ctx context.Context) error { return p.run(ctx, false) }

// Drain does what [Pipeline.Flush] does, and waits until all requests have come
// to their end. It fails as Flush does.
func (p *Pipeline) Drain(ctx context.Context) error { return p.run(ctx, true) }

// Close closes the Pipeline. What is on its way has no Answer any more. Calls
// that are waiting return at once. They, and all calls after the first Close,
// fail with [net.ErrClosed].
func (p *Pipeline) Close() error { return p.c.Close() }

func (p *Pipeline) run(ctx context.Context, all bool) error {
	const op = "pipeline"
	c := p.c
	lim := limit{ctx: ctx}
	if err := c.beginLate(&lim); err != nil {
		return opError(op, err)
	}
	defer c.lock.release()
	f := &c.flight
	// What fills a datagram is taken on in any case, so that none gets more.
	if p.next.Len() >= p.batch {
		if err := p.launch(f); err != nil {
			return opError(op, err)
		}
	}
	// Answers that came before the end of ctx are taken after it.
	if err := ctx.Err(); err != nil && !f.onWay() {
		return opError(op, err)
	}
	err := p.stream(f, &lim, all)
	p.answers.Store(uint64(p.made - f.unfinished()))
	p.failed.Store(f.failed)
	p.sent.Store(f.sent)
	p.received.Store(f.received)
	return opError(op, err)
}

// stream sends and receives. The lock is held.
func (p *Pipeline) stream(f *flight, lim *limit, all bool) error {
	if p.next.Len() > 0 {
		if err := p.launch(f); err != nil {
			return err
		}
	}
	for read := 0; ; {
		unsent, err := p.send(f, lim)
		if err != nil {
			return err
		}
		if !unsent && !f.onWay() {
			return nil
		}
		if wait := unsent || all; !wait {
			// What was there is taken, and what comes meanwhile is left for the
			// next call, whether the context has ended or not.
			got, err := f.receive(lim, false)
			p.sweep(f)
			if read += roomTaken(p.c.n); err != nil || !got || read > f.size {
				return err
			}
		} else if err := p.await(f, lim); err != nil {
			return err
		}
	}
}

// launch makes the next batch one that is on its way.
func (p *Pipeline) launch(f *flight) error {
	b := p.next
	if err := f.launch(b); err != nil {
		return err
	}
	b.first = p.made
	p.made += b.Len()
	p.requests.Add(uint64(b.Len()))
	if n := len(p.free); n > 0 {
		p.next, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.next = p.c.NewBatch()
	}
	p.next.base = b.following
	return nil
}

// send sends what there is room for. unsent says that it is not all.
func (p *Pipeline) send(f *flight, lim *limit) (unsent bool, err error) {
	for _, b := range f.out {
		if b.sent == len(b.reqs) {
			continue
		}
		if err := f.send(lim, b); err != nil || b.sent < len(b.reqs) {
			return true, err
		}
	}
	p.sweep(f)
	return false, nil
}

// sweep takes back the batches that are done with.
func (p *Pipeline) sweep(f *flight) {
	kept := f.out[:0]
	for _, b := range f.out {
		if b.done() {
			b.Reset()
			p.free = append(p.free, b)
		} else {
			kept = append(kept, b)
		}
	}
	clear(f.out[len(kept):])
	f.out = kept
}

// await waits for the next answers, but for none longer than Config.Timeout after
// the last of its batch. As with other calls, the time counts from when one first
// has to be waited for, so that no clock is looked at before.
func (p *Pipeline) await(f *flight, lim *limit) error {
	free := f.free
	got, err := f.receive(lim, false)
	if err == nil && f.free != free {
		lim.idle = 0
	} else if err == nil && got {
		// What answers nothing may come for ever; see limit.over.
		if lim.idle += roomTaken(p.c.n); lim.idle > f.size {
			if first, now := p.soonest(f); first != nil && !now.Before(first.deadline) {
				p.late(f, first)
			}
		}
	}
	if err != nil || got {
		p.sweep(f)
		return err
	}
	first, _ := p.soonest(f)
	if first != nil {
		lim.timeout, lim.deadline = p.c.cfg.Timeout, first.deadline
	}
	_, err = f.receive(lim, true)
	lim.timeout, lim.deadline = 0, time.Time{} // not that of the next
	if errors.Is(err, os.ErrDeadlineExceeded) && lim.ctx.Err() == nil && first != nil {
		p.late(f, first)
		err = nil
	}
	p.sweep(f)
	return err
}

// soonest is the batch that may be waited for least, nil if there is no limit, and
// the time. Those that have had an answer may be waited for anew.
func (p *Pipeline) soonest(f *flight) (first *Batch, now time.Time) {
	d := p.c.cfg.Timeout
	if d == 0 || !f.onWay() {
		return nil, now
	}
	now = time.Now()
	for _, b := range f.out {
		if b.open == 0 {
			continue
		}
		if b.deadline.IsZero() || b.heard {
			b.deadline, b.heard = now.Add(d), false
		}
		if first == nil || b.deadline.Before(first.deadline) {
			first = b
		}
	}
	return first, now
}

// late gives up what is left of a batch whose time is over.
func (p *Pipeline) late(f *flight, b *Batch) {
	f.giveUp(b, func(string) error { return os.ErrDeadlineExceeded })
}
