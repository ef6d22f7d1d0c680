// SPDX-License-Identifier: MIT

package benchmod_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Each step of the module's init fails once, all that was made by then is gone, and
// the module can be loaded after each.
func TestInit(t *testing.T) {
	const name = "nlpeer_bench"
	f := vmtest.OpenFaults(t)
	f.InModules(t)
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
	failed := 0
	for n := 1; !t.Failed(); n++ {
		errno, happened := f.InsmodFile(t, n, file, "")
		if errno != 0 && errno != unix.ENOMEM {
			t.Errorf("failure %d: %v, want ENOMEM", n, errno)
		}
		for _, place := range places {
			if _, err := os.Stat(place); (err == nil) != (errno == 0) {
				t.Errorf("failure %d: %v, and %s: %v", n, errno, place, err)
			}
		}
		if errno == 0 {
			unload()
		} else {
			failed++
		}
		load()
		unload()
		if !happened {
			vmtest.Count(t, "faults", n-1)
			break
		}
	}
	if failed < 4 { // the device, the file in /proc, and two below /sys
		t.Errorf("loading failed %d times", failed)
	}
}
