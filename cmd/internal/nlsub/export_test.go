// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// Subscription is what the command needs of a client.Subscription.
type Subscription = subscription

// CommandWith is Command with another client.Subscribe.
func CommandWith(subscribe func(context.Context, client.Config) (Subscription, error)) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command { return command(s, subscribe, nil) }
}
