// SPDX-License-Identifier: MIT

// Package vmtest is what the suites that run inside the VM share: the module
// loaded and unloaded, sockets with nothing in between, users and namespaces.
//
// It calls the kernel directly and not through pkg/client, so that a suite
// judges the module by bytes and errnos that the client had no hand in.
package vmtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// The tests must not run on the process's first thread: that one outlives a
// goroutine locked to it, and would keep the namespace that it was moved to.
func init() { runtime.LockOSThread() }

// Main runs a suite, or one of its children (see AsUser), and is called from
// TestMain. Outside the VM it fails when NLPEER_CI says that there must be one,
// and otherwise says what is missing.
func Main(m *testing.M) {
	if child := os.Getenv(childEnv); child != "" {
		os.Exit(runChild(child))
	}
	if os.Getenv("NLVM") == "" {
		fmt.Fprintln(os.Stderr, "skipped: this suite runs inside the VM; try: nlvm test ./vm-test/suites/...")
		if os.Getenv("NLPEER_CI") != "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Slow is NLVM_SLOW: by how much what takes time may take longer here.
func Slow() float64 {
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 0 {
		return f
	}
	return 1
}

// Deadline is how long a test waits for what must happen. NLVM_SLOW multiplies
// it on slow machines; a passing test never waits for it.
func Deadline() time.Duration { return time.Duration(Slow() * float64(20*time.Second)) }

// Times is how often a loop goes round that shows something by its numbers alone:
// n times, and an eighth of it on a kernel with detectors. There each round shows
// more, and costs ten times as much.
func Times(n int) int {
	if Has(Detectors) {
		return max(1, n/8)
	}
	return n
}

// Scale is how many times a test does what it does: a few in the everyday run,
// and all that is promised with NLPEER_LONG=1.
func Scale(everyday, all int) int {
	if os.Getenv("NLPEER_LONG") != "" {
		return all
	}
	return everyday
}

// Rand returns a random source. Its seed is in the log of a failing test.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("random seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Random returns n random bytes, of a source of their own.
func Random(t testing.TB, n int) []byte {
	t.Helper()
	return Bytes(Rand(t), n)
}

// Bytes returns n bytes of a random source.
func Bytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
