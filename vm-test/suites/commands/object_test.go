// SPDX-License-Identifier: MIT

package commands_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/suites/vmtest"
)

var (
	objectVia = []string{"raw", "genl", "rtnl"}
	watchVia  = []string{"raw", "genl", "connector"}
)

// object runs a command about objects that must succeed without a word.
func object(t *testing.T, args ...string) {
	t.Helper()
	expect(t, run(t, "", append([]string{"nlctl", "object"}, args...)...), 0, "", "")
}

// batch makes changes, one a line.
func batch(t *testing.T, changes string) {
	t.Helper()
	expect(t, run(t, changes, "nlctl", "object", "batch"), 0, "", "")
}

// An obj is an object as JSON has it, its values as bytes.
type obj struct {
	Key        string
	Generation float64
	Values     []string
}

// state takes an object out of a line of JSON.
func state(t *testing.T, m map[string]any) obj {
	t.Helper()
	o := obj{Key: m["key"].(string), Generation: m["generation"].(float64), Values: []string{}}
	for _, v := range m["values"].([]any) {
		v := v.(map[string]any)
		text, isText := v["text"].(string)
		if b64, ok := v["base64"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(b64)
			if err != nil || isText {
				t.Errorf("%v: %v", v, err)
			}
			text = string(b)
		}
		if v["bytes"] != float64(len(text)) {
			t.Errorf("%v: %d bytes", v, len(text))
		}
		o.Values = append(o.Values, text)
	}
	return o
}

func table(t *testing.T, args ...string) []obj {
	t.Helper()
	got := run(t, "", append([]string{"nlctl", "-o", "json", "object", "list"}, args...)...)
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%v: %+v", args, got)
	}
	all := []obj{}
	for _, m := range lines(t, got.stdout) {
		if m["type"] != "object" {
			t.Errorf("%v", m)
		}
		all = append(all, state(t, m))
	}
	return all
}

// Each command on each carrier: bytes in by every way, and the same bytes out.
func TestObject(t *testing.T) {
	for _, via := range objectVia {
		t.Run(via, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			random := vmtest.Rand(t)
			noise := func(n int) string {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(random.Uint32())
				}
				return string(b)
			}
			file, typed, piped := noise(4096), noise(9), noise(1+random.IntN(300))
			path := filepath.Join(t.TempDir(), "value")
			if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
			v := func(args ...string) []string { return append([]string{"--via", via}, args...) }

			object(t, v("add", "b", "text", "", "@"+path)...)
			expect(t, run(t, piped, append([]string{"nlctl", "object", "append", "a", "-"}, v()...)...), 0, "", "")
			object(t, v("append", "--hex", "a", hex.EncodeToString([]byte(typed)), "0x00:ff")...)
			object(t, v("replace", "c", "old")...)
			object(t, v("replace", "c", "new", "gr\u00fc\u00df")...)
			object(t, v("new", "--flags", "create", "ab")...)
			object(t, v("change", "--", "ab", "-- no flag", "-x")...)
			want := []obj{
				{"a", 3, []string{piped, typed, "\x00\xff"}},
				{"ab", 7, []string{"-- no flag", "-x"}},
				{"b", 1, []string{"text", "", file}},
				{"c", 5, []string{"new", "gr\u00fc\u00df"}},
			}
			if diff := cmp.Diff(want, table(t, v()...)); diff != "" {
				t.Errorf("list (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want[:2], table(t, v("--prefix", "a", "--atomic")...)); diff != "" {
				t.Errorf("list by prefix (-want +got):\n%s", diff)
			}
			got := lines(t, run(t, "", append([]string{"nlctl", "-o", "json", "object", "get", "b"}, v()...)...).stdout)
			if len(got) != 1 || got[0]["type"] != "object" {
				t.Fatalf("%v", got)
			}
			if diff := cmp.Diff(want[2], state(t, got[0])); diff != "" {
				t.Errorf("get (-want +got):\n%s", diff)
			}
			expect(t, run(t, "", append([]string{"nlctl", "object", "get", "c"}, v()...)...), 0,
				"key         c\ngeneration  5\nvalue       \"new\"\nvalue       \"gr\u00fc\u00df\"\n", "")

			object(t, v("del", "c")...)
			object(t, v("del", "--prefix", "nothing")...)
			object(t, v("del", "--prefix", "a")...)
			expect(t, run(t, "", append([]string{"nlctl", "object", "list", "--prefix", "b"}, v()...)...), 0,
				"KEY  GENERATION  VALUES\nb    1           \"text\" \"\" 0x"+hex.EncodeToString([]byte(file[:16]))+"...\n", "")
			object(t, v("del", "--all")...)
			if got := table(t, v()...); len(got) != 0 {
				t.Errorf("%v", got)
			}
			carriers := lines(t, run(t, "", "nlctl", "stats", "-o", "json").stdout)[0]["carriers"].([]any)
			for _, c := range carriers {
				c := c.(map[string]any)
				if asked := c["requests"].(float64) > 2; asked != (c["carrier"] == via) { // stats itself is genl
					t.Errorf("by %s: %v", via, c)
				}
			}
		})
	}
}

