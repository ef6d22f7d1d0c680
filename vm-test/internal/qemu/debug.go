// SPDX-License-Identifier: MIT

package qemu

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// debugChardev is QEMU's name for its end of the connection to the debug stub.
const debugChardev = "debug"

// Debug starts QEMU's debug stub, which stops the machine, and returns the
// connection to it; see package gdb. The machine's Config must have asked for
// it. The monitor is of no use any more afterwards, so no state can be saved.
//
// The stub starts here and not with the machine: one that is being restored
// would be stopped before it has its state.
func (p *Process) Debug() (net.Conn, error) {
	if p.debug == nil {
		return nil, errors.New("the machine was started without a debug stub")
	}
	m, err := p.openMonitor()
	if err != nil {
		return nil, err
	}
	// Only the monitor for people has it, and says whether it went well in words.
	var said string
	line := map[string]any{"command-line": "gdbserver chardev:" + debugChardev}
	if err := m.execute("human-monitor-command", line, &said); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(said, "Waiting for gdb connection") {
		return nil, fmt.Errorf("QEMU's debug stub: %s %s", strings.TrimSpace(said), p.Stderr())
	}
	// Each stop of the machine is an event there, and QEMU keeps what is not read.
	go func() { _, _ = io.Copy(io.Discard, p.monitor) }()
	return p.debug, nil
}
