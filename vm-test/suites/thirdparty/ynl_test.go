// SPDX-License-Identifier: MIT

package thirdparty_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// rawFamily is the raw protocol's specification, by the name of its file.
const rawFamily = "netlink_test"

// A request by ynl: what it prints, and its exit status.
type request struct {
	name   string
	family string
	args   []string
	answer string // JSON
	err    string // in place of an answer
	where  string // what kernels since 6.10 add if a dump fails: the attribute at fault
}

// randomSettings are all settings that the specification has, each near the
// greatest value that it allows.
func randomSettings(t *testing.T, r *rand.Rand) string {
	t.Helper()
	var all []string
	for _, op := range readSpecification(t, wire.FamilyName).Operations {
		if op.Name != "beacon-set" {
			continue
		}
		for name, properties := range op.Policies["do"] {
			if name == "burst" {
				continue // no setting, nothing reads it back
			}
			highest, err := strconv.ParseUint(fmt.Sprint(properties["max-value"]), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf(`"%s": %d`, name, highest-r.Uint64N(min(highest, 1000)+1)))
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// Every operation with an answer and with what it refuses. One after the
// other: what one sets, the next reads.
func TestRequests(t *testing.T) {
	missing := " {'miss-type': 'payload', 'miss-type-doc': 'Opaque bytes, 0 to payload-max. They come back unchanged.'}"
	if !vmtest.Has(vmtest.MissingAttribute) {
		missing = ""
	}
	vmtest.Module(t, "interval_ms=0", "history=16")
	r := vmtest.Rand(t)
	bytes := func(n int) string { return hex.EncodeToString(vmtest.Bytes(r, n)) }
	payload := func(n int) string { return fmt.Sprintf(`{"payload": "%s"}`, bytes(n)) }
	echo, largest, first, second := payload(1+r.IntN(100)), payload(wire.PayloadMax), payload(3), payload(8)
	settings := randomSettings(t, r)
	attributes := fmt.Sprintf(`{"group": %d, "seq": %d, "data": "%s"}`, r.Uint32(), r.Uint64(), bytes(r.IntN(50)))
	key, other := fmt.Sprintf(`{"key": "a%s"}`, bytes(4)), fmt.Sprintf(`{"key": "b%s"}`, bytes(4))
	object := func(key, more string) string { return strings.TrimSuffix(key, "}") + more + "}" }
	all := "[" + object(key, `, "value": ["01", "", "0203", "04"], "generation": 3`) + ", " + object(other, `, "value": ["ff"], "generation": 2`) + "]"
	refused := func(errno unix.Errno, text, more string) string {
		return fmt.Sprintf("Netlink error: %s: %s%s", text, strings.ToUpper(errno.Error()[:1])+errno.Error()[1:], more)
	}

	y := openYnl(t)
	for _, q := range []request{
		{name: "echo", family: wire.FamilyName, args: []string{"--do", "echo", "--json", echo}, answer: echo},
		{name: "echo of nothing", family: wire.FamilyName, args: []string{"--do", "echo", "--json", `{"payload": ""}`}, answer: `{"payload": ""}`},
		{name: "echo of the most", family: wire.FamilyName, args: []string{"--do", "echo", "--json", largest}, answer: largest},
		{name: "echo of too much", family: wire.FamilyName, args: []string{"--do", "echo", "--json", payload(wire.PayloadMax + 1)},
			err: refused(unix.ERANGE, "Attribute failed policy validation",
				fmt.Sprintf(" {'policy': {'max-length': %d, 'type': 'binary'}, 'bad-attr': '.payload'}", wire.PayloadMax))},
		{name: "echo without a payload", family: wire.FamilyName, args: []string{"--do", "echo"},
			err: refused(unix.EINVAL, "nlpeer: an echo needs a payload", missing)},
		{name: "two echoes in one send", family: wire.FamilyName, args: []string{"--multi", "echo", first, "--multi", "echo", second},
			answer: "[" + first + ", " + second + "]"},
		{name: "beacon-set", family: wire.FamilyName, args: []string{"--do", "beacon-set", "--json", settings}, answer: "null"},
		{name: "beacon-get", family: wire.FamilyName, args: []string{"--do", "beacon-get"}, answer: settings},
		{name: "beacon-set, interval too long", family: wire.FamilyName,
			args: []string{"--do", "beacon-set", "--json", fmt.Sprintf(`{"size": 1, "interval": %d}`, wire.IntervalMax+1)},
			err: refused(unix.ERANGE, "integer out of range",
				fmt.Sprintf(" {'policy': {'min-value': 0, 'max-value': %d, 'type': 'u32'}, 'bad-attr': '.interval'}", wire.IntervalMax))},
		{name: "beacon-set of nothing", family: wire.FamilyName, args: []string{"--do", "beacon-set"},
			err: refused(unix.EINVAL, "nlpeer: no setting given", "")},
		{name: "beacon-get after what was refused", family: wire.FamilyName, args: []string{"--do", "beacon-get"}, answer: settings},
		{name: "event-get, nothing yet", family: wire.FamilyName,
			args: []string{"--dump", "event-get", "--json", fmt.Sprintf(`{"group": %d}`, wire.GroupBeacon)}, answer: "[]"},
		{name: "event-get of no group", family: wire.FamilyName, args: []string{"--dump", "event-get", "--json", `{"group": 33}`},
			err: refused(unix.EINVAL, "nlpeer: no such group", ""), where: " {'bad-attr': '.group'}"},
		{name: "event-get of the future", family: wire.FamilyName, args: []string{"--dump", "event-get", "--json", `{"group": 1, "seq": 1}`},
			err: refused(unix.ERANGE, "nlpeer: the group has not reached that number", ""), where: " {'bad-attr': '.seq'}"},
		{name: "event-get without a group", family: wire.FamilyName, args: []string{"--dump", "event-get"},
			err: refused(unix.EINVAL, "nlpeer: event-get needs a group", "")},

		{name: "object-get of none", family: wire.FamilyName, args: []string{"--do", "object-get", "--json", key},
			err: refused(unix.ENOENT, "nlpeer: no object has this key", " {'bad-attr': '.key'}")},
		{name: "object-new", family: wire.FamilyName, args: []string{"--do", "object-new", "--json", object(key, `, "value": ["01", "", "0203"], "flags": ["create"]`)}, answer: "null"},
		{name: "object-get", family: wire.FamilyName, args: []string{"--do", "object-get", "--json", key},
			answer: object(key, `, "value": ["01", "", "0203"], "generation": 1`)},
		{name: "object-new of what is there", family: wire.FamilyName, args: []string{"--do", "object-new", "--json", object(key, `, "flags": ["create", "excl"]`)},
			err: refused(unix.EEXIST, "nlpeer: the object exists", " {'bad-attr': '.key'}")},
		{name: "raw object-new", family: rawFamily, args: []string{"--do", "object-new", "--create", "--json", object(other, `, "value": ["ff"]`)}, answer: "null"},
		{name: "raw object-new, append", family: rawFamily, args: []string{"--do", "object-new", "--append", "--json", object(key, `, "value": ["04"]`)}, answer: "null"},
		{name: "dump object-get", family: wire.FamilyName, args: []string{"--dump", "object-get"}, answer: all},
		{name: "raw dump object-get", family: rawFamily, args: []string{"--dump", "object-get"}, answer: all},
		{name: "object-del", family: wire.FamilyName, args: []string{"--do", "object-del", "--json", key}, answer: "null"},
		{name: "raw object-get of none", family: rawFamily, args: []string{"--do", "object-get", "--json", key},
			err: refused(unix.ENOENT, "nlpeer: no object has this key", " {'bad-attr': '.key'}")},
		{name: "raw object-get", family: rawFamily, args: []string{"--do", "object-get", "--json", other},
			answer: object(other, `, "value": ["ff"], "generation": 2`)},
		{name: "raw object-del", family: rawFamily, args: []string{"--do", "object-del", "--json", other}, answer: "null"},
		{name: "dump object-get of none", family: wire.FamilyName, args: []string{"--dump", "object-get"}, answer: "[]"},

		// A raw echo is bytes to the peer, and attributes to ynl.
		{name: "raw echo of nothing", family: rawFamily, args: []string{"--do", "echo"}, answer: "{}"},
		{name: "raw echo", family: rawFamily, args: []string{"--do", "echo", "--json", attributes}, answer: attributes},
		{name: "two raw echoes in one send", family: rawFamily, args: []string{"--multi", "echo", attributes, "--multi", "echo", "{}"},
			answer: "[" + attributes + ", {}]"},
		{name: "raw dump", family: rawFamily, args: []string{"--dump", "echo"}, err: refused(unix.EOPNOTSUPP, "nlpeer: echo has no dump", "")},
		{name: "raw flags", family: rawFamily, args: []string{"--do", "echo", "--create"},
			err: refused(unix.EINVAL, "nlpeer: ambiguous or reserved bits set in nlmsg_flags", "")},
	} {
		t.Run(q.name, func(t *testing.T) {
			got := y.run(t, append([]string{"--family", q.family, "--output-json"}, q.args...)...)
			if q.err != "" {
				said := strings.TrimSuffix(strings.TrimSuffix(got.stdout, "\n"), q.where)
				if diff := cmp.Diff(q.err, said); diff != "" || got.code != 1 || got.stderr != "" {
					t.Errorf("exit status %d, %s (-want +got):\n%s", got.code, got.stderr, diff)
				}
				return
			}
			if got.code != 0 || got.stderr != "" {
				t.Fatalf("%+v", got)
			}
			var want, answer any
			decode(t, q.answer, &want)
			decode(t, got.stdout, &answer)
			if diff := cmp.Diff(want, answer); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Anybody may ask; only root may set.
func TestRequestsOfAUser(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for args, want := range map[string]result{
		"--do beacon-set": {stdout: "Netlink error: Operation not permitted\n", code: 1},
		"--do beacon-get": {stdout: `{"interval": 0, `},
	} {
		cmd := command(t, append([]string{"ynl", "--family", wire.FamilyName, "--output-json"}, strings.Fields(args)...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
		out, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); !strings.HasPrefix(string(out), want.stdout) || code != want.code {
			t.Errorf("%s: exit status %d, %v, %s; want %+v", args, code, err, out, want)
		}
	}
}

// The statistics are those that we read with a socket of our own.
func TestStatistics(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=7")
	c := vmtest.OpenControl(t)
	raw := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	for n := range 3 {
		raw.Send(t, vmtest.Message{Type: wire.MsgEcho, Flags: unix.NLM_F_REQUEST, Seq: 1, Body: make([]byte, 100*n)}.Bytes())
		raw.RecvOne(t)
	}
	// Asking is counted too: as much each time.
	before := c.Stats(t)
	want := c.Stats(t)
	want.Genl.Requests += want.Genl.Requests - before.Genl.Requests
	want.Genl.Replies += want.Genl.Replies - before.Genl.Replies
	want.Genl.RxBytes += want.Genl.RxBytes - before.Genl.RxBytes
	want.Genl.TxBytes += want.Genl.TxBytes - before.Genl.TxBytes

	type carrier struct {
		Carrier  string
		Requests uint64
		Replies  uint64
		Errors   uint64
		Rx       uint64 `json:"rx-bytes"`
		Tx       uint64 `json:"tx-bytes"`
		Events   uint64
		Lost     uint64 `json:"event-errors"`
	}
	var got struct {
		Carrier []carrier
		Beacon  struct{ Ticks, Idle, Missed uint64 }
		History struct{ Size, Held uint32 }
	}
	decode(t, output(t, "ynl", "--family", wire.FamilyName, "--do", "stats-get", "--output-json"), &got)
	counted := func(name wire.Carrier, s vmtest.CarrierStats) carrier {
		return carrier{name.String(), s.Requests, s.Replies, s.Errors, s.RxBytes, s.TxBytes, s.Events, s.EventErrors}
	}
	carriers := []carrier{counted(wire.CarrierRaw, want.Raw), counted(wire.CarrierGenl, want.Genl)}
	if diff := cmp.Diff(carriers, got.Carrier[:min(2, len(got.Carrier))]); diff != "" || want.Raw.Requests != 3 {
		t.Errorf("%d raw requests (-want +got):\n%s", want.Raw.Requests, diff)
	}
	if got.Beacon.Ticks != want.Ticks || got.Beacon.Idle != want.Idle || got.Beacon.Missed != want.Missed {
		t.Errorf("beacon %+v, want %+v", got.Beacon, want)
	}
	if got.History.Size != 7 || got.History.Held != want.HistoryHeld {
		t.Errorf("history %+v, want %+v", got.History, want)
	}
}

// notification is what ynl prints of an event.
type notification struct {
	Name string
	Msg  map[string]any
}

// beacons returns the first n events of a group, as ynl prints them; times are
// taken from what it printed.
func beacons(got []notification, n int, group uint32, kind any, size int) []notification {
	var all []notification
	for seq := 1; seq <= n; seq++ {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(seq + i)
		}
		e := map[string]any{
			"group": json.Number(fmt.Sprint(group)), "seq": json.Number(fmt.Sprint(seq)), "kind": kind, "data": hex.EncodeToString(data),
		}
		if seq <= len(got) {
			e["time"] = got[seq-1].Msg["time"]
		}
		all = append(all, notification{"event", e})
	}
	return all
}

// changeAnObject makes an object, appends to it and deletes it.
func changeAnObject(t *testing.T, c *vmtest.Control) {
	t.Helper()
	key := vmtest.Attr{Type: wire.AttrObjectKey, Data: []byte("key\x00")}
	value := func(b ...byte) vmtest.Attr { return vmtest.Attr{Type: wire.AttrObjectValue, Data: b} }
	flags := func(m wire.Modifier) vmtest.Attr {
		return vmtest.Attr{Type: wire.AttrObjectFlags, Data: vmtest.U32(uint32(m))}
	}
	for _, ack := range []vmtest.Ack{
		second(c.Request(t, wire.CmdObjectNew, key, value(1), flags(wire.ModifierCreate))),
		second(c.Request(t, wire.CmdObjectNew, key, value(2, 3), flags(wire.ModifierAppend))),
		second(c.Request(t, wire.CmdObjectDel, key)),
	} {
		if ack.Errno != 0 {
			t.Fatalf("%v: %s", ack.Errno, ack.Text)
		}
	}
}

func second(_ []vmtest.Attr, ack vmtest.Ack) vmtest.Ack { return ack }

// changes are the events of changeAnObject, as ynl prints them.
func changes(got []notification, group uint32, kind func(wire.Kind) any) []notification {
	var all []notification
	for i, k := range []wire.Kind{wire.KindObjectNew, wire.KindObjectChange, wire.KindObjectDel} {
		number := json.Number(fmt.Sprint(i + 1))
		e := map[string]any{
			"group": json.Number(fmt.Sprint(group)), "seq": number, "kind": kind(k),
			"object": map[string]any{"key": "key", "generation": number, "value": []any{"01", "0203"}[:min(i+1, 2)]},
		}
		if i < len(got) {
			e["time"] = got[i].Msg["time"]
		}
		all = append(all, notification{"event", e})
	}
	return all
}

// What comes to a group, and that it comes at all.
func TestSubscriptions(t *testing.T) {
	const interval, size = 20, 5
	named := func(k wire.Kind) any { return k.String() }
	numbered := func(k wire.Kind) any { return json.Number(fmt.Sprint(uint32(k))) }
	y := openYnl(t)
	for _, tt := range []struct {
		family   string
		group    string
		protocol int
		events   int
		begin    func(c *vmtest.Control)
		want     func(got []notification) []notification
	}{
		{
			wire.FamilyName, "beacon", unix.NETLINK_GENERIC, 6,
			func(c *vmtest.Control) { c.Set(t, vmtest.Beacon{Interval: interval, Genl: 1, Size: size}.Attrs()...) },
			func(got []notification) []notification {
				return beacons(got, 6, wire.GroupBeacon, named(wire.KindBeacon), size)
			},
		},
		{
			rawFamily, "beacon", wire.NetlinkTest, 6,
			func(c *vmtest.Control) { c.Set(t, vmtest.Beacon{Interval: interval, Groups: 3, Size: size}.Attrs()...) },
			func(got []notification) []notification {
				return beacons(got, 6, 1, numbered(wire.KindBeacon), size)
			},
		},
		{
			wire.FamilyName, "objects", unix.NETLINK_GENERIC, 3,
			func(c *vmtest.Control) { changeAnObject(t, c) },
			func(got []notification) []notification { return changes(got, wire.GroupObjects, named) },
		},
		{
			rawFamily, "objects", wire.NetlinkTest, 3,
			func(c *vmtest.Control) { changeAnObject(t, c) },
			func(got []notification) []notification { return changes(got, 2, numbered) },
		},
	} {
		t.Run(tt.family+" "+tt.group, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			c := vmtest.OpenControl(t)
			p := start(t, "ynl", "--family", tt.family, "--subscribe", tt.group, "--output-json")
			p.untilListening(t, tt.protocol)
			from := vmtest.Now(t)
			tt.begin(c)
			var got []notification
			for range tt.events {
				var n notification
				decode(t, p.line(t), &n)
				got = append(got, n)
			}
			if code := p.interrupt(t); code != 0 {
				t.Errorf("exit status %d after Ctrl-C", code)
			}
			c.Set(t, vmtest.Attr{Type: wire.AttrBeaconInterval, Data: vmtest.U32(0)})
			if diff := cmp.Diff(tt.want(got), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var times []uint64
			for _, n := range got {
				time, err := n.Msg["time"].(json.Number).Int64()
				if err != nil {
					t.Error(err)
				}
				times = append(times, uint64(time))
			}
			if !slices.IsSorted(times) || times[0] < from || times[len(times)-1] > vmtest.Now(t) {
				t.Errorf("times %v, of events since %d", times, from)
			}

			// The history has them all, but those up to a number.
			var held []map[string]any
			group := got[0].Msg["group"]
			decode(t, y.output(t, "--family", wire.FamilyName, "--dump", "event-get", "--output-json",
				"--json", fmt.Sprintf(`{"group": %v, "seq": 2}`, group)), &held)
			var want []map[string]any
			for _, n := range got[2:] {
				// The raw protocol's specification has no names for kinds.
				if number, ok := n.Msg["kind"].(json.Number); ok {
					n.Msg["kind"] = wire.Kind(atoi(t, number.String())).String()
				}
				want = append(want, n.Msg)
			}
			// More may have come since.
			if diff := cmp.Diff(want, held[:min(len(want), len(held))]); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
		})
	}
}
