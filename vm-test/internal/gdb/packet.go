// SPDX-License-Identifier: MIT

package gdb

import (
	"errors"
	"fmt"
	"io"
	"strconv"
)

// packetLimit bounds a packet. QEMU's own limit is 4096 bytes.
const packetLimit = 64 << 10

// retries bounds how often a packet that came damaged is asked for again.
const retries = 3

// escape announces a byte that means something else in a packet: the next one,
// with this bit turned.
const (
	escape    = '}'
	escapeBit = 0x20
)

// appendPacket appends data in its frame. Our requests have no byte that would
// have to be escaped.
func appendPacket(dst []byte, data string) []byte {
	var sum byte
	for i := range len(data) {
		sum += data[i]
	}
	return fmt.Appendf(dst, "$%s#%02x", data, sum)
}

// errDamaged is a packet whose checksum is wrong.
var errDamaged = errors.New("damaged packet")

// readPacket reads up to the end of the next packet and returns its data,
// unescaped. Acknowledgments before it are passed over; a refusal is not.
func (c *Client) readPacket() (string, error) {
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		switch b {
		case '$':
			return c.readData()
		case '-':
			return "", errors.New("the stub refuses what we sent")
		case '+':
		default:
			return "", fmt.Errorf("unexpected byte %q between packets", b)
		}
	}
}

func (c *Client) readData() (string, error) {
	c.data = c.data[:0]
	var sum byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", unexpected(err)
		}
		if b == '#' {
			break
		}
		if len(c.data) == packetLimit {
			return "", fmt.Errorf("a packet is longer than %d bytes", packetLimit)
		}
		c.data = append(c.data, b)
		sum += b
	}
	var digits [2]byte
	if _, err := io.ReadFull(c.r, digits[:]); err != nil {
		return "", unexpected(err)
	}
	if want, err := strconv.ParseUint(string(digits[:]), 16, 8); err != nil || byte(want) != sum {
		return "", errDamaged
	}
	return unescape(c.data)
}

// unescape resolves escapes and runs: X*N is X, repeated N-29 times more.
func unescape(data []byte) (string, error) {
	var out []byte
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case b != escape && b != '*':
			out = append(out, b)
		case i+1 == len(data):
			return "", fmt.Errorf("a packet ends in %q", b)
		case b == escape:
			i++
			out = append(out, data[i]^escapeBit)
		default:
			i++
			n := int(data[i]) - 29
			if len(out) == 0 || n < 1 {
				return "", fmt.Errorf("a packet has a run %q%q that repeats nothing", b, data[i])
			}
			for last := out[len(out)-1]; n > 0; n-- {
				out = append(out, last)
			}
		}
	}
	return string(out), nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
