// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// A kept result is that of the same files, of the same machine, and of the same
// environment in the guest.
func TestKey(t *testing.T) {
	source, bin := t.TempDir(), t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, text string) { write(filepath.Join(source, name), text, 0o644) }
	emulator := func(text string) { write(filepath.Join(bin, "qemu-system-x86_64"), text, 0o755) }
	emulator("#!/bin/sh\n")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	u := kernel.Unpacked{Kernel: kernel.Kernel{Name: "6.1", Arch: "amd64"}, Version: "6.1.0", Package: "6.1-1"}
	guest := artifacts.Guest{Kernel: u, Initrd: "initrd", Module: "one/nlpeer.ko"}
	put("bin/x.test", "test")
	put("bin/nlvm", "program")
	for _, name := range []string{"TERM", "GODEBUG", "GOTRACEBACK", "NLVM_SLOW", "NLVM_ACCEL", "NLVM_FLAGS", "NLPEER_LONG", "NLPEER_CI", "NLPEER_UNTIL", "MINE"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	key := func() string {
		t.Helper()
		s := subject{source: source, runner: filepath.Join(source, "bin/nlvm"), dir: filepath.Join(source, suitesDir, "x"), binary: filepath.Join(source, "bin/x.test"), kernel: u, guest: guest}
		var err error
		if s.flags, err = flagsOf(s.dir, &s.machineFlags); err != nil {
			t.Fatal(err)
		}
		k, err := s.key()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	seen := map[string]string{key(): "the beginning"}
	check := func(what string, other bool) {
		t.Helper()
		k := key()
		if before, ok := seen[k]; ok == other {
			t.Errorf("%s: another result: %v, want %v (%s)", what, !ok, other, before)
		}
		seen[k] = what
	}
	for _, name := range []string{"bin/x.test", "vm-test/suites/x/testdata/spec.py", "vm-test/cmd/nlvm/main.go", "vm-test/internal/machine/run.go"} {
		put(name, "another")
		check(name, true)
	}
	// The sources may be newer than the nlvm that runs.
	put("bin/nlvm", "another")
	check("the program nlvm", true)
	put("vm-test/cmd/nlvm/main_test.go", "another")
	check("tests of nlvm", false)
	put("vm-test/suites/x/nlvm.flags", "--env MINE\n")
	check("flags of the suite", true)
	guest.Module = "two/nlpeer.ko"
	check("the module", true)
	emulator("#!/bin/sh\n# another\n")
	check("the emulator", true)
	for _, name := range []string{"GODEBUG", "GOTRACEBACK", "NLVM_SLOW", "NLVM_ACCEL", "NLPEER_LONG", "MINE"} {
		t.Setenv(name, "2")
		check(name, true)
	}
	t.Setenv("NLVM_FLAGS", "--mem 1024")
	check("NLVM_FLAGS", true)
	t.Setenv("NLVM_FLAGS", "--mem 1024 --env OTHER")
	check("a variable that NLVM_FLAGS passes on", true)
	t.Setenv("OTHER", "1")
	check("its value", true)
	for _, name := range []string{"NLPEER_CI", "NLPEER_UNTIL", "TERM"} {
		t.Setenv(name, "2")
		check(name, false)
	}
}

// A result of files that were edited meanwhile is nobody's.
func TestEditedMeanwhile(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho '{\"Action\":\"run\",\"Test\":\"TestA\"}{\"Action\":\"pass\",\"Test\":\"TestA\"}'\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	c, err := cache.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := matrixRun{source: t.TempDir(), out: t.TempDir(), cache: c}
	if err := os.MkdirAll(filepath.Join(m.source, suitesDir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for after, kept := range map[string]bool{"before": true, "after": false} {
		j := job{suite: "x", key: "before", look: func(context.Context) (string, error) { return after, nil }}
		r, err := m.run(t.Context(), j)
		if err != nil || r.Passed != 1 || !r.OK() {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, key := range []string{"before", "after"} {
			_, err := os.Stat(c.Path("matrix", key+".json"))
			if want := kept && key == "before"; (err == nil) != want {
				t.Errorf("the files were %s: the result of those %s is kept: %v, want %v", after, key, err == nil, want)
			}
			os.Remove(c.Path("matrix", key+".json"))
		}
	}
}

// Kernels of one architecture share the test binaries: built once more, they would
// change under the suites that run.
func TestBuildOncePerArchitecture(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$GOARCH $*\" >>\"$(dirname \"$0\")/calls\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	m := matrixRun{source: t.TempDir(), out: t.TempDir(), suites: []string{"x"}}
	for _, k := range []kernel.Kernel{{Name: "5.10", Arch: "amd64"}, {Name: "6.1-s390x", Arch: "s390x"}, {Name: "6.1", Arch: "amd64"}} {
		dir, err := m.build(t.Context(), k)
		if want := filepath.Join(m.out, k.Arch); err != nil || dir != want {
			t.Errorf("%s: %s, %v; want %s", k.Name, dir, err, want)
		}
	}
	calls, err := os.ReadFile(filepath.Join(bin, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	if amd64, all := strings.Count(string(calls), "amd64 test -c "), strings.Count(string(calls), "\n"); amd64 != 1 || all != 2 {
		t.Errorf("want one build for amd64 and one for s390x:\n%s", calls)
	}
}
