// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// maxLine is the longest line of a batch in bytes: more than any object needs.
const maxLine = 128 << 10

func (o *options) objectBatch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "batch",
		Short: "make many changes",
		Long: `Make the changes that stand on standard input, one on each line, by one
connection: a command such as add or del with its arguments, which are separated
by blanks and cannot be quoted. Empty lines and those that begin with # are passed
over. It stops at the first change that is refused, and names its line; those
before it are made. Nothing is printed. Needs CAP_NET_ADMIN in the network
namespace.`,
		Example: `  sudo nlctl object batch <changes.txt
  seq 100 | sed 's/.*/add port-& up/' | sudo nlctl object batch`,
		Args:              noArgument("it reads standard input"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		if cli.Terminal(o.streams.In) {
			fmt.Fprintln(o.streams.Err, "nlctl: reading changes, such as: add port/1 up; Ctrl-D ends")
		}
		// The error of a line is in our words already, with the line.
		var refused error
		err := o.ask(ctx, func(p peer) error {
			refused = o.batch(ctx, cmd, p)
			return nil
		})
		if err == nil {
			err = refused
		}
		return err
	})
	return cmd
}

func (o *options) batch(ctx context.Context, cmd *cobra.Command, p peer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	lines, failed := cli.Lines(ctx, o.streams.In, maxLine)
	for n := 1; ; n++ {
		select {
		case <-ctx.Done(): // Lines may wait for input
			return fmt.Errorf("interrupted after %d lines", n-1)
		case text, ok := <-lines:
			if !ok {
				return failed()
			}
			err := o.batchLine(ctx, p, string(text))
			admin := (*needsAdmin)(nil)
			if errors.As(err, &admin) {
				admin.line = line(cmd)
				return admin
			}
			if err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
}

// batchLine does what a line says, by a connection that stays open.
func (o *options) batchLine(ctx context.Context, p peer, text string) error {
	words := strings.Fields(text)
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	batch := *o
	batch.streams = &cli.Streams{Out: o.streams.Out, Err: o.streams.Err}
	batch.dial = func(context.Context, client.Config) (peer, error) { return stayOpen{p}, nil }

	var cmd *cobra.Command
	for _, v := range verbs {
		if v.name == words[0] {
			cmd = batch.objectNew(v)
		}
	}
	switch {
	case words[0] == "del":
		cmd = batch.objectDel()
	case cmd == nil:
		return cli.Usagef("there is no change %q; there are: add, replace, change, append, new, del", words[0])
	}
	if err := cmd.ParseFlags(words[1:]); err != nil {
		return cli.Usagef("%w", err)
	}
	args := cmd.Flags().Args()
	if err := cmd.ValidateArgs(args); err != nil {
		return cli.Usagef("%w", err)
	}
	cmd.SetContext(ctx)
	return cmd.RunE(cmd, args)
}

// stayOpen is a connection that others close.
type stayOpen struct{ peer }

func (stayOpen) Close() error { return nil }
