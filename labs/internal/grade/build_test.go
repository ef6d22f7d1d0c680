// SPDX-License-Identifier: MIT

package grade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"testing"

	"nlpeer/labs/internal/source"
)

// What a check is made of is what it imports, and what that does: nothing else
// makes it another one, and nothing of it is forgotten.
func TestHashPackages(t *testing.T) {
	tree := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := source.WriteFile(filepath.Join(tree, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module nlpeer\n\ngo 1.24\n")
	write("go.sum", "")
	write("check/doc.go", "package check\n")
	write("check/check_test.go", "package check\n\nimport (\n\t_ \"nlpeer/direct\"\n\t\"testing\"\n)\n\nfunc TestLab(t *testing.T) {}\n")
	write("direct/direct.go", "package direct\n\nimport (\n\t_ \"embed\"\n\t_ \"nlpeer/behind\"\n)\n\n//go:embed text\nvar text string\n")
	write("direct/text", "a")
	write("direct/direct_s390x.go", "package direct\n")
	write("direct/direct_test.go", "package direct\n")
	write("behind/behind.go", "package behind\n")
	write("other/other.go", "package other\n")
	hash := func() string {
		t.Helper()
		h := sha256.New()
		if err := (Tools{Tree: tree}).HashPackages(context.Background(), h, true, "./check"); err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(h.Sum(nil))
	}
	last := hash()
	for _, c := range []struct {
		name, text string
		matters    bool
	}{
		{"check/check_test.go", "package check\n\nimport _ \"nlpeer/direct\"\n", true},
		{"direct/text", "b", true},
		{"direct/direct_s390x.go", "package direct\n\nvar big = true\n", true},
		{"behind/behind.go", "package behind\n\nvar x int\n", true},
		{"direct/direct_test.go", "package direct\n\nvar x int\n", false},
		{"other/other.go", "package other\n\nvar x int\n", false},
		{"go.sum", "example.com/m v1.0.0 h1:x=\n", true},
	} {
		write(c.name, c.text)
		now := hash()
		if (now != last) != c.matters {
			t.Errorf("%s has changed: another hash is %v, want %v", c.name, now != last, c.matters)
		}
		last = now
	}
}
