// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// Where a debug kernel's detectors can be asked; other kernels have none of it.
const (
	kmemleakFile = "/sys/kernel/debug/kmemleak"
	lockdepFile  = "/proc/lockdep_stats"
)

// leakAge is how old an allocation must be before kmemleak calls it lost
// (mm/kmemleak.c, MSECS_MIN_AGE), and a little.
const leakAge = 5200 * time.Millisecond

// leakLines bounds what is told of leaks; one of them is some 20 lines.
const leakLines = 200

// askDetectors asks those that report only when asked, and whether the others
// have been awake.
func askDetectors() []string {
	return append(findLeaks(), lockdepAsleep()...)
}

// findLeaks reports the memory that nothing points to any more.
func findLeaks() []string {
	if _, err := os.Stat(kmemleakFile); err != nil {
		return nil
	}
	// What changes between two scans is in use, so a leak is known at the
	// second at the earliest; the first takes some of the time to wait.
	old := time.Now().Add(leakAge)
	err := os.WriteFile(kmemleakFile, []byte("scan"), 0)
	time.Sleep(time.Until(old))
	if err == nil {
		err = os.WriteFile(kmemleakFile, []byte("scan"), 0)
	}
	if err != nil {
		return []string{fmt.Sprintf("kmemleak does not search: %v", err)}
	}
	found, err := os.ReadFile(kmemleakFile)
	if err != nil {
		return []string{fmt.Sprintf("kmemleak: %v", err)}
	}
	var lines []string
	for line := range strings.Lines(string(found)) {
		if len(lines) == leakLines {
			return append(lines, "kmemleak: …")
		}
		lines = append(lines, "kmemleak: "+strings.TrimRight(line, "\n"))
	}
	return lines
}

// lockdepAsleep says that the detector of wrong locking is off: it switches
// itself off after its first report, and when its tables are full.
func lockdepAsleep() []string {
	stats, err := os.ReadFile(lockdepFile)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(stats)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "debug_locks" && strings.TrimSpace(value) == "0" {
			return []string{"lockdep was off at the end of the run"}
		}
	}
	return nil
}
