// SPDX-License-Identifier: MIT

package main_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
)

// What is edited is built by the commands that kbuild has noted. The module is
// the same that kbuild makes, and what these commands cannot do, it does.
func TestRecipe(t *testing.T) {
	needVM(t)
	recipeOn(t, "")
}

// So it is for the kernels of other architectures.
func TestRecipeElsewhere(t *testing.T) {
	for _, k := range foreign(t) {
		t.Run(k.Name, func(t *testing.T) { recipeOn(t, k.Name) })
	}
}

// newCache is a cache that has only the kernels of ours.
func newCache(t *testing.T) string {
	t.Helper()
	ours, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "nlpeer"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(ours, "nlpeer/kernels"), filepath.Join(dir, "nlpeer/kernels")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func recipeOn(t *testing.T, name string) {
	// The kernel, if it was never used.
	if k, err := kernel.Find(name); err != nil {
		t.Fatal(err)
	} else if r := finish(t, command(t, "run", "--kernel", k.Name, "--no-module", "--no-commands", "--", "true")); r.status != 0 {
		t.Fatalf("%+v", r)
	}
	source := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := func(cache string) result {
		args := []string{"build"}
		if name != "" {
			args = append(args, "--kernel", name)
		}
		cmd := command(t, append(args, source)...)
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
		return finish(t, cmd)
	}
	built := func(cache string) string {
		t.Helper()
		r := in(cache)
		if r.status != 0 {
			t.Fatalf("%+v", r)
		}
		return strings.TrimSpace(r.stdout)
	}
	const frame = "// " + "SPDX-License-Identifier: GPL-2.0-only\n#include <linux/module.h>\nMODULE_LICENSE(\"GPL\"); MODULE_DESCRIPTION(\"a test\");\n"
	text := func(body string) string {
		return frame + "static int __init f(void)\n{\n" + body + "\treturn 0;\n}\nmodule_init(f);\n"
	}
	write("Kbuild", "obj-m := mine.o\nmine-y := one.o two.o\n")
	write("two.c", "// "+"SPDX-License-Identifier: GPL-2.0-only\nint two(void);\nint two(void)\n{\n\treturn 2;\n}\n")
	write("one.c", text("\tpr_info(\"one\\n\");\n"))

	cache := newCache(t)
	built(cache)
	recipes, err := filepath.Glob(filepath.Join(cache, "nlpeer/recipes/*"))
	if err != nil || len(recipes) != 1 {
		t.Fatalf("recipes %q, %v; want one", recipes, err)
	}
	recipe, err := os.ReadFile(recipes[0])
	if err != nil {
		t.Fatal(err)
	}
	mark := filepath.Join(t.TempDir(), "mark")
	followed := func() bool { return os.Remove(mark) == nil }
	spoil := func(line string) {
		t.Helper()
		if err := os.WriteFile(recipes[0], fmt.Appendf(bytes.Clone(recipe), ": >%s\n%s\n", mark, line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	spoil("")
	parts := func() int {
		all, _ := filepath.Glob(filepath.Join(cache, "nlpeer/recipes/*.o"))
		return len(all)
	}

	// Another symbol of the kernel is used, and one no more.
	write("one.c", text("\tif (!try_module_get(THIS_MODULE))\n\t\treturn -EBUSY;\n\tmodule_put(THIS_MODULE);\n"))
	mine := built(cache)
	if !followed() {
		t.Error("an edited file: the recipe was not followed")
	}
	sameModule(t, mine, built(newCache(t)))
	if n := parts(); n != 1 {
		t.Errorf("%d objects of what modpost wrote are kept, want 1", n)
	}
	// The same symbols, in other code: that object does once more.
	write("one.c", text("\tif (try_module_get(THIS_MODULE))\n\t\tmodule_put(THIS_MODULE);\n"))
	mine = built(cache)
	if n := parts(); n != 1 || !followed() {
		t.Errorf("the same symbols: %d objects are kept, want 1; or the recipe was not followed", n)
	}
	sameModule(t, mine, built(newCache(t)))

	write("one.c", text("\tint unused;\n"))
	if r := in(cache); r.status != 0 || followed() || !strings.Contains(r.stderr, filepath.Join(source, "one.c")+":6:13: warning: unused variable") {
		t.Errorf("a warning: %+v", r)
	}
	spoil("")
	write("one.c", text("\treturn nothing();\n"))
	if r := in(cache); r.status != 1 || followed() || !strings.Contains(r.stderr, filepath.Join(source, "one.c")+":6:16: error: ") {
		t.Errorf("a mistake: %+v", r)
	}
	write("one.c", strings.Replace(text("\treturn nothing_that_is();\n"), "static", "int nothing_that_is(void);\nstatic", 1))
	if r := in(cache); r.status != 1 || followed() || !strings.Contains(r.stderr, `"nothing_that_is"`) {
		t.Errorf("a symbol that is not there: %+v", r)
	}
	// A recipe that fails after all has been made is as good as none.
	for _, line := range []string{"false", "echo said something"} {
		spoil(line)
		write("one.c", text(fmt.Sprintf("\tpr_info(\"%s\\n\");\n", line)))
		mine = built(cache)
		if !followed() {
			t.Errorf("%s: the recipe was not tried", line)
		}
		sameModule(t, mine, built(newCache(t)))
	}
	spoil("")
	write("Kbuild", "obj-m := mine.o\nmine-y := one.o two.o\nccflags-y := -DMORE\n")
	built(cache)
	if followed() {
		t.Error("the recipe of another Kbuild was followed")
	}
}

// sameModule compares what is in two modules, apart from their build IDs, which
// are of what was stripped, too.
func sameModule(t *testing.T, a, b string) {
	t.Helper()
	sections := func(file string) map[string]string {
		f, err := elf.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		all := map[string]string{}
		for _, s := range f.Sections {
			if s.Type == elf.SHT_NULL || s.Type == elf.SHT_NOBITS || s.Name == ".note.gnu.build-id" {
				continue
			}
			data, err := s.Data()
			if err != nil {
				t.Fatal(err)
			}
			all[s.Name] = string(data)
		}
		return all
	}
	one, other := sections(a), sections(b)
	if len(one) != len(other) || len(one) < 8 {
		t.Errorf("%d sections and %d", len(one), len(other))
	}
	for name, data := range one {
		if data != other[name] {
			t.Errorf("%s differs: %d bytes and %d\n%.200q\n%.200q", name, len(data), len(other[name]), data, other[name])
		}
	}
}
