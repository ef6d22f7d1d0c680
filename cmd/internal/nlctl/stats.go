// SPDX-License-Identifier: MIT

package nlctl

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
)

// The object of -o json. Its members are promised in the help.
type (
	statsJSON struct {
		Type     string          `json:"type"`
		Carriers []carrierJSON   `json:"carriers"`
		Beacon   beaconStatsJSON `json:"beacon"`
		History  historyJSON     `json:"history"`
		Objects  objectsJSON     `json:"objects"`
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

		ByErrno []errnoJSON `json:"errors_by_errno"`
	}
	errnoJSON struct {
		Errno string `json:"errno"`
		Count uint64 `json:"count"`
	}
	beaconStatsJSON struct {
		Ticks  uint64 `json:"ticks"`
		Idle   uint64 `json:"idle"`
		Missed uint64 `json:"missed"`
	}
	historyJSON struct {
		Size     uint32 `json:"size"`
		Held     uint32 `json:"held"`
		Bytes    uint64 `json:"bytes"`
		BytesMax uint64 `json:"bytes_max"`
	}
	objectsJSON struct {
		Count      uint32 `json:"count"`
		CountMax   uint32 `json:"count_max"`
		Bytes      uint64 `json:"bytes"`
		BytesMax   uint64 `json:"bytes_max"`
		Generation uint64 `json:"generation"`
		Snapshots  uint32 `json:"snapshots"`
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
that had a listener, and events lost for lack of memory; and how often requests
failed with which error. For the beacon: its ticks, those among them that found
no listener (idle), and those that were skipped because the machine was behind
(missed). For the history: how many events it holds of those it has room for, and
how many bytes of objects. For the table: how many objects it holds, how many
bytes they take, its generation, which is the number of its changes, and atomic
dumps in progress.

JSON
  type "stats"   carriers: a list of carrier, requests, replies, errors,
                 rx_bytes, tx_bytes, events, event_errors, errors_by_errno: a
                 list of errno (a name, or "other"), count; beacon: ticks, idle,
                 missed; history: size, held, bytes, bytes_max; objects: count,
                 count_max, bytes, bytes_max, generation, snapshots`,
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
		v := statsJSON{Type: "stats", Carriers: []carrierJSON{}, Beacon: beaconStatsJSON(s.Beacon), History: historyJSON(s.History), Objects: objectsJSON(s.Objects)}
		for _, c := range s.Carriers {
			j := carrierJSON{c.Carrier.String(), c.Requests, c.Replies, c.Errors, c.RxBytes, c.TxBytes, c.Events, c.EventErrors, []errnoJSON{}}
			for _, e := range c.Errs {
				j.ByErrno = append(j.ByErrno, errnoJSON{errnoName(e.Errno), e.Count})
			}
			v.Carriers = append(v.Carriers, j)
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
	fmt.Fprintln(o.streams.Out)
	for _, c := range s.Carriers {
		if len(c.Errs) > 0 {
			fmt.Fprintf(o.streams.Out, "errors of %v: %s\n", c.Carrier, errnoCounts(c.Errs))
		}
	}
	fmt.Fprintf(o.streams.Out, "beacon: %d ticks, %d idle, %d missed\n", s.Beacon.Ticks, s.Beacon.Idle, s.Beacon.Missed)
	fmt.Fprintf(o.streams.Out, "history: %d of %d events, %d of %d bytes\n", s.History.Held, s.History.Size, s.History.Bytes, s.History.BytesMax)
	fmt.Fprintf(o.streams.Out, "objects: %d of %d, %d of %d bytes, generation %d, atomic dumps %d\n",
		s.Objects.Count, s.Objects.CountMax, s.Objects.Bytes, s.Objects.BytesMax, s.Objects.Generation, s.Objects.Snapshots)
	return nil
}

// errnoName is the name of an error, 0 being those that have no counter.
func errnoName(errno syscall.Errno) string {
	if errno == 0 {
		return "other"
	}
	return cmp.Or(explain.ErrnoName(errno), strconv.Itoa(int(errno)))
}

func errnoCounts(errs []client.ErrorCount) string {
	list := make([]string, len(errs))
	for i, e := range errs {
		list[i] = fmt.Sprintf("%d %s", e.Count, errnoName(e.Errno))
	}
	return strings.Join(list, ", ")
}
