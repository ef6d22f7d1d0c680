// SPDX-License-Identifier: MIT

package nllab_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/source"
	"nlpeer/labs/internal/student"
	"nlpeer/labs/nllab"
)

// fake is an nlvm that says what a test tells it to, by files in its folder.
const fake = `#!/bin/sh
cd "$(dirname "$0")" || exit 99
case $1 in
kernels) echo '{"name":"6.1","goarch":"amd64","cc":"gcc","version":"6.1.0","default":true}' ;;
build) cat build.err >&2; [ ! -s build.err ] || exit 1; echo /cache/echo.ko ;;
run)
	printf '%s\n' "$@" >run.args
	cat run.out
	cat run.err >&2
	[ -z "$NLVM_RECORD" ] || cat record >"$NLVM_RECORD"
	[ ! -e hang ] || { touch hangs; exec sleep 100; }
	exit "$(cat run.status)"
	;;
esac
`

// world is a student's folder, and a fake nlvm.
type world struct {
	t    *testing.T
	dir  string
	nlvm string
	lab  *source.Lab
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "mine"), nlvm: t.TempDir()}
	w.set("nlvm", fake)
	if err := os.Chmod(filepath.Join(w.nlvm, "nlvm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"build.err", "run.out", "run.err", "record"} {
		w.set(name, "")
	}
	w.set("run.status", "0")
	t.Setenv("PATH", w.nlvm+":"+os.Getenv("PATH"))
	t.Setenv("NLVM_KERNEL", "")
	var err error
	if w.lab, err = source.Load("../src/03-echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := student.New(w.dir, "../..", []*source.Lab{w.lab}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) set(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.nlvm, name), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// result is what the command left.
type result struct {
	status   int
	out, err string
}

func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runIn(context.Background(), args...)
}

func (w *world) runIn(ctx context.Context, args ...string) result {
	var out, words bytes.Buffer
	status := nllab.Run(ctx, append([]string{"-C", w.dir}, args...), nil, &out, &words)
	return result{status, out.String(), words.String()}
}

func (r result) want(t *testing.T, what string, status int, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(r.out+r.err, word) {
			t.Errorf("%s: %q is not in\n%s%s", what, word, r.out, r.err)
		}
	}
	if r.status != status {
		t.Errorf("%s: status %d, want %d\n%s%s", what, r.status, status, r.out, r.err)
	}
}

// events writes what a check of two steps says.
func events(results ...event.Result) string {
	var b bytes.Buffer
	emit := func(e event.Event) {
		if err := event.Write(&b, e); err != nil {
			panic(err)
		}
	}
	emit(event.Event{Plan: []event.Step{{Name: "first", TODO: 1, Points: 4}, {Name: "second", TODO: 3, Points: 6}}})
	doing := "insmod kernel/echo.ko"
	for i := range 2 {
		emit(event.Event{Begin: &i})
		emit(event.Event{Doing: &doing})
		if i >= len(results) {
			return b.String()
		}
		results[i].Step = i
		emit(event.Event{Result: &results[i]})
	}
	emit(event.Event{End: true})
	return b.String()
}

var (
	passed = event.Result{State: event.Passed}
	failed = event.Result{State: event.Failed, Text: "nlmsg_seq: should be 1, is 2", Mistake: "wrong-seq"}
)

const oops = `nlvm: waiting: 2 virtual machines run already
| [   19.751650] BUG: kernel NULL pointer dereference, address: 0000000000000000
| [   19.753078] CPU: 0 PID: 7 Comm: check Tainted: G           OE      6.1.0-57-amd64 #1  Debian 6.1.192-3
| [   19.845035] RIP: 0010:echo_one+0x4c/0x80 [echo]
| [   19.846156] Code: 41 48 39 eb
| [   19.904352] Call Trace:
| [   19.904632]  <TASK>
| [   19.904700]  ? page_fault_oops+0xd6/0x220
| [   19.904886]  netlink_rcv_skb+0x1d/0x30
| [   19.904900]  echo_input+0x1d/0x30 [echo]
| [   19.923495]  netlink_unicast+0x15/0x60
| [   20.099445]  </TASK>
| [   20.115250] Modules linked in: echo(OE-)
| [   20.332061] Kernel panic - not syncing: Fatal exception
nlvm: the guest's kernel panicked
`