// The 16 combinations of flags, on an object that is there and one that is not.
func TestObjectFlags(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	names := []string{"replace", "excl", "create", "append"}
	for _, via := range objectVia {
		object(t, "del", "--all")
		var before strings.Builder
		for n := range 16 {
			fmt.Fprintf(&before, "add there-%02d old\n", n)
		}
		batch(t, before.String())
		want := map[string][]string{}
		for n := range 16 {
			var list []string
			has := map[string]bool{}
			for i, name := range names {
				if n>>i&1 != 0 {
					list = append(list, name)
					has[name] = true
				}
			}
			flags := strings.Join(list, ",")
			if n == 0 {
				flags = "none"
			}
			there, missing := fmt.Sprintf("there-%02d", n), fmt.Sprintf("missing-%02d", n)
			// How flags go together is the peer's, and suite objects sees to it.
			if via != objectVia[0] && bits.OnesCount(uint(n)) > 1 {
				want[there] = []string{"old"}
				continue
			}
			for _, key := range []string{there, missing} {
				code, stderr, after := 0, "", []string{"new"}
				switch {
				case key == missing && !has["create"]:
					code, stderr = 2, "no such file or directory: nlpeer: no object has this key; NLM_F_CREATE makes one"
				case key == missing:
				case has["excl"]:
					code, stderr, after = 2, "file exists: nlpeer: the object exists", []string{"old"}
				case has["replace"]:
				case has["append"]:
					after = []string{"old", "new"}
				default:
					code, stderr, after = 2, "file exists: nlpeer: the object exists; NLM_F_REPLACE or NLM_F_APPEND changes it", []string{"old"}
				}
				got := run(t, "", "nlctl", "object", "new", "--via", via, "--flags", flags, key, "new")
				if stderr != "" {
					// rtnetlink has a header of its own before the attributes.
					stderr = "nlctl: object-new: " + stderr + " (attribute at offset N)\n"
					if i := strings.Index(got.stderr, "offset "); i >= 0 {
						got.stderr = got.stderr[:i] + shape(got.stderr[i:])
					}
				}
				expect(t, got, code, "", stderr)
				if code == 0 || key == there {
					want[key] = after
				}
				if t.Failed() {
					t.Fatalf("by %s, flags %s, %s", via, flags, key)
				}
			}
		}
		got := map[string][]string{}
		for _, o := range table(t) {
			got[o.Key] = o.Values
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", via, diff)
		}
	}
}

