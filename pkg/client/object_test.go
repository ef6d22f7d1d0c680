// SPDX-License-Identifier: MIT

package client_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

var objectCarriers = []client.Carrier{client.Raw, client.Generic, client.Rtnl}

// objectBody is what stands before the attributes in a message about objects.
func objectBody(carrier client.Carrier, cmd uint8) []byte {
	switch carrier {
	case client.Generic:
		return wire.AppendGenlHeader(nil, wire.GenlHeader{Command: cmd, Version: wire.FamilyVersion})
	case client.Rtnl:
		return wire.AppendRtnlHeader(nil, wire.RtnlFamily)
	}
	return nil
}

// objectType is the type of a message about objects.
func objectType(carrier client.Carrier, raw, rtnl uint16) uint16 {
	switch carrier {
	case client.Generic:
		return client.UserFamily
	case client.Rtnl:
		return rtnl
	}
	return raw
}

func object(key string, generation uint64, values ...string) wire.Object {
	o := wire.Object{Key: []byte(key), Generation: generation}
	for _, v := range values {
		o.Attrs = wire.AppendValues(o.Attrs, []byte(v))
	}
	return o
}

// objectMessage is one object of an answer.
func objectMessage(carrier client.Carrier, h wire.Header, o wire.Object) []byte {
	h.Type = objectType(carrier, wire.MsgObjectNew, wire.RtnlNew)
	return wire.AppendMessage(nil, h, wire.AppendObject(objectBody(carrier, wire.CmdObjectGet), o))
}

func done(h wire.Header, errno syscall.Errno, ext []byte) []byte {
	h.Type = wire.MsgDone
	if ext != nil {
		h.Flags |= wire.FlagAckTLVs
	}
	return wire.AppendMessage(nil, h, append(binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))), ext...))
}

func TestObjectRequests(t *testing.T) {
	const f = wire.FlagRequest | wire.FlagAck
	key := func(b []byte) []byte { return wire.AppendString(b, wire.AttrObjectKey, "key") }
	prefix := func(b []byte) []byte { return wire.AppendString(b, wire.AttrObjectPrefix, "pre") }
	for _, carrier := range objectCarriers {
		genl := carrier == client.Generic
		flags := func(plain, others uint16) uint16 {
			if genl {
				return plain
			}
			return plain | others
		}
		for _, tt := range []struct {
			name  string
			call  func(c *client.Conn) error
			raw   uint16
			rtnl  uint16
			cmd   uint8
			flags uint16
			attrs []byte
			gets  bool
		}{
			{
				name: "new",
				call: func(c *client.Conn) error {
					return c.NewObject(background(t), "key", wire.ModifierCreate|wire.ModifierAppend, []byte("one"), nil)
				},
				raw: 20, rtnl: 72, cmd: 7, flags: flags(f, 0xc00),
				attrs: func() []byte {
					b := key(nil)
					if genl {
						b = wire.AppendUint32(b, wire.AttrObjectFlags, 0xc00)
					}
					return wire.AppendValues(b, []byte("one"), nil)
				}(),
			},
			{
				name: "delete", call: func(c *client.Conn) error { return c.DeleteObject(background(t), "key") },
				raw: 21, rtnl: 73, cmd: 8, flags: f, attrs: key(nil),
			},
			{
				name: "delete many", call: func(c *client.Conn) error { return c.DeleteObjects(background(t), "pre") },
				raw: 21, rtnl: 73, cmd: 8, flags: flags(f, 0x200), attrs: prefix(nil),
			},
			{
				name: "get",
				call: func(c *client.Conn) error {
					o, err := c.GetObject(background(t), "key")
					diff(t, client.Object{Key: "key", Generation: 9, Values: [][]byte{[]byte("one"), {}}}, o)
					return err
				},
				raw: 22, rtnl: 74, cmd: 9, flags: wire.FlagRequest, attrs: key(nil), gets: true,
			},
			{
				name: "dump",
				call: func(c *client.Conn) (last error) {
					n := 0
					for o, err := range c.Objects(background(t), client.ObjectQuery{Prefix: "pre", Atomic: true}) {
						diff(t, "key", o.Key)
						n, last = n+1, err
					}
					diff(t, 1, n)
					return last
				},
				raw: 22, rtnl: 74, cmd: 9, flags: flags(wire.FlagRequest|wire.FlagDump, wire.FlagAtomic), gets: true,
				attrs: func() []byte {
					if genl {
						return wire.AppendAttr(prefix(nil), wire.AttrObjectAtomic, nil)
					}
					return prefix(nil)
				}(),
			},
		} {
			t.Run(fmt.Sprint(carrier, " ", tt.name), func(t *testing.T) {
				c, u := dialUser(t, client.Config{Carrier: carrier})
				r := async(func() (struct{}, error) { return struct{}{}, tt.call(c) })
				m, from := u.receive()
				want := wire.Message{
					Header: wire.Header{Type: objectType(carrier, tt.raw, tt.rtnl), Flags: tt.flags, Seq: m.Seq},
					Body:   append(objectBody(carrier, tt.cmd), tt.attrs...),
				}
				want.Len = uint32(wire.HeaderLen + len(want.Body))
				diff(t, want, m)
				if tt.gets {
					u.send(from, objectMessage(carrier, wire.Header{Seq: m.Seq, PortID: from}, object("key", 9, "one", "")))
				}
				if tt.flags&wire.FlagAck != 0 {
					u.send(from, ack(m, from, 0, nil))
				} else if tt.name == "dump" {
					u.send(from, done(wire.Header{Seq: m.Seq, PortID: from}, 0, nil))
				}
				if _, err := await(t, r); err != nil {
					t.Error(err)
				}
				diff(t, client.Counters{}, c.Counters())
			})
		}
	}
}

