// SPDX-License-Identifier: MIT

// Package abuse_test sends the module what no honest client sends, and asserts
// what comes back, or that nothing does. After each case the module must still
// answer.
package abuse_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

func open(t *testing.T, protocol int) *vmtest.Socket {
	s := vmtest.Open(t, protocol, 0, 0)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	s.Set(t, unix.NETLINK_CAP_ACK, 1)
	return s
}

// alive sends an honest echo and expects exactly its answer.
func alive(t *testing.T, s *vmtest.Socket) {
	t.Helper()
	req := vmtest.NewEcho(rand.Uint32(), vmtest.Random(t, 32))
	s.Send(t, req.Bytes())
	if m := s.RecvOne(t); m.Seq != req.Seq || !bytes.Equal(m.Body, req.Body) {
		t.Fatalf("an honest echo afterwards got %+v", m)
	}
	s.Empty(t)
}

// A header whose length is a lie ends the datagram silently: that is what the
// netlink core does for every protocol. Honest messages before it are answered.
func TestBadLength(t *testing.T) {
	for _, tt := range []struct {
		name string
		len  uint32
	}{
		{"zero", 0}, {"one", 1}, {"shorter than a header", 15},
		{"one more than was sent", 25}, {"far more", 1 << 20}, {"all ones", 0xffffffff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, vmtest.NetlinkTest)
			good := vmtest.NewEcho(1, []byte("good"))
			bad := vmtest.NewEcho(2, make([]byte, 8))
			bad.Flags |= unix.NLM_F_ACK
			b := append(good.Bytes(), bad.Bytes()...)
			*(*[4]byte)(b[len(good.Bytes()):]) = [4]byte(vmtest.U32(tt.len))
			s.Send(t, b)
			if m := s.RecvOne(t); m.Seq != 1 || string(m.Body) != "good" {
				t.Errorf("the honest message before it got %+v", m)
			}
			s.Empty(t)
			alive(t, s)
		})
	}
}

func TestFewerBytesThanAHeader(t *testing.T) {
	s := open(t, vmtest.NetlinkTest)
	for n := range 16 {
		if err := s.TrySend(make([]byte, n)); err != nil && err != unix.ENODATA { // empty sends are refused since 6.6
			t.Errorf("%d bytes: %v", n, err)
		}
		s.Empty(t)
	}
	alive(t, s)
}

// A tail that is no message is passed over, the messages before it are not.
func TestTrailingBytes(t *testing.T) {
	s := open(t, vmtest.NetlinkTest)
	req := vmtest.NewEcho(3, []byte("four"))
	for n := 1; n < 16; n++ {
		s.Send(t, append(req.Bytes(), bytes.Repeat([]byte{0xff}, n)...))
		if m := s.RecvOne(t); string(m.Body) != "four" {
			t.Errorf("%d bytes behind it: %+v", n, m)
		}
		s.Empty(t)
	}
}

func TestTypes(t *testing.T) {
	s := open(t, vmtest.NetlinkTest)
	for typ := range uint16(16) {
		for _, ack := range []uint16{0, unix.NLM_F_ACK} {
			req := vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | ack, Seq: uint32(typ), Body: []byte("x")}
			s.Send(t, req.Bytes())
			if ack != 0 { // control messages are netlink's own: taken, and acknowledged if asked
				if got := s.RecvAck(t, req); got.Errno != 0 {
					t.Errorf("type %d: %v", typ, got.Errno)
				}
			}
			s.Empty(t)
		}
	}
	for _, tt := range []struct {
		typ  uint16
		text string
	}{
		{17, "nlpeer: events are sent by the kernel only"},
		{18, "nlpeer: unknown message type"},
		{100, "nlpeer: unknown message type"},
		{0xffff, "nlpeer: unknown message type"},
	} {
		req := vmtest.Message{Type: tt.typ, Flags: unix.NLM_F_REQUEST, Seq: 5, Body: []byte("x")}
		s.Send(t, req.Bytes())
		if ack := s.RecvAck(t, req); ack.Errno != unix.EOPNOTSUPP || ack.Text != tt.text {
			t.Errorf("type %d: %v, %q; want EOPNOTSUPP, %q", tt.typ, ack.Errno, ack.Text, tt.text)
		}
	}
	alive(t, s)
}

