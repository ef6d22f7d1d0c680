// SPDX-License-Identifier: MIT

// Package trace_test runs nlctl trace: what it shows of a message's way through
// the kernel, and that it leaves the kernel's tracing as it was.
package trace_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

type result struct {
	stdout, stderr string
	code           int
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*vmtest.Deadline())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	return cmd
}

// run runs a command line; a command that does not end in time fails the test.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

const tracing = "/sys/kernel/tracing"

// settings returns a function that fails the test if the settings of the
// kernel's tracing are not as they are now.
func settings(t *testing.T) (same func()) {
	t.Helper()
	read := func() map[string]string {
		all := map[string]string{}
		for _, pattern := range []string{"*trac*", "set_*", "max_graph_depth", "buffer_size_kb", "options/*", "per_cpu/*/stats"} {
			files, err := filepath.Glob(filepath.Join(tracing, pattern))
			if err != nil || len(files) == 0 {
				t.Fatal(pattern, err)
			}
			for _, file := range files {
				name := strings.TrimPrefix(file, tracing+"/")
				if strings.HasPrefix(name, "available_") || strings.HasSuffix(name, "_raw") || name == "trace_pipe" ||
					name == "trace_marker" || strings.HasPrefix(name, "stack_") || name == "trace_stat" {
					continue
				}
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text := string(b)
				switch {
				case name == "trace": // its heading counts records, written ones too
					text = regexp.MustCompile(`#.*\n`).ReplaceAllString(text, "")
				case strings.HasSuffix(name, "stats"):
					text = regexp.MustCompile(`entries: \d+`).FindString(text)
				}
				all[name] = text
			}
		}
		instances, err := os.ReadDir(filepath.Join(tracing, "instances"))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range instances {
			all["instances/"+i.Name()] = "there"
		}
		return all
	}
	// The first use of tracing makes the buffer larger, for good. Let it be ours.
	const size = tracing + "/buffer_size_kb"
	if b, err := os.ReadFile(size); err != nil {
		t.Fatal(err)
	} else if m := regexp.MustCompile(`expanded: (\d+)`).FindSubmatch(b); m != nil {
		if err := os.WriteFile(size, m[1], 0); err != nil {
			t.Fatal(err)
		}
	}
	before := read()
	return func() {
		t.Helper()
		if diff := cmp.Diff(before, read()); diff != "" {
			t.Errorf("the settings of tracing (-before +after):\n%s", diff)
		}
	}
}

// set writes to a file of the tracing folder, and something else when the test
// ends.
func set(t *testing.T, name, value, end string) {
	t.Helper()
	write := func(value string) {
		if err := os.WriteFile(filepath.Join(tracing, name), []byte(value), 0); err != nil {
			t.Errorf("%s to %s: %v", value, name, err)
		}
	}
	write(value)
	t.Cleanup(func() { write(end) })
}

// shared says that this kernel has one function graph tracer for all.
func shared(t *testing.T) bool {
	t.Helper()
	dir := filepath.Join(tracing, "instances", "probe")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	b, err := os.ReadFile(filepath.Join(dir, "available_tracers"))
	if err != nil {
		t.Fatal(err)
	}
	return !bytes.Contains(b, []byte("function_graph"))
}

// queue is the function that puts a message into a socket's queue.
const queue = "__netlink_sendskb|netlink_sendskb"

// The trees are the command's own, though a worker sends us events meanwhile.
func TestRawEcho(t *testing.T) {
	vmtest.Module(t, "interval_ms=10", "groups=1")
	vmtest.ListenRaw(t, 1).Next(t)
	roots, sum, got := trace(t, "", "nlecho", "-c", "2", "-i", "0.1", "hi")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "2 bytes from kernel: ") || got.stderr != "" || sum.Lost != 0 {
		t.Errorf("%+v, %+v", got, sum)
	}
	calls := expect(t, roots, "netlink_sendmsg", "netlink_unicast", "raw_input [nlpeer]", "nlpeer_answers_flush [nlpeer]",
		"netlink_unicast", queue, "sock_def_readable")
	if calls[0].Task != "nlecho" || calls[0].Context != "task" || calls[0].Cut {
		t.Errorf("%+v", *calls[0])
	}
	// Another thread may receive it before the one that sent gets back.
	send, sent := calls[0], calls[len(calls)-1]
	calls = expect(t, roots[slices.Index(roots, send):], "netlink_recvmsg", "skb_recv_datagram|__skb_recv_datagram")
	if calls[0].Time < sent.Time {
		t.Errorf("received at %d, queued at %d", calls[0].Time, sent.Time)
	}
	for _, c := range roots {
		if c.Task != "nlecho" || c.Context != "task" {
			t.Errorf("a tree of another: %+v", *c)
		}
	}
}

