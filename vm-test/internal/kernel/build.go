// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"nlpeer/vm-test/internal/cache"
)

// commonConfig is what the configurations of all kernels that are built here
// begin with.
//
//go:embed common.config
var commonConfig string

//go:embed debug.config
var debugConfig string

//go:embed races.config
var racesConfig string

// How a kernel is built here, and what it is told when it boots.
type made struct {
	config   string
	make     []string // more words for make
	append   string   // to the command line
	coverage bool     // it can say what code of a module was reached
	slow     int      // how much longer than others it may take
}

// fromSource are the kernels that are built here, by name.
var fromSource = map[string]made{
	"debug": {
		config:   debugConfig,
		append:   "slub_debug=-", // KASAN finds the same, and more, in less time
		coverage: true,
		slow:     4,
	},
	"races": {
		config: racesConfig,
		make:   []string{"KCSAN_SANITIZE=n"}, // for the kernel itself; modules are built without the word
		slow:   2,
	},
}

// whole is all of the configuration.
func (m made) whole(name string) string {
	return strings.ReplaceAll(commonConfig, "@NAME@", name) + m.config
}

// FromSource says that the kernel is built here: its package is the kernel's
// source, and there are no headers for what does not exist yet.
func (k Kernel) FromSource() bool { return k.Headers == "" }

// Coverage says that the kernel can say what code of a module was reached.
func (k Kernel) Coverage() bool { return fromSource[k.Name].coverage }

// Slow is how many times longer than on the others something may take.
func (k Kernel) Slow() int { return max(1, fromSource[k.Name].slow) }

// Append is what the kernel is told on its command line besides what all are.
func (k Kernel) Append() string { return fromSource[k.Name].append }

// folder is the kernel's place in the cache. One that is built has its recipe
// in the name: another configuration or compiler is another kernel.
func (k Kernel) folder() (string, error) {
	name := k.Name + "-" + k.Arch
	if !k.FromSource() {
		return name, nil
	}
	r, err := k.recipe()
	return name + "-" + r[:16], err
}

