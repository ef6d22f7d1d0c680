// SPDX-License-Identifier: MIT

package artifacts

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// The compiler's notes go where the counts will be, with the place of the build.
func TestNotes(t *testing.T) {
	work, result := t.TempDir(), t.TempDir()
	for _, name := range []string{"nlpeer.ko", "kmod/raw.gcno", "kmod/raw.o", "other.gcno"} {
		file := filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	module := filepath.Join(result, "nlpeer.ko")
	if dir, err := GcovWork(module); !errors.Is(err, ErrNoGcov) {
		t.Errorf("a module without notes: %q, %v, want ErrNoGcov", dir, err)
	}
	if dir, err := GcovWork(""); !errors.Is(err, ErrNoGcov) {
		t.Errorf("no module: %q, %v, want ErrNoGcov", dir, err)
	}
	if err := keepNotes(work, result); err != nil {
		t.Fatal(err)
	}
	if dir, err := GcovWork(module); err != nil || dir != work {
		t.Errorf("built in %q, %v, want %q", dir, err, work)
	}
	to := filepath.Join(t.TempDir(), "run")
	if err := GcovNotes(module, to); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kmod/raw.gcno", "other.gcno"} {
		if b, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(b) != name {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}

	// Without counting there is nothing to keep.
	plain := t.TempDir()
	if err := keepNotes(t.TempDir(), plain); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(plain); len(left) != 0 {
		t.Errorf("%v was kept", left)
	}
}
