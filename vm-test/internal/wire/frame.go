// SPDX-License-Identifier: MIT

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// Type says what a frame carries.
type Type uint8

// Frames from the host.
const (
	Resume   Type = iota + 1 // ResumeInfo
	Files                    // a piece of a tar stream
	FilesEnd                 // the tar stream is complete
	Run                      // Command
	Stdin                    // bytes for the command's standard input
	StdinEOF                 // no more of them
	Signal                   // SignalInfo, for the command's process group
	Resize                   // Size of the terminal
	Bye                      // Exit has arrived, the machine may end
	Dump                     // ask for Notes on what the guest's tasks wait for
)

// Frames from the guest.
const (
	Hello       Type = iota + 64 // HelloInfo
	Resumed                      // the answer to Resume
	FilesDone                    // Result, the answer to FilesEnd
	Started                      // the command runs
	Stdout                       // bytes from its standard output
	Stderr                       // bytes from its standard error
	Window                       // WindowInfo: that much of Stdin was taken
	StdinClosed                  // the command reads no more
	Kmsg                         // one record of the kernel's log
	Back                         // a piece of a tar stream
	BackEnd                      // that stream is complete
	Note                         // a line of text for the person at the host
	Exit                         // ExitInfo
)

// MaxPayload is the most that one frame carries. It bounds what a receiver
// allocates for a length that it has only been told.
const MaxPayload = 1 << 20

const headerSize = 16

// magic starts each frame; "nlvm" with the version of the format as its last
// byte, so that a stale agent is noticed at its first word.
const magic = 0x6e6c7601

// Errors of a stream that cannot be trusted any more. None is recoverable:
// after one of them the position of the next frame is unknown.
var (
	ErrMagic    = errors.New("wire: not a frame")
	ErrTooLong  = errors.New("wire: frame longer than allowed")
	ErrChecksum = errors.New("wire: checksum does not match")
)

// Frame is one message. The payload belongs to the receiver of the frame.
type Frame struct {
	Type    Type
	Payload []byte
}

// Conn sends and receives frames over a byte stream. Send is safe for
// concurrent use, Receive is for one goroutine at a time.
type Conn struct {
	r io.Reader
	w io.Writer

	mu  sync.Mutex // serialises Send, guards buf
	buf []byte
}

// NewConn returns a Conn over rw. It does not buffer reads beyond a frame.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{r: rw, w: rw}
}

// Send writes one frame with a single Write, so that a signal between header
// and payload cannot tear it and the host sees as few wake-ups as possible.
func (c *Conn) Send(t Type, payload []byte) error {
	if len(payload) > MaxPayload {
		return ErrTooLong
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf[:0], make([]byte, headerSize)...)
	c.buf = append(c.buf, payload...)
	b := c.buf
	binary.LittleEndian.PutUint32(b[0:], magic)
	b[4] = byte(t)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[12:], checksum(b[:12], payload))
	if _, err := c.w.Write(b); err != nil {
		return fmt.Errorf("wire: send: %w", err)
	}
	return nil
}

// Receive reads one frame. It returns io.EOF only between frames;
// a stream that ends inside one gives io.ErrUnexpectedEOF.
func (c *Conn) Receive() (Frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return Frame{}, err
	}
	if binary.LittleEndian.Uint32(h[0:]) != magic {
		return Frame{}, ErrMagic
	}
	n := binary.LittleEndian.Uint32(h[8:])
	if n > MaxPayload {
		return Frame{}, ErrTooLong
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	if checksum(h[:12], payload) != binary.LittleEndian.Uint32(h[12:]) {
		return Frame{}, ErrChecksum
	}
	return Frame{Type: Type(h[4]), Payload: payload}, nil
}

func checksum(header, payload []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(header), crc32.IEEETable, payload)
}
