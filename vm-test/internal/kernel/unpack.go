// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// ours are the packages that make up a kernel and its build tools. The rest of
// their dependencies is for installing: compilers, initramfs tools, firmware.
var ours = regexp.MustCompile(`^linux-(image|binary|modules|headers|kbuild)-`)

func tryDownload(ctx context.Context, c *cache.Cache, a *apt, k Kernel) (Unpacked, error) {
	packages, err := a.closure(ctx, ours.MatchString, k.Image, k.Headers)
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
	final := c.Path("kernels", k.Name+"-"+k.Arch)
	if err := prepareBuild(temp, u.Version, final); err != nil {
		return Unpacked{}, err
	}
	if err := seal(temp, u); err != nil {
		return Unpacked{}, err
	}
	if err := cache.Commit(temp, final); err != nil {
		return Unpacked{}, err
	}
	return Lookup(c, k)
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

// prepareBuild makes the headers usable at the place where they will be,
// instead of in /usr/src, where an installation would put them.
func prepareBuild(temp, version, final string) error {
	makefile := filepath.Join(temp, "usr/src/linux-headers-"+version, "Makefile")
	b, err := os.ReadFile(makefile)
	if err != nil {
		return err
	}
	fixed := strings.ReplaceAll(string(b), " /usr/src/", " "+final+"/usr/src/")
	return os.WriteFile(makefile, []byte(fixed), 0o644)
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
