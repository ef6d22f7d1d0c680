// SPDX-License-Identifier: MIT

package explain

import "nlpeer/pkg/wire"

// A Direction says which way a datagram went.
type Direction int

// The directions. Who looks at a file may not know.
const (
	Unknown Direction = iota
	Sent
	Received
)

// String returns "sent", "received" or "unknown".
func (d Direction) String() string {
	switch d {
	case Sent:
		return "sent"
	case Received:
		return "received"
	}
	return "unknown"
}

// A Datagram is what crosses a socket at a time: messages, one after the other.
type Datagram struct {
	// Protocol is the netlink protocol, the third argument of socket(2).
	Protocol int
	// Direction says which way it went, as seen by the program.
	Direction Direction
	// Data are its bytes. What is decoded holds views of them.
	Data []byte
}

// A Message is one message of a datagram, taken apart.
type Message struct {
	// Protocol and Direction are those of the datagram.
	Protocol  int
	Direction Direction
	// Offset is where it begins in the datagram, Size how many bytes of the
	// datagram are its own, padding included.
	Offset, Size int
	// Header is its header, zero as far as the bytes are missing.
	Header wire.Header
	// Summary says in a few words what it is, such as "NETLINK_TEST echo".
	Summary string
	// Fields are what it consists of, in the order of their bytes.
	Fields []Field
}

// Problems returns the number of fields that have a problem.
func (m *Message) Problems() int {
	n := 0
	for i := range m.Fields {
		if m.Fields[i].Problem != "" {
			n++
		}
	}
	return n
}

// A Kind says what a field is.
type Kind int

const (
	// Heading begins a header or an attribute. It has no bytes.
	Heading Kind = iota
	// Value is a value with a name.
	Value
	// Padding fills up to an alignment and means nothing.
	Padding
	// Rest is what can not be interpreted: bytes left over, or after a length
	// that does not fit.
	Rest
)

// String returns "heading", "value", "padding" or "rest".
func (k Kind) String() string {
	switch k {
	case Heading:
		return "heading"
	case Value:
		return "value"
	case Padding:
		return "padding"
	}
	return "rest"
}

// A Field is a piece of a message.
type Field struct {
	Kind Kind
	// Offset is where it begins in the datagram, Bytes what it consists of, a
	// view. A value may have no bytes.
	Offset int
	Bytes  []byte
	// Depth is 0 for what belongs to the message itself, and one more in each
	// nest and in a quoted request.
	Depth int
	// Name is what it is called: as in linux/netlink.h, or for the value of an
	// attribute as in the specification.
	Name string
	// Value is a uint64, an int64 or a string; nil if it is neither.
	Value any
	// Meaning says what the bytes mean.
	Meaning string
	// Problem says what is wrong with it, "" if nothing is.
	Problem string
}

// A Decoder decodes datagrams. The zero value is ready to use. It learns from
// what it sees: the numbers of generic netlink families from the answers of
// nlctrl, and requests, so that it can say what an acknowledgment is about. Give
// it the datagrams in their order. It is not safe for concurrent use.
type Decoder struct {
	// RawProtocol is the number of the raw protocol, if the module was loaded
	// with another than [wire.NetlinkTest]; 0 means that.
	RawProtocol int

	families map[uint16]string
	requests map[requestKey]request
}

// requestKey finds a request by what its answer has of it.
type requestKey struct {
	protocol int
	seq      uint32
}

// request is what is kept of a request that was seen.
type request struct {
	names map[uint32]string // of the attributes by their offsets
	table *table
	set   string
}

// maxRequests bounds how many requests are kept.
const maxRequests = 1024

// AddFamily tells the number of a generic netlink family, for streams in which
// nlctrl does not tell it.
func (d *Decoder) AddFamily(id uint16, name string) {
	if d.families == nil {
		d.families = make(map[uint16]string)
	}
	d.families[id] = name
}

// Decode takes a datagram apart. An empty one has no messages. The last message
// may be cut short, and then says so.
func (d *Decoder) Decode(dg Datagram) []Message {
	var all []Message
	for at := 0; at < len(dg.Data); {
		w := walker{
			d:    d,
			data: dg.Data,
			at:   at,
			m:    &Message{Protocol: dg.Protocol, Direction: dg.Direction, Offset: at},
		}
		w.message()
		w.m.Size = w.at - at
		at = w.at
		d.remember(&w)
		all = append(all, *w.m)
	}
	return all
}

// remember keeps what a later acknowledgment may refer to.
func (d *Decoder) remember(w *walker) {
	h := w.m.Header
	if w.m.Direction == Received || h.Flags&wire.FlagRequest == 0 || h.Type < wire.MsgMin {
		return
	}
	if len(d.requests) >= maxRequests {
		clear(d.requests)
	}
	if d.requests == nil {
		d.requests = make(map[requestKey]request)
	}
	d.requests[requestKey{w.m.Protocol, h.Seq}] = request{w.names(0, w.m.Offset), w.table, w.set}
}

// isRaw says that a protocol number stands for NETLINK_TEST here.
func (d *Decoder) isRaw(protocol int) bool {
	if d.RawProtocol != 0 {
		return protocol == d.RawProtocol
	}
	return protocol == wire.NetlinkTest
}

// protocolName is ProtocolName of this Decoder's protocols.
func (d *Decoder) protocolName(protocol int) string {
	switch {
	case d.isRaw(protocol):
		return rawTable.name
	case protocol == wire.NetlinkTest:
		return "protocol " + decimal(protocol)
	}
	return ProtocolName(protocol)
}

// ProtocolName returns the name of a protocol in linux/netlink.h, such as
// "NETLINK_ROUTE", or "protocol N".
func ProtocolName(protocol int) string {
	if protocol == wire.NetlinkTest {
		return rawTable.name
	}
	if name, ok := protocols[protocol]; ok {
		return name
	}
	return "protocol " + decimal(protocol)
}
