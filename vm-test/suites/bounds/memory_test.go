// SPDX-License-Identifier: MIT

package bounds_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// The parameters of the module, and what follows from them: a namespace's
// bytes by the table of docs/architecture.md.
const (
	objects, objectBytes  = 400, 400 << 10
	history, historyBytes = 500, 100 << 10

	ofNamespace = objectBytes + history*48 + historyBytes + 4*(8*objects+objectBytes)
)

// sysctl sets a limit until the test ends.
func sysctl(t *testing.T, name string, value int) {
	t.Helper()
	file := "/proc/sys/" + name
	before, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(fmt.Sprint(value)), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(file, before, 0) })
}

// Somebody without privilege does all he can to make the kernel keep things.
// What it keeps stays within what the namespaces that he may have, and the
// sockets that he may have open, are allowed; and is all given back.
func TestMemory(t *testing.T) {
	const namespaces, rmem = 6, 16 << 10
	spent := time.Duration(vmtest.Scale(4, 60)) * time.Second
	vmtest.Module(t, "interval_ms=0", fmt.Sprintf("objects=%d", objects), fmt.Sprintf("object_bytes=%d", objectBytes),
		fmt.Sprintf("history=%d", history), fmt.Sprintf("history_bytes=%d", historyBytes))
	f := vmtest.Nlpeer(t)
	t.Setenv("NLPEER_FAMILY", fmt.Sprint(f.ID, f.Groups["beacon"], f.Groups["objects"]))
	t.Setenv("NLPEER_HOARD", fmt.Sprint(spent.Milliseconds()))

	empty := emptyNamespace(t)
	sysctl(t, "user/max_net_namespaces", namespaces)
	// Small, so that what is the kernel's business does not hide what is ours.
	sysctl(t, "net/core/rmem_max", rmem)
	sysctl(t, "net/core/rmem_default", rmem)

	slabs, before := vmtest.Slabs(t), vmtest.KernelMemory(t)
	c := start(t, hoard)
	peak := int64(0)
	for done := false; !done; { // not by a signal of its end alone: memory is looked at all the time
		unix.Poll(nil, 20)
		peak = max(peak, vmtest.KernelMemory(t)-before)
		done = c.said()
	}
	out := c.quit(t)

	// The allocator may round a size up to a power of two. A socket's buffer
	// counts whole pages of its datagrams, and one datagram may stick out.
	bound := int64(namespaces*(2*ofNamespace+empty) + descriptors*(2*rmem+64<<10))
	vmtest.Count(t, "seconds of hoarding", int(spent/time.Second))
	t.Logf("%v: at most %.1f MiB, the bound is %.1f MiB (%d namespaces, %d sockets): %s", spent, mib(peak), mib(bound), namespaces, descriptors, out)
	if peak > bound && vmtest.Has(vmtest.PlainMemory) {
		t.Errorf("the kernel took %d bytes, the bound is %d", peak, bound)
	}
	if least := int64(namespaces * objectBytes); peak < least {
		t.Errorf("the kernel took %d bytes, less than the objects of %d namespaces, %d: that shows nothing", peak, namespaces, least)
	}
	for _, want := range []string{"objects", "changes", "atomic dumps", "half dumps", "echoes unread", "batches unread", "subscriptions", "bursts", "namespaces"} {
		if !strings.Contains(out, want+" ") {
			t.Errorf("no %s: %s", want, out)
		}
	}
	given(t, before)
	vmtest.Level(t, slabs, 1000)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// emptyNamespace is what one costs that nobody uses, nlpeer's part and all.
func emptyNamespace(t *testing.T) int {
	t.Helper()
	const n = 5
	before := vmtest.KernelMemory(t)
	var all []*vmtest.Net
	for range n {
		all = append(all, vmtest.NewNet(t))
	}
	cost := (vmtest.KernelMemory(t) - before) / n
	for _, net := range all {
		net.Close()
	}
	given(t, before)
	t.Logf("an empty namespace takes %d KiB", cost>>10)
	return int(max(cost, 0))
}

// given waits until the kernel has no more than before, but for what it keeps
// for the next time.
func given(t *testing.T, before int64) {
	t.Helper()
	play := int64(8 << 20)
	if !vmtest.Has(vmtest.PlainMemory) { // what is freed is kept for a while, to find who still uses it
		play = 64 << 20
	}
	nudged := time.Now()
	vmtest.Until(t, "memory is given back", func() bool {
		if time.Since(nudged) > time.Second { // the kernel may free a namespace when the next ends
			vmtest.NewNet(t).Close()
			nudged = time.Now()
		}
		return vmtest.KernelMemory(t) < before+play
	})
}
