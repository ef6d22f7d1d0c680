// SPDX-License-Identifier: MIT

package wire

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
	var have uint
	for len(attrs) > 0 {
		a, rest, err := NextAttr(attrs)
		if err != nil {
			return Event{}, err
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
			return Event{}, err
		}
	}
	if have != 15 {
		return Event{}, ErrMissing
	}
	return e, nil
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
