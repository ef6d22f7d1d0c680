// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// The protocol's document says which test holds which mechanism on which
// carrier. They are there.
func TestProtocolNamesTests(t *testing.T) {
	doc, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	suites := map[string]string{}
	named := regexp.MustCompile("`([a-z]+)/(Test[A-Za-z]+)`").FindAllStringSubmatch(string(doc), -1)
	for _, m := range named {
		suite, name := m[1], m[2]
		if suites[suite] == "" {
			files, _ := filepath.Glob(filepath.Join("vm-test/suites", suite, "*_test.go"))
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				suites[suite] += string(b)
			}
		}
		if !regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`).MatchString(suites[suite]) {
			t.Errorf("docs/protocol.md names %s in suite %s, which is not there", name, suite)
		}
	}
	if len(named) < 80 {
		t.Errorf("docs/protocol.md names %d tests, want a table full of them", len(named))
	}
}
