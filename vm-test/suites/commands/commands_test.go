// SPDX-License-Identifier: MIT

// Package commands_test runs nlecho, nlsub and nlctl against the module, as a
// user does: arguments, streams, exit status.
package commands_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/suites/vmtest"
)

type result struct {
	stdout, stderr string
	code           int
}

// run runs a command line; a command that does not end in time fails the test.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return finish(t, cmd)
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second // children of a shell that was killed may hold its streams
	return cmd
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// shape replaces every number by N, so that what remains can be compared.
func shape(s string) string { return regexp.MustCompile(`[0-9]+(\.[0-9]+)?`).ReplaceAllString(s, "N") }

func expect(t *testing.T, got result, code int, stdout, stderr string) {
	t.Helper()
	if got.code != code {
		t.Errorf("exit status %d, want %d", got.code, code)
	}
	if diff := cmp.Diff(stdout, got.stdout); diff != "" {
		t.Errorf("standard output (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(stderr, got.stderr); diff != "" {
		t.Errorf("standard error (-want +got):\n%s", diff)
	}
}

// lines decodes JSON lines.
func lines(t *testing.T, s string) []map[string]any {
	t.Helper()
	var all []map[string]any
	d := json.NewDecoder(strings.NewReader(s))
	for {
		var m map[string]any
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %q", err, s)
		}
		all = append(all, m)
	}
	if n := strings.Count(s, "\n"); n != len(all) {
		t.Errorf("%d objects on %d lines", len(all), n)
	}
	return all
}

func TestEchoText(t *testing.T) {
	vmtest.Module(t)
	for _, via := range []string{"raw", "genl"} {
		got := run(t, "", "nlecho", "--via", via, "-c", "5", "-i", "0.01", "hello")
		got.stdout = shape(got.stdout)
		expect(t, got, 0, strings.Repeat("N bytes from kernel: seq=N port=N time=N ms \"hello\"\n", 5)+
			"N transmitted, N received, N% loss, rtt min/avg/max/mdev = N/N/N/N ms\n", "")
	}
	if got := run(t, "", "nlecho", "-c", "5", "-i", "0.01", "-q", "hello"); !strings.HasPrefix(got.stdout,
		"5 transmitted, 5 received, 0% loss, rtt min/avg/max/mdev = ") {
		t.Errorf("%q", got.stdout)
	}
}

func TestEchoJSON(t *testing.T) {
	vmtest.Module(t)
	for _, message := range []string{"hello", "gr\u00fc\u00df \"x\"\n", "\xff\xfe"} {
		got := run(t, "", "nlecho", "--ack", "--pid", "77", "-o", "json", message)
		all := lines(t, got.stdout)
		if got.code != 0 || len(all) != 2 {
			t.Fatalf("%+v", got)
		}
		a := all[0]
		text, _ := a["text"].(string)
		if b64, ok := a["base64"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(b64)
			if err != nil {
				t.Error(err)
			}
			text = string(b)
		}
		if a["type"] != "answer" || a["seq"] != 1.0 || a["port"] != 77.0 || a["bytes"] != float64(len(message)) || text != message {
			t.Errorf("%v", a)
		}
		if s := all[1]; s["type"] != "summary" || s["transmitted"] != 1.0 || s["received"] != 1.0 || s["lost"] != 0.0 {
			t.Errorf("%v", s)
		}
	}
}

func TestEchoLines(t *testing.T) {
	vmtest.Module(t)
	got := run(t, "one\n\nthree", "nlecho", "-o", "json")
	var texts []any
	for _, m := range lines(t, got.stdout) {
		texts = append(texts, m["text"])
	}
	if diff := cmp.Diff([]any{"one", "", "three", nil}, texts); diff != "" || got.code != 0 {
		t.Errorf("exit status %d (-want +got):\n%s", got.code, diff)
	}
}

// What was answered by the end of -w is not lost, wherever the end falls.
func TestEchoDeadline(t *testing.T) {
	vmtest.Module(t)
	for _, args := range []string{"-f", "-f --batch 64", "--batch 64 -i 0"} {
		for range 3 {
			got := run(t, "", append(strings.Fields("nlecho -q -w 0.5 -s 64"), strings.Fields(args)...)...)
			if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, " 0% loss") {
				t.Errorf("%s: %+v", args, got)
			}
		}
	}
}

