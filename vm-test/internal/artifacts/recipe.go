// SPDX-License-Identifier: MIT

package artifacts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// Of the three seconds that kbuild takes for a module of one file, the commands
// that make it take one; in the others it finds out, each time anew, what the
// compiler can do. It notes the commands beside what they make, so they are kept
// as a recipe, and what was only edited is made by it. Kbuild has the last word:
// whatever a recipe's command has to say, be it a mistake of the source or that
// the recipe is none, is thrown away, and kbuild is asked.

// recipe is the file with the commands that make the module, for these names of
// sources and this Kbuild. It is "" for a module that is better built in parallel,
// for the debug kernel, whose builds leave more than a module, and for kernels
// before 6, whose kbuild does more than it notes (objtool).
func recipe(c *cache.Cache, k kernel.Unpacked, compiler, dir string, names []string) (string, error) {
	if k.Coverage() || strings.HasPrefix(k.Version, "5.") {
		return "", nil
	}
	h := sha256.New()
	identity, err := programIdentity(compiler)
	if err != nil {
		return "", err
	}
	fmt.Fprintln(h, k.BuildDir(), k.Version, k.Package, k.Arch, identity)
	sources := 0
	err = walk(dir, names, func(rel string, info fs.FileInfo) error {
		fmt.Fprintln(h, rel)
		switch filepath.Ext(rel) {
		case ".c":
			sources++
		case ".h", ".txt":
		default: // Kbuild, and what it may include
			text, err := os.ReadFile(filepath.Join(dir, rel))
			fmt.Fprintln(h, len(text))
			h.Write(text)
			return err
		}
		return nil
	})
	if err != nil || sources > 3 {
		return "", err
	}
	return c.Path("recipes", hex.EncodeToString(h.Sum(nil)[:16])), nil
}

// programIdentity changes when another program is installed in its place.
func programIdentity(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintln(path, st.Size(), st.ModTime().UnixNano()), nil
}

// workPlace stands for the folder of the build in a recipe.
const workPlace = "@WORK@"

// writeRecipe keeps the commands by which kbuild has made the module in work.
// Where they are not all known, as of kernels from 6.13 on, whose commands are for
// another folder, there is none.
func writeRecipe(c *cache.Cache, file, work string) error {
	commands, err := notedCommands(work)
	if err != nil || commands == nil {
		return err
	}
	temp, err := c.TempDir("recipe")
	if err != nil {
		return err
	}
	fresh := filepath.Join(temp, "recipe")
	if err := os.WriteFile(fresh, []byte(strings.Join(commands, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	return cache.Commit(fresh, file)
}

// notedCommands reads what kbuild has noted in files called .NAME.cmd, in the
// order in which it was done; nil if a step is missing.
func notedCommands(work string) ([]string, error) {
	type noted struct {
		file string
		text string
		when int64
	}
	var all []noted
	err := filepath.WalkDir(work, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasPrefix(d.Name(), ".") || filepath.Ext(name) != ".cmd" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(text), "\n")
		_, command, ok := strings.Cut(first, ":= ")
		if ok && (strings.HasPrefix(first, "cmd_") || strings.HasPrefix(first, "savedcmd_")) {
			all = append(all, noted{name, strings.TrimSpace(command), info.ModTime().UnixNano()})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b noted) int { return int(a.when - b.when) })
	var commands []string
	linked, checked := false, false
	for _, n := range all {
		if strings.Contains(strings.ReplaceAll(n.text, "$$", ""), "$(") || !strings.Contains(n.text, work) {
			return nil, nil
		}
		text := strings.ReplaceAll(strings.ReplaceAll(n.text, "$$", "$"), work, workPlace)
		linked = linked || strings.Contains(text, ".mod.o") && strings.Contains(text, ".ko ")
		checked = checked || strings.Contains(text, "modpost")
		// Modpost looks into the notes for versions of what the module exports. It
		// misses them where they are wanted, and says so.
		commands = append(commands, text, ": >"+strings.ReplaceAll(n.file, work, workPlace))
	}
	if !linked || !checked {
		return nil, nil
	}
	return commands, nil
}

// follow makes the module in work by the recipe, and says whether it did.
func follow(ctx context.Context, c *cache.Cache, k kernel.Unpacked, file, work string) (bool, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for command := range strings.Lines(string(text)) {
		made, err := do(ctx, c, k, strings.TrimSuffix(command, "\n"), work)
		if err != nil || !made {
			return false, err
		}
	}
	return true, nil
}

// framed is the command that compiles what modpost has written, which is the same
// until the source calls for other symbols of the kernel.
var framed = regexp.MustCompile(` -o ` + workPlace + `/(\S+\.mod\.o) ` + workPlace + `/(\S+\.mod\.c)$`)

// do executes a command of a recipe, or takes what it made before.
func do(ctx context.Context, c *cache.Cache, k kernel.Unpacked, command, work string) (bool, error) {
	kept, product := "", ""
	if m := framed.FindStringSubmatch(command); m != nil {
		source, err := os.ReadFile(filepath.Join(work, m[2]))
		if err != nil {
			return false, nil
		}
		sum := sha256.Sum256(append(fmt.Appendln(nil, k.BuildDir(), k.Package, command), source...))
		kept, product = c.Path("recipes", hex.EncodeToString(sum[:16])+".o"), filepath.Join(work, m[1])
		if os.Link(kept, product) == nil {
			return true, nil
		}
	}
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", strings.ReplaceAll(command, workPlace, work))
	cmd.Dir = k.BuildDir()
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SRCARCH="+kernel.Architecture(k.Arch).Source())
	said, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil || len(said) > 0 {
		return false, nil
	}
	if kept != "" {
		if err := os.Link(product, kept); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, err
		}
	}
	return true, nil
}
