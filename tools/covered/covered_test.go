// SPDX-License-Identifier: MIT

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const source = `int one(void)
{
	if (a || b)
		return 1;
	return 0;
}
int two(void)
{
	return 1;
	return 1;
}
int three(void)
{
	if (a)
		return -1;
	if (b)
		return -1;
}
`

// Of one: line 4 is not reached. Of two: neither line. Of three, which lcov does not
// name: the first jump; neither of its jumps has a line.
const info = `TN:
SF:ROOT/kmod/x.c
FN:7,two
FN:1,one
FNDA:3,one
DA:1,3
DA:3,3
DA:4,0
DA:5,3
DA:7,0
DA:9,0
DA:10,0
DA:14,3
DA:16,3
BRDA:3,0,0,3
BRDA:3,0,1,-
BRDA:3,0,2,0
BRDA:14,0,0,3
BRDA:14,0,1,0
BRDA:16,0,0,2
BRDA:16,0,1,1
end_of_record
`

const profile = `mode: set
nlpeer/pkg/wire/a.go:1.1,2.2 9 1
nlpeer/pkg/wire/a.go:3.1,4.2 1 0
mode: atomic
nlpeer/pkg/wire/a.go:3.1,4.2 1 17
nlpeer/pkg/client/b.go:3.1,4.2 1 0
nlpeer/pkg/client/b.go:5.1,6.2 3 1
`

const page = "a\n<!-- not reached: compared by make coverage -->\n" + `
| function | lines | why |
|---|---|---|
` + "ROWS" + `
<!-- end of not reached -->
b ` + "`c`" + `
`

// judge runs it on the files above, changed, and returns what it complains about
// and the files that it wrote.
func judge(t *testing.T, rows string, change func(name, content string) string) (problems []string, summary, uncovered string, err error) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, content := range map[string]string{
		"kmod/x.c": source, "info": info, "profile": profile, "page": strings.Replace(page, "ROWS", rows, 1),
	} {
		if change != nil {
			content = change(name, content)
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(content, "ROOT", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	problems, err = run("info", "profile", "page", ".", false)
	if err != nil {
		return problems, "", "", err
	}
	for name, to := range map[string]*string{"summary.txt": &summary, "uncovered.txt": &uncovered} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		*to = string(b)
	}
	return problems, summary, uncovered, nil
}

const (
	rowOne   = "| `x.c` `one` | `return 1;` | never so |\n"
	rowTwo   = "| `x.c` `two` | `int two(void)` `return 1;` `return 1;` | never so |\n"
	rowThree = "| `x.c` `three` | `return -1;` | never so |\n"
	allRows  = rowOne + rowTwo + rowThree
)

func TestReport(t *testing.T) {
	_, summary, uncovered, err := judge(t, allRows, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantSummary := `FILE                          LINES  REACHED       %  BRANCHES  REACHED       %
kmod/x.c                         11        6    54.5         7        4    57.1
kmod                             11        6    54.5         7        4    57.1

PACKAGE                      STATEMENTS  REACHED       %
pkg/client                            4        3    75.0
pkg/wire                             10       10   100.0
`
	if diff := cmp.Diff(wantSummary, summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	wantUncovered := `kmod/x.c:4: one: return 1;
kmod/x.c:7: two: int two(void)
kmod/x.c:9: two: return 1;
kmod/x.c:10: two: return 1;
kmod/x.c:15: three: return -1;
`
	if diff := cmp.Diff(wantUncovered, uncovered); diff != "" {
		t.Errorf("uncovered (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	tooLittle := []string{"54.5 % of the module's lines were reached, 95 are wanted", "75.0 % of pkg/client was reached, 90 are wanted"}
	for _, tt := range []struct {
		name string
		rows string
		want []string
	}{
		{"all explained", allRows, nil},
		{"one is not", rowTwo + rowThree, []string{"kmod/x.c:4: no test reaches this: return 1;"}},
		{"one of two alike is not", rowOne + rowThree + "| `x.c` `two` | `int two(void)` `return 1;` | never so |\n",
			[]string{"kmod/x.c:10: no test reaches this: return 1;"}},
		{"a jump without a line is not", rowOne + rowTwo, []string{"kmod/x.c:15: no test reaches this: return -1;"}},
		{"one of two such that is reached", rowOne + rowTwo + "| `x.c` `three` | `return -1;` `return -1;` | never so |\n",
			[]string{"kmod/x.c:15: a test reaches this, so it needs no reason why not: return -1;"}},
		{"one that is reached", allRows + "| `x.c` `one` | `if (a \\|\\| b)` | never so |\n",
			[]string{"kmod/x.c:3: a test reaches this, so it needs no reason why not: if (a || b)"}},
		{"one that is reached, but not always", allRows + "| `x.c` `one` | `if (a \\|\\| b)` | By chance: a race |\n", nil},
		{"one that is no more", allRows + "| `x.c` `one` | `return 2;` | never so |\n",
			[]string{"there is no such line any more: x.c: one: return 2;"}},
	} {
		got, _, _, err := judge(t, tt.rows, nil)
		if diff := cmp.Diff(append(tt.want, tooLittle...), got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct{ name, rows, file, old, new string }{
		{"no reason", "| `x.c` `one` | `return 1;` | |\n", "", "", ""},
		{"no function", "| `x.c` | `return 1;` | never |\n", "", "", ""},
		{"a bar too many", "| `x.c` `one` | `a | b` | never |\n", "", "", ""},
		{"no end", rowOne, "page", "<!-- end of not reached -->", ""},
		{"a line beyond the file", rowOne, "info", "DA:10,0", "DA:100,0"},
		{"a line without a file", rowOne, "info", "SF:ROOT/kmod/x.c\n", ""},
		{"nothing", rowOne, "info", info, ""},
		{"a file that is not there", rowOne, "info", "x.c", "y.c"},
		{"a branch without a line", rowOne, "info", "BRDA:3,", "BRDA:,"},
		{"a block without a count", rowOne, "profile", " 9 1", " 9"},
	} {
		_, _, _, err := judge(t, tt.rows, func(name, content string) string {
			if name == tt.file {
				return strings.Replace(content, tt.old, tt.new, 1)
			}
			return content
		})
		if err == nil {
			t.Errorf("%s: no error", tt.name)
		}
	}
}

// The lines that the real table is about are there, which can be seen without a
// run.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	excuses, err := readExcuses(string(page))
	if err != nil {
		t.Fatal(err)
	}
	for p := range excuses {
		text, err := os.ReadFile(filepath.Join("../../kmod", p.file))
		if err != nil {
			t.Error(err)
			continue
		}
		_, function, there := strings.Cut(string(text), p.function+"(")
		// The first time is perhaps not the definition; the last is no less.
		if !there || !strings.Contains(function, p.text) {
			t.Errorf("there is no such line any more: %v", p)
		}
	}
}
