// SPDX-License-Identifier: MIT

package vmtest

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Until asks f again and again, and fails the test if it does not say true in
// time. It is for what the kernel tells nobody about.
func Until(t testing.TB, what string, f func() bool) {
	t.Helper()
	UntilIn(t, Deadline(), what, f)
}

// UntilIn is Until for what takes longer.
func UntilIn(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	end := time.Now().Add(d)
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		unix.Poll(nil, 1) // lets others have the only processor
	}
}

// Together runs functions at the same time, each in a goroutine, and waits for
// all. A function may end itself by t.Fatal; the test goes on, failed.
func Together(fs ...func()) {
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(f)
	}
	wg.Wait()
}
