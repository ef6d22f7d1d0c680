// SPDX-License-Identifier: MIT

// Nllab leads through the course "The life of a message". See nllab --help, or
// docs/man/nllab.1.
package main

import (
	"os"

	"nlpeer/labs/nllab"
)

func main() { os.Exit(nllab.Main()) }
