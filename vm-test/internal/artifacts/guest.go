// SPDX-License-Identifier: MIT

package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/kmod"
	"nlpeer/vm-test/internal/tarball"
)

// GuestModule is where the module under test lies in the guest.
const GuestModule = "/lib/nlpeer/nlpeer.ko"

// extras are modules of the kernel's own that lie beside GuestModule for tests
// to load: a link to play with, and what tells more about sockets.
var extras = []string{"dummy", "netlink_diag"}

// Guest is everything that is booted and sent into every guest.
type Guest struct {
	Kernel kernel.Unpacked
	Initrd string
	Tools  []string // our commands
	YNL    string   // folder of the kernel's tool for specifications, "" without
	Module string   // "" if there is none
	Extras []string
}

// Payload lists what is sent into the guest after its boot.
func (g Guest) Payload() []tarball.Item {
	var items []tarball.Item
	for _, t := range g.Tools {
		items = append(items, tarball.Item{Source: t, Name: "usr/bin/" + filepath.Base(t)})
	}
	if g.YNL != "" {
		items = append(items, ynlItems(g.YNL)...)
	}
	if g.Module != "" {
		items = append(items, tarball.Item{Source: g.Module, Name: GuestModule[1:]})
	}
	for _, e := range g.Extras {
		items = append(items, tarball.Item{Source: e, Name: filepath.Join(filepath.Dir(GuestModule[1:]), filepath.Base(e))})
	}
	return items
}

// PayloadKey changes with the payload. The paths in the cache name the
// contents, so they are all that has to be looked at.
func (g Guest) PayloadKey() string {
	h := sha256.New()
	for _, i := range g.Payload() {
		fmt.Fprintln(h, i.Source, i.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// built is what is remembered of the last build.
type built struct {
	Fingerprint string
	Initrd      string
	Tools       []string
	YNL         string
	Module      string
	Extras      []string
}

// Want says what a guest cannot do without.
type Want struct {
	Image    kernel.Image
	Module   bool // otherwise it does not matter whether the module builds
	Commands bool // otherwise they are left out
}

// Prepare makes the guest's parts from the source tree and the kernel, as far
// as they are not up to date.
func Prepare(ctx context.Context, c *cache.Cache, source string, k kernel.Unpacked, want Want, p *kernel.Progress) (Guest, error) {
	sum := sha256.Sum256(fmt.Appendln(nil, source, k.Version, k.Package, k.Arch, want.Commands, want.Image))
	stamp := c.Path("stamps", hex.EncodeToString(sum[:16])+".json")
	fp, err := sourcesState(source, k)
	if err != nil {
		return Guest{}, err
	}
	if g, ok := reuse(stamp, fp, k); ok && (g.Module != "" || !want.Module) {
		return g, nil
	}

	l, err := c.Lock(ctx, "build-"+filepath.Base(stamp), func() { p.Start("waiting for another nlvm that builds") })
	if err != nil {
		return Guest{}, err
	}
	defer l.Unlock()
	// Once more: the one we waited for has done it, or the sources have changed.
	if fp, err = sourcesState(source, k); err != nil {
		return Guest{}, err
	}
	if g, ok := reuse(stamp, fp, k); ok && (g.Module != "" || !want.Module) {
		return g, nil
	}

	g := Guest{Kernel: k}
	busybox, err := kernel.Busybox(ctx, c, k.Arch, p)
	if err != nil {
		return Guest{}, err
	}
	userland, err := want.Image.Get(ctx, c, k.Arch, p)
	if err != nil {
		return Guest{}, err
	}
	agent, tools, err := buildPrograms(ctx, c, source, k.Arch, want.Commands, p)
	if err != nil {
		return Guest{}, err
	}
	g.Tools = tools
	if g.Initrd, err = buildInitrd(c, k, agent, busybox, userland); err != nil {
		return Guest{}, err
	}
	if want.Image.YNL {
		if g.YNL, err = buildYNL(ctx, c, source, userland, p); err != nil {
			return Guest{}, err
		}
	}
	tree, err := kmod.OpenTree(k.Modules())
	if err != nil {
		return Guest{}, err
	}
	if g.Extras, err = tree.Order(extras...); err != nil {
		return Guest{}, err
	}
	module, err := BuildModule(ctx, c, k, source, moduleInputs, p)
	switch {
	case err == nil:
		g.Module = module
		p.Warn(Warnings(module, source))
	case want.Module && errors.Is(err, ErrNoModule):
		return Guest{}, fmt.Errorf("%w; to run without the module: --no-module", err)
	case want.Module:
		return Guest{}, err
	case errors.Is(err, ErrNoModule):
		// Nothing to build yet: remember that too.
	default:
		if p != nil && p.W != nil {
			fmt.Fprintf(p.W, "nlvm: %v\nnlvm: going on without it, because of --no-module\n", err)
		}
	}
	return g, remember(stamp, built{Fingerprint: fp, Initrd: g.Initrd, Tools: g.Tools, YNL: g.YNL, Module: g.Module, Extras: g.Extras})
}

// reuse returns the last build if it is still what the sources say.
func reuse(stamp, fp string, k kernel.Unpacked) (Guest, bool) {
	b, err := os.ReadFile(stamp)
	if err != nil {
		return Guest{}, false
	}
	var last built
	if json.Unmarshal(b, &last) != nil || last.Fingerprint != fp {
		return Guest{}, false
	}
	g := Guest{Kernel: k, Initrd: last.Initrd, Tools: last.Tools, YNL: last.YNL, Module: last.Module, Extras: last.Extras}
	files := append([]string{g.Initrd}, g.Tools...)
	for _, f := range []string{g.YNL, g.Module} {
		if f != "" {
			files = append(files, f)
		}
	}
	now := time.Now()
	for _, f := range files {
		// Also marks it as used, for whoever cleans up.
		if os.Chtimes(filepath.Dir(f), now, now) != nil {
			return Guest{}, false
		}
		if _, err := os.Stat(f); err != nil {
			return Guest{}, false
		}
	}
	return g, true
}

func remember(stamp string, b built) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(stamp), 0o755); err != nil {
		return err
	}
	// The caller holds the lock, so the name is nobody else's.
	temp := stamp + ".new"
	if err := os.WriteFile(temp, text, 0o644); err != nil {
		return err
	}
	return os.Rename(temp, stamp)
}
