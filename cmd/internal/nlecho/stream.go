// SPDX-License-Identifier: MIT

package nlecho

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// A streamer is what is needed of a client.Pipeline.
type streamer interface {
	Echo(ctx context.Context, payload []byte) error
	Drain(ctx context.Context) error
	PortID() uint32
	Counters() client.PipelineCounters
	Close() error
}

func newStreamer(ctx context.Context, cfg client.Config, pc client.PipelineConfig) (streamer, error) {
	return client.DialPipeline(ctx, cfg, pc)
}

// A stream is messages of which several are on their way at a time.
type stream struct {
	*options
	printer *printer
	tally   tally
	ctx     context.Context

	made uint64
	// flying are the messages that were made and have not come to their end,
	// numbered from first on; with them those that came to their end before one
	// that was made earlier. free are some that may be used again.
	flying []*flyer
	first  uint64
	free   []*flyer
	fatal  error
	// over says that the pipeline is not asked again.
	over bool
}

// A flyer is a message.
type flyer struct {
	payload []byte
	sent    time.Time // zero before it is
	done    bool
}

// stream sends what source has, several messages in a datagram or without
// waiting for the answers or both, and prints what comes of it.
func (o *options) stream(
	ctx context.Context, s *cli.Streams, cfg client.Config, source source,
	open func(context.Context, client.Config, client.PipelineConfig) (streamer, error),
) error {
	st := &stream{options: o, printer: &printer{options: o, streams: s, shown: source.shown()}}
	cfg.Timeout = o.timeout
	conn, err := open(ctx, cfg, client.PipelineConfig{Batch: o.batch, Answer: st.answer, Sending: st.sending})
	o.tap.Show()
	if err != nil {
		return o.target.Explain(err)
	}
	defer conn.Close()
	st.printer.port = conn.PortID()
	began := time.Now()

	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.deadline != 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, o.deadline, errDeadline)
		defer cancel()
	}
	source.start(ctx)
	st.ctx = ctx

	err = st.run(conn, source)
	n := conn.Counters()
	st.printer.datagrams(n)
	st.printer.summary(&st.tally, time.Since(began), n.Stale, user.Err() != nil)
	switch {
	case err != nil:
		return err
	case st.tally.received != st.tally.transmitted || st.tally.received == 0:
		return cli.ErrFailed
	}
	return nil
}

// run is loop for a stream.
func (st *stream) run(conn streamer, source source) error {
	for st.ctx.Err() == nil && st.printer.streams.Out.Err() == nil {
		began := time.Now()
		more, err := st.batch(conn, source)
		if err == nil && !st.over && !(more && st.flood) {
			err = st.broken(conn.Drain(st.ctx))
		}
		st.tap.Show()
		if err != nil || st.fatal != nil || st.over || !more {
			return cmp.Or(err, st.fatal)
		}
		if !st.flood {
			pause(st.ctx, st.interval-time.Since(began))
		}
	}
	if st.ctx.Err() == nil {
		return nil // nobody reads what is printed
	}
	return st.broken(conn.Drain(st.ctx)) // what is there came in time
}

// batch makes the messages of a datagram. more is false after the last one.
func (st *stream) batch(conn streamer, source source) (more bool, err error) {
	n := st.made
	more, err = st.gather(conn, source)
	for ; n < st.made && st.ctx.Err() == nil && !st.over; n++ {
		if eerr := conn.Echo(st.ctx, st.flying[n-st.first].payload); eerr != nil {
			eerr = st.broken(eerr)
			return false, cmp.Or(err, eerr)
		}
	}
	if err != nil {
		// What was read before is sent all the same.
		_ = st.broken(conn.Drain(st.ctx))
	}
	return more, err
}

// gather takes what a datagram is to have from source. The pipeline is not given
// any of it before all is there, as next would send it.
func (st *stream) gather(conn streamer, source source) (more bool, err error) {
	for range st.options.batch {
		payload, err := st.next(conn, source)
		switch {
		case err == nil:
		case err == io.EOF || st.ctx.Err() != nil || st.over || st.fatal != nil:
			return false, nil
		default:
			return false, err
		}
		st.add(payload)
		if st.made == st.count {
			return false, nil
		}
	}
	return true, nil
}

// next returns the next payload of source. While a flood has to wait for one, it
// takes the answers that come: else it would see them, and that there are none,
// only after the wait.
func (st *stream) next(conn streamer, source source) ([]byte, error) {
	if !st.flood || len(st.flying) == 0 || source.ready() {
		return source.next(st.ctx)
	}
	type result struct {
		payload []byte
		err     error
	}
	ctx, cancel := context.WithCancel(st.ctx)
	defer cancel()
	got := make(chan result, 1)
	go func() {
		payload, err := source.next(st.ctx)
		got <- result{payload, err}
		cancel()
	}()
	err := conn.Drain(ctx)
	st.tap.Show()
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		return nil, cmp.Or(st.broken(err), err)
	case st.fatal != nil:
		return nil, st.fatal
	}
	r := <-got
	return r.payload, r.err
}

func (st *stream) add(payload []byte) {
	f := new(flyer)
	if n := len(st.free); n > 0 {
		f, st.free = st.free[n-1], st.free[:n-1]
	}
	*f = flyer{payload: append(f.payload[:0], payload...)}
	st.flying = append(st.flying, f)
	st.made++
}

// sending takes the time at which messages leave.
func (st *stream) sending(first, n int) {
	now := time.Now()
	for i := range n {
		if f := st.flying[uint64(first+i)-st.first]; f.sent.IsZero() {
			f.sent = now
			st.tally.transmitted++
		}
	}
}

func (st *stream) answer(a client.Answer) {
	seq := uint64(a.Index)
	st.end(seq, st.flying[seq-st.first], a.Payload, a.Err)
	for len(st.flying) > 0 && st.flying[0].done {
		st.free = append(st.free, st.flying[0])
		st.flying = st.flying[1:]
		st.first++
	}
}

// end is the end of a message.
func (st *stream) end(seq uint64, f *flyer, answer []byte, err error) {
	rtt := time.Since(f.sent)
	if err == nil && !bytes.Equal(answer, f.payload) {
		err = errDiffers
	}
	if err != nil {
		st.lose(seq, f, why(st.ctx, err), answer, err)
		return
	}
	f.done = true
	st.tally.answered(rtt)
	st.printer.answer(seq+1, answer, f.sent, rtt)
}

// lose is the end of a message without its answer.
func (st *stream) lose(seq uint64, f *flyer, reason string, answer []byte, err error) {
	f.done = true
	words := st.words(reason, err, f.payload, answer)
	if reason == broken {
		st.fatal = cmp.Or(st.fatal, fmt.Errorf("seq=%d: %s", seq+1, words))
		if st.target.Format == cli.Text {
			return
		}
	}
	st.printer.lost(seq+1, len(f.payload), f.sent, reason, words, err)
}

// broken is the end of all messages that are on their way, as the stream can not
// go on. The pipeline would, with messages that have ended, and is not asked again.
// It returns the error, unless the stream is only interrupted.
func (st *stream) broken(err error) error {
	if err == nil {
		return nil
	}
	st.over = true
	reason := broken // what only a message or a datagram may have is an Answer
	if st.ctx.Err() != nil {
		reason = interrupted
	}
	for i, f := range st.flying {
		if !f.done && !f.sent.IsZero() && st.fatal == nil {
			st.lose(st.first+uint64(i), f, reason, nil, err)
		}
	}
	if st.fatal == nil && reason == broken {
		st.fatal = st.target.Explain(err)
	}
	return st.fatal
}
