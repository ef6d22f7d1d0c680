// SPDX-License-Identifier: MIT

package nlctl_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/ftrace"
	"nlpeer/cmd/internal/nlctl"
)

// A fakeTracer has recorded what it is told.
type fakeTracer struct {
	trees   []*ftrace.Tree
	lost    uint64
	strange int
	text    string
	fail    string // the method that fails
	calls   []string
	config  ftrace.Config
	says    io.Writer // if not nil, is told of each call
}

// withFakeTracer makes the command, as a process of its own, have a fakeTracer.
const withFakeTracer = "NLPEER_TEST_FAKE_TRACER"

func (f *fakeTracer) call(name string) error {
	f.calls = append(f.calls, name)
	if f.says != nil {
		fmt.Fprintln(f.says, name)
	}
	if f.fail == name {
		return errors.New(name + " failed")
	}
	return nil
}

func (f *fakeTracer) open(cfg ftrace.Config) (nlctl.Tracer, error) {
	f.config = cfg
	return f, f.call("Open")
}
func (f *fakeTracer) Start() error { return f.call("Start") }
func (f *fakeTracer) Stop() error  { return f.call("Stop") }
func (f *fakeTracer) Close() error { return f.call("Close") }
func (f *fakeTracer) Text() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(f.text)), f.call("Text")
}
func (f *fakeTracer) Trees() ([]*ftrace.Tree, int, error) { return f.trees, f.strange, f.call("Trees") }
func (f *fakeTracer) Lost() (uint64, error)               { return f.lost, f.call("Lost") }

// recorded is a little of everything.
func recorded() []*ftrace.Tree {
	const ms = time.Millisecond
	return []*ftrace.Tree{
		{Task: "nlecho", PID: 7, Root: &ftrace.Call{Function: "netlink_sendmsg", Start: 2000 * ms, Duration: 1234567, Calls: []*ftrace.Call{
			{Function: "raw_input", Module: "nlpeer", Start: 2001 * ms, Duration: 1500, Calls: []*ftrace.Call{
				{Function: "netlink_rcv_skb", Start: 2002 * ms, Unfinished: true},
			}},
			{Function: "consume_skb", Start: 2003 * ms, Duration: 20},
		}}},
		{Task: "nlecho", PID: 7, Context: ftrace.Interrupt, Root: &ftrace.Call{Function: "beacon_tick", Module: "nlpeer", Start: 2004 * ms, Duration: 3000}},
		{Task: "nlecho", PID: 7, Root: &ftrace.Call{Function: "consume_skb", Start: 2005 * ms, Duration: 30}},
		{Task: "nlecho", PID: 7, Root: &ftrace.Call{Function: "netlink_recvmsg", Start: 2006 * ms, Duration: 3000, Cut: true}},
		{Task: "a\nb", PID: 8, Root: &ftrace.Call{Function: "dummy_xmit", Module: "dummy", Start: 2007 * ms, Duration: 3000}},
	}
}

