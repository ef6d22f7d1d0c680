// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nlpeer/vm-test/internal/cache"
)

// Unpacked is a kernel that is ready to be booted and built for.
type Unpacked struct {
	Kernel
	Root    string // of the unpacked packages
	Version string // as uname -r says it
	Package string // the version of Debian's package
}

// stamp is the file that says that a folder is complete. It is part of what is
// renamed into place, and so is never there too early.
const stamp = "nlvm.json"

// Lookup returns the kernel if it is in the cache already.
func Lookup(c *cache.Cache, k Kernel) (Unpacked, error) {
	folder, err := k.folder()
	if err != nil {
		return Unpacked{}, err
	}
	root := c.Path("kernels", folder)
	b, err := os.ReadFile(filepath.Join(root, stamp))
	if err != nil {
		return Unpacked{}, err
	}
	u := Unpacked{Kernel: k, Root: root}
	if err := json.Unmarshal(b, &u); err != nil {
		return Unpacked{}, fmt.Errorf("%s: %w", root, err)
	}
	u.Kernel, u.Root = k, root
	return u, nil
}

// Get returns the kernel, and downloads it if it is not in the cache.
// One that is there needs no network.
func Get(ctx context.Context, c *cache.Cache, k Kernel, p *Progress) (Unpacked, error) {
	if u, err := Lookup(c, k); err == nil {
		return u, nil
	}
	if k.FromSource() {
		return getBuilt(ctx, c, k, p)
	}
	l, err := c.Lock(ctx, "apt-"+k.Suite+"-"+k.Arch, func() {
		p.Start("waiting for another nlvm that downloads")
	})
	if err != nil {
		return Unpacked{}, err
	}
	defer l.Unlock()
	if u, err := Lookup(c, k); err == nil {
		return u, nil
	}
	return download(ctx, c, k, p)
}

// download resolves, downloads and unpacks.
func download(ctx context.Context, c *cache.Cache, k Kernel, p *Progress) (Unpacked, error) {
	a, err := openApt(c, k.Suite, k.Arch, p)
	if err != nil {
		return Unpacked{}, err
	}
	var u Unpacked
	err = a.withLists(ctx, func() (err error) {
		u, err = tryDownload(ctx, c, a, k)
		return err
	})
	return u, err
}

// ours are the packages that make up a kernel and what it is built with. The
// rest of their dependencies is for installing: compilers, initramfs tools, firmware.
var ours = regexp.MustCompile(`^linux-((image|binary|modules|headers)-|base-[0-9])`)

// buildTools are the packages of programs that are executed when a module is built.
var buildTools = regexp.MustCompile(`^linux-kbuild-`)

// libraries are the packages that build tools are linked with.
var libraries = regexp.MustCompile(`^(lib|zlib)`)

func tryDownload(ctx context.Context, c *cache.Cache, a *apt, k Kernel) (Unpacked, error) {
	var tools []string
	packages, err := a.closure(ctx, func(name string) bool {
		if buildTools.MatchString(name) {
			tools = append(tools, name)
		}
		return ours.MatchString(name)
	}, k.Image, k.Headers)
	if err != nil {
		return Unpacked{}, err
	}
	u := Unpacked{Kernel: k}
	for _, pk := range packages {
		v, ok := strings.CutPrefix(pk.Name, "linux-image-")
		if ok && pk.Name != k.Image {
			u.Version, u.Package = v, pk.Version
		}
	}
	if u.Version == "" {
		return Unpacked{}, fmt.Errorf("package %s names no kernel", k.Image)
	}
	temp, err := unpackAll(ctx, c, a, "kernel "+u.Version, packages)
	if err != nil {
		return Unpacked{}, err
	}
	if err := fetchTools(ctx, c, a, k, tools, temp); err != nil {
		return Unpacked{}, err
	}
	final := c.Path("kernels", k.Name+"-"+k.Arch)
	if err := prepareBuild(temp, u.Version, final); err != nil {
		return Unpacked{}, err
	}
	if k.OwnLibs {
		if err := wrapTools(temp, final); err != nil {
			return Unpacked{}, err
		}
	}
	if err := seal(temp, u); err != nil {
		return Unpacked{}, err
	}
	if err := cache.Commit(temp, final); err != nil {
		return Unpacked{}, err
	}
	return Lookup(c, k)
}

