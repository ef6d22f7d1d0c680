// SPDX-License-Identifier: MIT

package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/matrix"
)

func TestMatrixUsage(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"no-such-suite"}, "no suite no-such-suite; there are: abuse, batch,"},
		{[]string{"--kernel", "2.4"}, `unknown kernel "2.4"; known are: 5.10, 6.1,`},
		{[]string{"--all", "--kernel", "6.1"}, "--all and --kernel contradict each other"},
	} {
		finish(t, command(t, append([]string{"matrix"}, tt.args...)...)).want(t, 2, "", tt.stderr)
	}
}

// One suite on one kernel, and once more: the second time its result is that
// of the first. The table is in all three places.
func TestMatrix(t *testing.T) {
	needVM(t)
	out := t.TempDir()
	docs := filepath.Join(out, "docs.md")
	if err := os.WriteFile(docs, []byte("<!-- matrix: written by make test-matrix ALL=1 -->\n<!-- end of matrix -->\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	name := kernel.Default()
	args := []string{"matrix", "--kernel", "default", "--out", filepath.Join(out, "made"), "--docs", docs, "explain"}
	for i, said := range []string{"ok  \tnlpeer/vm-test/suites/explain\t", "ok  \tnlpeer/vm-test/suites/explain\t(cached)\t[" + name + "] "} {
		r := finish(t, command(t, args...))
		if r.status != 0 || !strings.Contains(r.stderr, said) {
			t.Fatalf("%+v", r)
		}
		if !strings.HasPrefix(r.stdout, "| suite | "+name+" |\n| --- | --- |\n| `explain` | ") {
			t.Errorf("%s", r.stdout)
		}
		for file, want := range map[string]string{
			"made/matrix.md": r.stdout,
			"docs.md":        "<!-- matrix: written by make test-matrix ALL=1 -->\n\n" + r.stdout + "\n<!-- end of matrix -->\n",
		} {
			if b, err := os.ReadFile(filepath.Join(out, file)); err != nil || string(b) != want {
				t.Errorf("%s: %v\n%s", file, err, b)
			}
		}
		b, err := os.ReadFile(filepath.Join(out, "made/matrix.json"))
		if err != nil {
			t.Fatal(err)
		}
		var table matrix.Table
		if err := json.Unmarshal(b, &table); err != nil || len(table.Results) != 1 {
			t.Fatalf("%v\n%s", err, b)
		}
		got := table.Results[0]
		if got.Kernel != name || got.Suite != "explain" || got.Passed == 0 || !got.OK() || i == 1 && !got.Repeated {
			t.Errorf("%+v", got)
		}
	}
}
