// SPDX-License-Identifier: MIT

package kernel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
	"nlpeer/pkg/wire"
)

func background(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func diff(t *testing.T, what string, want, got any, opts ...cmp.Option) {
	t.Helper()
	if d := cmp.Diff(want, got, opts...); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// procMessage lays out a message of the process connector.
func procMessage(seq, ack, what, cpu uint32, at uint64, words ...uint32) []byte {
	var b []byte
	u32 := func(v ...uint32) {
		for _, v := range v {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
	}
	u32(1, 1, seq, ack)
	b = binary.NativeEndian.AppendUint16(b, 40)
	b = binary.NativeEndian.AppendUint16(b, 0)
	u32(what, cpu)
	b = binary.NativeEndian.AppendUint64(b, at)
	u32(words...)
	b = append(b, make([]byte, 24-4*len(words))...)
	return wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone}, b)
}

var comm = [4]uint32{
	binary.NativeEndian.Uint32([]byte("abcd")), binary.NativeEndian.Uint32([]byte("ef\x00\x00")),
	binary.NativeEndian.Uint32([]byte("junk")), 0,
}

var procMessages = []struct {
	what  uint32
	words []uint32
	want  kernel.ProcEvent
}{
	{0, []uint32{22}, kernel.ProcEvent{Kind: kernel.ProcAck, Err: syscall.EINVAL}},
	{1, []uint32{2, 3, 4, 5}, kernel.ProcEvent{Kind: kernel.ProcFork, ParentPID: 2, ParentTGID: 3, PID: 4, TGID: 5}},
	{2, []uint32{4, 5}, kernel.ProcEvent{Kind: kernel.ProcExec, PID: 4, TGID: 5}},
	{4, []uint32{4, 5, 1000, 0}, kernel.ProcEvent{Kind: kernel.ProcUID, PID: 4, TGID: 5, RealID: 1000}},
	{0x40, []uint32{4, 5, 0, 7}, kernel.ProcEvent{Kind: kernel.ProcGID, PID: 4, TGID: 5, EffectiveID: 7}},
	{0x80, []uint32{4, 5}, kernel.ProcEvent{Kind: kernel.ProcSID, PID: 4, TGID: 5}},
	{0x100, []uint32{4, 5, 6, 7}, kernel.ProcEvent{Kind: kernel.ProcPtrace, PID: 4, TGID: 5, TracerPID: 6, TracerTGID: 7}},
	{0x200, append([]uint32{4, 5}, comm[:]...), kernel.ProcEvent{Kind: kernel.ProcComm, PID: 4, TGID: 5, Comm: "abcdef"}},
	{0x40000000, []uint32{4, 5, 2, 3}, kernel.ProcEvent{Kind: kernel.ProcCoredump, PID: 4, TGID: 5, ParentPID: 2, ParentTGID: 3}},
	{0x80000000, []uint32{4, 5, 0x8b, 17, 2, 3}, kernel.ProcEvent{Kind: kernel.ProcExit, PID: 4, TGID: 5, Status: 0x8b, Signal: 17, ParentPID: 2, ParentTGID: 3}},
	{0x1234, []uint32{4, 5}, kernel.ProcEvent{Kind: 0x1234, PID: 4, TGID: 5}},
}

func TestParseProc(t *testing.T) {
	for _, tt := range procMessages {
		b := procMessage(8, 9, tt.what, 3, 123456789, tt.words...)
		want := tt.want
		want.Seq, want.CPU, want.Time = 8, 3, 123456789
		got, err := kernel.ParseProc(b)
		if err != nil {
			t.Errorf("%v: %v", want.Kind, err)
		}
		diff(t, want.Kind.String(), want, got, cmpopts.IgnoreUnexported(kernel.ProcEvent{}))
		// Cut short anywhere, it is refused.
		for n := range len(b) - 1 {
			cut := slices.Clone(b[:n])
			if n >= 4 {
				binary.NativeEndian.PutUint32(cut, uint32(n))
			}
			if _, err := kernel.ParseProc(cut); err == nil {
				t.Errorf("%v: %d of %d bytes are taken", want.Kind, n, len(b))
			}
		}
	}
	other := procMessage(1, 1, 1, 1, 1)
	other[16] = 5 // another callback of the connector
	if _, err := kernel.ParseProc(other); err != kernel.ErrProc {
		t.Errorf("%v", err)
	}
}

func TestParseUevent(t *testing.T) {
	udev := func(magic, offset, length uint32, text string) []byte {
		b := append([]byte("libudev\x00"), binary.BigEndian.AppendUint32(nil, magic)...)
		for _, v := range []uint32{40, offset, length, 0, 0, 0, 0} {
			b = binary.NativeEndian.AppendUint32(b, v)
		}
		return append(b, text...)
	}
	const text = "ACTION=add\x00DEVPATH=/module/m\x00SUBSYSTEM=module\x00SEQNUM=77\x00X=\x00Y=a=b\x00"
	env := []string{"ACTION=add", "DEVPATH=/module/m", "SUBSYSTEM=module", "SEQNUM=77", "X=", "Y=a=b"}
	want := kernel.Uevent{Action: "add", Path: "/module/m", Subsystem: "module", Seq: 77, Env: env}
	for _, b := range [][]byte{[]byte("add@/module/m\x00" + text), udev(0xfeedcafe, 40, uint32(len(text)), text)} {
		got, err := kernel.ParseUevent(b)
		if err != nil {
			t.Errorf("%q: %v", b, err)
		}
		diff(t, "uevent", want, got)
	}
	for _, b := range []string{
		"", "add", "add@/m", "add\x00", "@/m\x00", "add@\x00", "add@/m\x00X\x00", "add@/m\x00=x\x00", "add@/m\x00X=1",
		"libudev\x00", string(udev(0xfeedbeef, 40, uint32(len(text)), text)), string(udev(0xfeedcafe, 39, uint32(len(text)), text)),
		string(udev(0xfeedcafe, 40, uint32(len(text)+1), text)), string(udev(0xfeedcafe, 0xffffffff, 0xffffffff, text)),
		string(udev(0xfeedcafe, 40, 0, "")),
	} {
		if e, err := kernel.ParseUevent([]byte(b)); err != kernel.ErrUevent {
			t.Errorf("%q: %+v, %v", b, e, err)
		}
	}
}

// linkMessage is an RTM_NEWLINK.
func linkMessage() []byte {
	b := binary.NativeEndian.AppendUint16(nil, 0)
	b = binary.NativeEndian.AppendUint16(b, 1)
	for _, v := range []uint32{7, unix.IFF_UP, 0} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	b = wire.AppendString(b, unix.IFLA_IFNAME, "dummy7")
	b = wire.AppendAttr(b, unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 7})
	return wire.AppendUint32(b, unix.IFLA_MTU, 1400)
}

