// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/kmod"
	"nlpeer/vm-test/internal/machine"
	"nlpeer/vm-test/internal/qemu"
	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// guestRun is one command for one machine.
type guestRun struct {
	machineFlags
	argv     []string
	files    []tarball.Item // besides those of --put
	terminal *wire.Size
	resizes  <-chan wire.Size
	env      []string
	collect  []string
	place    func(string) string
	cleanup  []func() // after all
	name     string   // of the run, in a record
	counts   string   // file for the numbers of the guest's programs, in a record
	// started is called when the machine is there and the command begins.
	started func() error
	// attach is called with the machine before the command begins. The command
	// is ended when the channel that it returns is closed.
	attach func(*machine.Machine) (<-chan struct{}, error)
	stdin  io.Reader // nil for ours
	stdout io.Writer // nil for ours
}

// runName is what a record and a folder of counts call the run.
func (g *guestRun) runName() string { return cmp.Or(g.name, filepath.Base(g.argv[0])) }

// do executes it; the error is a statusError once the command was started.
func (g *guestRun) do() error {
	defer func() {
		for _, f := range g.cleanup {
			f()
		}
	}()
	if err := g.check(); err != nil {
		return err
	}
	k, err := kernel.Find(g.kernel)
	if err != nil {
		return err
	}
	if _, err := qemu.Identity(k.Arch); err != nil {
		return err
	}
	image, err := kernel.FindImage(g.image)
	if err != nil {
		return err
	}
	items, err := g.items("--put", g.puts)
	if err != nil {
		return err
	}
	source, err := artifacts.FindSource()
	if err != nil {
		return err
	}

	// A closed pipe is an error of a write like any other, so that the
	// machine is ended in an orderly way.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endings()...)
	// Until the command runs, a signal simply ends everything.
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	running := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case s := <-signals:
			cancel(interrupted(s))
		case <-running:
		}
	}()
	status, err := g.execute(ctx, k, image, source, append(g.files, items...), signals, func() {
		close(running)
		<-watched
	})
	if cause := causeOf(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	if status != 0 {
		return statusError(status)
	}
	return nil
}

func (g *guestRun) execute(ctx context.Context, k kernel.Kernel, image kernel.Image, source string, items []tarball.Item, signals <-chan os.Signal, running func()) (int, error) {
	c, err := cache.Open()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	use, err := c.Use()
	if err != nil {
		return 0, err
	}
	defer use.Unlock()
	progress := newProgress()
	u, err := kernel.Get(ctx, c, k, progress)
	if err != nil {
		return 0, err
	}
	guest, err := artifacts.Prepare(ctx, c, source, u, artifacts.Want{Image: image, Module: !g.noModule, Commands: !g.noCommands}, progress)
	if err != nil {
		return 0, err
	}
	insmod, err := stockModules(u, g.modules, &items)
	if err != nil {
		return 0, err
	}
	extra, counted, err := extraModules(ctx, c, u, source, g.extras, &items, progress)
	if err != nil {
		return 0, err
	}
	m, err := machine.Start(ctx, c, guest, machine.Options{
		SMP: g.smp, MemMiB: g.mem, ICount: g.icount, Append: strings.TrimSpace(k.Append() + " " + g.append),
		Cold: g.cold, Accel: g.accel, Debug: g.attach != nil, Progress: progress,
	})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.Push(ctx, items); err != nil {
		return 0, err
	}
	if items, err = g.itemsFrom(ctx); err != nil {
		return 0, err
	}
	if err := m.Push(ctx, items); err != nil {
		return 0, err
	}
	command := wire.Command{
		Argv: g.argv, Dir: guestDir, Env: g.environment(u, guest), Terminal: g.terminal,
		Insmod: insmod, Extra: extra, Collect: g.collect,
	}
	if !g.noModule {
		command.Module, command.ModuleArgs = artifacts.GuestModule, g.moduleArgs
	}
	if g.gcov != "" {
		if command.Gcov, err = g.bringCounts(append(counted, guest.Module)); err != nil {
			return 0, err
		}
	}
	if recording() {
		if err := g.bringNumbers(); err != nil {
			return 0, err
		}
		command.Env, command.Collect = append(command.Env, "NLVM_COUNTS="+countsFile), g.collect
	}
	running()
	if g.started != nil {
		if err := g.started(); err != nil {
			return 0, err
		}
	}
	request := machine.Request{
		Command: command, Stdin: standardInput(), Stdout: os.Stdout, Stderr: os.Stderr,
		Timeout: g.timeout, Signals: signals, Resizes: g.resizes, Place: g.place,
	}
	if g.stdout != nil {
		request.Stdout = g.stdout
	}
	if g.attach != nil {
		if request.Enough, err = g.attach(m); err != nil {
			return 0, err
		}
	}
	if g.stdin != nil {
		request.Stdin = g.stdin
	}
	begun := time.Now()
	status, err := m.Run(ctx, request)
	return status, errors.Join(err, g.record(status, m.Findings(), time.Since(begun)))
}

