// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"strings"
	"testing"
)

// Slabs counts the objects in use in the caches that a message is made of.
func Slabs(t testing.TB) map[string]int {
	t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(string(proc(t, "/proc/slabinfo"))) {
		var name string
		var active int
		if _, err := fmt.Sscan(line, &name, &active); err != nil {
			continue
		}
		if strings.HasPrefix(name, "kmalloc-") || strings.HasPrefix(name, "skbuff_") {
			count[name] += active
		}
	}
	if len(count) < 5 {
		t.Fatalf("only %d caches in /proc/slabinfo", len(count))
	}
	return count
}

// NotGrown fails the test if a cache has more than a few objects more than
// before: free objects in the slab at hand count as used, hence some play.
func NotGrown(t testing.TB, before, after map[string]int, play int) {
	t.Helper()
	for name, n := range after {
		if grown := n - before[name]; grown > play {
			t.Errorf("%s grew by %d objects", name, grown)
		}
	}
}
