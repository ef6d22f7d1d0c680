// SPDX-License-Identifier: MIT

package artifacts

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// program puts a shell script into a folder of programs.
func program(t *testing.T, dir, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// toolchain puts programs on the PATH that make a "module" without a kernel: it
// has in it what the compiler says of itself.
func toolchain(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	program(t, dir, "gcc", "echo gcc one\n")
	program(t, dir, "make", `for a; do case $a in M=*) m=${a#M=} ;; CC=*) cc=${a#CC=} ;; esac; done; $cc >"$m/x.ko"`)
	program(t, dir, "strip", `cp "$4" "$3"`) // strip --strip-debug -o TO FROM
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

// A module that another compiler has made is another module.
func TestModuleOfAnotherCompiler(t *testing.T) {
	dir := toolchain(t)
	source := t.TempDir()
	put(t, source, "Kbuild", "obj-m := x.o\n")
	c, err := cache.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := kernel.Unpacked{Kernel: kernel.Kernel{Name: "5.10", Arch: kernel.HostArch()}, Version: "5.10.0", Package: "5.10-1"}
	build := func() (file, text, fp string) {
		t.Helper()
		file, err := BuildModule(t.Context(), c, k, source, []string{"."}, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if fp, err = sourcesState(source, k); err != nil {
			t.Fatal(err)
		}
		return file, strings.TrimSpace(string(b)), fp
	}
	file, text, fp := build()
	if again, _, fp2 := build(); again != file || text != "gcc one" || fp2 != fp {
		t.Errorf("the same compiler: %q, then %q with %q; states %s, %s", file, again, text, fp, fp2)
	}
	program(t, dir, "gcc", "echo gcc two, the newer\n")
	if file2, text2, fp2 := build(); file2 == file || text2 != "gcc two, the newer" || fp2 == fp {
		t.Errorf("another compiler: %q, then %q with %q; states %s, %s", file, file2, text2, fp, fp2)
	}
}

// A module is kept as that of the files it was made from, also if they were edited
// while another nlvm was waited for.
func TestModuleEditedMeanwhile(t *testing.T) {
	dir := toolchain(t)
	program(t, dir, "make", `for a; do case $a in M=*) m=${a#M=} ;; esac; done; cp "$m/x.c" "$m/x.ko"`)
	source := t.TempDir()
	put(t, source, "Kbuild", "obj-m := x.o\n")
	put(t, source, "x.c", "before")
	c, err := cache.OpenAt(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := kernel.Unpacked{Kernel: kernel.Kernel{Name: "5.10", Arch: kernel.HostArch()}, Version: "5.10.0", Package: "5.10-1"}
	home, err := moduleHome(c, k, filepath.Join(dir, "gcc"), source, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Lock(t.Context(), "module-"+filepath.Base(home), func() {})
	if err != nil {
		t.Fatal(err)
	}
	said, progress := io.Pipe()
	built := make(chan string, 1)
	go func() {
		file, err := BuildModule(t.Context(), c, k, source, []string{"."}, &kernel.Progress{W: progress})
		progress.Close()
		if err != nil {
			t.Error(err)
		}
		built <- file
	}()
	if line, err := bufio.NewReader(said).ReadString('\n'); !strings.Contains(line, "waiting for another nlvm") {
		t.Fatalf("%q, %v", line, err)
	}
	put(t, source, "x.c", "after")
	l.Unlock()
	go io.Copy(io.Discard, said)
	if b, err := os.ReadFile(<-built); err != nil || string(b) != "after" {
		t.Errorf("built %q, %v", b, err)
	}
	put(t, source, "x.c", "before")
	file, err := BuildModule(t.Context(), c, k, source, []string{"."}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "before" {
		t.Errorf("what it was before is %q, %v", b, err)
	}
}
