// SPDX-License-Identifier: MIT

package main

import (
	"io"
	"sync"

	"nlpeer/vm-test/internal/wire"
)

// stdinQueue holds what the host sent for the command's standard input until
// the command reads it. push never blocks: the loop that calls it must stay
// free to receive signals. The host keeps the queue small by wire.StdinWindow.
type stdinQueue struct {
	mu     sync.Mutex
	ready  sync.Cond
	chunks [][]byte
	ended  bool
}

func newStdinQueue() *stdinQueue {
	q := &stdinQueue{}
	q.ready.L = &q.mu
	return q
}

func (q *stdinQueue) push(p []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.chunks = append(q.chunks, p)
	q.ready.Signal()
}

func (q *stdinQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.ready.Signal()
}

// next returns the next chunk, or io.EOF after the last.
func (q *stdinQueue) next() ([]byte, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 {
		if q.ended {
			return nil, io.EOF
		}
		q.ready.Wait()
	}
	p := q.chunks[0]
	q.chunks = q.chunks[1:]
	return p, nil
}

// feed hands the queue on to w until it ends or nobody reads w any more.
func (q *stdinQueue) feed(w io.Writer, conn *wire.Conn) {
	for {
		p, err := q.next()
		if err != nil {
			return
		}
		if _, err := w.Write(p); err != nil {
			_ = conn.Send(wire.StdinClosed, nil)
			return
		}
		if err := conn.SendValue(wire.Window, wire.WindowInfo{Bytes: len(p)}); err != nil {
			return
		}
	}
}
