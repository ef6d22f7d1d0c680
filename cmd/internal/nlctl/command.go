// SPDX-License-Identifier: MIT

// Package nlctl is the command nlctl.
package nlctl

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// A peer is what is needed of a client.Conn.
type peer interface {
	Beacon(context.Context) (client.Beacon, error)
	SetBeacon(context.Context, client.BeaconChange) error
	Stats(context.Context) (client.Stats, error)
	Close() error
}

// patience limits each request, so that no command hangs.
const patience = 10 * time.Second

type options struct {
	target  cli.Target
	streams *cli.Streams
	dial    func(context.Context, client.Config) (peer, error)
	family  func(netns int) (familyJSON, error)
	sysfs   fs.FS // the module's folder there
}

// Command returns the command.
func Command(s *cli.Streams) *cobra.Command {
	return command(&options{
		streams: s,
		dial:    func(ctx context.Context, cfg client.Config) (peer, error) { return client.Dial(ctx, cfg) },
		family:  family,
		sysfs:   os.DirFS("/sys/module/nlpeer"),
	})
}

func command(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nlctl [flags] COMMAND",
		Short: "show and change the state of the nlpeer kernel module",
		Long:  long,
		Example: `  nlctl info
  nlctl -o json stats
  nlctl decode events.pcapng
  sudo nlctl beacon set --interval 100ms --groups 1,3-5`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %s; commands are: info, stats, beacon, decode", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return cli.Usagef("a command is missing: info, stats, beacon or decode")
		},
	}
	o.target.Carrier = client.Generic
	o.target.Add(cmd)
	cmd.AddCommand(o.info(), o.stats(), o.beacon(), o.decode())
	return cmd
}

// ask connects, asks, and hangs up.
func (o *options) ask(ctx context.Context, ask func(peer) error) error {
	cfg, done, err := o.target.Open()
	if err != nil {
		return err
	}
	cfg.Timeout = patience
	p, err := o.dial(ctx, cfg)
	done()
	if err == nil {
		err = ask(p)
		p.Close()
	}
	return o.target.Explain(err)
}

const long = `nlctl shows and changes the state of the netlink peer in the kernel. It asks by
generic netlink. Each network namespace has a beacon and statistics of its own.

EXIT STATUS
  0   all went well
  2   wrong usage, no privilege, or the kernel could not be asked at all

JSON
With -o json the answer is one object on one line, whose type is the command's
name, and more members may be added to it. Durations are integers: nanoseconds.
An error is text on standard error all the same.`
