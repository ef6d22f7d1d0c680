// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// The contract of objects, see NetlinkTest.
const (
	ObjectNew = 0 + iota // operations, in the order of their numbers on every carrier
	ObjectDel
	ObjectGet
)

const (
	rawObjects  = 20 // message type of ObjectNew
	genlObjects = 7  // command of ObjectNew
	rtnlObjects = 72 // message type of ObjectNew
	rtnlFamily  = 127

	FlagRoot    = 0x100 // of ObjectGet
	FlagMatch   = 0x200
	FlagAtomic  = 0x400
	FlagDump    = FlagRoot | FlagMatch
	FlagReplace = 0x100 // of ObjectNew
	FlagExcl    = 0x200
	FlagCreate  = 0x400
	FlagAppend  = 0x800
	FlagBulk    = 0x200 // of ObjectDel

	// Attributes of an object.
	ObjectKey        = 1
	ObjectValue      = 2
	ObjectGeneration = 3
	ObjectPrefix     = 4
	ObjectFlags      = 5
	ObjectAtomic     = 6
	ObjectPayload    = 7
	objectPad        = 8

	// Kinds of events about objects.
	KindNew    = 2
	KindChange = 3
	KindDel    = 4

	RawGroupObjects  = 2     // group of the raw protocol
	GenlGroupObjects = 65537 // the genl group "objects", where an event names its group
)

// Object is an object taken apart.
type Object struct {
	Key        string
	Generation uint64
	Values     [][]byte
}

// ParseObject wants the attributes of an object in the order of spec/.
func ParseObject(t testing.TB, attrs []Attr) Object {
	t.Helper()
	var got []Attr
	for _, a := range attrs {
		if a.Type != objectPad || len(a.Data) != 0 {
			got = append(got, a)
		}
	}
	if len(got) < 2 || got[0].Type != ObjectKey || got[1].Type != ObjectGeneration || len(got[1].Data) != 8 {
		t.Fatalf("not an object: %+v", attrs)
	}
	key := got[0].Data
	if n := len(key); n < 2 || n > 65 || key[n-1] != 0 {
		t.Fatalf("key %q", key)
	}
	o := Object{Key: unix.ByteSliceToString(key), Generation: native.Uint64(got[1].Data)}
	if len(o.Key) != len(key)-1 {
		t.Fatalf("key %q", key)
	}
	for _, a := range got[2:] {
		if a.Type != ObjectValue {
			t.Fatalf("attribute %d among the values: %+v", a.Type, attrs)
		}
		o.Values = append(o.Values, a.Data)
	}
	return o
}

// SameObject fails the test if an object is not as it should be.
func SameObject(t testing.TB, got Object, key string, generation uint64, values ...[]byte) {
	t.Helper()
	if got.Key != key || got.Generation != generation {
		t.Errorf("object %q of generation %d, want %q of %d", got.Key, got.Generation, key, generation)
	}
	if len(got.Values) != len(values) {
		t.Fatalf("%q has %d values, want %d", key, len(got.Values), len(values))
	}
	for i := range values {
		if !bytes.Equal(got.Values[i], values[i]) {
			t.Errorf("value %d of %q is % .20x (%d bytes), want % .20x (%d bytes)",
				i, key, got.Values[i], len(got.Values[i]), values[i], len(values[i]))
		}
	}
}

// A Carrier is one of the ways to the objects of a namespace.
type Carrier struct {
	Name     string
	Protocol int
	Number   uint32 // in the statistics
	Header   int    // bytes of a message before its first attribute
}

// The ways to the objects of a namespace.
var (
	RawCarrier  = &Carrier{"raw", NetlinkTest, 1, 16}
	GenlCarrier = &Carrier{"genl", unix.NETLINK_GENERIC, 2, 20}
	RtnlCarrier = &Carrier{"rtnl", unix.NETLINK_ROUTE, 4, 20}
	Carriers    = []*Carrier{RawCarrier, GenlCarrier, RtnlCarrier}
)

