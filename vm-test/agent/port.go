// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// portName is the name that nlvm gives the port on QEMU's command line.
const portName = "nlvm"

// openPort opens the port to the host. It looks for it by name, and retries:
// the device node shows up some time after the driver is loaded, and even then
// open fails with ENXIO until the driver has put the port on its list
// (drivers/char/virtio_console.c, add_port).
//
// The file is a plain blocking one on purpose, and not inherited: pollers and
// second openers of such a port have lost wake-ups before.
func openPort() (*os.File, error) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		if dev := findPort(); dev != "" {
			fd, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				return os.NewFile(uintptr(fd), dev), nil
			}
			if !errors.Is(err, unix.ENXIO) && !errors.Is(err, unix.ENOENT) {
				return nil, fmt.Errorf("open %s: %w", dev, err)
			}
		}
		if time.Now().After(deadline) {
			return nil, errors.New("no virtio-serial port called " + portName)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func findPort() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(b)) == portName {
			return "/dev/" + filepath.Base(filepath.Dir(n))
		}
	}
	return ""
}
