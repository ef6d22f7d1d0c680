// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
)

// Subscription is what the command needs of a client.Subscription.
type Subscription = subscription

// Listener is what the command needs of a client.Listener.
type Listener = listener

// CommandWith is Command with another client.Subscribe.
func CommandWith(subscribe func(context.Context, client.Config) (Subscription, error)) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command { return command(s, subscribe, nil) }
}

// ListenWith is Command with another client.Listen.
func ListenWith(listen func(context.Context, client.ListenConfig) (Listener, error)) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command { return command(s, nil, listen) }
}

// RouteText is the line for a change.
func RouteText(c *kernel.RouteChange, name func(index uint32) string) string {
	return string(newRouteLine(c, name).appendText(nil))
}

// ProcText is the line for an event.
func ProcText(e *kernel.ProcEvent) string { return string((*procLine)(e).appendText(nil)) }

// UeventText is the line for an event.
func UeventText(e *kernel.Uevent) string { return string((*ueventLine)(e).appendText(nil)) }
