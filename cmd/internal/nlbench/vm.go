// SPDX-License-Identifier: MIT

package nlbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/bench"
)

// The machine. Its kernel is as people run it on hardware without the flaws that
// the mitigations are for, and without nlvm's checks of memory; those cost each
// system call so much that the rest would be hard to see.
const (
	guestMemory    = "1024"
	guestArguments = "mitigations=off slub_debug=-"
	// The beacon is silent, and there is room for the largest table.
	guestModule = "interval_ms=0 objects=200000 object_bytes=268435456"
	// benchModule is the module of the ways that are not netlink.
	benchModule = "kmod/bench"
)

// inGuest measures in a virtual machine.
func (o *options) inGuest(ctx context.Context, s *cli.Streams, emit func(bench.Record) error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	nlvm, err := findNlvm(self)
	if err != nil {
		return err
	}
	programs, err := o.findPrograms(self)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, nlvm, o.guestLine(self, programs)...)
	// A first signal is for the guest's command; nlvm then ends in good order.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	cmd.Stderr = s.Err
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("nlvm: %w", err)
	}
	records := 0
	read := bench.Read(out, func(rec bench.Record) error {
		if rec.Type != bench.TypeRun {
			records++
		}
		return emit(rec)
	})
	noise := read != nil && !errors.Is(read, bench.ErrCutOff)
	if noise {
		cancel() // else it has closed its output, and ends by itself
	}
	err = cmd.Wait()
	switch {
	case noise:
		return fmt.Errorf("results from the guest: %w", read)
	case err != nil && records == 0:
		return fmt.Errorf("nothing was measured: nlvm: %w", err)
	case err != nil && ctx.Err() == nil:
		fmt.Fprintf(s.Err, "nlbench: not all was measured: nlvm: %v\n", err)
		return cli.ErrFailed
	case read != nil:
		return fmt.Errorf("results from the guest: %w", read)
	}
	return nil
}

// guestLine is the command line of nlvm.
func (o *options) guestLine(self, programs string) []string {
	args := []string{"run",
		"--image", "tools", "--no-commands", "--mem", guestMemory, "--timeout", "0",
		"--append", guestArguments, "--module-args", guestModule, "--extra-module", benchModule,
		"--put", self + ":nlbench", "--put", programs + ":contenders",
	}
	if !o.smoke {
		args = append(args, "--icount")
	}
	if o.kernel != "" {
		args = append(args, "--kernel", o.kernel)
	}
	args = append(args, "--", "./nlbench", "guest", "--programs", "contenders")
	if o.quick {
		args = append(args, "--quick")
	}
	if o.smoke {
		args = append(args, "--smoke")
	}
	if o.rounds != 0 {
		args = append(args, "--rounds", strconv.Itoa(o.rounds))
	}
	if o.only != nil {
		args = append(args, "--only", o.only.String())
	}
	return args
}

// findNlvm finds nlvm beside this command, else on PATH.
func findNlvm(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "nlvm")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	if path, err := exec.LookPath("nlvm"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("there is no nlvm, neither beside %s nor on PATH; in the source tree try: make commands; without a virtual machine: nlbench --host", self)
}

// findPrograms finds the contenders in C.
func (o *options) findPrograms(self string) (string, error) {
	dirs := []string{o.programs}
	if o.programs == "" {
		dirs = []string{filepath.Join(filepath.Dir(self), "contenders"), "build/bin/contenders"}
	}
	for _, dir := range dirs {
		if found, _ := filepath.Glob(filepath.Join(dir, "c-*")); len(found) > 0 {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no contenders in C in %s; in the source tree try: make contenders; or name their folder by --programs", dirs[0])
}
