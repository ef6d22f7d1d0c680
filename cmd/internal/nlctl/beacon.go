// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// beaconJSON is the object of -o json. Its members are promised in the help.
type beaconJSON struct {
	Type      string   `json:"type"`
	Interval  int64    `json:"interval_ns"`
	Groups    []uint32 `json:"groups"`
	Mask      uint32   `json:"mask"`
	Generic   bool     `json:"genl"`
	Connector bool     `json:"connector"`
	Size      int      `json:"size"`
	Packed    []uint32 `json:"packed"`
}

func newBeaconJSON(b client.Beacon) *beaconJSON {
	return &beaconJSON{"beacon", int64(b.Interval), cli.Groups(b.Groups), b.Groups, b.Generic, b.Connector, b.Size, cli.Groups(b.Packed)}
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
"beacon" and the connector's group hear it, the length of the data in each
event, and the raw groups in which the events of a burst come packed. Needs no
privilege.

` + beaconSchema,
		Args: cobra.NoArgs,
		RunE: cli.RunE(func(ctx context.Context, _ []string) error {
			return o.ask(ctx, func(p peer) error { return o.showBeacon(ctx, p) })
		}),
	}
}

func (o *options) beaconSet() *cobra.Command {
	var (
		interval  time.Duration
		list      uint32
		mask      uint32
		generic   bool
		connector bool
		packed    uint32
		burst     int
		size      int
	)
	cmd := &cobra.Command{
		Use:   "set",
		Short: "change the beacon's settings",
		Long: `Change the settings of the beacon of the network namespace that are given, all
or none, keep the others, and show what is then in force. Needs CAP_NET_ADMIN in
the network namespace.

--burst sends events at once, besides the ticks, to all groups that hear the
beacon, by the settings that are then in force. In the groups of --packed they
come several to a datagram, which costs a listener a fraction.

` + beaconSchema,
		Example: `  sudo nlctl beacon set --interval 100ms
  sudo nlctl beacon set --groups 1,3-5 --size 64
  sudo nlctl beacon set --packed 3 --burst 64
  sudo nlctl beacon set --interval off`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &interval, parseInterval, "interval", "", "", "`TIME` between two events, 1ms to 1h, or off; a bare number is seconds")
	cli.Var(flags, &list, parseList, "groups", "", "", "groups of the raw protocol that hear it, a `LIST` such as 1,3-5, or none")
	cli.Var(flags, &mask, cli.ParseMask, "mask", "", "", "the same as a `MASK`: 0x15 for 1,3,5")
	cli.Var(flags, &generic, parseSwitch, "genl", "", "", "whether the generic netlink group hears it: `on|off`")
	cli.Var(flags, &connector, parseSwitch, "connector", "", "", "whether the connector's group hears it, in the initial network namespace: `on|off`")
	cli.Var(flags, &packed, parseList, "packed", "", "", "groups of the raw protocol that get the events of a burst several to a datagram, a `LIST` or none")
	cli.Var(flags, &burst, parseBurst, "burst", "", "", fmt.Sprintf("send `COUNT` events at once to each group, 1 to %d", wire.BurstMax))
	cli.Var(flags, &size, cli.Size(0, wire.DataMax), "size", "", "", fmt.Sprintf("length of each event's data in `BYTES`, 0 to %d", wire.DataMax))
	cli.Complete(cmd, "interval", "off")
	cli.Complete(cmd, "groups", "none")
	cli.Complete(cmd, "packed", "none")
	cli.Complete(cmd, "genl", "on", "off")
	cli.Complete(cmd, "connector", "on", "off")
	cli.CompleteNothing(cmd, "mask", "size", "burst")

	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		var change client.BeaconChange
		if flags.Changed("groups") && flags.Changed("mask") {
			return cli.Usagef("--groups and --mask contradict each other: both choose groups")
		}
		for flag, set := range map[string]func(){
			"interval":  func() { change.Interval = &interval },
			"groups":    func() { change.Groups = &list },
			"mask":      func() { change.Groups = &mask },
			"genl":      func() { change.Generic = &generic },
			"connector": func() { change.Connector = &connector },
			"packed":    func() { change.Packed = &packed },
			"burst":     func() { change.Burst = burst },
			"size":      func() { change.Size = &size },
		} {
			if flags.Changed(flag) {
				set()
			}
		}
		if change == (client.BeaconChange{}) {
			return cli.Usagef("nothing to change: give --interval, --groups, --mask, --genl, --connector, --packed, --size or --burst")
		}
		return o.ask(ctx, func(p peer) error {
			switch err := p.SetBeacon(ctx, change); {
			case errors.Is(err, os.ErrPermission):
				return &needsAdmin{"changing the beacon", line(cmd)}
			case err != nil:
				return err
			}
			return o.showBeacon(ctx, p)
		})
	})
	return cmd
}

// needsAdmin is an EPERM in other words.
type needsAdmin struct{ what, line string }

func (e *needsAdmin) Error() string {
	return fmt.Sprintf("%s needs CAP_NET_ADMIN in this network namespace; try: sudo %s", e.what, e.line)
}

// line is the command line that cmd was called with, for a shell.
func line(cmd *cobra.Command, args ...string) string {
	words := strings.Fields(cmd.CommandPath())
	cmd.Flags().Visit(func(f *pflag.Flag) {
		words = append(words, "--"+f.Name)
		if f.NoOptDefVal == "" {
			words = append(words, f.Value.String())
		}
	})
	words = append(words, args...)
	for i, word := range words {
		words[i] = shellWord(word)
	}
	return strings.Join(words, " ")
}

// shellWord quotes what a shell would take for something else.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,@%+=", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
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
	interval := "off"
	if b.Interval != 0 {
		interval = cli.Duration(b.Interval)
	}
	fmt.Fprintf(o.streams.Out, "interval   %s\ngroups     %s\ngenl       %s\nconnector  %s\nsize       %d\npacked     %s\n",
		interval, cli.GroupList(b.Groups), onOff(b.Generic), onOff(b.Connector), b.Size, cli.GroupList(b.Packed))
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

func parseBurst(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > wire.BurstMax {
		return 0, fmt.Errorf("must be a number of events, 1 to %d", wire.BurstMax)
	}
	return n, nil
}

func parseList(s string) (uint32, error) {
	if s == "none" {
		return 0, nil
	}
	return cli.ParseGroups(s)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
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
                  as a number), genl and connector (true or false), size,
                  packed (a list of numbers)`