func TestObjectDumpEnds(t *testing.T) {
	ext := string(wire.AppendString(nil, 1, "why not"))
	type part = func(h wire.Header) []byte
	for _, carrier := range objectCarriers {
		one := func(key string, flags uint16) part {
			return func(h wire.Header) []byte {
				h.Flags |= flags
				return objectMessage(carrier, h, object(key, 1))
			}
		}
		end := func(flags uint16, errno syscall.Errno, ext []byte) part {
			return func(h wire.Header) []byte { h.Flags |= flags; return done(h, errno, ext) }
		}
		noop := func(h wire.Header) []byte {
			h.Type = wire.MsgNoop
			return wire.AppendMessage(nil, h, nil)
		}
		for name, tt := range map[string]struct {
			parts []part
			keys  []string
			err   error
			text  string
		}{
			"whole":                        {parts: []part{one("a", 0), one("b", 0), end(0, 0, nil)}, keys: []string{"a", "b"}},
			"nothing":                      {parts: []part{end(0, 0, nil)}},
			"a buffer with nothing":        {parts: []part{noop, one("a", 0), end(0, 0, nil)}, keys: []string{"a"}},
			"interrupted":                  {parts: []part{one("a", 0), one("b", wire.FlagDumpIntr), one("c", 0), end(0, 0, nil)}, keys: []string{"a", "b", "c"}, err: client.ErrDumpInterrupted},
			"interrupted in the end":       {parts: []part{one("a", 0), end(wire.FlagDumpIntr, 0, nil)}, keys: []string{"a"}, err: client.ErrDumpInterrupted},
			"interrupted in an empty part": {parts: []part{func(h wire.Header) []byte { h.Flags |= wire.FlagDumpIntr; return noop(h) }, end(0, 0, nil)}, err: client.ErrDumpInterrupted},
			"error in the end":             {parts: []part{one("a", 0), end(0, syscall.EBUSY, []byte(ext))}, keys: []string{"a"}, err: syscall.EBUSY, text: "object-get: device or resource busy: why not"},
			"refused": {parts: []part{func(h wire.Header) []byte {
				return ack(wire.Message{Header: wire.Header{Seq: h.Seq}}, h.PortID, syscall.EPERM, []byte(ext))
			}}, err: syscall.EPERM, text: "object-get: operation not permitted: why not"},
			"no object": {parts: []part{func(h wire.Header) []byte {
				h.Type = objectType(carrier, wire.MsgObjectNew, wire.RtnlNew)
				return wire.AppendMessage(nil, h, objectBody(carrier, wire.CmdObjectGet))
			}, end(0, 0, nil)}, err: wire.ErrMissing},
			"another type": {parts: []part{func(h wire.Header) []byte { h.Type = 0x99; return wire.AppendMessage(nil, h, nil) }, end(0, 0, nil)}, err: syscall.EBADMSG},
		} {
			t.Run(fmt.Sprint(carrier, " ", name), func(t *testing.T) {
				c, u := dialUser(t, client.Config{Carrier: carrier})
				type got struct {
					keys []string
					err  error
				}
				r := async(func() (g got, _ error) {
					for o, err := range c.Objects(background(t), client.ObjectQuery{}) {
						if g.err != nil {
							t.Errorf("%v is not the last", g.err)
						}
						if g.err = err; err == nil {
							g.keys = append(g.keys, o.Key)
						}
					}
					return g, nil
				})
				m, from := u.receive()
				// Who does not understand an answer does not wait for the rest.
				var all []byte
				for _, p := range tt.parts {
					all = append(all, p(wire.Header{Flags: wire.FlagMulti, Seq: m.Seq, PortID: from})...)
				}
				u.send(from, all)
				g, _ := await(t, r)
				diff(t, tt.keys, g.keys, cmpopts.EquateEmpty())
				if tt.err == nil && g.err != nil || !errors.Is(g.err, tt.err) {
					t.Errorf("error is %v, want %v", g.err, tt.err)
				}
				if tt.err != nil {
					wantError(t, g.err, tt.err)
				}
				if tt.text != "" {
					diff(t, tt.text, g.err.Error())
				}

				next := async(func() (client.Object, error) { return c.GetObject(background(t), "next") })
				m, from = u.receive()
				u.send(from, objectMessage(carrier, wire.Header{Seq: m.Seq, PortID: from}, object("next", 2)))
				if o, err := await(t, next); err != nil || o.Key != "next" || o.Generation != 2 {
					t.Errorf("the next call: %+v, %v", o, err)
				}
			})
		}
	}
}

