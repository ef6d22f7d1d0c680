// SPDX-License-Identifier: MIT

package nlecho

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"nlpeer/cmd/internal/cli"
)

// A source is where payloads come from.
type source interface {
	// start is called once, before the first next.
	start(ctx context.Context)
	// next returns the next payload, which is valid until the next call, or
	// io.EOF, or the error of ctx.
	next(ctx context.Context) ([]byte, error)
	// ready says that next has not to wait.
	ready() bool
	// shown says that payloads mean something to the reader of the output.
	shown() bool
}

// message is the same payload over and over.
type message []byte

func (message) start(context.Context)                  {}
func (m message) next(context.Context) ([]byte, error) { return m, nil }
func (message) ready() bool                            { return true }
func (message) shown() bool                            { return true }

// random makes up every payload anew.
type random struct {
	buf []byte
	rng *rand.ChaCha8
}

func newRandom(size int) *random {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	return &random{make([]byte, size), rand.NewChaCha8(seed)}
}

func (*random) start(context.Context) {}

func (r *random) next(context.Context) ([]byte, error) {
	r.rng.Read(r.buf)
	return r.buf, nil
}

func (*random) ready() bool { return true }

func (*random) shown() bool { return false }

// lines are those of standard input.
type lines struct {
	in  io.Reader
	max int // bytes of a line
	c   <-chan []byte
	err func() error
	any bool
}

var errNoInput = errors.New("nothing was sent: standard input is empty or closed; give a MESSAGE, or a size with -s")

func (l *lines) start(ctx context.Context) {
	l.c, l.err = cli.Lines(ctx, l.in, l.max)
}

func (l *lines) next(ctx context.Context) ([]byte, error) {
	select {
	case line, ok := <-l.c:
		if ok {
			l.any = true
			return line, nil
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch err := l.err(); {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !l.any:
		return nil, errNoInput
	}
	return nil, io.EOF
}

func (l *lines) ready() bool { return len(l.c) > 0 }

func (*lines) shown() bool { return true }

// pause waits for d, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
