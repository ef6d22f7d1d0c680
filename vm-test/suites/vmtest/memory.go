// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"strings"
	"testing"
)

// KernelMemory is how many bytes the kernel has taken for itself: all that is
// neither free, nor a process's, nor a copy of a file.
func KernelMemory(t testing.TB) int64 {
	t.Helper()
	kib := map[string]int64{}
	for line := range strings.Lines(ReadFile(t, "/proc/meminfo")) {
		var name string
		var n int64
		if _, err := fmt.Sscan(line, &name, &n); err == nil {
			kib[strings.TrimSuffix(name, ":")] = n
		}
	}
	if kib["MemTotal"] == 0 || kib["MemFree"] == 0 {
		t.Fatalf("/proc/meminfo: %v", kib)
	}
	return (kib["MemTotal"] - kib["MemFree"] - kib["Buffers"] - kib["Cached"] - kib["AnonPages"] - kib["SReclaimable"]) << 10
}