// However the body of a loop is left, the dump does not stay behind: the kernel would
// refuse the next one.
func TestDumpIsLeftByPanic(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("left") }, "Goexit": runtime.Goexit} {
		for dump, begin := range map[string]func(c *client.Conn) error{
			"Objects": func(c *client.Conn) (err error) {
				for _, err = range c.Objects(background(t), client.ObjectQuery{}) {
					leave()
				}
				return err
			},
			"EventsSince": func(c *client.Conn) (err error) {
				for _, err = range c.EventsSince(background(t), 1, 0) {
					leave()
				}
				return err
			},
		} {
			t.Run(dump+"/"+name, func(t *testing.T) {
				c, u := dialUser(t, client.Config{Carrier: client.Generic})
				left := make(chan struct{})
				go func() {
					defer close(left)
					defer func() { recover() }()
					err := begin(c)
					t.Errorf("the loop ended: %v", err)
				}()
				m, from := u.receive()
				h := wire.Header{Type: client.UserFamily, Flags: wire.FlagMulti, Seq: m.Seq, PortID: from}
				var part []byte
				for seq := range uint64(2) {
					if dump == "Objects" {
						part = append(part, objectMessage(client.Generic, h, object("key", seq+1))...)
					} else {
						b := wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEventGet, Version: wire.FamilyVersion})
						part = wire.AppendMessage(part, h, wire.AppendEvent(b, beacon(1, seq+1)))
					}
				}
				u.send(from, append(part, done(h, 0, nil)...))
				<-left

				echo, m := startEcho(background(t), c, u, "")
				u.send(from, answer(m, from, m.Body))
				if _, err := await(t, echo); err != nil {
					t.Error(err)
				}
				diff(t, client.Counters{}, c.Counters())
			})
		}
	}
}

// An answer about something else is none.
func TestObjectAnswers(t *testing.T) {
	for _, carrier := range objectCarriers {
		c, u := dialUser(t, client.Config{Carrier: carrier})
		for name, damage := range map[string]func(h wire.Header, b []byte) []byte{
			"another key": func(h wire.Header, _ []byte) []byte { return objectMessage(carrier, h, object("yek", 1)) },
			"no key": func(h wire.Header, b []byte) []byte {
				h.Type = objectType(carrier, wire.MsgObjectNew, wire.RtnlNew)
				return wire.AppendMessage(nil, h, objectBody(carrier, wire.CmdObjectGet))
			},
			"another header": func(h wire.Header, b []byte) []byte {
				if carrier == client.Raw {
					b[4]++ // it has no other
				} else {
					b[wire.HeaderLen]++
				}
				return b
			},
		} {
			r := async(func() (client.Object, error) { return c.GetObject(background(t), "key") })
			m, from := u.receive()
			h := wire.Header{Seq: m.Seq, PortID: from}
			u.send(from, damage(h, objectMessage(carrier, h, object("key", 1))))
			o, err := await(t, r)
			wantError(t, err)
			if o.Key != "" {
				t.Errorf("%v, %s: %+v", carrier, name, o)
			}
		}
	}
}