func TestVerdicts(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name        string
		out, err    string
		status      string // of nlvm
		record      string
		want        int
		words       []string
		points, run int
	}{
		{"all", events(passed, passed), "", "0", "", 0, []string{
			"  ok       4/4  first\n", "10 of 10 points", "All of it!", "nllab solution 3", "nllab trace 3"}, 10, 1},
		{"some", events(passed, failed), "", "1", "check\t1\t0\t\t1.0\n", 1, []string{
			"  failed   0/6  TODO 3: second\n               nlmsg_seq: should be 1, is 2\n               Likely mistake: The sequence number of the answer",
			"4 of 10 points", "Next: TODO 3, make the answer and send it back (", "kernel/echo.c:", "A hint: nllab hint 3"}, 4, 2},
		{"none tried", events(failed, event.Result{State: event.NotTried, Text: `needs "first"`}), "", "1", "", 1, []string{
			"  -        0/6  second\n               not tried: needs \"first\"\n", "0 of 10 points", "Next: TODO 1,"}, 0, 3},
		{"panic", events(passed), oops, "121", "", 121, []string{
			"  crashed  0/6  TODO 3: second\n",
			"The kernel crashed, in the step \"second\" (last heard of: insmod kernel/echo.ko):\n  what    BUG: kernel NULL pointer dereference, address: 0000000000000000\n" +
				"  where   in echo_one()\n  calls   echo_one   <- yours\n          netlink_rcv_skb\n          echo_input   <- yours\n          netlink_unicast\n",
			"The next run begins with a fresh one.", "4 of 10 points"}, 4, 4},
		{"known panic", events(passed), strings.Replace(oops, "NULL pointer dereference, address: 0000000000000000", "page fault, address: 0x6b6b6b6b6b6b6b73", 1), "121", "", 121, []string{
			"Likely mistake: A socket buffer was freed twice."}, 4, 5},
		{"complaint", events(passed, passed), "| [    1.000000] WARNING: CPU: 0 PID: 9 at net/x.c:3 f+0x1/0x2\nnlvm: the command passed, but the kernel complained: WARNING\n", "123", "check\t123\t1\tWARNING\t1.0\n", 123, []string{
			"The kernel complained:\n  what    WARNING: CPU: 0"}, 10, 6},
		{"failed and complaint", events(passed, failed), "| [    1.000000] WARNING: CPU: 0 PID: 9 at net/x.c:3 f+0x1/0x2\n", "1", "check\t1\t1\tWARNING\t1.0\n", 123, []string{
			"The kernel complained"}, 4, 7},
		{"loop in the kernel", events(passed), "nlvm: the time limit of 5s ran out; in the guest at that moment:\nnlvm: the time limit ran out\n", "122", "", 122, []string{
			"The time of ", " ran out, in the step \"second\" (last heard of: insmod kernel/echo.ko).\n", "The kernel itself did not answer"}, 4, 8},
		{"lockup", events(passed), strings.Replace(oops, "BUG: kernel NULL pointer dereference, address: 0000000000000000", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [check:88]", 1), "121", "", 122, []string{
			"The kernel did not come back, in the step \"second\"", "what    watchdog: BUG: soft lockup", "where   in echo_one()"}, 4, 9},
		{"loop in a program", events(passed, event.Result{State: event.Failed, Text: "user/user x had not ended after 5s", Hung: "user/user x"}), "", "1", "", 122, []string{
			"user/user x had not ended", `The program "user/user x" did not end`}, 4, 10},
		{"lost", events(passed), "nlvm: the virtual machine was lost: QEMU was killed\n", "120", "", 120, []string{"The virtual machine was lost", "QEMU was killed", "Run it again."}, 4, 11},
		{"set-up", "", "nlvm: no space left on device\n", "2", "", 2, []string{"the virtual machine could not be set up", "no space left"}, 4, 11},
		{"broken check", "panic: oh\n", "", "2", "", 2, []string{"could not be set up"}, 4, 11},
		{"no end", strings.TrimSuffix(events(passed, passed), event.Mark+"{\"end\":true}\n") + "panic: oh\n", "", "2", "", 2, []string{"the check of lab 3 itself failed, with status 2", "panic: oh"}, 4, 11},
	} {
		w.set("run.out", c.out)
		w.set("run.err", c.err)
		w.set("run.status", c.status)
		w.set("record", c.record)
		w.run("run", "3").want(t, c.name, c.want, c.words...)
		p, err := (student.Root{Dir: w.dir}).Progress()
		if mine := p.Labs[3]; err != nil || mine.Points != c.points || mine.Tries != c.run || mine.Best != 10 {
			t.Errorf("%s: remembered are %+v, %v, want %d points, %d tries", c.name, mine, err, c.points, c.run)
		}
	}
	w.run("list").want(t, "list", 0, "  3   10/10       35  The kernel answers\n")
	w.run("score").want(t, "score", 1, "lab  3  10/10  solved\n")
}

