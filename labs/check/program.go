// SPDX-License-Identifier: MIT

package check

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/internal/event"
)

// Output is what a program has left.
type Output struct {
	Out, Err string
	// Status is its exit status; 128 and the number of the signal that ended it.
	Status int
}

// Run runs a program to its end, in the time of Deadline. The command is looked
// for as a shell would: "user/user" is the student's.
func Run(t *T, stdin string, name string, args ...string) Output {
	t.Helper()
	return Start(t, stdin, name, args...).Wait()
}

// A Process is a program that runs.
type Process struct {
	t    *T
	cmd  *exec.Cmd
	line string // the command line
	out  *output
	err  *output
	done chan error
	over *Output
}

// User is whose rights a program gets: the user of the guest without any.
const User = 1000

// Start starts a program. It is killed when the step ends.
func Start(t *T, stdin string, name string, args ...string) *Process {
	t.Helper()
	return start(t, nil, stdin, name, args...)
}

// StartAs is Start as another user.
func StartAs(t *T, uid uint32, stdin string, name string, args ...string) *Process {
	t.Helper()
	return start(t, &syscall.Credential{Uid: uid, Gid: uid}, stdin, name, args...)
}

func start(t *T, as *syscall.Credential, stdin string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, line: strings.Join(append([]string{name}, args...), " "), done: make(chan error, 1)}
	p.cmd = exec.Command(name, args...)
	if stdin != "" {
		p.cmd.Stdin = strings.NewReader(stdin)
	}
	p.out, p.err = newOutput(t), newOutput(t)
	p.cmd.Stdout, p.cmd.Stderr = p.out.file, p.err.file
	// A group of its own, so that what it starts ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	p.cmd.WaitDelay = time.Second
	doing(p.line)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s cannot be started: %v", p.line, err)
	}
	// One that writes without end is not to fill the guest's memory. It may have
	// ended by now.
	_ = unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: outputLimit, Max: outputLimit}, nil)
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		if p.over == nil {
			p.Signal(syscall.SIGKILL)
			<-p.done
		}
	})
	return p
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kept runs a program and says whether the kernel keeps it: it has not ended in the
// time of Deadline, and cannot be killed either. One that waits for a lock which
// nobody gives back is like that. (Were the check to send the request itself, it
// would be kept.)
func Kept(t *T, name string, args ...string) bool {
	t.Helper()
	cmd := exec.Command(name, args...)
	doing(strings.Join(append([]string{name}, args...), " "))
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s cannot be started: %v", name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ends is not what was asked
		close(done)
	}()
	for _, patience := range []time.Duration{Deadline(), Deadline() / 5} {
		select {
		case <-done:
			return false
		case <-time.After(patience):
			_ = cmd.Process.Kill() // it may have ended by now
		}
	}
	return true
}

// Signal sends a signal to the program and all that it has started.
func (p *Process) Signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// Wait waits for the program's end. One that does not end in time ends the step.
func (p *Process) Wait() Output {
	p.t.Helper()
	if p.over != nil {
		return *p.over
	}
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
			p.t.Fatalf("%s: %v", p.line, err)
		}
		p.over = &Output{Out: p.out.String(), Err: p.err.String(), Status: p.cmd.ProcessState.ExitCode()}
		if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signaled() {
			p.over.Status = 128 + int(s.Signal())
		}
		return *p.over
	case <-time.After(Deadline()):
		p.t.hung = p.line
		// Go programs answer this one with what each goroutine is doing.
		p.Signal(syscall.SIGQUIT)
		select {
		case err := <-p.done:
			p.done <- err
		case <-time.After(Deadline() / 5):
		}
		p.t.Fatalf("%s had not ended after %v%s", p.line, Deadline(), p.stuck())
		panic("not reached")
	}
}

// place is a function of a Go program in what it says on SIGQUIT.
var place = regexp.MustCompile(`(?m)^main\.(\S+)\(.*\)\n\t(?:\S*/)?(\S+:\d+)`)

// stuck is what a program that was ended has printed, and where it was.
func (p *Process) stuck() string {
	before, dump, ok := strings.Cut(p.err.String(), "SIGQUIT: quit\n")
	if !ok {
		return p.said()
	}
	text := ""
	for _, m := range place.FindAllStringSubmatch(dump, -1) {
		text += "\nit was in " + m[1] + "(), " + m[2]
	}
	return text + said(p.out.String(), before)
}

// said is what the program has printed, for a failure.
func (p *Process) said() string { return said(p.out.String(), p.err.String()) }

func said(stdout, stderr string) string {
	text := ""
	if stdout != "" {
		text += "\nits standard output:\n" + indent(shorten(stdout))
	}
	if stderr != "" {
		text += "\nits standard error:\n" + indent(shorten(stderr))
	}
	return text
}

// shorten leaves the first lines of a text.
func shorten(text string) string {
	const most, mostBytes = 20, 4 << 10
	if len(text) > mostBytes {
		text = strings.ToValidUTF8(text[:mostBytes], "") + "…\n"
	}
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= most {
		return text
	}
	return strings.Join(lines[:most], "") + "…\n"
}

// Line waits until the program has printed a line that contains text, and
// returns it.
func (p *Process) Line(text string) string {
	p.t.Helper()
	end := time.Now().Add(Deadline())
	for {
		all := p.out.String()
		for line := range strings.Lines(all) {
			if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
				return strings.TrimSuffix(line, "\n")
			}
		}
		select {
		case err := <-p.done:
			p.done <- err
			if p.out.String() == all {
				p.t.Fatalf("%s has ended without a line that contains %q%s", p.line, text, p.said())
			}
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s has not printed a line that contains %q in %v%s", p.line, text, Deadline(), p.said())
		}
		time.Sleep(time.Millisecond)
	}
}

// Succeeded ends the step unless the program's exit status is 0.
func (o Output) Succeeded(t *T, what string) {
	t.Helper()
	if o.Status == 0 {
		return
	}
	t.Fatalf("%s ended with status %d, want 0%s", what, o.Status, said(o.Out, o.Err))
}

// outputLimit is the most that a program writes into a file, in bytes.
const outputLimit = 1 << 20

// output is what a program writes: a file in memory, which needs nobody to read
// it meanwhile. In an emulated machine that is time.
type output struct{ file *os.File }

func newOutput(t *T) *output {
	t.Helper()
	fd, err := unix.MemfdCreate("output", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatalf("no file for what a program writes: %v", err)
	}
	// A program that writes to one file by two descriptors appends.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err != nil {
		t.Fatalf("no file for what a program writes: %v", err)
	}
	o := &output{os.NewFile(uintptr(fd), "output")}
	t.Cleanup(func() { o.file.Close() })
	return o
}

func (o *output) String() string {
	st, err := o.file.Stat()
	if err != nil {
		return ""
	}
	b := make([]byte, st.Size())
	n, _ := o.file.ReadAt(b, 0)
	return string(b[:n])
}

// show runs the command that shows what the lab was about.
func show(t *testing.T, command string) {
	r := try(t, "show", func(t *T) {
		for _, name := range Modules() {
			Insmod(t, name)
		}
		out, err := exec.Command("sh", "-c", command+" 2>&1").Output()
		shown := event.Shown{Command: command, Output: string(out)}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			shown.Status = exit.ExitCode()
		}
		emit(event.Event{Shown: &shown})
	})
	if r.State != event.Passed {
		emit(event.Event{Tidy: &r})
	}
}

// Exists says whether a file is there, such as one in /proc or /sys.
func Exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
