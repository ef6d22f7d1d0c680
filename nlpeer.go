// SPDX-License-Identifier: MIT

// Package nlpeer is the root of a netlink peer that lives in the Linux kernel
// and of the Go side that talks to it. The library is in pkg/client, the codec
// and the generated constants in pkg/wire; this package only knows the release.
package nlpeer

import (
	_ "embed"
	"strings"
)

//go:embed VERSION
var version string

// Version returns the release of this source tree, such as "0.1.0". The module
// built from the same tree says the same in /sys/module/nlpeer/version.
func Version() string { return strings.TrimSpace(version) }