// bringCounts prepares the run's folder for the counts of executed lines, with one
// for each module, and returns where the guest has them.
func (g *guestRun) bringCounts(modules []string) ([]string, error) {
	run := filepath.Join(g.gcov, g.runName())
	if err := os.Mkdir(run, 0o755); err != nil {
		return nil, fmt.Errorf("--gcov: %w", err)
	}
	var works []string
	for _, module := range modules {
		work, err := artifacts.GcovWork(module)
		if err != nil {
			return nil, err
		}
		dir := filepath.Join(run, strings.TrimSuffix(filepath.Base(module), ".ko"))
		if err := artifacts.GcovNotes(module, dir); err != nil {
			return nil, err
		}
		g.bring("run/nlvm/gcov"+work+"/", func(counts string) string {
			if !filepath.IsLocal(counts) {
				return ""
			}
			return filepath.Join(dir, counts)
		})
		works = append(works, work)
	}
	return works, nil
}

// bring says where files of the guest go whose names begin with a prefix, by
// the rest of their names.
func (g *guestRun) bring(prefix string, place func(rest string) string) {
	others := g.place
	g.place = func(name string) string {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return place(rest)
		}
		if others == nil {
			return ""
		}
		return others(name)
	}
}

// stockModules finds the kernel's own modules and adds them to what is sent.
func stockModules(u kernel.Unpacked, names []string, items *[]tarball.Item) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	tree, err := kmod.OpenTree(u.Modules())
	if err != nil {
		return nil, err
	}
	files, err := tree.Order(names...)
	if err != nil {
		return nil, err
	}
	var guest []string
	for _, f := range files {
		name := "lib/modules/" + u.Version + "/" + filepath.Base(f)
		*items = append(*items, tarball.Item{Source: f, Name: name})
		guest = append(guest, "/"+name)
	}
	return guest, nil
}

// extraModules builds the modules of other folders and adds them to what is
// sent. They lie beside nlpeer in the guest; it returns where, and where they are
// here.
func extraModules(ctx context.Context, c *cache.Cache, u kernel.Unpacked, source string, dirs []string, items *[]tarball.Item, p *kernel.Progress) (guest, files []string, err error) {
	for _, dir := range dirs {
		// A package's flags and its caller's mean the same folder.
		if _, err := os.Stat(dir); err != nil && !filepath.IsAbs(dir) {
			dir = filepath.Join(source, dir)
		}
		file, err := artifacts.BuildModule(ctx, c, u, dir, []string{"."}, p)
		if err != nil {
			return nil, nil, fmt.Errorf("--extra-module: %w", err)
		}
		p.Warn(artifacts.Warnings(file, dir))
		name := path.Join(path.Dir(artifacts.GuestModule), filepath.Base(file))
		*items = append(*items, tarball.Item{Source: file, Name: name[1:]})
		guest, files = append(guest, name), append(files, file)
	}
	return guest, files, nil
}

// passedOn are the host's environment variables that mean the same in the guest.
func passedOn(name string) bool {
	switch name {
	case "TERM", "GODEBUG", "GOTRACEBACK", "NLVM_SLOW":
		return true
	}
	return strings.HasPrefix(name, "NLPEER_") && name != "NLPEER_SRC"
}

func (g *guestRun) environment(u kernel.Unpacked, guest artifacts.Guest) []string {
	env := []string{
		"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "TMPDIR=/tmp", "PWD=" + guestDir,
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"NLVM=1", "NLVM_KERNEL=" + u.Name,
	}
	if guest.Module != "" {
		env = append(env, "NLVM_MODULE="+artifacts.GuestModule)
	}
	slow := u.Slow()
	if kernel.Architecture(u.Arch).Cross() != "" {
		slow *= 2 // a processor of another kind
	}
	if slow > 1 { // unless ours says more
		env = append(env, fmt.Sprintf("NLVM_SLOW=%d", slow))
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); passedOn(name) {
			env = append(env, e)
		}
	}
	env = append(env, g.env...)
	for _, e := range g.machineFlags.env {
		if name, _, ok := strings.Cut(e, "="); ok {
			env = append(env, e)
		} else if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// standardInput is nil for a terminal that we are in the background of: to
// read from it would stop the whole process.
func standardInput() io.Reader {
	fd := int(os.Stdin.Fd())
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
		return nil
	}
	return os.Stdin
}
