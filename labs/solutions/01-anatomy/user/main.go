// SPDX-License-Identifier: MIT

// User takes netlink messages apart, and puts them together.
//
//	user parse < DATAGRAM
//	user build TYPE FLAGS SEQUENCE PORT [ATTRIBUTE=HEX…] > DATAGRAM
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Sizes of struct nlmsghdr and struct nlattr (in older texts struct rtattr).
const (
	headerLen = 16
	attrLen   = 4
)

// The two upper bits of an attribute's type are flags.
const (
	flagNested   = 0x8000 // NLA_F_NESTED: the value is attributes
	flagNetOrder = 0x4000 // NLA_F_NET_BYTEORDER: the value is big-endian
	typeMask     = 0x3fff // NLA_TYPE_MASK
)

// align rounds a length up to a multiple of four, as NLMSG_ALIGN() and
// NLA_ALIGN() do.
func align(n int) int { return (n + 3) &^ 3 }

// A header is a struct nlmsghdr.
type header struct {
	Len   uint32
	Type  uint16
	Flags uint16
	Seq   uint32
	Port  uint32
}

// parseHeader reads a header. b has at least headerLen bytes.
func parseHeader(b []byte) header {
	return header{
		Len:   binary.NativeEndian.Uint32(b[0:]),
		Type:  binary.NativeEndian.Uint16(b[4:]),
		Flags: binary.NativeEndian.Uint16(b[6:]),
		Seq:   binary.NativeEndian.Uint32(b[8:]),
		Port:  binary.NativeEndian.Uint32(b[12:]),
	}
}

// parse prints all messages of a datagram.
func parse(w io.Writer, b []byte) {
	for len(b) >= headerLen {
		h := parseHeader(b)
		if h.Len < headerLen || uint64(h.Len) > uint64(len(b)) {
			break
		}
		n := int(h.Len)
		printHeader(w, h)
		printAttributes(w, b[headerLen:n], 1)
		// The last message need not be padded.
		b = b[min(align(n), len(b)):]
	}
	printRest(w, b, 0)
}

// printAttributes prints a run of attributes; depth is 1, and one more in each
// nest.
func printAttributes(w io.Writer, b []byte, depth int) {
	for len(b) >= attrLen {
		n := int(binary.NativeEndian.Uint16(b[0:]))
		typ := binary.NativeEndian.Uint16(b[2:])
		if n < attrLen || n > len(b) {
			break
		}
		printAttribute(w, typ, b[attrLen:n], depth)
		if typ&flagNested != 0 {
			printAttributes(w, b[attrLen:n], depth+1)
		}
		b = b[min(align(n), len(b)):]
	}
	printRest(w, b, depth)
}

// build makes a message of a header and attributes. Its Len is not filled in.
func build(h header, attrs []attribute) []byte {
	b := make([]byte, headerLen)
	binary.NativeEndian.PutUint16(b[4:], h.Type)
	binary.NativeEndian.PutUint16(b[6:], h.Flags)
	binary.NativeEndian.PutUint32(b[8:], h.Seq)
	binary.NativeEndian.PutUint32(b[12:], h.Port)
	for _, a := range attrs {
		b = binary.NativeEndian.AppendUint16(b, uint16(attrLen+len(a.value)))
		b = binary.NativeEndian.AppendUint16(b, a.typ)
		b = append(b, a.value...)
		b = append(b, make([]byte, align(len(a.value))-len(a.value))...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// An attribute is one to be put into a message.
type attribute struct {
	typ   uint16
	value []byte
}

// How things are printed. The program in C prints the same.

func printHeader(w io.Writer, h header) {
	fmt.Fprintf(w, "message: length %d, type %d, flags 0x%x, sequence %d, port %d\n", h.Len, h.Type, h.Flags, h.Seq, h.Port)
}

func printAttribute(w io.Writer, typ uint16, value []byte, depth int) {
	flags := ""
	if typ&flagNested != 0 {
		flags += " (nested)"
	}
	if typ&flagNetOrder != 0 {
		flags += " (big-endian)"
	}
	fmt.Fprintf(w, "%*sattribute %d%s: %d bytes: %x\n", 2*depth, "", typ&typeMask, flags, len(value), value)
}

func printRest(w io.Writer, b []byte, depth int) {
	if len(b) > 0 {
		fmt.Fprintf(w, "%*s%d bytes left over\n", 2*depth, "", len(b))
	}
}

func runBuild(args []string) error {
	if len(args) < 4 {
		return errors.New("usage: user build TYPE FLAGS SEQUENCE PORT [ATTRIBUTE=HEX…]")
	}
	var n [4]uint64
	for i, bits := range []int{16, 16, 32, 32} {
		var err error
		if n[i], err = strconv.ParseUint(args[i], 0, bits); err != nil {
			return err
		}
	}
	h := header{Type: uint16(n[0]), Flags: uint16(n[1]), Seq: uint32(n[2]), Port: uint32(n[3])}
	var attrs []attribute
	for _, arg := range args[4:] {
		typ, value, _ := strings.Cut(arg, "=")
		t, err := strconv.ParseUint(typ, 0, 16)
		if err != nil {
			return err
		}
		v, err := hex.DecodeString(value)
		if err != nil {
			return err
		}
		attrs = append(attrs, attribute{uint16(t), v})
	}
	_, err := os.Stdout.Write(build(h, attrs))
	return err
}

func runParse() error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(os.Stdout)
	parse(w, b)
	return w.Flush()
}

func main() {
	err := errors.New("usage: user parse|build …")
	switch {
	case len(os.Args) > 1 && os.Args[1] == "parse":
		err = runParse()
	case len(os.Args) > 1 && os.Args[1] == "build":
		err = runBuild(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "user:", err)
		os.Exit(1)
	}
}
