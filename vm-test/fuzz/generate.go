// SPDX-License-Identifier: MIT

package fuzz

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A generator makes one program. It remembers what sockets are open, so that
// most operations make sense.
type generator struct {
	*rand.Rand
	seq      uint32
	tasks    int
	protocol [Sockets]int // of each socket, -1 for none
	left     int          // bytes that the messages of this operation may still have
}

// Generate makes a program out of nothing.
func Generate(r *rand.Rand) *Program {
	g := newGenerator(r)
	p := &Program{Race: g.one(4)}
	if p.Race {
		g.tasks = 2 + g.IntN(Tasks-1)
	} else {
		g.tasks = 1
		if g.one(4) { // what one does after the other is seldom another thing than what one does alone
			g.tasks = 2
		}
	}
	for range 1 + g.IntN(4) {
		p.Ops = append(p.Ops, g.open())
		if g.one(3) {
			p.Ops = append(p.Ops, g.option())
		}
	}
	for range 3 + g.IntN(20) {
		p.Ops = append(p.Ops, g.op())
	}
	return p
}

func newGenerator(r *rand.Rand) *generator {
	g := &generator{Rand: r, tasks: 1, seq: r.Uint32N(1 << 20)}
	for i := range g.protocol {
		g.protocol[i] = -1
	}
	return g
}

// one is true once in n times.
func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// interesting are numbers at which something may change.
func (g *generator) interesting() uint32 {
	if g.one(8) {
		return g.Uint32()
	}
	v := pick[uint32](g, 0, 1, 2, 3, 4, 5, 8, 12, 15, 16, 17, 20, 31, 32, 33, 36, 63, 64, 65, 127, 255, 256, 4095, 4096, 4097,
		8191, 8192, 16364, 16384, 32256, 32767, 32768, 32769, 65535, 65536, 65537, 65538, 3600000, 3600001, 1<<31-1, 1<<31, 1<<32-1, 1<<32-4)
	if g.one(4) {
		v += uint32(g.IntN(9)) - 4
	}
	return v
}

// socket chooses an open one, if there is any.
func (g *generator) socket() int {
	for range 8 {
		if s := g.IntN(Sockets); g.protocol[s] >= 0 {
			return s
		}
	}
	return g.IntN(Sockets)
}

func (g *generator) open() Op {
	op := Op{Task: g.IntN(g.tasks), Kind: Open, Socket: g.IntN(Sockets)}
	op.A = pick[uint32](g, Raw, Raw, Raw, Genl, Genl, Genl, Route, Route, Connector)
	g.protocol[op.Socket] = int(op.A)
	if g.one(3) {
		op.B = 1000 + g.Uint32N(4)
	}
	if g.one(3) {
		op.C = pick(g, 1, 2, 3, 1<<31, 0xffffffff, 0x10000, g.Uint32())
	}
	return op
}

// options of SOL_NETLINK; 0 is none of them.
var options = []uint32{
	unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP, unix.NETLINK_PKTINFO, unix.NETLINK_BROADCAST_ERROR,
	unix.NETLINK_NO_ENOBUFS, unix.NETLINK_LISTEN_ALL_NSID, unix.NETLINK_CAP_ACK, unix.NETLINK_EXT_ACK, unix.NETLINK_GET_STRICT_CHK, 0,
}

func (g *generator) option() Op {
	op := Op{Task: g.IntN(g.tasks), Kind: Option, Socket: g.socket(), A: pick(g, options...), B: g.Uint32N(2)}
	if op.A == unix.NETLINK_ADD_MEMBERSHIP || op.A == unix.NETLINK_DROP_MEMBERSHIP {
		op.B = pick(g, 1, 2, 3, 16, 32, 33, g.Uint32N(40), g.interesting())
	}
	return op
}

// options of SOL_SOCKET: what they do to queues and to receiving. Those that make
// a socket wait are of no use to one that never does.
var sockOptions = []uint32{
	unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, unix.SO_PASSCRED, unix.SO_TIMESTAMP, unix.SO_RCVLOWAT,
	unix.SO_PRIORITY, unix.SO_MARK, unix.SO_KEEPALIVE, unix.SO_RXQ_OVFL,
}

func (g *generator) sockOption(op Op) Op {
	if g.one(3) {
		op.Kind, op.A, op.B = GetOpt, pick(g, append(options, unix.NETLINK_LIST_MEMBERSHIPS, unix.NETLINK_LIST_MEMBERSHIPS)...), pick[uint32](g, 0, 3, 4, 8, 64)
		return op
	}
	op.Kind, op.A, op.B = SockOpt, pick(g, sockOptions...), pick(g, 0, 1, 4096, 1<<16, g.interesting()&(1<<20-1))
	return op
}

