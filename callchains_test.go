// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A call in the output of nlctl trace: time, duration, indentation, function.
var traced = regexp.MustCompile(`(?m)^\d+\.\d{6} +(?:\d+\.\d{3} us|unfinished)  ( *)([^\s.]+)\S*( \[\S+\])?`)

// paths returns for each call of a trace the functions that lead to it, without
// what the compiler adds to their names.
func paths(text string) []string {
	var all, path []string
	for _, m := range traced.FindAllStringSubmatch(text, -1) {
		path = append(path[:min(len(path), len(m[1])/2)], m[2]+m[3])
		all = append(all, strings.Join(path, " > "))
	}
	return all
}

// What docs/call-chains.md shows of a command, the kernel still calls, in that
// order.
func TestCallChains(t *testing.T) {
	needQEMU(t)
	bin, err := filepath.Abs("build/bin")
	if err != nil {
		t.Fatal(err)
	}
	chains := blocks(t, "docs/call-chains.md", "console")
	if len(chains) != 8 {
		t.Errorf("%d chains, want 8", len(chains))
	}
	for _, block := range chains {
		first, shown, _ := strings.Cut(block, "\n")
		// Of the kernel that the page names, as others inline other functions.
		line := strings.Replace(strings.TrimPrefix(first, "$ "), "nlvm run ", "nlvm run --kernel 6.1 ", 1)
		cmd := exec.Command("sh", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := paths(shown)
		if len(want) != strings.Count(shown, "\n") {
			t.Errorf("%s: %d calls on %d lines", line, len(want), strings.Count(shown, "\n"))
		}
		for _, path := range paths(string(out)) {
			if len(want) > 0 && path == want[0] {
				want = want[1:]
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: the kernel does not call %s\n%s", line, want[0], out)
		}
	}
}
