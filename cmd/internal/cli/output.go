// SPDX-License-Identifier: MIT

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"syscall"
)

// Output is standard output. It writes through, a line in one piece, and
// remembers the first error: whoever writes in a loop asks for it once a turn.
type Output struct {
	w   io.Writer
	err error
	buf bytes.Buffer
}

// Write writes p through. After an error it does nothing but repeat it.
func (o *Output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// JSON writes v as one line.
func (o *Output) JSON(v any) {
	o.buf.Reset()
	enc := json.NewEncoder(&o.buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a type of ours that cannot be encoded
	}
	o.Write(o.buf.Bytes())
}

// Child returns what a command that we run writes to: not through this, so that
// it has our terminal or file itself.
func (o *Output) Child() io.Writer { return o.w }

// Terminal says whether it goes to a terminal.
func (o *Output) Terminal() bool { return Terminal(o.w) }

// Err returns the first error of a write.
func (o *Output) Err() error { return o.err }

// Unwritable says that output is lost though somebody may still want it: the disk
// is full, say. A pipe that nobody reads does not count.
func (o *Output) Unwritable() bool {
	return o.err != nil && !errors.Is(o.err, syscall.EPIPE)
}