// Without NLM_F_REQUEST it is no request: not answered, acknowledged if asked.
func TestNoRequest(t *testing.T) {
	s := open(t, vmtest.NetlinkTest)
	req := vmtest.NewEcho(1, []byte("x"))
	req.Flags = 0
	s.Send(t, req.Bytes())
	s.Empty(t)
	req.Flags = unix.NLM_F_ACK
	s.Send(t, req.Bytes())
	if ack := s.RecvAck(t, req); ack.Errno != 0 {
		t.Errorf("%v", ack.Errno)
	}
	s.Empty(t)
	alive(t, s)
}

// Every bit of nlmsg_flags alone and every pair, on both protocols.
func TestFlags(t *testing.T) {
	const known = unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_ECHO
	family := vmtest.Nlpeer(t)
	raw, genl := open(t, vmtest.NetlinkTest), open(t, unix.NETLINK_GENERIC)
	for i := range 16 {
		for j := i; j < 16; j++ {
			flags := uint16(1<<i|1<<j) | unix.NLM_F_REQUEST
			for _, tt := range []struct {
				name string
				s    *vmtest.Socket
				req  vmtest.Message
			}{
				{"raw", raw, vmtest.NewEcho(uint32(flags), []byte("x"))},
				{"genl", genl, vmtest.NewGenl(family.ID, 1, uint32(flags), vmtest.Attr{Type: 1, Data: []byte("x")})},
			} {
				tt.req.Flags = flags
				tt.s.Send(t, tt.req.Bytes())
				m := tt.s.RecvOne(t)
				switch {
				case flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP: // both bits
					ack := vmtest.ParseAck(t, m, tt.req)
					if ack.Errno != unix.EOPNOTSUPP {
						t.Errorf("%s, flags %#x: %v, want EOPNOTSUPP", tt.name, flags, ack.Errno)
					}
					if tt.name == "raw" && ack.Text != "nlpeer: echo has no dump" {
						t.Errorf("flags %#x: %q", flags, ack.Text)
					}
				case flags&^known != 0 && (tt.name == "raw" || vmtest.Has(vmtest.GenlHeader)):
					ack := vmtest.ParseAck(t, m, tt.req)
					if ack.Errno != unix.EINVAL {
						t.Errorf("%s, flags %#x: %v, want EINVAL", tt.name, flags, ack.Errno)
					}
					if tt.name == "raw" && ack.Text != "nlpeer: ambiguous or reserved bits set in nlmsg_flags" {
						t.Errorf("flags %#x: %q", flags, ack.Text)
					}
				default:
					if m.Type != tt.req.Type || m.Seq != tt.req.Seq {
						t.Errorf("%s, flags %#x: %+v, want the echo", tt.name, flags, m)
					}
					if flags&unix.NLM_F_ACK != 0 {
						if ack := tt.s.RecvAck(t, tt.req); ack.Errno != 0 {
							t.Errorf("%s, flags %#x: %v", tt.name, flags, ack.Errno)
						}
					}
				}
				tt.s.Empty(t)
			}
		}
	}
}

// An error quotes the request, unless the asker wants it capped.
func TestErrorQuotesRequest(t *testing.T) {
	for _, capped := range []int{0, 1} {
		s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
		s.Set(t, unix.NETLINK_CAP_ACK, capped)
		req := vmtest.Message{Type: 99, Flags: unix.NLM_F_REQUEST, Seq: 1, Body: vmtest.Random(t, 61)}
		s.Send(t, req.Bytes())
		m := s.RecvOne(t)
		if want := map[int]int{0: 20 + 64, 1: 20}[capped]; len(m.Body) != want {
			t.Errorf("capped %d: %d bytes, want %d", capped, len(m.Body), want)
		}
		if capped == 0 && !bytes.Equal(m.Body[4:4+16+61], req.Bytes()[:16+61]) {
			t.Errorf("the request is not quoted: % x", m.Body)
		}
	}
}

