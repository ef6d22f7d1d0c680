// SPDX-License-Identifier: MIT

package benchmod_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// steps are the kernel's functions that the module's init calls.
var steps = []string{"kobject_create_and_add", "sysfs_create_file_ns", "proc_create", "misc_register"}

// Each step of the module's init fails once, all that was made by then is gone, and
// the module can be loaded after each.
func TestInit(t *testing.T) {
	const name = "nlpeer_bench"
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	// One of ours is passed over where a load has one allocation less before it than the
	// load before. So neither the kernel's counters of executed lines count here, which
	// remember earlier loads, nor the pages of caches that just ran empty.
	vmtest.SetFaultSpace(t, "failslab/reject", "__gcov_init")
	vmtest.SetFault(t, "fail_page_alloc/require-end", "0")
	vmtest.SetFault(t, "failslab/verbose", "2")
	vmtest.SetFault(t, "failslab/verbose_ratelimit_interval_ms", "0")

	file := filepath.Join(filepath.Dir(os.Getenv("NLVM_MODULE")), name+".ko")
	load := func() {
		t.Helper()
		if err := vmtest.InsmodFile(file); err != nil {
			t.Error(err)
		}
	}
	unload := func() {
		t.Helper()
		if err := vmtest.Rmmod(name); err != nil {
			t.Fatal(err)
		}
	}
	places := []string{device, procFile, filepath.Dir(sysFile), "/sys/module/" + name}

	unload()
	t.Cleanup(load) // which the run began with
	failed := map[string]int{}
	faults := 0
	all := func() {
		t.Helper()
		for n := 1; !t.Failed(); n++ {
			said := vmtest.LogMark(t)
			errno, happened := f.InsmodFile(t, n, file, "")
			step, inside := where(said(), name)
			// What the kernel does without, it does not speak of: a note of who has what
			// memory. And a device is one whose event nobody hears.
			want := unix.Errno(0)
			if step != "" && !slices.Contains(inside, "kobject_uevent_env") {
				want = unix.ENOMEM
				failed[step]++
			}
			if errno != want {
				t.Errorf("failure %d in %q (%q): %v, want %v", n, step, inside, errno, want)
			}
			if step != "" && !slices.Contains(steps, step) {
				t.Errorf("failure %d is in %q (%q), no step of init", n, step, inside)
			}
			for _, place := range places {
				if _, err := os.Stat(place); (err == nil) != (errno == 0) {
					t.Errorf("failure %d in %q: %v, and %s: %v", n, step, errno, place, err)
				}
			}
			if errno != 0 {
				load()
			}
			unload()
			if !happened {
				return
			}
			faults++
		}
	}
	all()
	// The file in /proc is a single allocation, and what the kernel's tables of numbers
	// allocate now and then may still hide it. Alone it is the first.
	for _, step := range steps {
		if failed[step] == 0 {
			t.Logf("%s was passed over", step)
			vmtest.SetFaultSpace(t, "failslab/require", step)
			all()
		}
	}
	vmtest.Count(t, "faults", faults)
	t.Logf("failed loads: %v", failed)
	for _, step := range steps {
		if failed[step] == 0 {
			t.Errorf("%s did not fail", step)
		}
	}
}

// where reads in the kernel's log in which function a failure was made to happen: the
// one that the module called, and those inside of it.
func where(log, module string) (step string, inside []string) {
	for line := range strings.Lines(log) {
		_, text, ok := strings.Cut(line, "]  ")
		if !ok || strings.HasPrefix(text, "?") {
			continue
		}
		function, rest, ok := strings.Cut(text, "+0x")
		switch {
		case !ok:
		case !strings.Contains(rest, "["+module+"]"):
			step = function
			inside = append(inside, function)
		case step != "":
			return step, inside
		}
	}
	return "", inside
}