// recipe is a hash over what is done with the source. Comments are nothing to it.
func (k Kernel) recipe() (string, error) {
	out, err := exec.Command("gcc", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("gcc is not installed, and the kernel %q is built here; try: tools/deps debug", k.Name)
	}
	compiler, _, _ := strings.Cut(string(out), "\n")
	m := fromSource[k.Name]
	h := sha256.New()
	fmt.Fprintln(h, compiler, m.make)
	for line := range strings.Lines(m.whole(k.Name)) {
		if strings.HasPrefix(line, "CONFIG_") {
			io.WriteString(h, line)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sourceTools are the programs that a kernel is built with, and one header that
// stands for a library.
var sourceTools = []string{"make", "gcc", "flex", "bison", "bc", "xz", "tar"}

const elfHeader = "/usr/include/libelf.h"

// getBuilt returns a kernel that is made from source, and makes it if it is not
// in the cache.
func getBuilt(ctx context.Context, c *cache.Cache, k Kernel, p *Progress) (Unpacked, error) {
	folder, err := k.folder()
	if err != nil {
		return Unpacked{}, err
	}
	l, err := c.Lock(ctx, "kernel-"+folder, func() { p.Start("waiting for another nlvm that builds this kernel") })
	if err != nil {
		return Unpacked{}, err
	}
	defer l.Unlock()
	if u, err := Lookup(c, k); err == nil {
		return u, nil
	}
	for _, tool := range sourceTools {
		if _, err := exec.LookPath(tool); err != nil {
			return Unpacked{}, fmt.Errorf("%s is not installed, and the kernel %q is built here; try: tools/deps debug", tool, k.Name)
		}
	}
	if !exists(elfHeader) {
		return Unpacked{}, fmt.Errorf("%s is missing, and the kernel %q is built here; try: tools/deps debug", elfHeader, k.Name)
	}

	source, version, err := downloadSource(ctx, c, k, p)
	if err != nil {
		return Unpacked{}, err
	}
	return compile(ctx, c, k, source, version, p)
}

// compile builds the kernel in the tree of its source, of a package of that
// version, and moves what is needed of it into the cache.
func compile(ctx context.Context, c *cache.Cache, k Kernel, source, version string, p *Progress) (Unpacked, error) {
	b := &build{ctx: ctx, kernel: k, dir: source, log: c.Path("kernel-build.log")}
	done := p.Start("building the kernel %q from %s %s, which takes some 20 minutes and is done once", k.Name, k.Image, version)
	release, err := b.all()
	if err != nil {
		return Unpacked{}, err
	}
	done("")
	root, err := c.TempDir("kernel")
	if err != nil {
		return Unpacked{}, err
	}
	if err := b.install(root, release); err != nil {
		return Unpacked{}, err
	}
	sum, err := k.recipe()
	if err != nil {
		return Unpacked{}, err
	}
	// What is built for the kernel is kept under its version, so that has to
	// tell kernels of the same source apart.
	if err := seal(root, Unpacked{Kernel: k, Version: release, Package: version + "+" + sum[:8]}); err != nil {
		return Unpacked{}, err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return Unpacked{}, err
	}
	folder, err := k.folder()
	if err != nil {
		return Unpacked{}, err
	}
	if err := cache.Commit(root, c.Path("kernels", folder)); err != nil {
		return Unpacked{}, err
	}
	return Lookup(c, k)
}

// downloadSource unpacks the source package and returns the tree in it and the
// package's version.
func downloadSource(ctx context.Context, c *cache.Cache, k Kernel, p *Progress) (dir, version string, err error) {
	l, err := c.Lock(ctx, "apt-"+k.Suite+"-"+k.Arch, func() { p.Start("waiting for another nlvm that downloads") })
	if err != nil {
		return "", "", err
	}
	defer l.Unlock()
	a, err := openApt(c, k.Suite, k.Arch, p)
	if err != nil {
		return "", "", err
	}
	var root string
	err = a.withLists(ctx, func() error {
		packages, err := a.closure(ctx, nothing, k.Image)
		if err != nil {
			return err
		}
		version = packages[0].Version
		root, err = unpackAll(ctx, c, a, k.Image, packages)
		return err
	})
	if err != nil {
		return "", "", err
	}
	done := p.Start("unpacking the kernel's source")
	archive := filepath.Join(root, "usr/src", k.Image+".tar.xz")
	if out, err := exec.CommandContext(ctx, "tar", "-xJf", archive, "-C", root).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("cannot unpack %s: %w: %s", archive, err, bytes.TrimSpace(out))
	}
	done("")
	return filepath.Join(root, k.Image), version, os.Remove(archive)
}

// build is a kernel in the making.
type build struct {
	ctx    context.Context
	kernel Kernel
	dir    string // of the source
	log    string // a file for the output
}

// all configures and compiles, and returns the release as uname says it.
func (b *build) all() (string, error) {
	log, err := os.Create(b.log)
	if err != nil {
		return "", err
	}
	defer log.Close()
	fragment := filepath.Join(b.dir, "nlvm.config")
	m := fromSource[b.kernel.Name]
	want := m.whole(b.kernel.Name)
	if err := os.WriteFile(fragment, []byte(want), 0o644); err != nil {
		return "", err
	}
	if err := b.make(log, "KCONFIG_ALLCONFIG="+fragment, "allnoconfig"); err != nil {
		return "", err
	}
	config, err := os.ReadFile(filepath.Join(b.dir, ".config"))
	if err != nil {
		return "", err
	}
	if lost := vanished(string(config), want); len(lost) > 0 {
		return "", fmt.Errorf("the kernel's configuration has not kept %s; something that these need is off, or the source has no such option",
			strings.Join(lost, ", "))
	}
	if err := b.make(log, append(slices.Clone(m.make), fmt.Sprintf("-j%d", runtime.NumCPU()), "bzImage", "modules")...); err != nil {
		return "", err
	}
	release, err := os.ReadFile(filepath.Join(b.dir, "include/config/kernel.release"))
	return strings.TrimSpace(string(release)), err
}

func (b *build) make(log *os.File, args ...string) error {
	cmd := exec.CommandContext(b.ctx, "make", append([]string{"-C", b.dir, "CC=gcc"}, args...)...)
	// Called from a Makefile, its variables must not reach this build. With a
	// date of its own, each build of the same source would be another kernel.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=", "KBUILD_BUILD_TIMESTAMP=@0", "KBUILD_BUILD_USER=nlvm", "KBUILD_BUILD_HOST=nlvm")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(b.ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("the kernel does not build: make %s: %w (log: %s)", args[len(args)-1], err, b.log)
	}
	return nil
}

// vanished returns the lines of want that are not so in config.
func vanished(config, want string) []string {
	set := make(map[string]string)
	for line := range strings.Lines(config) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "CONFIG_") {
			set[name] = value
		}
	}
	var lost []string
	for line := range strings.Lines(want) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !strings.HasPrefix(name, "CONFIG_") {
			continue
		}
		got := set[name]
		if got == "" {
			got = "n"
		}
		if got != value {
			lost = append(lost, name+"="+value)
		}
	}
	return lost
}

// kept is what modules are built with, of the whole tree.
var kept = []string{
	"Makefile", "Kbuild", ".config", "Module.symvers", "System.map", "include", "scripts",
	"arch/x86/Makefile", "arch/x86/Makefile_32.cpu", "arch/x86/Kbuild", "arch/x86/include", "tools/objtool/objtool",
}

// install lays the finished kernel out below root as Debian's packages do.
func (b *build) install(root, release string) error {
	log, err := os.OpenFile(b.log, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	// Without depmod: the order of modules is found by nlvm itself.
	if err := b.make(log, "INSTALL_MOD_PATH="+root, "DEPMOD=true", "modules_install"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(root, "lib/modules", release, "build")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	moves := map[string]string{"arch/x86/boot/bzImage": "boot/vmlinuz-" + release}
	for _, name := range kept {
		moves[name] = filepath.Join("usr/src/linux-headers-"+release, name)
	}
	for from, to := range moves {
		to = filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(b.dir, from), to); err != nil {
			return err
		}
	}
	return nil
}