func TestEchoSizes(t *testing.T) {
	vmtest.Module(t)
	for _, via := range []string{"raw", "genl"} {
		for _, size := range []string{"0", "1", "4096", "32768"} {
			if got := run(t, "", "nlecho", "--via", via, "-q", "-f", "-c", "20", "-s", size); got.code != 0 ||
				!strings.HasPrefix(got.stdout, "20 transmitted, 20 received, 0% loss") {
				t.Errorf("%s, %s bytes: %+v", via, size, got)
			}
		}
	}
}

// Ctrl-C is no failure: the totals come, and the status tells if all were
// answered.
func TestInterrupt(t *testing.T) {
	vmtest.Module(t, "interval_ms=10")
	for _, args := range [][]string{
		{"nlecho", "-i", "0.01", "hello"},
		{"nlsub"},
		{"nlsub", "--via", "genl"},
	} {
		cmd := command(t, args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(out, first); err != nil { // it runs
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if !regexp.MustCompile(`(?m)^[0-9]+ (transmitted|received), `).Match(rest) {
			t.Errorf("%v: no totals in %q", args, rest)
		}
	}
}

// A reader that has had enough ends the command without a word.
func TestBrokenPipe(t *testing.T) {
	vmtest.Module(t, "interval_ms=10")
	for _, line := range []string{"nlecho -i 0.001 hello | head -n 1", "yes | nlecho | head -n 1", "nlsub | head -n 1"} {
		got := run(t, "", "sh", "-c", line)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestSub(t *testing.T) {
	vmtest.Module(t, "interval_ms=10", "groups=0x15")
	got := run(t, "", "nlsub", "-g", "1,3-5", "-c", "9", "--fail-on-gap")
	if got.code != 0 || !regexp.MustCompile(`(?m)^group=3 seq=1 kind=beacon time=[0-9.]+ bytes=0$`).MatchString(got.stdout) ||
		!strings.HasSuffix(got.stdout, "group 1: 3 received, 0 recovered, 0 lost\ngroup 3: 3 received, 0 recovered, 0 lost\ngroup 4: 0 received, 0 recovered, 0 lost\ngroup 5: 3 received, 0 recovered, 0 lost\n9 received, 0 recovered, 0 lost, 0 overruns\n") {
		t.Errorf("%+v", got)
	}
	got = run(t, "", "nlsub", "--via", "genl", "-c", "3", "-o", "json")
	var seqs []any
	for _, m := range lines(t, got.stdout) {
		seqs = append(seqs, m["seq"])
	}
	if diff := cmp.Diff([]any{1.0, 2.0, 3.0, nil}, seqs); diff != "" || got.code != 0 {
		t.Errorf("exit status %d (-want +got):\n%s", got.code, diff)
	}
}

// What a slow reader misses comes later, and losing events is a failure only for
// those who say so.
func TestSubGap(t *testing.T) {
	for _, tt := range []struct {
		history, flags  string
		code            int
		recovered, lost bool
	}{
		{"history=65536", "", 0, true, false},
		{"history=65536", "--fail-on-gap", 0, true, false},
		{"history=65536", "--via genl --fail-on-gap", 0, true, false},
		{"history=4", "", 0, true, true},
		{"history=4", "--fail-on-gap", 1, true, true},
		{"history=65536", "--no-resync", 0, false, true},
		{"history=65536", "--no-resync --fail-on-gap", 1, false, true},
	} {
		t.Run(tt.history+" "+tt.flags, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0", tt.history)
			out, code := overrun(t, strings.Fields("nlsub --rcvbuf 8K "+tt.flags))
			if code != tt.code {
				t.Errorf("exit status %d, want %d", code, tt.code)
			}
			live, recovered, lost, last := 0, 0, 0, 0
			for _, m := range eventLine.FindAllStringSubmatch(out, -1) {
				seq, _ := strconv.Atoi(m[1])
				n, _ := strconv.Atoi(m[3])
				if last != 0 && seq != last+n+1 {
					t.Errorf("event %d with %d lost after %d", seq, n, last)
				}
				last = seq
				lost += n
				if m[4] != "" {
					recovered++
				} else {
					live++
				}
			}
			totals := regexp.MustCompile(`(?m)^(\d+) received, (\d+) recovered, (\d+) lost, \d+ overruns?\n\z`).FindStringSubmatch(out)
			if want := []string{strconv.Itoa(live), strconv.Itoa(recovered), strconv.Itoa(lost)}; totals == nil ||
				!slices.Equal(totals[1:], want) {
				t.Errorf("totals %q, want %q", totals, want)
			}
			if (recovered > 0) != tt.recovered || (lost > 0) != tt.lost {
				t.Errorf("%d recovered, %d lost", recovered, lost)
			}
		})
	}
}

// eventLine is a line of nlsub: number, what was lost before it, and whether it
// was recovered.
var eventLine = regexp.MustCompile(`(?m)^group=\S+ seq=(\d+) .*?( lost (\d+))?( recovered)?$`)

// overrun runs nlsub, stops it until its receive buffer has overrun, lets it go
// on until it has caught up, and interrupts it.
func overrun(t *testing.T, args []string) (stdout string, code int) {
	t.Helper()
	cmd := command(t, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	set := func(args ...string) {
		if got := run(t, "", append([]string{"nlctl", "beacon", "set"}, args...)...); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	signal := func(s syscall.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	drops := func() int {
		n := 0
		for _, s := range vmtest.Sockets(t) {
			n += s.Drops
		}
		return n
	}
	vmtest.Until(t, "nlsub to listen", func() bool {
		for _, s := range vmtest.Sockets(t) {
			if s.PortID == uint32(cmd.Process.Pid) && s.Groups != 0 {
				return true
			}
		}
		return false
	})

	set("--interval", "5ms", "--size", "4096")
	reader := bufio.NewReader(pipe)
	var out strings.Builder
	line := func() string {
		l, err := reader.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, out.String())
		}
		out.WriteString(l)
		return strings.TrimSuffix(l, "\n")
	}
	first, _ := strconv.Atoi(eventLine.FindStringSubmatch(line())[1])
	signal(syscall.SIGSTOP)
	before := drops()
	vmtest.Until(t, "an overrun", func() bool { return drops() > before+20 })
	// However slow the machine is: what is lost and what is not stands before it
	// goes on, and one more event tells.
	set("--interval", "off")
	signal(syscall.SIGCONT)
	vmtest.Until(t, "nlsub to read what it has", func() bool {
		for _, s := range vmtest.Sockets(t) {
			if s.PortID == uint32(cmd.Process.Pid) && s.Groups != 0 {
				return s.Rmem == 0
			}
		}
		return false
	})
	set("--burst", "1")
	for seq := 0; seq <= first+20; {
		if m := eventLine.FindStringSubmatch(line()); m != nil && m[4] == "" {
			seq, _ = strconv.Atoi(m[1])
		}
	}
	signal(syscall.SIGINT)
	rest, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(rest)
	_ = cmd.Wait() // the status is looked at
	return out.String(), cmd.ProcessState.ExitCode()
}

func TestSubTooFew(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	got := run(t, "", "nlsub", "-c", "1", "--idle-timeout", "50ms")
	if got.code != 1 || !strings.HasSuffix(got.stdout, "0 received, 0 recovered, 0 lost, 0 overruns\n") {
		t.Errorf("%+v", got)
	}
}

func TestBeacon(t *testing.T) {
	vmtest.Module(t)
	got := run(t, "", "nlctl", "beacon", "set", "--interval", "250ms", "--groups", "1,3-5", "--genl", "off", "--size", "9", "-o", "json")
	want := map[string]any{"type": "beacon", "interval_ns": 250e6, "groups": []any{1.0, 3.0, 4.0, 5.0}, "mask": 29.0,
		"genl": false, "connector": false, "size": 9.0, "packed": []any{}}
	if diff := cmp.Diff([]map[string]any{want}, lines(t, got.stdout)); diff != "" || got.code != 0 {
		t.Errorf("exit status %d (-want +got):\n%s", got.code, diff)
	}
	expect(t, run(t, "", "nlctl", "beacon", "get"), 0, "interval   250ms\ngroups     1,3-5\ngenl       off\nconnector  off\nsize       9\npacked     none\n", "")
	run(t, "", "nlctl", "beacon", "set", "--interval", "off")
	expect(t, run(t, "", "nlctl", "beacon", "get"), 0, "interval   off\ngroups     1,3-5\ngenl       off\nconnector  off\nsize       9\npacked     none\n", "")
}

func TestInfoAndStats(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	info := lines(t, run(t, "", "nlctl", "info", "-o", "json").stdout)[0]
	if info["loaded"] != true || info["protocol"] != 31.0 {
		t.Errorf("%v", info)
	}
	run(t, "", "nlecho", "-c", "3", "-q", "-f", "hello")
	stats := lines(t, run(t, "", "nlctl", "stats", "-o", "json").stdout)[0]
	raw := stats["carriers"].([]any)[0].(map[string]any)
	if len(stats["carriers"].([]any)) != 4 || raw["carrier"] != "raw" || raw["requests"] != 3.0 || raw["replies"] != 3.0 || raw["rx_bytes"] != 63.0 {
		t.Errorf("%v", raw)
	}
}

// Another protocol number, and a namespace by name.
func TestElsewhere(t *testing.T) {
	vmtest.Module(t, "protocol=29")
	expect(t, run(t, "", "nlecho", "hello"), 2, "",
		"nlecho: the nlpeer module is not loaded (protocol 31 is unknown to this kernel); try: sudo insmod nlpeer.ko, or: make demo\n")
	if got := run(t, "", "nlecho", "--protocol", "29", "hello"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	info := lines(t, run(t, "", "nlctl", "info", "-o", "json").stdout)[0]
	if info["protocol"] != 29.0 {
		t.Errorf("%v", info)
	}

	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", "sh", "-c", "touch /run/netns/blue && unshare -n mount --bind /proc/self/ns/net /run/netns/blue"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	t.Cleanup(func() { run(t, "", "sh", "-c", "umount /run/netns/blue; rm /run/netns/blue") })
	run(t, "", "nlctl", "-n", "blue", "beacon", "set", "--size", "5")
	for _, tt := range []struct {
		args []string
		size float64
	}{{[]string{"-n", "blue"}, 5}, {nil, 0}} {
		args := append([]string{"nlctl", "beacon", "get", "-o", "json"}, tt.args...)
		if got := lines(t, run(t, "", args...).stdout)[0]; got["size"] != tt.size {
			t.Errorf("%v: %v", args, got)
		}
	}
	if got := run(t, "", "nlecho", "--protocol", "29", "-n", "blue", "hello"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := run(t, "", "nlecho", "-n", "nowhere", "hello"); got.code != 2 || !strings.Contains(got.stderr, "nowhere") {
		t.Errorf("%+v", got)
	}
}

func TestRefused(t *testing.T) {
	vmtest.Module(t)
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stderr string // a part of it
	}{
		{"no privilege", []string{"su", "user", "-c", "nlctl beacon set --size 3"}, 2,
			"nlctl: changing the beacon needs CAP_NET_ADMIN in this network namespace; try: sudo nlctl beacon set --size 3\n"},
		{"port ID in use", []string{"sh", "-c", "nlecho --pid 99 -i 0.001 x >/dev/null & p=$!; until grep -q ' 31  *99 ' /proc/net/netlink; do usleep 1000; done; nlecho --pid 99 x; s=$?; kill -INT $p; exit $s"}, 2, "99"},
		{"too long", []string{"nlecho", "-s", "32769"}, 2, "32768"},
		{"line too long", []string{"sh", "-c", "dd if=/dev/zero bs=1000 count=40 2>/dev/null | nlecho"}, 2, "line 1"},
		{"full device", []string{"sh", "-c", "nlecho hello >/dev/full"}, 2, "no space left"},
		{"closed standard input", []string{"sh", "-c", "nlecho <&-"}, 2, "nlecho: "},
	} {
		got := run(t, "", tt.args...)
		if got.code != tt.code || !strings.Contains(got.stderr, tt.stderr) {
			t.Errorf("%s: %+v, want status %d and %q", tt.name, got, tt.code, tt.stderr)
		}
	}
	// What needs no privilege works without.
	for _, line := range []string{"nlecho hello", "nlecho --via genl hello", "nlctl info", "nlctl stats", "nlctl beacon get", "nlsub -c 1"} {
		if got := run(t, "", "su", "user", "-c", line); got.code != 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestNotLoaded(t *testing.T) {
	vmtest.Module(t)
	vmtest.Unload(t)
	const hint = "; try: sudo insmod nlpeer.ko, or: make demo\n"
	for _, tt := range []struct {
		line, stderr string
	}{
		{"nlecho hello", "nlecho: the nlpeer module is not loaded (protocol 31 is unknown to this kernel)"},
		{"nlecho --via genl hello", "nlecho: the nlpeer module is not loaded (family nlpeer is unknown to this kernel)"},
		{"nlsub", "nlsub: the nlpeer module is not loaded (protocol 31 is unknown to this kernel)"},
		{"nlsub --via genl", "nlsub: the nlpeer module is not loaded (family nlpeer is unknown to this kernel)"},
		{"nlctl stats", "nlctl: the nlpeer module is not loaded (family nlpeer is unknown to this kernel)"},
		{"nlctl beacon get", "nlctl: the nlpeer module is not loaded (family nlpeer is unknown to this kernel)"},
	} {
		expect(t, run(t, "", "sh", "-c", tt.line), 2, "", tt.stderr+hint)
	}
}
