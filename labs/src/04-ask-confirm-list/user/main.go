// SPDX-License-Identifier: MIT

// User writes, reads and lists the book that the module keeps.
//
//	user write NUMBER=VALUE…       0 wipes a page
//	user fill N                    writes the pages 1 to N, and waits for nothing
//	user read NUMBER
//	user list [NUMBER=VALUE]       with a page: writes it while it is listing
//	user peek NUMBER               gives up a list, then reads a page
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// The types of messages, as in kernel/book.c.
const (
	bookWrite = syscall.NLMSG_MIN_TYPE + iota
	bookRead
	bookPage
)

// Flags that package syscall has no names for.
const (
	flagDumpIntr = 0x10  // NLM_F_DUMP_INTR
	flagCapped   = 0x100 // NLM_F_CAPPED
	flagAckTLVs  = 0x200 // NLM_F_ACK_TLVS
)

const errAttrMsg = 1 // NLMSGERR_ATTR_MSG

// A page of the book.
type page struct{ number, value uint32 }

func parsePage(m message) (page, error) {
	if m.Type != bookPage || len(m.Payload) < 8 {
		return page{}, fmt.Errorf("a message of type %d with %d bytes is no page", m.Type, len(m.Payload))
	}
	return page{binary.NativeEndian.Uint32(m.Payload), binary.NativeEndian.Uint32(m.Payload[4:])}, nil
}

// A refusal is what the kernel answers to a request that it does not carry out.
type refusal struct {
	errno syscall.Errno
	text  string // "" if it gave no reason
}

func (r refusal) Error() string {
	if r.text == "" {
		return r.errno.Error()
	}
	return r.errno.Error() + ": " + r.text
}

// next returns the next message that answers request seq.
func (c *conn) next(seq uint32) (message, error) {
	for {
		for len(c.inbox) == 0 {
			if err := c.receive(); err != nil {
				return message{}, err
			}
		}
		m := c.inbox[0]
		c.inbox = c.inbox[1:]
		//> todo 6
		//| // TODO(6): an answer to an earlier request may still be on its way,
		//| // and nobody waits for it any more. What tells it from ours?
		//> solved
		if m.Seq != seq {
			continue
		}
		//> mistake any-answer
		//> end
		return m, nil
	}
}

// verdict takes a message of type NLMSG_ERROR apart. It is nil if the request
// was carried out.
func verdict(m message) error {
	//> todo 2
	//| // TODO(2): the payload begins with a struct nlmsgerr: an int32, and a copy
	//| // of the header of our request. The number is 0 or a negative errno.
	//| // The kernel's text is in an attribute behind all that. Is there one
	//| // (flagAckTLVs)? How much of our request is before it (flagCapped)?
	//| return errors.New("the kernel answered, and nobody reads it yet")
	//> solved
	if len(m.Payload) < 4+headerLen {
		return errors.New("an NLMSG_ERROR that is too short")
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Payload))
	if errno == 0 {
		return nil
	}
	why := refusal{errno: syscall.Errno(errno)}
	if m.Flags&flagAckTLVs == 0 {
		return why
	}
	quoted := headerLen
	if m.Flags&flagCapped == 0 {
		quoted = align(int(binary.NativeEndian.Uint32(m.Payload[4:])))
	}
	for b := m.Payload[min(4+quoted, len(m.Payload)):]; len(b) >= 4; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < 4 || length > len(b) {
			return errors.New("an attribute that does not fit")
		}
		if binary.NativeEndian.Uint16(b[2:]) == errAttrMsg {
			why.text = strings.TrimRight(string(b[4:length]), "\x00")
		}
		b = b[min(align(length), len(b)):]
	}
	return why
	//> mistake sign
	//| errno := binary.NativeEndian.Uint32(m.Payload)
	//| if errno == 0 {
	//| 	return nil
	//| }
	//| return refusal{errno: syscall.Errno(errno)}
	//> mistake behind-the-header
	//| errno := -int32(binary.NativeEndian.Uint32(m.Payload))
	//| if errno == 0 {
	//| 	return nil
	//| }
	//| why := refusal{errno: syscall.Errno(errno)}
	//| b := m.Payload[4+headerLen:]
	//| if m.Flags&flagAckTLVs != 0 && binary.NativeEndian.Uint16(b[2:]) == errAttrMsg {
	//| 	why.text = strings.TrimRight(string(b[4:]), "\x00")
	//| }
	//| return why
	//> mistake fixed-place
	//| errno := -int32(binary.NativeEndian.Uint32(m.Payload))
	//| if errno == 0 {
	//| 	return nil
	//| }
	//| why := refusal{errno: syscall.Errno(errno)}
	//| const place = 4 + headerLen + 8
	//| if m.Flags&flagAckTLVs != 0 && len(m.Payload) > place+4 {
	//| 	why.text = strings.TrimRight(string(m.Payload[place+4:]), "\x00")
	//| }
	//| return why
	//> end
}