const (
	cmdEcho = 1 + iota
	cmdStatsGet
	cmdBeaconGet
	cmdBeaconSet
	cmdEvent
	cmdEventGet
	cmdObjectNew
	cmdObjectDel
	cmdObjectGet
)

// Each attribute of each operation in all the wrong ways, by the contract.
func TestAttributes(t *testing.T) {
	f := vmtest.Nlpeer(t)
	s := open(t, unix.NETLINK_GENERIC)

	before := beacon(t, s, f)
	type wrong struct {
		name   string
		cmd    uint8
		attrs  []byte
		errno  unix.Errno
		offset int // in the message
		miss   int
	}
	long := func(typ uint16, n int) []byte { return vmtest.Attr{Type: typ, Data: make([]byte, n)}.Bytes() }
	value := func(typ uint16, v uint32) []byte { return vmtest.Attr{Type: typ, Data: vmtest.U32(v)}.Bytes() }
	cases := []wrong{
		{"echo without a payload", cmdEcho, nil, unix.EINVAL, -1, 1},
		{"echo with an unknown attribute alone", cmdEcho, long(2, 4), unix.EINVAL, 20, -1},
		{"echo with an unknown attribute beside", cmdEcho, append(long(1, 4), long(99, 4)...), unix.EINVAL, 28, -1},
		{"echo with attribute 0", cmdEcho, long(0, 4), unix.EINVAL, 20, -1},
		{"echo with the nest flag", cmdEcho, long(1|unix.NLA_F_NESTED, 4), unix.EINVAL, 20, -1},
		{"echo payload too long", cmdEcho, long(1, 32769), unix.ERANGE, 20, -1},
		{"beacon-set with nothing", cmdBeaconSet, nil, unix.EINVAL, -1, -1},
		{"beacon-set with an unknown attribute", cmdBeaconSet, append(value(4, 7), long(8, 4)...), unix.EINVAL, 28, -1},
		{"interval above its limit", cmdBeaconSet, value(1, 3600001), unix.ERANGE, 20, -1},
		{"interval all ones", cmdBeaconSet, value(1, 0xffffffff), unix.ERANGE, 20, -1},
		{"genl 2", cmdBeaconSet, value(3, 2), unix.ERANGE, 20, -1},
		{"size above its limit", cmdBeaconSet, value(4, 4097), unix.ERANGE, 20, -1},
		{"connector 2", cmdBeaconSet, value(5, 2), unix.ERANGE, 20, -1},
		{"burst of nothing", cmdBeaconSet, value(7, 0), unix.ERANGE, 20, -1},
		{"burst above its limit", cmdBeaconSet, value(7, 4097), unix.ERANGE, 20, -1},
		{"a good setting and a bad one", cmdBeaconSet, append(value(4, 9), value(3, 7)...), unix.ERANGE, 28, -1},
	}
	for typ := range uint16(7) {
		for _, n := range []int{0, 1, 2, 3, 5, 8} {
			cases = append(cases, wrong{fmt.Sprintf("beacon attribute %d of %d bytes", typ+1, n),
				cmdBeaconSet, long(typ+1, n), unix.EINVAL, 20, -1})
		}
		cases = append(cases, wrong{fmt.Sprintf("beacon attribute %d with the nest flag", typ+1),
			cmdBeaconSet, long((typ+1)|unix.NLA_F_NESTED, 4), unix.EINVAL, 20, -1})
	}
	// An operation without attributes refuses any, but for some time the core of
	// generic netlink looked at none where a table in its new form had no policy.
	for _, cmd := range []uint8{cmdStatsGet, cmdBeaconGet} {
		if vmtest.Has(vmtest.NoAttributes) {
			cases = append(cases, wrong{fmt.Sprintf("command %d with an attribute", cmd), cmd, long(1, 4), unix.EINVAL, 20, -1})
			continue
		}
		req := vmtest.NewGenl(f.ID, cmd, rand.Uint32(), vmtest.Attr{Type: 1, Data: make([]byte, 4)})
		s.Send(t, req.Bytes())
		if m := s.RecvOne(t); m.Type != f.ID || m.Seq != req.Seq || len(m.Body) < 4 || m.Body[0] != cmd {
			t.Errorf("command %d with an attribute: %+v, want its answer", cmd, m)
		}
	}
	for _, tt := range cases {
		req := vmtest.NewGenl(f.ID, tt.cmd, rand.Uint32())
		req.Body = append(req.Body, tt.attrs...)
		s.Send(t, req.Bytes())
		m := s.RecvOne(t)
		if m.Type != unix.NLMSG_ERROR {
			t.Errorf("%s: was answered by %+v", tt.name, m)
			continue
		}
		ack := vmtest.ParseAck(t, m, req)
		if ack.Errno != tt.errno || ack.Offset != tt.offset || ack.Miss != vmtest.Miss(tt.miss) {
			t.Errorf("%s: %v at offset %d, missing %d, %q; want %v at %d, missing %d",
				tt.name, ack.Errno, ack.Offset, ack.Miss, ack.Text, tt.errno, tt.offset, vmtest.Miss(tt.miss))
		}
		if ack.Text == "" {
			t.Errorf("%s: no text", tt.name)
		}
		s.Empty(t)
	}
	if after := beacon(t, s, f); !bytes.Equal(after, before) {
		t.Errorf("refused settings changed something: % x, before % x", after, before)
	}
}

