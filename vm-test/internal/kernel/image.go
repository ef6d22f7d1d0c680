// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"nlpeer/vm-test/internal/cache"
)

// Image is what a guest's file system has besides busybox and our commands.
type Image struct {
	Name     string   // what a person types after --image
	Suite    string   // Debian release that packages are taken from, with its updates
	Packages []string // with all they depend on; none for busybox alone
	Shell    string   // for a person at a terminal
	YNL      bool     // the kernel's tool for netlink specifications, which no package has
}

// Images lists all images that nlvm knows; the first is the default. The
// packages are there to be executed, not installed: no script of theirs runs.
var Images = []Image{
	{Name: "busybox", Shell: "sh"},
	// Other people's programs that speak netlink. The shells are there because
	// busybox's takes its own ip before any on the PATH.
	{
		Name: "tools", Suite: "bookworm", Shell: "bash", YNL: true,
		Packages: []string{"dash", "bash", "iproute2", "libnl-utils", "strace", "python3-yaml", "python3-jsonschema"},
	},
}

// ErrUnknownImage is returned for a name that is not in the list.
var ErrUnknownImage = errors.New("unknown image")

// FindImage returns the image of that name.
func FindImage(name string) (Image, error) {
	for _, i := range Images {
		if i.Name == name {
			return i, nil
		}
	}
	return Image{}, fmt.Errorf("%w %q; known are: %s", ErrUnknownImage, name, strings.Join(ImageNames(), ", "))
}

// ImageNames are the names of all images.
func ImageNames() []string {
	var names []string
	for _, i := range Images {
		names = append(names, i.Name)
	}
	return names
}

// installers are dependencies that only an installation needs.
var installers = []string{"base-files", "debconf", "dpkg"}

// pruned is what packages bring along that no program here opens: half of all.
var pruned = []string{
	"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/pixmaps",
	"usr/share/bash-completion", "usr/lib/*/gconv",
}

// Userland is an image's packages, unpacked.
type Userland struct {
	Root string // "" if there are none
	// Native is the root of the same image for this machine's architecture:
	// programs there can be executed.
	Native string
}

// Get returns the image's packages for arch, and downloads them if they are
// not in the cache. Those that are there need no network.
func (i Image) Get(ctx context.Context, c *cache.Cache, arch string, p *Progress) (Userland, error) {
	if len(i.Packages) == 0 {
		return Userland{}, nil
	}
	native := Userland{}
	if arch != HostArch() {
		var err error
		if native, err = i.Get(ctx, c, HostArch(), p); err != nil {
			return Userland{}, err
		}
	}
	// Another recipe is another folder.
	recipe := sha256.Sum256(fmt.Append(nil, i.Suite, i.Packages, installers, pruned))
	final := c.Path("images", i.Name+"-"+arch+"-"+hex.EncodeToString(recipe[:8]))
	if exists(filepath.Join(final, stamp)) {
		return userland(final, native), nil
	}
	l, err := c.Lock(ctx, "apt-"+i.Suite+"-"+arch, func() {
		p.Start("waiting for another nlvm that downloads")
	})
	if err != nil {
		return Userland{}, err
	}
	defer l.Unlock()
	if exists(filepath.Join(final, stamp)) {
		return userland(final, native), nil
	}
	a, err := openApt(c, i.Suite, arch, p)
	if err != nil {
		return Userland{}, err
	}
	err = a.withLists(ctx, func() error {
		wanted := func(name string) bool { return !slices.Contains(installers, name) }
		packages, err := a.closure(ctx, wanted, i.Packages...)
		if err != nil {
			return err
		}
		temp, err := unpackAll(ctx, c, a, fmt.Sprintf("image %s (%d packages)", i.Name, len(packages)), packages)
		if err != nil {
			return err
		}
		if err := prune(temp); err != nil {
			return err
		}
		if err := userland(temp, native).CompilePython(ctx, temp, filepath.Join(temp, "usr/lib"), p); err != nil {
			return err
		}
		if err := seal(temp, packages); err != nil {
			return err
		}
		return cache.Commit(temp, final)
	})
	return userland(final, native), err
}

// userland is what lies in root; native is the image of this machine's
// architecture, if that is another one.
func userland(root string, native Userland) Userland {
	if native.Root == "" {
		native.Root = root
	}
	return Userland{Root: root, Native: native.Root}
}

func prune(root string) error {
	for _, pattern := range pruned {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// CompilePython translates the Python modules below dir for the image's own
// Python, which an installation would do too: an emulated processor spends
// four seconds on it at each start of a program. root is the part of their
// paths that the guest does not see. The translator is the image's as well,
// with its own libraries; this machine's Python may be another, or none. What it
// makes is the same on all architectures.
func (u Userland) CompilePython(ctx context.Context, root, dir string, p *Progress) error {
	find := func(pattern string) (string, error) {
		found, err := filepath.Glob(filepath.Join(u.Native, pattern))
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("%d files %s in %s, want one", len(found), pattern, u.Native)
		}
		if err != nil {
			return "", err
		}
		return found[0], nil
	}
	python, err := find("usr/bin/python3.[0-9]*")
	if err != nil {
		return err
	}
	linker, err := find("lib/*/ld-linux-*.so.*")
	if err != nil {
		return err
	}
	libraries, err := find("usr/lib/*-linux-gnu")
	if err != nil {
		return err
	}
	done := p.Start("compiling Python modules")
	// By the sources' hashes, not their times, which an initramfs loses; -B
	// keeps the translator's own imports from leaving the other kind.
	cmd := exec.CommandContext(ctx, linker, "--library-path", filepath.Dir(linker)+":"+libraries, python, "-I", "-B", "-m", "compileall",
		"-q", "-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the image's Python modules: %w: %s", err, bytes.TrimSpace(out))
	}
	done("")
	return nil
}
