// SPDX-License-Identifier: MIT

package main

import "golang.org/x/sys/unix"

// powerOff ends the machine and does not return.
func powerOff(status byte) {
	debugExit(status)
	// Where a machine should have that device and has not, the host sees the
	// status it must not trust: 0.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	for {
		_ = unix.Pause()
	}
}
