// SPDX-License-Identifier: MIT

package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/qemu"
)

// There are two levels of saved states. The first is the machine after its
// boot; it lasts until kernel, agent, QEMU or options change. The second is the
// first with our commands and the module copied in (not loaded); it is what a
// run starts from, and is made from the first in about a second when a source
// file has changed.

// statesKept bounds the space that states take, some 100 MB each. The everyday
// kernels have eight each, the tests of nlvm and the debug kernel some twenty, and
// a round through more than are kept would find none of them.
const statesKept = 80

// keys names the states of both levels.
func keys(c *cache.Cache, config qemu.Config, g artifacts.Guest) (booted, ready string, err error) {
	identity, err := qemu.Identity(config.Arch)
	if err != nil {
		return "", "", err
	}
	h := sha256.New()
	// The paths stand for the contents: the initrd's is made of its hash, the
	// kernel's folder is replaced as a whole when the package changes.
	fmt.Fprintln(h, identity, g.Kernel.Version, g.Kernel.Package, strings.Join(config.Args(), "\x00"))
	first := hex.EncodeToString(h.Sum(nil))
	fmt.Fprintln(h, g.PayloadKey())
	second := hex.EncodeToString(h.Sum(nil))
	return c.Path("states", first[:40]+".booted"), c.Path("states", second[:40]+".ready"), nil
}

// fromState restores a machine, and makes the states that are missing.
func fromState(ctx context.Context, c *cache.Cache, config qemu.Config, g artifacts.Guest, o Options) (*Machine, error) {
	booted, ready, err := keys(c, config, g)
	if err != nil {
		return nil, err
	}
	if m := restore(ctx, config, g, o, ready); m != nil {
		return m, nil
	}
	l, err := c.Lock(ctx, "state-"+filepath.Base(booted), func() { note(o.Progress, "waiting for another nlvm that boots the same machine") })
	if err != nil {
		return nil, err
	}
	defer l.Unlock()
	if m := restore(ctx, config, g, o, ready); m != nil {
		return m, nil
	}
	m := restore(ctx, config, g, o, booted)
	if m == nil {
		done := o.Progress.Start("booting Linux %s once, to save its state", g.Kernel.Version)
		if m, err = boot(ctx, config, g, o); err != nil {
			return nil, err
		}
		if err := m.save(ctx, c, booted); err != nil {
			m.Close()
			return nil, err
		}
		done("")
	}
	if err := m.Push(ctx, g.Payload()); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.save(ctx, c, ready); err != nil {
		m.Close()
		return nil, err
	}
	prune(c, statesKept)
	// This machine goes on from where its copies will begin.
	if err := m.resume(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// restore returns nil if there is no such state, or it is of no use.
func restore(ctx context.Context, config qemu.Config, g artifacts.Guest, o Options, state string) *Machine {
	// Shared, until the machine lives: prune and clean leave it alone meanwhile.
	l, err := cache.TryLock(state, false)
	if err != nil {
		return nil
	}
	defer l.Unlock()
	now := time.Now()
	_ = os.Chtimes(state, now, now) // recently used
	p, err := qemu.Restore(config, state)
	if err != nil {
		return nil
	}
	m := newMachine(p, g, o)
	if err := m.resume(ctx); err != nil {
		m.Close()
		if ctx.Err() == nil {
			note(o.Progress, "a saved state is of no use any more (%v); booting", err)
			_ = os.Remove(state)
		}
		return nil
	}
	return m
}

// save writes the machine's state under its final name.
func (m *Machine) save(ctx context.Context, c *cache.Cache, state string) error {
	ctx, cancel := context.WithTimeout(ctx, Patience(saveLimit))
	defer cancel()
	temp, err := c.TempDir("state")
	if err != nil {
		return err
	}
	file := filepath.Join(temp, "state")
	if err := m.process.Save(ctx, file); err != nil {
		return fmt.Errorf("%w; to do without saved states: --cold", err)
	}
	return cache.Commit(file, state)
}

// prune removes the states that were not used for longest, except the n last.
func prune(c *cache.Cache, n int) (removed int) {
	entries, err := os.ReadDir(c.Path("states"))
	if err != nil {
		return 0
	}
	type state struct {
		path string
		used time.Time
	}
	var states []state
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			states = append(states, state{c.Path("states", e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(states, func(a, b state) int { return b.used.Compare(a.used) })
	for _, s := range states[min(n, len(states)):] {
		l, err := cache.TryLock(s.path, true)
		if err != nil {
			continue // being restored right now
		}
		if err := os.Remove(s.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			removed++
		}
		l.Unlock()
	}
	return removed
}

// RemoveStates removes all saved states that are not in use.
func RemoveStates(c *cache.Cache) int { return prune(c, 0) }
