// SPDX-License-Identifier: MIT

package main

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Where the kernel counts the executed lines of what was built for it, and
// where a copy is made: its own files have no size, and so fit into no archive.
const (
	gcovCounts = "/sys/kernel/debug/gcov"
	gcovCopy   = "/run/nlvm/gcov"
)

// saveCounts copies the counts of what was built in the folder work, and
// returns the copy.
func saveCounts(work string) (string, error) {
	from := filepath.Join(gcovCounts, work)
	return gcovCopy, filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		counts, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		to := gcovCopy + p[len(from):]
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, counts, 0o644)
	})
}
