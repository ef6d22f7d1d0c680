// SPDX-License-Identifier: MIT

package artifacts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/tarball"
)

// ynlScript calls the kernel's tool as its own installation would.
const ynlScript = `#!/bin/sh
exec python3 /usr/lib/ynl/pyynl/cli.py "$@"
`

// ynlItems says where the parts of what buildYNL makes belong in the guest: its
// own code, and the specifications where it looks for a --family.
func ynlItems(dir string) []tarball.Item {
	return []tarball.Item{
		{Source: filepath.Join(dir, "lib"), Name: "usr/lib/ynl"},
		{Source: filepath.Join(dir, "share"), Name: "usr/share/ynl"},
		{Source: filepath.Join(dir, "ynl"), Name: "usr/bin/ynl"},
	}
}

// buildYNL puts the kernel's tool for netlink specifications together with the
// kernel's specifications and ours, and returns the folder in the cache.
func buildYNL(ctx context.Context, c *cache.Cache, source string, u kernel.Userland, p *kernel.Progress) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(source, "tools/ynl"))
	// Also what it has started, which may download for minutes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if p != nil && p.W != nil {
		cmd.Stderr = p.W // it says what it downloads
	}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the kernel's netlink tools are missing: tools/ynl: %w %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	linux := strings.TrimSpace(string(out))

	temp, err := c.TempDir("ynl")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(temp, "ynl")
	for _, part := range []struct{ from, to string }{
		{filepath.Join(linux, "tools/net/ynl/pyynl"), "lib/pyynl"},
		{filepath.Join(linux, "Documentation/netlink"), "share"},
		{filepath.Join(source, "spec"), "share/specs"},
	} {
		if err := copySources(filepath.Join(dir, part.to), part.from, []string{"."}); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ynl"), []byte(ynlScript), 0o755); err != nil {
		return "", err
	}
	if err := u.CompilePython(ctx, filepath.Join(dir, "lib"), filepath.Join(dir, "lib"), p); err != nil {
		return "", err
	}
	return keep(c, dir)
}
