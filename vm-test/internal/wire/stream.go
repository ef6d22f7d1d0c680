// SPDX-License-Identifier: MIT

package wire

// Writer returns an io.Writer that sends what is written to it as frames of
// type t.
func (c *Conn) Writer(t Type) *StreamWriter {
	return &StreamWriter{c: c, t: t}
}

// StreamWriter is the writing end of a stream of frames of one type.
type StreamWriter struct {
	c *Conn
	t Type
}

// Write sends p in as few frames as it fits in.
func (w *StreamWriter) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n := min(len(p), MaxPayload)
		if err := w.c.Send(w.t, p[:n]); err != nil {
			return done, err
		}
		done += n
		p = p[n:]
	}
	return done, nil
}
