// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/security"
)

var update = flag.Bool("update", false, "write the table of SECURITY.md again")

// The table in SECURITY.md is the one that the suite privilege goes through.
func TestSecurityTable(t *testing.T) {
	const file, begin, end = "SECURITY.md", "-update -->\n", "<!-- end of table -->"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(b), begin)
	shown, tail, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the table", file)
	}
	want := "\n" + security.Markdown() + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("%s is not what vm-test/security says; try: go test . -run TestSecurityTable -update\n%s", file, diff)
	}
}
