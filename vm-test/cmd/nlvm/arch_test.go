// SPDX-License-Identifier: MIT

package main_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
)

// foreign are the kernels of other architectures that NLPEER_MATRIX names, or
// all of them: each is an emulator, a download and a boot more.
func foreign(t *testing.T) []kernel.Kernel {
	t.Helper()
	asked := os.Getenv("NLPEER_MATRIX")
	if asked == "" {
		t.Skip("this needs: other architectures; make test-matrix runs it")
	}
	needVM(t)
	var all []kernel.Kernel
	for _, k := range kernel.Table {
		if k.Arch == kernel.HostArch() || asked != "all" && !slices.Contains(strings.Fields(asked), k.Name) {
			continue
		}
		_, emulator := qemu.Identity(k.Arch)
		_, compiler := kernel.Architecture(k.Arch).FindCompiler()
		if err := errors.Join(emulator, compiler); err != nil {
			t.Fatal(err)
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		t.Fatalf("NLPEER_MATRIX=%s: no kernel of another architecture", asked)
	}
	return all
}

// Where a guest has no say in QEMU's exit status, all endings are told apart
// as well. Once cold and then restored, because that is another QEMU.
func TestStatusElsewhere(t *testing.T) {
	for _, k := range foreign(t) {
		t.Run(k.Name, func(t *testing.T) {
			on := func(args ...string) result { return run(t, append([]string{"--kernel", k.Name}, args...)...) }
			on("--cold", "--", "uname", "-m").want(t, 0, machines[k.Arch]+"\n", "")
			on("--", "sh", "-c", "echo $NLVM_KERNEL; exit 7").want(t, 7, k.Name+"\n", "")
			on("--", "sh", "-c", "kill -KILL $$").want(t, 137, "", "")
			on("--", "no-such-command").want(t, 127, "", "no-such-command")
			on("--timeout", "1s", "--", "sleep", "1000").want(t, 122, "", "the time limit")
			on("--", "reboot", "-f").want(t, 120, "", "without a verdict")
			on("--", "poweroff", "-f").want(t, 120, "", "without a verdict")
			on("--", "sh", "-c", "echo c > /proc/sysrq-trigger").want(t, 121, "", "Kernel panic - not syncing")
		})
	}
}

// machines are what uname says.
var machines = map[string]string{"amd64": "x86_64", "i386": "i686", "arm64": "aarch64", "s390x": "s390x"}

// The module, the commands and a test binary are the kernel's.
func TestPeerElsewhere(t *testing.T) {
	for _, k := range foreign(t) {
		t.Run(k.Name, func(t *testing.T) {
			r := finish(t, command(t, "run", "--kernel", k.Name, "--", "nlecho", "-q", "-c", "3", "-i", "0", "hello"))
			if r.status != 0 {
				t.Errorf("%+v", r)
			}
			r = finish(t, command(t, "test", "--kernel", k.Name, "--no-module", "--no-commands", "../../testdata/guesttest"))
			if r.status != 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}
