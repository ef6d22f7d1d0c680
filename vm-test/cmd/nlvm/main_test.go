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
	"strconv"
	"strings"
	"testing"
	"time"

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
	if out, err := exec.Command("go", "build", "-o", nlvm, ".").CombinedOutput(); err != nil {
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

// patience bounds a test that hangs. It is far more than any needs.
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

// command prepares a call of nlvm that ends with the test.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	cmd := exec.CommandContext(ctx, nlvm, args...)
	t.Cleanup(func() {
		cancel()
		if cmd.Process != nil && cmd.ProcessState == nil { // the test gave up on it
			_ = cmd.Wait()
		}
	})
	return cmd
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