func TestObjectRefused(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "objects=2", "object_bytes=20000")
	object(t, "add", "one", "1")
	object(t, "add", "two", "2")
	before := table(t)
	long, wide := strings.Repeat("k", 65), strings.Repeat("v", 4097)
	for _, tt := range []struct {
		args   []string
		stderr string // %d stands for any number
	}{
		{[]string{"add", "three", "3"}, "object-new: no space left on device: nlpeer: table full: objects=N allows more objects"},
		{[]string{"append", "one", "@4096", "@4096", "@4096", "@4096"}, "object-new: no space left on device: nlpeer: an object's values take at most N bytes, headers included"},
		{[]string{"add", "one", "1"}, "object-new: file exists: nlpeer: the object exists (attribute at offset N)"},
		{[]string{"change", "three"}, "object-new: no such file or directory: nlpeer: no object has this key; NLM_F_CREATE makes one (attribute at offset N)"},
		{[]string{"del", "three"}, "object-del: no such file or directory: nlpeer: no object has this key (attribute at offset N)"},
		{[]string{"get", "three"}, "object-get: no such file or directory: nlpeer: no object has this key (attribute at offset N)"},
		{[]string{"add", long}, "object-new: ? Attribute failed policy validation (attribute at offset N, must be nul-string of at most N bytes)"},
		{[]string{"get", long}, "object-get: ? Attribute failed policy validation (attribute at offset N, must be nul-string of at most N bytes)"},
		{[]string{"add", "x", wide}, "object-new: ? Attribute failed policy validation (attribute at offset N, must be binary of at most N bytes)"},
		{[]string{"add", ""}, "object-new: invalid argument: nlpeer: a key has at least one byte (attribute at offset N)"},
	} {
		for _, via := range objectVia {
			args := []string{"nlctl", "object", "--via", via}
			for _, a := range tt.args {
				if size, ok := strings.CutPrefix(a, "@"); ok {
					a = "@" + filepath.Join(t.TempDir(), size)
					if err := os.WriteFile(a[1:], make([]byte, 4096), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				args = append(args, a)
			}
			got := run(t, "", args...)
			got.stderr = shape(got.stderr)
			for _, errno := range []string{"invalid argument:", "numerical result out of range:"} {
				got.stderr = strings.Replace(got.stderr, errno+" Attribute", "? Attribute", 1)
			}
			expect(t, got, 2, "", "nlctl: "+tt.stderr+"\n")
			if t.Failed() {
				t.Fatalf("%.200q", args)
			}
		}
	}
	if diff := cmp.Diff(before, table(t)); diff != "" {
		t.Errorf("something was done all the same (-want +got):\n%s", diff)
	}

	// What is refused shows by its name.
	stats := lines(t, run(t, "", "nlctl", "stats", "-o", "json").stdout)[0]
	for _, c := range stats["carriers"].([]any) {
		c := c.(map[string]any)
		sum := 0.0
		for _, e := range c["errors_by_errno"].([]any) {
			sum += e.(map[string]any)["count"].(float64)
		}
		if sum != c["errors"] {
			t.Errorf("%v", c)
		}
		if c["carrier"] == "rtnl" && !strings.Contains(fmt.Sprint(c["errors_by_errno"]), "map[count:2 errno:ENOSPC]") {
			t.Errorf("%v", c)
		}
	}
	objects := stats["objects"].(map[string]any)
	if objects["count"] != 2.0 || objects["count_max"] != 2.0 || objects["bytes_max"] != 20000.0 || objects["generation"] != 2.0 || objects["snapshots"] != 0.0 {
		t.Errorf("%v", objects)
	}
}

func TestObjectUsage(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, tt := range []struct{ line, stderr string }{
		{"object", "nlctl: a command is missing: object add, replace, change, append, new, del, batch, get, list or watch\nTry 'nlctl object --help' for more information.\n"},
		{"object put x", "nlctl: there is no command object put; commands are: add, replace, change, append, new, del, batch, get, list, watch\nTry 'nlctl object --help' for more information.\n"},
		{"object add", "nlctl: a KEY is missing: nlctl object add KEY [VALUE...]\nTry 'nlctl object add --help' for more information.\n"},
		{"object new --flags create,make x", "nlctl: invalid argument \"create,make\" for \"--flags\" flag: there is no flag \"make\"; must be of replace,excl,create,append, or none\nTry 'nlctl object new --help' for more information.\n"},
		{"object add --flags create x", "nlctl: unknown flag: --flags\nTry 'nlctl object add --help' for more information.\n"},
		{"object add --hex x 0g", "nlctl: \"0g\" is not hexadecimal; --hex takes two digits for each byte, such as 00ff7f\nTry 'nlctl object add --help' for more information.\n"},
		{"object add x - -", "nlctl: standard input can be only one of the values, but - stands there twice\nTry 'nlctl object add --help' for more information.\n"},
		{"object add x @/nowhere", "nlctl: @/nowhere: no such file or directory\n"},
		{"object add x @/tmp", "nlctl: @/tmp: is a directory\n"},
		{"object add x @/dev/zero", "nlctl: @/dev/zero has more bytes than fit into a message; the longest value has 4096\n"},
		{"object add x --via connector", "nlctl: invalid argument \"connector\" for \"--via\" flag: must be raw, genl, rtnl\nTry 'nlctl object add --help' for more information.\n"},
		{"object watch --via rtnl", "nlctl: invalid argument \"rtnl\" for \"--via\" flag: must be raw, genl, connector\nTry 'nlctl object watch --help' for more information.\n"},
		{"object watch x", "nlctl: watch takes no argument, but there is \"x\"; --prefix P watches those whose keys begin with P\nTry 'nlctl object watch --help' for more information.\n"},
		{"object list x", "nlctl: list takes no argument, but there is \"x\"; --prefix P lists those whose keys begin with P\nTry 'nlctl object list --help' for more information.\n"},
		{"object get x y", "nlctl: get takes one KEY, but there is also \"y\"\nTry 'nlctl object get --help' for more information.\n"},
		{"object del", "nlctl: what is to be deleted is missing: KEY, --prefix TEXT or --all\nTry 'nlctl object del --help' for more information.\n"},
		{"object del --all x", "nlctl: KEY, --prefix and --all contradict each other\nTry 'nlctl object del --help' for more information.\n"},
		{"object list --protocol 29", "nlctl: --protocol is for --via raw; generic netlink finds the family by its name\nTry 'nlctl object list --help' for more information.\n"},
		{"object list --protocol 29 --via rtnl", "nlctl: --protocol is for --via raw; rtnl has a number of its own\nTry 'nlctl object list --help' for more information.\n"},
		{"object list --protocol 29 --via raw", "nlctl: the nlpeer module is not loaded (protocol 29 is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo\n"},
	} {
		expect(t, run(t, "", append([]string{"nlctl"}, strings.Fields(tt.line)...)...), 2, "", tt.stderr)
		if t.Failed() {
			t.Fatal(tt.line)
		}
	}
	if got := table(t); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// Changes need a privilege, and so do an atomic dump and the connector; looking
// and listening do not.
func TestObjectPrivilege(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	object(t, "add", "k", "v")
	user := func(line string) result { return run(t, "", "su", "user", "-c", line) }
	const needs = " needs CAP_NET_ADMIN in this network namespace; try: sudo nlctl object "
	for _, via := range objectVia {
		for _, line := range []string{
			"add --via " + via + " x 'a b'", "replace --via " + via + " k ''", "change --via " + via + " k 1", "append --via " + via + " k 1",
			"new --flags create,append --via " + via + " k 1", "del --via " + via + " k",
			"del --prefix k --via " + via, "del --all --via " + via,
		} {
			expect(t, user("nlctl object "+line), 2, "", "nlctl: changing objects"+needs+line+"\n")
		}
		expect(t, user("nlctl object list --atomic --via "+via), 2, "", "nlctl: an atomic dump"+needs+"list --atomic --via "+via+"\n")
		expect(t, user("nlctl object list --via "+via), 0, "KEY  GENERATION  VALUES\nk    1           \"v\"\n", "")
		expect(t, user("nlctl object get k --via "+via), 0, "key         k\ngeneration  1\nvalue       \"v\"\n", "")
	}
	expect(t, user("echo add x | nlctl object batch"), 2, "", "nlctl: changing objects"+needs+"batch\n")
	expect(t, user("nlctl object watch --via connector"), 2, "", "nlctl: listening to the connector"+needs+"watch --via connector\n")
	for _, via := range []string{"raw", "genl"} {
		expect(t, user("nlctl object watch --list-first --idle-timeout 10ms --via "+via), 0,
			"KEY  GENERATION  VALUES\nk    1           \"v\"\n0 received, 0 recovered, 0 lost, 0 overruns\n", "")
	}
	if diff := cmp.Diff([]obj{{"k", 1, []string{"v"}}}, table(t)); diff != "" {
		t.Errorf("something was done all the same (-want +got):\n%s", diff)
	}
}

// Where a carrier is not, or nobody is.
func TestObjectNoCarrier(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "rtnl=0", "connector=0")
	expect(t, run(t, "", "nlctl", "object", "list", "--via", "rtnl"), 2, "", "nlctl: the nlpeer module was loaded with rtnl=0; try another --via\n")
	expect(t, run(t, "", "nlctl", "object", "watch", "--via", "connector"), 2, "", "nlctl: the nlpeer module was loaded with connector=0; try another --via\n")
	vmtest.Unload(t)
	const hint = "; try: sudo insmod nlpeer.ko, or: make demo\n"
	for args, what := range map[string]string{
		"list":                  "family nlpeer is unknown to this kernel",
		"add x":                 "family nlpeer is unknown to this kernel",
		"watch":                 "family nlpeer is unknown to this kernel",
		"del x --via raw":       "protocol 31 is unknown to this kernel",
		"get x --via rtnl":      "protocol family 127 is unknown to rtnetlink",
		"watch --via connector": "nobody answers on the connector",
	} {
		expect(t, run(t, "", append([]string{"nlctl", "object"}, strings.Fields(args)...)...), 2, "", "nlctl: the nlpeer module is not loaded ("+what+")"+hint)
	}
}

// The connector hears the beacon where it exists.
func TestBeaconConnector(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	expect(t, run(t, "", "nlctl", "beacon", "set", "--connector", "on"), 0, "interval   off\ngroups     1\ngenl       on\nconnector  on\nsize       0\npacked     none\n", "")
	if b := lines(t, run(t, "", "nlctl", "beacon", "set", "--connector", "off", "-o", "json").stdout)[0]; b["connector"] != false {
		t.Errorf("%v", b)
	}
	got := run(t, "", "unshare", "-n", "nlctl", "beacon", "set", "--connector", "on")
	if got.code != 2 || !strings.HasPrefix(got.stderr, "nlctl: beacon-set: operation not supported: nlpeer: ") {
		t.Errorf("%+v", got)
	}
	got = run(t, "", "unshare", "-n", "nlctl", "object", "watch", "--via", "connector")
	expect(t, got, 2, "", "nlctl: this network namespace has no connector; only the initial one has; try another --via\n")
}

func TestObjectBatch(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	const changes = "# some\n\nadd a 1\n  append a  2 \nnew --flags create,excl b\nreplace --hex b 00\nadd c\ndel --prefix c\nchange b last"
	for _, via := range objectVia {
		object(t, "del", "--all")
		expect(t, run(t, changes, "nlctl", "object", "batch", "--via", via), 0, "", "")
		got := table(t)
		for i := range got {
			got[i].Generation = 0
		}
		if diff := cmp.Diff([]obj{{"a", 0, []string{"1", "2"}}, {"b", 0, []string{"last"}}}, got); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", via, diff)
		}
	}
	for _, tt := range []struct{ in, stderr string }{
		{"add d\nadd a\nadd e\n", "nlctl: line 2: object-new: file exists: nlpeer: the object exists (attribute at offset 20)\n"},
		{"get a\n", "nlctl: line 1: there is no change \"get\"; there are: add, replace, change, append, new, del\nTry 'nlctl object batch --help' for more information.\n"},
		{"\nadd\n", "nlctl: line 2: a KEY is missing: nlctl object add KEY [VALUE...]\nTry 'nlctl object batch --help' for more information.\n"},
		{"add e --via raw", "nlctl: line 1: unknown flag: --via\nTry 'nlctl object batch --help' for more information.\n"},
		{"add e -", "nlctl: line 1: - cannot stand in a batch: standard input is the batch\nTry 'nlctl object batch --help' for more information.\n"},
		{"add " + strings.Repeat("x", 200<<10), "nlctl: standard input: line 1 is longer than 131072 bytes\n"},
	} {
		expect(t, run(t, tt.in, "nlctl", "object", "batch"), 2, "", tt.stderr)
	}
	keys := ""
	for _, o := range table(t) {
		keys += o.Key + " "
	}
	if keys != "a b d " {
		t.Errorf("keys are %q", keys)
	}
}

