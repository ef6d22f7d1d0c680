// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"os"
	"path/filepath"

	"nlpeer/vm-test/internal/cache"
)

// busyboxSuite is the release that the guest's tools are taken from, whatever
// kernel is booted: they are static and need nothing of it.
const busyboxSuite = "bookworm"

// Busybox returns the path of a static busybox for arch, and downloads it if
// it is not in the cache.
func Busybox(ctx context.Context, c *cache.Cache, arch string, p *Progress) (string, error) {
	final := c.Path("busybox", arch)
	find := func() (string, bool) {
		for _, rel := range []string{"bin/busybox", "usr/bin/busybox"} {
			if f := filepath.Join(final, rel); exists(filepath.Join(final, stamp)) && exists(f) {
				return f, true
			}
		}
		return "", false
	}
	if f, ok := find(); ok {
		return f, nil
	}
	l, err := c.Lock(ctx, "apt-"+busyboxSuite+"-"+arch, func() {
		p.Start("waiting for another nlvm that downloads")
	})
	if err != nil {
		return "", err
	}
	defer l.Unlock()
	if f, ok := find(); ok {
		return f, nil
	}
	a, err := openApt(c, busyboxSuite, arch, p)
	if err != nil {
		return "", err
	}
	err = a.withLists(ctx, func() error {
		packages, err := a.closure(ctx, nothing, "busybox-static")
		if err != nil {
			return err
		}
		temp, err := unpackAll(ctx, c, a, "busybox", packages)
		if err != nil {
			return err
		}
		if err := seal(temp, packages[0]); err != nil {
			return err
		}
		return cache.Commit(temp, final)
	})
	if err != nil {
		return "", err
	}
	f, ok := find()
	if !ok {
		return "", os.ErrNotExist
	}
	return f, nil
}

// nothing is wanted besides the package itself.
func nothing(string) bool { return false }
