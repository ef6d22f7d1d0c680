// SPDX-License-Identifier: MIT

package main_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// buildModule builds one of the modules of testdata for the default kernel.
func buildModule(t *testing.T, name string) string { return buildModuleFor(t, name, "") }

func buildModuleFor(t *testing.T, name, kernelName string) string {
	t.Helper()
	c, err := cache.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	row, err := kernel.Find(kernelName)
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Get(t.Context(), c, row, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, err := artifacts.BuildModule(t.Context(), c, k, filepath.Join("../../testdata", name), []string{"."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCommandStatus(t *testing.T) {
	needVM(t)
	run(t, "--", "true").want(t, 0, "", "")
	run(t, "--", "sh", "-c", "exit 7").want(t, 7, "", "")
	run(t, "--", "sh", "-c", "kill -KILL $$").want(t, 137, "", "")
	run(t, "--", "no-such-command").want(t, 127, "", "no-such-command")
	run(t, "--", "/etc/passwd").want(t, 126, "", "/etc/passwd")
}

// What the command printed before a panic has arrived if there was time for it;
// so the guest waits until we have seen it.
func TestPanic(t *testing.T) {
	needVM(t)
	cmd := command(t, "run", "--no-module", "--no-commands", "--",
		"sh", "-c", "echo before; read go; echo c > /proc/sysrq-trigger; echo after")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(out)
	if line, err := reader.ReadString('\n'); line != "before\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	r := finish(t, cmd)
	r.stdout, r.stderr = string(rest), stderr.String()
	r.want(t, 121, "", "Kernel panic - not syncing: sysrq triggered crash")
}

func TestOopsIsAPanic(t *testing.T) {
	needVM(t)
	r := run(t, "--put", buildModule(t, "faulty"), "--", "insmod", "faulty.ko", "what=oops")
	r.want(t, 121, "", "NULL pointer dereference")
}

func TestLostMachine(t *testing.T) {
	needVM(t)
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "sh", "-c", "echo up; sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := syscall.Kill(childOf(t, cmd.Process.Pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := finish(t, cmd)
	r.stderr = stderr.String()
	r.want(t, 120, "", "QEMU was killed")

	run(t, "--", "reboot", "-f").want(t, 120, "", "without a verdict")
	run(t, "--", "poweroff", "-f").want(t, 120, "", "without a verdict")
}

// childOf returns the one child of a process: QEMU, if it is nlvm's.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var children []string
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, strings.Fields(string(b))...)
	}
	if len(children) != 1 {
		t.Fatalf("process %d has the children %v, want QEMU alone", pid, children)
	}
	child, err := strconv.Atoi(children[0])
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func TestTimeLimit(t *testing.T) {
	needVM(t)
	r := run(t, "--timeout", "1s", "--", "sh", "-c", "echo begun; sleep 1000")
	r.want(t, 122, "begun\n", "the time limit of 1s ran out")
	if !strings.Contains(r.stderr, "sleep 1000") {
		t.Errorf("standard error does not say what was running:\n%s", r.stderr)
	}
}

func TestKernelComplaint(t *testing.T) {
	needVM(t)
	faulty := buildModule(t, "faulty")
	run(t, "--put", faulty, "--", "insmod", "faulty.ko").want(t, 0, "", "")
	run(t, "--put", faulty, "--", "insmod", "faulty.ko", "what=warn").want(t, 123, "", "faulty was asked to warn")
	run(t, "--put", faulty, "--", "insmod", "faulty.ko", "what=overrun").want(t, 123, "", "Redzone overwritten")
	// The command's own failure is the more interesting one.
	run(t, "--put", faulty, "--", "sh", "-c", "insmod faulty.ko what=warn; exit 5").want(t, 5, "", "faulty was asked to warn")
	// A process may write what it likes.
	run(t, "--", "sh", "-c", "echo 'WARNING: CPU: 0 PID: 1 at nowhere' > /dev/kmsg").want(t, 0, "", "")
}

func TestModuleThatStays(t *testing.T) {
	needVM(t)
	r := run(t, "--put", buildModule(t, "stuck"), "--", "insmod", "nlpeer.ko")
	r.want(t, 123, "", "rmmod nlpeer")
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"run"}, "usage: nlvm run"},
		{[]string{"run", "--"}, "usage: nlvm run"},
		{[]string{"run", "--kernel", "2.4", "--", "true"}, "unknown kernel \"2.4\"; known are: 5.10, 6.1,"},
		{[]string{"run", "--no-such-flag", "--", "true"}, "unknown flag"},
		{[]string{"run", "--put", "/no/such/file", "--", "true"}, "/no/such/file"},
		{[]string{"run", "--mem", "1", "--", "true"}, "--mem"},
		{[]string{"run", "--icount", "--smp", "2", "--", "true"}, "--icount"},
		{[]string{"run", "--no-module", "--module-args", "x=1", "--", "true"}, "--module-args"},
		{[]string{"run", "--no-module", "--gcov", "x", "--", "true"}, "--gcov"},
		{[]string{"exec"}, "go test -exec"},
		{[]string{"exec", "--", "/no/such/x.test"}, "/no/such/x.test"},
		{[]string{"test"}, "usage: nlvm test"},
		{[]string{"frobnicate"}, "unknown command"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			finish(t, command(t, tt.args...)).want(t, 2, "", tt.stderr)
		})
	}
	cmd := command(t, "run", "--", "true")
	cmd.Env = append(os.Environ(), "NLVM_FLAGS=--append 'open")
	finish(t, cmd).want(t, 2, "", "NLVM_FLAGS: a quote is not closed")

	cmd = command(t, "run", "--", "true")
	cmd.Env = append(os.Environ(), "PATH="+t.TempDir())
	finish(t, cmd).want(t, 2, "", "sudo apt-get install qemu-system-x86")
}