// Code that does not compile: the compiler's words, and which file it is.
func TestDoesNotCompile(t *testing.T) {
	w := newWorld(t)
	w.set("build.err", "mine/03-echo/kernel/echo.c:12:3: error: expected ‘;’\n")
	w.run("run", "3").want(t, "kernel", 3, "03-echo/kernel does not compile:\n\nmine/03-echo/kernel/echo.c:12:3: error: expected ‘;’\n")
	w.set("build.err", "")
	file := filepath.Join(w.dir, "03-echo", "user", "main.go")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), "defer syscall.Close(fd)", "defer sycall.Close(fd)", 1)
	if err := os.WriteFile(file, []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	r := w.run("run", "3")
	r.want(t, "user", 3, "03-echo/user does not compile:\n\n", "03-echo/user/main.go:", "undefined: sycall")
	if strings.Contains(r.err, "# command-line-arguments") {
		t.Errorf("what is no news is told:\n%s", r.err)
	}
	if p, err := (student.Root{Dir: w.dir}).Progress(); err != nil || p.Labs[3].Tries != 0 {
		t.Errorf("code that does not compile counts as a try: %+v, %v", p, err)
	}
	w.set("build.err", "cc1: fatal error: error writing to x.s: No space left on device\n")
	w.run("run", "3").want(t, "full disk", 2, "no space left on device", "The disk is full. Your files are as they were")
}

func TestWrongUsage(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		args  string
		words string
	}{
		{"", ""},
		{"walk", `unknown command "walk"`},
		{"run", "give the number of one lab"},
		{"run 3 4", "give the number of one lab"},
		{"run three", `"three" is no number of a lab`},
		{"run 77", "there is no lab 77"},
		{"run --fast 3", "unknown flag: --fast"},
		{"run --folder /nowhere 3", "/nowhere: no such file or directory"},
		{"run --folder /etc/passwd 3", "/etc/passwd is a file; a lab is a folder"},
		{"run --folder " + w.nlvm + " 3", w.nlvm + " has no folder kernel, so it is not lab 3"},
		{"run --kernel 2.4 3", `unknown kernel "2.4"; known are: 6.1`},
		{"run 1", "01-anatomy is not there; to make it: nllab reset 1"},
		{"hint --todo 9 3", "lab 3 has the TODOs 1 to 4"},
		{"hint 0", "lab 0 has nothing to be solved"},
		{"reset --todo 9 3", "lab 3 has the TODOs 1 to 4"},
		{"solution 3", "try it first: nllab run 3"},
		{"score /nowhere", "no such file or directory"},
		{"new", "give the name of one new folder"},
		{"new " + w.dir, "not empty"},
	} {
		r := w.run(strings.Fields(c.args)...)
		want := 2
		if c.args == "" {
			want = 0 // the help
		}
		r.want(t, "nllab "+c.args, want, c.words)
		if c.args != "" && (r.out != "" || !strings.HasPrefix(r.err, "nllab: ")) {
			t.Errorf("nllab %s says on standard output %q, on standard error %q", c.args, r.out, r.err)
		}
	}
	var out, words bytes.Buffer
	if s := nllab.Run(context.Background(), []string{"-C", t.TempDir(), "run", "3"}, nil, &out, &words); s != 2 || !strings.Contains(words.String(), "make one: nllab new DIR") {
		t.Errorf("in a folder without labs: status %d, %s", s, &words)
	}
}

// Two at once: the second says who is first.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	unlock, err := (student.Root{Dir: w.dir}).Lock("run 3")
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "3"}, {"reset", "3"}} {
		w.run(args...).want(t, args[0], 2, fmt.Sprintf("another nllab is at work in this folder (process %d: nllab run 3)", os.Getpid()))
	}
	w.run("list").want(t, "list", 0)
	unlock()
	w.set("run.out", events(passed, passed))
	w.run("run", "3").want(t, "after that", 0)
}

