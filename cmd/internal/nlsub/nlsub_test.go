// SPDX-License-Identifier: MIT

package nlsub_test

import (
	"bytes"
	"context"
	"iter"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlsub"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func TestMain(m *testing.M) { clitest.Main(m, nlsub.Command) }

func TestCommon(t *testing.T) {
	clitest.CheckCommon(t, nlsub.Command, "nlsub", nlpeer.Version())
	clitest.CheckOutputEnds(t)
}

// A thing is what a subscription yields after a while.
type thing struct {
	after time.Duration
	event client.Event
	err   error
}

// A sub yields things, and then waits as long as it is let.
type sub struct {
	cfg    client.Config
	things []thing
	last   bool // the iteration ends after the last thing
	stats  client.SubscriptionStats
	closed bool
}

func (s *sub) subscribe(_ context.Context, cfg client.Config) (nlsub.Subscription, error) {
	s.cfg = cfg
	return s, nil
}

func (s *sub) Events(ctx context.Context) iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		for _, thing := range s.things {
			select {
			case <-time.After(thing.after):
			case <-ctx.Done():
				yield(client.Event{}, &client.OpError{Op: "events", Err: ctx.Err()})
				return
			}
			if thing.err == nil {
				s.count(thing.event)
			}
			if !yield(thing.event, thing.err) {
				return
			}
		}
		if !s.last {
			<-ctx.Done()
			yield(client.Event{}, &client.OpError{Op: "events", Err: ctx.Err()})
		}
	}
}

func (s *sub) count(e client.Event) {
	received, recovered := uint64(1), uint64(0)
	if e.Recovered {
		received, recovered = 0, 1
	}
	s.stats.Received += received
	s.stats.Recovered += recovered
	s.stats.Lost += e.Lost
	for i := range s.stats.Groups {
		if g := &s.stats.Groups[i]; g.Group == e.Group && g.NSID == e.NSID {
			g.Received += received
			g.Recovered += recovered
			g.Lost += e.Lost
			return
		}
	}
	s.stats.Groups = append(s.stats.Groups, client.GroupStats{NSID: e.NSID, Group: e.Group, Received: received, Recovered: recovered, Lost: e.Lost})
}

func (s *sub) Stats() client.SubscriptionStats { return s.stats }
func (s *sub) Close() error                    { s.closed = true; return nil }

// tick is an event of the beacon, a second after the last.
func tick(group uint32, seq, lost uint64, data string) thing {
	return thing{time.Second, client.Event{
		Group: group, Seq: seq, Time: time.Duration(seq)*time.Second + 1234567, Kind: wire.KindBeacon,
		Data: bytesOrNil(data), Lost: lost, NSID: client.OwnNSID,
	}, nil}
}

// about is an event about an object, a second after the last.
func about(group uint32, seq uint64, kind wire.Kind, key string, values ...string) thing {
	t := tick(group, seq, 0, "")
	var attrs []byte
	for _, v := range values {
		attrs = wire.AppendValues(attrs, []byte(v))
	}
	t.event.Kind = kind
	t.event.Object = client.ObjectView{Object: wire.Object{Key: []byte(key), Generation: 100 + seq, Attrs: attrs}}
	return t
}

// bytesOrNil returns nil for no data, as the library does.
func bytesOrNil(data string) []byte {
	if data == "" {
		return nil
	}
	return []byte(data)
}

func elsewhere(t thing, nsid int32) thing {
	t.event.NSID = nsid
	return t
}

func recovered(t thing) thing {
	t.event.Recovered = true
	return t
}

func failure(err error) thing { return thing{time.Second, client.Event{}, err} }

