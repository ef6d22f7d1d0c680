// SPDX-License-Identifier: MIT

package kernel

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lists is a release of a few packages, as apt-cache dumpavail prints one.
const lists = `Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-image-6.1.0-56-amd64
Source: linux
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool

Package: linux-headers-amd64
Version: 6.1.192-2
Depends: linux-headers-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-headers-6.1.0-56-amd64
Version: 6.1.192-2
Installed-Size: 5980
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), linux-compiler-gcc-12-x86 | gcc:native
Description-en: Header files
 Depends: not-a-field

Package: linux-headers-6.1.0-56-common
Version: 6.1.192-2

Package: linux-kbuild-6.1
Version: 6.1.192-2
Depends: libc6 (>= 2.34)

Package: tool
Version: 3
Pre-Depends: installer (>= 1)
Depends: libgone | libold (>= 2) | libc6, perl:any, libnew1 (>= 1.0), debconf (>= 0.5) | debconf-2.0
Recommends: not-followed

Package: libold
Version: 2
Depends: libc6, tool

Package: libnew1t64
Version: 1.5
Provides: libnew1 (= 1.5), libc6

Package: libother1
Version: 1
Provides: libnew1

Package: perl
Version: 5

Package: libc6
Version: 2.36

Package: no-version

Package: broken
Version: 1
Depends: libold, libgone | libaway (>= 1)`

// names are the packages' names, in order.
func names(packages []pkg) []string {
	var all []string
	for _, p := range packages {
		all = append(all, p.Name)
	}
	return all
}

func TestClosure(t *testing.T) {
	x := readIndex(strings.NewReader(lists))
	for _, tt := range []struct {
		name  string
		roots []string
		want  func(string) bool
		found []string
	}{
		{"a kernel, of which only ours are followed", []string{"linux-image-amd64", "linux-headers-amd64"}, ours.MatchString, []string{
			"linux-image-amd64", "linux-headers-amd64", "linux-image-6.1.0-56-amd64", "linux-headers-6.1.0-56-amd64",
			"linux-headers-6.1.0-56-common",
		}},
		// The first alternative that there is; who provides a name, first in
		// the lists, if no package has it; a circle; and what only installs is
		// left out, whatever else would do.
		{"a program with all it needs", []string{"tool"}, func(n string) bool { return n != "debconf" && n != "installer" },
			[]string{"tool", "libold", "perl", "libnew1t64", "libc6"}},
		{"a root that is provided", []string{"libnew1", "libc6"}, nothing, []string{"libnew1t64", "libc6"}},
	} {
		found, err := x.closure(tt.want, tt.roots...)
		if diff := cmp.Diff(tt.found, names(found)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
	if p := x["tool"]; p.Version != "3" || !slices.Equal(p.Depends[1], []string{"libgone", "libold", "libc6"}) {
		t.Errorf("%+v", p)
	}

	all := func(string) bool { return true }
	for root, want := range map[string]string{
		"nowhere":    "no package nowhere",
		"no-version": "no package no-version",
		"broken":     "no package libgone or libaway, which broken needs",
		"tool":       "no package installer, which tool needs",
	} {
		if found, err := x.closure(all, root); err == nil || err.Error() != want {
			t.Errorf("%s: %v, %v; want error %q", root, names(found), err, want)
		}
	}
}
