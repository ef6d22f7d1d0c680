// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"os/exec"
	"runtime"
)

// Arch says how each of the tools calls one architecture.
type Arch struct {
	Debian string // package lists
	Go     string // GOARCH
	Kbuild string // ARCH
	Tuple  string // compilers, GNU's name
}

// arches are those that there are guests of.
var arches = []Arch{
	{"amd64", "amd64", "x86_64", "x86_64-linux-gnu"},
	{"i386", "386", "i386", "i686-linux-gnu"},
	{"arm64", "arm64", "arm64", "aarch64-linux-gnu"},
	{"s390x", "s390x", "s390", "s390x-linux-gnu"},
}

// Source is kbuild's SRCARCH, the folder below arch/ in the kernel's source.
func (a Arch) Source() string {
	if a.Kbuild == "x86_64" || a.Kbuild == "i386" {
		return "x86"
	}
	return a.Kbuild
}

// Architecture returns what is known of an architecture by its Debian name; for
// one that is not in the list, as much as the name alone tells.
func Architecture(debian string) Arch {
	for _, a := range arches {
		if a.Debian == debian {
			return a
		}
	}
	return Arch{Debian: debian, Go: debian, Kbuild: debian, Tuple: debian + "-linux-gnu"}
}

// HostArch is Debian's name of this machine's architecture.
func HostArch() string {
	for _, a := range arches {
		if a.Go == runtime.GOARCH {
			return a.Debian
		}
	}
	return runtime.GOARCH
}

// Cross is the prefix of the programs that make programs for a on this
// machine, "" for this machine's own: they make 32-bit x86 too.
func (a Arch) Cross() string {
	if a.Debian == HostArch() || a.Debian == "i386" && HostArch() == "amd64" {
		return ""
	}
	return a.Tuple + "-"
}

// FindCompiler returns the C compiler that builds for a here.
func (a Arch) FindCompiler() (string, error) {
	name, pkg := a.Cross()+"gcc", "gcc"
	if a.Cross() != "" {
		pkg = "gcc-" + a.Tuple
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed; try: sudo apt-get install %s", name, pkg)
	}
	return path, nil
}
