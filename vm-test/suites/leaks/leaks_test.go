// SPDX-License-Identifier: MIT

// Package leaks_test looks at every byte that leaves the peer: each belongs to
// something that spec/ names, of the length it names, or is zero. The kernel's
// free memory is poisoned, so what was forgotten cannot pass for zero.
package leaks_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/fuzz"
	"nlpeer/vm-test/suites/vmtest"
)

// What the kernel writes over memory that is free, and over its red zones.
var poison = [][]byte{{0x6b, 0x6b}, {0x5a, 0x5a}, {0xbb, 0xbb}, {0xcc, 0xcc}, {pagePoison, pagePoison}}

// slabMax is the largest memory that comes of a cache. Datagrams that are longer
// are made of whole pages.
const slabMax = 8192

// watch is all sockets of a test, and what came by them.
type watch struct {
	family  uint16
	sockets map[*vmtest.Socket]int // their protocols
	kinds   map[string]int
	large   map[string]int // those in datagrams of whole pages
	bytes   int
}

func newWatch(t *testing.T) *watch {
	t.Helper()
	poisoned(t)
	return &watch{family: vmtest.Nlpeer(t).ID, sockets: map[*vmtest.Socket]int{}, kinds: map[string]int{}, large: map[string]int{}}
}

func (w *watch) open(t *testing.T, protocol int, portID, groups uint32) *vmtest.Socket {
	t.Helper()
	s := vmtest.Open(t, protocol, portID, groups)
	s.SetBuffer(t, 8<<20)
	w.sockets[s] = protocol
	return s
}