func beacon(t *testing.T, s *vmtest.Socket, f vmtest.Family) []byte {
	t.Helper()
	s.Send(t, vmtest.NewGenl(f.ID, cmdBeaconGet, 1).Bytes())
	return s.RecvOne(t).Body
}

// Trailing bytes in the attributes, lengths that lie, and headers cut short.
func TestGenlForm(t *testing.T) {
	f := vmtest.Nlpeer(t)
	s := open(t, unix.NETLINK_GENERIC)
	for _, tt := range []struct {
		name  string
		body  []byte
		errno unix.Errno
	}{
		{"no generic header", nil, unix.EINVAL},
		{"half a generic header", []byte{1, 1}, unix.EINVAL},
		{"reserved field", []byte{1, 1, 1, 0, 5, 0, 1, 0, 'x', 0, 0, 0}, unix.EINVAL},
		{"command 0", []byte{0, 1, 0, 0}, unix.EOPNOTSUPP},
		{"the event's command", []byte{cmdEvent, 1, 0, 0}, unix.EOPNOTSUPP},
		{"command 200", []byte{200, 1, 0, 0}, unix.EOPNOTSUPP},
		{"two bytes of an attribute", append([]byte{1, 1, 0, 0}, 6, 0), unix.EINVAL},
		{"attribute shorter than its header", append([]byte{1, 1, 0, 0}, append(native16(3), native16(1)...)...), unix.EINVAL},
		{"attribute longer than the message", append([]byte{1, 1, 0, 0}, append(native16(9), native16(1)...)...), unix.EINVAL},
	} {
		req := vmtest.Message{Type: f.ID, Flags: unix.NLM_F_REQUEST, Seq: rand.Uint32(), Body: tt.body}
		s.Send(t, req.Bytes())
		if tt.name == "reserved field" && !vmtest.Has(vmtest.GenlHeader) {
			if m := s.RecvOne(t); m.Type != f.ID || m.Seq != req.Seq {
				t.Errorf("%s: %+v, want an echo", tt.name, m)
			}
			continue
		}
		if ack := s.RecvAck(t, req); ack.Errno != tt.errno {
			t.Errorf("%s: %v, want %v", tt.name, ack.Errno, tt.errno)
		}
		s.Empty(t)
	}
}

func native16(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }

