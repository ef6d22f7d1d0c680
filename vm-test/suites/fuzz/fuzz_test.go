// SPDX-License-Identifier: MIT

package fuzz_test

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"nlpeer/vm-test/fuzz"
	"nlpeer/vm-test/fuzz/execute"
	"nlpeer/vm-test/suites/vmtest"
)

// One runner for all tests: it keeps sockets open, and threads.
var runner = sync.OnceValues(execute.NewRunner)

func run(t *testing.T, p *fuzz.Program) execute.Result {
	t.Helper()
	r, err := runner()
	if err != nil {
		t.Fatal(err)
	}
	res := r.Run(p)
	if len(res.Problems) > 0 {
		t.Fatalf("%s\n%s", p, strings.Join(res.Problems, "\n"))
	}
	return res
}

// again runs a program that once did harm, more often than a race needs.
func again(t *testing.T, text string) (last execute.Result) {
	t.Helper()
	p, err := fuzz.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		last = run(t, p)
	}
	return last
}

// The programs of the source tree do no harm, and are answered.
func TestSeeds(t *testing.T) {
	seeds, err := fuzz.Seeds()
	if err != nil {
		t.Fatal(err)
	}
	bigEndian := binary.NativeEndian.Uint16([]byte{0, 1}) == 1
	for _, s := range seeds {
		t.Run(s.Name, func(t *testing.T) {
			// Some that the fuzzer kept are about something else. And the connector's
			// header is bytes to it, with the address of somebody else where the
			// first byte is the greatest.
			silent := strings.HasPrefix(s.Name, "reached-") || bigEndian && s.Name == "connector"
			if res := again(t, s.String()); !silent && (res.Sent == 0 || res.Answered == 0) {
				t.Errorf("%d messages sent, %d answers", res.Sent, res.Answered)
			}
		})
	}
}

// Nor do others, for a short while.
func TestRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("random seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	seeds, err := fuzz.Seeds()
	if err != nil {
		t.Fatal(err)
	}
	var corpus []*fuzz.Program
	for _, s := range seeds {
		corpus = append(corpus, s.Program)
	}
	sent := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		sent += run(t, fuzz.Next(r, corpus)).Sent
	}
	t.Logf("%d messages", sent)
}

// On a kernel that tells what is reached, an echo reaches the function that
// answers it.
func TestReached(t *testing.T) {
	r, err := runner()
	if err != nil {
		t.Fatal(err)
	}
	vmtest.Need(t, vmtest.Coverage, r.Sites != nil)
	echo, err := fuzz.Parse("0 open 0 0 0 0\n0 call 0 16/1/=/1/0/68656c6c6f")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	cover := run(t, echo).Cover
	for i := range r.Sites.Count() {
		if cover.Has(i) {
			name, _, _ := strings.Cut(r.Sites.Name(i), "+")
			names[name] = true
		}
	}
	for name, want := range map[string]bool{"raw_input": true, "raw_object_dump": false, "connector_input": false} {
		if names[name] != want {
			t.Errorf("%s reached: %v, want %v; all: %v", name, names[name], want, names)
		}
	}
}
