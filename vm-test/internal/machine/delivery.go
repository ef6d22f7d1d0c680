// SPDX-License-Identifier: MIT

package machine

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// pieceSize is how much is written at once: so little that a pipe takes all of it or
// nothing (PIPE_BUF).
const pieceSize = 4096

// delivery is output on its way to a reader, who may take his time. It goes in pieces,
// so that it shows whether he reads. The zero value is one that is done.
type delivery struct {
	w     io.Writer
	rest  []byte
	taken chan error // tells how each piece was taken; nil if all were
	waits int        // what waited for the reader when it was looked last
}

// deliver begins to write p.
func deliver(w io.Writer, p []byte) delivery {
	d := delivery{w: w, rest: p, taken: make(chan error, 1)}
	d.next()
	return d
}

// next begins with the next piece.
func (d *delivery) next() {
	if len(d.rest) == 0 {
		*d = delivery{}
		return
	}
	w, p, taken := d.w, d.rest[:min(pieceSize, len(d.rest))], d.taken
	d.rest = d.rest[len(p):]
	go func() {
		_, err := w.Write(p)
		taken <- err
	}()
}

// moves says whether the reader has taken anything since it was asked last about this
// piece, be it only a part of it.
func (d *delivery) moves() bool {
	before := d.waits
	d.waits = waiting(d.w)
	return len(d.taken) > 0 || d.waits != before
}

// waiting is how many bytes in w wait for their reader, always the same where that
// cannot be known.
func waiting(w io.Writer) (n int) {
	f, ok := w.(syscall.Conn)
	if !ok {
		return 0
	}
	c, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	_ = c.Control(func(fd uintptr) {
		// The first is of terminals and sockets, the other, as FIONREAD, of pipes.
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ); err != nil {
			n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
	})
	return n
}
