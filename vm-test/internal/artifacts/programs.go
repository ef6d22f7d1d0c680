// SPDX-License-Identifier: MIT

package artifacts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// commands are put on the guest's PATH, as far as they exist. Nlbench is large and
// brings itself.
var commands = []string{"nlecho", "nlsub", "nlctl"}

// buildPrograms builds the agent and, if wanted, our commands, all static, and
// returns their paths in the cache.
func buildPrograms(ctx context.Context, c *cache.Cache, source, arch string, withCommands bool, p *kernel.Progress) (agent string, tools []string, err error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", nil, errors.New("go is not installed; nlvm builds what it sends into the guest (see https://go.dev/dl)")
	}
	temp, err := c.TempDir("build")
	if err != nil {
		return "", nil, err
	}
	packages := []string{"./vm-test/agent"}
	names := []string{"agent"}
	for _, name := range commands {
		if !withCommands {
			break
		}
		if files, _ := filepath.Glob(filepath.Join(source, "cmd", name, "*.go")); len(files) > 0 {
			packages = append(packages, "./cmd/"+name)
			names = append(names, name)
		}
	}
	what := "the agent"
	if len(names) > 1 {
		what += " and our commands"
	}
	done := p.Start("building %s", what)
	// What is the same in another commit is the same file, and so finds the
	// states that were saved with it.
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", temp + "/"}, packages...)...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+kernel.Architecture(arch).Go)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", nil, fmt.Errorf("what goes into the guest does not build: %w\n%s\n(to run without our commands: --no-commands)", err, bytes.TrimSpace(out.Bytes()))
	}
	done("")
	for _, name := range names {
		file, err := keep(c, filepath.Join(temp, name))
		if err != nil {
			return "", nil, err
		}
		if name == "agent" {
			agent = file
		} else {
			tools = append(tools, file)
		}
	}
	return agent, tools, nil
}

// keep moves a file into the cache under a folder named after its content.
func keep(c *cache.Cache, file string) (string, error) {
	sum, err := ContentHash(filepath.Dir(file), []string{filepath.Base(file)})
	if err != nil {
		return "", err
	}
	final := c.Path("built", sum[:32], filepath.Base(file))
	if _, err := os.Stat(final); err == nil {
		now := time.Now()
		return final, os.Chtimes(filepath.Dir(final), now, now)
	}
	return final, cache.Commit(file, final)
}
