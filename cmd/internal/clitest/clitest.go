// SPDX-License-Identifier: MIT

// Package clitest runs commands in tests.
package clitest

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/ownnet"
)

// A Builder makes a command.
type Builder = func(*cli.Streams) *cobra.Command

// A Result is what a command left behind.
type Result struct {
	Code     int
	Out, Err string
}

// Run runs a command in this process, with an empty standard input.
func Run(ctx context.Context, build Builder, args ...string) Result {
	return RunInput(ctx, build, strings.NewReader(""), args...)
}

// RunInput is Run with a standard input.
func RunInput(ctx context.Context, build Builder, in io.Reader, args ...string) Result {
	var out, err bytes.Buffer
	code := cli.Run(ctx, build, cli.NewStreams(in, &out, &err), args)
	return Result{code, out.String(), err.String()}
}

// NeedNoModule skips a test about the lack of the module where it is loaded.
func NeedNoModule(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/module/nlpeer"); err == nil {
		t.Skip("the nlpeer module is loaded")
	}
}

// asCommand makes a test binary be the command.
const asCommand = "NLPEER_TEST_AS_COMMAND"

// Main is for TestMain: Process needs it.
func Main(m *testing.M, build Builder) {
	if os.Getenv(asCommand) != "" {
		os.Exit(cli.Main(build))
	}
	ownnet.Main(m)
}

// Process returns the command as a process of its own.
func Process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// CheckOutputEnds tests what every command does if its output cannot be
// written: to a full disk, and to a pipe that nobody reads.
func CheckOutputEnds(t *testing.T) {
	t.Run("full disk", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		defer full.Close()
		var stderr bytes.Buffer
		cmd := Process(t, "--help")
		cmd.Stdout, cmd.Stderr = full, &stderr
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != cli.ExitError {
			t.Errorf("exit code %d, want %d", code, cli.ExitError)
		}
		if want := "writing standard output: no space left on device\n"; !strings.HasSuffix(stderr.String(), want) {
			t.Errorf("standard error %q, want it to end in %q", stderr.String(), want)
		}
	})
	t.Run("closed pipe", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		defer w.Close()
		var stderr bytes.Buffer
		cmd := Process(t, "--help")
		cmd.Stdout, cmd.Stderr = w, &stderr
		cmd.Run()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGPIPE {
			t.Errorf("it ended with %v, want SIGPIPE", cmd.ProcessState)
		}
		if stderr.Len() > 0 {
			t.Errorf("standard error %q, want none", stderr.String())
		}
	})
}

// CheckCommon tests what all commands do the same way.
func CheckCommon(t *testing.T, build Builder, name, version string) {
	t.Run("version", func(t *testing.T) {
		got := Run(t.Context(), build, "--version")
		if want := (Result{Out: name + " " + version + "\n"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("help", func(t *testing.T) {
		got := Run(t.Context(), build, "--help")
		if got.Code != cli.ExitOK || got.Err != "" {
			t.Errorf("exit code %d, standard error %q", got.Code, got.Err)
		}
		for _, want := range []string{"EXIT STATUS", "JSON", "Examples:", "Flags:", "--netns", "--output"} {
			if !strings.Contains(got.Out, want) {
				t.Errorf("help has no %q", want)
			}
		}
	})
	for _, shell := range []string{"bash", "fish", "zsh"} {
		t.Run("completion "+shell, func(t *testing.T) {
			got := Run(t.Context(), build, "completion", shell)
			if got.Code != cli.ExitOK || got.Err != "" || !strings.Contains(got.Out, name) || strings.Count(got.Out, "\n") < 50 {
				t.Errorf("exit code %d, standard error %q, %d bytes of output", got.Code, got.Err, len(got.Out))
			}
		})
	}
}

// Complete returns what is proposed for the last of args.
func Complete(t *testing.T, build Builder, args ...string) []string {
	t.Helper()
	got := Run(t.Context(), build, append([]string{"__completeNoDesc"}, args...)...)
	if got.Code != cli.ExitOK {
		t.Fatalf("exit code %d, standard error %q", got.Code, got.Err)
	}
	lines := strings.Split(strings.TrimSuffix(got.Out, "\n"), "\n")
	return lines[:len(lines)-1] // the last is a directive
}
