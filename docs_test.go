// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const suites = "vm-test/suites"

// testSources is what the tests in each folder consist of.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "build" || path == ".git") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sources[filepath.Dir(path)] += string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func hasTest(source, name string) bool {
	return regexp.MustCompile(`(?m)^func ` + name + `\(t \*testing\.T\)`).MatchString(source)
}

// The protocol's document says which test holds which mechanism on which
// carrier. They are there.
func TestProtocolNamesTests(t *testing.T) {
	doc, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := testSources(t)
	named := regexp.MustCompile("`([a-z]+)/(Test[A-Za-z]+)`").FindAllStringSubmatch(string(doc), -1)
	for _, m := range named {
		suite, name := m[1], m[2]
		if !hasTest(sources[filepath.Join(suites, suite)], name) {
			t.Errorf("docs/protocol.md names %s in suite %s, which is not there", name, suite)
		}
	}
	if len(named) < 80 {
		t.Errorf("docs/protocol.md names %d tests, want a table full of them", len(named))
	}
}

// So are the tests that the document about tests names: in which suite, behind
// "host" in which package, or in which folder; where it says neither, in the same as
// the one before it on the line, or anywhere. What a test is divided into has its
// names at run time only.
func TestTestingNamesTests(t *testing.T) {
	doc, err := os.ReadFile("docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := testSources(t)
	test := regexp.MustCompile("(host )?`(?:([a-z0-9/-]+) )?(Test[A-Z][A-Za-z0-9]*)(?:/[^`]*)?`")
	named := 0
	for i, line := range strings.Split(string(doc), "\n") {
		host, place := false, ""
		for _, m := range test.FindAllStringSubmatch(line, -1) {
			host = host || m[1] != ""
			if m[2] != "" {
				place = m[2]
			}
			name := m[3]
			there := false
			for dir, source := range sources {
				in := false
				switch {
				case place == "":
					in = true
				case strings.Contains(place, "/"):
					in = dir == place
				case host:
					in = filepath.Base(dir) == place && !strings.HasPrefix(dir, suites)
				default:
					in = dir == filepath.Join(suites, place)
				}
				there = there || in && hasTest(source, name)
			}
			if !there {
				t.Errorf("docs/testing.md:%d names %s, which is not there", i+1, strings.ReplaceAll(m[0], "`", ""))
			}
			named++
		}
	}
	if named < 80 {
		t.Errorf("docs/testing.md names %d tests, want a table full of them", named)
	}
}
