// SPDX-License-Identifier: MIT

package objects_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// What rtnetlink itself makes of the flags, where it has tables: neighbours,
// IPv4 routes, the forwarding database of a vxlan. A cell is an errno, or what
// became of an entry that was there with one value and is asked for with
// another: made, replaced, appended, prepended, or kept, though without error.
type kernelTable struct {
	name string
	rows [16][2]string // as flagTable: not there, there
	open func(t *testing.T, s *vmtest.Socket) entries
}

// entries is one table of rtnetlink. There are two values, and as many entries
// as asked for.
type entries interface {
	request(entry, value int) (typ uint16, header []byte, attrs []vmtest.Attr)
	dump() (typ uint16, header []byte)
	values(t *testing.T, entry int, typ uint16, body []byte) []int
}

var kernelTables = []kernelTable{
	{"neighbour", [16][2]string{
		{"ENOENT", "kept"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "kept"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"made", "kept"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
		{"made", "kept"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
	}, openNeighbours},
	{"route", [16][2]string{
		{"ENOENT", "ENOENT"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "ENOENT"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"made", "prepended"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
		{"made", "appended"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
	}, openRoutes},
	{"fdb", [16][2]string{
		{"ENOENT", "kept"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "kept"},
		{"ENOENT", "replaced"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"made", "kept"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
		{"made", "kept"},
		{"made", "replaced"},
		{"made", "EEXIST"},
		{"made", "EEXIST"},
	}, openFDB},
	{"flood fdb", [16][2]string{
		{"ENOENT", "kept"},
		{"ENOENT", "ENOTSUP"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "appended"},
		{"ENOENT", "ENOTSUP"},
		{"ENOENT", "EEXIST"},
		{"ENOENT", "EEXIST"},
		{"made", "kept"},
		{"ENOTSUP", "ENOTSUP"},
		{"made", "EEXIST"},
		{"ENOTSUP", "EEXIST"},
		{"made", "appended"},
		{"ENOTSUP", "ENOTSUP"},
		{"made", "EEXIST"},
		{"ENOTSUP", "EEXIST"},
	}, openFlood},
}

// A difference is a set of cells in which a table of rtnetlink is not like
// ours, and why ours is not.
type difference struct {
	table  string
	there  bool
	is     func(flags uint16) bool
	theirs string
	reason string
}

// has makes a condition: all of some flags, none of others.
func has(all, none uint16) func(uint16) bool {
	return func(flags uint16) bool { return flags&all == all && flags&none == 0 }
}

const noWay = "a change that is asked for and not made is an error, or who asked would not know"

var differs = []difference{
	{"neighbour", true, has(0, exc|rep|app), "kept", noWay},
	{"neighbour", true, has(app, exc|rep), "kept", "a neighbour has one address and no room for another; an object has"},
	{"fdb", true, has(0, exc|rep|app), "kept", noWay},
	{"fdb", true, has(app, exc|rep), "kept", "a unicast entry has one destination and no room for another; an object has"},
	{"flood fdb", true, has(0, exc|rep|app), "kept", noWay},
	{"flood fdb", true, has(rep, exc), "ENOTSUP", "of many destinations rtnetlink would not know which one to replace; ours replaces all"},
	{"flood fdb", false, has(cre|rep, 0), "ENOTSUP", "the same, and there is none yet"},
	{"route", true, has(0, cre|exc|rep|app), "ENOENT", "a route is named by all that it is, so another one is not there; an object is named by its key, and is"},
	{"route", true, has(app, cre|exc|rep), "ENOENT", "the same: another route has to be made; the vxlan is like ours"},
	{"route", true, has(cre, exc|rep|app), "prepended", "several routes have one prefix, and the order is a choice; there is one object of a key"},
}

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func address(entry int) []byte { return []byte{10, 9, byte(entry >> 8), byte(entry)} }

// neighbours of the loopback device, of IPv6 as those of IPv4 share one entry
// there, whose value is their hardware address.
type neighbours struct {
	family byte
	index  uint32
	flags  byte
	flood  bool
}

func openNeighbours(t *testing.T, _ *vmtest.Socket) entries {
	return neighbours{family: unix.AF_INET6, index: 1}
}

func (n neighbours) header() []byte {
	b := append([]byte{n.family, 0, 0, 0}, native32(n.index)...)
	b = binary.NativeEndian.AppendUint16(b, unix.NUD_PERMANENT)
	return append(b, n.flags, 0)
}

// bytes are what names an entry, and its value.
func (n neighbours) bytes(entry, value int) (name, val vmtest.Attr) {
	const dst, lladdr = 1, 2
	if n.family == unix.AF_INET6 {
		a := []byte{0x20, 1, 0xd, 0xb8, 15: byte(entry)}
		return vmtest.Attr{Type: dst, Data: a}, vmtest.Attr{Type: lladdr, Data: []byte{2, 0, 0, 0, 0, byte(value)}}
	}
	mac := []byte{2, 0, 0, 0, byte(entry >> 8), byte(entry)}
	if n.flood {
		mac = make([]byte, 6)
	}
	return vmtest.Attr{Type: lladdr, Data: mac}, vmtest.Attr{Type: dst, Data: []byte{192, 0, 2, byte(value)}}
}

func (n neighbours) request(entry, value int) (uint16, []byte, []vmtest.Attr) {
	name, val := n.bytes(entry, value)
	return unix.RTM_NEWNEIGH, n.header(), []vmtest.Attr{name, val}
}

func (n neighbours) dump() (uint16, []byte) { return unix.RTM_GETNEIGH, n.header() }

func (n neighbours) values(t *testing.T, entry int, typ uint16, body []byte) []int {
	if typ != unix.RTM_NEWNEIGH || body[0] != n.family || binary.NativeEndian.Uint32(body[4:]) != n.index {
		return nil
	}
	return match(t, body[12:], func(value int) (vmtest.Attr, vmtest.Attr) { return n.bytes(entry, value) })
}

// match finds which value a message about an entry has.
func match(t *testing.T, attrs []byte, of func(value int) (name, val vmtest.Attr)) []int {
	var found []int
	all := vmtest.Attrs(t, attrs)
	has := func(want vmtest.Attr) bool {
		return slices.ContainsFunc(all, func(a vmtest.Attr) bool { return a.Type == want.Type && bytes.Equal(a.Data, want.Data) })
	}
	for value := range 2 {
		if name, val := of(value); has(name) && has(val) {
			found = append(found, value)
		}
	}
	return found
}

// routes, whose value is their type: a route to nowhere needs no device.
type routes struct{}

func openRoutes(*testing.T, *vmtest.Socket) entries { return routes{} }

func (routes) request(entry, value int) (uint16, []byte, []vmtest.Attr) {
	typ := []byte{unix.RTN_BLACKHOLE, unix.RTN_UNREACHABLE}[value]
	return unix.RTM_NEWROUTE, []byte{unix.AF_INET, 32, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, 0, typ, 0, 0, 0, 0},
		[]vmtest.Attr{{Type: unix.RTA_DST, Data: address(entry)}}
}

func (routes) dump() (uint16, []byte) {
	return unix.RTM_GETROUTE, append([]byte{unix.AF_INET}, make([]byte, 11)...)
}

func (r routes) values(t *testing.T, entry int, typ uint16, body []byte) []int {
	if typ != unix.RTM_NEWROUTE || body[0] != unix.AF_INET || body[4] != unix.RT_TABLE_MAIN {
		return nil
	}
	for _, a := range vmtest.Attrs(t, body[12:]) {
		if a.Type == unix.RTA_DST && bytes.Equal(a.Data, address(entry)) {
			return []int{int(body[7]) - unix.RTN_BLACKHOLE}
		}
	}
	return nil
}

// openFDB makes a vxlan.
func openFDB(t *testing.T, s *vmtest.Socket) entries {
	t.Helper()
	nest := func(typ uint16, attrs ...vmtest.Attr) vmtest.Attr {
		a := vmtest.Attr{Type: typ}
		for _, x := range attrs {
			a.Data = append(a.Data, x.Bytes()...)
		}
		return a
	}
	const index = 77
	body := append(make([]byte, 4), native32(index)...)
	body = append(body, make([]byte, 8)...)
	for _, a := range []vmtest.Attr{
		{Type: unix.IFLA_IFNAME, Data: []byte("vx\x00")},
		nest(unix.IFLA_LINKINFO,
			vmtest.Attr{Type: unix.IFLA_INFO_KIND, Data: []byte("vxlan\x00")},
			nest(unix.IFLA_INFO_DATA, vmtest.Attr{Type: unix.IFLA_VXLAN_ID, Data: native32(7)})),
	} {
		body = append(body, a.Bytes()...)
	}
	req := vmtest.Message{Type: unix.RTM_NEWLINK, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | cre | exc, Seq: 1, Body: body}
	s.Send(t, req.Bytes())
	switch ack := s.RecvAck(t, req); ack.Errno {
	case 0:
	case unix.EOPNOTSUPP:
		t.Fatal("this kernel has vxlan as a module only, and it is not loaded; try: nlvm test --kmod vxlan")
	default:
		t.Fatalf("making a vxlan: %v: %s", ack.Errno, ack.Text)
	}
	return neighbours{family: unix.AF_BRIDGE, index: index, flags: 2} // NTF_SELF
}

// openFlood is the entry of a vxlan for all that has no other, which may have
// several values. There is only one.
func openFlood(t *testing.T, s *vmtest.Socket) entries {
	n := openFDB(t, s).(neighbours)
	n.flood = true
	return n
}

// What rtnetlink does, recorded, and how ours is different.
func TestFlagsOfRtnetlink(t *testing.T) {
	for _, table := range kernelTables {
		t.Run(table.name, func(t *testing.T) {
			var used [64]bool
			for row, ours := range flagTable {
				for col, there := range []bool{false, true} {
					got := kernelCell(t, table, ours.flags, there)
					name := fmt.Sprintf("%s, there=%v", flagNames(ours.flags), there)
					if want := table.rows[row][col]; got != want {
						t.Errorf("%s: %s, want %s", name, got, want)
					}
					want := ours.absent
					if there {
						want = ours.there
					}
					// Ours and theirs are the same, or there is one reason why not.
					mine, reasons := want.String(), 0
					for i, d := range differs {
						if d.table == table.name && d.there == there && d.is(ours.flags) {
							reasons++
							used[i] = true
							if d.theirs != got {
								t.Errorf("%s: %s, but the reason is for %s: %s", name, got, d.theirs, d.reason)
							}
						}
					}
					if (got != mine) != (reasons == 1) || reasons > 1 {
						t.Errorf("%s: rtnetlink says %s, ours %s, with %d reasons", name, got, mine, reasons)
					}
				}
			}
			for i, d := range differs {
				if d.table == table.name && !used[i] {
					t.Errorf("no cell for the reason %q", d.reason)
				}
			}
		})
	}
}

func (c cell) String() string {
	if c.errno != 0 {
		return unix.ErrnoName(c.errno)
	}
	return []string{"kept", "made", "replaced", "appended"}[c.effect]
}

// kernelCell tries one combination in a namespace of its own.
func kernelCell(t *testing.T, table kernelTable, flags uint16, there bool) string {
	t.Helper()
	n := vmtest.NewNet(t)
	defer n.Close()
	s := n.Open(t, unix.NETLINK_ROUTE, 0, 0)
	defer s.Close()
	e := table.open(t, s)
	const entry = 1
	ask := func(flags uint16, value int) unix.Errno {
		t.Helper()
		typ, body, attrs := e.request(entry, value)
		for _, a := range attrs {
			body = append(body, a.Bytes()...)
		}
		req := vmtest.Message{Type: typ, Flags: flags | unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 5, Body: body}
		s.Send(t, req.Bytes())
		return s.RecvAck(t, req).Errno
	}
	list := func() []int {
		t.Helper()
		typ, body := e.dump()
		req := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | vmtest.FlagDump, Seq: 6, Body: body}
		s.Send(t, req.Bytes())
		var all []int
		for {
			for _, m := range vmtest.Parse(t, s.Recv(t)) {
				if m.Type == unix.NLMSG_DONE {
					return all
				}
				if m.Type == unix.NLMSG_ERROR {
					t.Fatalf("dump: %d", vmtest.S32(m.Body))
				}
				all = append(all, e.values(t, entry, m.Type, m.Body)...)
			}
		}
	}
	var before []int
	if there {
		if errno := ask(cre|exc, 0); errno != 0 {
			t.Fatalf("making an entry: %v", errno)
		}
		before = []int{0}
	}
	if got := list(); !slices.Equal(got, before) {
		t.Fatalf("values %v before, want %v", got, before)
	}
	errno := ask(flags, 1)
	after := list()
	if errno != 0 {
		if !slices.Equal(after, before) {
			t.Errorf("%v, but values %v", errno, after)
		}
		return unix.ErrnoName(errno)
	}
	switch {
	case slices.Equal(after, before):
		return "kept"
	case slices.Equal(after, []int{1}) && there:
		return "replaced"
	case slices.Equal(after, []int{1}):
		return "made"
	case slices.Equal(after, []int{0, 1}):
		return "appended"
	case slices.Equal(after, []int{1, 0}):
		return "prepended"
	}
	return fmt.Sprint(after)
}
