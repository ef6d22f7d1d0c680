// SPDX-License-Identifier: MIT

package nlctl_test

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer"
	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlctl"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func TestMain(m *testing.M) {
	build := nlctl.Command
	if os.Getenv(withFakeTracer) != "" {
		build = nlctl.TraceWith((&fakeTracer{says: os.Stderr}).open)
	}
	clitest.Main(m, build)
}

func TestCommon(t *testing.T) {
	clitest.CheckCommon(t, nlctl.Command, "nlctl", nlpeer.Version())
	clitest.CheckOutputEnds(t)
}

// A peer remembers its beacon.
type peer struct {
	nlctl.Peer // for what no test here asks
	cfg        client.Config
	beacon     client.Beacon
	burst      int   // the last one
	refusal    error // of a change
	closed     bool
}

func (p *peer) dial(_ context.Context, cfg client.Config) (nlctl.Peer, error) {
	p.cfg = cfg
	return p, nil
}

func (p *peer) Beacon(context.Context) (client.Beacon, error) { return p.beacon, nil }

func (p *peer) SetBeacon(_ context.Context, c client.BeaconChange) error {
	if p.refusal != nil {
		return p.refusal
	}
	if c.Interval != nil {
		p.beacon.Interval = *c.Interval
	}
	if c.Groups != nil {
		p.beacon.Groups = *c.Groups
	}
	if c.Generic != nil {
		p.beacon.Generic = *c.Generic
	}
	if c.Connector != nil {
		p.beacon.Connector = *c.Connector
	}
	if c.Size != nil {
		p.beacon.Size = *c.Size
	}
	if c.Packed != nil {
		p.beacon.Packed = *c.Packed
	}
	p.burst = c.Burst
	return nil
}

func (p *peer) Stats(context.Context) (client.Stats, error) {
	return client.Stats{
		Carriers: []client.CarrierStats{
			{Carrier: wire.CarrierRaw, Requests: 12, Replies: 9, Errors: 3, RxBytes: 1200, TxBytes: 900, Events: 7,
				Errs: []client.ErrorCount{{Errno: syscall.ENOENT, Count: 2}, {Errno: syscall.EOPNOTSUPP, Count: 4}, {Count: 1}}},
			{Carrier: wire.CarrierGenl, Requests: 3, Replies: 3, RxBytes: 60, TxBytes: 60, EventErrors: 2},
		},
		Beacon:  client.BeaconStats{Ticks: 100, Idle: 90, Missed: 1},
		History: client.HistoryStats{Size: 1024, Held: 7, Bytes: 500, BytesMax: 1 << 20},
		Objects: client.ObjectStats{Count: 2, CountMax: 4096, Bytes: 300, BytesMax: 4 << 20, Generation: 9, Snapshots: 1},
	}, nil
}

func (p *peer) Close() error { p.closed = true; return nil }

var sysfs = fstest.MapFS{
	"version":                &fstest.MapFile{Data: []byte(nlpeer.Version() + "\n")},
	"parameters/protocol":    &fstest.MapFile{Data: []byte("30\n")},
	"parameters/interval_ms": &fstest.MapFile{Data: []byte("1000\n")},
}

