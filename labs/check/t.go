// SPDX-License-Identifier: MIT

package check

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// T is a step while it runs: a testing.T whose words the student reads.
type T struct {
	*testing.T
	words    []string
	mistake  string
	hung     string
	protocol int // of the socket that was made last
	log      *kernelLog
}

func (t *T) say(text string) { t.words = append(t.words, strings.TrimRight(text, "\n")) }

// text is all that the step said, "" if it has passed: what is only logged
// matters to nobody then.
func (t *T) text() string {
	if !t.Failed() {
		return ""
	}
	return strings.Join(t.words, "\n")
}

// Log says something that the student reads if the step fails.
func (t *T) Log(args ...any) { t.say(fmt.Sprintln(args...)) }

// Logf is Log with a format.
func (t *T) Logf(format string, args ...any) { t.say(fmt.Sprintf(format, args...)) }

// Error says why the step fails, and lets it go on.
func (t *T) Error(args ...any) {
	t.Log(args...)
	t.Fail()
}

// Errorf is Error with a format.
func (t *T) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.Fail()
}

// Fatal says why the step fails, and ends it.
func (t *T) Fatal(args ...any) {
	t.Log(args...)
	t.FailNow()
}

// Fatalf is Fatal with a format.
func (t *T) Fatalf(format string, args ...any) {
	t.Logf(format, args...)
	t.FailNow()
}

// Mistake ends the step: it is the known mistake of that name, whose help is in
// lab.yaml. What was seen may be said in the words of Sprintf after it.
func (t *T) Mistake(name string, seen ...any) {
	t.mistake = name
	if len(seen) > 0 {
		format, ok := seen[0].(string)
		if !ok {
			panic("check: Mistake needs a format")
		}
		t.say(fmt.Sprintf(format, seen[1:]...))
	}
	t.FailNow()
}

// Deadline is how long a step waits for what must happen. NLVM_SLOW multiplies
// it; where all is well nobody waits for it.
func Deadline() time.Duration {
	d := 5 * time.Second
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 0 {
		d = time.Duration(f * float64(d))
	}
	return d
}

// Until asks f again and again, and ends the step if it does not say true in
// time. It is for what the kernel tells nobody about.
func Until(t *T, what string, f func() bool) {
	end := time.Now().Add(Deadline())
	for !f() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// RandomText returns n random lower-case letters, for what goes through a
// command line.
func RandomText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(rand.IntN(26))
	}
	return string(b)
}

// RandomNumber returns a random number that is not small, for sequence numbers
// and ports: one that nobody has by chance.
func RandomNumber() uint32 { return 1<<16 + rand.Uint32N(1<<30) }
