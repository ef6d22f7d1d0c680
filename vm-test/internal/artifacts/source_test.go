// SPDX-License-Identifier: MIT

package artifacts

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func put(t *testing.T, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFindSource(t *testing.T) {
	tree, elsewhere := t.TempDir(), t.TempDir()
	put(t, tree, "go.mod", "// a comment\nmodule nlpeer // the peer\n")
	put(t, tree, "a/b/c", "")
	put(t, elsewhere, "go.mod", "module nlpeerish\n")

	t.Setenv("NLPEER_SRC", "")
	t.Chdir(filepath.Join(tree, "a/b"))
	if got, err := FindSource(); err != nil || got != tree {
		t.Errorf("from inside: %q, %v; want %q", got, err, tree)
	}
	t.Chdir(elsewhere)
	if got, err := FindSource(); err == nil || !strings.Contains(err.Error(), "NLPEER_SRC") {
		t.Errorf("from elsewhere: %q, %v; want an error that says what to set", got, err)
	}
	t.Setenv("NLPEER_SRC", tree)
	if got, err := FindSource(); err != nil || got != tree {
		t.Errorf("by NLPEER_SRC: %q, %v; want %q", got, err, tree)
	}
	t.Setenv("NLPEER_SRC", elsewhere)
	if got, err := FindSource(); err == nil {
		t.Errorf("by a wrong NLPEER_SRC: %q", got)
	}
}

func TestFingerprintAndHash(t *testing.T) {
	root := t.TempDir()
	names := []string{"Kbuild", "kmod", "missing"}
	put(t, root, "Kbuild", "obj-m := x.o\n")
	put(t, root, "kmod/x.c", "int x;\n")
	state := func() (fp, hash string) {
		t.Helper()
		fp, err := fingerprint(root, names)
		if err != nil {
			t.Fatal(err)
		}
		if hash, err = ContentHash(root, names); err != nil {
			t.Fatal(err)
		}
		return fp, hash
	}
	fp, hash := state()
	check := func(what string, newFP, newHash bool) {
		t.Helper()
		f, h := state()
		if (f != fp) != newFP || (h != hash) != newHash {
			t.Errorf("%s: fingerprint changed %v, hash changed %v; want %v, %v", what, f != fp, h != hash, newFP, newHash)
		}
		fp, hash = f, h
	}
	check("nothing", false, false)
	put(t, root, "kmod/x.o", "built")
	put(t, root, "kmod/.x.o.cmd", "built")
	put(t, root, "other/y.c", "not named")
	check("what a build leaves", false, false)
	if err := os.Chtimes(filepath.Join(root, "kmod/x.c"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	check("touch", true, false)
	put(t, root, "kmod/x.c", "int y;\n")
	check("edit", true, true)
	put(t, root, "kmod/z.h", "")
	check("a new file", true, true)
	if err := os.Rename(filepath.Join(root, "kmod/z.h"), filepath.Join(root, "kmod/w.h")); err != nil {
		t.Fatal(err)
	}
	check("a new name", true, true)
}

// A result of a suite does not depend on the tests of the program that runs it.
func TestProgramHash(t *testing.T) {
	root := t.TempDir()
	put(t, root, "cmd/x.go", "package x\n")
	hash := func(name, content string) string {
		t.Helper()
		put(t, root, name, content)
		h, err := ProgramHash(root, []string{"cmd"})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	before := hash("cmd/x_test.go", "package x\n")
	if hash("cmd/x_test.go", "package y\n") != before || hash("cmd/internal/y_test.go", "") != before {
		t.Error("a test makes another program")
	}
	if hash("cmd/x.go", "package y\n") == before || hash("cmd/y.go", "") == before {
		t.Error("another source makes no other program")
	}
}

func TestWalkSkipsOutputs(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"kmod/a.c", "kmod/a.o", "kmod/n.ko", "kmod/n.mod", "kmod/n.mod.c", "kmod/.tmp/x.c", "kmod/modules.order", "kmod/a.c~", "kmod/sub/b.h"} {
		put(t, root, name, "")
	}
	var got []string
	err := walk(root, []string{"kmod"}, func(rel string, _ fs.FileInfo) error {
		got = append(got, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"kmod/a.c", "kmod/sub/b.h"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDiagnostics(t *testing.T) {
	log := `make: Entering directory '/cache/linux-headers'
warning: the compiler differs from the one used to build the kernel
  CC [M]  /tmp/kmod/main.o
/tmp/kmod/main.c: In function 'f':
/tmp/kmod/main.c:3:9: error: unknown type name 'bar'
    3 |         bar x;
      |         ^~~
make[2]: *** [scripts/Makefile.build:255: /tmp/kmod/main.o] Error 1
  CC [M]  /tmp/kmod/raw.o
`
	want := `/tmp/kmod/main.c:3:9: error: unknown type name 'bar'
    3 |         bar x;
      |         ^~~`
	if diff := cmp.Diff(want, diagnostics([]byte(log))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