// What the kernel says of the family must be what spec/nlpeer.yaml says.
func TestFamily(t *testing.T) {
	f := vmtest.Nlpeer(t)
	if f.Version != 1 {
		t.Errorf("version %d", f.Version)
	}
	const (
		do        = unix.GENL_CMD_CAP_DO
		dump      = unix.GENL_CMD_CAP_DUMP
		hasPolicy = unix.GENL_CMD_CAP_HASPOL
		unsAdmin  = unix.GENL_UNS_ADMIN_PERM
	)
	for cmd, want := range map[uint32]uint32{
		cmdEcho:      do | hasPolicy,
		cmdStatsGet:  do,
		cmdBeaconGet: do,
		cmdBeaconSet: do | hasPolicy | unsAdmin,
		cmdEventGet:  dump | hasPolicy,
		cmdObjectNew: do | hasPolicy | unsAdmin,
		cmdObjectDel: do | hasPolicy | unsAdmin,
		cmdObjectGet: do | dump | hasPolicy,
	} {
		// Whether "refuse every attribute" counts as a policy differs by version.
		if got := f.Ops[cmd]; got&^hasPolicy != want&^hasPolicy || got&want != want {
			t.Errorf("command %d has flags %#x, want %#x", cmd, got, want)
		}
	}
	if len(f.Ops) != 8 {
		t.Errorf("commands %v, want 8", f.Ops)
	}
	if len(f.Groups) != 2 || f.Groups["beacon"] == 0 || f.Groups["objects"] == 0 || f.Groups["beacon"] == f.Groups["objects"] {
		t.Errorf("groups %v, want beacon and objects", f.Groups)
	}
}

// A limit is what the kernel tells of one attribute of a policy.
type limit struct{ kind, min, max, maxLen, mask uint64 }

// policies asks for the policies of a command: that of its do and that of its
// dump, nil for what it has not.
func policies(t *testing.T, s *vmtest.Socket, cmd uint32) (do, dump map[uint16]limit) {
	t.Helper()
	req := vmtest.NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETPOLICY, 1,
		vmtest.Attr{Type: unix.CTRL_ATTR_FAMILY_NAME, Data: []byte("nlpeer\x00")},
		vmtest.Attr{Type: 10 /* CTRL_ATTR_OP */, Data: vmtest.U32(cmd)})
	req.Flags |= unix.NLM_F_DUMP
	s.Send(t, req.Bytes())

	index := map[uint16]uint64{}            // by do (1) and dump (2)
	policy := map[uint64]map[uint16]limit{} // by index
	for done := false; !done; {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Type == unix.NLMSG_DONE {
				done = true
				break
			}
			for _, a := range vmtest.Attrs(t, m.Body[4:]) {
				switch a.Type {
				case 8: // CTRL_ATTR_POLICY
					for _, p := range vmtest.Attrs(t, a.Data) {
						n := uint64(p.Type)
						if policy[n] == nil {
							policy[n] = map[uint16]limit{}
						}
						for _, attr := range vmtest.Attrs(t, p.Data) {
							policy[n][attr.Type] = parseLimit(t, attr)
						}
					}
				case 9: // CTRL_ATTR_OP_POLICY
					for _, op := range vmtest.Attrs(t, a.Data) {
						if uint32(op.Type) != cmd {
							t.Errorf("command %d: told of command %d", cmd, op.Type)
						}
						for _, x := range vmtest.Attrs(t, op.Data) {
							index[x.Type] = number(x.Data)
						}
					}
				}
			}
		}
	}
	if n, ok := index[1]; ok {
		do = policy[n]
	}
	if n, ok := index[2]; ok {
		dump = policy[n]
	}
	return do, dump
}

func parseLimit(t *testing.T, attr vmtest.Attr) (l limit) {
	t.Helper()
	for _, p := range vmtest.Attrs(t, attr.Data) {
		if len(p.Data) == 0 {
			continue // padding
		}
		v := number(p.Data)
		switch p.Type {
		case 1:
			l.kind = v
		case 4:
			l.min = v
		case 5:
			l.max = v
		case 7:
			l.maxLen = v
		case 12:
			l.mask = v
		}
	}
	return l
}

