// SPDX-License-Identifier: MIT

//go:build amd64 || 386

package main

import "os"

// debugExitPort is where nlvm puts QEMU's isa-debug-exit device. Writing n
// there ends QEMU at once with exit status 2n+1, a value that neither a panic
// nor a plain power-off produces.
const debugExitPort = 0xf4

func debugExit(status byte) {
	if f, err := os.OpenFile("/dev/port", os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteAt([]byte{status}, debugExitPort)
	}
}
