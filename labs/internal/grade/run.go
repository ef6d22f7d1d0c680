// SPDX-License-Identifier: MIT

package grade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/source"
)

// Exit statuses of nlvm that are not its command's.
const (
	statusLost      = 120
	statusPanic     = 121
	statusTimeout   = 122
	statusComplaint = 123
)

// Options of a run.
type Options struct {
	Kernel   string    // "" for nlvm's default
	Show     bool      // run the lab's show command when all has passed
	Progress io.Writer // for what nlvm says while it downloads and boots
	// Limit is how long the check may take in all; 0 for what DefaultLimit is, or
	// on a slow machine NLVM_SLOW times that.
	Limit time.Duration
}

// DefaultLimit is far more than a check needs, and as long as somebody may want
// to wait who has written a loop.
const DefaultLimit = 40 * time.Second

func (o Options) limit() time.Duration {
	if o.Limit > 0 {
		return o.Limit
	}
	d := DefaultLimit
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 0 {
		d = time.Duration(f * float64(d))
	}
	return d
}

// Run builds what is in a student's folder and runs the lab's check on it. The
// error is a *CompileError, or one of the machinery. How the check went is in
// the report, whatever it did to the kernel.
func (t Tools) Run(ctx context.Context, lab *source.Lab, dir string, o Options) (*Report, error) {
	r := &Report{Lab: lab, limit: o.limit()}
	env := []string{event.WantVar + "=" + event.Check}
	if o.Show && lab.Show != "" {
		env = append(env, event.ShowVar+"="+lab.Show)
	}
	return r, t.execute(ctx, lab, dir, o, env, r)
}

// Picture has the lab's exchange done by what is in the folder.
func (t Tools) Picture(ctx context.Context, lab *source.Lab, dir string, o Options) (*event.Drawing, error) {
	r := &Report{Lab: lab}
	if err := t.execute(ctx, lab, dir, o, []string{event.WantVar + "=" + event.Picture}, r); err != nil {
		return nil, err
	}
	switch {
	case r.Status != 0:
		return nil, fmt.Errorf("the exchange of lab %d ended with status %d\n%s", lab.Number, r.Status, r.Words)
	case r.Tidy != nil && r.Tidy.State != event.Passed:
		return nil, fmt.Errorf("the exchange of lab %d failed: %s", lab.Number, r.Tidy.Text)
	case r.drawing == nil:
		return nil, fmt.Errorf("lab %d has no picture", lab.Number)
	}
	return r.drawing, nil
}

// execute builds, runs, and fills the report.
func (t Tools) execute(ctx context.Context, lab *source.Lab, dir string, o Options, env []string, r *Report) error {
	to, err := t.targetOf(ctx, lab, o.Kernel)
	if err != nil {
		return err
	}
	r.Kernel = to.Name
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if o.Progress != nil {
		o.Progress = &together{w: o.Progress}
	}
	// The student's programs are made while the machine starts.
	building, abandon := context.WithCancel(ctx)
	defer abandon()
	made := make(chan struct{})
	var programs built
	var wrong error
	go func() {
		defer close(made)
		programs, wrong = t.build(building, lab, dir, temp, to, o.Progress)
	}()
	wait := func() (built, error) {
		<-made
		r.Warnings, r.modules = programs.warnings, debugFiles(programs)
		return programs, wrong
	}
	checker, err := t.checkBinary(ctx, lab, to)
	if err == nil {
		if lab.Kind == source.Host {
			err = t.onHost(ctx, temp, wait, checker, env, o, r)
		} else {
			err = t.inGuest(ctx, lab, temp, wait, checker, env, o, r)
		}
	}
	abandon()
	<-made // it works in temp
	if err != nil {
		return err
	}
	return r.conclude()
}

// targetOf is what a lab is built for.
func (t Tools) targetOf(ctx context.Context, lab *source.Lab, kernel string) (target, error) {
	if lab.Kind == source.Host && kernel == "" {
		return native, nil
	}
	return t.target(ctx, kernel)
}

// checkArgs are the check's own. Its time limit is the machine's.
var checkArgs = []string{"-test.timeout=0", "-test.paniconexit0"}

// onHost runs the check of a lab without a kernel, in a folder that has the
// student's programs.
func (t Tools) onHost(ctx context.Context, temp string, programs func() (built, error), checker string, env []string, o Options, r *Report) error {
	p, err := programs()
	if err != nil {
		return err
	}
	begun := time.Now()
	defer func() { r.Took = time.Since(begun) }()
	work := filepath.Join(temp, "work")
	for name, file := range p.files {
		target := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Rename(file, target); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, o.limit())
	defer cancel()
	cmd := exec.CommandContext(limited, checker, checkArgs...)
	cmd.Dir = work
	cmd.Env = t.environment(env...)
	interruptible(cmd)
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()
	r.read(out.String())
	r.Words = words.String()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		r.Status = statusTimeout
	case err != nil && !errors.As(err, &exit):
		return err
	default:
		r.Status = cmd.ProcessState.ExitCode()
	}
	return nil
}