// The policies that the kernel tells must be the contract's limits.
func TestPolicy(t *testing.T) {
	s := open(t, unix.NETLINK_GENERIC)
	const (
		kindFlag   = 1
		kindU32    = 4
		kindU64    = 5
		kindBinary = 10
		kindString = 12 // that ends with a 0
	)
	key := limit{kind: kindString, maxLen: 64}
	type policy = map[uint16]limit
	objectGet := policy{1: key}
	objectDump := policy{4: key, 6: {kind: kindFlag}}
	if !vmtest.Has(vmtest.SplitPolicies) {
		objectGet = policy{1: key, 4: key, 6: {kind: kindFlag}}
		objectDump = objectGet
	}
	for _, tt := range []struct {
		cmd      uint32
		do, dump policy
	}{
		{cmdEcho, policy{1: {kind: kindBinary, maxLen: 32768}}, nil},
		{cmdBeaconSet, policy{
			1: {kind: kindU32, max: 3600000},
			2: {kind: kindU32, max: 0xffffffff},
			3: {kind: kindU32, max: 1},
			4: {kind: kindU32, max: 4096},
			5: {kind: kindU32, max: 1},
			6: {kind: kindU32, max: 1<<32 - 1},
			7: {kind: kindU32, min: 1, max: 4096},
		}, nil},
		{cmdEventGet, nil, policy{
			1: {kind: kindU32, max: 0xffffffff},
			2: {kind: kindU64, max: 1<<64 - 1},
		}},
		{cmdObjectNew, policy{
			1: key,
			2: {kind: kindBinary, maxLen: 4096},
			5: {kind: kindU32, mask: 0xf00},
		}, nil},
		{cmdObjectDel, policy{1: key, 4: key}, nil},
		{cmdObjectGet, objectGet, objectDump},
	} {
		do, dump := policies(t, s, tt.cmd)
		if !maps.Equal(do, tt.do) || (do == nil) != (tt.do == nil) {
			t.Errorf("command %d, do: %+v, want %+v", tt.cmd, do, tt.do)
		}
		if !maps.Equal(dump, tt.dump) || (dump == nil) != (tt.dump == nil) {
			t.Errorf("command %d, dump: %+v, want %+v", tt.cmd, dump, tt.dump)
		}
	}
}

func number(b []byte) uint64 {
	if len(b) == 4 {
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return binary.NativeEndian.Uint64(b)
}

// A message to a port that nobody has is refused, and comes to nobody else.
func TestDeadPort(t *testing.T) {
	f := vmtest.Nlpeer(t)
	for _, tt := range []struct {
		protocol int
		m        vmtest.Message
	}{
		{vmtest.NetlinkTest, vmtest.NewEcho(1, []byte("hello"))},
		{unix.NETLINK_GENERIC, vmtest.NewGenl(f.ID, cmdEcho, 1, vmtest.Attr{Type: 1, Data: []byte("hello")})},
	} {
		s, dead := open(t, tt.protocol), open(t, tt.protocol)
		port := dead.PortID
		dead.Close()
		if err := unix.Sendto(s.FD, tt.m.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port}); err != unix.ECONNREFUSED {
			t.Errorf("protocol %d: %v, want ECONNREFUSED", tt.protocol, err)
		}
		s.Empty(t)
	}
}

// Random bytes in the shape of messages: whatever comes back, the module lives.
func TestNoise(t *testing.T) {
	f := vmtest.Nlpeer(t)
	raw, genl := open(t, vmtest.NetlinkTest), open(t, unix.NETLINK_GENERIC)
	rtnl, cn := open(t, unix.NETLINK_ROUTE), open(t, unix.NETLINK_CONNECTOR)
	r := vmtest.Rand(t)
	for range 4000 {
		m := vmtest.Message{
			Type:  uint16(14 + r.IntN(10)),
			Flags: uint16(r.Uint32()),
			Seq:   r.Uint32(),
			Body:  make([]byte, r.IntN(80)),
		}
		for i := range m.Body {
			m.Body[i] = byte(r.IntN(1 + r.IntN(256)))
		}
		s := raw
		switch r.IntN(4) {
		case 0:
			s, m.Type = genl, f.ID
		case 1:
			s, m.Type = rtnl, uint16(72+r.IntN(3))
			m.Body = append([]byte{127, 0, 0, 0}, m.Body...)
		case 2:
			s = cn
			m.Body = append(vmtest.Cn{Idx: 16, Val: 1}.Bytes()[:r.IntN(21)], m.Body...)
		}
		b := m.Bytes()
		if r.IntN(4) == 0 {
			b[r.IntN(4)] = byte(r.Uint32())
		}
		s.Send(t, b)
		for {
			if _, err := s.TryRecv(0); err == unix.ETIMEDOUT {
				break
			}
		}
	}
	alive(t, raw)
	beacon(t, genl, f)
}

