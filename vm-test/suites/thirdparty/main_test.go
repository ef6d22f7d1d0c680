// SPDX-License-Identifier: MIT

// Package thirdparty_test holds other people's programs against the module:
// iproute2, libnl, the kernel's ynl with our specifications, strace. What they
// say is compared with the specification, as the kernel's tool reads it.
package thirdparty_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"nlpeer/vm-test/suites/vmtest"
)

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("ynl"); err != nil && os.Getenv("NLVM") != "" {
		fmt.Fprintln(os.Stderr, "skipped: this suite needs the image with the programs; try: nlvm test --image tools ./vm-test/suites/thirdparty")
		if os.Getenv("NLPEER_CI") != "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	vmtest.Main(m)
}

// result is what a program said.
type result struct {
	stdout, stderr string
	code           int
}

// ynl runs the kernel's tool to its end, all of a test's in processes that begin
// where its modules have been read. Others start it by its name.
type ynl struct {
	p  *program
	in io.Writer
}

func openYnl(t *testing.T) *ynl {
	t.Helper()
	cmd := exec.Command("python3", "testdata/ynl.py")
	cmd.Env = environment()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &ynl{startCommand(t, cmd), in}
}

func (y *ynl) run(t *testing.T, args ...string) result {
	t.Helper()
	line, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.AfterFunc(2*vmtest.Deadline(), func() { _ = y.p.cmd.Process.Kill() })
	defer deadline.Stop()
	if _, err := y.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	var r struct {
		Stdout, Stderr string
		Code           int
	}
	decode(t, y.p.line(t), &r)
	return result{r.Stdout, r.Stderr, r.Code}
}

// output is the answer to a request that must succeed without a complaint.
func (y *ynl) output(t *testing.T, args ...string) string {
	t.Helper()
	return y.run(t, args...).output(t, args)
}

// command prepares a program, which is ended after the deadline.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// Python under emulation and under strace takes seconds to start.
	ctx, cancel := context.WithTimeout(context.Background(), 3*vmtest.Deadline())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	return cmd
}

func environment() []string {
	return append(os.Environ(), "PYTHONUNBUFFERED=1", "COLUMNS=300", "LC_ALL=C")
}

// run runs a program to its end.
func run(t *testing.T, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !exit.Exited()) {
		t.Fatalf("%v: %v\n%s%s", args, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// output runs a program that must succeed without a complaint.
func output(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, args...).output(t, args)
}

func (r result) output(t *testing.T, args []string) string {
	t.Helper()
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%v: exit status %d, %s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// decode reads one JSON text, with numbers as they stand: 64 bits do not fit
// into a float.
func decode(t *testing.T, text string, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if d.More() {
		t.Fatalf("more than one JSON text: %q", text)
	}
}

// policy is what the kernel accepts in a request: properties by the names of
// attributes.
type policy map[string]map[string]any

// operation is an operation of a specification.
type operation struct {
	Name     string
	Value    int
	Flags    []string
	Policies map[string]policy // by do and dump
	Numbers  map[string]int    // of the attributes
}

// specification is what the kernel's tool reads in one of ours.
type specification struct {
	Name       string
	Version    int
	Groups     []string
	Operations []operation
}

func readSpecification(t *testing.T, family string) specification {
	t.Helper()
	var s specification
	decode(t, output(t, "python3", "testdata/spec.py", family), &s)
	return s
}

// program is one that runs on and says something from time to time.
type program struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	return startCommand(t, command(t, args...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = os.Stderr
	p.lines = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// untilListening waits until the program is a member of a group. To begin takes
// Python the most of its time.
func (p *program) untilListening(t *testing.T, protocol int) {
	t.Helper()
	vmtest.UntilIn(t, 2*vmtest.Deadline(), fmt.Sprintf("%v to listen", p.cmd.Args), func() bool {
		return slices.ContainsFunc(vmtest.Sockets(t), func(s vmtest.NetlinkSocket) bool {
			return s.Protocol == protocol && s.PortID == uint32(p.cmd.Process.Pid) && s.Groups != 0
		})
	})
}

// line is the next line, which must come before the deadline.
func (p *program) line(t *testing.T) string {
	t.Helper()
	line, err := p.lines.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v after %q", p.cmd.Args, err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

// interrupt ends the program as Ctrl-C does and returns its exit status.
func (p *program) interrupt(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	// Python looks whether there was a signal, and then waits for a message. One that
	// comes in between is seen with the next, so whoever sits there presses Ctrl-C again.
	again := time.AfterFunc(vmtest.Deadline()/2, func() { _ = p.cmd.Process.Signal(os.Interrupt) })
	defer again.Stop()
	_, _ = io.Copy(io.Discard, p.lines)
	_ = p.cmd.Wait() // the status is looked at
	return p.cmd.ProcessState.ExitCode()
}