// catch takes all that waits at the sockets, and looks at it.
func (w *watch) catch(t *testing.T) {
	t.Helper()
	for s, protocol := range w.sockets {
		for {
			b, err := s.TryRecv(0)
			if err == unix.ETIMEDOUT {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			w.look(t, s, protocol, b)
		}
	}
}

// look looks at a datagram. The payloads of the test have no byte above 0x3f.
func (w *watch) look(t *testing.T, s *vmtest.Socket, protocol int, b []byte) {
	t.Helper()
	w.bytes += len(b)
	for _, p := range poison {
		if i := bytes.Index(b, p); i >= 0 && !inTime(b, i) {
			t.Errorf("protocol %d: poison at byte %d of % x", protocol, i, b[:min(len(b), 100)])
		}
	}
	by := map[int]int{
		vmtest.NetlinkTest: fuzz.Raw, unix.NETLINK_GENERIC: fuzz.Genl, unix.NETLINK_ROUTE: fuzz.Route, unix.NETLINK_CONNECTOR: fuzz.Connector,
	}[protocol]
	if _, err := fuzz.CheckDatagram(b, by, w.family); err != nil {
		t.Errorf("protocol %d: %v: % x", protocol, err, b[:min(len(b), 100)])
	}
	for _, m := range vmtest.Parse(t, b) {
		kind, flags, err := w.explain(protocol, m)
		if err != nil {
			t.Errorf("protocol %d: %v: %+v", protocol, err, m)
		}
		if m.Flags&^flags != 0 {
			t.Errorf("%s: flags %#x, only %#x mean something there", kind, m.Flags, flags)
		}
		if m.PortID != 0 && m.PortID != s.PortID && !strings.Contains(kind, "event") {
			t.Errorf("%s: port ID %d, the receiver has %d", kind, m.PortID, s.PortID)
		}
		w.kinds[kind]++
		if len(b) > slabMax {
			w.large[kind]++
		}
	}
}

// inTime is whether a byte of a datagram belongs to the time of an event, which
// may be any number.
func inTime(b []byte, at int) bool {
	const typ = 3
	for i := max(0, at-12) &^ 3; i+12 <= len(b) && i <= at; i += 4 {
		if binary.NativeEndian.Uint16(b[i:]) == 12 && binary.NativeEndian.Uint16(b[i+2:]) == typ && at >= i+4 {
			return true
		}
	}
	return false
}

// explain says what a message is, and which flags may be set in it.
func (w *watch) explain(protocol int, m vmtest.Message) (kind string, flags uint16, err error) {
	const dump = unix.NLM_F_MULTI | unix.NLM_F_DUMP_INTR | unix.NLM_F_DUMP_FILTERED
	name := map[int]string{vmtest.NetlinkTest: "raw", unix.NETLINK_GENERIC: "generic", unix.NETLINK_ROUTE: "rtnetlink", unix.NETLINK_CONNECTOR: "connector"}[protocol]
	switch {
	case m.Type == unix.NLMSG_ERROR:
		kind = name + " acknowledgment"
		if binary.NativeEndian.Uint32(m.Body) != 0 {
			kind = name + " error"
		}
		return kind, unix.NLM_F_CAPPED | unix.NLM_F_ACK_TLVS, w.explainError(m)
	case protocol == unix.NETLINK_CONNECTOR:
		if len(m.Body) >= 20 && binary.NativeEndian.Uint16(m.Body[18:]) != 0 {
			return "", 0, errors.New("flags of the connector")
		}
		if m.PortID == 0 && len(m.Body) > 40 && binary.NativeEndian.Uint16(m.Body[20:]) == 8 {
			return "connector event", 0, nil
		}
		return "connector echo", 0, nil
	case m.Type == unix.NLMSG_DONE:
		return name + " end of a dump", dump | unix.NLM_F_ACK_TLVS, nil
	case m.Type == unix.NLMSG_NOOP:
		if len(m.Body) != 0 {
			return "", 0, errors.New("nothing has a body")
		}
		return name + " nothing", dump, nil
	case protocol == vmtest.NetlinkTest:
		return map[uint16]string{16: "raw echo", 17: "raw event", 20: "raw object"}[m.Type], dump, nil
	case protocol == unix.NETLINK_GENERIC:
		if m.Body[1] != 1 {
			return "", 0, fmt.Errorf("version %d", m.Body[1])
		}
		return map[byte]string{1: "generic echo", 2: "generic statistics", 3: "generic settings", 5: "generic event", 6: "generic event of the past", 9: "generic object"}[m.Body[0]], dump, nil
	}
	return map[uint16]string{72: "rtnetlink object or echo", 73: "rtnetlink object deleted"}[m.Type], dump, nil
}

// explainError wants that what is quoted is what was asked, and has its own
// padding alone between it and the attributes.
func (w *watch) explainError(m vmtest.Message) error {
	quoted := m.Body[4:]
	n := int(binary.NativeEndian.Uint32(quoted))
	if m.Flags&unix.NLM_F_CAPPED != 0 || binary.NativeEndian.Uint32(m.Body) == 0 {
		n = 16
	}
	if n > len(quoted) || m.Flags&unix.NLM_F_ACK_TLVS == 0 && len(quoted) > (n+3)&^3 {
		return fmt.Errorf("%d bytes behind the error, %d of the request", len(quoted), n)
	}
	if rest := quoted[n:min(len(quoted), (n+3)&^3)]; len(bytes.Trim(rest, "\x00")) != 0 {
		return fmt.Errorf("padding of what is quoted: % x", rest)
	}
	return nil
}

// plain is n bytes that look like no poison.
func plain(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + i%63)
	}
	return b
}

// Lengths that leave each remainder, around sizes that memory comes in.
func lengths() []int {
	var all []int
	for n := range 70 {
		all = append(all, n)
	}
	for _, around := range []int{128, 192, 256, 512, 1024, 2048, 4096 - 16, 8192 - 400, 16300} {
		for d := -2; d <= 2; d++ {
			all = append(all, around+d)
		}
	}
	return all
}