// What takes long holds up all who ask any generic family, so it comes once in a
// datagram, at its end. On other carriers it holds up nobody.
func TestLongRequestsComeLast(t *testing.T) {
	const text = "nlpeer: what takes long must be the last request of a datagram"
	vmtest.Module(t, "interval_ms=0")
	c, l, raw := vmtest.OpenControl(t), vmtest.ListenRaw(t, 1), vmtest.OpenTable(t, vmtest.RawCarrier)
	genl := vmtest.OpenTable(t, vmtest.GenlCarrier)
	for _, tt := range []struct {
		name   string
		long   vmtest.Message
		offset int // of what makes it long
	}{
		{"burst", vmtest.NewGenl(c.Family, vmtest.CmdBeaconSet, 7, vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(1)}), 20},
		{"burst behind settings", vmtest.NewGenl(c.Family, vmtest.CmdBeaconSet, 7,
			vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(1)}, vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(1)}), 28},
		{"deletion by prefix", genl.Encode(vmtest.DelObjects("a")), 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.long.Flags |= unix.NLM_F_ACK
			short := vmtest.NewGenl(c.Family, vmtest.CmdEcho, 8, vmtest.Attr{Type: 1, Data: vmtest.Random(t, 13)})
			raw.Must(t, vmtest.NewObject(vmtest.FlagCreate, "a"))
			answers := func(messages ...vmtest.Message) vmtest.Ack {
				t.Helper()
				c.Send(t, vmtest.Join(messages...))
				var ack vmtest.Ack
				for _, m := range messages {
					if got := c.RecvOne(t); m.Seq == short.Seq {
						if got.Seq != short.Seq || !bytes.Equal(got.Body, short.Body) {
							t.Errorf("echo: %+v", got)
						}
					} else {
						ack = vmtest.ParseAck(t, got, m)
					}
				}
				c.Empty(t)
				return ack
			}
			done := func() (n int) {
				t.Helper()
				if _, err := l.TryNext(t, 0); err == nil {
					n++
				}
				if len(raw.All(t)) == 0 {
					n++
				}
				return n
			}

			for _, behind := range [][]vmtest.Message{{tt.long, short}, {tt.long, tt.long, short}, {short, tt.long, short}} {
				if ack := answers(behind...); ack.Errno != unix.EINVAL || ack.Text != text || ack.Offset != tt.offset {
					t.Errorf("before others: %+v", ack)
				}
				if n := done(); n != 0 {
					t.Errorf("before others: done")
				}
			}
			for _, last := range [][]vmtest.Message{{short, tt.long}, {tt.long}} {
				if ack := answers(last...); ack.Errno != 0 {
					t.Errorf("at the end: %+v", ack)
				}
				if n := done(); n != 1 {
					t.Errorf("at the end: not done")
				}
				if tt.name == "deletion by prefix" {
					raw.Must(t, vmtest.NewObject(vmtest.FlagCreate, "a"))
				}
			}
			raw.Must(t, vmtest.DelObjects(""))
		})
	}
	for _, carrier := range []*vmtest.Carrier{vmtest.RawCarrier, vmtest.RtnlCarrier} {
		tb := vmtest.OpenTable(t, carrier)
		tb.Must(t, vmtest.NewObject(vmtest.FlagCreate, "a"))
		tb.Send(t, vmtest.Join(tb.Encode(vmtest.DelObjects("a")), tb.Encode(vmtest.NewObject(vmtest.FlagCreate, "b"))))
		tb.Empty(t)
		if all := tb.All(t); len(all) != 1 || all[0].Key != "b" {
			t.Errorf("%s: %+v", carrier.Name, all)
		}
		tb.Must(t, vmtest.DelObjects(""))
	}
}
