// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Numbers that differ from run to run.
var number = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)

// Bytes as nlecho -x shows them.
var octets = regexp.MustCompile(`[0-9a-f]{2}( [0-9a-f]{2})+`)

// shape is output without what differs from run to run: the numbers, and the
// width that a table gives them.
func shape(s string) string {
	return strings.Join(strings.Fields(number.ReplaceAllString(octets.ReplaceAllString(s, "BYTES"), "N")), " ")
}

// blocks returns the fenced blocks of a kind in a document.
func blocks(t *testing.T, file, kind string) []string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllSubmatch(b, -1) {
		all = append(all, string(m[1]))
	}
	return all
}

// The commands that the README shows give the output that it shows.
func TestREADME(t *testing.T) {
	// These need what a test may not touch: packages and the kernel of this
	// machine. "make test" is this run, "make" is built by make lint, and insmod
	// and rmmod have a suite of their own.
	elsewhere := map[string]bool{
		"make test": true, "make": true, "sudo apt-get install linux-headers-$(uname -r)": true,
		"sudo insmod nlpeer.ko": true, "sudo rmmod nlpeer": true,
	}
	needTool(t, "qemu-system-x86_64", "build/bin/nlvm", "tshark")
	bin, err := filepath.Abs("build/bin")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range blocks(t, "README.md", "console") {
		first, shown, _ := strings.Cut(block, "\n")
		line := strings.TrimPrefix(first, "$ ")
		var cmd *exec.Cmd
		switch {
		case line == "make demo": // it prints more prompts
			cmd = exec.Command(filepath.Join(bin, "nlvm"), "run", "--put", "share/demo.sh", "--", "sh", "demo.sh")
		case strings.HasPrefix(line, "nlvm "):
			cmd = exec.Command("sh", "-c", line)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		default:
			for _, l := range strings.Split(strings.TrimSpace(block), "\n") {
				l = strings.TrimPrefix(l, "$ ")
				if after, ok := strings.CutPrefix(l, "build/bin/"); ok {
					runInVM(t, bin, after)
				} else if !elsewhere[l] {
					t.Errorf("nothing runs %q", l)
				}
			}
			continue
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, stderr.Bytes())
		}
		if diff := cmp.Diff(shape(shown), shape(string(out))); diff != "" {
			t.Errorf("%s: the README shows something else (-README +output):\n%s\nwhole output:\n%s", line, diff, out)
		}
		ran++
	}
	if ran != 6 {
		t.Errorf("compared %d commands, want 6: make demo, nlvm run four times, and nlctl trace", ran)
	}
}

// runInVM runs a command that would not end by itself until it prints a line.
func runInVM(t *testing.T, bin, line string) {
	t.Helper()
	if line == "nlsub" {
		line = "nlsub -c 1"
	}
	out, err := exec.Command(filepath.Join(bin, "nlvm"), "run", "--", "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
}

// The Go code in the README stands in the example, which is run.
func TestREADMEExample(t *testing.T) {
	example, err := os.ReadFile("examples/go/main.go")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.ReplaceAll(string(example), "\n\t", "\n")
	shown := blocks(t, "README.md", "go")
	if len(shown) != 1 || !strings.Contains(plain, shown[0]) {
		t.Errorf("examples/go/main.go does not hold the README's lines:\n%s", shown)
	}
	needQEMU(t)

	program := filepath.Join(t.TempDir(), "example")
	build := exec.Command("go", "build", "-o", program, "./examples/go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("build/bin/nlvm", "run", "--put", program, "--", "./example").Output()
	if want := "port N got hello group N, event N"; err != nil || shape(string(out)) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
}

// The C example, built as its comment says, gets its bytes back.
func TestCExample(t *testing.T) {
	needQEMU(t)
	program := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-static", "-Iinclude/uapi", "-o", program,
		"examples/c/echo.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("build/bin/nlvm", "run", "--put", program, "--", "./echo", "over there").Output()
	if want := "port N got over there"; err != nil || shape(string(out)) != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if err := exec.Command("build/bin/nlvm", "run", "--no-module", "--put", program, "--", "./echo").Run(); err == nil {
		t.Error("it does not fail without the module")
	}
}

func needQEMU(t *testing.T) {
	t.Helper()
	needTool(t, "qemu-system-x86_64", "build/bin/nlvm")
}

func needTool(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("NLPEER_CI") != "" {
				t.Fatalf("%v; make test installs and builds it", err)
			}
			t.Skipf("%v; make test installs and builds it", err)
		}
	}
}
