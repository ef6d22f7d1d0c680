// SPDX-License-Identifier: MIT

package artifacts

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cavaliergopher/cpio"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/kmod"
	"nlpeer/vm-test/internal/tarball"
)

// drivers make the virtio-serial port appear. Debian has them as modules; the
// bus of s390x is part of its kernels.
var drivers = []string{"virtio_pci", "virtio_console"}

// merged are the folders that are links to those of the same name in /usr.
var merged = []string{"bin", "sbin", "lib", "lib64"}

// buildInitrd packs the guest's first file system: the agent as /init, busybox,
// the drivers with the order to load them in, and what the image has besides.
// It is not compressed: what the emulated processor saves in copying it would
// pay in unpacking.
func buildInitrd(c *cache.Cache, k kernel.Unpacked, agent, busybox string, u kernel.Userland) (string, error) {
	tree, err := kmod.OpenTree(k.Modules())
	if err != nil {
		return "", err
	}
	modules, err := tree.Order(drivers...)
	if err != nil {
		return "", err
	}

	var archive bytes.Buffer
	w := cpio.NewWriter(&archive)
	add := func(name string, mode cpio.FileMode, content []byte) {
		if err == nil {
			err = w.WriteHeader(&cpio.Header{Name: name, Mode: mode, Size: int64(len(content)), Links: 1})
		}
		if err == nil {
			_, err = w.Write(content)
		}
	}
	addFile := func(name string, mode cpio.FileMode, source string) {
		content, rerr := os.ReadFile(source)
		if err == nil {
			err = rerr
		}
		add(name, mode, content)
	}
	for _, dir := range []string{"usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "modules"} {
		add(dir, cpio.TypeDir|0o755, nil)
	}
	// As on an installed Debian, where packages still have files in either.
	for _, dir := range merged {
		add(dir, cpio.TypeSymlink|0o777, []byte("usr/"+dir))
	}
	if err == nil {
		err = addTree(add, u.Root)
	}
	addFile("init", cpio.TypeReg|0o755, agent)
	addFile("bin/busybox", cpio.TypeReg|0o755, busybox)
	var order bytes.Buffer
	for _, m := range modules {
		fmt.Fprintln(&order, filepath.Base(m))
		addFile("modules/"+filepath.Base(m), cpio.TypeReg|0o644, m)
	}
	add("modules/order", cpio.TypeReg|0o644, order.Bytes())
	if err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}

	temp, err := c.TempDir("initrd")
	if err != nil {
		return "", err
	}
	file := filepath.Join(temp, "initrd.cpio")
	if err := os.WriteFile(file, archive.Bytes(), 0o644); err != nil {
		return "", err
	}
	return keep(c, file)
}

// addTree adds what is below root, "" for nothing. Owners, times and hard links
// are not kept.
func addTree(add func(name string, mode cpio.FileMode, content []byte), root string) error {
	if root == "" {
		return nil
	}
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil || name == "." || slices.Contains(merged, name) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := cpio.FileMode(info.Mode().Perm())
		var content []byte
		switch info.Mode().Type() {
		case fs.ModeDir:
			mode |= cpio.TypeDir
		case fs.ModeSymlink:
			var to string
			to, err = os.Readlink(p)
			mode, content = mode|cpio.TypeSymlink, []byte(to)
		case 0:
			mode |= cpio.TypeReg
			content, err = os.ReadFile(p)
		default:
			err = fmt.Errorf("%s: %w", p, tarball.ErrKind)
		}
		if err == nil {
			add(name, mode, content)
		}
		return err
	})
}
