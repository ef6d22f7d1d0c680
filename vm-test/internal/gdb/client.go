// SPDX-License-Identifier: MIT

package gdb

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Client speaks to a stub. Methods may be called while the guest stands still,
// as it does from New on and after each of them but Detach; from one goroutine
// at a time.
type Client struct {
	w    io.Writer
	r    *bufio.Reader
	owes bool // an acknowledgment, which goes out with the next request
	out  []byte
	data []byte
}

// New returns a client for a stub that has just accepted conn. The caller
// closes conn, which makes a method that waits return.
func New(conn io.ReadWriter) *Client {
	return &Client{w: conn, r: bufio.NewReader(conn)}
}

// Error is a request that the stub refused, by the number it gives as reason: of
// QEMU, 0x14 is memory that is not there and 0x22 all else.
type Error struct {
	Request string
	Number  int
}

func (e *Error) Error() string {
	return fmt.Sprintf("debug stub: %s: error %02x", e.Request, e.Number)
}

// ErrExited says that the guest has ended.
var ErrExited = errors.New("debug stub: the guest has ended")

// Trap is the signal by which a guest stops at a breakpoint or after a step.
const Trap = 5

// ask sends a request and returns the answer. An empty one is what a stub says
// to requests it does not know.
func (c *Client) ask(request string) (string, error) {
	c.out = c.out[:0]
	if c.owes {
		c.out = append(c.out, '+')
		c.owes = false
	}
	c.out = appendPacket(c.out, request)
	if _, err := c.w.Write(c.out); err != nil {
		return "", fmt.Errorf("debug stub: %s: %w", request, err)
	}
	for try := 0; ; try++ {
		answer, err := c.readPacket()
		if errors.Is(err, errDamaged) && try < retries {
			if _, err := io.WriteString(c.w, "-"); err != nil {
				return "", fmt.Errorf("debug stub: %s: %w", request, err)
			}
			continue
		}
		if err != nil {
			return "", fmt.Errorf("debug stub: %s: %w", request, unexpected(err))
		}
		c.owes = true
		if len(answer) == 3 && answer[0] == 'E' {
			if n, err := strconv.ParseUint(answer[1:], 16, 8); err == nil {
				return "", &Error{request, int(n)}
			}
		}
		return answer, nil
	}
}

// askOK is ask for requests that are answered by OK.
func (c *Client) askOK(request string) error {
	answer, err := c.ask(request)
	switch {
	case err != nil:
		return err
	case answer == "":
		return fmt.Errorf("debug stub: %s: %w", request, errors.ErrUnsupported)
	case answer != "OK":
		return fmt.Errorf("debug stub: %s: unexpected answer %q", request, answer)
	}
	return nil
}

// SetBreakpoint has the guest stop before it executes the instruction at addr,
// in whatever process. The guest's memory is not changed by it.
func (c *Client) SetBreakpoint(addr uint64) error {
	return c.askOK(fmt.Sprintf("Z0,%x,1", addr))
}

// ClearBreakpoint takes back SetBreakpoint.
func (c *Client) ClearBreakpoint(addr uint64) error {
	return c.askOK(fmt.Sprintf("z0,%x,1", addr))
}

// Continue lets the guest go on until it stops, and returns the signal that it
// stops with. From a breakpoint it does not move: Step first.
func (c *Client) Continue() (signal int, err error) { return c.resume("c") }

// Step executes one instruction, of which an iteration of a repeated string
// instruction is one. QEMU lets in no interrupt and no timer meanwhile.
func (c *Client) Step() (signal int, err error) { return c.resume("s") }

func (c *Client) resume(request string) (int, error) {
	answer, err := c.ask(request)
	if err != nil {
		return 0, err
	}
	if answer != "" {
		switch answer[0] {
		case 'T', 'S':
			if len(answer) < 3 {
				break
			}
			if n, err := strconv.ParseUint(answer[1:3], 16, 8); err == nil {
				return int(n), nil
			}
		case 'W', 'X':
			return 0, ErrExited
		}
	}
	return 0, fmt.Errorf("debug stub: %s: unexpected answer %q", request, answer)
}

// Registers are those of x86-64 that tell where a guest is.
type Registers struct {
	SP uint64
	PC uint64
}

// Their places in the answer to g: sixteen general ones, then the counter.
const (
	spIndex       = 7
	pcIndex       = 16
	registersSize = (pcIndex + 1) * 8
)

// Registers reads the registers.
func (c *Client) Registers() (Registers, error) {
	answer, err := c.ask("g")
	if err != nil {
		return Registers{}, err
	}
	if len(answer) < 2*registersSize {
		return Registers{}, fmt.Errorf("debug stub: g: %d digits for the registers, too few", len(answer))
	}
	var r Registers
	for _, f := range []struct {
		value *uint64
		index int
	}{{&r.SP, spIndex}, {&r.PC, pcIndex}} {
		var word [8]byte
		if _, err := hex.Decode(word[:], []byte(answer[16*f.index:16*f.index+16])); err != nil {
			return Registers{}, fmt.Errorf("debug stub: g: register %d: %w", f.index, err)
		}
		*f.value = binary.LittleEndian.Uint64(word[:])
	}
	return r, nil
}

// Memory reads memory by the addresses that the current process has. What is
// not mapped is an [*Error].
func (c *Client) Memory(addr uint64, length int) ([]byte, error) {
	request := fmt.Sprintf("m%x,%x", addr, length)
	answer, err := c.ask(request)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(strings.TrimSpace(answer))
	if err != nil || len(b) != length {
		return nil, fmt.Errorf("debug stub: %s: unexpected answer %q", request, answer)
	}
	return b, nil
}

// Detach lets the guest go on by itself.
func (c *Client) Detach() error { return c.askOK("D") }
