// SPDX-License-Identifier: MIT

// Package listen_test runs nlsub, nlecho and nlctl as users of the kernel's own
// netlink protocols, and of each other: real links, routes, modules and
// processes, and sockets with nothing in between on the other side.
package listen_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// An object is a line of -o json.
type object map[string]any

// has says that all of want are members. Numbers may be of any type.
func (o object) has(want object) bool {
	for key, value := range want {
		if fmt.Sprint(o[key]) != fmt.Sprint(normal(value)) {
			return false
		}
	}
	return true
}

// normal makes of a value what it is after a way through JSON.
func normal(value any) any {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		panic(err)
	}
	return v
}

func (o object) number(t *testing.T, key string) int64 {
	t.Helper()
	f, ok := o[key].(float64)
	if !ok {
		t.Fatalf("%s is no number in %v", key, o)
	}
	return int64(f)
}

// A process is a command that runs while a test goes on.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan string
	stderr bytes.Buffer
	seen   []string
}

// start starts a command. It is killed if it lives too long.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*vmtest.Deadline())
	p := &process{cmd: exec.CommandContext(ctx, args[0], args[1:]...), lines: make(chan string, 1<<16)}
	// Killed outright, it could not tell the kernel that it listens no more.
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGINT) }
	p.cmd.WaitDelay = time.Second
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = p.cmd.Wait()
	})
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	return p
}

func (p *process) pid() uint32 { return uint32(p.cmd.Process.Pid) }

// line returns the next line.
func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			t.Fatalf("%v: ended after %q, standard error %q", p.cmd.Args, p.seen, &p.stderr)
		}
		p.seen = append(p.seen, line)
		return line
	case <-time.After(vmtest.Deadline()):
		t.Fatalf("%v: no further line after %q", p.cmd.Args, p.seen)
	}
	panic("unreachable")
}

// next returns the next line as an object.
func (p *process) next(t *testing.T) object {
	t.Helper()
	line := p.line(t)
	var o object
	if err := json.Unmarshal([]byte(line), &o); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return o
}

// find passes over lines until one has all of want.
func (p *process) find(t *testing.T, want object) object {
	t.Helper()
	for {
		if o := p.next(t); o.has(want) {
			return o
		}
	}
}

// stop interrupts a command and returns what it still had to say, and its exit
// status.
func (p *process) stop(t *testing.T) (rest []string, code int) {
	t.Helper()
	p.signal(t, syscall.SIGINT)
	for line := range p.lines {
		rest = append(rest, line)
	}
	_ = p.cmd.Wait() // the status is looked at
	return rest, p.cmd.ProcessState.ExitCode()
}

// totals is stop for a command whose last line is a summary.
func (p *process) totals(t *testing.T) (events []object, summary object, code int) {
	t.Helper()
	rest, code := p.stop(t)
	for _, line := range rest {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		events = append(events, o)
	}
	if len(events) == 0 || events[len(events)-1]["type"] != "summary" {
		t.Fatalf("%v: no summary in %q, standard error %q", p.cmd.Args, rest, &p.stderr)
	}
	return events[:len(events)-1], events[len(events)-1], code
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// listens waits until a command has a socket of a protocol that is in these groups,
// which it joins one after the other.
func (p *process) listens(t *testing.T, protocol int, groups ...int) vmtest.NetlinkSocket {
	t.Helper()
	var found vmtest.NetlinkSocket
	var all uint32
	for _, group := range groups {
		all |= 1 << (group - 1)
	}
	vmtest.Until(t, "the command listens", func() bool {
		for _, s := range vmtest.Sockets(t) {
			if s.Protocol == protocol && s.PortID == p.pid() && s.Groups&all == all {
				found = s
				return true
			}
		}
		return false
	})
	return found
}

// drops is how much a command's socket had no room for.
func (p *process) drops(t *testing.T, protocol int) int {
	t.Helper()
	return p.listens(t, protocol).Drops
}

type result struct {
	stdout, stderr string
	code           int
}

// run runs a command until it ends.
func run(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatalf("%v: %v\n%s%s", args, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// sh runs shell commands that must succeed.
func sh(t *testing.T, script string) {
	t.Helper()
	if got := run(t, "sh", "-ec", script); got.code != 0 {
		t.Fatalf("%s: %+v", script, got)
	}
}

// refused runs a command that must end with status 2 and a text.
func refused(t *testing.T, stderr string, args ...string) {
	t.Helper()
	got := run(t, args...)
	if got.code != 2 || got.stderr != stderr+"\n" || got.stdout != "" {
		t.Errorf("%v: %+v, want status 2 and %q", args, got, stderr)
	}
}

// userID is that of a user without privileges.
func userID(t *testing.T) (uid, gid int) {
	t.Helper()
	for _, flag := range []string{"-u", "-g"} {
		n, err := strconv.Atoi(strings.TrimSpace(run(t, "id", flag, "user").stdout))
		if err != nil {
			t.Fatal(err)
		}
		uid, gid = gid, n
	}
	return uid, gid
}

// A mate is a socket of ours that commands talk to.
type mate struct {
	t  *testing.T
	fd int
	vmtest.Socket
}

func newMate(t *testing.T, protocol int, port, groups uint32) *mate {
	t.Helper()
	s := vmtest.Open(t, protocol, port, groups)
	tv := unix.NsecToTimeval(int64(vmtest.Deadline()))
	if err := unix.SetsockoptTimeval(s.FD, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	return &mate{t, s.FD, *s}
}

// receive returns the next datagram and its sender.
func (m *mate) receive() ([]byte, uint32) {
	m.t.Helper()
	b := make([]byte, 128<<10)
	n, from, err := unix.Recvfrom(m.fd, b, 0)
	for err == unix.EINTR { // by a signal of the Go runtime's
		n, from, err = unix.Recvfrom(m.fd, b, 0)
	}
	if err != nil {
		m.t.Fatalf("receiving: %v", err)
	}
	return b[:n], from.(*unix.SockaddrNetlink).Pid
}

func (m *mate) send(port uint32, b []byte) error {
	return unix.Sendto(m.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
}

func (m *mate) multicast(group uint32, b []byte) error {
	return unix.Sendto(m.fd, b, unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (group - 1)})
}

// objects decodes lines of JSON.
func objects(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for line := range strings.Lines(text) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, o)
	}
	return all
}

// group finds a group in a summary.
func group(t *testing.T, summary object, number uint32) object {
	t.Helper()
	list, _ := summary["groups"].([]any)
	i := slices.IndexFunc(list, func(g any) bool { return object(g.(map[string]any)).has(object{"group": number}) })
	if i < 0 {
		t.Fatalf("no group %d in %v", number, summary)
	}
	return list[i].(map[string]any)
}
