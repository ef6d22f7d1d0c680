// SPDX-License-Identifier: MIT

// Package kernel provides the kernels that nlvm boots: Debian's own, by a
// short name, unpacked into the cache without installing anything.
package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Kernel is one row of the table.
type Kernel struct {
	Name    string // what a person types after --kernel
	Arch    string // Debian's name for the architecture
	Suite   string // Debian release that packages are taken from, with its updates; or its backports
	Image   string // meta package whose dependency is the kernel, or the kernel's source
	Headers string // meta package whose dependencies are what modules are built with; "" if the kernel is built here
	OwnLibs bool   // its build tools need libraries of their own release
}

// Table lists all kernels that nlvm knows. A new one is a new row: which
// packages belong to it follows from the dependencies of the two meta packages.
var Table = []Kernel{
	{"5.10", "amd64", "bullseye", "linux-image-amd64", "linux-headers-amd64", false},
	{"6.1", "amd64", "bookworm", "linux-image-amd64", "linux-headers-amd64", false},
	// Debian's newer kernel for the same release. Its tools run on bookworm,
	// unlike those of trixie's package of the same version, which need a newer libc.
	{"6.12", "amd64", "bookworm", "linux-image-6.12-amd64", "linux-headers-6.12-amd64", false},
	{"7.3", "amd64", "trixie-backports", "linux-image-amd64", "linux-headers-amd64", true},
	// The same kernel on other processors: big-endian, and with 32 bits.
	{"6.1-s390x", "s390x", "bookworm", "linux-image-s390x", "linux-headers-s390x", false},
	{"6.1-i686", "i386", "bookworm", "linux-image-686-pae", "linux-headers-686-pae", false},
	{"6.1-arm64", "arm64", "bookworm", "linux-image-arm64", "linux-headers-arm64", false},
	{"6.1-rt", "amd64", "bookworm", "linux-image-rt-amd64", "linux-headers-rt-amd64", false},
	// Built here, with detectors of mistakes, see debug.config and races.config.
	{"debug", "amd64", "bookworm", "linux-source-6.12", "", false},
	{"races", "amd64", "bookworm", "linux-source-6.12", "", false},
}

// ofRelease is the kernel that a Debian release came with.
var ofRelease = map[string]string{
	"bookworm": "6.1",
	"trixie":   "6.12",
}

const fallback = "6.1"

// ErrUnknown is returned for a name that is not in the table.
var ErrUnknown = errors.New("unknown kernel")

// Find returns the kernel of that name; "" is the default.
func Find(name string) (Kernel, error) {
	if name == "" {
		name = Default()
	}
	for _, k := range Table {
		if k.Name == name {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("%w %q; known are: %s", ErrUnknown, name, strings.Join(Names(), ", "))
}

// Names are the names of all kernels.
func Names() []string {
	var names []string
	for _, k := range Table {
		names = append(names, k.Name)
	}
	return names
}

// Released are the names of those that Debian has built.
func Released() []string {
	var names []string
	for _, k := range Table {
		if !k.FromSource() {
			names = append(names, k.Name)
		}
	}
	return names
}

// Default is the name of the kernel of this machine's release.
func Default() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return fallback
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if code, ok := strings.CutPrefix(sc.Text(), "VERSION_CODENAME="); ok {
			if name, ok := ofRelease[strings.Trim(code, `"`)]; ok {
				return name
			}
		}
	}
	return fallback
}
