// SPDX-License-Identifier: MIT

package nlbench_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlbench"
)

// Tables and charts of docs/performance.md are what the results beside it give.
func TestDocumentIsCurrent(t *testing.T) {
	const docs = "../../../docs"
	page, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	again := filepath.Join(dir, "performance.md")
	if err := os.WriteFile(again, page, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, results := range []string{"results.json", "host.json"} {
		got := clitest.Run(t.Context(), nlbench.Command, "report", "--docs", again, filepath.Join(docs, "performance", results))
		if got.Code != cli.ExitOK {
			t.Fatalf("%s: %+v", results, got)
		}
	}
	made, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(made), string(page)); diff != "" {
		t.Errorf("docs/performance.md is not current (-should be +is); run: nlbench report --docs\n%s", diff)
	}
	charts, err := filepath.Glob(filepath.Join(dir, "performance", "*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if len(charts) != 6 {
		t.Errorf("the results give %d charts, want 6", len(charts))
	}
	for _, chart := range charts {
		want, err := os.ReadFile(chart)
		if err != nil {
			t.Fatal(err)
		}
		is, err := os.ReadFile(filepath.Join(docs, "performance", filepath.Base(chart)))
		if err != nil || !bytes.Equal(is, want) {
			t.Errorf("docs/performance/%s is not current (%v); run: nlbench report --docs", filepath.Base(chart), err)
		}
		if !bytes.Contains(page, []byte("(performance/"+filepath.Base(chart)+")")) {
			t.Errorf("docs/performance.md does not show %s", filepath.Base(chart))
		}
	}
}
