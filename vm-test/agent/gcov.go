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

// saveCounts makes a copy, below gcovCopy, of the counts of what was built in the
// folder work.
func saveCounts(work string) error {
	return filepath.WalkDir(filepath.Join(gcovCounts, work), func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		counts, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		to := gcovCopy + p[len(gcovCounts):]
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, counts, 0o644)
	})
}