// A table that changes under a dump is asked for again, and never shown as if it
// had not. An atomic dump does not mind.
func TestObjectListInterrupted(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	const count = 150
	var fill strings.Builder
	value := strings.Repeat("v", 4000)
	for n := range count {
		fmt.Fprintf(&fill, "add load/%04d %s\n", n, value)
	}
	batch(t, fill.String())
	change := command(t, "nlctl", "object", "batch")
	change.Stdin = endless("replace load/0000 new\n")
	if err := change.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = change.Process.Kill()
		_ = change.Wait() // it was killed
	}()

	check := func(got result) {
		t.Helper()
		all := lines(t, got.stdout)
		if len(all) != count {
			t.Fatalf("%d objects, want %d; %+v", len(all), count, got.stderr)
		}
		for n, m := range all {
			if m["key"] != fmt.Sprintf("load/%04d", n) {
				t.Fatalf("object %d is %v", n, m["key"])
			}
		}
	}
	const again = "nlctl: the table changed while it was read, asking again\n"
	vmtest.Until(t, "a dump was interrupted", func() bool {
		got := run(t, "", "nlctl", "-o", "json", "object", "list")
		check(got)
		notes := strings.Count(got.stderr, again)
		switch {
		case got.code == 0 && got.stderr == strings.Repeat(again, notes) && notes < 5:
		case got.code == 1 && notes == 4 && strings.HasPrefix(strings.TrimPrefix(got.stderr, strings.Repeat(again, 4)),
			"nlctl: the table changed each of 5 times while it was read: "):
		default:
			t.Fatalf("status %d, %q", got.code, got.stderr)
		}
		return notes > 0
	})
	for range 3 {
		got := run(t, "", "nlctl", "-o", "json", "object", "list", "--atomic")
		check(got)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("atomic: status %d, %q", got.code, got.stderr)
		}
	}
}