// A listener that was too slow asks for the events that it lost.
func TestDump(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "history=65536")
	file := filepath.Join(t.TempDir(), "trace")
	cmd := command(t, "nlctl", "trace", "-o", "json", "--to", file, "--", "nlsub", "--rcvbuf", "8K", "-c", "100", "-q")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	find := func() (s vmtest.NetlinkSocket) {
		for _, s = range vmtest.Sockets(t) {
			if s.Protocol == vmtest.NetlinkTest && s.Groups != 0 {
				return s
			}
		}
		return vmtest.NetlinkSocket{}
	}
	vmtest.Until(t, "nlsub to listen", func() bool { return find().PortID != 0 })
	pid := int(find().PortID)
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	run(t, "", "nlctl", "beacon", "set", "--interval", "5ms", "--size", "4096")
	vmtest.Until(t, "an overrun", func() bool { return find().Drops > 20 })
	run(t, "", "nlctl", "beacon", "set", "--interval", "20ms")
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, stderr.String())
	}
	roots, _ := read(t, file)
	expect(t, roots, "netlink_sendmsg", "netlink_unicast", "genl_rcv", "netlink_rcv_skb", "genl_rcv_msg", "__netlink_dump_start",
		"netlink_dump", "nlpeer_nl_event_get_dumpit [nlpeer]", "nlpeer_event_put [nlpeer]")
}

// A broadcast is a timer's soft interrupt and a worker, and the listener's own call.
func TestBroadcast(t *testing.T) {
	vmtest.Module(t, "interval_ms=50", "groups=1")
	roots, _, got := trace(t, "--all-tasks", "nlsub", "-c", "2", "-g", "1")
	if got.code != 0 {
		t.Errorf("%+v", got)
	}
	tick := expect(t, roots, "beacon_tick [nlpeer]", "nlpeer_event_wanted [nlpeer]", "netlink_has_listeners")
	timers := func(c *call) bool { return c.Context == "task" && strings.HasPrefix(c.Task, "ktimers/") } // with PREEMPT_RT
	if c := tick[0]; c.Context != "softirq" && !timers(c) || c.Depth != 0 {
		t.Errorf("%+v", *c)
	}
	send := expect(t, roots, "beacon_work [nlpeer]", "nlpeer_event_tick [nlpeer]", "nlpeer_raw_event [nlpeer]",
		"nlmsg_notify", "netlink_broadcast|netlink_broadcast_filtered", queue, "sock_def_readable")
	if c := send[0]; c.Context != "task" || !strings.HasPrefix(c.Task, "kworker/") || c.Depth != 0 {
		t.Errorf("%+v", *c)
	}
	i := slices.IndexFunc(roots, func(c *call) bool { return c.Task == "nlsub" && c.name() == "netlink_recvmsg" && c.Time > send[0].Time })
	if i < 0 {
		t.Errorf("nobody received it:\n%s", show(roots, ""))
	}
}

