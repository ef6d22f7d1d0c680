// SPDX-License-Identifier: MIT

package prove

import (
	"os"
	"path/filepath"
	"testing"

	"nlpeer/labs/internal/source"
)

// A trace that somebody has shortened to what the text speaks of stays as it is,
// as long as the kernel still does that.
func TestSaveTrace(t *testing.T) {
	const run = "sendmsg\n  unicast\n    input\n  free\n"
	for _, c := range []struct{ name, before, after string }{
		{"none yet", "", run},
		{"shortened", "sendmsg\n  unicast\n    input\n", "sendmsg\n  unicast\n    input\n"},
		{"not so any more", "sendmsg\n  broadcast\n", run},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := &source.Lab{Dir: t.TempDir()}
			file := filepath.Join(l.Dir, traceText)
			if err := os.WriteFile(file, []byte(c.before), 0o644); err != nil {
				t.Fatal(err)
			}
			if stale := (Recorded{Trace: run}).staleTrace(l); (stale == nil) != (c.before == c.after) {
				t.Errorf("stale: %v", stale)
			}
			if err := (Recorded{Trace: run}).Save(l); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != c.after {
				t.Errorf("%q, %v; want %q", got, err, c.after)
			}
		})
	}
}
