// SPDX-License-Identifier: MIT

package nlecho

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// errDeadline is why a context ended at the deadline of -w.
var errDeadline = errors.New("deadline")

// errDiffers is an answer that is not what was sent.
var errDiffers = errors.New("the answer is not what was sent")

// run sends what source has, prints what comes of it, and at the end the totals,
// whatever the end was.
func (o *options) run(ctx context.Context, s *cli.Streams, conn echoer, source source) error {
	p := &printer{options: o, streams: s, port: conn.PortID(), shown: source.shown()}
	began := time.Now()

	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.deadline != 0 {
		ctx, cancel = context.WithTimeoutCause(ctx, o.deadline, errDeadline)
		defer cancel()
	}
	source.start(ctx)

	var t tally
	err := o.loop(ctx, p, &t, conn, source)

	p.summary(&t, time.Since(began), conn.Counters().Stale, user.Err() != nil)
	switch {
	case err != nil:
		return err
	case t.received != t.transmitted || t.received == 0:
		return cli.ErrFailed
	}
	return nil
}

// loop sends until there is no more to send, or ctx ends, or something happens
// that no further message can survive, which it returns.
func (o *options) loop(ctx context.Context, p *printer, t *tally, conn echoer, source source) error {
	var answer []byte
	for ctx.Err() == nil && p.streams.Out.Err() == nil {
		payload, err := source.next(ctx)
		switch {
		case err == nil:
		case err == io.EOF || ctx.Err() != nil:
			return nil
		default:
			return err
		}

		sent := time.Now()
		t.transmitted++
		limited, cancel := context.WithTimeout(ctx, o.timeout)
		answer, err = conn.AppendEcho(limited, answer[:0], payload)
		rtt := time.Since(sent)
		cancel()
		o.tap.Show()
		if err == nil && !bytes.Equal(answer, payload) {
			err = errDiffers
		}

		if err == nil {
			t.answered(rtt)
			p.answer(t.transmitted, answer, sent, rtt)
		} else {
			reason := why(ctx, err)
			words := o.words(reason, err, payload, answer)
			if reason == broken && o.target.Format == cli.Text {
				return fmt.Errorf("seq=%d: %s", t.transmitted, words)
			}
			p.lost(t.transmitted, len(payload), sent, reason, words, err)
			if reason == broken {
				return fmt.Errorf("seq=%d: %s", t.transmitted, words)
			}
		}

		if t.transmitted == o.count {
			return nil
		}
		pause(ctx, o.interval-time.Since(sent))
	}
	return nil
}

// Reasons for the loss of a message, as JSON has them.
const (
	timeout     = "timeout"
	differs     = "differs"
	overrun     = "overrun"
	refused     = "refused"
	interrupted = "interrupted"
	broken      = "error"
)

// why sorts an error of an echo that ctx was the limit of.
func why(ctx context.Context, err error) string {
	switch {
	case err == errDiffers:
		return differs
	case ctx.Err() != nil:
		return interrupted
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return timeout
	case errors.As(err, new(*client.OverrunError)):
		return overrun
	case errors.Is(err, os.ErrClosed):
		return broken
	case errors.As(err, new(syscall.Errno)):
		return refused
	}
	return broken
}

// words says to a person why a message was lost.
func (o *options) words(reason string, err error, sent, got []byte) string {
	switch reason {
	case timeout:
		return fmt.Sprintf("no answer within %s", cli.Duration(o.timeout))
	case interrupted:
		return "interrupted while waiting for the answer"
	case overrun:
		return "the answer was lost: the receive buffer overran"
	case differs:
		at := 0
		for at < len(sent) && at < len(got) && sent[at] == got[at] {
			at++
		}
		return fmt.Sprintf("the answer is not what was sent: %d bytes sent, %d received, they differ from byte %d on", len(sent), len(got), at+1)
	}
	return o.target.Explain(err).Error()
}
