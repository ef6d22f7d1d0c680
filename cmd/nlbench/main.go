// SPDX-License-Identifier: MIT

// Nlbench measures what it costs to talk to a kernel: our client, other people's
// libraries and programs in C, over all ways that there are. See nlbench --help,
// or docs/man/nlbench.1.
package main

import (
	"os"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/nlbench"
)

func main() { os.Exit(cli.Main(nlbench.Command)) }