// fetchTools adds the build tools to a kernel in root. They run on this machine,
// so they are of its architecture, whatever the kernel's is.
func fetchTools(ctx context.Context, c *cache.Cache, a *apt, k Kernel, tools []string, root string) error {
	host := HostArch()
	get := func(a *apt) error {
		want := func(name string) bool { return k.OwnLibs && libraries.MatchString(name) }
		packages, err := a.closure(ctx, want, tools...)
		if err != nil {
			return err
		}
		downloads, err := c.TempDir("download")
		if err != nil {
			return err
		}
		return a.fetch(ctx, "its build tools", packages, downloads, root)
	}
	if k.Arch == host {
		return get(a)
	}
	// Never the other way round, so two of these do not wait for each other.
	l, err := c.Lock(ctx, "apt-"+k.Suite+"-"+host, func() { a.progress.Start("waiting for another nlvm that downloads") })
	if err != nil {
		return err
	}
	defer l.Unlock()
	b, err := openApt(c, k.Suite, host, a.progress)
	if err != nil {
		return err
	}
	return b.withLists(ctx, func() error { return get(b) })
}

// wrapTools makes each build tool in root a script that executes it with the
// libraries that were unpacked beside it. At the end they are in final. A tool
// that calls others of its name finds the scripts, by the name it is given.
func wrapTools(root, final string) error {
	find := func(pattern string) (string, error) {
		for _, dir := range []string{"", "usr"} {
			if found, err := filepath.Glob(filepath.Join(root, dir, pattern)); err != nil || len(found) > 0 {
				return final + strings.TrimPrefix(found[0], root), err
			}
		}
		return "", fmt.Errorf("no %s among the libraries of the build tools", pattern)
	}
	linker, err := find("lib*/*/ld-linux-*.so.*")
	if err != nil {
		return err
	}
	libraries := filepath.Dir(linker)
	homes, err := filepath.Glob(filepath.Join(root, "usr/lib/linux-kbuild-*"))
	if err != nil {
		return err
	}
	for _, home := range homes {
		err := filepath.WalkDir(home, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if ok, err := isDynamic(p); err != nil || !ok {
				return err
			}
			if err := os.Rename(p, p+".bin"); err != nil {
				return err
			}
			script := fmt.Sprintf("#!/bin/sh\nexec %s --argv0 \"$0\" --library-path %s %s \"$@\"\n", linker, libraries, final+strings.TrimPrefix(p, root)+".bin")
			return os.WriteFile(p, []byte(script), 0o755)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// isDynamic reports whether a file is a program that needs a dynamic linker.
func isDynamic(file string) (bool, error) {
	f, err := elf.Open(file)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}

func unpackAll(ctx context.Context, c *cache.Cache, a *apt, what string, packages []pkg) (string, error) {
	temp, err := c.TempDir("unpack")
	if err != nil {
		return "", err
	}
	downloads, err := c.TempDir("download")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	return temp, a.fetch(ctx, what, packages, downloads, temp)
}

// seal writes the stamp.
func seal(dir string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stamp), b, 0o644)
}

// sourcePath is the place of the headers in a line of their Makefile.
var sourcePath = regexp.MustCompile(`([ =])/usr/src/`)

// prepareBuild makes the headers usable at the place where they will be,
// instead of in /usr/src, where an installation would put them.
func prepareBuild(temp, version, final string) error {
	makefile := filepath.Join(temp, "usr/src/linux-headers-"+version, "Makefile")
	b, err := os.ReadFile(makefile)
	if err != nil {
		return err
	}
	fixed := sourcePath.ReplaceAll(b, []byte("${1}"+final+"/usr/src/"))
	return os.WriteFile(makefile, fixed, 0o644)
}

// Image is the path of the bootable kernel.
func (u Unpacked) Image() string {
	return u.first("boot/vmlinuz-"+u.Version, "usr/lib/modules/"+u.Version+"/vmlinuz")
}

// Modules is the folder of the kernel's own modules.
func (u Unpacked) Modules() string {
	return u.first("lib/modules/"+u.Version+"/kernel/..", "usr/lib/modules/"+u.Version+"/kernel/..")
}

// BuildDir is the folder to give to make -C when building a module.
func (u Unpacked) BuildDir() string {
	return filepath.Join(u.Root, "usr/src/linux-headers-"+u.Version)
}

// first returns the first of the paths that exists. From Linux 7 on Debian
// splits the package and moves its files.
func (u Unpacked) first(rel ...string) string {
	for _, r := range rel {
		if p := filepath.Join(u.Root, r); exists(p) {
			return p
		}
	}
	return filepath.Join(u.Root, rel[0])
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
