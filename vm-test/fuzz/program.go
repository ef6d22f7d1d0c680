// SPDX-License-Identifier: MIT

package fuzz

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a program.
const (
	Tasks      = 4
	Sockets    = 8
	Namespaces = 3 // the first is the initial one
	maxOps     = 160
	maxBatch   = 64
	maxBody    = 40 << 10 // of all messages in an operation together
)

// TypePeer stands for the message type of the family nlpeer, which is another
// one on each machine.
const TypePeer = 0xffff

// AutoLen is the length of a message that says the truth.
const AutoLen = -1

// A Program is a sequence of operations. Its text form has one on a line; a
// line "race" lets each task run on its own.
type Program struct {
	Race bool
	Ops  []Op
}

// An Op is what a task does: with a socket, except for those of the task
// itself. What A, B and C are is said with the kind.
type Op struct {
	Task     int
	Kind     string
	Socket   int
	A, B, C  uint32
	Messages []Message
}

// The kinds of operations, by the words of the text form.
const (
	Open      = "open"      // of protocol A (see Protocols), port ID B (0: any), groups C
	Close     = "close"     //
	Connect   = "connect"   // to port ID A
	Option    = "option"    // A of SOL_NETLINK gets the value B
	Buffer    = "buffer"    // for receiving gets A bytes
	SockOpt   = "sockopt"   // A of SOL_SOCKET gets the value B
	GetOpt    = "getopt"    // A of SOL_NETLINK is read, with room for B bytes
	Send      = "send"      // messages in one datagram, to port ID A and groups B
	Call      = "call"      // Send, and receive all there is
	Fail      = "fail"      // in the task's next sending, the A-th allocation or copy fails, where the kernel lets it
	Receive   = "receive"   // A datagrams at most, with room for B bytes each
	Namespace = "namespace" // the task moves to A
	Fresh     = "fresh"     // the task moves to a new namespace
	Privilege = "privilege" // the task has CAP_NET_ADMIN and others (A = 1), or none (0)
)

// Kinds are all of them, and how many numbers follow the task and the socket.
var kinds = map[string]int{
	Open: 3, Close: 0, Connect: 1, Option: 2, Buffer: 1, SockOpt: 2, GetOpt: 2, Fail: 1, Send: 2, Call: 0, Receive: 2, Namespace: 1, Fresh: 0, Privilege: 1,
}

// Protocols are the values of A in Open.
var Protocols = []int{31, 16, 11, 0}

// Places of the protocols in it.
const (
	Raw = iota
	Genl
	Connector
	Route
)

// A Message is one message of a datagram. Len is what the header says, or
// AutoLen.
type Message struct {
	Type, Flags uint16
	Len         int64
	Seq, PortID uint32
	Body        []byte
}

// Datagram lays messages out for one send. family is the number of the family
// nlpeer.
func Datagram(messages []Message, family uint16) []byte {
	var b []byte
	for _, m := range messages {
		length := uint32(m.Len)
		if m.Len == AutoLen {
			length = uint32(headerLen + len(m.Body))
		}
		typ := m.Type
		if typ == TypePeer {
			typ = family
		}
		b = native.AppendUint32(b, length)
		b = native.AppendUint16(b, typ)
		b = native.AppendUint16(b, m.Flags)
		b = native.AppendUint32(b, m.Seq)
		b = native.AppendUint32(b, m.PortID)
		b = pad(append(b, m.Body...))
	}
	return b
}

// Clone returns a copy that shares nothing.
func (p *Program) Clone() *Program {
	c := &Program{Race: p.Race, Ops: slices.Clone(p.Ops)}
	for i := range c.Ops {
		c.Ops[i].Messages = slices.Clone(c.Ops[i].Messages)
		for j := range c.Ops[i].Messages {
			m := &c.Ops[i].Messages[j]
			m.Body = slices.Clone(m.Body)
		}
	}
	return c
}

// Size counts operations and messages: what can be left out of the program.
func (p *Program) Size() int {
	n := len(p.Ops)
	for _, op := range p.Ops {
		n += len(op.Messages)
	}
	return n
}

