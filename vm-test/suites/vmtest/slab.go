// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Slabs counts what is in use in the caches that messages, objects and
// namespaces are made of.
func Slabs(t testing.TB) map[string]int {
	t.Helper()
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
		if strings.HasPrefix(name, "kmalloc-") || strings.HasPrefix(name, "skbuff_") || name == "net_namespace" {
			count[name] += active
		}
	}
	if len(count) < 5 {
		t.Fatalf("only %d caches in /proc/slabinfo", len(count))
	}
	return count
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