// One trace of one command for each carrier and each kind of request, with a
// listener on each protocol.
func TestChains(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	raw := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	vmtest.RawCarrier.JoinObjects(t, raw)
	genl := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	vmtest.GenlCarrier.JoinObjects(t, genl)
	cn := vmtest.ListenCn(t)
	roots, sum, got := trace(t, "", "sh", "-c", `
		set -e
		for via in genl rtnl connector; do nlecho -q --via $via hi; done
		nlctl object add --via raw key value
		for via in raw genl rtnl; do nlctl object list --via $via; done
		nlctl object get --via raw key
		nlctl object del --via rtnl key
		ip route add 192.0.2.0/24 dev lo
		ip route del 192.0.2.0/24 dev lo`)
	if got.code != 0 || got.stderr != "" || sum.Lost != 0 {
		t.Fatalf("%+v, %+v", got, sum)
	}
	for range 2 { // the object came and went
		raw.RecvOne(t)
		genl.RecvOne(t)
		cn.Next(t)
	}
	const broadcast = "netlink_broadcast|netlink_broadcast_filtered"
	for _, tt := range []struct {
		name  string
		chain []string // below netlink_sendmsg
	}{
		{"name of a family", []string{"genl_rcv", "netlink_rcv_skb", "genl_rcv_msg", "ctrl_getfamily", "netlink_unicast", queue, "sock_def_readable"}},
		{"echo by genl", []string{"genl_rcv", "netlink_rcv_skb", "genl_rcv_msg", "nlpeer_nl_echo_doit [nlpeer]", "netlink_unicast", queue, "sock_def_readable"}},
		{"echo by rtnl", []string{"rtnetlink_rcv|netlink_rcv_skb", "rtnetlink_rcv_msg", "rtnl_get_doit [nlpeer]", "rtnl_unicast", "netlink_unicast", queue, "sock_def_readable"}},
		{"echo by the connector", []string{"cn_rx_skb", "connector_input [nlpeer]", "cn_netlink_send|cn_netlink_send_mult", "netlink_unicast", queue, "sock_def_readable"}},

		{"dump by raw", []string{"raw_input [nlpeer]", "__netlink_dump_start", "netlink_dump", "raw_object_dump [nlpeer]",
			"nlpeer_object_dump_next [nlpeer]", "raw_dump_object [nlpeer]", "nlpeer_object_fill [nlpeer]"}},
		{"start of a dump by raw", []string{"__netlink_dump_start", "raw_object_dump_start [nlpeer]", "nlpeer_object_dump_start [nlpeer]"}},
		{"end of a dump by raw", []string{"netlink_dump", "raw_object_dump_done [nlpeer]", "nlpeer_object_dump_done [nlpeer]"}},
		{"dump by genl", []string{"genl_rcv", "genl_rcv_msg", "__netlink_dump_start", "netlink_dump", "nlpeer_nl_object_get_dumpit [nlpeer]",
			"nlpeer_object_dump_next [nlpeer]", "genl_dump_object [nlpeer]", "nlpeer_object_fill [nlpeer]"}},
		{"dump by rtnl", []string{"rtnetlink_rcv_msg", "__netlink_dump_start", "netlink_dump", "rtnl_dumpit [nlpeer]",
			"nlpeer_object_dump_next [nlpeer]", "rtnl_dump_object [nlpeer]", "nlpeer_object_fill [nlpeer]"}},
		{"dump's messages", []string{"__netlink_dump_start", "netlink_dump", queue, "sock_def_readable"}},
		{"one object", []string{"raw_input [nlpeer]", "nlpeer_object_get [nlpeer]"}},

		{"new object to a raw group", []string{"raw_input [nlpeer]", "nlpeer_request_new [nlpeer]", "nlpeer_object_new [nlpeer]", "nlpeer_event_object [nlpeer]",
			"nlpeer_raw_event [nlpeer]", "nlmsg_notify", broadcast, queue, "sock_def_readable"}},
		{"new object to a genl group", []string{"nlpeer_object_new [nlpeer]", "nlpeer_event_object [nlpeer]", "nlpeer_genl_event [nlpeer]", broadcast, queue, "sock_def_readable"}},
		{"new object to the connector's group", []string{"nlpeer_object_new [nlpeer]", "nlpeer_event_object [nlpeer]", "nlpeer_connector_event [nlpeer]",
			"cn_netlink_send|cn_netlink_send_mult", broadcast, queue, "sock_def_readable"}},
		{"object deleted by rtnl", []string{"rtnetlink_rcv_msg", "rtnl_del_doit [nlpeer]", "nlpeer_object_del [nlpeer]", "nlpeer_event_object [nlpeer]",
			"nlpeer_raw_event [nlpeer]", "nlmsg_notify", broadcast, queue, "sock_def_readable"}},

		{"route", []string{"rtnetlink_rcv|netlink_rcv_skb", "rtnetlink_rcv_msg", "inet_rtm_newroute", "fib_table_insert", "rtmsg_fib", "rtnl_notify", "nlmsg_notify", broadcast}},
		{"dump of links", []string{"rtnetlink_rcv_msg", "netlink_dump", "rtnl_dump_ifinfo", "rtnl_fill_ifinfo"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, roots, slices.Concat([]string{"netlink_sendmsg", "netlink_unicast"}, tt.chain)...)
		})
	}
}

