// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A suite's result on the debug kernel is kept for as long as nothing changes that
// the suite depends on.
func TestDebugSuitesKey(t *testing.T) {
	needTool(t, "git", "gcc")
	tree := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile("tools/debug-suites")
	if err != nil {
		t.Fatal(err)
	}
	write("tools/debug-suites", string(script))
	write("vm-test/suites/thirdparty/nlvm.flags", "# The programs.\n--image tools\n")
	write("vm-test/suites/echo/nlvm.flags", "# No --image.\n--append highres=off\n")
	if out, err := exec.Command("git", "init", "-q", tree).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	cache := t.TempDir()
	place := func(suite string, env ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(tree, "tools/debug-suites"), "--place", suite)
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, "NL") && !strings.HasPrefix(e, "GO") {
				cmd.Env = append(cmd.Env, e)
			}
		}
		cmd.Env = append(append(cmd.Env, "XDG_CACHE_HOME="+cache), env...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), "-"+suite+"\n") {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	thirdparty, echo := place("thirdparty"), place("echo")
	check := func(what string, newThirdparty, newEcho bool, env ...string) {
		t.Helper()
		p, e := place("thirdparty", env...), place("echo", env...)
		if (p != thirdparty) != newThirdparty || (e != echo) != newEcho {
			t.Errorf("%s: another result of thirdparty: %v, of echo: %v; want %v, %v", what, p != thirdparty, e != echo, newThirdparty, newEcho)
		}
		if len(env) == 0 {
			thirdparty, echo = p, e
		}
	}
	for _, tt := range []struct {
		file             string
		thirdparty, echo bool
	}{
		{"docs/testing.md", false, false},
		{"kmod/raw.c", true, true},
		{"nlpeer.go", true, true},
		{"vm-test/agent/main.go", true, true},
		{"vm-test/suites/vmtest/socket.go", true, true},
		{"vm-test/suites/echo/echo_test.go", false, true},
		{"pkg/client/client_test.go", false, false},
		// What the image with the programs is made of.
		{"spec/nlpeer.yaml", true, false},
		{"tools/ynl", true, false},
	} {
		write(tt.file, "new\n")
		check(tt.file, tt.thirdparty, tt.echo)
	}
	for env, want := range map[string]bool{
		"NLPEER_LONG=1": true, "NLVM_SLOW=4": true, "NLVM_ACCEL=tcg": true, "NLVM_FLAGS=--mem 1024": true, "GODEBUG=http2debug=1": true,
		// How it is run, which is nothing to the guest.
		"NLPEER_CI=1": false, "NLPEER_UNTIL=1": false, "NLVM_MAX_VMS=1": false, "LANG=C": false,
	} {
		check(env, want, want, env)
	}
	for _, compiler := range []string{"gcc", "go"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, compiler), []byte("#!/bin/sh\necho another\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		check("another "+compiler, true, true, "PATH="+dir+":"+os.Getenv("PATH"))
	}
}