func TestParseRoute(t *testing.T) {
	m := wire.Message{Header: wire.Header{Type: unix.RTM_NEWLINK}, Body: linkMessage()}
	c, err := kernel.ParseRoute(m)
	if err != nil || c.Link == nil || c.Link.Index != 7 || c.Link.Attributes.Name != "dummy7" || c.Link.Attributes.MTU != 1400 {
		t.Errorf("%+v, %v", c, err)
	}
	// What was decoded outlives the datagram.
	for i := range m.Body {
		m.Body[i] = 0xff
	}
	if c.Link.Attributes.Name != "dummy7" || c.Link.Attributes.Address.String() != "02:00:00:00:00:07" {
		t.Errorf("%+v", c.Link.Attributes)
	}

	for _, tt := range []struct {
		typ, flags uint16
		want       string
	}{
		{unix.RTM_NEWROUTE, 0, "new"}, {unix.RTM_NEWROUTE, wire.FlagReplace, "replace"}, {unix.RTM_DELROUTE, 0, "del"},
		{unix.RTM_DELRULE, wire.FlagReplace, "del"}, {unix.RTM_NEWQDISC, 0, "new"}, {unix.RTM_GETLINK, 0, "other"},
	} {
		c := kernel.RouteChange{Type: tt.typ, Flags: tt.flags}
		if got := c.Action(); got != tt.want {
			t.Errorf("type %d, flags %#x: %q, want %q", tt.typ, tt.flags, got, tt.want)
		}
	}
	for _, typ := range []uint16{unix.RTM_NEWLINK, unix.RTM_DELADDR, unix.RTM_NEWNEIGH, unix.RTM_NEWROUTE, unix.RTM_DELRULE} {
		if c, err := kernel.ParseRoute(wire.Message{Header: wire.Header{Type: typ}, Body: []byte{1}}); !errors.Is(err, kernel.ErrRoute) {
			t.Errorf("type %d of one byte: %+v, %v", typ, c, err)
		}
	}
	if c, err := kernel.ParseRoute(wire.Message{Header: wire.Header{Type: unix.RTM_NEWQDISC}, Body: []byte{1}}); err != nil || string(c.Body) != "\x01" {
		t.Errorf("%+v, %v", c, err)
	}
}

