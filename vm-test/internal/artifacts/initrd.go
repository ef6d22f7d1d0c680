// SPDX-License-Identifier: MIT

package artifacts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cavaliergopher/cpio"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/kmod"
)

// drivers make the virtio-serial port appear. Debian has them as modules.
var drivers = []string{"virtio_pci", "virtio_console"}

// buildInitrd packs the guest's first file system: the agent as /init, busybox,
// and the drivers with the order to load them in. It is not compressed: what
// the emulated processor saves in copying it would pay in unpacking.
func buildInitrd(c *cache.Cache, k kernel.Unpacked, agent, busybox string) (string, error) {
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
	for _, dir := range []string{"bin", "sbin", "usr", "usr/bin", "usr/sbin", "modules"} {
		add(dir, cpio.TypeDir|0o755, nil)
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