// String returns the text form.
func (p *Program) String() string {
	var b strings.Builder
	if p.Race {
		b.WriteString("race\n")
	}
	for _, op := range p.Ops {
		fmt.Fprintf(&b, "%d %s %d", op.Task, op.Kind, op.Socket)
		for _, v := range []uint32{op.A, op.B, op.C}[:kinds[op.Kind]] {
			fmt.Fprintf(&b, " %#x", v)
		}
		for _, m := range op.Messages {
			typ := strconv.Itoa(int(m.Type))
			if m.Type == TypePeer {
				typ = "peer"
			}
			length := "="
			if m.Len != AutoLen {
				length = strconv.FormatInt(m.Len, 10)
			}
			fmt.Fprintf(&b, " %s/%#x/%s/%d/%d/%s", typ, m.Flags, length, m.Seq, m.PortID, bodyText(m.Body))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// A run of at least this many equal bytes is written as one byte and a number.
const longRun = 12

// bodyText writes bytes as hexadecimal numbers, and runs of one byte as
// ".00*20.".
func bodyText(body []byte) string {
	var b strings.Builder
	for from := 0; from < len(body); {
		to := from
		for to < len(body) && body[to] == body[from] {
			to++
		}
		if to-from >= longRun {
			fmt.Fprintf(&b, ".%02x*%d.", body[from], to-from)
		} else {
			b.WriteString(hex.EncodeToString(body[from:to]))
		}
		from = to
	}
	return b.String()
}

func parseBody(text string) ([]byte, error) {
	var body []byte
	for part := range strings.SplitSeq(text, ".") {
		digits, count, run := strings.Cut(part, "*")
		b, err := hex.DecodeString(digits)
		if err != nil {
			return nil, err
		}
		if run {
			n, err := strconv.Atoi(count)
			if err != nil || n < 0 || n > maxBody || len(b) != 1 {
				return nil, fmt.Errorf("%q is no run of bytes", part)
			}
			b = slices.Repeat(b, n)
		}
		body = append(body, b...)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("%d bytes are too many", len(body))
	}
	return body, nil
}

// Parse reads the text form. Lines that begin with # are comments.
func Parse(text string) (*Program, error) {
	p := new(Program)
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if line == "race" {
			p.Race = true
			continue
		}
		op, err := parseOp(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		p.Ops = append(p.Ops, op)
	}
	if len(p.Ops) == 0 {
		return nil, errors.New("no operation")
	}
	return p, nil
}

func parseOp(words []string) (Op, error) {
	if len(words) < 3 {
		return Op{}, errors.New("an operation is: TASK KIND SOCKET [NUMBER…] [MESSAGE…]")
	}
	op := Op{Kind: words[1]}
	n, ok := kinds[op.Kind]
	if !ok {
		return Op{}, fmt.Errorf("unknown kind %q", op.Kind)
	}
	var err error
	if op.Task, err = strconv.Atoi(words[0]); err != nil || op.Task < 0 || op.Task >= Tasks {
		return Op{}, fmt.Errorf("task %q is not from 0 to %d", words[0], Tasks-1)
	}
	if op.Socket, err = strconv.Atoi(words[2]); err != nil || op.Socket < 0 || op.Socket >= Sockets {
		return Op{}, fmt.Errorf("socket %q is not from 0 to %d", words[2], Sockets-1)
	}
	words = words[3:]
	if len(words) < n {
		return Op{}, fmt.Errorf("%s has %d numbers, not %d", op.Kind, n, len(words))
	}
	for i, v := range []*uint32{&op.A, &op.B, &op.C}[:n] {
		u, err := strconv.ParseUint(words[i], 0, 32)
		if err != nil {
			return Op{}, fmt.Errorf("%s: %w", op.Kind, err)
		}
		*v = uint32(u)
	}
	if op.Kind == Open && op.A >= uint32(len(Protocols)) {
		return Op{}, fmt.Errorf("open: there is no protocol %d", op.A)
	}
	for _, word := range words[n:] {
		m, err := parseMessage(word)
		if err != nil {
			return Op{}, fmt.Errorf("message %q: %w", word[:min(len(word), 40)], err)
		}
		op.Messages = append(op.Messages, m)
	}
	if len(op.Messages) > 0 && !op.sends() {
		return Op{}, fmt.Errorf("%s has no messages", op.Kind)
	}
	return op, nil
}

func (op *Op) sends() bool { return op.Kind == Send || op.Kind == Call }

func parseMessage(word string) (Message, error) {
	f := strings.Split(word, "/")
	if len(f) != 6 {
		return Message{}, errors.New("want TYPE/FLAGS/LENGTH/SEQ/PORT/BYTES")
	}
	m := Message{Type: TypePeer, Len: AutoLen}
	var errs error
	number := func(text string, bits int) uint64 {
		v, err := strconv.ParseUint(text, 0, bits)
		errs = errors.Join(errs, err)
		return v
	}
	if f[0] != "peer" {
		m.Type = uint16(number(f[0], 16))
	}
	m.Flags = uint16(number(f[1], 16))
	if f[2] != "=" {
		m.Len = int64(number(f[2], 32))
	}
	m.Seq, m.PortID = uint32(number(f[3], 32)), uint32(number(f[4], 32))
	body, err := parseBody(f[5])
	m.Body = body
	return m, errors.Join(errs, err)
}
