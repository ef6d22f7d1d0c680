// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"io/fs"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// Peer is what the command needs of a client.Conn.
type Peer = peer

// CommandWith is Command with another client.Dial and another folder of the
// module. The family is one that is made up.
func CommandWith(dial func(context.Context, client.Config) (Peer, error), sysfs fs.FS) func(*cli.Streams) *cobra.Command {
	family := func(int) (familyJSON, error) {
		return familyJSON{"nlpeer", 32, 1, []mcgrpJSON{{"beacon", 9}}}, nil
	}
	return func(s *cli.Streams) *cobra.Command {
		return command(&options{streams: s, dial: dial, family: family, sysfs: sysfs})
	}
}

// ParseHex reads hexadecimal digits.
var ParseHex = parseHex
