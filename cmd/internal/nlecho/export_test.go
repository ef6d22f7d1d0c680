// SPDX-License-Identifier: MIT

package nlecho

import (
	"context"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// Echoer is what the command needs of a client.Conn.
type Echoer = echoer

// CommandWith is Command with another client.Dial and, where one is needed,
// client.DialPipeline.
func CommandWith(
	dial func(context.Context, client.Config) (Echoer, error),
	open ...func(context.Context, client.Config, client.PipelineConfig) (Streamer, error),
) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command { return command(s, dial, append(open, nil)[0], nil) }
}

// Streamer is what the command needs of a client.Pipeline.
type Streamer = streamer

// Caster is what the command needs to send to groups.
type Caster = caster

// CastWith is Command with another way to send to groups.
func CastWith(open func(context.Context, client.Config) (Caster, error)) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command { return command(s, nil, nil, open) }
}

// Percent is how a loss is written.
var Percent = percent
