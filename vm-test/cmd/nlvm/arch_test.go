// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"testing"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
)

// foreign are the kernels of other architectures whose emulator is installed.
func foreign(t *testing.T) []kernel.Kernel {
	t.Helper()
	needVM(t)
	var all []kernel.Kernel
	for _, k := range kernel.Table {
		if k.Arch == kernel.HostArch() {
			continue
		}
		if _, err := qemu.Identity(k.Arch); err != nil {
			t.Log(err)
			continue
		}
		if _, err := kernel.Architecture(k.Arch).FindCompiler(); err != nil {
			t.Log(err)
			continue
		}
		all = append(all, k)
	}
	if len(all) == 0 {
		if os.Getenv("NLPEER_MATRIX") != "" {
			t.Fatal("no emulator of another architecture; tools/deps matrix installs one")
		}
		t.Skip("this needs an emulator of another architecture; tools/deps matrix installs one")
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
