// SPDX-License-Identifier: MIT

package nlsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// run prints events until something makes an end, and then the totals, whatever
// the end was.
func (o *options) run(ctx context.Context, s *cli.Streams, sub subscription) error {
	p := &printer{options: o, streams: s}
	began := time.Now()

	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.limit != 0 {
		ctx, cancel = context.WithTimeout(ctx, o.limit)
		defer cancel()
	}

	received, err := o.loop(ctx, cancel, p, sub)

	stats := sub.Stats()
	groups := o.perGroup(stats)
	p.summary(stats, groups, time.Since(began), user.Err() != nil)
	switch {
	case err != nil:
		return o.target.Explain(err)
	case received < o.count:
		return cli.ErrFailed
	case o.failOnGap && (stats.Lost > 0 || stats.Overruns > 0 && !o.sure(stats, groups)):
		return cli.ErrFailed
	}
	return nil
}

// loop prints events until there are enough or ctx ends; it calls stop if none
// came for too long. It returns how many there were, and the error if it was
// one that made an end.
func (o *options) loop(ctx context.Context, stop func(), p *printer, sub subscription) (received uint64, err error) {
	idle := func() {}
	if o.idle != 0 {
		timer := time.AfterFunc(o.idle, stop)
		defer timer.Stop()
		idle = func() { timer.Reset(o.idle) }
	}

	// An error that is followed by anything was not the last. Only then is it
	// reported here.
	var pending error
	for event, err := range sub.Events(ctx) {
		if pending != nil {
			p.trouble(pending)
			pending = nil
		}
		overrun := (*client.OverrunError)(nil)
		switch {
		case errors.As(err, &overrun):
			p.overrun(overrun.Count)
		case err != nil:
			pending = err
		default:
			received++
			idle()
			p.event(&event)
		}
		if received == o.count && o.count != 0 || p.streams.Out.Err() != nil {
			return received, nil
		}
	}
	if ctx.Err() != nil {
		return received, nil
	}
	return received, pending
}

// sure says that after an overrun the statistics tell all that was lost: missed
// events could be asked for, each time and in each group.
func (o *options) sure(stats client.SubscriptionStats, groups []client.GroupStats) bool {
	return o.resync && !o.allNSID && stats.Failed == 0 &&
		!slices.ContainsFunc(groups, func(g client.GroupStats) bool { return g.Received+g.Recovered == 0 })
}

// perGroup returns the groups that were joined and those that were heard.
func (o *options) perGroup(stats client.SubscriptionStats) []client.GroupStats {
	groups := slices.Clone(stats.Groups)
	joined := cli.Groups(o.groups)
	if slices.Contains(o.names, wire.McgrpBeacon) {
		joined = append(joined, wire.GroupBeacon)
	}
	for _, group := range joined {
		if !slices.ContainsFunc(groups, func(g client.GroupStats) bool { return g.Group == group && g.NSID == client.OwnNSID }) {
			groups = append(groups, client.GroupStats{NSID: client.OwnNSID, Group: group})
		}
	}
	slices.SortFunc(groups, func(a, b client.GroupStats) int {
		return cmp.Or(cmp.Compare(a.NSID, b.NSID), cmp.Compare(a.Group, b.Group))
	})
	return groups
}

// totals is the last line.
func totals(stats client.SubscriptionStats) string {
	return fmt.Sprintf("%d received, %d recovered, %d lost, %s", stats.Received, stats.Recovered, stats.Lost, overruns(stats.Overruns))
}

func overruns(n uint64) string {
	if n == 1 {
		return "1 overrun"
	}
	return fmt.Sprintf("%d overruns", n)
}
