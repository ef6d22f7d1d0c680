// SPDX-License-Identifier: MIT

package source_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/labs/internal/source"
)

const (
	yaml = `number: 7
name: seven
title: Seven
minutes: 30
kind: vm
todos:
  - title: one
    hints: [a, b]
mistakes:
  short: it is short
  late: {help: it is late, log: "late.*"}
`
	code = "//> todo 1\n//| TODO(1)\n//> solved\nx\n//> mistake short\n//| s\n//> mistake late\n//| l\n//> end\n"
)

// write makes a lab of files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "07-seven")
	for name, text := range files {
		if err := source.WriteFile(filepath.Join(dir, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	dir := write(t, map[string]string{
		"lab.yaml": yaml, "kernel/x.c": code, "kernel/.x.o.cmd": "//> end", "kernel/x.o": "//> end",
		"README.md":   "# Seven\n<!-- picture -->\nold\n<!-- end -->\nend\n",
		"picture.txt": "bytes\n",
	})
	l, err := source.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.Image != "busybox" || !l.Graded() || !l.Has("kernel") || l.Has("user") {
		t.Errorf("%+v", l)
	}
	if diff := cmp.Diff(map[string]source.Mistake{"short": {Help: "it is short"}, "late": {Help: "it is late", Log: "late.*"}}, l.Mistakes); diff != "" {
		t.Error(diff)
	}
	files, err := l.Student(source.Variant{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{
		"kernel/x.c": []byte("TODO(1)\n"),
		"README.md":  []byte("# Seven\n<!-- picture -->\n\n```text\nbytes\n```\n\n<!-- end -->\nend\n"),
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"number: 7", "number: 8", `number 8 and name "seven" make no folder 07-seven`},
		{"kind: vm", "kind: tv", `kind "tv" is neither host nor vm`},
		{"title: Seven\n", "", "no title"},
		{"minutes: 30\n", "", "no minutes"},
		{"hints: [a, b]", "hints: []", "TODO 1 has no hints"},
		{"    hints: [a, b]\n", "    hints: [a, b]\n  - title: two\n    hints: [c]\n", "TODO 2 has no region in kernel, user, c"},
		{"  short: it is short\n", "", `the mistake "short" of a region has no help`},
		{"  short: it is short\n", "  short: it is short\n  other: x\n", `the mistake "other" has no region`},
		{"late.*", "late(", "the mistake \"late\": error parsing regexp: missing closing ): `late(`"},
		{"minutes: 30", "minutes: 30\nminute: 3", "field minute not found"},
	} {
		dir := write(t, map[string]string{"lab.yaml": strings.Replace(yaml, c.old, c.new, 1), "kernel/x.c": code})
		if _, err := source.Load(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %s", c.new, c.old, err, c.want)
		}
	}
	dir := write(t, map[string]string{"lab.yaml": yaml, "kernel/x.c": strings.Replace(code, "todo 1", "todo 3", 1)})
	if _, err := source.Load(dir); err == nil || !strings.Contains(err.Error(), "a region belongs to TODO 3, and there are 1") {
		t.Errorf("a region too many: %v", err)
	}
}

func TestGenerate(t *testing.T) {
	dir := write(t, map[string]string{"lab.yaml": yaml, "kernel/x.c": code, "README.md": "# Seven\n"})
	l, err := source.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	labs := []*source.Lab{l}
	out := t.TempDir()
	for _, old := range []string{"07-seven/kernel/gone.c", "solutions/09-gone/user/main.go", "07-seven/kernel/x.ko", "README.md"} {
		if err := source.WriteFile(filepath.Join(out, old), nil); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"07-seven/README.md", "07-seven/kernel/x.c", "solutions/07-seven/kernel/x.c", "07-seven/kernel/gone.c", "solutions/09-gone/user/main.go"}
	stale, err := source.Stale(out, labs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, stale); diff != "" {
		t.Errorf("stale:\n%s", diff)
	}
	changed, err := source.Generate(out, labs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("changed:\n%s", diff)
	}
	if stale, err := source.Stale(out, labs); err != nil || len(stale) > 0 {
		t.Errorf("stale afterwards: %q, %v", stale, err)
	}
	for name, want := range map[string]string{"07-seven/kernel/x.c": "TODO(1)\n", "solutions/07-seven/kernel/x.c": "x\n"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"README.md", "07-seven/kernel/x.ko"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Errorf("what is nobody's was removed: %v", err)
		}
	}
}

// The labs of the tree are in order, and each has what a lab has to have.
func TestCourse(t *testing.T) {
	labs, err := source.Course("../../src")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range labs {
		if i > 0 && labs[i-1].Number >= l.Number {
			t.Errorf("lab %d comes after lab %d", l.Number, labs[i-1].Number)
		}
		for _, n := range l.Needs {
			if n >= l.Number {
				t.Errorf("lab %d needs lab %d", l.Number, n)
			}
		}
		if !l.Graded() {
			continue
		}
		if len(l.Mistakes) < 3 {
			t.Errorf("lab %d knows %d mistakes, want at least 3", l.Number, len(l.Mistakes))
		}
		for k, todo := range l.Todos {
			if len(todo.Hints) < 2 {
				t.Errorf("lab %d has %d hints for TODO %d, want some", l.Number, len(todo.Hints), k+1)
			}
		}
		text, err := l.Text()
		if err != nil {
			t.Error(err)
			continue
		}
		for _, part := range []string{"## Questions", "<details>", "## Where in the kernel", "```console\n", "```console skeleton\n"} {
			if !strings.Contains(string(text), part) {
				t.Errorf("the text of lab %d has no %q", l.Number, part)
			}
		}
		if len(l.Teaches) == 0 || l.Show == "" {
			t.Errorf("lab %d teaches %q and shows %q", l.Number, l.Teaches, l.Show)
		}
	}
	if len(labs) > 0 && !slices.ContainsFunc(labs, func(l *source.Lab) bool { return l.Number == 0 }) {
		t.Error("there is no lab 0")
	}
}