func TestEveryByte(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=0x15", "history=300")
	w := newWatch(t)
	f := vmtest.Nlpeer(t)
	raw, genl := w.open(t, vmtest.NetlinkTest, 1001, 0), w.open(t, unix.NETLINK_GENERIC, 1002, 0)
	rtnl, cn := w.open(t, unix.NETLINK_ROUTE, 1003, 0), w.open(t, unix.NETLINK_CONNECTOR, 1004, 0)
	for _, s := range []*vmtest.Socket{raw, genl, rtnl} {
		s.Set(t, unix.NETLINK_EXT_ACK, 1)
	}
	// Others that listen, and one that has errors without what is extended.
	w.open(t, vmtest.NetlinkTest, 1005, 0xffffffff)
	for _, g := range f.Groups {
		w.open(t, unix.NETLINK_GENERIC, 1006+g, 0).Set(t, unix.NETLINK_ADD_MEMBERSHIP, int(g))
	}
	w.open(t, unix.NETLINK_CONNECTOR, 1020, 0).Set(t, unix.NETLINK_ADD_MEMBERSHIP, vmtest.CnIdx)
	short := w.open(t, vmtest.NetlinkTest, 1021, 0)
	short.Set(t, unix.NETLINK_CAP_ACK, 1)
	seq := uint32(0)
	send := func(s *vmtest.Socket, all ...vmtest.Message) {
		t.Helper()
		var b []byte
		for i := range all {
			seq++
			all[i].Seq = seq
			all[i].Flags |= unix.NLM_F_REQUEST
			b = append(b, all[i].Bytes()...)
		}
		s.Send(t, b)
		w.catch(t)
	}
	ack := func(m vmtest.Message) vmtest.Message {
		m.Flags |= unix.NLM_F_ACK
		return m
	}

	// Echoes, alone and together with acknowledgments, and errors that quote them.
	for _, n := range lengths() {
		p := plain(n)
		echo, attr := vmtest.NewEcho(0, p), vmtest.Attr{Type: 1, Data: p}
		send(raw, echo)
		send(raw, echo, ack(echo), echo)
		send(genl, vmtest.NewGenl(f.ID, vmtest.CmdEcho, 0, attr))
		send(rtnl, ack(vmtest.NewRtnlEcho(0, p)))
		if n <= vmtest.CnPayloadMax {
			send(cn, vmtest.NewCn(seq, 3, p).Message())
		}
		bad := vmtest.Message{Type: 99, Body: p}
		send(raw, bad)
		send(raw, echo, bad, echo)
		send(short, bad)
		send(genl, vmtest.NewGenl(f.ID, vmtest.CmdEcho, 0, attr, vmtest.Attr{Type: 9, Data: p}))
		send(rtnl, vmtest.NewRtnl(unix.RTM_GETADDRLABEL, 0, vmtest.Attr{Type: 99, Data: p}))
	}
	// Short ones in a long datagram, with an acknowledgment, and so not sent back
	// as they came.
	var many []vmtest.Message
	for n := range 400 {
		many = append(many, vmtest.NewEcho(0, plain(n%70)))
	}
	send(raw, append(many, ack(vmtest.NewEcho(0, nil)))...)

	// Objects with values and keys of all remainders, events of them, dumps.
	tables := map[*vmtest.Carrier]*vmtest.Socket{vmtest.RawCarrier: raw, vmtest.GenlCarrier: genl, vmtest.RtnlCarrier: rtnl}
	ask := func(c *vmtest.Carrier, r vmtest.ObjectRequest) {
		t.Helper()
		send(tables[c], c.Encode(f.ID, 0, r))
	}
	for _, c := range vmtest.Carriers {
		for n := range 24 {
			r := vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagReplace, strings.Repeat("K", 1+n), plain(n), plain(n/2), plain(4096-n))
			r.Flags |= unix.NLM_F_ECHO | unix.NLM_F_ACK
			ask(c, r)
			r = vmtest.NewObject(vmtest.FlagAppend, strings.Repeat("K", 1+n), plain(n%5))
			ask(c, r)
			ask(c, vmtest.GetObject(strings.Repeat("K", 1+n)))
			ask(c, vmtest.GetObject(strings.Repeat("x", 1+n)))
		}
		for _, r := range []vmtest.ObjectRequest{
			vmtest.GetObjects(0), vmtest.GetObjects(vmtest.FlagAtomic), vmtest.GetObjects(0, "KKK"), vmtest.GetObjects(0, "none"),
			{Op: vmtest.ObjectGet, Flags: vmtest.FlagDump, Attrs: []vmtest.Attr{vmtest.Key("K")}}, // refused
		} {
			ask(c, r)
		}
		for n := range 12 {
			r := vmtest.DelObject(strings.Repeat("K", 1+n))
			r.Flags |= unix.NLM_F_ECHO
			ask(c, r)
		}
		ask(c, vmtest.DelObjects(""))
		// As large as they can be: they, the answers about them and their events.
		for n := range 4 {
			r := vmtest.NewObject(vmtest.FlagCreate, strings.Repeat("L", 1+n), plain(4000-n), plain(3999-n), plain(3998-n))
			r.Flags |= unix.NLM_F_ECHO
			ask(c, r)
			ask(c, vmtest.GetObject(strings.Repeat("L", 1+n)))
			r = vmtest.DelObject(strings.Repeat("L", 1+n))
			r.Flags |= unix.NLM_F_ECHO
			ask(c, r)
		}
	}
	// An object that the first datagram of a dump has no room for.
	ask(vmtest.RtnlCarrier, vmtest.NewObject(vmtest.FlagCreate, "large", plain(4000), plain(4000), plain(4000), plain(4000)))
	tb := vmtest.NewTable(t, vmtest.RtnlCarrier, vmtest.Open(t, unix.NETLINK_ROUTE, 1023, 0)).Small()
	tb.Send(t, tb.Encode(vmtest.GetObjects(0)).Bytes())
	for end := false; !end; {
		b := tb.Recv(t)
		w.look(t, tb.Socket, unix.NETLINK_ROUTE, b)
		for _, m := range vmtest.Parse(t, b) {
			end = end || m.Type == unix.NLMSG_DONE
		}
	}

	// The beacon and its bursts, packed and not, by all carriers; then the past.
	set := func(typ uint16, v uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(v)} }
	for n := range uint32(40) {
		send(genl, ack(vmtest.NewGenl(f.ID, vmtest.CmdBeaconSet, 0, set(vmtest.BeaconSize, n), set(vmtest.BeaconConnector, 1),
			set(vmtest.BeaconPacked, 5), set(vmtest.BeaconBurst, 3))))
		send(genl, vmtest.NewGenl(f.ID, vmtest.CmdBeaconGet, 0))
	}
	for n := range uint32(4) {
		send(genl, ack(vmtest.NewGenl(f.ID, vmtest.CmdBeaconSet, 0, set(vmtest.BeaconSize, 4096-n), set(vmtest.BeaconBurst, 5))))
	}
	send(genl, vmtest.NewGenl(f.ID, vmtest.CmdBeaconSet, 0), vmtest.NewGenl(f.ID, vmtest.CmdStatsGet, 0))
	for _, group := range []uint32{1, 2, 3, vmtest.GroupBeacon, vmtest.GenlGroupObjects, vmtest.GroupConnector, 99} {
		m := vmtest.NewGenl(f.ID, 6, 0, vmtest.Attr{Type: 1, Data: vmtest.U32(group)})
		m.Flags |= unix.NLM_F_DUMP
		send(genl, m)
	}

	// The end.
	for s, protocol := range w.sockets {
		if protocol == vmtest.NetlinkTest {
			s.Close()
			delete(w.sockets, s)
		}
	}
	vmtest.Unload(t)
	before := w.kinds["generic event"] + w.kinds["connector event"]
	w.catch(t)
	if n := w.kinds["generic event"] + w.kinds["connector event"] - before; n != 3 {
		t.Errorf("%d last events, want 3", n)
	}

	var all []string
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(w.kinds)) {
		all = append(all, fmt.Sprintf("%s %d", kind, w.kinds[kind]))
		total += w.kinds[kind]
	}
	t.Logf("%d messages, %d bytes: %s", total, w.bytes, strings.Join(all, ", "))
	for _, kind := range []string{
		"raw echo", "raw event", "raw object", "raw acknowledgment", "raw error", "raw end of a dump",
		"generic echo", "generic event", "generic event of the past", "generic object", "generic acknowledgment", "generic error",
		"generic end of a dump", "generic statistics", "generic settings",
		"rtnetlink object or echo", "rtnetlink object deleted", "rtnetlink acknowledgment", "rtnetlink error", "rtnetlink end of a dump", "rtnetlink nothing",
		"connector echo", "connector event",
	} {
		if w.kinds[kind] == 0 {
			t.Errorf("no message of this kind: %s", kind)
		}
		delete(w.kinds, kind)
	}
	if len(w.kinds) != 0 {
		t.Errorf("messages of other kinds: %v", w.kinds)
	}
	t.Logf("in datagrams of more than %d bytes: %v", slabMax, w.large)
	for _, kind := range []string{
		"raw echo", "raw event", "raw object", "raw acknowledgment", "raw error",
		"generic echo", "generic event", "generic event of the past", "generic object", "generic error",
		"rtnetlink object or echo", "rtnetlink object deleted", "rtnetlink error",
		"connector echo",
	} {
		if w.large[kind] == 0 {
			t.Errorf("no message of this kind in memory of whole pages: %s", kind)
		}
	}
}