func TestOutput(t *testing.T) {
	overrun := &client.OverrunError{Op: "events", Count: 1}
	cut := &client.OpError{Op: "events", Err: client.ErrTruncated}
	ended := &client.OpError{Op: "events", Err: client.ErrEnded}
	const line1 = "group=1 seq=1 kind=beacon time=1.001234 bytes=0\n"

	for _, test := range []struct {
		name string
		args string // separated by spaces
		sub  sub
		want clitest.Result
	}{
		{
			name: "as many as asked for",
			args: "-c 2",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), tick(1, 2, 0, "\x02\x03"), tick(1, 3, 0, "")}},
			want: clitest.Result{Out: line1 + "group=1 seq=2 kind=beacon time=2.001234 bytes=2 0203\ngroup 1: 2 received, 0 recovered, 0 lost\n2 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "fewer than asked for",
			args: "-c 2 --for 1500ms",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), tick(1, 2, 0, "")}},
			want: clitest.Result{Code: 1, Out: line1 + "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "nothing asked for, nothing came",
			args: "--for 10s",
			want: clitest.Result{Out: "group 1: 0 received, 0 recovered, 0 lost\n0 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "idle",
			args: "--idle-timeout 1.5",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), tick(1, 2, 0, ""), {after: 2 * time.Second}}},
			want: clitest.Result{Out: line1 + "group=1 seq=2 kind=beacon time=2.001234 bytes=0\ngroup 1: 2 received, 0 recovered, 0 lost\n2 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "groups, quiet",
			args: "-q -c 3 -g 1,3-4",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), tick(4, 1, 0, ""), tick(4, 9, 7, "")}},
			want: clitest.Result{Out: "group 1: 1 received, 0 recovered, 0 lost\ngroup 3: 0 received, 0 recovered, 0 lost\ngroup 4: 2 received, 0 recovered, 7 lost\n3 received, 0 recovered, 7 lost, 0 overruns\n"},
		}, {
			name: "data that can be read, time of day",
			args: "-c 1 -t",
			sub:  sub{things: []thing{tick(1, 1, 0, "text")}},
			want: clitest.Result{Out: "2000-01-01T00:00:01.000000Z group=1 seq=1 kind=beacon time=1.001234 bytes=4 \"text\"\ngroup 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "generic netlink",
			args: "-c 1 --via genl",
			sub:  sub{things: []thing{tick(wire.GroupBeacon, 1, 0, "")}},
			want: clitest.Result{Out: "group=beacon seq=1 kind=beacon time=1.001234 bytes=0\ngroup beacon: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "all namespaces",
			args: "-c 1 --all-nsid",
			sub:  sub{things: []thing{elsewhere(tick(1, 1, 0, ""), 5)}},
			want: clitest.Result{Out: "group=1 seq=1 kind=beacon time=1.001234 bytes=0 nsid=5\ngroup 1: 0 received, 0 recovered, 0 lost\ngroup 1: 1 received, 0 recovered, 0 lost, nsid 5\n1 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "overrun",
			args: "-c 2",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), failure(overrun), tick(1, 5, 3, "")}, stats: client.SubscriptionStats{Overruns: 1}},
			want: clitest.Result{
				Out: line1 + "group=1 seq=5 kind=beacon time=5.001234 bytes=0 lost 3\ngroup 1: 2 received, 0 recovered, 3 lost\n2 received, 0 recovered, 3 lost, 1 overrun\n",
				Err: "nlsub: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "overrun without resync",
			args: "-q -c 1 --no-resync --fail-on-gap",
			sub:  sub{things: []thing{failure(overrun), tick(1, 1, 0, "")}, stats: client.SubscriptionStats{Overruns: 1}},
			want: clitest.Result{
				Code: 1,
				Out:  "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 1 overrun\n",
				Err:  "nlsub: receive buffer overran, events were lost; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "overrun, all recovered",
			args: "-c 3 --fail-on-gap",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), failure(overrun), recovered(tick(1, 2, 0, "")), tick(1, 3, 0, "")}, stats: client.SubscriptionStats{Overruns: 1}},
			want: clitest.Result{
				Out: line1 + "group=1 seq=2 kind=beacon time=2.001234 bytes=0 recovered\ngroup=1 seq=3 kind=beacon time=3.001234 bytes=0\n" +
					"group 1: 2 received, 1 recovered, 0 lost\n2 received, 1 recovered, 0 lost, 1 overrun\n",
				Err: "nlsub: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "overrun, not all recovered",
			args: "-c 2 --fail-on-gap",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), failure(overrun), recovered(tick(1, 5, 3, "x"))}, stats: client.SubscriptionStats{Overruns: 1}},
			want: clitest.Result{
				Code: 1,
				Out: line1 + "group=1 seq=5 kind=beacon time=5.001234 bytes=1 \"x\" lost 3 recovered\n" +
					"group 1: 1 received, 1 recovered, 3 lost\n1 received, 1 recovered, 3 lost, 1 overrun\n",
				Err: "nlsub: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "overrun, asked in vain",
			args: "-q -c 1 --fail-on-gap",
			sub:  sub{things: []thing{failure(overrun), tick(1, 1, 0, "")}, stats: client.SubscriptionStats{Overruns: 1, Failed: 1}},
			want: clitest.Result{
				Code: 1,
				Out:  "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 1 overrun\n",
				Err:  "nlsub: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "gap",
			args: "-q -c 2 --fail-on-gap",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), tick(1, 5, 3, "")}},
			want: clitest.Result{Code: 1, Out: "group 1: 2 received, 0 recovered, 3 lost\n2 received, 0 recovered, 3 lost, 0 overruns\n"},
		}, {
			name: "an overrun that no event came after",
			args: "-q --for 5 --fail-on-gap",
			sub:  sub{things: []thing{failure(overrun)}, stats: client.SubscriptionStats{Overruns: 1}},
			want: clitest.Result{
				Code: 1,
				Out:  "group 1: 0 received, 0 recovered, 0 lost\n0 received, 0 recovered, 0 lost, 1 overrun\n",
				Err:  "nlsub: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name: "no gap",
			args: "-q -c 1 --fail-on-gap",
			sub:  sub{things: []thing{tick(1, 1, 0, "")}},
			want: clitest.Result{Out: "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "a message that makes no sense",
			args: "-c 1",
			sub:  sub{things: []thing{failure(cut), tick(1, 1, 0, "")}},
			want: clitest.Result{
				Out: line1 + "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n",
				Err: "nlsub: datagram is longer than the receive buffer\n",
			},
		}, {
			name: "a message that makes no sense, and none after it",
			args: "-t --for 5",
			sub:  sub{things: []thing{failure(cut)}},
			want: clitest.Result{
				Out: "group 1: 0 received, 0 recovered, 0 lost\n0 received, 0 recovered, 0 lost, 0 overruns\n",
				Err: "2000-01-01T00:00:01.000000Z nlsub: datagram is longer than the receive buffer\n",
			},
		}, {
			name: "the socket fails",
			sub:  sub{things: []thing{tick(1, 1, 0, ""), failure(&client.OpError{Op: "events", Err: syscall.ECONNREFUSED})}, last: true},
			want: clitest.Result{
				Code: 2,
				Out:  line1 + "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n",
				Err:  "nlsub: connection refused\n",
			},
		}, {
			name: "objects",
			args: "-c 4 -g 2",
			sub: sub{things: []thing{
				about(2, 1, wire.KindObjectNew, "key", "text", "\x00\x01", ""),
				about(2, 2, wire.KindObjectChange, "two words", "1", "2", "3", "4", "5"),
				about(2, 3, wire.KindObjectDel, "\xff"),
				recovered(about(2, 4, wire.KindObjectDel, "key", "x")),
			}},
			want: clitest.Result{Out: `group=2 seq=1 kind=object-new time=1.001234 key="key" gen=101 values=3 "text" 0001 ""
group=2 seq=2 kind=object-change time=2.001234 key="two words" gen=102 values=5 "1" "2" "3" "4" ...
group=2 seq=3 kind=object-del time=3.001234 key="\xff" gen=103 values=0
group=2 seq=4 kind=object-del time=4.001234 key="key" gen=104 values=1 "x" recovered
group 2: 3 received, 1 recovered, 0 lost
3 received, 1 recovered, 0 lost, 0 overruns
`},
		}, {
			name: "objects and the beacon over generic netlink, json",
			args: "-o json -c 2 --via genl -g beacon,objects",
			sub: sub{things: []thing{
				about(wire.GroupObjects, 1, wire.KindObjectNew, "key", "text", ""),
				about(wire.GroupObjects, 2, wire.KindObjectDel, "\xff"),
			}},
			want: clitest.Result{Out: `{"type":"event","group":65537,"name":"objects","seq":1,"kind":"object-new","boottime_ns":1001234567,"unix_ns":946684801000000000,"recovered":false,"lost":0,"bytes":0,"data":"","object":{"key":"key","generation":101,"values":["dGV4dA==",""]}}
{"type":"event","group":65537,"name":"objects","seq":2,"kind":"object-del","boottime_ns":2001234567,"unix_ns":946684802000000000,"recovered":false,"lost":0,"bytes":0,"data":"","object":{"key_base64":"/w==","generation":102,"values":[]}}
{"type":"summary","received":2,"recovered":0,"lost":0,"overruns":0,"time_ns":2000000000,"groups":[{"group":65536,"name":"beacon","received":0,"recovered":0,"lost":0},{"group":65537,"name":"objects","received":2,"recovered":0,"lost":0}]}
`},
		}, {
			name: "the connector, and the peer's end",
			args: "--via connector",
			sub:  sub{things: []thing{tick(wire.GroupConnector, 9, 0, ""), failure(ended)}, last: true},
			want: clitest.Result{
				Out: "group=connector seq=9 kind=beacon time=9.001234 bytes=0\ngroup connector: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n",
				Err: "nlsub: the peer left: the nlpeer module was unloaded\n",
			},
		}, {
			name: "the connector, silent",
			args: "--via connector --for 1",
			want: clitest.Result{Out: "group connector: 0 received, 0 recovered, 0 lost\n0 received, 0 recovered, 0 lost, 0 overruns\n"},
		}, {
			name: "the peer's end before there was enough",
			args: "--via genl -q -c 2",
			sub:  sub{things: []thing{tick(wire.GroupBeacon, 1, 0, ""), failure(ended)}, last: true},
			want: clitest.Result{
				Code: 1,
				Out:  "group beacon: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n",
				Err:  "nlsub: the peer left: the nlpeer module was unloaded\n",
			},
		}, {
			name: "the peer's end, json",
			args: "--via genl -o json",
			sub:  sub{things: []thing{failure(ended)}, last: true},
			want: clitest.Result{Out: `{"type":"end","unix_ns":946684801000000000}
{"type":"summary","received":0,"recovered":0,"lost":0,"overruns":0,"time_ns":1000000000,"groups":[{"group":65536,"name":"beacon","received":0,"recovered":0,"lost":0}]}
`},
		}, {
			name: "json",
			args: "-o json -c 2",
			sub: sub{
				things: []thing{failure(cut), tick(1, 1, 0, "\x01\x02"), failure(overrun), recovered(elsewhere(tick(1, 5, 3, ""), 0))},
				stats:  client.SubscriptionStats{Overruns: 1},
			},
			want: clitest.Result{Out: `{"type":"error","error":"datagram is longer than the receive buffer","unix_ns":946684801000000000}
{"type":"event","group":1,"seq":1,"kind":"beacon","boottime_ns":1001234567,"unix_ns":946684802000000000,"recovered":false,"lost":0,"bytes":2,"data":"AQI="}
{"type":"overrun","count":1,"unix_ns":946684803000000000}
{"type":"event","group":1,"seq":5,"kind":"beacon","boottime_ns":5001234567,"unix_ns":946684804000000000,"recovered":true,"lost":3,"bytes":0,"data":"","nsid":0}
{"type":"summary","received":1,"recovered":1,"lost":3,"overruns":1,"time_ns":4000000000,"groups":[{"group":1,"received":1,"recovered":0,"lost":0},{"group":1,"nsid":0,"received":0,"recovered":1,"lost":3}]}
`},
		}, {
			name: "json over generic netlink, quiet",
			args: "-o json -q -c 1 --via genl",
			sub:  sub{things: []thing{tick(wire.GroupBeacon, 1, 0, "")}},
			want: clitest.Result{Out: `{"type":"summary","received":1,"recovered":0,"lost":0,"overruns":0,"time_ns":1000000000,"groups":[{"group":65536,"name":"beacon","received":1,"recovered":0,"lost":0}]}
`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TZ", "UTC")
			synctest.Test(t, func(t *testing.T) {
				s := test.sub
				got := clitest.Run(t.Context(), nlsub.CommandWith(s.subscribe), strings.Fields(test.args)...)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				if !s.closed {
					t.Error("the subscription was not closed")
				}
			})
		})
	}
}