// Ctrl-C ends what was begun, and nothing is remembered of it.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	w.set("run.out", events(passed))
	w.set("hang", "")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan result, 1)
	go func() { done <- w.runIn(ctx, "run", "3") }()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(w.nlvm, "hangs")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nlvm was not started")
		}
	}
	cancel()
	r := <-done
	r.want(t, "interrupted", 130, "nllab: interrupted; your files are as they were\n")
	if p, err := (student.Root{Dir: w.dir}).Progress(); err != nil || p.Labs[3].Tries != 0 {
		t.Errorf("an interrupted run is remembered: %+v, %v", p, err)
	}
	if err := os.Remove(filepath.Join(w.nlvm, "hang")); err != nil {
		t.Fatal(err)
	}
	w.set("run.out", events(passed, passed))
	w.run("run", "3").want(t, "the next run", 0)
}

// Hints come one by one, for the TODO that is next.
func TestHints(t *testing.T) {
	w := newWorld(t)
	hints := w.lab.Todos[2].Hints
	w.set("run.out", events(passed, failed))
	w.set("run.status", "1")
	w.run("run", "3").want(t, "run", 1)
	for n := 1; n <= len(hints)+1; n++ {
		r := w.run("hint", "3")
		r.want(t, "hint", 0, "TODO 3: ")
		if got := strings.Count(r.out, "\nHint "); got != min(n, len(hints)) {
			t.Errorf("the %d. time %d hints are shown", n, got)
		}
		if last := strings.Contains(r.out, "That was the last."); last != (n >= len(hints)) {
			t.Errorf("the %d. time it says that it was the last: %v", n, last)
		}
	}
	w.run("hint", "--todo", "1", "3").want(t, "of another", 0, "TODO 1: ", "Hint 1 of ")
}

func TestSolution(t *testing.T) {
	w := newWorld(t)
	w.run("solution", "--yes", "3").want(t, "solution", 0, "TODO 1: ", "netlink_kernel_create(&init_net", "TODO 4: ", "user/main.go")
	p, err := (student.Root{Dir: w.dir}).Progress()
	if err != nil || !p.Labs[3].Looked {
		t.Errorf("that it was looked at is not remembered: %+v, %v", p, err)
	}
	to := filepath.Join(t.TempDir(), "new")
	w.run("solution", "--yes", "--to", to, "3").want(t, "solution --to", 0)
	want, err := w.lab.Files(source.All)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(text))
		}
	}
	w.run("solution", "--yes", "--to", to, "3").want(t, "into a folder that is there", 2, "not empty")
}

