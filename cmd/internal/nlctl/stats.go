// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
)

// The object of -o json. Its members are promised in the help.
type (
	statsJSON struct {
		Type     string          `json:"type"`
		Carriers []carrierJSON   `json:"carriers"`
		Beacon   beaconStatsJSON `json:"beacon"`
		History  historyJSON     `json:"history"`
	}
	carrierJSON struct {
		Carrier     string `json:"carrier"`
		Requests    uint64 `json:"requests"`
		Replies     uint64 `json:"replies"`
		Errors      uint64 `json:"errors"`
		RxBytes     uint64 `json:"rx_bytes"`
		TxBytes     uint64 `json:"tx_bytes"`
		Events      uint64 `json:"events"`
		EventErrors uint64 `json:"event_errors"`
	}
	beaconStatsJSON struct {
		Ticks  uint64 `json:"ticks"`
		Idle   uint64 `json:"idle"`
		Missed uint64 `json:"missed"`
	}
	historyJSON struct {
		Size uint32 `json:"size"`
		Held uint32 `json:"held"`
	}
)

func (o *options) stats() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "show the statistics",
		Long: `Show the statistics of the network namespace since it came to be, or the module
was loaded. Needs no privilege.

For each carrier: requests that reached the peer, replies, requests that failed,
bytes of requests (rx) and replies (tx) with their headers, events sent to a group
that had a listener, and events lost for lack of memory. For the beacon: its
ticks, those among them that found no listener (idle), and those that were
skipped because the machine was behind (missed). For the history: how many events
it holds of those it has room for.

JSON
  type "stats"   carriers: a list of carrier, requests, replies, errors,
                 rx_bytes, tx_bytes, events, event_errors; beacon: ticks,
                 idle, missed; history: size, held`,
		Args: cobra.NoArgs,
		RunE: cli.RunE(func(ctx context.Context, _ []string) error {
			return o.ask(ctx, func(p peer) error { return o.showStats(ctx, p) })
		}),
	}
}

func (o *options) showStats(ctx context.Context, p peer) error {
	s, err := p.Stats(ctx)
	if err != nil {
		return err
	}
	if o.target.Format == cli.JSON {
		v := statsJSON{Type: "stats", Carriers: []carrierJSON{}, Beacon: beaconStatsJSON(s.Beacon), History: historyJSON{s.History.Size, s.History.Held}}
		for _, c := range s.Carriers {
			v.Carriers = append(v.Carriers, carrierJSON{c.Carrier.String(), c.Requests, c.Replies, c.Errors, c.RxBytes, c.TxBytes, c.Events, c.EventErrors})
		}
		o.streams.Out.JSON(v)
		return nil
	}
	t := tabwriter.NewWriter(o.streams.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "carrier\trequests\treplies\terrors\trx bytes\ttx bytes\tevents\tevent errors\t")
	for _, c := range s.Carriers {
		fmt.Fprintf(t, "%v\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", c.Carrier, c.Requests, c.Replies, c.Errors, c.RxBytes, c.TxBytes, c.Events, c.EventErrors)
	}
	t.Flush()
	fmt.Fprintf(o.streams.Out, "\nbeacon: %d ticks, %d idle, %d missed\n", s.Beacon.Ticks, s.Beacon.Idle, s.Beacon.Missed)
	fmt.Fprintf(o.streams.Out, "history: %d of %d events\n", s.History.Held, s.History.Size)
	return nil
}
