// SPDX-License-Identifier: MIT

package machine

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// notesKept is how many notes wait for their reader at most. No run has as many.
const notesKept = 4096

// Notes are nlvm's own words. Who writes one does not wait for its reader: if he reads
// nothing, neither a run, nor its limits, nor the end of its machine may hang for that.
// They are written one by one, and are lost when too many wait.
type Notes struct {
	w     io.Writer
	queue chan said
	taken atomic.Int64 // pieces

	mu   sync.Mutex // one Write at a time, guards lost
	lost int
}

// said is a text, or a mark that is closed when it is reached.
type said struct {
	text []byte
	mark chan<- struct{}
}

// NewNotes returns Notes that are written to w.
func NewNotes(w io.Writer) *Notes {
	n := &Notes{w: w, queue: make(chan said, notesKept)}
	go func() {
		for o := range n.queue {
			for piece := range slices.Chunk(o.text, pieceSize) {
				_, _ = w.Write(piece)
				n.taken.Add(1)
			}
			if o.mark != nil {
				close(o.mark)
			}
		}
	}()
	return n
}

// Write never fails, and never waits.
func (n *Notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tellLost()
	if n.lost > 0 || !n.put(bytes.Clone(p)) {
		n.lost++
	}
	return len(p), nil
}

// tellLost says that notes are missing, where they are.
func (n *Notes) tellLost() {
	if n.lost > 0 && n.put(fmt.Appendf(nil, "nlvm: %d notes that nobody read are missing here\n", n.lost)) {
		n.lost = 0
	}
}

func (n *Notes) put(text []byte) bool {
	select {
	case n.queue <- said{text: text}:
		return true
	default:
		return false
	}
}

// Flush waits until all notes were written, as long as somebody reads them.
func (n *Notes) Flush() {
	n.mu.Lock()
	n.tellLost()
	n.mu.Unlock()
	queue, reached := n.queue, make(chan struct{})
	over := time.After(Patience(overLimit))
	for taken, waits := n.taken.Load(), waiting(n.w); ; {
		select {
		case queue <- said{mark: reached}:
			queue = nil
		case <-reached:
			return
		case <-time.After(Patience(readLimit)):
			t, w := n.taken.Load(), waiting(n.w)
			if t == taken && w == waits {
				return
			}
			taken, waits = t, w
		case <-over:
			return
		}
	}
}