// A class is graded by running its code, whatever its folders remember.
func TestClass(t *testing.T) {
	w := newWorld(t)
	class := t.TempDir()
	for _, name := range []string{"anna", "ben", "carl"} {
		root, err := student.New(filepath.Join(class, name), "../..", []*source.Lab{w.lab})
		if err != nil {
			t.Fatal(err)
		}
		err = root.Update(func(p *student.Progress) { p.Labs[3] = student.Lab{Tries: 7, Best: 10, Of: 10} })
		if err != nil {
			t.Fatal(err)
		}
	}
	touch := func(name, from, to string) {
		file := filepath.Join(class, name, "03-echo/user/main.go")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	touch("anna", "syscall.ENOSYS", "syscall.EIO")
	touch("ben", "package main", "package mine;")
	w.set("run.out", events(passed, failed))
	w.set("run.status", "1")
	r := w.run("score", "--json", "--lab", "3", filepath.Join(class, "anna"), filepath.Join(class, "ben"), filepath.Join(class, "carl"))
	if r.status != 1 {
		t.Errorf("status %d, want 1\n%s", r.status, r.err)
	}
	type lab struct {
		Lab, Points, Of, Tries int
		State, Why             string
		Failed                 []string
	}
	type score struct {
		Student    string
		Points, Of int
		Labs       []lab
	}
	var got []string
	for d := json.NewDecoder(strings.NewReader(r.out)); d.More(); {
		var s score
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		if len(s.Labs) != 1 || s.Of != 10 || s.Labs[0].Tries != 7 {
			t.Fatalf("%+v", s)
		}
		got = append(got, fmt.Sprintf("%s %d %s %q", s.Student, s.Points, s.Labs[0].State, s.Labs[0].Failed))
	}
	want := []string{`anna 4 partly ["second"]`, `ben 0 does not compile []`, `carl 0 untouched []`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q\n%s", got, want, r.err)
	}
}

// All steps passed, and it is not solved: the score says so as run does.
func TestPointsAreNotAll(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.dir, "03-echo/user/main.go")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "\n// touched\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	var untidy bytes.Buffer
	tidy := event.Result{State: event.Failed, Text: "rmmod echo: device or resource busy\nIs a socket left?"}
	if err := event.Write(&untidy, event.Event{Tidy: &tidy}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, out, status, record string
		run, score                int
		state, why                string
	}{
		{"complaint", events(passed, passed), "123", "check\t123\t1\tWARNING\t1.0\n", 123, 1, "complained", "the kernel complained"},
		{"complaint, seen in the record", events(passed, passed), "0", "check\t0\t1\tWARNING\t1.0\n", 123, 1, "complained", "the kernel complained"},
		{"not tidy", untidy.String() + events(passed, passed), "1", "check\t1\t0\t\t1.0\n", 1, 1, "partly", tidy.Text},
		{"solved", events(passed, passed), "0", "check\t0\t0\t\t1.0\n", 0, 0, "solved", ""},
	} {
		w.set("run.out", c.out)
		w.set("run.status", c.status)
		w.set("record", c.record)
		w.run("run", "3").want(t, c.name+": run", c.run, "10 of 10 points")
		first, _, _ := strings.Cut(c.why, "\n")
		line := "lab  3  10/10  " + c.state
		if first != "" {
			line += ": " + first
		}
		w.run("score", "--lab", "3", w.dir).want(t, c.name+": score", c.score, line+"\n")
		r := w.run("score", "--json", "--lab", "3", w.dir)
		r.want(t, c.name+": score --json", c.score)
		var got struct {
			Points int
			Labs   []struct{ State, Why string }
		}
		if err := json.Unmarshal([]byte(r.out), &got); err != nil {
			t.Fatalf("%s: %v in %s", c.name, err, r.out)
		}
		if len(got.Labs) != 1 || got.Points != 10 || got.Labs[0].State != c.state || got.Labs[0].Why != c.why {
			t.Errorf("%s: --json says %s", c.name, r.out)
		}
		// And of one's own folder, which remembers it.
		w.run("score", "--lab", "3").want(t, c.name+": remembered", c.score)
	}
}

// The help, and what it says of the exit codes, is there for every command.
func TestHelp(t *testing.T) {
	w := newWorld(t)
	w.run("--help").want(t, "help", 0, "EXIT STATUS", "  3    the student's files do not compile", "  121  the kernel crashed", "nllab new ~/netlink")
	for _, cmd := range nllab.Command().Commands() {
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("nllab %s has no example or no description", cmd.Name())
		}
		w.run(cmd.Name(), "--help").want(t, cmd.Name(), 0, "print this help")
	}
}

// output is a buffer that is read while it is written to.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Watch runs again when a file is saved, also after one that does not compile,
// and Ctrl-C is how one leaves it.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	w.set("run.out", events(passed, failed))
	w.set("run.status", "1")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, words output
	done := make(chan int, 1)
	go func() { done <- nllab.Run(ctx, []string{"-C", w.dir, "watch", "3"}, nil, &out, &words) }()
	wait := func(n int) string {
		t.Helper()
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			parts := strings.SplitAfter(out.String(), "; Ctrl-C ends it\n")
			if len(parts) > n {
				return parts[n-1]
			}
			if time.Now().After(end) {
				t.Fatalf("waited in vain for verdict %d\n%s%s", n, out.String(), words.String())
			}
		}
	}
	if got := wait(1); !strings.Contains(got, "4 of 10 points") {
		t.Errorf("at first:\n%s", got)
	}
	file := filepath.Join(w.dir, "03-echo/user/main.go")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save("package main\n\nfunc main() { x }\n")
	if got := wait(2); !strings.Contains(got, "03-echo/user does not compile:") {
		t.Errorf("with a mistake:\n%s", got)
	}
	w.set("run.out", events(passed, passed))
	w.set("run.status", "0")
	save(string(text))
	if got := wait(3); !strings.Contains(got, "10 of 10 points") {
		t.Errorf("solved:\n%s", got)
	}
	cancel()
	if status := <-done; status != 0 || !strings.Contains(words.String(), "no longer watching") {
		t.Errorf("the end: status %d, %s", status, words.String())
	}
}