func TestObjectsOfAProcess(t *testing.T) {
	c, _ := dialUser(t, client.Config{Carrier: client.UserSock, To: 1})
	_, err := c.GetObject(background(t), "key")
	wantError(t, err, syscall.EINVAL)
	c, _ = dialUser(t, client.Config{Carrier: client.Connector})
	for _, err := range c.Objects(background(t), client.ObjectQuery{}) {
		wantError(t, err, syscall.EOPNOTSUPP, errors.ErrUnsupported)
	}
}

// cnAnswer is what the connector makes of a request.
func cnAnswer(m wire.Message, change func(*wire.ConnectorHeader)) []byte {
	h, data, _ := wire.ParseConnector(m.Body)
	change(&h)
	return wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone, Seq: m.Seq}, wire.AppendConnector(nil, h, data))
}

func TestConnectorEcho(t *testing.T) {
	c, u := dialUser(t, client.Config{Carrier: client.Connector})
	r, m := startEcho(background(t), c, u, "hello")
	h, data, err := wire.ParseConnector(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: m.Seq, Ack: h.Ack, Len: 5}, h)
	diff(t, "hello", string(data))
	diff(t, uint16(0), m.Flags)

	for _, change := range []func(h *wire.ConnectorHeader){
		func(h *wire.ConnectorHeader) { h.Idx++ }, func(h *wire.ConnectorHeader) { h.Val++ },
		func(h *wire.ConnectorHeader) { h.Ack++ }, func(h *wire.ConnectorHeader) { h.Seq-- },
	} {
		u.send(c.PortID(), cnAnswer(m, change))
	}
	u.send(c.PortID(), wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone, Seq: m.Seq}, m.Body[:19]))
	u.send(c.PortID(), cnAnswer(m, func(*wire.ConnectorHeader) {}))
	got, err := await(t, r)
	if err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v", got, err)
	}
	diff(t, client.Counters{Stale: 1, Foreign: 4}, c.Counters())

	_, err = c.Echo(background(t), make([]byte, wire.CnPayloadMax+1))
	wantError(t, err, syscall.EMSGSIZE)
	diff(t, "echo: payload of 16365 bytes is longer than 16364", err.Error())
}

