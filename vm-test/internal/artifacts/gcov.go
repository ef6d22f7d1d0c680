// SPDX-License-Identifier: MIT

package artifacts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A kernel that counts how often lines are executed names its files after the
// object files, as they were called when the module was built. The counts alone
// say nothing: the compiler's notes do, of the same build.
const (
	notesDir  = "gcov"
	workFile  = "work" // where the module was built
	notesExt  = ".gcno"
	CountsExt = ".gcda" // what the kernel's files with counts end with
)

// ErrNoGcov is returned for a module that was built without counting.
var ErrNoGcov = errors.New("the module does not count executed lines: that takes --kernel debug")

// keepNotes saves the compiler's notes of the build in work below result.
func keepNotes(work, result string) error {
	dir := filepath.Join(result, notesDir)
	err := filepath.WalkDir(work, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != notesExt {
			return err
		}
		rel, err := filepath.Rel(work, p)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.Rename(p, to)
	})
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // built without
	}
	return os.WriteFile(filepath.Join(dir, workFile), []byte(work+"\n"), 0o644)
}

// GcovWork is the folder that a module of BuildModule's was built in, below which
// the guest's kernel has its counts.
func GcovWork(module string) (string, error) {
	b, err := os.ReadFile(filepath.Join(filepath.Dir(module), notesDir, workFile))
	if module == "" || errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoGcov
	}
	return strings.TrimSpace(string(b)), err
}

// GcovNotes copies the compiler's notes of a module to dir, where its counts are.
func GcovNotes(module, dir string) error {
	return os.CopyFS(dir, os.DirFS(filepath.Join(filepath.Dir(module), notesDir)))
}