// inGuest runs the check in a virtual machine, which starts before the programs
// are there: nlvm reads their names from a pipe when it has need of them.
func (t Tools) inGuest(ctx context.Context, lab *source.Lab, temp string, programs func() (built, error), checker string, env []string, o Options, r *Report) error {
	args := append(t.machine(lab, o.Kernel), "--no-commands")
	for _, e := range env {
		args = append(args, "--env", e)
	}
	args = append(args, "--timeout", o.limit().String(), "--put", checker+":check", "--put-from", "/dev/fd/3", "--")
	args = append(append(args, "./check"), checkArgs...)
	names, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer names.Close()
	defer tell.Close()
	machine, abandon := context.WithCancel(ctx)
	defer abandon()
	ended := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = t.runMachine(machine, temp, args, names, o.Progress, r)
		ended <- err
	}()
	p, err := programs()
	if err != nil {
		abandon()
		<-ended
		return err
	}
	begun := time.Now()
	// If nlvm has ended by now, that is what is to be told.
	_, _ = tell.WriteString(strings.Join(p.puts(), "\n"))
	tell.Close()
	if err := <-ended; err != nil {
		return err
	}
	r.Took = time.Since(begun)
	r.read(out)
	if r.Status < 0 || r.Status > 128 {
		// Somebody has ended nlvm, and did not mean us.
		r.Status = statusLost
	}
	if r.Status == 2 && len(r.Steps) == 0 {
		return fmt.Errorf("the virtual machine could not be set up\n%s", strings.TrimRight(r.Words, "\n"))
	}
	return r.readRecord(filepath.Join(temp, recordName))
}

// recordName is the file in the temporary folder in which nlvm notes its run.
const recordName = "record"

// runMachine runs nlvm to its end, notes what it says and its status, and returns
// what was written in the guest.
// If extra is not nil, it is nlvm's file descriptor 3.
func (t Tools) runMachine(ctx context.Context, temp string, args []string, extra *os.File, progress io.Writer, r *Report) (string, error) {
	cmd := exec.CommandContext(ctx, t.NLVM, args...)
	cmd.Env = t.environment("NLVM_RECORD=" + filepath.Join(temp, recordName))
	interruptible(cmd)
	var out bytes.Buffer
	words := &words{to: progress}
	cmd.Stdout, cmd.Stderr = &out, words
	if extra != nil {
		cmd.ExtraFiles = []*os.File{extra}
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err
	}
	r.Words = words.rest()
	r.Status = cmd.ProcessState.ExitCode()
	return out.String(), nil
}

// coarseTimers let the guest's timers ring at its clock's ticks only. The runtime
// of each Go program sets one for every twenty microseconds that it has something
// to do, which takes a third of an emulated processor's time.
const coarseTimers = "highres=off"

// machine is the beginning of a command of nlvm. Nlpeer's commands would be in the
// guest, too; without --no-commands they are linked and sent each time.
func (t Tools) machine(lab *source.Lab, kernel string) []string {
	args := []string{"run", "--no-module", "--image", lab.Image, "--append", coarseTimers}
	if kernel != "" {
		args = append(args, "--kernel", kernel)
	}
	for _, m := range lab.Kmod {
		args = append(args, "--kmod", m)
	}
	return args
}

// puts are the programs for nlvm's --put.
func (b built) puts() []string {
	var puts []string
	for name, file := range b.files {
		puts = append(puts, file+":"+name)
	}
	slices.Sort(puts)
	return puts
}

// withPrograms adds them to a command of nlvm.
func (b built) withPrograms(args []string) []string {
	for _, put := range b.puts() {
		args = append(args, "--put", put)
	}
	return args
}

// interruptible makes the end of a command's context a polite one: what it has
// started gets to clean up.
func interruptible(cmd *exec.Cmd) {
	// A group of its own: a Ctrl-C is ours to pass on, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
}

// readRecord learns from nlvm's record whether the kernel complained of a run
// that failed anyway.
func (r *Report) readRecord(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fields := strings.Split(strings.TrimSpace(string(text)), "\t")
	if len(fields) >= 3 && fields[2] != "0" && (r.Status == 0 || r.Status == 1) {
		r.Status = statusComplaint
	}
	return nil
}

// recognise looks for a known mistake in what was said of a crash.
func (r *Report) recognise() string {
	for _, name := range r.Lab.MistakeNames() {
		m := r.Lab.Mistakes[name]
		if m.Log != "" && regexp.MustCompile(m.Log).MatchString(r.Words) {
			return name
		}
	}
	return ""
}
