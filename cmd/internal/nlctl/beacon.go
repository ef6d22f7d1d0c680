// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// beaconJSON is the object of -o json. Its members are promised in the help.
type beaconJSON struct {
	Type     string   `json:"type"`
	Interval int64    `json:"interval_ns"`
	Groups   []uint32 `json:"groups"`
	Mask     uint32   `json:"mask"`
	Generic  bool     `json:"genl"`
	Size     int      `json:"size"`
}

func newBeaconJSON(b client.Beacon) *beaconJSON {
	return &beaconJSON{"beacon", int64(b.Interval), cli.Groups(b.Groups), b.Groups, b.Generic, b.Size}
}

func (o *options) beacon() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "beacon [flags] get|set",
		Short: "show or change the beacon",
		Long:  "The beacon is what the peer multicasts on a timer: numbered events, which nlsub\nprints.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command beacon %s; commands are: beacon get, beacon set", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return cli.Usagef("a command is missing: beacon get or beacon set")
		},
	}
	cmd.AddCommand(o.beaconGet(), o.beaconSet())
	return cmd
}

func (o *options) beaconGet() *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "show the beacon's settings",
		Long: `Show the settings of the beacon of the network namespace: its interval, the
groups of the raw protocol that hear it, whether the generic netlink group
"beacon" hears it, and the length of the data in each event. Needs no privilege.

` + beaconSchema,
		Args: cobra.NoArgs,
		RunE: cli.RunE(func(ctx context.Context, _ []string) error {
			return o.ask(ctx, func(p peer) error { return o.showBeacon(ctx, p) })
		}),
	}
}

func (o *options) beaconSet() *cobra.Command {
	var (
		interval time.Duration
		list     uint32
		mask     uint32
		generic  bool
		size     int
	)
	cmd := &cobra.Command{
		Use:   "set",
		Short: "change the beacon's settings",
		Long: `Change the settings of the beacon of the network namespace that are given, all
or none, keep the others, and show what is then in force. Needs CAP_NET_ADMIN in
the network namespace.

` + beaconSchema,
		Example: `  sudo nlctl beacon set --interval 100ms
  sudo nlctl beacon set --groups 1,3-5 --size 64
  sudo nlctl beacon set --interval off`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &interval, parseInterval, "interval", "", "", "`TIME` between two events, 1ms to 1h, or off; a bare number is seconds")
	cli.Var(flags, &list, parseList, "groups", "", "", "groups of the raw protocol that hear it, a `LIST` such as 1,3-5, or none")
	cli.Var(flags, &mask, cli.ParseMask, "mask", "", "", "the same as a `MASK`: 0x15 for 1,3,5")
	cli.Var(flags, &generic, parseSwitch, "genl", "", "", "whether the generic netlink group hears it: `on|off`")
	cli.Var(flags, &size, cli.Size(0, wire.DataMax), "size", "", "", fmt.Sprintf("length of each event's data in `BYTES`, 0 to %d", wire.DataMax))
	cli.Complete(cmd, "interval", "off")
	cli.Complete(cmd, "groups", "none")
	cli.Complete(cmd, "genl", "on", "off")
	cli.CompleteNothing(cmd, "mask", "size")

	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		var change client.BeaconChange
		if flags.Changed("groups") && flags.Changed("mask") {
			return cli.Usagef("--groups and --mask contradict each other: both choose groups")
		}
		for flag, set := range map[string]func(){
			"interval": func() { change.Interval = &interval },
			"groups":   func() { change.Groups = &list },
			"mask":     func() { change.Groups = &mask },
			"genl":     func() { change.Generic = &generic },
			"size":     func() { change.Size = &size },
		} {
			if flags.Changed(flag) {
				set()
			}
		}
		if change == (client.BeaconChange{}) {
			return cli.Usagef("nothing to change: give --interval, --groups, --mask, --genl or --size")
		}
		return o.ask(ctx, func(p peer) error {
			switch err := p.SetBeacon(ctx, change); {
			case errors.Is(err, os.ErrPermission):
				return fmt.Errorf("changing the beacon needs CAP_NET_ADMIN in this network namespace; try: sudo %s", line(cmd))
			case err != nil:
				return err
			}
			return o.showBeacon(ctx, p)
		})
	})
	return cmd
}

// line is the command line that cmd was called with.
func line(cmd *cobra.Command) string {
	s := cmd.CommandPath()
	cmd.Flags().Visit(func(f *pflag.Flag) { s += " --" + f.Name + " " + f.Value.String() })
	return s
}

func (o *options) showBeacon(ctx context.Context, p peer) error {
	b, err := p.Beacon(ctx)
	if err != nil {
		return err
	}
	if o.target.Format == cli.JSON {
		o.streams.Out.JSON(newBeaconJSON(b))
		return nil
	}
	interval, generic := "off", "off"
	if b.Interval != 0 {
		interval = cli.Duration(b.Interval)
	}
	if b.Generic {
		generic = "on"
	}
	fmt.Fprintf(o.streams.Out, "interval  %s\ngroups    %s\ngenl      %s\nsize      %d\n",
		interval, cli.GroupList(b.Groups), generic, b.Size)
	return nil
}

const maxInterval = wire.IntervalMax * time.Millisecond

var parsePositive = cli.Seconds(time.Millisecond, maxInterval)

func parseInterval(s string) (time.Duration, error) {
	if s == "off" {
		return 0, nil
	}
	d, err := parsePositive(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w, or off", err)
	case d%time.Millisecond != 0:
		return 0, errors.New("must be whole milliseconds")
	}
	return d, nil
}

func parseList(s string) (uint32, error) {
	if s == "none" {
		return 0, nil
	}
	return cli.ParseGroups(s)
}

func parseSwitch(s string) (bool, error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, errors.New("must be on or off")
}

const beaconSchema = `JSON
  type "beacon"   interval_ns (0: off), groups (a list of numbers), mask (the same
                  as a number), genl (true or false), size`
