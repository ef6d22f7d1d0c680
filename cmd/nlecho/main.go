// SPDX-License-Identifier: MIT

// Nlecho sends messages to the nlpeer kernel module and shows what comes back,
// as ping does. See nlecho --help, or docs/man/nlecho.1.
package main

import (
	"os"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/nlecho"
)

func main() { os.Exit(cli.Main(nlecho.Command)) }