// What the library that decodes does not know or refuses, and the kernel sends, is
// passed on as it is. Malformed it is an error.
func TestParseRouteOfOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		typ    uint16
		header int
		attrs  []byte
	}{
		"link with a short address":   {unix.RTM_NEWLINK, 16, wire.AppendAttr(nil, unix.IFLA_ADDRESS, []byte{1})},
		"address of MCTP":             {unix.RTM_NEWADDR, 8, wire.AppendUint8(nil, unix.IFA_LOCAL, 8)},
		"neighbour with a short time": {unix.RTM_DELNEIGH, 12, wire.AppendUint8(nil, unix.NDA_CACHEINFO, 9)},
		"route of Phonet":             {unix.RTM_NEWROUTE, 12, wire.AppendUint8(nil, unix.RTA_DST, 0x6c)},
		"rule with something unknown": {unix.RTM_NEWRULE, 12, wire.AppendUint8(nil, 25, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			m := wire.Message{Header: wire.Header{Type: tt.typ, Flags: wire.FlagReplace}, Body: append(make([]byte, tt.header), tt.attrs...)}
			c, err := kernel.ParseRoute(m)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, "change", kernel.RouteChange{Type: tt.typ, Flags: wire.FlagReplace, Body: m.Body}, c)
			for n := range tt.header {
				if c, err := kernel.ParseRoute(wire.Message{Header: m.Header, Body: m.Body[:n]}); !errors.Is(err, kernel.ErrRoute) {
					t.Errorf("%d bytes: %+v, %v", n, c, err)
				}
			}
			m.Body = append(m.Body, 9, 0, 1, 0) // an attribute that is longer than the message
			if c, err := kernel.ParseRoute(m); !errors.Is(err, kernel.ErrRoute) {
				t.Errorf("malformed: %+v, %v", c, err)
			}
		})
	}
}

// A rule that the running kernel knows more of than the library.
func TestRouteUnknownToTheLibrary(t *testing.T) {
	ns := newNetNS(t)
	l, err := kernel.ListenRoute(background(t), client.ListenConfig{NetNS: ns, Groups: []uint32{8}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: ns})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const dscp = 25                                                                  // FRA_DSCP
	rule := []byte{unix.AF_INET, 0, 0, 0, 254, 0, 0, unix.FR_ACT_TO_TBL, 0, 0, 0, 0} // struct fib_rule_hdr
	rule = wire.AppendUint8(rule, dscp, 10)
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWRULE, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
		Data:   rule,
	})
	if errors.Is(err, syscall.EINVAL) {
		t.Skip("the kernel does not know it either")
	}
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range l.Changes(background(t)) {
		if err != nil || c.Type != unix.RTM_NEWRULE || c.Group != 8 || len(c.Body) < unix.SizeofRtMsg {
			t.Fatalf("%+v, %v", c, err)
		}
		known := false
		for a := range wire.Attrs(c.Body[unix.SizeofRtMsg:]) {
			known = known || a.Type == dscp
		}
		if !known {
			t.Skip("the kernel has made the rule without it, as it does not know it either")
		}
		if c.Rule != nil {
			t.Errorf("the library knows it by now: %+v", c)
		}
		break
	}
}

