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
	err := e.Parse(attrs)
	return e, err
}

// Parse is [ParseEvent] into e, which costs less where e is used again.
func (e *Event) Parse(attrs []byte) error {
	if e.parseTick(attrs) {
		return nil
	}
	*e = Event{}
	if err := e.parse(attrs); err != nil {
		*e = Event{}
		return err
	}
	return nil
}

// tickLen is the length of the attributes of a tick before its data.
const tickLen = 40

// parseTick decodes attributes that are those of a tick as the kernel sends it:
// group, seq, time, kind and data, and no others. It reports whether they are.
func (e *Event) parseTick(attrs []byte) bool {
	if len(attrs) < tickLen+AttrHeaderLen {
		return false
	}
	a, native := (*[tickLen + AttrHeaderLen]byte)(attrs), binary.NativeEndian
	n := int(native.Uint16(a[tickLen:]))
	if native.Uint16(a[0:]) != 8 || native.Uint16(a[2:]) != AttrEventGroup ||
		native.Uint16(a[8:]) != 12 || native.Uint16(a[10:]) != AttrEventSeq ||
		native.Uint16(a[20:]) != 12 || native.Uint16(a[22:]) != AttrEventTime ||
		native.Uint16(a[32:]) != 8 || native.Uint16(a[34:]) != AttrEventKind ||
		native.Uint16(a[tickLen+2:]) != AttrEventData {
		return false
	}
	if n += tickLen; n < len(a) || n > len(attrs) || Align(n) < len(attrs) {
		return false
	}
	e.Group, e.Seq, e.Time = native.Uint32(a[4:]), native.Uint64(a[12:]), native.Uint64(a[24:])
	e.Kind = Kind(native.Uint32(a[36:]))
	e.Data = attrs[len(a):n:n]
	e.Object = Object{}
	return true
}

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
