// SPDX-License-Identifier: MIT

package main_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build compiles a program for the guest, and returns its path.
func build(t *testing.T, pkg string, flags ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	args := append([]string{"build", "-o", file}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// profiled is a line of nlvm profile -o json.
type profiled struct {
	Type         string
	Depth        int
	Part         string
	Function     string
	Module       string
	Instructions float64
	WithCallees  float64 `json:"with_callees"`
	Fewest, Most float64
	Operations   int
	Clock        float64
}

func profileJSON(t *testing.T, args ...string) (lines []profiled) {
	t.Helper()
	r := finish(t, command(t, append([]string{"profile", "-o", "json"}, args...)...))
	if r.status != 0 {
		t.Fatalf("status %d\n%s", r.status, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		var p profiled
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		lines = append(lines, p)
	}
	return lines
}

// An echo goes through the kernel's functions in their order, the parts make up
// the whole, and it takes as many instructions each time, which are those that
// the guest's clock has counted.
func TestProfileEcho(t *testing.T) {
	needVM(t)
	file := build(t, "nlpeer/tools/breakdown/ops")
	args := []string{"--no-commands", "--operations", "2", "--warmup", "5", "--module-args", "interval_ms=0",
		"--append", "mitigations=off",
		"--put", file + ":echo", "--", "./echo", "echo-raw"}
	lines := profileJSON(t, args...)

	whole := lines[0]
	if whole.Type != "summary" || whole.Operations != 2 || whole.Fewest > whole.Instructions || whole.Most < whole.Instructions {
		t.Errorf("summary: %+v", whole)
	}
	if off := whole.Clock/whole.Instructions - 1; math.Abs(off) > 0.05 {
		t.Errorf("%.0f instructions, but %.0f by the clock", whole.Instructions, whole.Clock)
	}
	sums := map[string]float64{}
	var order []string
	for _, l := range lines {
		sums[l.Type] += l.Instructions
		if l.Type == "call" {
			order = append(order, strings.TrimSpace(fmt.Sprintf("%s %s", l.Function, l.Module)))
		}
	}
	for _, kind := range []string{"part", "function", "call"} {
		if math.Abs(sums[kind]-whole.Instructions) > 1 {
			t.Errorf("%.0f instructions in lines of type %s, want %.0f", sums[kind], kind, whole.Instructions)
		}
	}
	at := 0
	for _, want := range []string{
		"main.marker", "nlpeer/pkg/client.(*Conn).AppendEcho", "entry_SYSCALL_64", "do_syscall_64", "netlink_sendmsg", "__alloc_skb", "netlink_unicast",
		"raw_input nlpeer", "__alloc_skb", "netlink_unicast", "skb_queue_tail",
		"entry_SYSCALL_64", "do_syscall_64", "netlink_recvmsg", "consume_skb",
	} {
		from := at
		for at < len(order) && order[at] != want {
			at++
		}
		if at == len(order) {
			t.Fatalf("no call of %s after the %d first; the calls are\n%s", want, from, strings.Join(order, "\n"))
		}
		at++
	}

	again := profileJSON(t, args...)[0]
	if off := again.Instructions/whole.Instructions - 1; math.Abs(off) > 0.02 {
		t.Errorf("%.0f instructions, and %.0f in another run", whole.Instructions, again.Instructions)
	}
}

// What a command does that is not followed to the end.
func TestProfileUnfinished(t *testing.T) {
	needVM(t)
	file := build(t, "../../testdata/marked")
	profile := func(args ...string) result {
		return finish(t, command(t, append([]string{"profile", "--icount=false", "--no-module", "--no-commands",
			"--warmup", "3", "--operations", "2", "--limit", "3000", "--put", file + ":marked"}, args...)...))
	}
	profile("--", "./marked", "5", "0").want(t, 2, "", "the command called marker 5 times, and 6 are needed")
	profile("--", "./marked", "4", "7").want(t, 7, "", "the command called marker 4 times, and 6 are needed")
	profile("--", "./marked", "0", "0").want(t, 2, "", "the command never called marker")
	profile("--timeout", "4s", "--", "./marked", "5", "-1").want(t, 122, "", "the command called marker 5 times")

	// It is ended when all is known, and that is no failure.
	r := profile("-o", "folded", "--", "./marked", "6", "-1")
	if r.status != 0 || !strings.HasPrefix(r.stdout, "main.marker ") {
		t.Errorf("status %d, %q\n%s", r.status, r.stdout, r.stderr)
	}
}

func TestProfileUsage(t *testing.T) {
	marked := build(t, "../../testdata/marked")
	for _, tt := range []struct {
		args   []string
		stderr string
	}{
		{nil, "usage: nlvm profile"},
		{[]string{"--operations", "0", "--", "x"}, "--operations 0: give at least 1"},
		{[]string{"--limit", "0", "--", "x"}, "--limit 0: give at least 1"},
		{[]string{"--warmup", "-1", "--", "x"}, "--warmup -1"},
		{[]string{"--smp", "2", "--", "x"}, "needs --smp 1"},
		{[]string{"--accel", "kvm", "--", "x"}, "needs --accel tcg"},
		{[]string{"-o", "yaml", "--", "x"}, "give text, json or folded"},
		{[]string{"--", "nlecho"}, "no --put sends nlecho; name the program that has the marker with --program"},
		{[]string{"--program", "nowhere", "--", "x"}, "nowhere"},
		{[]string{"--program", "main.go", "--", "x"}, "main.go is no program with symbols"},
		{[]string{"--marker", "mark", "--put", marked, "--", "./program"}, "has no function mark"},
		{[]string{"--put", build(t, "../../testdata/marked", "-ldflags=-s"), "--", "./program"}, "do not strip it"},
		{[]string{"--put", build(t, "../../testdata/marked", "-buildmode=pie"), "--", "./program"}, "position-independent"},
	} {
		finish(t, command(t, append([]string{"profile"}, tt.args...)...)).want(t, 2, "", tt.stderr)
	}
}
