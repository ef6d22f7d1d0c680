// SPDX-License-Identifier: MIT

// Package qemu starts virtual machines, saves and restores their state, and
// says how one ended.
package qemu

import (
	"fmt"
	"strconv"
	"strings"
)

// Accel is how the guest's instructions are executed.
type Accel string

// The accelerators. TCG translates in software and works everywhere.
const (
	TCG Accel = "tcg"
	KVM Accel = "kvm"
)

// Config describes a machine. Everything in it but Debug is part of what a saved
// state depends on.
type Config struct {
	Arch   string // Debian's name of the architecture
	Kernel string // path of the image
	Initrd string // path
	Append string // additional kernel arguments
	SMP    int    // processors
	MemMiB int
	ICount bool // the guest's clock counts instructions
	Accel  Accel
	Debug  bool // make Process.Debug possible
}

// baseAppend are the kernel arguments of every machine.
//
//   - panic=-1 with -no-reboot: a panic ends the machine at once;
//   - an oops and a soft lockup are panics: nothing after them can be trusted;
//   - quiet, because each character on the serial console is a slow exit to
//     QEMU; an oops raises the level by itself.
const baseAppend = "quiet panic=-1 oops=panic softlockup_panic=1"

// checkAppend finds overruns, double frees and uses after free on a stock
// kernel for a tenth of the boot time. Each allocation is checked and filled for
// it, which is a multiple of what it costs people: a machine whose instructions
// are counted goes without. U, which would tell who allocated, is left out: it
// takes a fourth of all time, and the debug kernel tells it too.
const checkAppend = "slub_debug=FZP"

// The descriptors that QEMU inherits, see start.
const (
	wireFD    = 3
	consoleFD = 4
	monitorFD = 5
	debugFD   = 6
)

// Args is QEMU's command line, without the choice between booting and restoring.
func (c Config) Args() []string {
	p := platforms[c.Arch]
	kernelArgs := p.append + " " + baseAppend
	if !c.ICount {
		kernelArgs += " " + checkAppend
	}
	args := append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-name", "nlvm",
	}, p.machine...)
	args = append(args,
		"-accel", string(c.Accel),
		"-smp", strconv.Itoa(c.SMP),
		"-m", strconv.Itoa(c.MemMiB),
		"-kernel", c.Kernel,
		"-initrd", c.Initrd,
		"-append", strings.TrimSpace(kernelArgs+" "+c.Append),
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", consoleFD),
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD),
		"-mon", "chardev=monitor,mode=control",
		"-chardev", fmt.Sprintf("socket,id=wire,fd=%d", wireFD),
		"-device", p.wire,
		"-device", "virtserialport,chardev=wire,name=nlvm",
	)
	args = append(args, p.console...)
	if p.exit {
		args = append(args, "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	}
	if c.Accel == KVM {
		args = append(args, "-cpu", "host")
	}
	if c.ICount {
		args = append(args, "-icount", "shift=0,sleep=off")
	}
	return args
}