// newNetNS returns a file descriptor of a new network namespace.
func newNetNS(t *testing.T) int {
	t.Helper()
	fd, failed := -1, make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		if os.Getenv("NLPEER_CI") == "1" {
			t.Fatalf("needs root, to make a network namespace: %v", err)
		}
		t.Skipf("needs root, to make a network namespace: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestParseFIB(t *testing.T) {
	b := []byte{10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 254, 24, 1, 1, 253, 0, 0, 0, 0}
	got, err := kernel.ParseFIB(b)
	if err != nil {
		t.Error(err)
	}
	want := kernel.FIBResult{Table: 254, Prefix: netip.MustParsePrefix("10.1.2.0/24"), Type: 1, Scope: 253, Hop: 1}
	diff(t, "result", want, got, cmpopts.EquateComparable(netip.Prefix{}))
	binary.NativeEndian.PutUint32(b[16:], ^uint32(syscall.EHOSTUNREACH)+1)
	got, err = kernel.ParseFIB(b)
	diff(t, "result", kernel.FIBResult{Table: 254, Err: syscall.EHOSTUNREACH}, got, cmpopts.EquateComparable(netip.Prefix{}))
	if err != nil {
		t.Error(err)
	}
	bad := slices.Clone(b)
	binary.NativeEndian.PutUint32(bad[16:], 5) // a positive errno
	long := slices.Clone(b)
	binary.NativeEndian.PutUint32(long[16:], 0)
	long[12] = 33
	for _, b := range [][]byte{nil, b[:19], bad, long} {
		if r, err := kernel.ParseFIB(b); err != kernel.ErrFIB {
			t.Errorf("% x: %+v, %v", b, r, err)
		}
	}
}

const procNetlink = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
00000000c0ffee00 0   0          00000000 0        0        0     2        0        7
00000000c0ffee01 2   4294963199 80000005 4352     0        0     3        9        123456
`

func TestParseProcNetlink(t *testing.T) {
	got, err := kernel.ParseProcNetlink([]byte(procNetlink))
	if err != nil {
		t.Error(err)
	}
	diff(t, "sockets", []kernel.Socket{
		{References: 2, Inode: 7},
		{Protocol: 2, PortID: 4294963199, Groups: []uint32{1, 3, 32}, ReceiveQueue: 4352, References: 3, Drops: 9, Inode: 123456},
	}, got)
	for _, bad := range []string{"x 0", "c 0 0 g 0 0 0 2 0 7", "c 0 -1 0 0 0 0 2 0 7", "c 0 0 0 0 0 0 2 0 7 8", ""} {
		if s, err := kernel.ParseProcNetlink([]byte("head\n" + bad + "\n")); !errors.Is(err, kernel.ErrProcNetlink) {
			t.Errorf("%q: %v, %v", bad, s, err)
		}
	}
}

func TestParseDiag(t *testing.T) {
	b := []byte{16, 3, 31, 1}
	for _, v := range []uint32{4294963199, 42, 0, 99, 0, 0} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	groups := binary.NativeEndian.AppendUint64(nil, 1|1<<35)
	b = wire.AppendAttr(b, 1, groups)
	got, err := kernel.ParseDiag(b)
	if err != nil {
		t.Error(err)
	}
	diff(t, "socket", kernel.Socket{Protocol: 31, PortID: 4294963199, Peer: 42, Connected: true, Inode: 99, Groups: []uint32{1, 36}}, got)
	if _, err := kernel.ParseDiag(b[:27]); err != kernel.ErrDiag {
		t.Errorf("%v", err)
	}
	if _, err := kernel.ParseDiag(b[:30]); err == nil {
		t.Error("half an attribute is taken")
	}
}

// The host's own kernel is asked too, as this needs nothing.
func TestLookUpFIB(t *testing.T) {
	r, err := kernel.LookUpFIB(background(t), kernel.FIBQuery{Addr: netip.MustParseAddr("127.0.0.1")})
	if err != nil || r.Err != 0 || r.Type != unix.RTN_LOCAL || r.Table != kernel.TableLocal {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := kernel.LookUpFIB(background(t), kernel.FIBQuery{Addr: netip.MustParseAddr("::1")}); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := kernel.LookUpFIB(ctx, kernel.FIBQuery{Addr: netip.MustParseAddr("127.0.0.1")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSockets(t *testing.T) {
	l, err := client.Listen(background(t), client.ListenConfig{Protocol: unix.NETLINK_ROUTE, Groups: []uint32{1, 9}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sockets, err := kernel.Sockets(background(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel.FindOwners(sockets)
	i := slices.IndexFunc(sockets, func(s kernel.Socket) bool { return s.Protocol == unix.NETLINK_ROUTE && s.PortID == l.PortID() })
	if i < 0 {
		t.Fatalf("no socket of ours in %+v", sockets)
	}
	s := sockets[i]
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "groups", []uint32{1, 9}, s.Groups)
	diff(t, "owners", []kernel.Owner{{PID: os.Getpid(), Name: strings.TrimSpace(string(comm))}}, s.Owners)
}

func TestProtocolNames(t *testing.T) {
	names := kernel.ProtocolNames()
	for n, want := range map[int]string{0: "route", 2: "usersock", 11: "connector", 16: "generic", 31: "test", 17: "17"} {
		if names[n] != want {
			t.Errorf("protocol %d is %q, want %q", n, names[n], want)
		}
	}
}

func FuzzParseProc(f *testing.F) {
	for _, m := range procMessages {
		f.Add(procMessage(1, 2, m.what, 3, 4, m.words...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		e, err := kernel.ParseProc(b)
		if err != nil && !cmp.Equal(e, kernel.ProcEvent{}, cmpopts.IgnoreUnexported(e)) {
			t.Errorf("%+v with %v", e, err)
		}
		_ = fmt.Sprint(e)
	})
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte("add@/module/m\x00ACTION=add\x00DEVPATH=/module/m\x00"))
	f.Add(append([]byte("libudev\x00\xfe\xed\xca\xfe"), make([]byte, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		e, err := kernel.ParseUevent(b)
		if (err == nil) != (e.Action != "" && e.Path != "") {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func FuzzParseRoute(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), linkMessage())
	for _, typ := range []uint16{unix.RTM_NEWADDR, unix.RTM_NEWROUTE, unix.RTM_NEWNEIGH, unix.RTM_NEWRULE} {
		f.Add(typ, wire.AppendUint32(make([]byte, 12), 1, 5))
	}
	f.Fuzz(func(t *testing.T, typ uint16, b []byte) {
		defer fuzzing.Limit(typ, b)()
		c, err := kernel.ParseRoute(wire.Message{Header: wire.Header{Type: typ}, Body: b})
		if err != nil && !errors.Is(err, kernel.ErrRoute) || err == nil && !bytes.Equal(c.Body, b) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func FuzzParseFIB(f *testing.F) {
	f.Add(make([]byte, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		if r, err := kernel.ParseFIB(b); err == nil && r.Err == 0 && !r.Prefix.IsValid() {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzParseSockets(f *testing.F) {
	f.Add([]byte(procNetlink))
	f.Add(make([]byte, 40))
	f.Fuzz(func(_ *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		_, _ = kernel.ParseProcNetlink(b)
		_, _ = kernel.ParseDiag(b)
	})
}
