// SPDX-License-Identifier: MIT

// These tests execute nlvm as a person does, with real virtual machines.
package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
)

// nlvm is the path of the program under test.
var nlvm string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "nlvm-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	nlvm = filepath.Join(dir, "nlvm")
	if out, err := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", nlvm, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "nlvm does not build: %v\n%s", err, out)
		return 1
	}
	// What the caller has set for his own runs is not for these.
	os.Unsetenv("NLVM_FLAGS")
	os.Unsetenv("NLVM_KERNEL")
	return m.Run()
}

// needVM skips a test where no machine can be run, except where one must be.
func needVM(t *testing.T) {
	t.Helper()
	missing := ""
	if testing.Short() {
		missing = "a run without -short"
	} else if _, err := qemu.Identity(kernel.HostArch()); err != nil {
		missing = err.Error()
	} else if _, err := exec.LookPath("apt-get"); err != nil {
		missing = "apt-get, to download kernels"
	}
	switch {
	case missing == "":
	case os.Getenv("NLPEER_CI") == "1":
		t.Fatalf("NLPEER_CI=1 allows no skipping, but this needs: %s", missing)
	default:
		t.Skipf("this needs: %s", missing)
	}
}

// patience bounds a test that hangs. It is far more than any needs, the wait
// for a place to run a virtual machine aside.
func patience() time.Duration {
	d := 3 * time.Minute
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 1 {
		d = time.Duration(float64(d) * f)
	}
	return d
}

// result is what a run of nlvm gave.
type result struct {
	status         int
	stdout, stderr string
}

// command prepares a call of nlvm that ends with the test, or when patience
// does.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, nlvm, args...)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for left := patience(); left > 0; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !waitsForPlace(os.Getpid()) {
				left -= time.Second
			}
		}
		cancel()
	}()
	t.Cleanup(func() {
		cancel()
		if cmd.Process != nil && cmd.ProcessState == nil { // the test gave up on it
			_ = cmd.Wait()
		}
	})
	return cmd
}

// waitsForPlace says whether a descendant of a process waits until another
// virtual machine ends.
func waitsForPlace(ancestor int) bool {
	c, err := cache.Open()
	if err != nil {
		return false
	}
	defer c.Close()
	waiting, _ := c.Waiting()
	return slices.ContainsFunc(waiting, func(pid int) bool {
		for pid > 1 && pid != ancestor {
			pid = parent(pid)
		}
		return pid == ancestor
	})
}

// parent returns a process's parent, 0 if there is no such process.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name before may have anything in it.
	var state string
	var ppid int
	_, _ = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &ppid)
	return ppid
}

// finish runs a command to its end, or waits for one that was started.
func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Process == nil {
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
	}
	var err error
	if cmd.Process == nil {
		err = cmd.Run()
	} else {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("nlvm: %v", err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// run calls nlvm run without module and commands, so that these tests are
// about nlvm alone.
func run(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(t, append([]string{"run", "--no-module", "--no-commands"}, args...)...))
}

// want compares; a line of stderr must contain the given part.
func (r result) want(t *testing.T, status int, stdout, stderr string) {
	t.Helper()
	if r.status != status {
		t.Errorf("exit status %d, want %d", r.status, status)
	}
	if r.stdout != stdout {
		t.Errorf("standard output %q, want %q", r.stdout, stdout)
	}
	if !strings.Contains(r.stderr, stderr) {
		t.Errorf("standard error lacks %q", stderr)
	}
	if t.Failed() {
		t.Logf("standard error:\n%s", r.stderr)
	}
}

// A wait for a place is none of the program under test, and no test fails for
// it.
func TestWaitForPlaceIsNotCounted(t *testing.T) {
	needVM(t)
	c, err := cache.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if waitsForPlace(os.Getpid()) {
		t.Fatal("nobody waits yet")
	}
	held, err := c.Slot(t.Context(), 1, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()
	t.Setenv("NLVM_MAX_VMS", "1")
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience()); !waitsForPlace(os.Getpid()); {
		if time.Now().After(end) {
			t.Fatal("a run without a place does not wait")
		}
		time.Sleep(10 * time.Millisecond)
	}
	held.Unlock()
	if r := finish(t, cmd); r.status != 0 {
		t.Errorf("with a place: %+v", r)
	}
}
