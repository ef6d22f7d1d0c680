// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"errors"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// run prints lines until something makes an end, and then the totals, whatever
// the end was.
func (o *options) run(ctx context.Context, s *cli.Streams, source source, in stream) error {
	p := &printer{options: o, streams: s}
	began := time.Now()

	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.limit != 0 {
		ctx, cancel = context.WithTimeout(ctx, o.limit)
		defer cancel()
	}

	if in, ok := in.(interface{ hello() line }); ok {
		p.line(in.hello())
	}
	received, err := o.loop(ctx, cancel, p, source, in)

	t := in.totals()
	p.summary(&t, time.Since(began), user.Err() != nil)
	switch {
	case err != nil:
		return source.explain(o, err)
	case received < o.count:
		return cli.ErrFailed
	case o.failOnGap && (t.lost > 0 || t.overruns > 0 && !t.sure):
		return cli.ErrFailed
	}
	return nil
}

// loop prints lines until there are enough or ctx ends; it calls stop if none
// came for too long. It returns how many there were, and the error if it was
// one that made an end.
func (o *options) loop(ctx context.Context, stop func(), p *printer, source source, in stream) (received uint64, err error) {
	if p.streams.Out.Err() != nil {
		return 0, nil // not even the first line could be written
	}
	idle := func() {}
	if o.idle != 0 {
		timer := time.AfterFunc(o.idle, stop)
		defer timer.Stop()
		idle = func() { timer.Reset(o.idle) }
	}

	// An error that may be the last was not if anything follows. Only then is it
	// reported here.
	var pending error
	for line, err := range in.lines(ctx) {
		if pending != nil {
			p.trouble(source.explain(o, pending))
			pending = nil
		}
		overrun := (*client.OverrunError)(nil)
		switch {
		case errors.As(err, &overrun):
			p.overrun(overrun.Count)
		case cli.Survived(err) || errors.Is(err, errNoAnswer):
			p.trouble(source.explain(o, err))
		case err != nil:
			pending = err
		default:
			received++
			idle()
			p.line(line)
		}
		if received == o.count && o.count != 0 || p.streams.Out.Err() != nil {
			return received, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return received, nil
	case errors.Is(pending, client.ErrEnded):
		p.ended()
		return received, nil
	}
	return received, pending
}
