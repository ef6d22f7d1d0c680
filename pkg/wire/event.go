// SPDX-License-Identifier: MIT

package wire

import "encoding/binary"

// An Event is one event of a multicast group, the same on every carrier.
type Event struct {
	// Group is the group it was sent to: 1 to 32 on the raw protocol,
	// [GroupBeacon] or [GroupObjects] on generic netlink, [GroupConnector] on the
	// connector.
	Group uint32
	// Seq is its number in its group and namespace. Numbers begin at 1 and have
	// no gap in what was sent.
	Seq uint64
	// Time is when it was made, in nanoseconds of CLOCK_BOOTTIME.
	Time uint64
	// Kind says what it is about, and with that what Data hold.
	Kind Kind
	// Data is a view; nil if the event has none.
	Data []byte
	// Object is what the event is about, a view; zero, without a key, if the
	// event has none.
	Object Object
}

// ParseEvent decodes the attributes of an event. Those that it does not know
// are passed over; all but data and object must be there.
//
// It returns [ErrMissing], [ErrValueLength], or an error of [NextAttr], each
// with a zero Event.
func ParseEvent(attrs []byte) (Event, error) {
	var e Event
	if err := e.parse(attrs); err != nil {
		return Event{}, err
	}
	return e, nil
}

// A Tick is a view of an event on the raw protocol that has no object, its message
// header and what stands before its data, as the kernel sends it.
type Tick [HeaderLen + 44]byte

// Where the attributes of a Tick are.
const (
	tickGroup = HeaderLen
	tickSeq   = tickGroup + 8
	tickTime  = tickSeq + 12
	tickKind  = tickTime + 12
	tickData  = tickKind + 8
)

// The headers of a Tick's attributes as they lie in memory.
var (
	tickGroupHead = attrHead(8, AttrEventGroup)
	tickSeqHead   = attrHead(12, AttrEventSeq)
	tickTimeHead  = attrHead(12, AttrEventTime)
	tickKindHead  = attrHead(8, AttrEventKind)
)

func attrHead(n int, typ uint16) uint32 {
	return binary.NativeEndian.Uint32(appendAttrHeader(nil, typ, n-AttrHeaderLen))
}

// ParseTick returns the first message of a datagram on the raw protocol as a Tick,
// its data, and its length, if its type is [MsgEvent] and its attributes are group,
// seq, time, kind and data, in this order, and no others, as nearly all are. Else t
// is nil, and [NextMessage] and [ParseEvent] may know more.
func ParseTick(d []byte) (t *Tick, data []byte, n int) {
	if len(d) < len(t) {
		return nil, nil, 0
	}
	t, native := (*Tick)(d), binary.NativeEndian
	end := tickData + int(native.Uint16(t[tickData:]))
	n = Align(end) // the padding of an attribute counts
	if native.Uint16(t[4:]) != MsgEvent || uint64(native.Uint32(t[0:])) != uint64(n) ||
		native.Uint32(t[tickGroup:]) != tickGroupHead || native.Uint32(t[tickSeq:]) != tickSeqHead ||
		native.Uint32(t[tickTime:]) != tickTimeHead || native.Uint32(t[tickKind:]) != tickKindHead ||
		native.Uint16(t[tickData+2:]) != AttrEventData || end < len(t) || n > len(d) {
		return nil, nil, 0
	}
	return t, d[len(t):end:end], n
}

// Group is [Event].Group.
func (t *Tick) Group() uint32 { return binary.NativeEndian.Uint32(t[tickGroup+4:]) }

// Seq is [Event].Seq.
func (t *Tick) Seq() uint64 { return binary.NativeEndian.Uint64(t[tickSeq+4:]) }

// Time is [Event].Time.
func (t *Tick) Time() uint64 { return binary.NativeEndian.Uint64(t[tickTime+4:]) }

// Kind is [Event].Kind.
func (t *Tick) Kind() Kind { return Kind(binary.NativeEndian.Uint32(t[tickKind+4:])) }

func (e *Event) parse(attrs []byte) error {
	var have uint
	for len(attrs) > 0 {
		a, rest, err := NextAttr(attrs)
		if err != nil {
			return err
		}
		attrs = rest

		switch a.Type {
		case AttrEventGroup:
			e.Group, err = a.Uint32()
			have |= 1
		case AttrEventSeq:
			e.Seq, err = a.Uint64()
			have |= 2
		case AttrEventTime:
			e.Time, err = a.Uint64()
			have |= 4
		case AttrEventKind:
			var k uint32
			k, err = a.Uint32()
			e.Kind = Kind(k)
			have |= 8
		case AttrEventData:
			e.Data = a.Data
		case AttrEventObject:
			e.Object, err = ParseObject(a.Data)
		}
		if err != nil {
			return err
		}
	}
	if have != 15 {
		return ErrMissing
	}
	return nil
}

// AppendEvent appends the attributes of e in the order in which the kernel
// sends them: with its object if that has a key, else with its data. Tests and
// decoders use it; user space sends no events.
func AppendEvent(b []byte, e Event) []byte {
	b = AppendUint32(b, AttrEventGroup, e.Group)
	b = AppendUint64(b, AttrEventSeq, e.Seq)
	b = AppendUint64(b, AttrEventTime, e.Time)
	b = AppendUint32(b, AttrEventKind, uint32(e.Kind))
	if e.Object.Key == nil {
		return AppendAttr(b, AttrEventData, e.Data)
	}
	start := len(b)
	b = BeginNest(b, AttrEventObject)
	b = AppendObject(b, e.Object)
	return EndNest(b, start)
}
