// SPDX-License-Identifier: MIT

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
)

const probeLimit = 20 * time.Second

// chooseAccel decides between KVM and TCG. That /dev/kvm exists and opens says
// nothing (QEMU may abort a moment later), so KVM is used only after it booted
// our own guest to the agent. The verdict holds until the host is rebooted or
// QEMU replaced.
func chooseAccel(ctx context.Context, c *cache.Cache, g artifacts.Guest, o Options) (qemu.Accel, error) {
	switch o.Accel {
	case "tcg":
		return qemu.TCG, nil
	case "kvm":
		return qemu.KVM, nil
	case "", "auto":
	default:
		return "", fmt.Errorf("unknown accelerator %q; known are: auto, tcg, kvm", o.Accel)
	}
	if o.ICount { // KVM cannot count instructions
		return qemu.TCG, nil
	}
	if g.Kernel.Arch != kernel.HostArch() {
		return qemu.TCG, nil
	}
	dev, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return qemu.TCG, nil
	}
	dev.Close()

	identity, err := qemu.Identity(g.Kernel.Arch)
	if err != nil {
		return "", err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return qemu.TCG, nil
	}
	sum := sha256.Sum256([]byte(identity + string(bootID)))
	verdict := c.Path("accel", hex.EncodeToString(sum[:16]))
	if b, err := os.ReadFile(verdict); err == nil {
		return qemu.Accel(b), nil
	}
	accel := qemu.TCG
	if kvmBoots(ctx, g, o) {
		accel = qemu.KVM
	} else if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return accel, replaceAll(c, verdict, string(accel))
}

func kvmBoots(ctx context.Context, g artifacts.Guest, o Options) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	m, err := boot(ctx, qemu.Config{
		Arch: g.Kernel.Arch, Kernel: g.Kernel.Image(), Initrd: g.Initrd, SMP: 1, MemMiB: o.MemMiB, Accel: qemu.KVM,
	}, g, Options{})
	if err != nil {
		return false
	}
	defer m.Close()
	return m.resume(ctx) == nil
}

// replaceAll writes a file whose older siblings are worth nothing any more.
func replaceAll(c *cache.Cache, file, content string) error {
	temp, err := c.TempDir("accel")
	if err != nil {
		return err
	}
	fresh := filepath.Join(temp, "verdict")
	if err := os.WriteFile(fresh, []byte(content), 0o644); err != nil {
		return err
	}
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	for _, o := range old {
		_ = os.Remove(o)
	}
	return cache.Commit(fresh, file)
}
