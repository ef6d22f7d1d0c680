// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Slabs counts what is in use in the caches that messages, objects and
// namespaces are made of.
func Slabs(t testing.TB) map[string]int {
	t.Helper()
	if !Has(PlainMemory) { // what is freed is kept for a while, to find who still uses it
		release(t)
	}
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(b)) {
		var name string
		var active int
		if _, err := fmt.Sscan(line, &name, &active); err != nil {
			continue
		}
		if counted(name) {
			count[name] += active
		}
	}
	if len(count) < 5 {
		t.Fatalf("only %d caches in /proc/slabinfo", len(count))
	}
	return count
}

func counted(cache string) bool {
	return strings.HasPrefix(cache, "kmalloc-") || strings.HasPrefix(cache, "skbuff_") || cache == "net_namespace"
}

// release has the caches let go of what is kept.
func release(t testing.TB) {
	t.Helper()
	files, err := filepath.Glob("/sys/kernel/slab/*/shrink")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cache in /sys/kernel/slab can be shrunk: %v", err)
	}
	for _, file := range files {
		if !counted(filepath.Base(filepath.Dir(file))) {
			continue
		}
		if err := os.WriteFile(file, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// Level fails the test if more objects than the play are in use than before.
// What is freed after a grace period takes a moment.
func Level(t testing.TB, before map[string]int, play int) {
	t.Helper()
	var grown string
	end := time.Now().Add(Deadline())
	for {
		grown = ""
		for name, n := range Slabs(t) {
			if n-before[name] > play {
				grown += fmt.Sprintf("%s grew by %d objects\n", name, n-before[name])
			}
		}
		if grown == "" || time.Now().After(end) {
			break
		}
		unix.Poll(nil, 10)
	}
	if grown != "" {
		t.Error(grown)
	}
}
