// SPDX-License-Identifier: MIT

package qemu

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// debugChardev is QEMU's name for its end of the connection to the debug stub.
const debugChardev = "debug"

// Debug starts QEMU's debug stub, which stops the machine, and returns the
// connection to it; see package gdb. The machine's Config must have asked for
// it.
//
// The stub starts here and not with the machine: one that is being restored
// would be stopped before it has its state.
func (p *Process) Debug() (net.Conn, error) {
	if p.debug == nil {
		return nil, errors.New("the machine was started without a debug stub")
	}
	// It says what went wrong on QEMU's standard error, and this here:
	said, err := p.human("gdbserver chardev:" + debugChardev)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(said, "Waiting for gdb connection") {
		return nil, fmt.Errorf("QEMU's debug stub: %s %s", strings.TrimSpace(said), p.Stderr())
	}
	return p.debug, nil
}

// human runs a command of the monitor that is meant for people.
func (p *Process) human(line string) (string, error) {
	m, err := p.openMonitor()
	if err != nil {
		return "", err
	}
	var said string
	err = m.execute("human-monitor-command", map[string]any{"command-line": line}, &said)
	return said, err
}

// The power management timer of the emulated chip set, where the BIOS puts it:
// 24 bits that count the guest's time. No driver writes to it.
const (
	timerPort = 0x608
	timerBits = 24
	timerHz   = 3579545
)

// TimerRange is how far Timer counts before it begins again.
const TimerRange = (1 << timerBits) * time.Second / timerHz

// Timer reads a timer in the machine's chip set. Of two readings, the difference
// modulo [TimerRange] is what passed of the guest's time, to a quarter of a
// microsecond, and no instruction of the guest was needed to tell.
func (p *Process) Timer() (time.Duration, error) {
	command := fmt.Sprintf("i /w %#x", timerPort)
	said, err := p.human(command) // portw[0x0608] = 0x0012d687
	if err != nil {
		return 0, err
	}
	_, value, _ := strings.Cut(said, "=")
	n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("QEMU's monitor: %s: %q is no time", command, strings.TrimSpace(said))
	}
	return time.Duration(n&(1<<timerBits-1)) * time.Second / timerHz, nil
}
