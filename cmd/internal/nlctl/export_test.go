// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"io/fs"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/ftrace"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
)

// Peer is what the command needs of a client.Conn.
type Peer = peer

// Subscription is what the command needs of a client.Subscription.
type Subscription = subscription

// KernelCommandWith is Command with other answers of the kernel itself.
func KernelCommandWith(
	lookUp func(context.Context, kernel.FIBQuery) (kernel.FIBResult, error),
	list func(ctx context.Context, netns int) ([]kernel.Socket, error),
) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command {
		return command(&options{streams: s, lookUp: lookUp, list: list})
	}
}

// WatchCommandWith is Command with another client.Dial and client.Subscribe.
func WatchCommandWith(
	dial func(context.Context, client.Config) (Peer, error),
	subscribe func(context.Context, client.Config) (Subscription, error),
) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command {
		return command(&options{streams: s, dial: dial, subscribe: subscribe})
	}
}

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

// Tracer is what trace needs of an ftrace.Tracer.
type Tracer = tracer

// TraceWith is Command with another ftrace.Open.
func TraceWith(open func(ftrace.Config) (Tracer, error)) func(*cli.Streams) *cobra.Command {
	return func(s *cli.Streams) *cobra.Command {
		return command(&options{streams: s, tracer: open})
	}
}

// ParseHex reads hexadecimal digits.
var ParseHex = parseHex