// EachCarrier runs a test over each of them. If the module is loaded, the table
// is empty at the beginning, however the test before ended.
func EachCarrier(t *testing.T, f func(t *testing.T, c *Carrier)) {
	t.Helper()
	for _, c := range Carriers {
		t.Run(c.Name, func(t *testing.T) {
			if Loaded() {
				tb := OpenTable(t, RawCarrier)
				tb.Must(t, DelObjects(""))
				tb.Close() // or it would hold the module
			}
			f(t, c)
		})
	}
}

// ObjectRequest is a request about objects, whatever the carrier.
type ObjectRequest struct {
	Op    int
	Flags uint16 // as in nlmsg_flags; generic netlink has attributes for some
	Attrs []Attr
}

// Key is a key as an attribute.
func Key(s string) Attr { return Attr{ObjectKey, append([]byte(s), 0)} }

// Prefix is a prefix as an attribute.
func Prefix(s string) Attr { return Attr{ObjectPrefix, append([]byte(s), 0)} }

// NewObject makes or changes an object.
func NewObject(flags uint16, key string, values ...[]byte) ObjectRequest {
	r := ObjectRequest{ObjectNew, flags, []Attr{Key(key)}}
	for _, v := range values {
		r.Attrs = append(r.Attrs, Attr{ObjectValue, v})
	}
	return r
}

// DelObject deletes one object.
func DelObject(key string) ObjectRequest { return ObjectRequest{ObjectDel, 0, []Attr{Key(key)}} }

// DelObjects deletes all objects with a prefix.
func DelObjects(prefix string) ObjectRequest {
	return ObjectRequest{ObjectDel, FlagBulk, []Attr{Prefix(prefix)}}
}

// GetObject asks for one object.
func GetObject(key string) ObjectRequest { return ObjectRequest{ObjectGet, 0, []Attr{Key(key)}} }

// GetObjects asks for all objects with a prefix, if there is one.
func GetObjects(flags uint16, prefix ...string) ObjectRequest {
	r := ObjectRequest{ObjectGet, FlagDump | flags, nil}
	for _, p := range prefix {
		r.Attrs = append(r.Attrs, Prefix(p))
	}
	return r
}

// Encode makes a message of a request. Attributes that generic netlink has
// for flags come last, so that the others are where they are elsewhere.
func (c *Carrier) Encode(family uint16, seq uint32, r ObjectRequest) Message {
	m := Message{Flags: r.Flags | unix.NLM_F_REQUEST, Seq: seq}
	attrs := r.Attrs
	switch c {
	case RawCarrier:
		m.Type = uint16(rawObjects + r.Op)
	case RtnlCarrier:
		m.Type = uint16(rtnlObjects + r.Op)
		m.Body = []byte{rtnlFamily, 0, 0, 0}
	case GenlCarrier:
		m.Type = family
		m.Body = []byte{byte(genlObjects + r.Op), 1, 0, 0}
		attrs = attrs[:len(attrs):len(attrs)]
		switch own := m.Flags & 0xf00; r.Op {
		case ObjectNew:
			m.Flags &^= 0xf00
			if own != 0 {
				attrs = append(attrs, Attr{ObjectFlags, U32(uint32(own))})
			}
		case ObjectDel:
			m.Flags &^= FlagBulk
		case ObjectGet:
			m.Flags &^= FlagAtomic
			if own&FlagAtomic != 0 {
				attrs = append(attrs, Attr{ObjectAtomic, nil})
			}
		}
	}
	for _, a := range attrs {
		m.Body = append(m.Body, a.Bytes()...)
	}
	return m
}

// A Table is a socket that asks about objects over one carrier. Only one
// goroutine may use it at a time.
type Table struct {
	*Socket
	Carrier *Carrier
	family  uint16
	seq     uint32
}

// OpenTable makes a Table.
func OpenTable(t testing.TB, c *Carrier) *Table {
	t.Helper()
	return NewTable(t, c, Open(t, c.Protocol, 0, 0))
}

// NewTable makes a Table of a socket of the carrier's protocol.
func NewTable(t testing.TB, c *Carrier, s *Socket) *Table {
	t.Helper()
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	return &Table{Socket: s, Carrier: c, family: Nlpeer(t).ID}
}

// Small lets a dump come in datagrams as small as the kernel makes them. The
// first is made when it is asked for, each of the others when the one before it
// is read.
func (tb *Table) Small() *Table {
	tb.buf = make([]byte, 17<<10)
	return tb
}

