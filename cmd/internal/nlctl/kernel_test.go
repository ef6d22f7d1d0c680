// SPDX-License-Identifier: MIT

package nlctl_test

import (
	"context"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlctl"
	"nlpeer/pkg/kernel"
)

func TestFIB(t *testing.T) {
	found := kernel.FIBResult{Table: 254, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Type: 1, Scope: 253, Hop: 2}
	const hint = "\nTry 'nlctl fib --help' for more information.\n"
	for _, test := range []struct {
		args   string
		query  kernel.FIBQuery
		result kernel.FIBResult
		err    error
		want   clitest.Result
	}{
		{"10.0.0.1", kernel.FIBQuery{}, found, nil, clitest.Result{Out: "unicast 10.0.0.1 prefix 10.0.0.0/8 table main scope link hop 2\n"}},
		{"10.0.0.1 --table local --tos 0x10 --scope host --mark 7", kernel.FIBQuery{Table: 255, TOS: 16, Scope: 254, Mark: 7}, kernel.FIBResult{Table: 255, Err: syscall.EAGAIN}, nil,
			clitest.Result{Code: 1, Out: "10.0.0.1: no route in table local\n"}},
		{"10.0.0.1 --table 9", kernel.FIBQuery{Table: 9}, kernel.FIBResult{Err: syscall.ENOENT}, nil, clitest.Result{Code: 1, Out: "10.0.0.1: there is no table 9\n"}},
		{"10.0.0.1", kernel.FIBQuery{}, kernel.FIBResult{Err: syscall.ENOENT}, nil, clitest.Result{Code: 1, Out: "10.0.0.1: no route in the tables local, main and default\n"}},
		{"10.0.0.1", kernel.FIBQuery{}, kernel.FIBResult{Table: 254, Err: syscall.EACCES}, nil, clitest.Result{Code: 1, Out: "10.0.0.1: prohibited, says table main\n"}},
		{"10.0.0.1 -o json", kernel.FIBQuery{}, found, nil,
			clitest.Result{Out: `{"type":"fib","addr":"10.0.0.1","found":true,"route_type":"unicast","prefix":"10.0.0.0/8","table":254,"scope":"link","hop":2}` + "\n"}},
		{"10.0.0.1 -o json", kernel.FIBQuery{}, kernel.FIBResult{Table: 254, Err: syscall.EINVAL}, nil,
			clitest.Result{Code: 1, Out: `{"type":"fib","addr":"10.0.0.1","found":false,"table":254,"errno":"EINVAL","error":"blackhole, says table main"}` + "\n"}},
		{"10.0.0.1 -o json", kernel.FIBQuery{}, kernel.FIBResult{Table: 254, Err: syscall.EOPNOTSUPP}, nil,
			clitest.Result{Code: 1, Out: `{"type":"fib","addr":"10.0.0.1","found":false,"table":254,"errno":"EOPNOTSUPP","error":"no route in the tables local, main and default"}` + "\n"}},
		{"10.0.0.1", kernel.FIBQuery{}, kernel.FIBResult{}, syscall.EPROTONOSUPPORT, clitest.Result{Code: 2, Err: "nlctl: this kernel has no NETLINK_FIB_LOOKUP\n"}},
		{"10.0.0.1", kernel.FIBQuery{}, kernel.FIBResult{}, context.DeadlineExceeded, clitest.Result{Code: 2, Err: "nlctl: asking NETLINK_FIB_LOOKUP: context deadline exceeded\n"}},
		{"", kernel.FIBQuery{}, found, nil, clitest.Result{Code: 2, Err: "nlctl: fib takes one ADDR, an IPv4 address such as 192.0.2.7" + hint}},
		{"host", kernel.FIBQuery{}, found, nil, clitest.Result{Code: 2, Err: `nlctl: "host" is no IPv4 address; there is no other that NETLINK_FIB_LOOKUP knows` + hint}},
		{"1.2.3.4 --table 256", kernel.FIBQuery{}, found, nil, clitest.Result{Code: 2, Err: `nlctl: invalid argument "256" for "--table" flag: must be local, main, default, or a number from 1 to 255` + hint}},
	} {
		t.Run(test.args, func(t *testing.T) {
			asked := false
			lookUp := func(_ context.Context, q kernel.FIBQuery) (kernel.FIBResult, error) {
				asked = true
				want := test.query
				want.Addr = netip.MustParseAddr("10.0.0.1")
				if diff := cmp.Diff(want, q, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("query (-want +got):\n%s", diff)
				}
				return test.result, test.err
			}
			got := clitest.Run(t.Context(), nlctl.KernelCommandWith(lookUp, nil), append([]string{"fib"}, strings.Fields(test.args)...)...)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if asked == strings.Contains(got.Err, "--help") {
				t.Errorf("asked: %v", asked)
			}
		})
	}
}

func TestSockets(t *testing.T) {
	list := func(context.Context, int) ([]kernel.Socket, error) {
		return []kernel.Socket{
			{Protocol: 0, References: 2, Inode: 3},
			{Protocol: 2, PortID: 1<<32 - 4097, Groups: []uint32{1, 2, 3, 7, 8}, ReceiveQueue: 10, Drops: 4, References: 3, Inode: 5,
				Connected: true, Peer: 9, Owners: []kernel.Owner{{PID: 70, Name: "nlsub"}, {PID: 71, Name: "a b"}}},
			{Protocol: 17, PortID: 8, References: 1},
		}, nil
	}
	const head = "PROTOCOL  PORT        PROCESS            GROUPS   QUEUE  DROPS  REF\n"
	const user = "usersock  4294963199  nlsub/70,\"a b\"/71  1-3,7,8  10     4      3\n"
	for args, want := range map[string]clitest.Result{
		"":                             {Out: head + "route     0           kernel             -        0      0      2\n" + user + "17        8           ?                  -        0      0      1\n"},
		"--protocol usersock --pid 71": {Out: head + user},
		"--protocol 0 --pid 71":        {Out: "PROTOCOL  PORT  PROCESS  GROUPS  QUEUE  DROPS  REF\n"},
		"-o json --protocol 2":         {Out: `{"type":"socket","protocol":2,"name":"usersock","port":4294963199,"peer":9,"groups":[1,2,3,7,8],"receive_queue":10,"drops":4,"references":3,"inode":5,"owners":[{"pid":70,"name":"nlsub"},{"pid":71,"name":"a b"}]}` + "\n"},
		"-o json --protocol 17":        {Out: `{"type":"socket","protocol":17,"name":"17","port":8,"groups":[],"receive_queue":0,"drops":0,"references":1,"inode":0,"owners":[]}` + "\n"},
		"x":                            {Code: 2, Err: "nlctl: sockets takes no argument, but there is \"x\"\nTry 'nlctl sockets --help' for more information.\n"},
		"--protocol 32":                {Code: 2, Err: "nlctl: invalid argument \"32\" for \"--protocol\" flag: must be the name of a protocol, such as route, or a number from 0 to 31\nTry 'nlctl sockets --help' for more information.\n"},
		"--pid 0":                      {Code: 2, Err: "nlctl: invalid argument \"0\" for \"--pid\" flag: must be the number of a process, 1 or more\nTry 'nlctl sockets --help' for more information.\n"},
	} {
		got := clitest.Run(t.Context(), nlctl.KernelCommandWith(nil, list), append([]string{"sockets"}, strings.Fields(args)...)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: result (-want +got):\n%s", args, diff)
		}
	}
}