func TestConnectorEchoAllocatesNothing(t *testing.T) {
	c := dialSelf(t, client.Config{Carrier: client.Connector})
	ctx := background(t)
	payload := []byte("sixteen bytes are")
	if n := testing.AllocsPerRun(200, func() {
		if got, err := c.Echo(ctx, payload); err != nil || len(got) != len(payload) {
			t.Fatal(len(got), err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	diff(t, client.Counters{}, c.Counters())
}

func TestRtnlEcho(t *testing.T) {
	c, u := dialUser(t, client.Config{Carrier: client.Rtnl})
	r, m := startEcho(background(t), c, u, "hello")
	diff(t, wire.AppendAttr([]byte{wire.RtnlFamily, 0, 0, 0}, wire.AttrObjectPayload, []byte("hello")), m.Body)
	if m.Type != 74 || m.Flags != wire.FlagRequest {
		t.Errorf("%+v", m.Header)
	}
	m.Type = 72
	u.send(c.PortID(), answer(m, c.PortID(), m.Body))
	if got, err := await(t, r); err != nil || string(got) != "hello" {
		t.Errorf("got %q, error %v", got, err)
	}

	// The kernel's own words for a family that it does not know.
	r, m = startEcho(background(t), c, u, "gone")
	u.send(c.PortID(), ack(m, c.PortID(), syscall.EOPNOTSUPP, nil))
	_, err := await(t, r)
	wantError(t, err, client.ErrNotLoaded, syscall.EOPNOTSUPP)
	r, m = startEcho(background(t), c, u, "refused")
	u.send(c.PortID(), ack(m, c.PortID(), syscall.EOPNOTSUPP, wire.AppendString(nil, 1, "because")))
	if _, err = await(t, r); errors.Is(err, client.ErrNotLoaded) {
		t.Errorf("with a text of the module: %v", err)
	}
}

func about(kind wire.Kind, group uint32, seq uint64, o wire.Object) wire.Event {
	return wire.Event{Group: group, Seq: seq, Time: seq * 1000, Kind: kind, Object: o}
}

// An event's object outlives the iteration once it is cloned.
func TestEventObject(t *testing.T) {
	for _, carrier := range []client.Carrier{client.Raw, client.Generic, client.Connector} {
		s, u := subscribeUser(t, client.Config{Carrier: carrier})
		large := object("large", 1, string(make([]byte, 4096)), string(make([]byte, 4096)), string(make([]byte, 4096)), string(make([]byte, 4080)))
		u.multicast(1, event(carrier, about(wire.KindObjectNew, 1, 1, large)))
		u.multicast(1, event(carrier, about(wire.KindObjectDel, 1, 2, object("key", 2))))
		got, errs := take(t, s, 2)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(carrier, err)
		}
		if !got[0].Object.Object.Equal(large) || got[0].Data != nil {
			t.Errorf("%v: %+v", carrier, got[0])
		}
		diff(t, client.Object{Key: "key", Generation: 2}, got[1].Object.Clone())
	}
}

// What others put on the connector is no event.
func TestConnectorEvents(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Carrier: client.Connector})
	b := wire.AppendEvent(nil, beacon(1, 1))
	u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone}, wire.AppendConnector(nil, wire.ConnectorHeader{Idx: 1, Val: 1}, b)))
	u.multicast(1, wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone}, b[:8]))
	u.multicast(1, event(client.Connector, beacon(1, 2)))
	wantEvents(t, s, received(beacon(1, 2), 0))
	if st := s.Stats(); st.Unknown != 2 || st.Received != 1 {
		t.Errorf("%+v", st)
	}
}

func last(group uint32, seq uint64) wire.Event {
	return wire.Event{Group: group, Seq: seq, Time: seq * 1000, Kind: wire.KindEnd, Data: []byte{}}
}

// The end is not before all groups have ended, and what is missing before it is
// asked for, and counted.
func TestEnd(t *testing.T) {
	s, live, history := subscribeAsking(t, client.Config{Carrier: client.Generic, Groups: 3})
	served := serveEvents(t, history, dump{events: beacons(2, 8, 8)})
	for _, e := range []wire.Event{beacon(1, 1), beacon(2, 5), last(1, 2), last(2, 9)} {
		live.multicast(1<<(e.Group-1), event(client.Generic, e))
	}
	events, errs := take(t, s, 4)
	diff(t, []client.Event{received(beacon(1, 1), 0), received(beacon(2, 5), 0), recovered(beacon(2, 8), 2), {}}, events, cmpopts.EquateEmpty())
	wantError(t, errs[3], client.ErrEnded)
	if err := errors.Join(errs[:3]...); err != nil {
		t.Error(err)
	}
	wantAsked(t, served, since{2, 5})
	diff(t, client.SubscriptionStats{
		Received: 2, Recovered: 1, Lost: 2,
		Groups: []client.GroupStats{
			{NSID: client.OwnNSID, Group: 1, Received: 1}, {NSID: client.OwnNSID, Group: 2, Received: 1, Recovered: 1, Lost: 2},
		},
	}, s.Stats())
	n := 0
	for _, err := range s.Events(background(t)) {
		n++
		wantError(t, err, client.ErrEnded)
	}
	diff(t, 1, n)
}

// While one group has not ended, the iteration waits for it.
func TestEndOfOneGroup(t *testing.T) {
	s, u := subscribeUser(t, client.Config{Groups: 3})
	u.multicast(1, event(client.Raw, last(1, 1)))
	r := async(func() (e client.Event, err error) {
		for e, err = range s.Events(background(t)) {
			return e.Clone(), err
		}
		return e, err
	})
	eventually(t, "the end was read and the iteration waits", func() bool { return s.Waiting() == 1 && len(s.Stats().Groups) == 1 })
	u.multicast(2, event(client.Raw, beacon(2, 1)))
	e, err := await(t, r)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, received(beacon(2, 1), 0), e)
	u.multicast(2, event(client.Raw, last(2, 2)))
	_, errs := take(t, s, 1)
	wantError(t, errs[0], client.ErrEnded)
}