// Encode makes a message of a request, with a sequence number of its own.
func (tb *Table) Encode(r ObjectRequest) Message {
	tb.seq++
	return tb.Carrier.Encode(tb.family, tb.seq, r)
}

// Last is the sequence number of the last request.
func (tb *Table) Last() uint32 { return tb.seq }

// Ask sends a request with NLM_F_ACK and returns what came before the
// acknowledgment, and that.
func (tb *Table) Ask(t testing.TB, r ObjectRequest) ([]Message, Ack) {
	t.Helper()
	r.Flags |= unix.NLM_F_ACK
	req := tb.Encode(r)
	tb.Send(t, req.Bytes())
	var before []Message
	for {
		m := tb.RecvOne(t)
		if m.Type == unix.NLMSG_ERROR {
			return before, ParseAck(t, m, req)
		}
		before = append(before, m)
	}
}

// Must is Ask for a request that may not fail and has no answer.
func (tb *Table) Must(t testing.TB, r ObjectRequest) {
	t.Helper()
	before, ack := tb.Ask(t, r)
	if ack.Errno != 0 || ack.Text != "" {
		t.Fatalf("%+v: %v: %s", r, ack.Errno, ack.Text)
	}
	if before != nil {
		t.Fatalf("%+v has an answer: %+v", r, before)
	}
}

// Object takes an answer to ObjectGet apart, or what rtnetlink echoes: del for
// a deletion.
func (tb *Table) Object(t testing.TB, m Message, flags uint16, del bool) Object {
	t.Helper()
	if m.Seq != tb.seq || m.PortID != tb.PortID || m.Flags != flags {
		t.Fatalf("object with sequence number %d, port ID %d, flags %#x, want %d, %d, %#x",
			m.Seq, m.PortID, m.Flags, tb.seq, tb.PortID, flags)
	}
	typ, header, body := uint16(rawObjects), [4]byte{}, m.Body
	switch tb.Carrier {
	case GenlCarrier:
		typ, header = tb.family, [4]byte{genlObjects + ObjectGet, 1}
	case RtnlCarrier:
		typ, header = rtnlObjects, [4]byte{rtnlFamily}
		if del {
			typ++
		}
	}
	if n := tb.Carrier.Header - 16; n > 0 {
		if len(body) < n || [4]byte(body[:n]) != header {
			t.Fatalf("header % x, want % x", body[:min(n, len(body))], header)
		}
		body = body[n:]
	}
	if m.Type != typ {
		t.Fatalf("object of type %d, want %d", m.Type, typ)
	}
	return ParseObject(t, Attrs(t, body))
}

// Get gets one object; the error is in the acknowledgment.
func (tb *Table) Get(t testing.TB, key string) (Object, Ack) {
	t.Helper()
	before, ack := tb.Ask(t, GetObject(key))
	if ack.Errno != 0 {
		if before != nil {
			t.Fatalf("%v, and an answer: %+v", ack.Errno, before)
		}
		return Object{}, ack
	}
	if len(before) != 1 {
		t.Fatalf("%d answers, want 1: %+v", len(before), before)
	}
	return tb.Object(t, before[0], 0, false), ack
}

// All gets all objects.
func (tb *Table) All(t testing.TB) []Object {
	t.Helper()
	d := tb.Begin(t, GetObjects(0))
	d.Finish(t)
	if d.Errno != 0 || d.Interrupted {
		t.Fatalf("dump: %v, interrupted %v: %s", d.Errno, d.Interrupted, d.Text)
	}
	return d.Objects
}

// A Dump is an answer of many messages as far as it was read.
type Dump struct {
	Objects     []Object
	Datagrams   int
	Nothing     int  // messages NLMSG_NOOP
	Done        bool // all was read
	Interrupted bool // NLM_F_DUMP_INTR was set in a message
	Errno       unix.Errno
	Text        string

	table    *Table
	req      Message
	filtered uint16
}