func TestTrace(t *testing.T) {
	const own = "nlecho, pid 7:\n" +
		"2.000000  1234.567 us  netlink_sendmsg\n" +
		"2.001000     1.500 us    raw_input [nlpeer]\n" +
		"2.002000   unfinished      netlink_rcv_skb\n" +
		"2.003000     0.020 us    consume_skb\n"
	for _, test := range []struct {
		args   string // ahead of the command
		script string
		fake   fakeTracer
		want   clitest.Result
		config ftrace.Config
	}{
		{
			want: clitest.Result{Out: "said\n" + own + "2.006000     3.000 us  netlink_recvmsg (beginning lost)\n"},
		},
		{
			args: "--all-tasks --buffer 2M --functions d*_xmit --functions :mod:x --depth 2",
			want: clitest.Result{Out: "said\nnlecho, pid 7:\n" +
				"2.000000  1234.567 us  netlink_sendmsg\n" +
				"2.001000     1.500 us    raw_input [nlpeer]\n" +
				"2.003000     0.020 us    consume_skb\n" +
				"\ninterrupt during nlecho, pid 7:\n" +
				"2.004000     3.000 us  beacon_tick [nlpeer]\n" +
				"\nnlecho, pid 7:\n" +
				"2.006000     3.000 us  netlink_recvmsg (beginning lost)\n" +
				"\n\"a\\nb\", pid 8:\n" +
				"2.007000     3.000 us  dummy_xmit [dummy]\n"},
			config: ftrace.Config{AllTasks: true, Buffer: 2048, Needed: []string{"d*_xmit", ":mod:x"}},
		},
		{
			args: "-o json --depth 2",
			fake: fakeTracer{lost: 5, strange: 3},
			want: clitest.Result{Out: "said\n" +
				`{"type":"call","tree":1,"depth":0,"task":"nlecho","pid":7,"context":"task","function":"netlink_sendmsg","time_ns":2000000000,"duration_ns":1234567}` + "\n" +
				`{"type":"call","tree":1,"depth":1,"task":"nlecho","pid":7,"context":"task","function":"raw_input","module":"nlpeer","time_ns":2001000000,"duration_ns":1500}` + "\n" +
				`{"type":"call","tree":1,"depth":1,"task":"nlecho","pid":7,"context":"task","function":"consume_skb","time_ns":2003000000,"duration_ns":20}` + "\n" +
				`{"type":"call","tree":2,"depth":0,"task":"nlecho","pid":7,"context":"task","function":"netlink_recvmsg","time_ns":2006000000,"duration_ns":3000,"cut":true}` + "\n" +
				`{"type":"summary","trees":2,"calls":4,"lost":5,"status":0}` + "\n",
				Err: "nlctl: 5 records of the trace are lost, the oldest first; try a larger --buffer\n" +
					"nlctl: 3 lines of the trace are not understood and left out; --raw shows all\n"},
		},
		{
			args: "--raw",
			fake: fakeTracer{text: "# tracer\nanything", lost: 1},
			want: clitest.Result{Out: "said\n# tracer\nanything", Err: "nlctl: 1 records of the trace are lost, the oldest first; try a larger --buffer\n"},
		},
		{script: "exit 7", args: "--depth 1", want: clitest.Result{Code: 7, Out: "nlecho, pid 7:\n2.000000  1234.567 us  netlink_sendmsg\n2.006000     3.000 us  netlink_recvmsg (beginning lost)\n"}},
		{script: "kill -TERM $$", args: "--raw", want: clitest.Result{Code: 143}},
		{script: "cat; echo oh >&2", args: "--raw", want: clitest.Result{Out: "in", Err: "oh\n"}},
		{fake: fakeTracer{fail: "Open"}, want: clitest.Result{Code: 2, Err: "nlctl: Open failed\n"}},
		{fake: fakeTracer{fail: "Start"}, want: clitest.Result{Code: 2, Err: "nlctl: Start failed\n"}},
		{fake: fakeTracer{fail: "Stop"}, want: clitest.Result{Code: 2, Out: "said\n", Err: "nlctl: Stop failed\n"}},
		{fake: fakeTracer{fail: "Lost"}, want: clitest.Result{Code: 2, Out: "said\n", Err: "nlctl: Lost failed\n"}},
		{fake: fakeTracer{fail: "Trees"}, want: clitest.Result{Code: 2, Out: "said\n", Err: "nlctl: Trees failed\n"}},
		{fake: fakeTracer{fail: "Text"}, args: "--raw", want: clitest.Result{Code: 2, Out: "said\n", Err: "nlctl: Text failed\n"}},
		{fake: fakeTracer{fail: "Close"}, args: "--raw", script: "exit 7", want: clitest.Result{Code: 2, Err: "nlctl: Close failed\n"}},
	} {
		t.Run(test.args+test.script+test.fake.fail, func(t *testing.T) {
			f := test.fake
			f.trees = recorded()
			script := test.script
			if script == "" {
				script = "echo said"
			}
			args := append(append([]string{"trace"}, strings.Fields(test.args)...), "--", "sh", "-c", script)
			got := clitest.RunInput(t.Context(), nlctl.TraceWith(f.open), strings.NewReader("in"), args...)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if last := f.calls[len(f.calls)-1]; f.fail != "Open" && last != "Close" {
				t.Errorf("it ends with %v", f.calls)
			}
			if len(f.config.Functions) < 10 {
				t.Errorf("functions %v", f.config.Functions)
			}
			f.config.Functions = nil
			if diff := cmp.Diff(test.config, f.config); f.fail == "" && diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTraceTo(t *testing.T) {
	f := fakeTracer{text: "the trace"}
	file := filepath.Join(t.TempDir(), "trace")
	got := clitest.Run(t.Context(), nlctl.TraceWith(f.open), "trace", "--raw", "--to", file, "echo", "-n", "--raw")
	if diff := cmp.Diff(clitest.Result{Out: "--raw"}, got); diff != "" { // a flag of the command
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if b, err := os.ReadFile(file); string(b) != "the trace" || err != nil {
		t.Errorf("%q, %v", b, err)
	}

	f = fakeTracer{text: "the trace"}
	got = clitest.Run(t.Context(), nlctl.TraceWith(f.open), "trace", "--raw", "--to", "/dev/full", "true")
	if diff := cmp.Diff(clitest.Result{Code: 2, Err: "nlctl: writing the trace: write /dev/full: no space left on device\n"}, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	f = fakeTracer{}
	for want, args := range map[string][]string{
		"nonesuch: executable file not found in $PATH":          {"nonesuch"},
		"open /nowhere/x: no such file or directory":            {"--to", "/nowhere/x", "true"},
		"network namespace /nowhere: no such file or directory": {"-n", "/nowhere", "true"},
	} {
		got := clitest.Run(t.Context(), nlctl.TraceWith(f.open), append([]string{"trace"}, args...)...)
		if diff := cmp.Diff(clitest.Result{Code: cli.ExitError, Err: "nlctl: " + want + "\n"}, got); diff != "" || len(f.calls) > 0 {
			t.Errorf("result (-want +got):\n%s%v", diff, f.calls)
		}
	}
}

// Who stops reading does not keep us from giving the tracer back.
func TestTraceUnread(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var stderr bytes.Buffer
	cmd := clitest.Process(t, "trace", "-o", "json", "--", "true")
	cmd.Env = append(cmd.Env, withFakeTracer+"=1")
	cmd.Stdout, cmd.Stderr = w, &stderr
	cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != cli.ExitPipe || !strings.HasSuffix(stderr.String(), "\nClose\n") {
		t.Errorf("%v after %q", cmd.ProcessState, &stderr)
	}
}

// That the tracer could not be given back is said, though nobody reads the trace.
func TestTraceUnreadAndKept(t *testing.T) {
	for _, werr := range []error{syscall.EPIPE, syscall.ENOSPC} {
		var stderr bytes.Buffer
		f := fakeTracer{fail: "Close"}
		streams := cli.NewStreams(strings.NewReader(""), unwritable{werr}, &stderr)
		code := cli.Run(t.Context(), nlctl.TraceWith(f.open), streams, []string{"trace", "-o", "json", "--", "true"})
		if code == cli.ExitOK || !strings.HasPrefix(stderr.String(), "nlctl: Close failed\n") {
			t.Errorf("%v: exit code %d after %q", werr, code, &stderr)
		}
	}
}

// An unwritable is a standard output that takes nothing.
type unwritable struct{ error }

func (u unwritable) Write([]byte) (int, error) { return 0, u.error }
