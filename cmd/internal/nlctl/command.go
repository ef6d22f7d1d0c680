// SPDX-License-Identifier: MIT

// Package nlctl is the command nlctl.
package nlctl

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/ftrace"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
	"nlpeer/pkg/wire"
)

// A peer is what is needed of a client.Conn.
type peer interface {
	Beacon(context.Context) (client.Beacon, error)
	SetBeacon(context.Context, client.BeaconChange) error
	Stats(context.Context) (client.Stats, error)
	NewObject(ctx context.Context, key string, flags wire.Modifier, values ...[]byte) error
	DeleteObject(ctx context.Context, key string) error
	DeleteObjects(ctx context.Context, prefix string) error
	GetObject(ctx context.Context, key string) (client.Object, error)
	Objects(context.Context, client.ObjectQuery) iter.Seq2[client.Object, error]
	Close() error
}

// patience limits each request, so that no command hangs.
const patience = 10 * time.Second

type options struct {
	target    cli.Target
	streams   *cli.Streams
	dial      func(context.Context, client.Config) (peer, error)
	subscribe func(context.Context, client.Config) (subscription, error)
	family    func(netns int) (familyJSON, error)
	sysfs     fs.FS // the module's folder there
	lookUp    func(context.Context, kernel.FIBQuery) (kernel.FIBResult, error)
	list      func(ctx context.Context, netns int) ([]kernel.Socket, error)
	tracer    func(ftrace.Config) (tracer, error)
}

// Command returns the command.
func Command(s *cli.Streams) *cobra.Command {
	return command(&options{
		streams:   s,
		dial:      func(ctx context.Context, cfg client.Config) (peer, error) { return client.Dial(ctx, cfg) },
		subscribe: func(ctx context.Context, cfg client.Config) (subscription, error) { return client.Subscribe(ctx, cfg) },
		family:    family,
		sysfs:     os.DirFS("/sys/module/nlpeer"),
		lookUp:    kernel.LookUpFIB,
		list:      listSockets,
		tracer:    func(cfg ftrace.Config) (tracer, error) { return ftrace.Open(cfg) },
	})
}

func listSockets(ctx context.Context, netns int) ([]kernel.Socket, error) {
	sockets, err := kernel.Sockets(ctx, netns)
	kernel.FindOwners(sockets)
	return sockets, err
}

func command(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nlctl [flags] COMMAND",
		Short: "show and change the state of the nlpeer kernel module",
		Long:  long,
		Example: `  nlctl info
  nlctl -o json stats
  nlctl decode events.pcapng
  sudo nlctl beacon set --interval 100ms --groups 1,3-5
  sudo nlctl object add port/1 up
  nlctl object list`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %s; commands are: %s", args[0], strings.Join(names(cmd), ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cli.Usagef("a command is missing: %s", strings.Join(names(cmd), ", "))
		},
	}
	o.target.Carrier = client.Generic
	o.target.Add(cmd)
	cmd.AddCommand(o.info(), o.stats(), o.beacon(), o.object(), o.fib(), o.sockets(), o.trace(), o.decode())
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
generic netlink, and about objects by any carrier that has them. Each network
namespace has a beacon, objects and statistics of its own. The commands fib and
sockets ask the kernel itself, and need no module; decode needs neither.

EXIT STATUS
  0   all went well
  1   fib: there is no route; decode: the capture is cut short, or kept only the
      beginnings of datagrams; object list, object watch: some of it could not be
      had
  2   wrong usage, no privilege, or the kernel could not be asked at all
"nlctl trace" ends as the command does that it runs.

JSON
With -o json an answer is an object on one line, whose type is the command's name
unless its help says otherwise, and more members may be added to it. Durations are integers: nanoseconds.
An error is text on standard error all the same.`

// names returns the commands below cmd that are ours, not cobra's.
func names(cmd *cobra.Command) []string {
	var all []string
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			all = append(all, c.Name())
		}
	}
	return all
}