// Begin asks for a dump, of which nothing is read yet.
func (tb *Table) Begin(t testing.TB, r ObjectRequest) *Dump {
	t.Helper()
	d := &Dump{table: tb, req: tb.Encode(r)}
	for _, a := range r.Attrs {
		if a.Type == ObjectPrefix {
			d.filtered = unix.NLM_F_DUMP_FILTERED
		}
	}
	tb.Send(t, d.req.Bytes())
	return d
}

// Next reads one datagram. An error may come in a message of its own or in
// that which ends the dump, as the carrier has it.
func (d *Dump) Next(t testing.TB) {
	t.Helper()
	if d.Done {
		t.Fatal("the dump is over")
	}
	d.Datagrams++
	for _, m := range Parse(t, d.table.Recv(t)) {
		if d.Done {
			t.Fatalf("%+v after the end of the dump", m)
		}
		if m.Type == unix.NLMSG_ERROR {
			a := ParseAck(t, m, d.req)
			d.Errno, d.Text, d.Done = a.Errno, a.Text, true
			if len(d.Objects) > 0 || d.Errno == 0 {
				t.Fatalf("an acknowledgment in a dump: %+v", a)
			}
			continue
		}
		if m.Flags&unix.NLM_F_DUMP_INTR != 0 {
			d.Interrupted = true
			m.Flags &^= unix.NLM_F_DUMP_INTR
		}
		switch m.Type {
		case unix.NLMSG_DONE:
			if m.Seq != d.req.Seq || m.PortID != d.table.PortID || m.Flags&^unix.NLM_F_ACK_TLVS != unix.NLM_F_MULTI || len(m.Body) < 4 {
				t.Fatalf("end of a dump: %+v", m)
			}
			d.Done = true
			d.Errno = unix.Errno(-int32(native.Uint32(m.Body)))
			if m.Flags&unix.NLM_F_ACK_TLVS == 0 {
				continue
			}
			for _, a := range Attrs(t, m.Body[4:]) {
				if a.Type == unix.NLMSGERR_ATTR_MSG {
					d.Text = unix.ByteSliceToString(a.Data)
				}
			}
		case unix.NLMSG_NOOP:
			if m.Seq != d.req.Seq || m.PortID != d.table.PortID || m.Flags != unix.NLM_F_MULTI || len(m.Body) != 0 {
				t.Fatalf("nothing in a dump: %+v", m)
			}
			d.Nothing++
		default:
			d.Objects = append(d.Objects, d.table.Object(t, m, unix.NLM_F_MULTI|d.filtered, false))
		}
	}
}

// Finish reads to the end, after which nothing may come.
func (d *Dump) Finish(t testing.TB) {
	t.Helper()
	for !d.Done {
		d.Next(t)
	}
	d.table.Empty(t)
}

// ObjectEvent is an event about an object, taken apart, with what is in the
// header of its message.
type ObjectEvent struct {
	Group  uint32
	Seq    uint64
	Kind   uint32
	Object Object

	Type     uint16
	HeadSeq  uint32
	HeadPort uint32
}

// ParseObjectEvent wants each attribute once, in the order of spec/.
func ParseObjectEvent(t testing.TB, attrs []Attr) ObjectEvent {
	t.Helper()
	const pad = 6
	want := []struct{ typ, n int }{{1, 4}, {2, 8}, {3, 8}, {4, 4}, {7, -1}}
	var got []Attr
	for _, a := range attrs {
		if a.Type != pad || len(a.Data) != 0 {
			got = append(got, a)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("event of %d attributes, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if a := got[i]; int(a.Type) != w.typ || w.n >= 0 && len(a.Data) != w.n {
			t.Fatalf("attribute %d of an event has type %d and %d bytes, want %+v", i, a.Type, len(a.Data), w)
		}
	}
	return ObjectEvent{
		Group:  native.Uint32(got[0].Data),
		Seq:    native.Uint64(got[1].Data),
		Kind:   native.Uint32(got[3].Data),
		Object: ParseObject(t, Attrs(t, got[4].Data)),
	}
}

// ObjectEvent takes the message of an event apart, that came over raw or
// generic netlink.
func (c *Carrier) ObjectEvent(t testing.TB, m Message) ObjectEvent {
	t.Helper()
	body := m.Body
	if m.Flags != 0 {
		t.Errorf("event with flags %#x", m.Flags)
	}
	if c == GenlCarrier {
		if len(body) < 4 || [4]byte(body[:4]) != [4]byte{CmdEvent, 1} {
			t.Fatalf("generic netlink header % x", body[:min(4, len(body))])
		}
		body = body[4:]
	} else if m.Type != MsgEvent {
		t.Fatalf("event of type %d, want %d", m.Type, MsgEvent)
	}
	e := ParseObjectEvent(t, Attrs(t, body))
	if want := map[*Carrier]uint32{RawCarrier: RawGroupObjects, GenlCarrier: GenlGroupObjects}[c]; e.Group != want {
		t.Errorf("event of group %d, want %d", e.Group, want)
	}
	e.Type, e.HeadSeq, e.HeadPort = m.Type, m.Seq, m.PortID
	return e
}

// JoinObjects makes a socket a member of the carrier's group of objects.
func (c *Carrier) JoinObjects(t testing.TB, s *Socket) {
	t.Helper()
	group := RawGroupObjects
	if c == GenlCarrier {
		group = int(Nlpeer(t).Groups["objects"])
	}
	s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, group)
}

