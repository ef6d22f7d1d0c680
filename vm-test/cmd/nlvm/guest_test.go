// SPDX-License-Identifier: MIT

package main_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPut(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"script": 0o751, "plain": 0o604, "tree/sub/x": 0o600, "a:b": 0o644} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("#!/bin/sh\necho "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("sub/x", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	r := run(t,
		"--put", filepath.Join(dir, "script"),
		"--put", filepath.Join(dir, "plain")+":renamed",
		"--put", filepath.Join(dir, "tree"),
		"--put", filepath.Join(dir, "tree")+":/opt/",
		"--put", filepath.Join(dir, "a:b"),
		"--", "sh", "-c", "pwd; ./script; stat -c '%a %n' * tree/sub/x /opt/tree/sub/x; cat renamed tree/link")
	r.want(t, 0, `/work
script
644 a:b
604 renamed
751 script
755 tree
600 tree/sub/x
600 /opt/tree/sub/x
#!/bin/sh
echo plain
#!/bin/sh
echo tree/sub/x
`, "")

	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "--put", fifo, "--", "true").want(t, 2, "", "neither a file, a folder nor a symbolic link")
}

// What --put-from names need not be there before the other end of the pipe says
// so.
func TestPutFrom(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	names, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	defer tell.Close()
	cmd := command(t, "run", "--no-module", "--no-commands", "--put-from", "/dev/fd/3", "--", "sh", "-c", "cat late/a b")
	cmd.ExtraFiles = []*os.File{names}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := rand.Text()
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(tell, "%s/a:late/a\n%s/b", dir, dir)
	tell.Close()
	if r := finish(t, cmd); r.status != 0 || stdout.String() != text+"a"+text+"b" {
		t.Errorf("status %d, %q, %q; want %q", r.status, stdout.String(), stderr.String(), text+"a"+text+"b")
	}

	list := filepath.Join(dir, "list")
	run(t, "--put-from", list, "--", "true").want(t, 2, "", "--put-from: open "+list)
	if err := os.WriteFile(list, []byte(dir+"/c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "--put-from", list, "--", "true").want(t, 2, "", "--put-from "+list+": "+dir+"/c: stat")
}

// Who waits for files can be told to stop.
func TestPutFromInterrupted(t *testing.T) {
	needVM(t)
	names, tell, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	defer tell.Close()
	cmd := command(t, "run", "--no-module", "--no-commands", "--put-from", "/dev/fd/3", "--", "true")
	cmd.ExtraFiles = []*os.File{names}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// It has the machine, and reads, when the pipe is opened once more.
	fds := fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)
	ours, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", names.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience()); ; time.Sleep(10 * time.Millisecond) {
		opened := 0
		entries, _ := os.ReadDir(fds)
		for _, e := range entries {
			if target, _ := os.Readlink(filepath.Join(fds, e.Name())); target == ours {
				opened++
			}
		}
		if opened == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s has the pipe %d times, want 2", fds, opened)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if r := finish(t, cmd); r.status != 128+int(syscall.SIGTERM) {
		t.Errorf("status %d", r.status)
	}
}

func TestPutTooMuch(t *testing.T) {
	needVM(t)
	file := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 600<<20); err != nil { // sparse
		t.Fatal(err)
	}
	run(t, "--put", file, "--", "true").want(t, 2, "", "--mem")
}

func TestOutOfMemory(t *testing.T) {
	needVM(t)
	run(t, "--mem", "256", "--", "sh", "-c", "tail /dev/zero; exit 7").want(t, 7, "", "ran out of memory, and its kernel killed process")
}

