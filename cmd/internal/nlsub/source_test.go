// SPDX-License-Identifier: MIT

package nlsub_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlsub"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
	"nlpeer/pkg/wire"
)

// A port is a Listener that yields datagrams and keeps what is sent.
type port struct {
	cfg       client.ListenConfig
	datagrams []client.Datagram
	sendErr   error
	sent      []wire.Message
	to        []uint32
}

func (p *port) listen(_ context.Context, cfg client.ListenConfig) (nlsub.Listener, error) {
	p.cfg = cfg
	return p, nil
}

func (p *port) Datagrams(ctx context.Context) iter.Seq2[client.Datagram, error] {
	return func(yield func(client.Datagram, error) bool) {
		for _, d := range p.datagrams {
			d.NSID = client.OwnNSID
			if !yield(d, nil) {
				return
			}
		}
		<-ctx.Done()
		yield(client.Datagram{}, &client.OpError{Op: "receive", Err: ctx.Err()})
	}
}

func (p *port) Send(to uint32, b []byte) error {
	for m, err := range wire.Messages(b) {
		if err != nil {
			return err
		}
		p.sent = append(p.sent, m)
	}
	p.to = append(p.to, to)
	if p.sendErr != nil {
		return &client.OpError{Op: "send", Err: p.sendErr}
	}
	return nil
}

func (p *port) PortID() uint32              { return 1<<32 - 5000 }
func (p *port) Stats() client.ListenerStats { return client.ListenerStats{Overruns: 2} }
func (p *port) Close() error                { return nil }

func TestUser(t *testing.T) {
	request := wire.AppendMessage(nil, wire.Header{Type: 20, Flags: wire.FlagRequest | wire.FlagAck, Seq: 9, PortID: 3}, []byte("ask"))
	event := wire.AppendMessage(nil, wire.Header{Type: 21, Flags: 0x100, Seq: 10}, []byte{1, 2})
	who := client.Credentials{PID: 70, UID: 1000, GID: 100}
	things := []client.Datagram{
		{Data: append(request, event...), From: 70, Sender: who},
		{Data: request, From: 70, Group: 3, Sender: who},
		{Data: []byte("junk"), From: 1<<32 - 4097, Sender: who},
		{Data: request, From: 0},
	}
	const hello = "listening on port ID 4294962296 (-5000), groups: 3-5\n"
	const totals = "group none: 3 received\ngroup 3: 1 received\ngroup 4: 0 received\ngroup 5: 0 received\n4 received, 2 overruns\n"
	const ask = " pid=70 uid=1000 gid=100 type=20 flags=request,ack seq=9 port=3 bytes=3 \"ask\""
	const junk = "nlsub: from port ID 4294963199 (-4097): netlink message header is cut short; the datagram has 4 bytes: \"junk\"\n"
	for _, test := range []struct {
		name, args string
		err        error
		want       clitest.Result
	}{
		{"listens", "--via usersock -g 3-5 --for 1", nil, clitest.Result{
			Out: hello + "from=70" + ask + "\nfrom=70 pid=70 uid=1000 gid=100 type=21 flags=0x100 seq=10 port=0 bytes=2 0102\nfrom=70 group=3" + ask +
				"\nfrom=0 pid=0 uid=0 gid=0 type=20 flags=request,ack seq=9 port=3 bytes=3 \"ask\"\n" + totals,
			Err: junk,
		}},
		{"replies", "--via usersock --mask 0x1c --for 1 --reply", nil, clitest.Result{
			Out: hello + "from=70" + ask + " answered\nfrom=70 pid=70 uid=1000 gid=100 type=21 flags=0x100 seq=10 port=0 bytes=2 0102\nfrom=70 group=3" + ask +
				"\nfrom=0 pid=0 uid=0 gid=0 type=20 flags=request,ack seq=9 port=3 bytes=3 \"ask\"\n" + totals,
			Err: junk,
		}},
		{"cannot reply", "--via usersock -g 3-5 -q --for 1 --reply", syscall.EAGAIN, clitest.Result{
			Out: totals, Err: "nlsub: no answer to port ID 70: its receive buffer is full\n" + junk,
		}},
		{"fails on gap", "--via usersock -g 3-5 -q -c 1 --fail-on-gap", nil, clitest.Result{
			Code: 1, Out: strings.Replace(strings.Replace(strings.Replace(totals, "none: 3", "none: 1", 1), "3: 1", "3: 0", 1), "4 rec", "1 rec", 1),
		}},
		{"json", "--via raw --reply --protocol 30 -c 1 -o json", nil, clitest.Result{
			Out: `{"type":"listening","protocol":30,"port":4294962296,"groups":[],"unix_ns":946684800000000000}
{"type":"message","from":70,"group":0,"pid":70,"uid":1000,"gid":100,"msg_type":20,"msg_flags":5,"seq":9,"msg_port":3,"answered":true,"unix_ns":946684800000000000,"bytes":3,"data":"YXNr"}
{"type":"summary","received":1,"overruns":2,"time_ns":0,"groups":[{"group":0,"name":"none","received":1}]}
`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := port{datagrams: things, sendErr: test.err}
				got := clitest.Run(t.Context(), nlsub.ListenWith(p.listen), strings.Fields(test.args)...)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				var want []wire.Message
				if strings.Contains(test.args, "--reply") {
					want = []wire.Message{{Header: wire.Header{Len: 19, Type: 20, Seq: 9, PortID: 70}, Body: []byte("ask")}}
				}
				if diff := cmp.Diff(want, p.sent); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What makes no sense is reported at once, not when something else comes.
func TestUserTroubleAtOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, outW := io.Pipe()
	errs, errsW := io.Pipe()
	go func() {
		cli.Run(ctx, nlsub.Command, cli.NewStreams(nil, outW, errsW), []string{"--via", "usersock"})
		outW.Close()
		errsW.Close()
	}()
	stdout, stderr := bufio.NewReader(out), bufio.NewReader(errs)
	var port int64
	if _, err := fmt.Fscanf(stdout, "listening on port ID %d", &port); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, stdout)
	sender, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	if err := sender.Send(uint32(port), []byte("junk")); err != nil {
		t.Fatal(err)
	}
	line, _ := stderr.ReadString('\n')
	if !strings.Contains(line, `the datagram has 4 bytes: "junk"`) || ctx.Err() != nil {
		t.Errorf("%q; %v", line, ctx.Err())
	}
	cancel()
	io.Copy(io.Discard, stderr) // until it has ended
}

// Nor does it wait for anything else to say that an answer could not be sent.
func TestNoAnswerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		request := wire.AppendMessage(nil, wire.Header{Type: 20, Flags: wire.FlagRequest}, nil)
		p := port{datagrams: []client.Datagram{{Data: request, From: 70}}, sendErr: syscall.EAGAIN}
		got := clitest.Run(t.Context(), nlsub.ListenWith(p.listen), strings.Fields("--via usersock --reply -q -t --for 1")...)
		if want := "2000-01-01T00:00:00.000000Z nlsub: no answer to port ID 70: its receive buffer is full\n"; got.Err != want {
			t.Errorf("%+v, want %q", got, want)
		}
	})
}