func (g *generator) op() Op {
	op := Op{Task: g.IntN(g.tasks), Socket: g.socket()}
	switch n := g.IntN(104); {
	case n == 100:
		return g.sockOption(op)
	case n > 100:
		op.Kind, op.A = Fail, 1+g.Uint32N(30)
		if g.one(2) {
			op.A = 1 + g.Uint32N(6)
		}
	case n < 58:
		op.Kind = Call
		op.Messages = g.messages(g.protocol[op.Socket])
	case n < 72:
		op.Kind = Send
		op.Messages = g.messages(g.protocol[op.Socket])
		if g.one(6) { // to another process, or nobody
			op.A = pick(g, 1000+g.Uint32N(4), g.Uint32())
		}
		if g.one(10) {
			op.B = pick(g, 1, 2, g.Uint32())
		}
	case n < 80:
		op.Kind, op.A, op.B = Receive, 1+g.Uint32N(8), pick[uint32](g, 64<<10, 8192, 100, 16, 0)
	case n < 86:
		op = g.option()
	case n < 91:
		op.Kind = Close
		g.protocol[op.Socket] = -1
	case n < 94:
		op = g.open()
	case n < 96:
		op.Kind, op.A = Buffer, pick(g, 0, 4096, 1<<16, 1<<20, g.interesting()&(1<<20-1))
	case n < 98:
		op.Kind, op.A = Namespace, g.Uint32N(Namespaces)
		if g.one(8) { // it takes as long as all the rest
			op.Kind, op.A = Fresh, 0
		}
	case n < 99:
		op.Kind, op.A = Privilege, g.Uint32N(2)
	default:
		op.Kind, op.A = Connect, pick(g, 0, 1000+g.Uint32N(4))
	}
	return op
}

// messages makes a datagram for a socket of a protocol.
func (g *generator) messages(protocol int) []Message {
	n := 1
	switch g.IntN(5) {
	case 0, 1:
		n += g.IntN(7)
	case 2:
		n += g.IntN(maxBatch)
	}
	g.left = maxBody - n*64
	var all []Message
	for range n {
		if g.one(12) && len(all) > 0 {
			all = append(all, all[g.IntN(len(all))]) // the same again
			g.left -= len(all[len(all)-1].Body)
		} else {
			all = append(all, g.message(protocol))
		}
		if g.left < 0 {
			return all[:max(1, len(all)-1)]
		}
	}
	return all
}

// message makes a request, and spoils one of four.
func (g *generator) message(protocol int) Message {
	g.seq++
	m := Message{Flags: unix.NLM_F_REQUEST, Len: AutoLen, Seq: g.seq}
	if g.one(2) {
		m.Flags |= unix.NLM_F_ACK
	}
	switch protocol {
	case Genl:
		g.genl(&m)
	case Route:
		g.route(&m)
	case Connector:
		g.connector(&m)
	default:
		g.raw(&m)
	}
	g.left -= len(m.Body)
	if g.one(4) {
		g.spoil(&m)
	}
	return m
}

func (g *generator) genl(m *Message) {
	m.Type = TypePeer
	op := genlTable.ops[g.IntN(len(genlTable.ops))]
	if op.number == wire.CmdBeaconSet && g.one(2) { // as it does much
		op = genlTable.ops[wire.CmdEcho-1]
	}
	m.Body = []byte{byte(op.number), wire.FamilyVersion, 0, 0}
	attrs := op.do
	if op.dump != nil && (op.do == nil || g.one(2)) {
		attrs = op.dump
		m.Flags |= unix.NLM_F_DUMP
	}
	if op.number == wire.CmdObjectDel { // both are refused
		attrs = []uint16{wire.AttrObjectKey}
		if g.one(3) {
			attrs = []uint16{wire.AttrObjectPrefix}
		}
	}
	if g.one(4) && op.do != nil {
		m.Flags |= unix.NLM_F_ECHO
	}
	if g.one(40) {
		m.Type = ctrlID // its answers are not looked at
	}
	m.Body = g.attrs(m.Body, genlTable.sets, op.set, attrs)
}

// What NEW, DEL and GET take in their flags, on carriers that have them there.
var objectFlags = []uint16{unix.NLM_F_REPLACE, unix.NLM_F_EXCL, unix.NLM_F_CREATE, unix.NLM_F_APPEND, unix.NLM_F_CREATE | unix.NLM_F_REPLACE, unix.NLM_F_CREATE | unix.NLM_F_APPEND}

