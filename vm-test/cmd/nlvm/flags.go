// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/tarball"
)

// machineFlags are what run, exec, shell, test and profile have in common.
type machineFlags struct {
	kernel     string
	image      string
	smp        int
	mem        int
	icount     bool
	append     string
	accel      string
	cold       bool
	puts       []string
	putFrom    string
	modules    []string
	extras     []string
	noModule   bool
	noCommands bool
	moduleArgs string
	env        []string
	timeout    time.Duration
	gcov       string
}

const defaultTimeout = time.Minute

func (f *machineFlags) register(set *pflag.FlagSet) {
	// The first argument that is no flag begins the guest's command, so its
	// flags are not taken for ours.
	set.SetInterspersed(false)
	set.SortFlags = false
	set.StringVar(&f.kernel, "kernel", os.Getenv("NLVM_KERNEL"), "kernel `NAME`, see nlvm kernels (default: that of this machine's Debian release)")
	set.StringVar(&f.image, "image", kernel.Images[0].Name, "what is in the guest: `NAME` busybox (a shell and its tools), or tools\n(that, and iproute2, libnl-utils, strace, Python, ynl with our specifications)")
	set.IntVar(&f.smp, "smp", 1, "processors of the guest")
	set.IntVar(&f.mem, "mem", 512, "memory of the guest in `MiB`")
	set.BoolVar(&f.icount, "icount", false, "let the guest's clock count instructions (1 is 1 ns): slow, but figures repeat;\nthe kernel does not check its allocations then")
	set.StringVar(&f.append, "append", "", "more kernel `ARGUMENTS`")
	set.StringVar(&f.accel, "accel", os.Getenv("NLVM_ACCEL"), "auto, tcg or kvm; auto takes KVM if it has really booted our guest")
	set.BoolVar(&f.cold, "cold", false, "boot, instead of restoring a saved state")
	set.StringArrayVar(&f.puts, "put", nil, "copy a file or folder `HOST[:GUEST]` into the guest's working directory (repeatable)")
	set.StringVar(&f.putFrom, "put-from", "", "more of --put, a line each in `FILE`, which is read when the machine is there:\na pipe whose other end makes the files meanwhile")
	set.StringArrayVar(&f.modules, "kmod", nil, "load the kernel's own module `NAME` and what it depends on (repeatable)")
	set.StringArrayVar(&f.extras, "extra-module", nil, "build the module of folder `DIR` (here, or in nlpeer's source tree), load it after nlpeer,\nunload it before (repeatable)")
	set.BoolVar(&f.noModule, "no-module", false, "do not load nlpeer")
	set.BoolVar(&f.noCommands, "no-commands", false, "do not send our commands, nor build them")
	set.StringVar(&f.moduleArgs, "module-args", "", "`PARAMETERS` for nlpeer, such as \"interval_ms=10 groups=3\"")
	set.StringArrayVar(&f.env, "env", nil, "set an environment variable `NAME[=VALUE]` for the command; without VALUE, to ours (repeatable)")
	set.StringVar(&f.gcov, "gcov", "", "bring back how often lines of nlpeer and of extra modules were executed, with the\ncompiler's notes, into a new folder of the run's name in `FOLDER`, one for each module\nin it, for gcov or lcov (--kernel debug)")
	set.DurationVar(&f.timeout, "timeout", defaultTimeout, "time limit of the command, 0 for none; the boot and its beginning have their own")
}