func TestListenConfig(t *testing.T) {
	for args, want := range map[string]client.ListenConfig{
		"--via usersock":                         {Protocol: unix.NETLINK_USERSOCK, Groups: []uint32{}},
		"--via usersock --pid 5 -g 1,32":         {Protocol: unix.NETLINK_USERSOCK, PortID: 5, Groups: []uint32{1, 32}},
		"--via usersock --rcvbuf 1K --all-nsid":  {Protocol: unix.NETLINK_USERSOCK, ReceiveBuffer: 1024, AllNSID: true, Groups: []uint32{}},
		"--via raw --reply --pid 7":              {Protocol: wire.NetlinkTest, PortID: 7, Groups: []uint32{}},
		"--reply --mask 3 --protocol 29 --pid 7": {Protocol: 29, PortID: 7, Groups: []uint32{1, 2}},
	} {
		var p port
		clitest.Run(t.Context(), nlsub.ListenWith(p.listen), append(strings.Fields(args), "--for", "1ms")...)
		if diff := cmp.Diff(want, p.cfg); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

// Flags that mean nothing to a source are refused in words that say where they
// do.
func TestSourceUsage(t *testing.T) {
	const route = "addr, route, rule, link, notify, neigh, tc,"
	for args, want := range map[string]string{
		"--via route --mask 1":         "--mask means nothing to --via route; it is for --via raw, genl, usersock",
		"--via uevent --all-nsid":      "--all-nsid means nothing to --via uevent; it is for --via raw, genl, route, usersock",
		"--via proc --reply":           "--reply means nothing to --via proc; it is for --via raw, usersock",
		"--via genl --reply":           "--reply means nothing to --via genl; it is for --via raw, usersock",
		"--via usersock --resync":      "--resync means nothing to --via usersock; it is for --via raw, genl, connector",
		"--reply --no-resync":          "--no-resync means nothing to --via raw --reply; it is for --via raw, genl, connector",
		"--via route --protocol 30":    "--protocol means nothing to --via route; it is for --via raw, genl",
		"--via route -g nothing":       `-g: group "nothing" is unknown; known are: ` + route + "*",
		"--via route -g link,":         `-g: the list "link," has an empty name; or a number, 1 to 1024`,
		"--via route -g 0":             `-g: group "0" is unknown; known are: ` + route + "*",
		"--via uevent -g 1":            `-g: group "1" is unknown; known are: kernel, udev`,
		"--via proc -g forks":          `-g: group "forks" is unknown; known are: ack, fork, exec, uid, gid, sid, ptrace, comm, coredump, exit`,
		"--via usersock -g 33":         `-g: group "33" is out of range; must be 1 to 32`,
		"--via usersock -g 1 --mask 1": "-g and --mask contradict each other: both choose groups",
	} {
		got := clitest.Run(t.Context(), nlsub.Command, strings.Fields(args)...)
		text, hint, _ := strings.Cut(got.Err, "\n")
		text = strings.TrimPrefix(text, "nlsub: ")
		if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(text, prefix) {
			text = want
		}
		if text != want || got.Code != cli.ExitError || hint != "Try 'nlsub --help' for more information.\n" {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}

func TestGroupCompletion(t *testing.T) {
	for via, want := range map[string][]string{
		"uevent": {"kernel", "udev"}, "usersock": {},
		"proc": {"ack", "fork", "exec", "uid", "gid", "sid", "ptrace", "comm", "coredump", "exit"},
	} {
		if diff := cmp.Diff(want, clitest.Complete(t, nlsub.Command, "--via", via, "-g", "")); diff != "" {
			t.Errorf("%s: proposed (-want +got):\n%s", via, diff)
		}
	}
	if got := clitest.Complete(t, nlsub.Command, "--via", "route", "-g", ""); len(got) != 3+37 || got[0] != "addr" || got[3] != "link" {
		t.Errorf("%q", got)
	}
}

func ptr[T any](v T) *T { return &v }

func TestRouteLines(t *testing.T) {
	name := func(index uint32) string { return map[uint32]string{2: "eth0", 3: "a b"}[index] }
	ip := net.ParseIP
	for _, test := range []struct {
		change kernel.RouteChange
		text   string
	}{
		{kernel.RouteChange{Type: unix.RTM_NEWLINK, Link: &rtnetlink.LinkMessage{Index: 3, Flags: unix.IFF_UP | unix.IFF_LOOPBACK,
			Attributes: &rtnetlink.LinkAttributes{Name: "a b", MTU: 9, Master: ptr(uint32(4)), OperationalState: 6}}},
			`new link 3: "a b" <LOOPBACK,UP> mtu 9 master 4 state up`},
		{kernel.RouteChange{Type: unix.RTM_DELADDR, Address: &rtnetlink.AddressMessage{Family: unix.AF_INET6, PrefixLength: 64, Index: 2,
			Scope: unix.RT_SCOPE_LINK, Attributes: &rtnetlink.AddressAttributes{Address: ip("fe80::1")}}},
			"del addr 2: eth0 inet6 fe80::1/64 scope link"},
		{kernel.RouteChange{Type: unix.RTM_NEWNEIGH, Neigh: &rtnetlink.NeighMessage{Family: unix.AF_INET, Index: 2, State: 0x14,
			Attributes: &rtnetlink.NeighAttributes{Address: ip("10.0.0.1").To4()}}},
			"new neigh 10.0.0.1 dev eth0 state stale,probe"},
		{kernel.RouteChange{Type: unix.RTM_NEWROUTE, Flags: wire.FlagReplace, Route: &rtnetlink.RouteMessage{Family: unix.AF_INET, Type: unix.RTN_UNICAST,
			Table: 254, Protocol: 77, Attributes: rtnetlink.RouteAttributes{Multipath: []rtnetlink.NextHop{
				{Hop: rtnetlink.RTNextHop{IfIndex: 2, Hops: 1}, Gateway: ip("10.0.0.1").To4()}, {Hop: rtnetlink.RTNextHop{IfIndex: 2}}}}}},
			"replace route inet default table main proto 77 scope global nexthop via 10.0.0.1 dev eth0 weight 2 nexthop dev eth0 weight 1"},
		{kernel.RouteChange{Type: unix.RTM_NEWROUTE, Route: &rtnetlink.RouteMessage{Family: unix.AF_INET6, Type: unix.RTN_BLACKHOLE, DstLength: 32,
			Attributes: rtnetlink.RouteAttributes{Dst: ip("fd00::"), Table: 1000, Priority: 5}}},
			"new route inet6 blackhole fd00::/32 table 1000 proto 0 scope global metric 5"},
		{kernel.RouteChange{Type: unix.RTM_DELRULE, Rule: &rtnetlink.RuleMessage{Family: unix.AF_INET, Action: 2, SrcLength: 8,
			Attributes: &rtnetlink.RuleAttributes{Src: ptr(ip("10.0.0.0").To4()), Goto: ptr(uint32(9)), FwMark: ptr(uint32(1)), FwMask: ptr(uint32(255)), IIFName: ptr("lo")}}},
			"del rule inet 0: from 10.0.0.0/8 fwmark 0x1/0xff iif lo goto 9"},
		{kernel.RouteChange{Type: unix.RTM_NEWQDISC, Body: []byte{1, 2, 3}}, "new other type=36 bytes=3"},
	} {
		test.change.NSID = client.OwnNSID
		if got := nlsub.RouteText(&test.change, name); got != test.text {
			t.Errorf("got  %q\nwant %q", got, test.text)
		}
	}
	// Numbers of links are of a namespace, and the names are of ours.
	for _, test := range []struct {
		change kernel.RouteChange
		text   string
	}{
		{kernel.RouteChange{Type: unix.RTM_NEWNEIGH, Neigh: &rtnetlink.NeighMessage{Index: 2}}, "new neigh  dev if2 state none nsid=4"},
		{kernel.RouteChange{Type: unix.RTM_NEWROUTE, Route: &rtnetlink.RouteMessage{Family: unix.AF_INET, Type: unix.RTN_UNICAST, Table: 254, Protocol: 77,
			Attributes: rtnetlink.RouteAttributes{OutIface: 2, Multipath: []rtnetlink.NextHop{{Hop: rtnetlink.RTNextHop{IfIndex: 3}}, {Hop: rtnetlink.RTNextHop{IfIndex: 2}}}}}},
			"new route inet default dev if2 table main proto 77 scope global nexthop dev if3 weight 1 nexthop dev if2 weight 1 nsid=4"},
	} {
		test.change.NSID = 4
		if got := nlsub.RouteText(&test.change, name); got != test.text {
			t.Errorf("got  %q\nwant %q", got, test.text)
		}
	}
}

func TestProcLines(t *testing.T) {
	for _, test := range []struct {
		event kernel.ProcEvent
		text  string
	}{
		{kernel.ProcEvent{Kind: kernel.ProcAck, Err: syscall.EPERM}, "ack error=EPERM"},
		{kernel.ProcEvent{Kind: kernel.ProcAck, Err: syscall.EOPNOTSUPP}, "ack error=EOPNOTSUPP"},
		{kernel.ProcEvent{Kind: kernel.ProcFork, PID: 5, TGID: 4, ParentPID: 1, ParentTGID: 1, Lost: 3}, "fork pid=4/5 parent=1"},
		{kernel.ProcEvent{Kind: kernel.ProcComm, PID: 4, TGID: 4, Comm: "a\nb"}, `comm pid=4 name="a\nb"`},
		{kernel.ProcEvent{Kind: kernel.ProcExit, PID: 4, TGID: 4, Status: 0x8b, Signal: 17}, "exit pid=4 killed=SIGSEGV,core parent=0 signal=SIGCHLD"},
		{kernel.ProcEvent{Kind: kernel.ProcExit, PID: 5, TGID: 4, Status: 0x300, Signal: -1}, "exit pid=4/5 code=3 parent=0"},
		{kernel.ProcEvent{Kind: kernel.ProcUID, PID: 4, TGID: 4, RealID: 1}, "uid pid=4 real=1 effective=0"},
		{kernel.ProcEvent{Kind: 0x1000, PID: 4, TGID: 4}, "kind 0x1000 pid=4"},
	} {
		test.event.Time = 2*time.Second + 5*time.Microsecond
		want := test.text + " cpu=0 time=2.000005"
		if test.event.Lost > 0 {
			want += " lost 3"
		}
		if got := nlsub.ProcText(&test.event); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// Words that a datagram has are not believed to be ours.
func TestUeventLine(t *testing.T) {
	e := kernel.Uevent{Group: kernel.UeventUdev, Action: "add\nremove", Path: "/a b", Subsystem: "net"}
	if got, want := nlsub.UeventText(&e), `udev "add\nremove" "/a b" (net)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
