// SPDX-License-Identifier: MIT

package qemu

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// platform is what a machine of one architecture is made of.
type platform struct {
	binary, pkg string   // the emulator, and Debian's package of it
	machine     []string // and its processor
	console     []string // a device that the kernel writes to, for chardev console
	wire        string   // bus of the port to the agent
	append      string   // kernel arguments
	// exit says that there is a device by which the agent ends QEMU with a
	// status. Where there is none, a power-off has to do, which the monitor
	// tells from everything else that ends a machine.
	exit bool
}

var pc = platform{
	binary: "qemu-system-x86_64", pkg: "qemu-system-x86",
	machine: []string{"-machine", "pc,usb=off,vmport=off"},
	console: []string{"-serial", "chardev:console"},
	wire:    "virtio-serial-pci",
	// pci=noacpi takes interrupt routing from the BIOS's table, because with
	// ACPI's the emulated processor interprets firmware code for 3.5 seconds.
	append: "console=ttyS0 pci=noacpi",
	exit:   true,
}

// pc32 is the same with ACPI: without it Debian's kernel for 32-bit processors
// gets no interrupt from a PCI device.
var pc32 = func() platform {
	p := pc
	p.append = "console=ttyS0"
	return p
}()

// platforms by Debian's name of the architecture.
var platforms = map[string]platform{
	"amd64": pc,
	"i386":  pc32,
	"arm64": {
		binary: "qemu-system-aarch64", pkg: "qemu-system-arm",
		machine: []string{"-machine", "virt", "-cpu", "cortex-a57"},
		console: []string{"-serial", "chardev:console"},
		wire:    "virtio-serial-pci",
		append:  "console=ttyAMA0",
	},
	"s390x": {
		binary: "qemu-system-s390x", pkg: "qemu-system-misc",
		machine: []string{"-machine", "s390-ccw-virtio"},
		console: []string{"-device", "sclpconsole,chardev=console"},
		wire:    "virtio-serial-ccw",
		append:  "console=ttysclp0",
	},
}

// find returns the platform and the path of its emulator.
func find(arch string) (platform, string, error) {
	p, ok := platforms[arch]
	if !ok {
		return p, "", fmt.Errorf("no machine of architecture %s is known", arch)
	}
	path, err := exec.LookPath(p.binary)
	if err != nil {
		return p, "", fmt.Errorf("%s %w; try: sudo apt-get install %s", p.binary, ErrMissing, p.pkg)
	}
	return p, path, nil
}

// ErrMissing is returned if QEMU is not installed.
var ErrMissing = errors.New("is not installed")

// HasExitStatus says whether a guest of the architecture decides QEMU's exit
// status. Otherwise Process.Shutdown tells how it ended.
func HasExitStatus(arch string) bool { return platforms[arch].exit }

// Identity names the installed QEMU for an architecture. A state is only
// restored by the very program that saved it, so path, size and time do, and
// cost less than executing it to ask for its version.
func Identity(arch string) (string, error) {
	_, path, err := find(arch)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", path, st.Size(), st.ModTime().UnixNano()), nil
}