func (g *generator) objectOp(m *Message, number uint16) []uint16 {
	op := rawTable.ops[slices.IndexFunc(rawTable.ops, func(op operation) bool { return op.number == number })]
	attrs := op.do
	switch number {
	case wire.MsgObjectNew:
		m.Flags |= pick(g, objectFlags...)
	case wire.MsgObjectDel:
		if attrs = []uint16{wire.AttrObjectKey}; g.one(3) {
			m.Flags |= unix.NLM_F_BULK
			attrs = []uint16{wire.AttrObjectPrefix}
		}
	case wire.MsgObjectGet:
		if g.one(2) {
			m.Flags |= pick[uint16](g, unix.NLM_F_DUMP, unix.NLM_F_DUMP, unix.NLM_F_ROOT, unix.NLM_F_MATCH)
			if g.one(3) {
				m.Flags |= unix.NLM_F_ATOMIC
			}
			attrs = op.dump
		}
	}
	if g.one(4) {
		m.Flags |= unix.NLM_F_ECHO
	}
	return attrs
}

func (g *generator) raw(m *Message) {
	m.Type = pick[uint16](g, wire.MsgEcho, wire.MsgEcho, wire.MsgObjectNew, wire.MsgObjectNew, wire.MsgObjectDel, wire.MsgObjectGet, wire.MsgObjectGet, wire.MsgEvent)
	if m.Type == wire.MsgEcho || m.Type == wire.MsgEvent {
		m.Body = g.bytes(wire.PayloadMax)
		return
	}
	m.Body = g.attrs(nil, rawTable.sets, "object", g.objectOp(m, m.Type))
}

func (g *generator) route(m *Message) {
	kind := g.IntN(4)
	m.Body = []byte{wire.RtnlFamily, 0, 0, 0}
	m.Type = []uint16{rtmNew, rtmDel, rtmGet, rtmGet}[kind]
	if kind == 3 { // an echo
		m.Body = g.attrs(m.Body, genlTable.sets, "object", []uint16{wire.AttrObjectPayload})
		return
	}
	attrs := g.objectOp(m, []uint16{wire.MsgObjectNew, wire.MsgObjectDel, wire.MsgObjectGet}[kind])
	m.Body = g.attrs(m.Body, genlTable.sets, "object", attrs)
}

func (g *generator) connector(m *Message) {
	m.Type = unix.NLMSG_DONE
	data := g.bytes(wire.CnPayloadMax)
	m.Body = wire.AppendConnector(nil, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: m.Seq, Ack: g.Uint32N(3)}, data)
	if g.one(8) { // its own length lies, its address is another
		i := pick(g, 0, 4, 8, 12, 16, 18)
		native.PutUint16(m.Body[i:], uint16(g.interesting()))
	}
}

// bytes makes bytes of any length up to most and a little more, short ones more
// often. Long ones are mostly one byte, which the text form likes.
func (g *generator) bytes(most int) []byte {
	n := g.IntN(24)
	switch {
	case g.one(8):
		n = g.IntN(600)
	case g.one(16):
		n = g.IntN(most + 1)
	case g.one(16):
		n = max(0, most+g.IntN(9)-4)
	}
	n = min(n, max(0, g.left))
	b := bytes.Repeat([]byte{byte(g.Uint32())}, n)
	for i := range min(n, 10) {
		b[g.IntN(n)] = byte(g.Uint32() >> i)
	}
	return b
}

// key makes a key or prefix; a few come often, so that they meet.
func (g *generator) key() []byte {
	key := pick(g, "a", "b", "ab", "abc", "abd", "b0", "", strings.Repeat("k", wire.KeyMax), strings.Repeat("k", wire.KeyMax+1))
	if g.one(6) {
		key += string(rune('a' + g.IntN(26)))
	}
	return append([]byte(key), 0)
}

// attrs appends attributes: most times each of those that are asked for once
// and as they ought to be.
func (g *generator) attrs(b []byte, sets map[string]set, name string, wanted []uint16) []byte {
	numbers := slices.Clone(wanted)
	if g.one(4) {
		g.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	}
	if len(numbers) > 0 && g.one(5) {
		numbers = slices.Delete(numbers, 0, 1+g.IntN(len(numbers))-0)
	}
	if g.one(8) { // one that has no business here
		numbers = slices.Insert(numbers, g.IntN(len(numbers)+1), pick(g, 0, 9, uint16(g.Uint32N(16)), uint16(g.Uint32())&0x3fff))
	}
	if len(numbers) > 0 && g.one(10) {
		numbers = append(numbers, numbers[0])
	}
	for _, n := range numbers {
		a := sets[name][n]
		if name == "beacon" && (g.one(3) || a.name == "burst" && g.one(2)) {
			continue // a few settings at a time
		}
		times := 1
		if a.multi {
			times = g.IntN(4)
		}
		for range times {
			b = g.attr(b, sets, n, a)
		}
	}
	return b
}

