// SPDX-License-Identifier: MIT

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// A sampler does about n operations and tells the meter.
type sampler func(n int, m *meter) error

// A contender is one that does the work of cases.
type contender struct {
	name string
	// open prepares for a case. It returns errNotHere for a case that is not for
	// it, and a skip if it could, but something is missing.
	open func(ctx context.Context, b *Bench, c Case) (run sampler, end func(), err error)
}

// errNotHere says that nobody would expect the contender in this case.
var errNotHere = errors.New("not for this case")

// A skip is why a contender does not take part.
type skip string

func (s skip) Error() string { return string(s) }

// contenders are all of them but the programs, in the order of tables.
var contenders = []contender{
	{"go-raw", openFloor},
	{"nlpeer", openPeer},
	{"nlpeer-pipeline", openPipeline},
	{"mdlayher", openMdlayher},
	{"mdlayher-buffer", openMdlayherBuffer},
	{"genetlink", openGenetlink},
	{"vishvananda", openVishvananda},
	{"vishvananda-execute", openVishvanandaExecute},
	{"kernel", openKernel},
}

// Contenders are the names of those in Go.
func Contenders() []string {
	var names []string
	for _, c := range contenders {
		names = append(names, c.name)
	}
	return names
}

// payload returns random bytes.
func payload(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// errWrong says that not what was sent came back.
var errWrong = errors.New("the answer differs from what was sent")

// echoes makes a sampler of a function that does one echo. All bytes of the
// answer are compared before and after what is timed, its length each time.
func echoes(size int, echo func(payload []byte) (answer []byte, err error)) sampler {
	sent := payload(size)
	check := func() error {
		answer, err := echo(sent)
		if err == nil && !bytes.Equal(answer, sent) {
			err = errWrong
		}
		return err
	}
	return func(n int, m *meter) error {
		if err := check(); err != nil {
			return err
		}
		err := m.time(n, func() error {
			answer, err := echo(sent)
			if err != nil {
				return err
			}
			if len(answer) != size {
				return fmt.Errorf("%w: %d bytes came back of %d", errWrong, len(answer), size)
			}
			return nil
		})
		if err != nil {
			return err
		}
		rand.Read(sent)
		return check()
	}
}

// echoed judges what comes back of a batch of echoes.
type echoed struct {
	sent    []byte
	compare bool // all bytes, not the length alone
	got     int
	wrong   bool
}

// answer judges one payload. It is so small that it is part of its caller, as it
// would be in a program of one's own.
func (e *echoed) answer(b []byte) {
	e.got++
	if len(b) != len(e.sent) || e.compare && !bytes.Equal(b, e.sent) {
		e.wrong = true
	}
}

// batched is batches of echoes: what prepare returns sends as many requests with
// e.sent as a datagram holds, and has each payload judged that comes back.
func batched(c Case, prepare func(e *echoed) (do func() error)) sampler {
	e := &echoed{sent: payload(c.Size)}
	do := prepare(e)
	once := func() error {
		e.got = 0
		if err := do(); err != nil {
			return err
		}
		if e.wrong {
			return errWrong
		}
		if e.got != c.Batch {
			return fmt.Errorf("%w: %d answers to %d requests", errWrong, e.got, c.Batch)
		}
		return nil
	}
	return func(n int, m *meter) error {
		e.compare = true
		if err := once(); err != nil {
			return err
		}
		n = max(1, n/c.Batch)
		e.compare = false
		m.start()
		for range n {
			if err := once(); err != nil {
				return err
			}
		}
		m.stop(n * c.Batch)
		e.compare = true
		rand.Read(e.sent)
		return once()
	}
}
