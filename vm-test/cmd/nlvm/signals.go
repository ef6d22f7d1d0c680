// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// endings are the signals that ask for our end. A hangup is not one for who wants it
// ignored, as under nohup.
func endings() []os.Signal {
	all := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

// interrupted is the exit status for a signal.
func interrupted(s os.Signal) statusError { return statusError(128 + int(s.(syscall.Signal))) }

// interruptible returns a context that ends when we are asked to end. Its cause is then
// the exit status.
func interruptible() (context.Context, context.CancelFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endings()...)
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		select {
		case s := <-signals:
			cancel(interrupted(s))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}

// causeOf is the exit status for the signal that has ended a context, nil if none has.
func causeOf(ctx context.Context) error {
	var status statusError
	if errors.As(context.Cause(ctx), &status) {
		return status
	}
	return nil
}

// runAll runs a program that passes no signal on. If a signal asks us or it to end, all
// that it has started ends before us, and the signal is the exit status.
func runAll(cmd *exec.Cmd) error {
	// Whose parent has ended becomes our child, so none gets lost.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the parent of orphans: %w", err)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endings()...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var got os.Signal // the first
	for {
		select {
		case s := <-signals:
			if got == nil {
				got = s
			}
			// A Ctrl-C has reached it, and all others, from the terminal. They end by
			// themselves, and it tells how.
			if s != syscall.SIGINT {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
		case err := <-ended:
			// Which of us a signal to all has ended first does not matter.
			if got == nil {
				got = endedBy(err, signals)
			}
			if got == nil {
				return err
			}
			endOrphans(signals)
			return interrupted(got)
		}
	}
}

// onItsWay is how long a signal that came to all of us may take to get to us, when
// another has ended of it already.
const onItsWay = 200 * time.Millisecond

// endedBy is the signal that has ended a program, nil if none has. One that handles it
// fails instead, but then we get it, too.
func endedBy(err error, signals <-chan os.Signal) os.Signal {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return ws.Signal()
	}
	select {
	case s := <-signals:
		return s
	case <-time.After(onItsWay):
		return nil
	}
}

// endOrphans ends our children in an orderly way and waits for them, and for the
// children that they leave. Who does not want to wait sends us another signal, and they
// get one more.
func endOrphans(again <-chan os.Signal) {
	told := make(map[int]bool)
	gone := make(chan error)
	wait := func() {
		_, err := unix.Wait4(-1, nil, 0, nil)
		gone <- err
	}
	go wait()
	for {
		for _, pid := range children() {
			if !told[pid] {
				_ = unix.Kill(pid, unix.SIGTERM)
				told[pid] = true
			}
		}
		select {
		case err := <-gone:
			if errors.Is(err, unix.ECHILD) {
				return
			}
			go wait()
		case <-again:
			clear(told)
		}
	}
}

// children are the IDs of our children.
func children() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		// PID (NAME) STATE PARENT …, and the name may have anything in it.
		var pid, parent int
		var state string
		_, _ = fmt.Sscan(string(stat), &pid)
		_, _ = fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
		if parent == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
