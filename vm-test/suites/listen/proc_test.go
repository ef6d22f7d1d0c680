// SPDX-License-Identifier: MIT

package listen_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// startProc starts nlsub --via proc. It is told what happens from a moment on
// that nothing shows, so processes are made until one is seen.
func startProc(t *testing.T, flags ...string) *process {
	t.Helper()
	p := start(t, append([]string{"nlsub", "--via", "proc", "-o", "json"}, flags...)...)
	p.listens(t, unix.NETLINK_CONNECTOR, 1)
	vmtest.Until(t, "nlsub hears of processes", func() bool {
		run(t, "true")
		return len(p.lines) > 0
	})
	return p
}

// child runs a shell command to its end and returns its process ID.
func child(t *testing.T, script string) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	_ = cmd.Run() // how it ends is what nlsub says
	return cmd.Process.Pid
}

func TestProc(t *testing.T) {
	p := startProc(t)
	code := 1 + vmtest.Rand(t).IntN(255)
	pid := child(t, fmt.Sprintf("exit %d", code))
	p.find(t, object{"type": "proc", "kind": "fork", "pid": pid, "tgid": pid, "parent_tgid": os.Getpid()})
	p.find(t, object{"kind": "exec", "pid": pid, "tgid": pid})
	exit := p.find(t, object{"kind": "exit", "pid": pid})
	if !exit.has(object{"exit_code": code, "core_dumped": false, "parent_signal": unix.SIGCHLD}) || exit["killed_by"] != nil {
		t.Errorf("%v", exit)
	}
	// On another processor, or where PREEMPT_RT lets it go first, the parent may have
	// buried the process already, and then the kernel does not name it.
	_, err := os.Stat("/sys/kernel/realtime")
	late := err == nil || runtime.NumCPU() > 1
	if parent := exit.number(t, "parent_tgid"); parent != int64(os.Getpid()) && !(late && parent == 0) {
		t.Errorf("the parent is %d, want %d", parent, os.Getpid())
	}
	if exit.number(t, "monotonic_ns") <= 0 || exit.number(t, "cpu") < 0 || exit.number(t, "cpu") >= int64(runtime.NumCPU()) {
		t.Errorf("%v", exit)
	}

	pid = child(t, "kill -9 $$")
	if o := p.find(t, object{"kind": "exit", "pid": pid}); !o.has(object{"killed_by": 9, "core_dumped": false}) || o["exit_code"] != nil {
		t.Errorf("%v", o)
	}

	pid = child(t, "kill -SEGV $$")
	p.find(t, object{"kind": "coredump", "pid": pid, "parent_tgid": os.Getpid()})
	p.find(t, object{"kind": "exit", "pid": pid, "killed_by": 11})

	uid, gid := userID(t)
	pid = child(t, "exec su user -c 'exit 3'")
	p.find(t, object{"kind": "gid", "pid": pid, "real": gid, "effective": gid})
	p.find(t, object{"kind": "uid", "pid": pid, "real": uid, "effective": uid})
	p.find(t, object{"kind": "exit", "pid": pid, "exit_code": 3})

	tid := rename(t, `a "b"`)
	p.find(t, object{"kind": "comm", "pid": tid, "tgid": os.Getpid(), "comm": `a "b"`})

	child(t, "setsid true")
	p.find(t, object{"kind": "sid"})

	sleeper := exec.Command("sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	pid = sleeper.Process.Pid
	tracer := trace(t, pid)
	p.find(t, object{"kind": "ptrace", "pid": pid, "tracer_pid": tracer, "tracer_tgid": os.Getpid()})
	p.find(t, object{"kind": "ptrace", "pid": pid, "tracer_pid": 0, "tracer_tgid": 0})
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	p.find(t, object{"kind": "exit", "pid": pid, "killed_by": 9})

	_, summary, status := p.totals(t)
	if status != 0 || !summary.has(object{"lost": 0, "overruns": 0}) {
		t.Errorf("status %d, %v", status, summary)
	}
}

// rename gives a thread another name, as prctl does on all kernels and a write
// to /proc/self/comm only on newer ones, and returns which. The thread ends.
func rename(t *testing.T, name string) (tid int) {
	t.Helper()
	b, err := unix.BytePtrFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		tid = unix.Gettid()
		done <- unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(b)), 0, 0, 0)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return tid
}

// trace attaches to a process and lets go, and returns the thread that did it.
func trace(t *testing.T, pid int) (tid int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(pid); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.PtraceDetach(pid); err != nil {
		t.Fatal(err)
	}
	return unix.Gettid()
}

// Only what was asked for, and the text.
func TestProcKinds(t *testing.T) {
	p := startProc(t, "-g", "exit,exec")
	pid := child(t, "exit 5")
	p.find(t, object{"kind": "exit", "pid": pid, "exit_code": 5})
	_, summary, _ := p.totals(t)
	for _, line := range p.seen {
		if o := objects(t, line)[0]; o["kind"] != "exit" && o["kind"] != "exec" {
			t.Errorf("%v", o)
		}
	}
	if groups := summary["groups"].([]any); len(groups) != 2 || !summary.has(object{"lost": 0}) {
		t.Errorf("%v", summary)
	}

	p = start(t, "nlsub", "--via", "proc", "-g", "ack")
	p.listens(t, unix.NETLINK_CONNECTOR, 1)
	var second *process
	vmtest.Until(t, "another listener is told of", func() bool {
		second = start(t, "nlsub", "--via", "proc", "--for", "10ms", "-q")
		for range second.lines {
		}
		return len(p.lines) > 0
	})
	if line := p.line(t); len(line) < 4 || line[:4] != "ack " {
		t.Errorf("%q", line)
	}
}

