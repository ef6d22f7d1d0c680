// SPDX-License-Identifier: MIT

package matrix_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/matrix"
)

const events = `{"Action":"start"}
{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Test":"TestA","Output":"    a_test.go:1: counted sheep: 7\n"}
{"Action":"output","Test":"TestA","Output":"    a_test.go:2: counted sheep: 5\n    a_test.go:3: sheep: 5\n"}
{"Action":"pass","Test":"TestA"}
{"Action":"run","Test":"TestB"}
{"Action":"run","Test":"TestB/one"}
{"Action":"run","Test":"TestB/one/x"}
{"Action":"pass","Test":"TestB/one/x"}
{"Action":"pass","Test":"TestB/one"}
{"Action":"run","Test":"TestB/two"}
{"Action":"output","Test":"TestB/two","Output":"    b_test.go:7: kernel 5.10 has not: colours\n"}
{"Action":"skip","Test":"TestB/two"}
{"Action":"pass","Test":"TestB"}
`

const bad = `{"Action":"run","Test":"TestC"}
{"Action":"run","Test":"TestC/bad"}
{"Action":"output","Test":"TestC/bad","Output":"    c_test.go:7: so far so good\n    c_test.go:8: no | good\n"}
{"Action":"fail","Test":"TestC/bad"}
{"Action":"fail","Test":"TestC"}
{"Action":"run","Test":"TestD"}
{"Action":"run","Test":"TestD/good"}
{"Action":"pass","Test":"TestD/good"}
{"Action":"output","Test":"TestD","Output":"    d_test.go:9: by itself\n"}
{"Action":"fail","Test":"TestD"}
{"Action":"run","Test":"TestE"}
{"Action":"output","Test":"TestE","Output":"    e_test.go:1: not today\n"}
{"Action":"skip","Test":"TestE"}
{"Action":"run","Test":"TestF"}
{"Action":"output","Test":"TestF","Output":"panic\n"}
`

// lacking are two more skips of a kernel.
const lacking = `{"Action":"run","Test":"TestX"}
{"Action":"output","Test":"TestX","Output":"    x_test.go:7: kernel 7.3 has not: sound\n"}
{"Action":"skip","Test":"TestX"}
{"Action":"run","Test":"TestZ"}
{"Action":"output","Test":"TestZ","Output":"    x_test.go:9: kernel 7.3 has not: colours\n"}
{"Action":"skip","Test":"TestZ"}
`

func read(t *testing.T, r matrix.Result, events string) matrix.Result {
	t.Helper()
	if err := r.Read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	sheep := map[string]int{"sheep": 12}
	skip := matrix.Outcome{Test: "TestB/two", Reason: "b_test.go:7: kernel 5.10 has not: colours"}
	for _, tt := range []struct {
		name, events string
		status       int
		want         matrix.Result
		ok           bool
	}{
		{"good", events, 0, matrix.Result{Passed: 2, Failed: []matrix.Outcome{}, Skipped: []matrix.Outcome{skip}, Counts: sheep}, true},
		{"a kernel that complained", events + `{"Action":"output","Output":"nlvm: WARNING\n"}`, 123,
			matrix.Result{Passed: 2, Failed: []matrix.Outcome{{Reason: "nlvm: WARNING"}}, Skipped: []matrix.Outcome{skip}, Status: 123, Counts: sheep}, false},
		{"no test", `{"Action":"output","Output":"testing: warning: no tests to run\n"}{"Action":"pass"}`, 0,
			matrix.Result{Failed: []matrix.Outcome{{Reason: "no test has run: testing: warning: no tests to run"}}, Skipped: []matrix.Outcome{}}, false},
		{"only skips", strings.Replace(lacking, "7.3", "5.10", 1), 0, matrix.Result{Failed: []matrix.Outcome{}, Skipped: []matrix.Outcome{
			{Test: "TestX", Reason: "x_test.go:7: kernel 5.10 has not: sound"},
			{Test: "TestZ", Reason: "x_test.go:9: kernel 7.3 has not: colours"},
		}}, true},
		{"nothing at all", "", 2, matrix.Result{Failed: []matrix.Outcome{{}}, Skipped: []matrix.Outcome{}, Status: 2}, false},
		{"bad", bad, 1, matrix.Result{Passed: 1, Failed: []matrix.Outcome{
			{Test: "TestC/bad", Reason: "c_test.go:7: so far so good\nc_test.go:8: no | good"},
			{Test: "TestD", Reason: "d_test.go:9: by itself"},
			{Test: "TestE", Reason: "skipped without need: e_test.go:1: not today"},
			{Test: "TestF", Reason: "panic"},
		}, Skipped: []matrix.Outcome{}, Status: 1}, false},
	} {
		got := read(t, matrix.Result{Status: tt.status}, tt.events)
		if diff := cmp.Diff(tt.want, got); diff != "" || got.OK() != tt.ok {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, got.OK(), diff)
		}
	}
	if err := new(matrix.Result).Read(strings.NewReader("{")); err == nil {
		t.Error("half an event is none")
	}
}

func TestText(t *testing.T) {
	want := "=== RUN   TestA\n    a_test.go:1: counted sheep: 7\n    a_test.go:2: counted sheep: 5\n    a_test.go:3: sheep: 5\n    b_test.go:7: kernel 5.10 has not: colours\n"
	if got := string(matrix.Text([]byte(events))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTable(t *testing.T) {
	table := matrix.Table{Date: "2026-11-30", Kernels: []string{"5.10", "7.3"}, Results: []matrix.Result{
		read(t, matrix.Result{Kernel: "7.3", Version: "7.3.4", Suite: "zoo"}, bad+lacking),
		read(t, matrix.Result{Kernel: "7.3", Version: "7.3.4", Suite: "echo", Seconds: 3}, `{"Action":"run","Test":"TestA"}{"Action":"pass","Test":"TestA"}`),
		read(t, matrix.Result{Kernel: "5.10", Version: "5.10.9", Suite: "echo"}, events),
	}}
	want := "a\n<!-- matrix: written by make test-matrix ALL=1 -->\n" + `
| suite | 5.10 | 7.3 |
| --- | --- | --- |
| ` + "`echo`" + ` | 2, 1 skipped | 1 |
| ` + "`zoo`" + ` | - | 1, 2 skipped, **4 failed** |
| all | 2, 1 skipped | 2, 2 skipped, **4 failed** |

This was on 2026-11-30. The kernels: 5.10 is 5.10.9, 7.3 is 7.3.4.

| counted | 5.10 | 7.3 |
| --- | --- | --- |
| ` + "`echo`: sheep" + ` | 12 | - |

Skipped, because the kernel lacks what they are about:

` + "- colours (not in 5.10, 7.3): `echo TestB/two`, `zoo TestZ`\n- sound (not in 7.3): `zoo TestX`" + `

Failed:

` + "- 7.3, `zoo TestC/bad`: … c_test.go:8: no ¦ good\n- 7.3, `zoo TestD`: d_test.go:9: by itself" + `
` + "- 7.3, `zoo TestE`: skipped without need: e_test.go:1: not today\n- 7.3, `zoo TestF`: panic" + `

<!-- end of matrix -->
b
`
	got, err := table.Replace([]byte("a\n<!-- matrix: written by make test-matrix ALL=1 -->\nold\n<!-- end of matrix -->\nb\n"))
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil || table.OK() {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if again, err := table.Replace(got); err != nil || string(again) != want {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if _, err := table.Replace([]byte("no place")); err == nil {
		t.Error("a document without the place")
	}
	if !(matrix.Table{Results: table.Results[1:]}).OK() {
		t.Error("without what failed")
	}
}
