// SPDX-License-Identifier: MIT

// Nlsub subscribes to the multicast groups of the nlpeer kernel module and prints
// their events. See nlsub --help, or docs/man/nlsub.1.
package main

import (
	"os"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/nlsub"
)

func main() { os.Exit(cli.Main(nlsub.Command)) }