// endless is text that never ends.
type endless string

func (e endless) Read(p []byte) (n int, err error) {
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// A process is a command that goes on while the test does something else.
type process struct {
	*exec.Cmd
	out    *bufio.Reader
	stderr bytes.Buffer
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, args...)}
	p.Stderr = &p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	l, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v; %s", p.Args, err, &p.stderr)
	}
	return strings.TrimSuffix(l, "\n")
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// end reads the rest and waits.
func (p *process) end(t *testing.T) result {
	t.Helper()
	rest, err := io.ReadAll(p.out)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // the status is looked at
	return result{string(rest), p.stderr.String(), p.ProcessState.ExitCode()}
}

// watcher starts object watch and waits until it listens.
func watcher(t *testing.T, args ...string) *process {
	t.Helper()
	p := start(t, append([]string{"nlctl", "object", "watch", "--list-first"}, args...)...)
	if got := p.line(t); got != "KEY  GENERATION  VALUES" {
		t.Fatalf("%q", got)
	}
	return p
}

// Each kind of change is a line.
func TestObjectWatch(t *testing.T) {
	for _, via := range watchVia {
		vmtest.Module(t, "interval_ms=0")
		w := watcher(t, "--via", via, "--prefix", "k", "-c", "4")
		batch(t, "add k a\nadd other x\nappend k b\nreplace k\ndel --all")
		expect(t, w.end(t), 0, "+ k generation=1 \"a\"\n~ k generation=3 \"a\" \"b\"\n~ k generation=4 -\n- k generation=5 -\n"+
			"5 received, 0 recovered, 0 lost, 0 overruns\n", "")

		w = start(t, "nlctl", "object", "watch", "--via", via, "-o", "json", "--list-first")
		for boot, n := 0.0, 7; n < 10; n++ { // there is nothing to list that would tell when it listens
			vmtest.Until(t, "it listens", func() bool {
				for _, s := range vmtest.Sockets(t) {
					if s.PortID == uint32(w.Process.Pid) && s.Groups != 0 {
						return true
					}
				}
				return false
			})
			object(t, "add", fmt.Sprint("k", n), "--hex", "ff")
			m := lines(t, w.line(t)+"\n")[0]
			if m["type"] != "change" || m["kind"] != "object-new" || m["seq"] == nil || m["recovered"] != false || m["lost"] != 0.0 ||
				m["boottime_ns"].(float64) <= boot || m["unix_ns"].(float64) < 1e18 {
				t.Errorf("%v", m)
			}
			boot = m["boottime_ns"].(float64)
			if diff := cmp.Diff(obj{fmt.Sprint("k", n), float64(n), []string{"\xff"}}, state(t, m)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		w.signal(t, syscall.SIGINT)
		expect(t, w.end(t), 0, `{"type":"summary","shown":3,"received":3,"recovered":0,"lost":0,"overruns":0}`+"\n", "")
		if t.Failed() {
			t.Fatal(via)
		}
	}
}

// A watcher that is stopped until its receive buffer overran has all changes in
// the end, in order; those that the history forgot are counted.
func TestObjectWatchOverrun(t *testing.T) {
	const count = 300
	for _, via := range watchVia {
		for _, history := range []int{1024, 16} {
			t.Run(fmt.Sprintf("%s, history %d", via, history), func(t *testing.T) {
				vmtest.Module(t, "interval_ms=0", fmt.Sprintf("history=%d", history))
				w := watcher(t, "--via", via, "--rcvbuf", "4K")
				w.signal(t, syscall.SIGSTOP)
				var changes strings.Builder
				for n := range count {
					fmt.Fprintf(&changes, "add k%04d %s\n", n, strings.Repeat("v", n%50+1))
				}
				batch(t, changes.String())
				w.signal(t, syscall.SIGCONT)
				next, live, recovered, lost := 0, 0, 0, 0
				for next < count {
					l := w.line(t)
					n, key := 0, ""
					if i := strings.Index(l, " lost "); i >= 0 {
						fmt.Sscanf(l[i:], " lost %d", &n)
					}
					next += n
					lost += n
					fmt.Sscanf(l, "+ %s", &key)
					if want := fmt.Sprintf("+ k%04d generation=%d %q", next, next+1, strings.Repeat("v", next%50+1)); !strings.HasPrefix(l, want) {
						t.Fatalf("%q, want %q", l, want)
					}
					next++
					if strings.HasSuffix(l, " recovered") {
						recovered++
					} else {
						live++
					}
				}
				w.signal(t, syscall.SIGINT)
				code := 0
				if lost > 0 {
					code = 1
				}
				expect(t, w.end(t), code, fmt.Sprintf("%d received, %d recovered, %d lost, 1 overrun\n", live, recovered, lost),
					"nlctl: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n")
				if live+recovered+lost != count || recovered == 0 || (lost > 0) != (history == 16) {
					t.Errorf("%d live, %d recovered, %d lost", live, recovered, lost)
				}
			})
		}
	}
}

// The table and the changes after it have neither a hole nor a change twice,
// though the table changes all the time.
func TestObjectWatchListFirst(t *testing.T) {
	const count = 500
	for _, via := range watchVia {
		vmtest.Module(t, "interval_ms=0", "history=65536")
		change := start(t, "sh", "-c", fmt.Sprintf("seq -w %d | sed 's/.*/add k& v/' | nlctl object batch", count))
		vmtest.Until(t, "there are some", func() bool { return len(table(t, "--atomic")) > 10 })
		w := start(t, "nlctl", "-o", "json", "object", "watch", "--list-first", "--via", via)
		listed, generation := 0, 0.0
		for n := 1; n <= count; n++ {
			m := lines(t, w.line(t)+"\n")[0]
			if m["key"] != fmt.Sprintf("k%03d", n) || m["generation"].(float64) <= generation {
				t.Fatalf("by %s: %v after generation %v, want key k%03d", via, m, generation, n)
			}
			generation = m["generation"].(float64)
			if m["type"] == "object" {
				listed++
			}
		}
		t.Logf("by %s: %d of %d in the table", via, listed, count)
		if listed == 0 {
			t.Errorf("by %s: the table was empty", via)
		}
		change.end(t)
		w.signal(t, syscall.SIGINT)
		if got := w.end(t); got.code != 0 {
			t.Errorf("by %s: %+v", via, got)
		}
	}
}

// A watcher hears that the module goes, where it does not hold it.
func TestObjectWatchEnds(t *testing.T) {
	for _, via := range []string{"genl", "connector"} {
		vmtest.Module(t, "interval_ms=0")
		w := watcher(t, "--via", via)
		object(t, "add", "k")
		if got := w.line(t); got != "+ k generation=1 -" {
			t.Errorf("%q", got)
		}
		vmtest.Unload(t)
		got := w.end(t)
		if got.code != 1 || got.stderr != "nlctl: the peer has left this network namespace: the module was unloaded\n" ||
			!strings.Contains(got.stdout, "0 lost, 0 overruns\n") {
			t.Errorf("by %s: %+v", via, got)
		}
	}
	vmtest.Module(t, "interval_ms=0")
	expect(t, run(t, "", "nlctl", "object", "watch", "-c", "1", "--for", "20ms"), 1, "0 received, 0 recovered, 0 lost, 0 overruns\n", "")
}