// The command has our streams, and its end is ours.
func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		script string
		code   int
	}{
		{"cat; echo err >&2", 0},
		{"cat; echo err >&2; exit 7", 7},
		{"cat; echo err >&2; kill -KILL $$", 128 + 9},
	} {
		same := settings(t)
		file := filepath.Join(t.TempDir(), "trace")
		got := run(t, "in", "nlctl", "trace", "-o", "json", "--to", file, "sh", "-c", tt.script)
		same()
		if got.stdout != "in" || got.stderr != "err\n" || got.code != tt.code {
			t.Errorf("%s: %+v", tt.script, got)
		}
		if _, sum := read(t, file); sum.Status != tt.code || sum.Trees != 0 {
			t.Errorf("%s: %+v", tt.script, sum)
		}
	}
	got := run(t, "", "nlctl", "trace", "true")
	if want := (result{"", "nlctl: nothing was traced: the command did nothing with netlink\n", 0}); got != want {
		t.Errorf("%+v", got)
	}
}

// The text comes after what the command has printed.
func TestText(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	got := run(t, "", "nlctl", "trace", "--depth", "3", "--", "nlecho", "hi")
	if got.code != 0 || !regexp.MustCompile(`(?s)\A2 bytes from kernel: [^\n]*\n1 transmitted[^\n]*\nnlecho, pid \d+:\n\d+\.\d{6} +\d+\.\d{3} us  \w`).MatchString(got.stdout) ||
		!regexp.MustCompile(`(?m)^\d+\.\d{6} +\d+\.\d{3} us      raw_input \[nlpeer\]$`).MatchString(got.stdout) || strings.Contains(got.stdout, "nlpeer_answers") {
		t.Errorf("%+v", got)
	}
	got = run(t, "", "nlctl", "trace", "--raw", "--", "nlecho", "-q", "hi")
	if got.code != 0 || !regexp.MustCompile(`(?s)\A1 transmitted[^\n]*\n# tracer: function_graph\n.*raw_input \[nlpeer\]\(\) \{\n.*\} /\* raw_input \[nlpeer\] \*/\n`).MatchString(got.stdout) {
		t.Errorf("%+v", got)
	}
}

// Whoever ends it, the trace comes and the tracer is given back.
func TestInterrupted(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, tt := range []struct {
		name string
		kill func(pid int) error // of nlctl, the leader of its group
		code int
	}{
		{"Ctrl-C", func(pid int) error { return unix.Kill(-pid, unix.SIGINT) }, 0},
		{"SIGTERM to nlctl", func(pid int) error { return unix.Kill(pid, unix.SIGTERM) }, 0},
		{"impatience", func(pid int) error {
			unix.Kill(pid, unix.SIGINT)
			unix.Kill(pid, unix.SIGINT)
			unix.Kill(pid, unix.SIGQUIT)
			return unix.Kill(-pid, unix.SIGINT)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			same := settings(t)
			file := filepath.Join(t.TempDir(), "trace")
			cmd := command(t, "nlctl", "trace", "-o", "json", "--to", file, "--", "nlecho", "-i", "0.05", "hi")
			cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // it echoes
				t.Fatal(err)
			}
			if err := tt.kill(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(out)
			cmd.Wait()
			same()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !bytes.Contains(rest, []byte(" transmitted, ")) {
				t.Errorf("exit status %d after %q", code, rest)
			}
			roots, _ := read(t, file)
			expect(t, roots, "netlink_sendmsg", "raw_input [nlpeer]")
		})
	}
	// Before the command runs.
	same := settings(t)
	cmd := command(t, "nlctl", "trace", "--", "sh", "-c", "echo it runs")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(tracing, "instances", "nlctl-*")
	vmtest.Until(t, "nlctl to take the tracer", func() bool { found, _ := filepath.Glob(own); return len(found) > 0 })
	if err := cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	same()
	if code := cmd.ProcessState.ExitCode(); code != 130 || stdout.Len() > 0 {
		t.Errorf("exit status %d, %q", code, &stdout)
	}
}

