// SPDX-License-Identifier: MIT

package machine

import "sync"

// window counts how much standard input the guest still has room for.
type window struct {
	mu      sync.Mutex
	changed sync.Cond
	room    int
	closed  bool
}

func newWindow(room int) *window {
	w := &window{room: room}
	w.changed.L = &w.mu
	return w
}

// take waits for room for n bytes. It is false if nobody reads any more.
func (w *window) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.room < n && !w.closed {
		w.changed.Wait()
	}
	w.room -= n
	return !w.closed
}

func (w *window) open(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room += n
	w.changed.Signal()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.changed.Signal()
}
