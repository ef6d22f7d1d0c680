// SPDX-License-Identifier: MIT

package faults_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// kinds are the kernel's ways to fail: a piece of a slab, pages, a copy from or to
// a process.
var kinds = [...]string{"failslab", "fail_page_alloc", "fail_usercopy"}

// failed is how often each of them did.
type failed [len(kinds)]int

func (f failed) sum() (n int) {
	for _, k := range f {
		n += k
	}
	return n
}

// plenty is how often each may still fail. One that was asked for by its number
// happens whatever this counter says, and counts it down: what is missing from it
// says which kind it was.
const plenty = 1 << 30

// kindsFailed is how often each kind has failed since it was last called.
func kindsFailed(t *testing.T) (all failed) {
	t.Helper()
	for i, kind := range kinds {
		file := filepath.Join("/sys/kernel/debug", kind, "times")
		left, err := strconv.Atoi(strings.TrimSpace(vmtest.ReadFile(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		if all[i] = plenty - left; left == plenty {
			continue
		}
		if err := os.WriteFile(file, []byte(strconv.Itoa(plenty)), 0); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Each kind is awake: a request and an answer that are longer than a piece of a slab
// may be have failures of all three.
func TestKinds(t *testing.T) {
	f := vmtest.OpenFaults(t)
	payload := vmtest.Random(t, 20000)
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	var all failed
	one := func(n int) bool {
		kindsFailed(t)
		errno, happened := f.Send(t, n, s, vmtest.NewEcho(uint32(n), payload).Bytes())
		now := kindsFailed(t)
		empty(s)
		for i := range kinds {
			all[i] += now[i]
		}
		if happened && now.sum() != 1 {
			t.Errorf("failure %d is of these kinds: %v", n, now)
		}
		if copying := now[2] == 1; happened && errno != 0 && copying != (errno == unix.EFAULT) {
			t.Errorf("failure %d of kind %v shows as %v", n, now, errno)
		}
		return happened
	}
	// One is passed over if the kernel has another before it this time.
	for i := 0; i < 3 && slices.Contains(all[:], 0) && !t.Failed(); i++ {
		failures(t, 4, one)
	}
	t.Logf("%v: %v", kinds, all)
	for i, kind := range kinds {
		if all[i] == 0 {
			t.Errorf("%s has not failed", kind)
		}
	}
}