// A guest is a system that commands feel at home in.
func TestSurroundings(t *testing.T) {
	needVM(t)
	r := run(t, "--env", "GIVEN=x y", "--", "sh", "-c", `
		echo "$NLVM $NLVM_KERNEL $HOME $GIVEN"
		id -u; su user -c 'id -u; test -w /work || echo not mine'; id -u nobody
		ip addr show lo | grep -c 127.0.0.1
		unshare -n sh -c 'ip addr show lo | grep -c 127.0.0.1'
		test -d /sys/kernel/tracing/events && test -c /dev/null && test -d /run/netns && test -c /dev/ptmx && echo mounted
		grep -o slub_debug=FZP /proc/cmdline`)
	want := "1 6.1 /root x y\n0\n1000\nnot mine\n65534\n1\n0\nmounted\nslub_debug=FZP\n"
	if k := os.Getenv("NLVM_KERNEL"); k != "" {
		want = strings.Replace(want, "6.1", k, 1)
	}
	r.want(t, 0, want, "")
}

// Instructions are counted on a kernel as people run it: it does not check its
// allocations.
func TestICount(t *testing.T) {
	needVM(t)
	r := run(t, "--icount", "--", "sh", "-c", "grep -c slub_debug /proc/cmdline; cat /sys/kernel/slab/kmalloc-64/red_zone")
	r.want(t, 0, "0\n0\n", "")
}

// Two guests from one saved state are two machines, at the right time. (Today
// they draw different bytes even without the reseed, by their timing alone.)
func TestRestoredGuestsDiffer(t *testing.T) {
	needVM(t)
	args := []string{"--", "sh", "-c", "date +%s; head -c 16 /dev/urandom | hexdump -e '16/1 \"%02x\"'"}
	a, b := run(t, args...), run(t, args...)
	timeA, randomA, _ := strings.Cut(a.stdout, "\n")
	_, randomB, _ := strings.Cut(b.stdout, "\n")
	if len(randomA) != 32 || randomA == randomB {
		t.Errorf("random bytes of two guests: %q and %q\n%s", randomA, randomB, a.stderr)
	}
	seconds, err := strconv.ParseInt(timeA, 10, 64)
	if off := time.Since(time.Unix(seconds, 0)); err != nil || off.Abs() > patience() {
		t.Errorf("the guest's clock says %q, which is %v off", timeA, off)
	}
}

func TestColdBoot(t *testing.T) {
	needVM(t)
	r := run(t, "--cold", "--smp", "2", "--append", "nlvm.test=1", "--", "sh", "-c", "nproc; grep -o nlvm.test=1 /proc/cmdline")
	r.want(t, 0, "2\nnlvm.test=1\n", "")
}

func TestTwoAtOnce(t *testing.T) {
	needVM(t)
	var all sync.WaitGroup
	for i := range 3 {
		cmd := command(t, "run", "--no-module", "--no-commands", "--", "sh", "-c",
			fmt.Sprintf("echo %d > mine; sleep 0.5; cat mine; exit %d", i, 10+i))
		all.Go(func() {
			out, _ := cmd.Output()
			if status := cmd.ProcessState.ExitCode(); status != 10+i || string(out) != fmt.Sprintf("%d\n", i) {
				t.Errorf("run %d: status %d, %q", i, status, out)
			}
		})
	}
	all.Wait()
}

// begin starts a guest command and waits until it says "up".
func begin(t *testing.T, script string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd, lines
}

