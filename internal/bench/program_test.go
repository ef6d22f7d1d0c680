// SPDX-License-Identifier: MIT

package bench_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nlpeer/internal/bench"
)

// script writes a contender that answers lines as the shell's case says.
func script(t *testing.T, name, cases string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	text := "#!/bin/sh\nwhile read -r line; do case $line in\n" + cases + "\nesac; done\n"
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestProgram(t *testing.T) {
	echo := bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 4}
	file := script(t, "c-fake", `list) echo echo dump;; "echo 64 4 1000") echo 5000 1000;; *) echo "error asked $line";;`)
	name, nanos, ops, err := bench.RunProgram(t.Context(), file, echo, 1000)
	if name != "c-fake" || nanos != 5000 || ops != 1000 || err != nil {
		t.Errorf("%s: %d ns for %d, %v", name, nanos, ops, err)
	}
	if _, _, _, err := bench.RunProgram(t.Context(), file, bench.Case{Name: bench.Receive, Batch: 1}, 1); !errors.Is(err, bench.ErrNotHere) {
		t.Errorf("a case that it does not list: %v", err)
	}
	if name, _, _, _ := bench.RunProgram(t.Context(), script(t, "c-sendrecv", "list) echo echo;; *) echo 1 1;;"), echo, 1); name != "c" {
		t.Errorf("the yardstick is called %s", name)
	}
}

func TestProgramFails(t *testing.T) {
	echo := bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}
	for name, c := range map[string]struct{ cases, want string }{
		"error":    {`list) echo echo;; *) echo error no such thing;;`, "no such thing"},
		"noise":    {`list) echo echo;; *) echo fine;;`, `c-fake, asked "echo 64 1 9", says "fine"`},
		"nothing":  {`list) echo echo;; *) echo 100 0;;`, `says "100 0"`},
		"dies":     {`list) echo echo;; *) echo oh no >&2; exit 3;;`, `c-fake, asked "echo 64 1 9": exit status 3: oh no`},
		"killed":   {`list) echo echo;; *) kill -9 $$;;`, "signal: killed"},
		"ends":     {`list) echo echo;; *) exit 0;;`, "it has ended"},
		"no list":  {`list) exit 1;;`, `asked "list": exit status 1`},
		"half":     {`list) echo echo;; *) printf 12; exit 0;;`, "it has ended"},
		"negative": {`list) echo echo;; *) echo 100 -1;;`, `says "100 -1"`},
	} {
		_, _, _, err := bench.RunProgram(t.Context(), script(t, "c-fake", c.cases), echo, 9)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	_, _, _, err := bench.RunProgram(t.Context(), script(t, "c-fake", `list) echo echo;; *) echo skip not on this kernel;;`), echo, 9)
	if reason, ok := bench.IsSkip(err); !ok || reason != "not on this kernel" {
		t.Errorf("a skip is %v", err)
	}
	if _, _, _, err := bench.RunProgram(t.Context(), filepath.Join(t.TempDir(), "c-none"), echo, 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

// A contender that fails spoils neither the others nor the next case.
func TestRunGoesOn(t *testing.T) {
	dir := t.TempDir()
	for name, cases := range map[string]string{
		"c-sendrecv": `list) echo echo;; "echo 0 "*) echo error broken;; *) echo 640 64;;`,
		"c-other":    `list) echo ioctl;; *) echo skip no module;;`,
	} {
		if err := os.Rename(script(t, name, cases), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := &bench.Bench{Rounds: 3, Sample: 1000, Programs: dir, Only: regexp.MustCompile(` c$`)}
	var got []string
	err := b.Run(t.Context(), []bench.Case{
		{Name: bench.Echo, Carrier: "raw", Size: 0, Batch: 1}, {Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1},
		{Name: bench.Echo, Carrier: "ioctl", Size: 64, Batch: 1},
	}, func(rec bench.Record) error {
		got = append(got, strings.TrimSpace(rec.Type+" "+rec.Case.String()+" "+rec.Contender+" "+rec.Reason))
		if rec.Type == bench.TypeResult && (rec.Cost != 10 || rec.Spread != 0 || rec.Allocs != nil) {
			t.Errorf("%+v", rec.Figure)
		}
		return nil
	})
	want := "error echo/raw/0B/x1 c broken|result echo/raw/64B/x1 c|skip echo/ioctl/64B/x1 c no module"
	if s := strings.Join(got, "|"); err != nil || s != want {
		t.Errorf("%v\n%s, want\n%s", err, s, want)
	}
}
