// SPDX-License-Identifier: MIT

package nlbench

import (
	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
)

func reportCommand(s *cli.Streams) *cobra.Command {
	return &cobra.Command{Use: "report"}
}
