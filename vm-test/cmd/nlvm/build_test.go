// SPDX-License-Identifier: MIT

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
)

// A module's path is all that build prints; what the compiler says has the
// names of the folder's files, errors first; and nothing is written there.
func TestBuild(t *testing.T) {
	needVM(t)
	dir := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const frame = "// " + "SPDX-License-Identifier: GPL-2.0-only\n#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n"
	build := func() result { return finish(t, command(t, "build", dir)) }

	r := build()
	if r.status != 2 || !strings.Contains(r.stderr, "no Kbuild in "+dir) {
		t.Errorf("without a Kbuild: %+v", r)
	}
	write("Kbuild", "obj-m := mine.o\n")
	write("mine.c", frame+"static int __init f(void)\n{\n\tint unused;\n\treturn nothing();\n}\nmodule_init(f);\n")
	r = build()
	first, _, _ := strings.Cut(strings.TrimPrefix(r.stderr, progress(r.stderr)), "\n")
	if r.status != 1 || r.stdout != "" || !strings.HasPrefix(first, filepath.Join(dir, "mine.c")+":7:16: error: ") {
		t.Errorf("a mistake: status %d, %q, first words %q\n%s", r.status, r.stdout, first, r.stderr)
	}
	if at := strings.Index(r.stderr, "warning: unused"); at < strings.Index(r.stderr, "error:") {
		t.Errorf("the warning is not behind the error:\n%s", r.stderr)
	}
	write("mine.c", frame+"static int __init f(void)\n{\n\tint unused;\n\treturn 0;\n}\nmodule_init(f);\n")
	for range 2 { // built, and taken from the cache
		r = build()
		file := strings.TrimSpace(r.stdout)
		if r.status != 0 || filepath.Base(file) != "mine.ko" || !strings.Contains(r.stderr, filepath.Join(dir, "mine.c")+":6:13: warning: unused variable") {
			t.Errorf("a module with a warning: %+v", r)
		}
		for _, f := range []string{file, strings.TrimSuffix(file, ".ko") + ".debug"} {
			if _, err := os.Stat(f); err != nil {
				t.Error(err)
			}
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("the folder has %v, %v, want two files", files, err)
	}
}

// progress are the lines about what takes long, at the beginning.
func progress(text string) string {
	n := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "nlvm: ") {
			break
		}
		n += len(line)
	}
	return text[:n]
}

// The list for programs has all kernels, one of them the default, and for each
// what programs are built with.
func TestKernelsJSON(t *testing.T) {
	r := finish(t, command(t, "kernels", "-o", "json"))
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	var names []string
	defaults := 0
	for d := json.NewDecoder(strings.NewReader(r.stdout)); d.More(); {
		var k struct {
			Name, Arch, GOARCH, CC string
			Default                bool
		}
		if err := d.Decode(&k); err != nil {
			t.Fatal(err)
		}
		names = append(names, k.Name)
		if k.Default {
			defaults++
		}
		if k.Name == "6.1-s390x" && (k.Arch != "s390x" || k.GOARCH != "s390x" || k.CC != "s390x-linux-gnu-gcc") {
			t.Errorf("%+v", k)
		}
	}
	if strings.Join(names, " ") != strings.Join(kernel.Names(), " ") || defaults != 1 {
		t.Errorf("%q, %d of them the default, want %q", names, defaults, kernel.Names())
	}
	if r := finish(t, command(t, "kernels", "-o", "xml")); r.status != 2 {
		t.Errorf("-o xml: %+v", r)
	}
}