func (g *generator) attr(b []byte, sets map[string]set, number uint16, a attribute) []byte {
	var data []byte
	switch size := a.size(); {
	case a.typ == "string":
		data = g.key()
	case a.typ == "nest":
		var inside []uint16
		for n := range uint16(12) {
			if _, ok := sets[a.nest][n]; ok {
				inside = append(inside, n)
			}
		}
		data = g.attrs(nil, sets, a.nest, inside)
	case size > 0:
		data = g.number(size, a)
	case size < 0:
		most := int(a.maxLen)
		if most == 0 {
			most = 100
		}
		data = g.bytes(most)
		if short := int(a.minLen) - len(data); short > 0 && !g.one(4) {
			data = append(data, make([]byte, short)...)
		}
	}
	length := attrLen + len(data)
	if g.one(24) { // another length, also inside
		length = max(0, length+g.IntN(9)-4)
		if g.one(3) {
			length = int(g.interesting() & 0xffff)
		}
	}
	if g.one(24) { // it is inside another one, or several
		for range 1 + g.IntN(12)*g.IntN(2) {
			data = appendAttr(nil, pick(g, number, 1, uint16(g.Uint32N(8)))|pick[uint16](g, 0, unix.NLA_F_NESTED), attrLen+len(data), data)
		}
		length = attrLen + len(data)
		number |= pick[uint16](g, 0, unix.NLA_F_NESTED)
	}
	if g.one(24) { // another size
		data = append(data, g.bytes(9)...)
		length = attrLen + len(data)
	}
	if g.one(20) || a.typ == "nest" && g.one(2) {
		number |= pick[uint16](g, unix.NLA_F_NESTED, unix.NLA_F_NET_BYTEORDER, unix.NLA_F_NESTED)
	}
	return appendAttr(b, number, length, data)
}

// number makes an integer, at or near a limit if there is one.
func (g *generator) number(size int, a attribute) []byte {
	v := uint64(g.interesting())
	switch {
	case a.name == "burst": // not often large: it is the most work that a message can make
		v = pick[uint64](g, 1, 2, 3, 5, 9, maxBurst, 0, a.max+1)
	case a.name == "interval":
		v = pick(g, 0, 1, 50, 1000, 60000, a.max, a.max+1)
	case (a.name == "groups" || a.name == "packed") && !g.one(6):
		v = pick[uint64](g, 0, 1, 2, 3, 6, 1<<31)
	case a.name == "flags":
		v = uint64(pick(g, objectFlags...))
		if g.one(6) {
			v = uint64(g.Uint32())
		}
	case a.name == "seq" || a.name == "group":
		v = pick(g, 0, 1, 2, 32, 33, wire.GroupBeacon, wire.GroupObjects, wire.GroupConnector, uint64(g.Uint32()))
	case a.max != 0 && g.one(2):
		v = a.min + g.Uint64N(a.max-a.min+1)
	case a.max != 0 && g.one(2):
		v = pick(g, a.min, a.max, a.max+1)
	}
	if size == 8 && g.one(8) {
		v = g.Uint64()
	}
	b := native.AppendUint64(nil, v)
	if size < 8 { // the low bytes, whatever their order
		b = native.AppendUint32(nil, uint32(v))
		b = b[:size]
	}
	return b
}

// spoil makes one thing of a message wrong.
func (g *generator) spoil(m *Message) {
	switch g.IntN(8) {
	case 0: // its length
		m.Len = max(0, int64(headerLen+len(m.Body)+g.IntN(41)-20))
	case 1:
		m.Len = int64(g.interesting())
	case 2:
		m.Flags ^= 1 << g.IntN(16)
	case 3:
		m.Flags = uint16(g.Uint32())
	case 4:
		m.Type = pick[uint16](g, 0, 1, 2, 3, 4, 15, 16, 17, 18, 20, 21, 22, 23, 72, 73, 74, 75, TypePeer, 255, 0x7fff)
	case 5: // the end is missing
		m.Body = m.Body[:g.IntN(len(m.Body)+1)]
	case 6:
		if len(m.Body) > 0 {
			m.Body = slices.Clone(m.Body)
			m.Body[g.IntN(min(len(m.Body), 64))] = byte(g.interesting())
		}
	case 7:
		m.PortID = pick(g, 1000, g.Uint32())
	}
}