// ended takes a message of type NLMSG_DONE apart. It is nil if the list is
// complete; else the payload is the negative errno that ended it half-way.
func ended(m message) error {
	if len(m.Payload) < 4 {
		return errors.New("an NLMSG_DONE that is too short")
	}
	if errno := -int32(binary.NativeEndian.Uint32(m.Payload)); errno != 0 {
		return refusal{errno: syscall.Errno(errno)}
	}
	return nil
}

// write writes a page, and waits until the kernel has confirmed it.
func (c *conn) write(p page) error {
	seq, err := c.send(bookWrite, syscall.NLM_F_ACK, p.number, p.value)
	if err != nil {
		return err
	}
	m, err := c.next(seq)
	if err != nil {
		return err
	}
	if m.Type != syscall.NLMSG_ERROR {
		return fmt.Errorf("a message of type %d is no acknowledgment", m.Type)
	}
	return verdict(m)
}

// read reads a page. The answer is the page or an error, so it asks for no
// acknowledgment.
func (c *conn) read(number uint32) (page, error) {
	seq, err := c.send(bookRead, 0, number)
	if err != nil {
		return page{}, err
	}
	m, err := c.next(seq)
	if err != nil {
		return page{}, err
	}
	if m.Type == syscall.NLMSG_ERROR {
		return page{}, verdict(m)
	}
	return parsePage(m)
}

// list reads all pages. They may be from different editions of the book: then
// it is interrupted, and a page may be missing or out of date.
func (c *conn) list() (pages []page, interrupted bool, err error) {
	seq, err := c.send(bookRead, syscall.NLM_F_DUMP)
	if err != nil {
		return nil, false, err
	}
	//> todo 6
	//| // TODO(6): c.next(seq) is the next message of the list. Go on until
	//| // NLMSG_DONE, of which ended() says whether the list is complete; a list
	//| // that was refused is an NLMSG_ERROR.
	//| m, err := c.next(seq)
	//| if err != nil {
	//| 	return nil, false, err
	//| }
	//| if m.Type == syscall.NLMSG_DONE {
	//| 	return nil, false, ended(m)
	//| }
	//| return nil, false, errors.New("lists are not read yet")
	//> solved
	for {
		m, err := c.next(seq)
		if err != nil {
			return nil, false, err
		}
		//> end
		//> todo 7
		//| // TODO(7): did the book change under the list?
		//> solved
		if m.Flags&flagDumpIntr != 0 {
			interrupted = true
		}
		//> mistake intr-in-done-only
		//| if m.Type == syscall.NLMSG_DONE && m.Flags&flagDumpIntr != 0 {
		//| 	interrupted = true
		//| }
		//> mistake intr-in-pages-only
		//| if m.Type != syscall.NLMSG_DONE && m.Flags&flagDumpIntr != 0 {
		//| 	interrupted = true
		//| }
		//> end
		//> todo 6
		//> solved
		switch m.Type {
		case syscall.NLMSG_DONE:
			return pages, interrupted, ended(m)
		case syscall.NLMSG_ERROR:
			return nil, false, verdict(m)
		}
		p, err := parsePage(m)
		if err != nil {
			return nil, false, err
		}
		pages = append(pages, p)
	}
	//> mistake done-is-done
	//| 	switch m.Type {
	//| 	case syscall.NLMSG_DONE:
	//| 		return pages, interrupted, nil
	//| 	case syscall.NLMSG_ERROR:
	//| 		return nil, false, verdict(m)
	//| 	}
	//| 	p, err := parsePage(m)
	//| 	if err != nil {
	//| 		return nil, false, err
	//| 	}
	//| 	pages = append(pages, p)
	//| }
	//> end
}

