// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
)

// The programs of the image run: linked dynamically, in a Debian's folders,
// with Python's modules translated before and our specifications beside the
// kernel's.
func TestToolsImage(t *testing.T) {
	needVM(t)
	r := run(t, "--image", "tools", "--", "sh", "-c", `
		for p in sh bash ip ss genl genl-ctrl-list strace python3; do command -v $p; done
		ip -V | grep -o iproute2
		readlink /bin/sh; readlink /lib64
		genl ctrl get name nlctrl | grep -c 'Name: nlctrl'
		genl-ctrl-list | grep -c nlctrl
		strace -e trace=none true 2>&1
		python3 -v -c 'import json, yaml, jsonschema; print(yaml.safe_load("{a: [1, 2]}"))' 2>python.log
		grep -e stale -e created python.log
		ynl --list-families | grep -e nlpeer -e netlink_test -e nlctrl
		ynl --family nlctrl --do getfamily --json '{"family-name": "nlctrl"}' --output-json | grep -o '"family-id": 16'
		ynl --spec /usr/share/ynl/specs/nlpeer.yaml --validate && echo valid
		command -v nlecho || echo none of ours`)
	r.want(t, 0, `/usr/bin/sh
/usr/bin/bash
/usr/sbin/ip
/usr/bin/ss
/usr/sbin/genl
/usr/bin/genl-ctrl-list
/usr/bin/strace
/usr/bin/python3
iproute2
dash
usr/lib64
1
1
+++ exited with 0 +++
{'a': [1, 2]}
netlink_test
nlctrl
nlpeer
"family-id": 16
valid
none of ours
`, "")
}

// The other image has none of it.
func TestBusyboxImage(t *testing.T) {
	needVM(t)
	for _, flags := range [][]string{nil, {"--image", "busybox"}} {
		run(t, append(flags, "--", "sh", "-c", "readlink /sbin/ip; command -v genl python3 ynl")...).
			want(t, 127, "/usr/bin/busybox\n", "")
	}
}

func TestUnknownImage(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--image", "debian", "--", "true"},
		{"shell", "--image", "debian"},
		{"exec", "--image", "debian", "--", nlvm},
		{"test", "--image", "debian", "."},
	} {
		finish(t, command(t, args...)).want(t, 2, "", `nlvm: unknown image "debian"; known are: busybox, tools`+"\n")
	}
}

func TestCompletion(t *testing.T) {
	for _, sub := range []string{"run", "exec", "shell", "test"} {
		for flag, want := range map[string]string{
			"--image":  "busybox\ntools\n:4\n",
			"--kernel": strings.Join(kernel.Names(), "\n") + "\n:4\n",
			"--accel":  "auto\ntcg\nkvm\n:4\n",
		} {
			finish(t, command(t, "__complete", sub, flag, "")).want(t, 0, want, "")
		}
	}
}

// A package says in its folder what its tests need; who calls has the last word.
func TestPackageFlags(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "x.test")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho $A $B $C $D; command -v genl\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	flags := "# SPDX-License-Identifier: MIT\n\n--image tools --env 'A=x y'\n\t--env B=file\n#--env A=no\n--env C=file\n"
	if err := os.WriteFile(filepath.Join(dir, "nlvm.flags"), []byte(flags), 0o644); err != nil {
		t.Fatal(err)
	}
	in := func(dir string, args ...string) *exec.Cmd {
		cmd := command(t, args...)
		cmd.Dir = dir
		source, err := filepath.Abs("../../..")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Env = append(os.Environ(), "NLPEER_SRC="+source, "NLVM_FLAGS=--env B=environment --env C=environment")
		return cmd
	}
	call := []string{"exec", "--no-module", "--no-commands", "--env", "C=given", "--", script}
	finish(t, in(dir, call...)).want(t, 0, "x y environment given\n/usr/sbin/genl\n", "")
	call[1] = "--image=busybox" // in place of --no-module
	finish(t, in(dir, call...)).want(t, 127, "x y environment given\n", "")

	// Only exec is called in the folder of a package.
	finish(t, in(dir, "run", "--no-module", "--no-commands", "--", "sh", "-c", "echo $A; command -v genl")).want(t, 127, "\n", "")
}

func TestPackageFlagsRefused(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"--imag tools":    "nlvm: nlvm.flags: unknown flag: --imag\n",
		"--smp many":      "nlvm: nlvm.flags: invalid argument \"many\" for \"--smp\" flag",
		"--env 'A=x\n":    "nlvm: nlvm.flags: a quote is not closed\n",
		"--smp 2 tools\n": "nlvm: nlvm.flags: \"tools\" is no flag\n",
		"--image":         "nlvm: nlvm.flags: flag needs an argument: --image\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "nlvm.flags"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, "exec", "--", nlvm)
		cmd.Dir = dir
		r := finish(t, cmd)
		if r.status != 2 || !strings.HasPrefix(r.stderr, want) {
			t.Errorf("%q: exit status %d, %q; want 2, %q", content, r.status, r.stderr, want)
		}
	}
}