// registerOn registers the flags on a command, with completion.
func (f *machineFlags) registerOn(cmd *cobra.Command) {
	f.register(cmd.Flags())
	for name, values := range map[string][]string{
		"kernel": kernel.Names(),
		"image":  kernel.ImageNames(),
		"accel":  {"auto", "tcg", "kvm"},
	} {
		// It fails only for a flag that is not there.
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.MarkFlagDirname("extra-module")
	_ = cmd.MarkFlagFilename("put-from")
}

func (f *machineFlags) check() error {
	switch {
	case f.smp < 1 || f.smp > 64:
		return fmt.Errorf("--smp %d: give a number from 1 to 64", f.smp)
	case f.mem < 128 || f.mem > 1<<20:
		return fmt.Errorf("--mem %d: give MiB, at least 128", f.mem)
	case f.icount && f.smp != 1:
		return errors.New("--icount needs --smp 1: instructions of one processor can be counted")
	case f.icount && f.accel == "kvm":
		return errors.New("--icount needs --accel tcg: KVM does not count instructions")
	case f.noModule && f.moduleArgs != "":
		return errors.New("--module-args without the module: drop it or --no-module")
	case f.noModule && f.gcov != "":
		return errors.New("--gcov without the module: drop it or --no-module")
	case f.timeout < 0:
		return fmt.Errorf("--timeout %v: give a positive time, or 0 for none", f.timeout)
	}
	_, err := kernel.FindImage(f.image)
	return err
}

// guestDir is the guest's working directory.
const guestDir = "/work"

// items translates what was given to a flag, such as --put.
func (f *machineFlags) items(flag string, puts []string) ([]tarball.Item, error) {
	var items []tarball.Item
	for _, p := range puts {
		host, guest := p, ""
		if _, err := os.Lstat(p); err != nil {
			// Not a file of that name, colon included.
			if i := strings.LastIndexByte(p, ':'); i >= 0 {
				host, guest = p[:i], p[i+1:]
			}
		}
		if host == "" {
			return nil, fmt.Errorf("%s %q: names no file", flag, p)
		}
		if _, err := os.Stat(host); err != nil {
			return nil, fmt.Errorf("%s %s: %w", flag, p, err)
		}
		abs, err := filepath.Abs(host)
		if err != nil {
			return nil, err
		}
		if guest == "" || strings.HasSuffix(guest, "/") {
			guest += filepath.Base(abs)
		}
		if !path.IsAbs(guest) {
			guest = path.Join(guestDir, guest)
		}
		items = append(items, tarball.Item{Source: host, Name: path.Clean(guest)[1:]})
	}
	size, err := totalSize(items)
	if err != nil {
		return nil, err
	}
	// The guest's files are in its memory. What is only just too much is found
	// out there.
	if size>>20 >= int64(f.mem) {
		return nil, fmt.Errorf("%s: %d MiB do not fit into a guest of %d MiB; give it more with --mem", flag, size>>20, f.mem)
	}
	return items, nil
}

// itemsFrom translates --put-from. It may have to wait for them.
func (f *machineFlags) itemsFrom(ctx context.Context) ([]tarball.Item, error) {
	if f.putFrom == "" {
		return nil, nil
	}
	file, err := os.Open(f.putFrom)
	if err != nil {
		return nil, fmt.Errorf("--put-from: %w", err)
	}
	defer file.Close()
	// Ends the wait for a pipe.
	defer context.AfterFunc(ctx, func() { file.Close() })()
	text, err := io.ReadAll(file)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("--put-from: %w", err)
	}
	lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
	return f.items("--put-from "+f.putFrom+":", lines)
}

func totalSize(items []tarball.Item) (int64, error) {
	var total int64
	for _, i := range items {
		source, err := filepath.EvalSymlinks(i.Source)
		if err != nil {
			return 0, err
		}
		err = filepath.WalkDir(source, func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				total += info.Size()
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// changedFlags are the flags that were given, to be passed on to another nlvm.
func changedFlags(set *pflag.FlagSet) []string {
	var args []string
	set.Visit(func(fl *pflag.Flag) {
		if many, ok := fl.Value.(pflag.SliceValue); ok {
			for _, v := range many.GetSlice() {
				args = append(args, "--"+fl.Name+"="+v)
			}
			return
		}
		args = append(args, "--"+fl.Name+"="+fl.Value.String())
	})
	return args
}
