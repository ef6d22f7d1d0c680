// SPDX-License-Identifier: MIT

package nlsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A subscription is what is needed of a client.Subscription.
type subscription interface {
	Events(ctx context.Context) iter.Seq2[client.Event, error]
	Stats() client.SubscriptionStats
	Close() error
}

// A peer is the source of the nlpeer module's events, by one of its carriers.
type peer struct {
	carrier client.Carrier
	mask    uint32 // of groups, on raw
	names   []string
}

func (p *peer) name() string { return p.carrier.String() }

func (p *peer) takes() []string {
	flags := []string{"mask", "resync", "no-resync", "all-nsid", "protocol"}
	if p.carrier == client.Raw {
		flags = append(flags, "reply") // which then makes another source of it
	}
	return flags
}

func (p *peer) groups() []string {
	if p.carrier == client.Generic {
		return cli.GroupNames
	}
	return nil
}

func (p *peer) choose(o *options, given func(flag string) bool) (err error) {
	o.target.Carrier = p.carrier
	raw := p.carrier == client.Raw
	switch {
	case given("groups") && given("mask"):
		return errBothGroups
	case given("mask") && !raw:
		return cli.Usagef("--mask is for --via raw; on generic netlink groups have names: -g %s", strings.Join(cli.GroupNames, ","))
	case given("mask"):
		p.mask = o.mask
	case raw && !given("groups"):
		p.mask = 1
	case raw:
		if p.mask, err = cli.ParseGroups(o.list); err != nil {
			if _, nerr := cli.ParseGroupNames(o.list); nerr == nil {
				err = fmt.Errorf("%w; names are for --via genl", err)
			}
		}
	case !given("groups"):
		p.names = []string{wire.McgrpBeacon}
	default:
		p.names, err = cli.ParseGroupNames(o.list)
	}
	if err != nil {
		return cli.Usagef("-g: %w", err)
	}
	return nil
}

func (p *peer) open(ctx context.Context, o *options, cfg client.Config) (stream, error) {
	cfg.Groups, cfg.GroupNames = p.mask, p.names
	cfg.AllNSID, cfg.NoResync = o.allNSID, !o.resync
	sub, err := o.subscribe(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &peerStream{subscription: sub, peer: p, sure: o.resync && !o.allNSID}, nil
}

// explain is Target.Explain with what only a subscription can meet.
func (p *peer) explain(o *options, err error) error {
	if len(p.names) > 0 && errors.Is(err, os.ErrNotExist) && !errors.Is(err, client.ErrNotLoaded) {
		var op *client.OpError
		if errors.As(err, &op) {
			return fmt.Errorf("%s; known are: %s", strings.TrimSuffix(op.Err.Error(), ": "+os.ErrNotExist.Error()), strings.Join(cli.GroupNames, ", "))
		}
	}
	return o.target.Explain(err)
}

// A peerStream is an open subscription.
type peerStream struct {
	subscription
	*peer
	sure bool // the statistics may tell all that was lost
}

func (s *peerStream) lines(ctx context.Context) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		var e peerEvent
		for event, err := range s.Events(ctx) {
			e = peerEvent(event)
			if !yield(&e, err) {
				return
			}
		}
	}
}

// totals tells of the groups that were joined and those that were heard.
func (s *peerStream) totals() totals {
	stats := s.Stats()
	groups := slices.Clone(stats.Groups)
	joined := cli.Groups(s.mask)
	if slices.Contains(s.names, wire.McgrpBeacon) {
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

	t := totals{
		tally:    tally{stats.Received, stats.Recovered, stats.Lost},
		overruns: stats.Overruns,
		kinds:    countsRecovered,
		// Missed events could be asked for, each time and in each group.
		sure: s.sure && stats.Failed == 0 &&
			!slices.ContainsFunc(groups, func(g client.GroupStats) bool { return g.Received+g.Recovered == 0 }),
	}
	for _, g := range groups {
		t.perGroup = append(t.perGroup, groupTally{countsRecovered, g.Group, groupName(g.Group), g.NSID, tally{g.Received, g.Recovered, g.Lost}})
	}
	return t
}

// groupName is that of a group of generic netlink.
func groupName(group uint32) string {
	if group >= wire.GroupBeacon {
		return cli.GroupName(group)
	}
	return ""
}

// A peerEvent is an event of the module.
type peerEvent client.Event

// eventJSON is promised in the help.
type eventJSON struct {
	Type  string `json:"type"`
	Group uint32 `json:"group"`
	Name  string `json:"name,omitempty"`
	Seq   uint64 `json:"seq"`
	Kind  string `json:"kind"`
	Boot  int64  `json:"boottime_ns"`
	Unix  int64  `json:"unix_ns"`
	Again bool   `json:"recovered"`
	Lost  uint64 `json:"lost"`
	Bytes int    `json:"bytes"`
	Data  []byte `json:"data"`
	NSID  *int32 `json:"nsid,omitempty"`
}

func (e *peerEvent) json(now time.Time) any {
	return eventJSON{
		Type: "event", Group: e.Group, Name: groupName(e.Group), Seq: e.Seq, Kind: e.Kind.String(),
		Boot: int64(e.Time), Unix: now.UnixNano(), Again: e.Recovered, Lost: e.Lost, Bytes: len(e.Data), Data: notNull(e.Data), NSID: nsid(e.NSID),
	}
}

func (e *peerEvent) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "group=%s seq=%d kind=%s time=%d.%06d bytes=%d",
		cli.GroupName(e.Group), e.Seq, e.Kind, e.Time/time.Second, e.Time%time.Second/time.Microsecond, len(e.Data))
	b = appendNSID(b, e.NSID)
	if len(e.Data) > 0 {
		b = fmt.Appendf(b, " %s", cli.Printable(e.Data))
	}
	if e.Lost > 0 {
		b = fmt.Appendf(b, " lost %d", e.Lost)
	}
	if e.Recovered {
		b = append(b, " recovered"...)
	}
	return b
}
