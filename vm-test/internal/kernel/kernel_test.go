// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// What a configuration has lost is told, however it went.
func TestVanished(t *testing.T) {
	want := "# a comment\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_OFF=n\nCONFIG_N=40000\nCONFIG_S=\"-debug\"\n\n"
	tests := []struct {
		config string
		lost   []string
	}{
		{"CONFIG_A=y\nCONFIG_B=m\n# CONFIG_OFF is not set\nCONFIG_N=40000\nCONFIG_S=\"-debug\"\nCONFIG_MORE=y\n", nil},
		{"CONFIG_A=y\nCONFIG_B=m\nCONFIG_N=40000\nCONFIG_S=\"-debug\"\n", nil},
		{"# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_OFF=y\nCONFIG_N=16000\nCONFIG_S=\"\"\n",
			[]string{"CONFIG_A=y", "CONFIG_B=m", "CONFIG_OFF=n", "CONFIG_N=40000", `CONFIG_S="-debug"`}},
		{"", []string{"CONFIG_A=y", "CONFIG_B=m", "CONFIG_N=40000", `CONFIG_S="-debug"`}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.lost, vanished(tt.config, want)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.config, diff)
		}
	}
	// The real ones say something to check.
	for name, m := range fromSource {
		if n := len(vanished("", m.whole(name))); n < 100 {
			t.Errorf("the configuration of %s has %d lines to check", name, n)
		}
		if k, err := Find(name); err != nil || !k.FromSource() {
			t.Errorf("%s has a configuration, but is no kernel that is built: %v", name, err)
		}
	}
}

// A kernel that is built is another one when its configuration is another.
func TestFolder(t *testing.T) {
	k, err := Find("debug")
	if err != nil {
		t.Fatal(err)
	}
	old := fromSource["debug"]
	defer func() { fromSource["debug"] = old }()
	before, err := k.folder()
	if err != nil {
		t.Skipf("this needs: %v", err)
	}
	for more, other := range map[string]bool{"# a comment\n": false, "CONFIG_MORE=y\n": true} {
		m := old
		m.config += more
		fromSource["debug"] = m
		after, err := k.folder()
		if err != nil || (before != after) != other || !strings.HasPrefix(after, "debug-amd64-") {
			t.Errorf("%q, with %q %q, %v", before, more, after, err)
		}
	}
	if !k.Coverage() || Table[0].Coverage() || k.Slow() != 4 || Table[0].Slow() != 1 {
		t.Error("the debug kernel alone tells of coverage, and takes longer")
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

// A build tool that is linked with libraries runs with those beside it, and
// still sees the name that it was called by; what is no such program stays.
func TestWrapTools(t *testing.T) {
	loader, err := filepath.Glob("/lib*/ld-linux-*.so.*")
	sh, err2 := filepath.EvalSymlinks("/bin/sh")
	if err != nil || err2 != nil || len(loader) == 0 {
		t.Skipf("this needs a dynamically linked shell: %v, %v, %v", loader, err, err2)
	}
	program, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	put(t, root, "usr/lib/linux-kbuild-7/scripts/tool", string(program))
	put(t, root, "usr/lib/linux-kbuild-7/scripts/script", "#!/bin/sh\n")
	put(t, root, "usr/lib/linux-kbuild-7/scripts/empty", "")
	if err := wrapTools(root, root); err == nil {
		t.Error("no libraries, no error")
	}
	put(t, root, "usr/lib/arch/x", "")
	if err := os.Symlink(loader[0], filepath.Join(root, "usr/lib/arch", filepath.Base(loader[0]))); err != nil {
		t.Fatal(err)
	}
	tool := filepath.Join(root, "usr/lib/linux-kbuild-7/scripts/tool")
	if err := os.Chmod(tool, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := wrapTools(root, root); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tool, "-c", "echo $0; exit 7").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || string(out) != tool+"\n" {
		t.Errorf("%v: %s", err, out)
	}
	for name, want := range map[string]string{"script": "#!/bin/sh\n", "empty": "", "tool.bin": string(program)} {
		if b, err := os.ReadFile(filepath.Join(filepath.Dir(tool), name)); err != nil || string(b) != want {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
}

func TestArchitectures(t *testing.T) {
	for _, k := range Table {
		a := Architecture(k.Arch)
		if a.Debian != k.Arch || !slices.Contains(arches, a) {
			t.Errorf("kernel %s: nothing is known of %s", k.Name, k.Arch)
		}
	}
	if HostArch() == "amd64" {
		for arch, want := range map[string]string{"amd64": "", "i386": "", "arm64": "aarch64-linux-gnu-", "s390x": "s390x-linux-gnu-"} {
			if got := Architecture(arch).Cross(); got != want {
				t.Errorf("%s: %q, want %q", arch, got, want)
			}
		}
	}
}
