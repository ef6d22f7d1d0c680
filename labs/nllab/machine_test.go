// SPDX-License-Identifier: MIT

package nllab_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
)

// newMachine is a world with a real nlvm, and lab 3 solved.
func newMachine(t *testing.T) *world {
	t.Helper()
	qemu := "qemu-system-" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	if os.Getenv("NLPEER_LABS") == "" {
		t.Skip("this needs: minutes of virtual machines; make labs-check runs it")
	} else if _, err := exec.LookPath(qemu); err != nil {
		if os.Getenv("NLPEER_CI") == "1" {
			t.Fatalf("NLPEER_CI=1 allows no skipping, but this needs: %v", err)
		}
		t.Skipf("this needs: %v", err)
	}
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "mine"), nlvm: t.TempDir()}
	if out, err := exec.Command("go", "build", "-o", w.nlvm+"/", "../../vm-test/cmd/nlvm").CombinedOutput(); err != nil {
		t.Fatalf("nlvm does not build: %v\n%s", err, out)
	}
	t.Setenv("PATH", w.nlvm+":"+os.Getenv("PATH"))
	t.Setenv("NLVM_KERNEL", "")
	t.Setenv("NLVM_FLAGS", "")
	var err error
	if w.lab, err = source.Load("../src/03-echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := student.New(w.dir, "../..", []*source.Lab{w.lab}); err != nil {
		t.Fatal(err)
	}
	w.solve("", "", "")
	return w
}

// solve writes the solution of the lab, with something else in one place.
func (w *world) solve(file, old, now string) {
	w.t.Helper()
	files, err := w.lab.Files(source.All)
	if err != nil {
		w.t.Fatal(err)
	}
	for name, text := range files {
		if name == file {
			if strings.Count(string(text), old) != 1 {
				w.t.Fatalf("%s has not one %q", file, old)
			}
			text = []byte(strings.Replace(string(text), old, now, 1))
		}
		if err := source.WriteFile(filepath.Join(w.dir, w.lab.ID, name), text); err != nil {
			w.t.Fatal(err)
		}
	}
}

// What a student's code may do to its machine. Whatever it was, the words are
// clear, the status is the documented one, and the next run works.
func TestAccidents(t *testing.T) {
	w := newMachine(t)
	const (
		kernel, user = "kernel/echo.c", "user/main.go"
		send         = "\terr = netlink_unicast(sock, answer, portid, MSG_DONTWAIT);\n"
		program      = "func main() {\n"
	)
	limit := "10s"
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 1 {
		limit = "18s" // Not more: after twenty the kernel sees for itself that it is in a loop.
	}
	works := func(t *testing.T) {
		t.Helper()
		w.solve("", "", "")
		w.run("run", "3").want(t, "the next run", 0, "10 of 10 points", "All of it!")
	}
	for _, c := range []struct {
		name           string
		file, old, now string
		limit          string
		status         int
		words          []string
	}{
		{"panic", kernel, send, send + "\t*(volatile int *)8 = 1;\n", "", 121, []string{
			"The kernel crashed, in the step ", "what    BUG: kernel NULL pointer dereference, address: 0000000000000008",
			"where   in echo_one(), echo.c:", "calls   echo_one   <- yours, echo.c:", "The next run begins with a fresh one.",
		}},
		{"loop in the kernel", kernel, send, send + "\tfor (;;)\n\t\tcpu_relax();\n", limit, 122, []string{
			"The time of " + limit + " ran out, in the step ", "The kernel itself did not answer any more",
		}},
		{"loop in the program", user, program, program + "\tfor {\n\t}\n", "", 122, []string{
			`The program "user/user `, "did not end, and was ended", "it was in main(), main.go:",
		}},
		{"output without end", user, program, program + "\tfor {\n\t\tos.Stdout.Write(make([]byte, 1<<20))\n\t}\n", "", 122, []string{
			`The program "user/user `, "did not end, and was ended", "it was in main(), main.go:",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.solve(c.file, c.old, c.now)
			args := []string{"run", "3"}
			if c.limit != "" {
				args = append(args, "--timeout", c.limit)
			}
			w.run(args...).want(t, c.name, c.status, c.words...)
			works(t)
		})
	}

	t.Run("two at once, and the machine is killed", func(t *testing.T) {
		w.solve(kernel, send, send+"\tfor (;;)\n\t\tcpu_relax();\n")
		first := make(chan result, 1)
		go func() { first <- w.runIn(context.Background(), "run", "--timeout", "10m", "3") }()
		machine := w.busyMachine(t, first)
		w.run("run", "3").want(t, "the second", 2, "another nllab is at work in this folder", "nllab run 3")
		if err := syscall.Kill(machine, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		(<-first).want(t, "the first", 120, "The virtual machine was lost", "Run it again.")
		works(t)
	})
}

// busyMachine waits until a virtual machine of this test is in the middle of an
// endless loop: it has used more of the processor than it takes to get there. The
// run itself says how long that may take.
func (w *world) busyMachine(t *testing.T, ended <-chan result) int {
	t.Helper()
	const enough = 5 * 100 // hundredths of a second
	for {
		select {
		case r := <-ended:
			t.Fatalf("it has ended: status %d\n%s%s", r.status, r.out, r.err)
		case <-time.After(10 * time.Millisecond):
		}
		processes := map[int][]string{} // what is in stat behind the name
		machines := []int{}
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range all {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has ended
			}
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			_, rest, _ := strings.Cut(string(text), ") ")
			processes[pid] = strings.Fields(rest)
			if strings.Contains(string(text), "(qemu-system") {
				machines = append(machines, pid)
			}
		}
		number := func(pid, field int) int {
			n, _ := strconv.Atoi(processes[pid][field])
			return n
		}
		for _, m := range machines {
			mine := false
			for p := m; processes[p] != nil; p = number(p, 1) {
				mine = mine || p == os.Getpid()
			}
			if mine && number(m, 11)+number(m, 12) > enough {
				return m
			}
		}
	}
}