func signalTo(t *testing.T, cmd *exec.Cmd, s os.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func TestInterrupt(t *testing.T) {
	needVM(t)
	t.Run("ends the command", func(t *testing.T) {
		cmd, _ := begin(t, "echo up; sleep 1000")
		signalTo(t, cmd, os.Interrupt)
		finish(t, cmd).want(t, 130, "", "")
	})
	t.Run("is the command's to handle", func(t *testing.T) {
		cmd, lines := begin(t, "trap 'echo caught; exit 6' INT; echo up; while :; do sleep 0.1; done")
		signalTo(t, cmd, os.Interrupt)
		if line, err := lines.ReadString('\n'); line != "caught\n" {
			t.Errorf("%q, %v", line, err)
		}
		finish(t, cmd).want(t, 6, "", "")
	})
	t.Run("twice ends the machine", func(t *testing.T) {
		cmd, lines := begin(t, "trap 'echo no' INT; echo up; while :; do sleep 0.1; done")
		signalTo(t, cmd, os.Interrupt)
		if line, err := lines.ReadString('\n'); line != "no\n" {
			t.Errorf("%q, %v", line, err)
		}
		signalTo(t, cmd, os.Interrupt)
		finish(t, cmd).want(t, 130, "", "")
	})
	t.Run("ignored ends the machine too", func(t *testing.T) {
		cmd, _ := begin(t, "trap '' TERM; echo up; while :; do sleep 0.1; done")
		signalTo(t, cmd, syscall.SIGTERM)
		finish(t, cmd).want(t, 143, "", "")
	})
}

// Not even kill -9 leaves a machine behind.
func TestKilledNlvmTakesQEMUAlong(t *testing.T) {
	needVM(t)
	cmd, _ := begin(t, "echo up; sleep 1000")
	machine := childOf(t, cmd.Process.Pid)
	fd, err := unix.PidfdOpen(machine, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	signalTo(t, cmd, os.Kill)
	finish(t, cmd)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(patience().Milliseconds()))
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Errorf("QEMU still runs: %d, %v", n, err)
			_ = unix.Kill(machine, unix.SIGKILL)
		}
		return
	}
}

// NLVM_FLAGS comes before the flags given, which win.
func TestFlagsFromEnvironment(t *testing.T) {
	needVM(t)
	cmd := command(t, "run", "--env", "B=line", "--", "sh", "-c", "echo $A $B; test -e /proc/sys/net/netlink_nothing")
	cmd.Env = append(os.Environ(), "NLVM_FLAGS=--no-module --no-commands --env 'A=from here' --env B=environment")
	finish(t, cmd).want(t, 1, "from here line\n", "")
}

// The real go test, with a package of ours.
func TestGoTestExec(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	profile, cpu := filepath.Join(dir, "cover.out"), filepath.Join(dir, "cpu.out")
	counters := filepath.Join(dir, "counters")
	if err := os.Mkdir(counters, 0o755); err != nil {
		t.Fatal(err)
	}
	goTest := func(args ...string) (string, int) {
		cmd := command(t)
		cmd.Path, cmd.Args = lookPath(t, "go"), append([]string{"go", "test", "-count=1", "-exec", nlvm + " exec --no-module --no-commands"}, args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, status := goTest("-json", "-coverprofile", profile, "-cpuprofile", cpu, "-o", filepath.Join(dir, "x.test"), "../../testdata/guesttest")
	if status != 0 || !strings.Contains(out, `"Action":"pass"`) {
		t.Errorf("status %d:\n%s", status, out)
	}
	if b, err := os.ReadFile(profile); err != nil || !strings.HasPrefix(string(b), "mode: set\n") || !strings.Contains(string(b), "guest.go") {
		t.Errorf("coverage: %v\n%s", err, b)
	}
	if st, err := os.Stat(cpu); err != nil || st.Size() == 0 {
		t.Errorf("profile: %v, %v", st, err)
	}
	if out, status := goTest("-cover", "../../testdata/guesttest", "-args", "-test.gocoverdir="+counters); status != 0 {
		t.Errorf("status %d:\n%s", status, out)
	}
	if files, err := filepath.Glob(filepath.Join(counters, "cov*")); err != nil || len(files) < 2 {
		t.Errorf("coverage counters: %v, %v", files, err)
	}
	cmd := "GUESTTEST_FAIL"
	t.Setenv("NLVM_FLAGS", "--env "+cmd+"=1")
	if out, status := goTest("../../testdata/guesttest"); status != 1 || !strings.Contains(out, "failing as asked") {
		t.Errorf("a failing test: status %d:\n%s", status, out)
	}
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
