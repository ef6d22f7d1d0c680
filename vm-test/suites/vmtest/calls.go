// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// CountSystemCalls lets the kernel's tracer count the system calls that this
// process makes in f, by number. It counts all threads: what f does may wake
// one that costs more than f.
func CountSystemCalls(t *testing.T, f func()) map[int]int {
	t.Helper()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	event := "/sys/kernel/tracing/events/raw_syscalls/sys_enter"
	_, err = os.Stat(filepath.Join(event, "hist"))
	Need(t, HistTriggers, err == nil)
	trigger := fmt.Sprintf("hist:keys=id if comm == %q", bytes.TrimSpace(comm))
	write := func(s string) {
		if err := os.WriteFile(filepath.Join(event, "trigger"), []byte(s), 0); err != nil {
			t.Fatalf("the kernel's tracer: %v", err)
		}
	}
	write(trigger)
	f()
	hist, err := os.ReadFile(filepath.Join(event, "hist"))
	write("!" + trigger)
	if err != nil {
		t.Fatal(err)
	}
	calls := map[int]int{}
	for _, m := range regexp.MustCompile(`id: +(\d+) .*hitcount: +(\d+)`).FindAllSubmatch(hist, -1) {
		id, _ := strconv.Atoi(string(m[1]))
		calls[id], _ = strconv.Atoi(string(m[2]))
	}
	if len(calls) == 0 {
		t.Fatalf("no system calls in the histogram:\n%s", hist)
	}
	return calls
}
