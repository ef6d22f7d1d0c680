// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"go/format"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/fuzz"
)

// A nlvm that fails with a message of type 4711 in the programs of --replay, and with
// both one of type 4712 and one of type 4713 behind it, and otherwise writes what is in the file records, and ends as
// the file status says.
const fakeNlvm = `#!/bin/sh
here=$(dirname "$0")
for arg; do
	case $arg in
	*:replay) replay=${arg%:replay} ;;
	esac
done
if [ -z "${replay-}" ]; then
	cat "$here/records"
	exit "$(cat "$here/status")"
fi
ls "$replay" | wc -l >>"$here/machines"
cat "$replay"/* | tr '\n' ' ' | grep -qE ' 4711/| 4712/.* 4713/' && { echo "BUG: KASAN: at fault" >&2; exit 123; }
echo '{"kind":"end","totals":{}}'
`

func newDriver(t *testing.T, status int, records string) *driver {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"nlvm": fakeNlvm, "records": records, "status": fmt.Sprintln(status)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &driver{dir: filepath.Join(dir, "out"), kernel: "debug", smp: 2, seed: 42, nlvm: filepath.Join(dir, "nlvm"), self: "/bin/true"}
}

func line(kind string, programs ...string) string {
	quoted := make([]string, len(programs))
	for i, p := range programs {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return fmt.Sprintf(`{"kind":%q,"programs":[%s],"text":"the kernel complains:\nBUG: KASAN: here","totals":{"seconds":2,"programs":7,"messages":90,"reached":3,"places":4}}`+"\n", kind, strings.Join(quoted, ","))
}

// programs returns some, with a bad one at a place.
func programs(bad int) []string {
	return programsWith(map[int]uint16{bad: 4711})
}

// programsWith returns some, with messages of these types at their ends.
func programsWith(bad map[int]uint16) []string {
	r := rand.New(rand.NewPCG(1, 1))
	var all []string
	for i := range 20 {
		p := fuzz.Generate(r)
		if kind := bad[i]; kind != 0 {
			p.Ops = append(p.Ops, fuzz.Op{Kind: fuzz.Call, Messages: []fuzz.Message{{Type: kind, Len: fuzz.AutoLen}}})
		}
		all = append(all, p.String())
	}
	return all
}

// checkTest says whether a test that was made is one of the suite fuzz: the names,
// imports and types are right, and so is its form.
func checkTest(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if formed, err := format.Source(b); err != nil || string(formed) != string(b) {
		t.Errorf("gofmt: %v; (-want +got):\n%s", err, cmp.Diff(string(formed), string(b)))
	}
	suite, err := filepath.Abs("../../suites/fuzz")
	if err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	text := fmt.Sprintf(`{"Replace": {%q: %q}}`, filepath.Join(suite, filepath.Base(file)), file)
	if err := os.WriteFile(overlay, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", "-overlay", overlay, suite).CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
	return string(b)
}

// After a panic, and after a report, the one program to blame is found, made
// small, and put into a test that compiles.
func TestFound(t *testing.T) {
	all := programs(5)
	for name, tt := range map[string]struct {
		status  int
		records string
		first   string // how many programs are run again at first
	}{
		"panic":  {121, line("batch", programs(-1)...) + line("batch", all[:10]...) + line("batch", all[10:]...) + `{"kind":"ba`, "20"},
		"report": {1, line("batch", all...) + line("report", all[5]), "1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, tt.status, tt.records)
			if err := d.module(time.Second); err != nil {
				t.Fatal(err)
			}
			if d.rows[0].reports != 1 || d.table() != errReport {
				t.Errorf("%+v", d.rows)
			}
			machines, err := os.ReadFile(filepath.Join(filepath.Dir(d.nlvm), "machines"))
			if first, _, _ := strings.Cut(string(machines), "\n"); err != nil || first != tt.first {
				t.Errorf("%v; %q programs were run again at first, want %s", err, first, tt.first)
			}
			small, err := fuzz.Parse("0 call 0 4711/0x0/=/0/0/")
			if err != nil {
				t.Fatal(err)
			}
			if all, err := os.ReadDir(filepath.Join(d.dir, "found")); err != nil || len(all) != 1 {
				t.Errorf("%d folders, %v", len(all), err)
			}
			dir := filepath.Join(d.dir, "found", small.Name())
			p, err := fuzz.LoadFile(filepath.Join(dir, small.Name()+fuzz.Ext))
			if err != nil || p.String() != small.String() {
				t.Errorf("%v, %v", p, err)
			}
			test := checkTest(t, filepath.Join(dir, "found_"+small.Name()+"_test.go"))
			if !strings.Contains(test, "\nfunc TestFound_"+small.Name()+"(") || !strings.Contains(test, small.String()) {
				t.Errorf("%s", test)
			}
			text, _ := os.ReadFile(filepath.Join(dir, "report.txt"))
			if !strings.Contains(string(text), fmt.Sprintf("seed 42, kernel debug, nlvm's exit status %d", tt.status)) {
				t.Errorf("%s", text)
			}
		})
	}
}

// Programs that were announced by their numbers are made again, of what was kept
// before them and not of what was after.
func TestNumbered(t *testing.T) {
	old := programs(-1)
	d := newDriver(t, 121, line("batch", old[:2]...)+line("input", old[0])+line("input", old[1])+
		`{"kind":"batch","first":17,"count":2}`+"\n"+line("input", old[2]))
	if err := d.module(time.Second); err != nil {
		t.Fatal(err)
	}
	var corpus []*fuzz.Program
	for _, text := range old[:2] {
		p, err := fuzz.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		corpus = append(corpus, p)
	}
	want := append(old[:2:2], fuzz.Numbered(42, 17, corpus).String(), fuzz.Numbered(42, 18, corpus).String())
	left, err := fuzz.Load(filepath.Join(d.dir, "found", "seed-42"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range left {
		got = append(got, p.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// replays says of a test which programs it runs, in their order.
func replays(t *testing.T, test string) (all []string) {
	t.Helper()
	for i, part := range strings.Split(test, "`") {
		if i%2 == 0 {
			continue
		}
		p, err := fuzz.Parse(part)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.String())
	}
	return all
}

// What does not happen again leaves all that may have been the cause, and a test
// that runs it in its order and says how much that is worth.
func TestNotFound(t *testing.T) {
	all := programs(-1)
	for name, tt := range map[string]struct {
		status   int
		records  string
		want     []string
		headline string
	}{
		"panic": {121, line("batch", all[:10]...) + line("batch", all[10:]...), all, "nlvm's exit status was 121"},
		// Those behind the one it was seen with have not run.
		"report": {1, line("batch", all[:10]...) + line("batch", all[10:]...) + line("report", all[15]), all[:16], "BUG: KASAN: here"},
		// What it was seen with may be one that was being made small.
		"small": {1, line("batch", all[:10]...) + line("report", all[12]), append(all[:10:10], all[12]), "BUG: KASAN: here"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, tt.status, tt.records)
			if err := d.module(time.Second); err != nil {
				t.Fatal(err)
			}
			if d.table() != errReport {
				t.Errorf("%+v", d.rows)
			}
			dir := filepath.Join(d.dir, "found", "seed-42")
			left, err := fuzz.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range left {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("programs (-want +got):\n%s", diff)
			}
			test := checkTest(t, filepath.Join(dir, "found_suspects_42_test.go"))
			if diff := cmp.Diff(tt.want, replays(t, test)); diff != "" {
				t.Errorf("programs of the test (-want +got):\n%s", diff)
			}
			for _, part := range []string{"\n// " + tt.headline + "\n//\n// It did not happen again ", "\nfunc TestSuspects_42(", "\tfor range 10 {\n"} {
				if !strings.Contains(test, part) {
					t.Errorf("no %q in\n%s", part, test)
				}
			}
		})
	}
}

// What takes two programs makes a test of these two.
func TestFoundTogether(t *testing.T) {
	for name, at := range map[string][2]int{"halves": {3, 17}, "a half": {12, 13}, "the ends": {0, 19}} {
		all := programsWith(map[int]uint16{at[0]: 4712, at[1]: 4713})
		want := []string{all[at[0]], all[at[1]]}
		for kind, end := range map[string]string{"panic": "", "report": line("report", want[1])} {
			t.Run(name+", "+kind, func(t *testing.T) {
				d := newDriver(t, 121, line("batch", all...)+end)
				if err := d.module(time.Second); err != nil {
					t.Fatal(err)
				}
				if all, err := os.ReadDir(filepath.Join(d.dir, "found")); err != nil || len(all) != 1 {
					t.Errorf("%d folders, %v", len(all), err)
				}
				dir := filepath.Join(d.dir, "found", "seed-42")
				if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) != 4 {
					t.Errorf("%v, %v; want a report, two programs and a test", files, err)
				}
				test := checkTest(t, filepath.Join(dir, "found_together_42_test.go"))
				if diff := cmp.Diff(want, replays(t, test)); diff != "" {
					t.Errorf("programs of the test (-want +got):\n%s", diff)
				}
				if !strings.Contains(test, "\n// It happened again ") || !strings.Contains(test, "\nfunc TestTogether_42(") {
					t.Errorf("%s", test)
				}
			})
		}
	}
}

// An end while it is looked into leaves the programs and a test, too.
func TestNotLookedInto(t *testing.T) {
	all := programs(-1)
	d := newDriver(t, 121, line("batch", all...))
	broken := strings.Replace(fakeNlvm, "ls ", "exit 2 #", 1)
	if err := os.WriteFile(d.nlvm, []byte(broken), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.module(time.Second); err == nil {
		t.Error("a machine that does not begin is no error")
	}
	test := checkTest(t, filepath.Join(d.dir, "found", "seed-42", "found_suspects_42_test.go"))
	if diff := cmp.Diff(all, replays(t, test)); diff != "" {
		t.Errorf("programs of the test (-want +got):\n%s", diff)
	}
	if !strings.Contains(test, "nlfuzz was ended before it had run these programs again") {
		t.Errorf("%s", test)
	}
}

// A run that ends well leaves the programs that reached something, and no others.
func TestCorpus(t *testing.T) {
	all := programs(-1)
	d := newDriver(t, 0, line("batch", all...)+line("input", all[3])+line("input", all[4])+line("end"))
	old, err := fuzz.Parse(all[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fuzz.Save(filepath.Join(d.dir, "corpus"), old); err != nil {
		t.Fatal(err)
	}
	if err := d.module(time.Second); err != nil {
		t.Fatal(err)
	}
	kept, err := fuzz.Load(filepath.Join(d.dir, "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range kept {
		got[p.String()] = true
	}
	if len(got) != 2 || !got[all[3]] || !got[all[4]] {
		t.Errorf("%d programs are kept", len(got))
	}
	if err := d.table(); err != nil {
		t.Error(err)
	}
}

// No machine is no success.
func TestNotBegun(t *testing.T) {
	for _, status := range []int{2, 126, 127, 0} {
		if err := newDriver(t, status, "").module(time.Second); err == nil {
			t.Errorf("status %d without a record is taken for success", status)
		}
	}
	if err := newDriver(t, 0, "nonsense\n").module(time.Second); err == nil {
		t.Error("nonsense is taken for records")
	}
}

// Every package of pkg/ with fuzz targets has them run.
func TestParsers(t *testing.T) {
	files, err := filepath.Glob("../../../pkg/*/*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	targets := map[string]int{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\nfunc Fuzz"); n > 0 {
			targets["./pkg/"+filepath.Base(filepath.Dir(file))] += n
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(parsers)), slices.Sorted(maps.Keys(targets))); diff != "" {
		t.Errorf("packages with targets that run (-) and that there are (+):\n%s", diff)
	}
}

// Every target has an end to what an input may take.
func TestTargetsHaveLimits(t *testing.T) {
	n := 0
	err := filepath.WalkDir("../../..", func(file string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") || filepath.Base(file) == "drive_test.go" {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		targets, limits := strings.Count(string(b), "f.Fuzz(func("), strings.Count(string(b), "defer fuzzing.Limit(")
		if n += targets; targets != limits {
			t.Errorf("%s: %d targets, %d call fuzzing.Limit", file, targets, limits)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d targets, %v", n, err)
	}
}

// endless is a target that does not end with any input but the first.
const endless = `package endless

import (
	"testing"

	"nlpeer/internal/fuzzing"
)

func FuzzEndless(f *testing.F) {
	f.Add([]byte("begin"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		for string(b) != "begin" {
		}
	})
}
`

// An input without an end is a report with the input in it, also if the time for its
// target is up before its own.
func TestEndless(t *testing.T) {
	limit, err := os.ReadFile("../../../internal/fuzzing/limit.go")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                      "module nlpeer\n\ngo 1.26.0\n",
		"internal/fuzzing/limit.go":   string(limit),
		"pkg/endless/endless_test.go": endless,
	} {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(tree)
	defer func(all []string) { parsers = all }(parsers)
	parsers = []string{"./pkg/endless"}
	for _, total := range []time.Duration{time.Second, 8 * time.Second} {
		d := newDriver(t, 0, "")
		if err := d.parsers(total); err != nil {
			t.Fatal(err)
		}
		if len(d.rows) != 1 || d.rows[0].reports != 1 || d.table() != errReport {
			t.Errorf("in %v: %+v", total, d.rows)
		}
		input, err := os.ReadFile(filepath.Join(d.dir, "found/go-FuzzEndless/input"))
		if err != nil || !strings.HasPrefix(string(input), "go test fuzz v1\n[]byte(") {
			t.Errorf("in %v: %v\n%s", total, err, input)
		}
		// What go test has saved is its first input of the next time.
		if err := os.RemoveAll(filepath.Join(tree, "pkg/endless/testdata")); err != nil {
			t.Fatal(err)
		}
	}
}

// A test made of a report runs on the machine that the report comes from.
func TestModuleArgs(t *testing.T) {
	b, err := os.ReadFile("../../suites/fuzz/nlvm.flags")
	if err != nil || !strings.Contains(string(b), fmt.Sprintf("--module-args %q\n", moduleArgs)) {
		t.Errorf("%v; want %q in\n%s", err, moduleArgs, b)
	}
}

func TestReadGo(t *testing.T) {
	var r row
	r.readGo("fuzz: elapsed: 0s, gathering baseline coverage: 0/56 completed\n" +
		"fuzz: elapsed: 1s, gathering baseline coverage: 56/56 completed, now fuzzing with 2 workers\n" +
		"fuzz: elapsed: 1m9s, execs: 14428 (2185/sec), new interesting: 15 (total: 71)\nPASS\n")
	if r.seconds != 69 || r.runs != 14428 || r.corpus != 71 {
		t.Errorf("%+v", r)
	}
}

// The end of the time is no failure; an input that fails by a deadline of its own
// is one.
func TestTimeIsUp(t *testing.T) {
	const fuzzed = "fuzz: elapsed: 3s, execs: 95311 (0/sec), new interesting: 8 (total: 43)\n"
	for _, tt := range []struct {
		name, out string
		want      bool
	}{
		{"time", fuzzed + "--- FAIL: FuzzAttrs (3.11s)\n    context deadline exceeded\nFAIL\nexit status 1\n", true},
		{"an input", fuzzed + "--- FAIL: FuzzAttrs (0.50s)\n    --- FAIL: FuzzAttrs (0.00s)\n        a_test.go:7: context deadline exceeded\n" +
			"    Failing input written to testdata/fuzz/FuzzAttrs/582528ddfad69eb5\nFAIL\n", false},
		{"both", fuzzed + "--- FAIL: FuzzAttrs (0.50s)\n    context deadline exceeded\n    Failing input written to testdata/fuzz/FuzzAttrs/1\nFAIL\n", false},
		{"no test", "# nlpeer/pkg/wire\nsyntax error\nFAIL\n", false},
	} {
		if got := timeIsUp(tt.out); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