// TableStats is what the statistics say about objects and their history.
type TableStats struct {
	Count, CountMax, Snapshots  uint32
	Bytes, BytesMax, Generation uint64

	Held, Size                uint32 // events in the history
	HistBytes, HistBytesMax   uint64
	Errors                    map[uint32]map[unix.Errno]uint64 // of each carrier
	Requests, Replies, TxByte map[uint32]uint64
}

// TableStats reads the statistics.
func (c *Control) TableStats(t testing.TB) TableStats {
	t.Helper()
	s := TableStats{
		Errors: map[uint32]map[unix.Errno]uint64{}, Requests: map[uint32]uint64{},
		Replies: map[uint32]uint64{}, TxByte: map[uint32]uint64{},
	}
	reply, ack := c.Request(t, CmdStatsGet)
	if ack.Errno != 0 {
		t.Fatalf("stats-get: %v: %s", ack.Errno, ack.Text)
	}
	number := func(a Attr) uint64 {
		if len(a.Data) == 8 {
			return native.Uint64(a.Data)
		}
		return uint64(native.Uint32(a.Data))
	}
	for _, nest := range reply {
		v := map[uint16]uint64{}
		errors := map[unix.Errno]uint64{}
		for _, a := range Attrs(t, nest.Data) {
			if nest.Type == 1 && a.Type == 10 {
				e := map[uint16]uint64{}
				for _, x := range Attrs(t, a.Data) {
					if len(x.Data) > 0 {
						e[x.Type] = number(x)
					}
				}
				errors[unix.Errno(e[1])] = e[2]
			} else if len(a.Data) > 0 {
				v[a.Type] = number(a)
			}
		}
		switch nest.Type {
		case 1:
			n := uint32(v[1])
			s.Requests[n], s.Replies[n], s.TxByte[n], s.Errors[n] = v[2], v[3], v[6], errors
		case 3:
			s.Size, s.Held, s.HistBytes, s.HistBytesMax = uint32(v[1]), uint32(v[2]), v[3], v[4]
		case 4:
			s.Count, s.CountMax, s.Bytes, s.BytesMax = uint32(v[1]), uint32(v[2]), v[3], v[4]
			s.Generation, s.Snapshots = v[5], uint32(v[6])
		}
	}
	return s
}

// S32 is the errno at the beginning of a message's body, negative.
func S32(b []byte) int32 { return int32(native.Uint32(b)) }

// NumberedKey is the key of object i of FillObjects: their order is that of i.
func NumberedKey(i int) string { return fmt.Sprintf("%08x", i) }

// FillObjects makes n objects, many in one send, and no answer.
func FillObjects(t testing.TB, tb *Table, n int, value []byte) {
	t.Helper()
	const batch = 250
	for i := 0; i < n; {
		var b []byte
		for range batch {
			b = append(b, tb.Encode(NewObject(FlagCreate|FlagExcl, NumberedKey(i), value)).Bytes()...)
			if i++; i == n {
				break
			}
		}
		tb.Send(t, b)
	}
	tb.Empty(t)
}
