// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// waitingNlvm says in the FIFO begun that a run has begun, and goes on when it reads
// its status in the FIFO of that run.
const waitingNlvm = `#!/bin/sh
[ "$1" = test ] || exit 0
while [ "$1" != --gcov ]; do shift; done
echo "$RUN" >"$NLVM_RECORD"
echo begun >"$RUN.begun"
read -r status <"$RUN.status"
: >"$2/$RUN"
exit "$status"
`

// Of two runs of the same suite with the same files none spoils the other's result:
// what is kept is all of one run, of that which ended last, failed or not.
func TestDebugSuitesAtOnce(t *testing.T) {
	needTool(t, "git", "gcc")
	tree, cache := t.TempDir(), t.TempDir()
	script, err := os.ReadFile("tools/debug-suites")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"tools/debug-suites":               string(script),
		"go.mod":                           "module nlpeer\n",
		"build/bin/nlvm":                   waitingNlvm,
		"vm-test/suites/echo/echo_test.go": "package echo\n",
	} {
		file := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "init", "-q", tree).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	begin := func(run string) *exec.Cmd {
		t.Helper()
		for _, what := range []string{".begun", ".status"} {
			if err := syscall.Mkfifo(filepath.Join(tree, run+what), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(tree, "tools/debug-suites"), "echo")
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "RUN="+run, "FRESH=1", "NLPEER_UNTIL=")
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		begun, err := os.OpenFile(filepath.Join(tree, run+".begun"), os.O_RDWR|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer begun.Close()
		if err := begun.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := begun.Read(make([]byte, 10)); err != nil {
			t.Fatalf("%s has not begun: %v", run, err)
		}
		return cmd
	}
	end := func(cmd *exec.Cmd, run, status string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tree, run+".status"), []byte(status+"\n"), 0); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); (err == nil) != (status == "0") {
			t.Errorf("%s, which was to end with %s: %v", run, status, err)
		}
		want := map[string]string{"record": run + "\n", "counts/" + run: "", "log": ""}
		if status == "0" {
			want["passed"] = ""
		}
		got := map[string]string{}
		root := filepath.Join(tree, "build/debug/echo") + "/" // of what the link leads to
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(file)
			got[strings.TrimPrefix(file, root)] = string(b)
			return err
		})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("after %s, %v (-want +got):\n%s", run, err, diff)
		}
	}
	one := begin("one")
	two := begin("two")
	end(one, "one", "0")
	three := begin("three")
	end(two, "two", "1")
	end(three, "three", "0")
	left, err := os.ReadDir(filepath.Join(cache, "nlpeer/matrix/debug"))
	if err != nil || len(left) != 2 || left[0].Name() != ".lock" {
		t.Errorf("left are %s, %v", left, err)
	}
}