// listWhole lists until nothing came between.
func (c *conn) listWhole() ([]page, error) {
	for range 10 {
		pages, interrupted, err := c.list()
		if err != nil || !interrupted {
			return pages, err
		}
		fmt.Println("the book changed while it was listed: once more")
	}
	return nil, errors.New("the book does not stand still")
}

// parseSetting parses NUMBER=VALUE.
func parseSetting(s string) (page, error) {
	number, value, ok := strings.Cut(s, "=")
	n, err1 := strconv.ParseUint(number, 0, 32)
	v, err2 := strconv.ParseUint(value, 0, 32)
	if !ok || err1 != nil || err2 != nil {
		return page{}, fmt.Errorf("%q is not NUMBER=VALUE", s)
	}
	return page{uint32(n), uint32(v)}, nil
}

func parseNumber(args []string) (uint32, error) {
	if len(args) != 1 {
		return 0, errors.New("one number is needed")
	}
	n, err := strconv.ParseUint(args[0], 0, 32)
	return uint32(n), err
}

func runWrite(c *conn, args []string) error {
	for _, arg := range args {
		p, err := parseSetting(arg)
		if err != nil {
			return err
		}
		if err := c.write(p); err != nil {
			return fmt.Errorf("page %d: %w", p.number, err)
		}
		fmt.Printf("page %d: written\n", p.number)
	}
	return nil
}

// runFill asks for no acknowledgments: no news is good news.
func runFill(c *conn, args []string) error {
	last, err := parseNumber(args)
	if err != nil {
		return err
	}
	for n := uint32(1); n <= last; n++ {
		if _, err := c.send(bookWrite, 0, n, n*n); err != nil {
			return err
		}
	}
	fmt.Printf("pages 1 to %d: sent\n", last)
	return nil
}

func runRead(c *conn, args []string) error {
	n, err := parseNumber(args)
	if err != nil {
		return err
	}
	p, err := c.read(n)
	if err != nil {
		return fmt.Errorf("page %d: %w", n, err)
	}
	fmt.Printf("page %d: %d\n", p.number, p.value)
	return nil
}

func runList(c *conn, args []string) error {
	if len(args) > 0 {
		p, err := parseSetting(args[0])
		if err != nil {
			return err
		}
		c.onRead = disturb(p)
	}
	pages, err := c.listWhole()
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for _, p := range pages {
		fmt.Printf("page %d: %d\n", p.number, p.value)
	}
	fmt.Printf("%d pages in %d datagrams\n", len(pages), c.reads)
	return nil
}

// disturb writes a page, once, when the first datagram of a list has been
// read: somebody else, with a socket of his own.
func disturb(p page) func(reads int) {
	done := false
	return func(reads int) {
		if done || reads != 1 {
			return
		}
		done = true
		other, err := dial()
		if err == nil {
			defer other.close()
			err = other.write(p)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "user: somebody else:", err)
		}
	}
}

// runPeek leaves most of a list unread, and asks for something else.
func runPeek(c *conn, args []string) error {
	seq, err := c.send(bookRead, syscall.NLM_F_DUMP)
	if err != nil {
		return err
	}
	if _, err := c.next(seq); err != nil {
		return err
	}
	return runRead(c, args)
}

var commands = map[string]func(*conn, []string) error{
	"write": runWrite,
	"fill":  runFill,
	"read":  runRead,
	"list":  runList,
	"peek":  runPeek,
}

func main() {
	run := func(*conn, []string) error { return errors.New("usage: user write|fill|read|list|peek …") }
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		run = commands[os.Args[1]]
	}
	c, err := dial()
	if err == nil {
		defer c.close()
		err = run(c, os.Args[min(2, len(os.Args)):])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "user:", err)
		os.Exit(1)
	}
}
