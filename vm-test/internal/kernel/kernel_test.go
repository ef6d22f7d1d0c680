// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/cache"
)

func TestFind(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range Table {
		if seen[k.Name] {
			t.Errorf("two rows are called %s", k.Name)
		}
		seen[k.Name] = true
		if got, err := Find(k.Name); err != nil || got != k {
			t.Errorf("Find(%q) = %+v, %v", k.Name, got, err)
		}
	}
	if k, err := Find(""); err != nil || k.Name != Default() {
		t.Errorf("the default: %+v, %v", k, err)
	}
	for release, name := range ofRelease {
		if !seen[name] {
			t.Errorf("%s's kernel %s is in no row", release, name)
		}
	}
	_, err := Find("2.4")
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "6.1, 6.12") {
		t.Errorf("an unknown one: %v, want ErrUnknown and the names that are known", err)
	}
}

func TestComplaint(t *testing.T) {
	out := "Get:1 http://x\nErr:2 http://x bookworm\n  Could not resolve\nE: Failed to fetch http://x\nReading\n"
	if got := complaint(out, errors.New("exit status 100")); got != "Err:2 http://x bookworm; E: Failed to fetch http://x" {
		t.Errorf("%q", got)
	}
	if got := complaint("", errors.New("exit status 100")); got != "exit status 100" {
		t.Errorf("without a line that tells: %q", got)
	}
}

// put makes a file with its folders.
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

func TestHalfUnpackedIsNotUsed(t *testing.T) {
	c, err := cache.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	k := Table[0]
	root := c.Path("kernels", k.Name+"-"+k.Arch)
	put(t, root, "boot/vmlinuz-1", "")
	if u, err := Lookup(c, k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v; want ErrNotExist", u, err)
	}
	if err := seal(root, Unpacked{Version: "1", Package: "1-1"}); err != nil {
		t.Fatal(err)
	}
	u, err := Lookup(c, k)
	if want := (Unpacked{Kernel: k, Root: root, Version: "1", Package: "1-1"}); err != nil || u != want {
		t.Errorf("%+v, %v; want %+v", u, err, want)
	}
}

func TestLayouts(t *testing.T) {
	for _, tt := range []struct{ name, image, modules string }{
		{"one package", "boot/vmlinuz-V", "lib/modules/V"},
		{"split package", "usr/lib/modules/V/vmlinuz", "usr/lib/modules/V"},
	} {
		root := t.TempDir()
		put(t, root, tt.image, "")
		put(t, root, tt.modules+"/kernel/x.ko", "")
		u := Unpacked{Root: root, Version: "V"}
		if got := u.Image(); got != filepath.Join(root, tt.image) {
			t.Errorf("%s: image %s", tt.name, got)
		}
		if got := u.Modules(); got != filepath.Join(root, tt.modules) {
			t.Errorf("%s: modules %s", tt.name, got)
		}
	}
}

func TestPrepareBuild(t *testing.T) {
	root := t.TempDir()
	put(t, root, "usr/src/linux-headers-V/Makefile", "KBUILD_OUTPUT=/usr/src/linux-headers-V\ninclude /usr/src/linux-headers-common/Makefile\n")
	if err := prepareBuild(root, "V", "/cache/k"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "usr/src/linux-headers-V/Makefile"))
	if want := "KBUILD_OUTPUT=/cache/k/usr/src/linux-headers-V\ninclude /cache/k/usr/src/linux-headers-common/Makefile\n"; err != nil || string(b) != want {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
}
