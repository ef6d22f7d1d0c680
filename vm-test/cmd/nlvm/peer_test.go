// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The module and the commands of this tree, as a person meets them first.
func TestModuleAndCommands(t *testing.T) {
	needVM(t)
	r := finish(t, command(t, "run", "--", "nlecho", "-c", "2", "hello"))
	if r.status != 0 || !strings.Contains(r.stdout, "2 transmitted, 2 received, 0% loss") {
		t.Errorf("status %d, %s\n%s", r.status, r.stdout, r.stderr)
	}
	r = finish(t, command(t, "run", "--no-module", "--", "sh", "-c", "insmod $NLVM_MODULE && grep -c '^nlpeer ' /proc/modules"))
	r.want(t, 0, "1\n", "")
}

func TestModuleRefused(t *testing.T) {
	needVM(t)
	r := finish(t, command(t, "run", "--no-commands", "--module-args", "protocol=99", "--", "echo", "not reached"))
	r.want(t, 2, "", "insmod nlpeer.ko protocol=99: invalid argument")
	if !strings.Contains(r.stderr, "nlpeer: protocol=99 is out of range") {
		t.Errorf("standard error lacks the kernel's words:\n%s", r.stderr)
	}
}

// Another module than ours is built, loaded and unloaded like ours, wherever
// its folder is named from.
func TestExtraModule(t *testing.T) {
	needVM(t)
	for _, dir := range []string{"kmod/bench", "../../../kmod/bench"} {
		r := run(t, "--extra-module", dir, "--", "sh", "-c",
			"test -c /dev/nlpeer_bench; grep -c '^nlpeer_bench ' /proc/modules; ls /lib/nlpeer/nlpeer_bench.ko")
		r.want(t, 0, "1\n/lib/nlpeer/nlpeer_bench.ko\n", "")
	}
	// The command may unload it itself.
	run(t, "--extra-module", "kmod/bench", "--", "rmmod", "nlpeer_bench").want(t, 0, "", "")

	// After ours, and gone before ours.
	r := finish(t, command(t, "run", "--no-commands", "--extra-module", "kmod/bench", "--", "sed", "-n", "s/^\\(nlpeer[a-z_]*\\) .*/\\1/p", "/proc/modules"))
	r.want(t, 0, "nlpeer_bench\nnlpeer\n", "")
}

func TestExtraModuleRefused(t *testing.T) {
	needVM(t)
	for _, dir := range []string{"cmd", "/no/such/folder"} {
		run(t, "--extra-module", dir, "--", "true").want(t, 2, "", "nlvm: --extra-module: no Kbuild in ")
	}
	// One that stays, by another name than ours.
	source, err := os.ReadFile("../../testdata/stuck/nlpeer.c")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"Kbuild": "obj-m := stays.o\n", "stays.c": string(source)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "--extra-module", dir, "--", "true").want(t, 123, "", "rmmod stays: ")
}