// onOneProcessor keeps this process, and what it starts, on the processor 0 until
// the test ends.
func onOneProcessor(t *testing.T) {
	t.Helper()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	move := func(where unix.CPUSet) {
		// New threads are where those are that made them, so twice is enough.
		for range 2 {
			tasks, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Fatal(err)
			}
			for _, task := range tasks {
				tid, _ := strconv.Atoi(task.Name()) // nothing else is in there
				if err := unix.SchedSetaffinity(tid, &where); err != nil && err != unix.ESRCH {
					t.Fatal(err)
				}
			}
		}
	}
	var one unix.CPUSet
	one.Set(0)
	move(one)
	t.Cleanup(func() { move(all) })
}

// What a slow listener misses is counted to the event: processors number theirs.
// What is lost of a processor can be told only if something of it was heard before
// and after, so all is done on one.
func TestProcOverrun(t *testing.T) {
	onOneProcessor(t)
	for _, kinds := range []string{"ack,fork,exec,uid,gid,sid,ptrace,comm,coredump,exit", "exec"} {
		p := startProc(t, "--rcvbuf", "4K", "--fail-on-gap", "-g", kinds)
		p.find(t, object{"kind": "exec"})
		p.signal(t, unix.SIGSTOP)
		for p.drops(t, unix.NETLINK_CONNECTOR) == 0 {
			run(t, "true")
		}
		// Each is forked, is executed and exits.
		const missed = 3 * 20
		for range missed / 3 {
			run(t, "true")
		}
		p.signal(t, unix.SIGCONT)
		p.find(t, object{"type": "overrun", "count": 1})
		pid, kind := 0, kinds[strings.LastIndexByte(kinds, ',')+1:] // exec, or what comes last
		vmtest.Until(t, "a process after the overrun", func() bool {
			pid = child(t, "exec true")
			for len(p.lines) > 0 {
				if p.next(t).has(object{"kind": kind, "pid": pid}) {
					return true
				}
			}
			return false
		})
		_, summary, code := p.totals(t)
		received, sum := int64(0), int64(0)
		first, last := map[int64]int64{}, map[int64]int64{} // by processor
		for _, line := range p.seen {
			if o := objects(t, line)[0]; o["type"] == "proc" {
				received++
				sum += o.number(t, "lost")
				cpu, seq := o.number(t, "cpu"), o.number(t, "seq")
				if _, known := first[cpu]; !known {
					first[cpu] = seq
				}
				last[cpu] = seq
			}
		}
		lost := summary.number(t, "lost")
		if code != 1 || lost < missed || lost < sum {
			t.Errorf("%s: status %d, lost %d, %d in lines, at least %d: %v", kinds, code, lost, sum, missed, summary)
		}
		numbers := int64(0)
		for cpu := range first {
			numbers += last[cpu] - first[cpu] + 1
		}
		if kinds != "exec" && (sum != lost || received+sum != numbers) {
			t.Errorf("%d lines and %d lost, %d in lines, are not the %d numbers from %v to %v", received, lost, sum, numbers, first, last)
		}
	}
}

// The kernel makes no events for nobody: who ends says so.
func TestProcLeaves(t *testing.T) {
	quiet := func() bool {
		// From Linux 6.6 on, the kernel notices by the first event that nobody
		// hears.
		run(t, "true")
		s := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 1)
		defer s.Close()
		run(t, "true")
		_, err := s.TryRecv(0)
		return err == unix.ETIMEDOUT
	}
	if !quiet() {
		t.Fatal("there are events before anybody listens")
	}
	p := startProc(t)
	if quiet() {
		t.Error("there are no events while nlsub listens")
	}
	p.stop(t)
	if !quiet() {
		t.Error("there are events after nlsub has ended")
	}
}

func TestProcRefused(t *testing.T) {
	const silent = "nlsub: the process connector does not answer: it serves only the initial PID and user namespaces, and CAP_NET_ADMIN"
	const needs = "nlsub: process events need CAP_NET_ADMIN; try with sudo"
	if vmtest.Has(vmtest.ProcForAnybody) {
		// The namespaces are all that is asked for.
		p := start(t, "su", "user", "-c", "exec nlsub --via proc -g exec")
		vmtest.Until(t, "a user hears of processes", func() bool {
			run(t, "true")
			return len(p.lines) > 0
		})
		refused(t, silent, "unshare", "-U", "-r", "nlsub", "--via", "proc")
	} else {
		refused(t, needs, "su", "user", "-c", "nlsub --via proc")
		refused(t, needs, "unshare", "-U", "-r", "nlsub", "--via", "proc")
	}
	refused(t, "nlsub: process events exist in the initial network namespace only, and in kernels with CONFIG_PROC_EVENTS",
		"unshare", "-n", "nlsub", "--via", "proc")
	refused(t, silent, "unshare", "-p", "-f", "nlsub", "--via", "proc")
}
