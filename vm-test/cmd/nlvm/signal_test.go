// SPDX-License-Identifier: MIT

package main_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/kernel"
)

// endings are the signals that end nlvm.
var endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// program puts a shell script into a folder of programs.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// gone waits until processes have ended.
func gone(t *testing.T, pids ...int) {
	t.Helper()
	end := time.Now().Add(patience())
	for _, pid := range pids {
		for unix.Kill(pid, 0) == nil && state(pid) != "Z" {
			if time.Now().After(end) {
				t.Errorf("process %d is left", pid)
				_ = unix.Kill(pid, unix.SIGKILL)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// state is the letter for what a process does, "" if there is none.
func state(pid int) string {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])); len(fields) > 0 {
		return fields[0]
	}
	return ""
}

// fifo makes a place where programs say what their process IDs are.
func fifo(t *testing.T) (name string, read func() int) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "pids")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	// Both ends, so that it neither blocks nor ends.
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.SetReadDeadline(time.Now().Add(patience())); err != nil {
		t.Fatal(err)
	}
	return name, func() (pid int) {
		t.Helper()
		if _, err := fmt.Fscanln(f, &pid); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
		return pid
	}
}

// A signal that ends nlvm test, or go test, or comes to all of them, ends what go test
// leaves behind, too: the programs that run tests, each of which ends its machine.
func TestSignalEndsGoTest(t *testing.T) {
	for _, tt := range []struct {
		whom    string
		signals []syscall.Signal
	}{
		{"nlvm", endings[1:]}, // the first comes to all, from the terminal
		{"go test", append(endings[1:], syscall.SIGKILL)},
		{"all", endings},
	} {
		for _, s := range tt.signals {
			t.Run(tt.whom+" "+s.String(), func(t *testing.T) {
				pids, pid := fifo(t)
				bin := t.TempDir()
				ended := filepath.Join(bin, "ended")
				program(t, bin, "exec", "trap 'echo >"+ended+"; exit' TERM HUP\necho $$ >"+pids+"\nwhile :; do sleep 0.1; done\n")
				// As go test, it waits after a Ctrl-C. Its child, in the background of a
				// shell, ignores that, so it is told.
				program(t, bin, "go", "trap 'kill $!; wait; exit 1' INT\necho $$ >"+pids+"\n"+bin+"/exec &\nwait\n")
				cmd := command(t, "test", "--no-module", "./x")
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // all but the tests
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				goTest, child := pid(), pid()
				to := map[string]int{"nlvm": cmd.Process.Pid, "go test": goTest, "all": -cmd.Process.Pid}[tt.whom]
				if err := unix.Kill(to, s); err != nil {
					t.Fatal(err)
				}
				finish(t, cmd).want(t, 128+int(s), "", "")
				if _, err := os.Stat(ended); err != nil {
					t.Error("what go test had started was not ended in an orderly way")
				}
				if state(child) != "" {
					t.Errorf("process %d is left", child)
				}
			})
		}
	}
}

// The same of what downloads and builds, whether anybody reads what it says or not.
func TestSignalEndsPreparation(t *testing.T) {
	if _, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg"); err != nil {
		t.Skipf("this needs the keys of Debian's archive: %v", err)
	}
	for _, args := range [][]string{{"matrix", "--kernel", "5.10", "echo"}, {"build", "--kernel", "5.10", "../../../kmod/bench"}} {
		for _, s := range endings {
			t.Run(args[0]+" "+s.String(), func(t *testing.T) {
				pids, pid := fifo(t)
				bin := t.TempDir()
				program(t, bin, "apt-get", "echo $$ >"+pids+"\nexec sleep 1000\n")
				program(t, bin, "apt-cache", "exit 1\n")
				program(t, bin, "dpkg-deb", "exit 1\n")
				cmd := command(t, args...)
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_CACHE_HOME="+t.TempDir(), "NLVM_SLOW=0.01")
				cmd.Stderr = fullPipe(t)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				child := pid()
				signalTo(t, cmd, s)
				finish(t, cmd).want(t, 128+int(s), "", "")
				if state(child) != "" {
					t.Errorf("process %d is left", child)
				}
			})
		}
	}
}

// machinesOf are the QEMUs that a process and its children have started.
func machinesOf(t *testing.T, ancestor int) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		if !strings.HasPrefix(string(comm), "qemu-system") {
			continue
		}
		var pid int
		_, _ = fmt.Sscanf(name, "/proc/%d/comm", &pid)
		for p := pid; p > 1; p = parent(p) {
			if p == ancestor {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// And no machine is left, real ones.
func TestSignalEndsMachines(t *testing.T) {
	needVM(t)
	for name, args := range map[string][]string{
		"test":   {"test", "--no-module", "--no-commands", "--env", "GUESTTEST_WAIT=1", "../../testdata/guesttest", "--", "-count=1"},
		"matrix": {"matrix", "--kernel", kernel.Default(), "--fresh", "--out", t.TempDir(), "beacon"},
	} {
		for _, s := range endings[1:] {
			t.Run(name+" "+s.String(), func(t *testing.T) {
				cmd := command(t, args...)
				// Not the group of the tests: nobody but us gets the signal.
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				var machines []int
				for end := time.Now().Add(patience()); len(machines) == 0; machines = machinesOf(t, cmd.Process.Pid) {
					if time.Now().After(end) {
						t.Fatal("no machine runs")
					}
					time.Sleep(10 * time.Millisecond)
				}
				signalTo(t, cmd, s)
				finish(t, cmd).want(t, 128+int(s), "", "")
				gone(t, machines...)
			})
		}
	}
}

// Who has asked that a hangup be ignored, as by nohup, has it ignored.
func TestNohup(t *testing.T) {
	pids, pid := fifo(t)
	bin := t.TempDir()
	program(t, bin, "go", "echo $$ >"+pids+"\nwhile ! [ -e "+bin+"/enough ]; do sleep 0.1; done\nexit 5\n")
	cmd := command(t, "test", "--no-module", "./x")
	cmd.Path, cmd.Args = lookPath(t, "nohup"), append([]string{"nohup"}, cmd.Args...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out // or nohup makes a file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid()
	signalTo(t, cmd, syscall.SIGHUP)
	if err := os.WriteFile(filepath.Join(bin, "enough"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := finish(t, cmd); r.status != 5 {
		t.Errorf("exit status %d, want go test's 5", r.status)
	}
}
