// SPDX-License-Identifier: MIT

package nlecho_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlecho"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A caster that keeps what it is to send; group 1 has two listeners, and to count
// those of group 9 takes for ever.
type caster struct {
	cfg    client.Config
	err    error
	groups []uint32
	sent   []wire.Message
}

func (c *caster) open(_ context.Context, cfg client.Config) (nlecho.Caster, error) {
	c.cfg = cfg
	return c, nil
}

func (c *caster) Multicast(group uint32, b []byte) error {
	m, _, err := wire.NextMessage(b)
	if err != nil {
		return err
	}
	c.groups, c.sent = append(c.groups, group), append(c.sent, m)
	return c.err
}

func (c *caster) PortID() uint32 { return 77 }
func (c *caster) Close() error   { return nil }
func (c *caster) Listeners(ctx context.Context, group uint32) (int, error) {
	if group == 9 {
		<-ctx.Done()
		return 0, &client.OpError{Op: "sockets", Err: ctx.Err()}
	}
	return map[uint32]int{1: 2}[group], nil
}

func TestCast(t *testing.T) {
	for _, test := range []struct {
		args string
		err  error
		want clitest.Result
	}{
		{"-g 1-2 hi", nil, clitest.Result{Out: "2 bytes to group 1: seq=1 port=77 listeners=2\n2 bytes to group 2: seq=1 port=77 listeners=0\n1 transmitted, 1 heard\n"}},
		{"-g 2 -c 2 hi", nil, clitest.Result{Code: 1, Out: "2 bytes to group 2: seq=1 port=77 listeners=0\n2 bytes to group 2: seq=2 port=77 listeners=0\n2 transmitted, 0 heard\n"}},
		{"-g 1 -q -f -c 1000 hi", nil, clitest.Result{Out: "1000 transmitted, 1000 heard\n"}},
		{"-g 1 -w 2500ms -i 1 -q hi", nil, clitest.Result{Out: "3 transmitted, 3 heard\n"}},
		{"-g 1 -o json hi", nil, clitest.Result{Out: `{"type":"sent","seq":1,"port":77,"group":1,"listeners":2,"bytes":2,"unix_ns":946684800000000000}
{"type":"summary","transmitted":1,"heard":1,"time_ns":0}
`}},
		{"-g 9 -w 1 hi", nil, clitest.Result{Code: 1, Out: "0 transmitted, 0 heard\n"}},
		{"-g 1,9 -w 1 -c 2 hi", nil, clitest.Result{Out: "2 bytes to group 1: seq=1 port=77 listeners=2\n1 transmitted, 1 heard\n"}},
		{"-g 1 hi", &client.OpError{Op: "send", Err: syscall.ENOBUFS}, clitest.Result{Code: 2, Out: "0 transmitted, 0 heard\n", Err: "nlecho: no buffer space available\n"}},
	} {
		t.Run(test.args, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := caster{err: test.err}
				got := clitest.Run(t.Context(), nlecho.CastWith(c.open), append([]string{"--via", "usersock", "--pid", "77"}, strings.Fields(test.args)...)...)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				want := wire.Message{Header: wire.Header{Len: 18, Type: wire.MsgEcho, Seq: 1, PortID: 77}, Body: []byte("hi")}
				if diff := cmp.Diff(want, append(c.sent, want)[0]); diff != "" {
					t.Errorf("sent (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(client.Config{Carrier: client.UserSock, PortID: 77}, c.cfg); diff != "" {
					t.Errorf("configuration (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestToErrors(t *testing.T) {
	for _, test := range []struct {
		args string
		err  error
		want string
	}{
		{"--to 5", &client.OpError{Op: "dial", Err: syscall.EPERM}, "sending to port ID 5 on --via raw needs CAP_NET_ADMIN in this network namespace, or the module loaded with user_send=1; try with sudo"},
		{"--via usersock --to 5", &client.OpError{Op: "echo", Err: syscall.ECONNREFUSED}, "nobody receives at port ID 5 on --via usersock; try: nlsub --via usersock --pid 5 --reply"},
		{"--via usersock --to 5", &client.OpError{Op: "echo", Err: syscall.EAGAIN}, "the receive buffer of port ID 5 is full"},
	} {
		dial := func(context.Context, client.Config) (nlecho.Echoer, error) { return nil, test.err }
		got := clitest.Run(t.Context(), nlecho.CommandWith(dial), append(strings.Fields(test.args), "hi")...)
		if diff := cmp.Diff(clitest.Result{Code: 2, Err: "nlecho: " + test.want + "\n"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.args, diff)
		}
	}
}

// Messages are shown and recorded as they leave, not at the end.
func TestCastIsShown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cast.pcapng")
	cmd := clitest.Process(t, strings.Fields("--via usersock -g 1-2 -i 100 -c 2 -w 20 -x --write "+file+" hi")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var order []string
	for len(order) < 4 && lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "sent: "):
			order = append(order, "shown")
		case strings.HasPrefix(line, "2 bytes to group "):
			order = append(order, "sent")
		}
	}
	if diff := cmp.Diff([]string{"shown", "sent", "shown", "sent"}, order); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}

	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		p, err := r.Next()
		if err != nil || p.Protocol != unix.NETLINK_USERSOCK || len(p.Data) != wire.HeaderLen+wire.Align(2) {
			t.Errorf("recorded so far: %+v, %v", p, err)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	cmd.Wait()
	if want := "1 transmitted, 0 heard"; last != want || cmd.ProcessState.ExitCode() != cli.ExitFailed {
		t.Errorf("the last line is %q, want %q; %v", last, want, cmd.ProcessState)
	}
}

func TestCastIsShownInJSON(t *testing.T) {
	got := clitest.Run(t.Context(), nlecho.Command, strings.Fields("--via usersock -g 1-2 -i 0 -c 2 -x -o json hi")...)
	var types []string
	for line := range strings.Lines(got.Out) {
		var v struct{ Type string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		types = append(types, v.Type)
	}
	want := append(slices.Repeat([]string{"message", "sent"}, 4), "summary")
	if diff := cmp.Diff(want, types); diff != "" || got.Code != cli.ExitFailed {
		t.Errorf("%+v (-want +got):\n%s", got, diff)
	}
}
