// SPDX-License-Identifier: MIT

package tarball_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/tarball"
)

// write makes a file or, with a name that ends in a slash, a folder. The mode
// is set apart from the creation, because of the umask.
func write(t *testing.T, dir, name string, mode fs.FileMode, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	var err error
	if strings.HasSuffix(name, "/") {
		err = os.MkdirAll(file, 0o755)
	} else {
		err = os.WriteFile(file, []byte(content), 0o600)
	}
	if err == nil {
		err = os.Chmod(file, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// list describes a tree: "mode name content".
func list(t *testing.T, dir string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(p)
			lines = append(lines, "link "+strings.TrimPrefix(p, dir)+" -> "+content)
			return err
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			content = " " + string(b)
		}
		lines = append(lines, info.Mode().String()+" "+strings.TrimPrefix(p, dir)+content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestModesAndLinksSurvive(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "tree/", 0o755, "")
	write(t, from, "tree/sub/", 0o755, "")
	write(t, from, "tree/sub/script", 0o751, "#!/bin/sh\n")
	write(t, from, "tree/readonly/", 0o755, "")
	write(t, from, "tree/readonly/x", 0o400, "x")
	write(t, from, "tree/readonly/", 0o555, "")
	write(t, from, "tree/suid", 0o755|fs.ModeSetuid, "s")
	write(t, from, "tree/empty", 0o644, "")
	write(t, from, "single", 0o640, "one")
	for link, target := range map[string]string{"tree/link": "sub/script", "tree/dangling": "nowhere", "top": "single"} {
		if err := os.Symlink(target, filepath.Join(from, link)); err != nil {
			t.Fatal(err)
		}
	}

	var archive bytes.Buffer
	err := tarball.Pack(&archive, []tarball.Item{
		{Source: filepath.Join(from, "tree"), Name: "work/tree"},
		{Source: filepath.Join(from, "top"), Name: "work/renamed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = tarball.Unpack(&archive, func(name string) string { return filepath.Join(to, name) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x /work",
		"-rw-r----- /work/renamed one",
		"drwxr-xr-x /work/tree",
		"link /work/tree/dangling -> nowhere",
		"-rw-r--r-- /work/tree/empty ",
		"link /work/tree/link -> sub/script",
		"dr-xr-xr-x /work/tree/readonly",
		"-r-------- /work/tree/readonly/x x",
		"drwxr-xr-x /work/tree/sub",
		"-rwxr-x--x /work/tree/sub/script #!/bin/sh\n",
		"urwxr-xr-x /work/tree/suid s",
	}
	if diff := cmp.Diff(want, list(t, to)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	before, err := os.Stat(filepath.Join(from, "single"))
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(to, "work/renamed"))
	if err != nil {
		t.Fatal(err)
	}
	if !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("modified at %v, want %v", after.ModTime(), before.ModTime())
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := tarball.Pack(io.Discard, []tarball.Item{{Source: dir, Name: "x"}})
	if !errors.Is(err, tarball.ErrKind) || !strings.Contains(err.Error(), "fifo") {
		t.Errorf("a fifo: %v, want ErrKind with its name", err)
	}
	err = tarball.Pack(io.Discard, []tarball.Item{{Source: filepath.Join(dir, "missing"), Name: "x"}})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want ErrNotExist", err)
	}
}

// A file is replaced, not written through: neither a link's target nor the
// content under another name may change.
func TestUnpackReplaces(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write(t, from, "a", 0o644, "new")
	write(t, to, "target", 0o644, "old")
	if err := os.Symlink("target", filepath.Join(to, "a")); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	if err := tarball.Pack(&archive, []tarball.Item{{Source: filepath.Join(from, "a"), Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	if err := tarball.Unpack(&archive, func(name string) string { return filepath.Join(to, name) }); err != nil {
		t.Fatal(err)
	}
	want := []string{"-rw-r--r-- /a new", "-rw-r--r-- /target old"}
	if diff := cmp.Diff(want, list(t, to)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnpackSkipsAndFails(t *testing.T) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, h := range []*tar.Header{
		{Name: "skip", Typeflag: tar.TypeReg, Mode: 0o644},
		{Name: "dev", Typeflag: tar.TypeChar, Mode: 0o644},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	to := t.TempDir()
	err := tarball.Unpack(&archive, func(name string) string {
		if name == "skip" {
			return ""
		}
		return filepath.Join(to, name)
	})
	if !errors.Is(err, tarball.ErrKind) {
		t.Errorf("a device: %v, want ErrKind", err)
	}
	if got := list(t, to); got != nil {
		t.Errorf("left behind: %q", got)
	}
	if err := tarball.Unpack(strings.NewReader("no tar"), func(string) string { return "" }); err == nil {
		t.Error("garbage was unpacked without an error")
	}
}