func TestOutput(t *testing.T) {
	usual := client.Beacon{Interval: time.Second, Groups: 1, Generic: true}
	for _, test := range []struct {
		name   string
		args   string // separated by spaces
		beacon client.Beacon
		sysfs  fs.FS
		want   string
	}{
		{
			name:   "info",
			args:   "info",
			beacon: usual,
			want: "module      loaded, version " + nlpeer.Version() + `
protocol    30
family      nlpeer, id 32, version 1
mcast       beacon, id 9
parameter   interval_ms=1000
parameter   protocol=30
beacon      every 1s to raw group 1 and genl group beacon, 0 bytes of data
`,
		}, {
			name:  "info of another version",
			args:  "info",
			sysfs: fstest.MapFS{"version": &fstest.MapFile{Data: []byte("9.9\n")}},
			want: "module      loaded, version 9.9, but nlctl is of " + nlpeer.Version() + `
family      nlpeer, id 32, version 1
mcast       beacon, id 9
beacon      off
`,
		}, {
			name:   "info without sysfs",
			args:   "info",
			beacon: client.Beacon{Interval: 20 * time.Millisecond, Size: 8},
			sysfs:  fstest.MapFS{},
			want: `module      loaded, of an unknown version (no nlpeer in /sys/module)
family      nlpeer, id 32, version 1
mcast       beacon, id 9
beacon      every 20ms to nobody, 8 bytes of data
`,
		}, {
			name:   "info of a beacon on the connector",
			args:   "info",
			beacon: client.Beacon{Interval: time.Second, Groups: 3, Generic: true, Connector: true},
			sysfs:  fstest.MapFS{},
			want: `module      loaded, of an unknown version (no nlpeer in /sys/module)
family      nlpeer, id 32, version 1
mcast       beacon, id 9
beacon      every 1s to raw groups 1,2 and genl group beacon and the connector, 0 bytes of data
`,
		}, {
			name:   "info as json",
			args:   "info -o json",
			beacon: usual,
			want: `{"type":"info","loaded":true,"version":"` + nlpeer.Version() + `","protocol":30,"parameters":{"interval_ms":"1000","protocol":"30"},` +
				`"family":{"name":"nlpeer","id":32,"version":1,"groups":[{"name":"beacon","id":9}]},` +
				`"beacon":{"type":"beacon","interval_ns":1000000000,"groups":[1],"mask":1,"genl":true,"connector":false,"size":0,"packed":[]}}` + "\n",
		}, {
			name: "stats",
			args: "stats",
			want: `  carrier  requests  replies  errors  rx bytes  tx bytes  events  event errors
      raw        12        9       3      1200       900       7             0
     genl         3        3       0        60        60       0             2

errors of raw: 2 ENOENT, 4 EOPNOTSUPP, 1 other
beacon: 100 ticks, 90 idle, 1 missed
history: 7 of 1024 events, 500 of 1048576 bytes
objects: 2 of 4096, 300 of 4194304 bytes, generation 9, atomic dumps 1
`,
		}, {
			name: "stats as json",
			args: "-o json stats",
			want: `{"type":"stats","carriers":[` +
				`{"carrier":"raw","requests":12,"replies":9,"errors":3,"rx_bytes":1200,"tx_bytes":900,"events":7,"event_errors":0,` +
				`"errors_by_errno":[{"errno":"ENOENT","count":2},{"errno":"EOPNOTSUPP","count":4},{"errno":"other","count":1}]},` +
				`{"carrier":"genl","requests":3,"replies":3,"errors":0,"rx_bytes":60,"tx_bytes":60,"events":0,"event_errors":2,"errors_by_errno":[]}],` +
				`"beacon":{"ticks":100,"idle":90,"missed":1},"history":{"size":1024,"held":7,"bytes":500,"bytes_max":1048576},` +
				`"objects":{"count":2,"count_max":4096,"bytes":300,"bytes_max":4194304,"generation":9,"snapshots":1}}` + "\n",
		}, {
			name:   "beacon get",
			args:   "beacon get",
			beacon: usual,
			want:   "interval   1s\ngroups     1\ngenl       on\nconnector  off\nsize       0\npacked     none\n",
		}, {
			name: "beacon get, all off",
			args: "beacon get",
			want: "interval   off\ngroups     none\ngenl       off\nconnector  off\nsize       0\npacked     none\n",
		}, {
			name: "beacon get as json, all off",
			args: "beacon get -o json",
			want: `{"type":"beacon","interval_ns":0,"groups":[],"mask":0,"genl":false,"connector":false,"size":0,"packed":[]}` + "\n",
		}, {
			name:   "set the interval alone",
			args:   "beacon set --interval 250ms",
			beacon: usual,
			want:   "interval   250ms\ngroups     1\ngenl       on\nconnector  off\nsize       0\npacked     none\n",
		}, {
			name:   "set the interval in seconds",
			args:   "beacon set --interval 0.001",
			beacon: usual,
			want:   "interval   1ms\ngroups     1\ngenl       on\nconnector  off\nsize       0\npacked     none\n",
		}, {
			name:   "set everything",
			args:   "beacon set --interval 1h --groups 1,3-5,32 --genl off --size 4K",
			beacon: usual,
			want:   "interval   1h\ngroups     1,3-5,32\ngenl       off\nconnector  off\nsize       4096\npacked     none\n",
		}, {
			name:   "switch everything off",
			args:   "beacon set --interval off --groups none --genl off --size 0",
			beacon: client.Beacon{Interval: time.Second, Groups: 7, Generic: true, Size: 9},
			want:   "interval   off\ngroups     none\ngenl       off\nconnector  off\nsize       0\npacked     none\n",
		}, {
			name:   "set the connector",
			args:   "beacon set --connector on",
			beacon: usual,
			want:   "interval   1s\ngroups     1\ngenl       on\nconnector  on\nsize       0\npacked     none\n",
		}, {
			name:   "set packed groups, and a burst",
			args:   "beacon set --packed 3,4 --burst 64",
			beacon: usual,
			want:   "interval   1s\ngroups     1\ngenl       on\nconnector  off\nsize       0\npacked     3,4\n",
		}, {
			name:   "set by mask",
			args:   "beacon set --mask 0x15 -o json",
			beacon: usual,
			want:   `{"type":"beacon","interval_ns":1000000000,"groups":[1,3,5],"mask":21,"genl":true,"connector":false,"size":0,"packed":[]}` + "\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := peer{beacon: test.beacon}
			if test.sysfs == nil {
				test.sysfs = sysfs
			}
			got := clitest.Run(t.Context(), nlctl.CommandWith(p.dial, test.sysfs), strings.Fields(test.args)...)
			if diff := cmp.Diff(clitest.Result{Out: test.want}, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if !p.closed {
				t.Error("the connection was not closed")
			}
			if p.cfg.Carrier != client.Generic {
				t.Errorf("it asked by the %v carrier", p.cfg.Carrier)
			}
			if want := strings.Contains(test.args, "--burst 64"); want != (p.burst == 64) {
				t.Errorf("a burst of %d events", p.burst)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		args string
		err  error
		want string
	}{
		{
			"beacon set --groups 3 --interval 100ms",
			&client.OpError{Op: "beacon-set", Err: syscall.EPERM},
			"changing the beacon needs CAP_NET_ADMIN in this network namespace; try: sudo nlctl beacon set --groups 3 --interval 100ms",
		}, {
			"beacon set --size 4096",
			&client.OpError{Op: "beacon-set", Err: syscall.ERANGE, ExtAck: &client.ExtAck{Text: "integer out of range", Offset: 20}},
			"beacon-set: numerical result out of range: integer out of range (attribute at offset 20)",
		},
	} {
		t.Run(test.want, func(t *testing.T) {
			p := peer{refusal: test.err}
			got := clitest.Run(t.Context(), nlctl.CommandWith(p.dial, sysfs), strings.Fields(test.args)...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlctl: " + test.want + "\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct{ args, path, want string }{
		{"", "nlctl", "a command is missing: beacon, decode, fib, info, object, sockets, stats, trace"},
		{"thing", "nlctl", "there is no command thing; commands are: beacon, decode, fib, info, object, sockets, stats, trace"},
		{"beacon", "nlctl beacon", "a command is missing: beacon get or beacon set"},
		{"beacon put", "nlctl beacon", "there is no command beacon put; commands are: beacon get, beacon set"},
		{"trace", "nlctl trace", "a command to run is missing; try: nlctl trace -- nlecho hello"},
		{"trace --depth 0 true", "nlctl trace", `invalid argument "0" for "--depth" flag: must be a whole number, 1 or more`},
		{"trace --functions !x true", "nlctl trace", `invalid argument "!x" for "--functions" flag: must be a pattern of function names, such as 'tcp_*'`},
		{"trace --buffer 1K true", "nlctl trace", `invalid argument "1K" for "--buffer" flag: must be 65536 to 1073741824 bytes`},
		{"trace --to= true", "nlctl trace", `invalid argument "" for "--to" flag: must be a file's name`},
		{"trace --raw --depth 3 true", "nlctl trace", "--raw is the kernel's own text; it cannot be changed by --output or --depth"},
		{"trace --raw -o json true", "nlctl trace", "--raw is the kernel's own text; it cannot be changed by --output or --depth"},
		{"decode a b", "nlctl decode", "accepts at most 1 arg(s), received 2"},
		{"decode -p 32", "nlctl decode", `invalid argument "32" for "-p, --protocol" flag: must be a protocol number, 0 to 31`},
		{"decode --family 3", "nlctl decode", `invalid argument "3" for "--family" flag: must be a message type, 16 to 65535`},
		{"info x", "nlctl info", `unknown command "x" for "nlctl info"`},
		{"stats --via raw", "nlctl stats", "unknown flag: --via"},
		{"info -o yaml", "nlctl info", `invalid argument "yaml" for "-o, --output" flag: must be text or json`},
		{"beacon set", "nlctl beacon set", "nothing to change: give --interval, --groups, --mask, --genl, --connector, --packed, --size or --burst"},
		{"beacon set -o json", "nlctl beacon set", "nothing to change: give --interval, --groups, --mask, --genl, --connector, --packed, --size or --burst"},
		{"beacon set --interval 0", "nlctl beacon set", `invalid argument "0" for "--interval" flag: must be 1ms to 1h, or off`},
		{"beacon set --interval 500us", "nlctl beacon set", `invalid argument "500us" for "--interval" flag: must be 1ms to 1h, or off`},
		{"beacon set --interval 1.5ms", "nlctl beacon set", `invalid argument "1.5ms" for "--interval" flag: must be whole milliseconds`},
		{"beacon set --interval 3601", "nlctl beacon set", `invalid argument "3601" for "--interval" flag: must be 1ms to 1h, or off`},
		{"beacon set --interval -1", "nlctl beacon set", `invalid argument "-1" for "--interval" flag: must be 1ms to 1h, or off`},
		{"beacon set --groups 33", "nlctl beacon set", `invalid argument "33" for "--groups" flag: group "33" is out of range; must be 1 to 32`},
		{"beacon set --groups 0", "nlctl beacon set", `invalid argument "0" for "--groups" flag: group "0" is out of range; must be 1 to 32`},
		{"beacon set --mask x", "nlctl beacon set", `invalid argument "x" for "--mask" flag: must be a number of 32 bits, such as 0x15 for groups 1, 3 and 5`},
		{"beacon set --mask 1 --groups 1", "nlctl beacon set", "--groups and --mask contradict each other: both choose groups"},
		{"beacon set --genl yes", "nlctl beacon set", `invalid argument "yes" for "--genl" flag: must be on or off`},
		{"beacon set --burst 4097", "nlctl beacon set", `invalid argument "4097" for "--burst" flag: must be a number of events, 1 to 4096`},
		{"beacon set --burst 4K", "nlctl beacon set", `invalid argument "4K" for "--burst" flag: must be a number of events, 1 to 4096`},
		{"beacon set --packed 33", "nlctl beacon set", `invalid argument "33" for "--packed" flag: group "33" is out of range; must be 1 to 32`},
		{"beacon set --connector 1", "nlctl beacon set", `invalid argument "1" for "--connector" flag: must be on or off`},
		{"object del --prefix=", "nlctl object del", "every key begins with the empty --prefix; if all are meant: --all"},
		{"object del a b", "nlctl object del", `del takes one KEY, but there is also "b"`},
		{"object del --prefix a --all", "nlctl object del", "KEY, --prefix and --all contradict each other"},
		{"object watch -c 0", "nlctl object watch", `invalid argument "0" for "-c, --count" flag: must be a whole number, 1 or more`},
		{"object batch x", "nlctl object batch", `batch takes no argument, but there is "x"; it reads standard input`},
		{"beacon set --size 4097", "nlctl beacon set", `invalid argument "4097" for "--size" flag: must be 0 to 4096 bytes`},
		{"beacon set --size -1", "nlctl beacon set", `invalid argument "-1" for "--size" flag: must be a number of bytes, such as 4096, 64K or 1M`},
	} {
		t.Run(test.args, func(t *testing.T) {
			got := clitest.Run(t.Context(), nlctl.Command, strings.Fields(test.args)...)
			want := clitest.Result{Code: cli.ExitError, Err: "nlctl: " + test.want + "\nTry '" + test.path + " --help' for more information.\n"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// The words that the README promises, from a kernel that really is without.
func TestNotLoaded(t *testing.T) {
	clitest.NeedNoModule(t)
	for args, out := range map[string]string{
		"info":                        "module      not loaded\n",
		"info -o json":                `{"type":"info","loaded":false}` + "\n",
		"stats":                       "",
		"stats -o json":               "",
		"beacon get":                  "",
		"beacon set --interval 100ms": "",
		"object list":                 "",
		"object add x y":              "",
		"object watch":                "",
	} {
		t.Run(args, func(t *testing.T) {
			got := clitest.Run(t.Context(), nlctl.Command, strings.Fields(args)...)
			want := clitest.Result{
				Code: cli.ExitError,
				Out:  out,
				Err:  "nlctl: the nlpeer module is not loaded (family nlpeer is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo\n",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	for args, want := range map[string][]string{
		"decode --protocol":      {},
		"beacon":                 {"get", "set"},
		"beacon set --genl":      {"on", "off"},
		"beacon set --interval":  {"off"},
		"beacon set --groups":    {"none"},
		"beacon set --connector": {"on", "off"},
		"beacon set --size":      {},
		"info -o":                {"text", "json"},
	} {
		if diff := cmp.Diff(want, clitest.Complete(t, nlctl.Command, append(strings.Fields(args), "")...)); diff != "" {
			t.Errorf("%s: proposed (-want +got):\n%s", args, diff)
		}
	}
}
