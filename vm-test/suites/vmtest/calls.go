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
	write := func(command, do string) {
		trigger := fmt.Sprintf("%shist:keys=id%s if comm == %q", command, do, bytes.TrimSpace(comm))
		file, err := os.OpenFile(filepath.Join(event, "trigger"), os.O_WRONLY, 0) // O_TRUNC would take all away
		if err == nil {
			_, err = file.WriteString(trigger)
			file.Close()
		}
		if err != nil {
			t.Fatalf("the kernel's tracer: %v", err)
		}
	}
	write("", "")
	f()
	// Who has a histogram open is told of each hit, if the kernel can do that. A thread
	// of Go's that waits for that would count its own waiting, and be told of it.
	write("", ":pause")
	hist, err := os.ReadFile(filepath.Join(event, "hist"))
	write("!", "")
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