func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		s := sub{things: []thing{tick(1, 1, 0, ""), tick(1, 2, 0, "")}}
		got := clitest.Run(ctx, nlsub.CommandWith(s.subscribe), "-q")
		want := clitest.Result{Out: "group 1: 1 received, 0 recovered, 0 lost\n1 received, 0 recovered, 0 lost, 0 overruns\n"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
	})
}

// A file that takes so many writes.
type file struct {
	bytes.Buffer
	room int
	err  error
}

func (f *file) Write(p []byte) (int, error) {
	if f.room == 0 {
		return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: f.err}
	}
	f.room--
	return f.Buffer.Write(p)
}

func TestOutputEnds(t *testing.T) {
	for _, test := range []struct {
		err  syscall.Errno
		want clitest.Result
	}{
		{syscall.ENOSPC, clitest.Result{
			Code: cli.ExitError,
			Err:  "2 received, 0 recovered, 0 lost, 0 overruns\nnlsub: writing standard output: no space left on device\n",
		}},
		{syscall.EPIPE, clitest.Result{Code: cli.ExitPipe}},
	} {
		t.Run(test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, errs := &file{room: 1, err: test.err}, new(bytes.Buffer)
				s := sub{things: []thing{tick(1, 1, 0, ""), tick(1, 2, 0, "")}}
				code := cli.Run(t.Context(), nlsub.CommandWith(s.subscribe), cli.NewStreams(strings.NewReader(""), out, errs), nil)
				if diff := cmp.Diff(test.want, clitest.Result{Code: code, Err: errs.String()}); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestConfig(t *testing.T) {
	for args, want := range map[string]client.Config{
		"":                               {Groups: 1},
		"-g 1,3-5 --rcvbuf 64K":          {Groups: 0x1d, ReceiveBuffer: 64 << 10},
		"--mask 0x15 --pid 5":            {Groups: 0x15, PortID: 5},
		"--mask 0xffffffff --all-nsid":   {Groups: 0xffffffff, AllNSID: true},
		"--no-resync":                    {Groups: 1, NoResync: true},
		"--resync":                       {Groups: 1},
		"--protocol 25":                  {Groups: 1, Protocol: 25},
		"--via genl":                     {Carrier: client.Generic, GroupNames: []string{"beacon"}},
		"--via genl -g beacon,objects":   {Carrier: client.Generic, GroupNames: []string{"beacon", "objects"}},
		"--via connector --no-resync":    {Carrier: client.Connector, NoResync: true},
		"-g beacon --via genl --for 1ms": {Carrier: client.Generic, GroupNames: []string{"beacon"}},
	} {
		t.Run(args, func(t *testing.T) {
			s := sub{last: true}
			clitest.Run(t.Context(), nlsub.CommandWith(s.subscribe), strings.Fields(args)...)
			if diff := cmp.Diff(want, s.cfg); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	const numbers = "is not understood; must be numbers from 1 to 32, such as 1,3-5"
	for args, want := range map[string]string{
		"1":                           `takes no argument, but there is "1"; groups are chosen by -g`,
		"-y":                          "unknown shorthand flag: 'y' in -y",
		"--resync --no-resync":        "--resync and --no-resync contradict each other",
		"-g 0":                        `-g: group "0" is out of range; must be 1 to 32`,
		"-g 33":                       `-g: group "33" is out of range; must be 1 to 32`,
		"-g 1-":                       `-g: group "1-" ` + numbers,
		"-g a-b":                      `-g: group "a-b" ` + numbers + "; names are for --via genl",
		"-g 5-3":                      `-g: groups "5-3" run backwards; try: 3-5`,
		"-g -1":                       `-g: group "-1" ` + numbers,
		"-g beacon":                   `-g: group "beacon" ` + numbers + "; names are for --via genl",
		"-g 1 --via genl":             `-g: group "1" is a number; on generic netlink groups have names: beacon, objects`,
		"-g beacon, --via genl":       `-g: the list "beacon," has an empty name`,
		"--groups=":                   `invalid argument "" for "-g, --groups" flag: must name at least one group`,
		"--mask 1 -g 1":               "-g and --mask contradict each other: both choose groups",
		"--mask 1 --via genl":         "--mask is for --via raw; on generic netlink groups have names: -g beacon,objects",
		"--mask 0":                    `invalid argument "0" for "--mask" flag: must name at least one group`,
		"--mask 0x100000000":          `invalid argument "0x100000000" for "--mask" flag: must be a number of 32 bits, such as 0x15 for groups 1, 3 and 5`,
		"-g 16 --via connector":       "-g means nothing to --via connector: the peer has one group there",
		"--mask 1 --via connector":    "--mask means nothing to --via connector; it is for --via raw, genl, usersock",
		"--all-nsid --via connector":  "--all-nsid means nothing to --via connector; it is for --via raw, genl, route, usersock",
		"--protocol 30 --via genl":    "--protocol is for --via raw; generic netlink finds the family by its name",
		"--via nothing":               `invalid argument "nothing" for "--via" flag: there is no such source; known are: raw, genl, connector, route, uevent, proc, usersock`,
		"-c 0":                        `invalid argument "0" for "-c, --count" flag: must be a whole number, 1 or more`,
		"--for 0":                     `invalid argument "0" for "--for" flag: must be 1ms to 10000h`,
		"--idle-timeout -1s":          `invalid argument "-1s" for "--idle-timeout" flag: must be 1ms to 10000h`,
		"--rcvbuf 0":                  `invalid argument "0" for "--rcvbuf" flag: must be 1 to 1073741823 bytes`,
		"--rcvbuf 1G":                 `invalid argument "1G" for "--rcvbuf" flag: must be 1 to 1073741823 bytes`,
		"--rcvbuf big":                `invalid argument "big" for "--rcvbuf" flag: must be a number of bytes, such as 4096, 64K or 1M`,
		"--pid 99999999999":           `invalid argument "99999999999" for "--pid" flag: must be auto, getpid, thread, or a number from 1 to 4294967295`,
		"--idle-timeout 1 --for soon": `invalid argument "soon" for "--for" flag: must be seconds, such as 2 or 0.5, or a duration, such as 500ms or 1m30s`,
	} {
		t.Run(args, func(t *testing.T) {
			got := clitest.Run(t.Context(), nlsub.Command, strings.Fields(args)...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlsub: " + want + "\nTry 'nlsub --help' for more information.\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetUpErrors(t *testing.T) {
	eperm := &client.OpError{Op: "subscribe", Err: syscall.EPERM}
	for _, test := range []struct {
		args string
		err  error
		want string
	}{
		{"", client.ErrNotLoaded, "the nlpeer module is not loaded (protocol 31 is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--via genl", client.ErrNotLoaded, "the nlpeer module is not loaded (family nlpeer is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--all-nsid", eperm, "--all-nsid needs CAP_NET_BROADCAST in this network namespace; try with sudo"},
		{"-n /proc/self/ns/net", eperm, "entering network namespace /proc/self/ns/net needs CAP_SYS_ADMIN; try with sudo"},
		{"-n /proc/self/ns/net --all-nsid", eperm, "--netns needs CAP_SYS_ADMIN and --all-nsid needs CAP_NET_BROADCAST; try with sudo"},
		{"--pid 77", &client.OpError{Op: "subscribe", Err: syscall.EADDRINUSE}, "port ID 77 (--pid 77) is in use by another socket; try: --pid auto"},
		{
			"--via genl -g nothing",
			&client.OpError{Op: "subscribe", Err: &client.GroupError{Family: "nlpeer", Group: "nothing", Known: []string{"beacon", "doves"}}},
			`family "nlpeer" has no multicast group "nothing"; known are: beacon, doves`,
		},
		{"--via connector", client.ErrNotLoaded, "the nlpeer module is not loaded (nobody answers on the connector); try: sudo insmod nlpeer.ko, or: make demo"},
		{"--via connector", &client.OpError{Op: "subscribe", Err: client.ErrNoCarrier}, "the peer can not be reached by this carrier; try another --via"},
		{"--via connector", eperm, "listening on the connector needs CAP_NET_ADMIN; try with sudo, or another --via"},
	} {
		t.Run(test.want, func(t *testing.T) {
			subscribe := func(context.Context, client.Config) (nlsub.Subscription, error) { return nil, test.err }
			got := clitest.Run(t.Context(), nlsub.CommandWith(subscribe), strings.Fields(test.args)...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlsub: " + test.want + "\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// The words that the README promises, from a kernel that really is without.
func TestNotLoaded(t *testing.T) {
	clitest.NeedNoModule(t)
	for via, what := range map[string]string{"raw": "protocol 31", "genl": "family nlpeer"} {
		got := clitest.Run(t.Context(), nlsub.Command, "--via", via)
		want := clitest.Result{Code: cli.ExitError, Err: "nlsub: the nlpeer module is not loaded (" + what + " is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo\n"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("--via %s: result (-want +got):\n%s", via, diff)
		}
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string][]string{
		"--via":         {"raw", "genl", "connector", "route", "uevent", "proc", "usersock"},
		"-o":            {"text", "json"},
		"--pid":         {"auto", "getpid", "thread"},
		"-g":            {},
		"--via genl -g": {"beacon", "objects"},
		"--for":         {},
	} {
		if diff := cmp.Diff(want, clitest.Complete(t, nlsub.Command, append(strings.Fields(args), "")...)); diff != "" {
			t.Errorf("%s: proposed (-want +got):\n%s", args, diff)
		}
	}
}

// That the first line could not be written is an end, before anything comes.
func TestFirstLineUnwritable(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	for _, format := range []string{"text", "json"} {
		var stderr bytes.Buffer
		cmd := clitest.Process(t, "--via", "usersock", "-o", format)
		cmd.Stdout, cmd.Stderr = full, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
		want := "0 received, 0 overruns\nnlsub: writing standard output: no space left on device\n"
		if code := cmd.ProcessState.ExitCode(); code != cli.ExitError || stderr.String() != want {
			t.Errorf("%v, %q, want %q", cmd.ProcessState, &stderr, want)
		}
	}
}