// Who stops reading does not keep us from giving the tracer back.
func TestUnread(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, flags := range []string{"", "-o json", "--raw"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		same := settings(t)
		args := append([]string{"nlctl", "trace"}, strings.Fields(flags)...)
		// The command itself says nothing: it is the trace that nobody reads.
		cmd := command(t, append(args, "--", "sh", "-c", "nlecho hi >/dev/null")...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &stderr
		cmd.Run()
		w.Close()
		same()
		if code := cmd.ProcessState.ExitCode(); code != 128+int(unix.SIGPIPE) || stderr.Len() > 0 {
			t.Errorf("%q: %v, standard error %q", flags, cmd.ProcessState, &stderr)
		}
	}
}

// What others have set stays, also what a trace needs otherwise.
func TestSettingsOfOthers(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	set(t, "trace_clock", "mono", "local")
	set(t, "tracing_on", "0", "1")
	set(t, "options/funcgraph-tail", "0", "0")
	set(t, "options/funcgraph-proc", "0", "0")
	set(t, "options/funcgraph-overhead", "1", "1")
	set(t, "options/latency-format", "0", "0")
	set(t, "max_graph_depth", "2", "0")
	set(t, "set_ftrace_pid", "1", "")
	set(t, "set_graph_function", "vfs_read", "")
	set(t, "set_ftrace_notrace", "netlink_unicast", "")
	set(t, "set_ftrace_filter", "raw_input:mod:nlpeer", "")
	f, err := os.OpenFile(filepath.Join(tracing, "set_ftrace_filter"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("vfs_read\n")
	f.Close()
	for _, flags := range []string{"", "--buffer 4M"} {
		roots, _, _ := trace(t, flags, "nlecho", "hi")
		expect(t, roots, "netlink_sendmsg", "netlink_unicast", "raw_input [nlpeer]", "nlpeer_answers_flush [nlpeer]", "netlink_unicast")
	}
}

// The one tracer of an older kernel is not taken from others.
func TestBusy(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	alone := shared(t)
	check := func(t *testing.T, want string) {
		t.Helper()
		same := settings(t)
		got := run(t, "", "nlctl", "trace", "--", "nlecho", "hi")
		same()
		switch {
		case !alone && got.code != 0:
			t.Errorf("%+v, but this kernel has a tracer for each", got)
		case alone && (got.code != 2 || got.stdout != "" || !strings.HasPrefix(got.stderr, "nlctl: the kernel's tracer ") || !strings.Contains(got.stderr, want)):
			t.Errorf("%+v, want %q", got, want)
		}
	}
	t.Run("a tracer", func(t *testing.T) {
		tracer := "blk"
		if b, err := os.ReadFile(filepath.Join(tracing, "available_tracers")); err != nil || !slices.Contains(strings.Fields(string(b)), tracer) {
			tracer = "function"
			set(t, "tracing_on", "0", "1") // as it would record all that the kernel does
		}
		set(t, "current_tracer", tracer, "nop")
		f, err := os.Open(filepath.Join(tracing, "trace_pipe"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		check(t, "busy: trace.test (process ")
	})
	t.Run("events", func(t *testing.T) {
		set(t, "events/module/module_load/enable", "1", "0")
		check(t, "has events on, such as module:module_load; if nobody needs them: echo | sudo tee "+tracing+"/set_event\n")
	})
	t.Run("records", func(t *testing.T) {
		f, err := os.OpenFile(filepath.Join(tracing, "trace_marker"), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString("a remark")
		f.Close()
		t.Cleanup(func() { os.WriteFile(filepath.Join(tracing, "trace"), nil, 0) })
		check(t, "holds 1 records that would be lost; if nobody needs them: echo | sudo tee "+tracing+"/trace\n")
	})
	t.Run("a trigger", func(t *testing.T) {
		set(t, "set_ftrace_filter", "vfs_fsync:traceoff", "!vfs_fsync:traceoff")
		check(t, "has set_ftrace_filter set to vfs_fsync:traceoff")
	})
	t.Run("another nlctl", func(t *testing.T) {
		in, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		cmd := command(t, "nlctl", "trace", "--", "sh", "-c", "echo; cat; nlecho hi")
		cmd.Stdin = in
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		check(t, "busy: nlctl (process ")
		w.Close()
		rest, _ := io.ReadAll(out)
		if err := cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("raw_input [nlpeer]")) {
			t.Errorf("%v after %q", err, rest)
		}
	})
}

// What does not fit is counted.
func TestLost(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	roots, sum, got := trace(t, "--buffer 64K", "nlecho", "-f", "-q", "-c", "500", "hi")
	if sum.Lost < 1000 || got.code != 0 || !regexp.MustCompile(`\Anlctl: \d+ records of the trace are lost, the oldest first; try a larger --buffer\n\z`).MatchString(got.stderr) {
		t.Errorf("%+v, %+v", sum, got)
	}
	expect(t, roots, "netlink_sendmsg", "netlink_unicast", "raw_input [nlpeer]", "nlpeer_answers_flush [nlpeer]", "netlink_unicast")
	if _, sum, _ = trace(t, "--buffer 16M", "nlecho", "-f", "-q", "-c", "500", "hi"); sum.Lost != 0 || sum.Calls < 500*10 {
		t.Errorf("%+v", sum)
	}
}

func TestFunctions(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	roots, _, _ := trace(t, "--functions vfs_writ* --functions __sys_sendto --functions hrtimer_nanosleep",
		"sh", "-c", "nlecho hi; usleep 20000; usleep 200000; usleep 1200000")
	expect(t, roots, "vfs_write")
	expect(t, roots, "__sys_sendto", "netlink_sendmsg", "raw_input [nlpeer]")
	var slept []int64
	for _, c := range roots {
		if c.Function == "hrtimer_nanosleep" && c.Task == "usleep" && c.Duration != nil {
			slept = append(slept, *c.Duration/1e6)
		}
	}
	if len(slept) != 3 || slept[0] < 20 || slept[0] >= 200 || slept[1] < 200 || slept[1] >= 1200 || slept[2] < 1200 {
		t.Errorf("slept %d ms, told to sleep 20, 200 and 1200", slept)
	}
	same := settings(t)
	got := run(t, "", "nlctl", "trace", "--functions", "nonesuch_*", "--", "nlecho", "hi")
	same()
	if want := (result{"", "nlctl: no function of this kernel that can be traced matches \"nonesuch_*\"\n", 2}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestNamespace(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	got := run(t, "", "sh", "-c", "touch /run/netns/red && unshare -n mount --bind /proc/self/ns/net /run/netns/red")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	t.Cleanup(func() { run(t, "", "sh", "-c", "umount /run/netns/red; rm /run/netns/red") })
	var st unix.Stat_t
	if err := unix.Stat("/run/netns/red", &st); err != nil {
		t.Fatal(err)
	}
	roots, _, got := trace(t, "-n red", "sh", "-c", "stat -L -c %i /proc/self/ns/net; nlecho -q hi")
	if inode, _, _ := strings.Cut(got.stdout, "\n"); got.code != 0 || inode != strconv.FormatUint(st.Ino, 10) {
		t.Errorf("%+v, want namespace %d", got, st.Ino)
	}
	expect(t, roots, "netlink_sendmsg", "raw_input [nlpeer]")
	same := settings(t)
	got = run(t, "", "nlctl", "-n", "/etc/passwd", "trace", "--", "nlecho", "hi")
	same()
	if want := (result{"", "nlctl: /etc/passwd is not a network namespace\n", 2}); got != want {
		t.Errorf("%+v", got)
	}
}

func TestRefused(t *testing.T) {
	same := settings(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"su", "user", "-c", "nlctl trace -- nlecho hi"}, "nlctl: tracing the kernel needs root; try: sudo nlctl trace -- nlecho hi\n"},
		{[]string{"nlctl", "trace", "nonesuch"}, "nlctl: nonesuch: executable file not found in $PATH\n"},
		{[]string{"nlctl", "trace", "--to", "/nowhere/x", "true"}, "nlctl: open /nowhere/x: no such file or directory\n"},
	} {
		if got := run(t, "", tt.args...); (got != result{"", tt.want, 2}) {
			t.Errorf("%+v, want %q", got, tt.want)
		}
	}
	got := run(t, "", "nlctl", "trace", "--to", "/dev/full", "ip", "link")
	if got.code != 2 || got.stderr != "nlctl: writing the trace: write /dev/full: no space left on device\n" {
		t.Errorf("%+v", got)
	}
	same()
}

// Where nobody has mounted it, it is mounted for as long as it is needed.
func TestMount(t *testing.T) {
	got := run(t, "", "unshare", "-m", "sh", "-c", `
		umount /sys/kernel/debug/tracing 2>/dev/null; umount /sys/kernel/debug; umount /sys/kernel/tracing
		nlctl trace --depth 1 -- ip route add 192.0.2.0/24 dev lo >/tmp/trace.mount || exit
		grep -c netlink_sendmsg /tmp/trace.mount
		grep tracefs /proc/mounts`)
	run(t, "", "ip", "route", "del", "192.0.2.0/24", "dev", "lo")
	if got.stdout != "2\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}
