// SPDX-License-Identifier: MIT

// Nlctl shows and changes the state of the nlpeer kernel module. See nlctl
// --help, or docs/man/nlctl.1.
package main

import (
	"os"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/nlctl"
)

func main() { os.Exit(cli.Main(nlctl.Command)) }
