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
	"unicode/utf8"

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
	switch p.carrier {
	case client.Raw:
		return []string{"mask", "resync", "no-resync", "all-nsid", "protocol", "reply"} // the last makes another source of it
	case client.Connector:
		return []string{"resync", "no-resync"} // it is in one namespace
	}
	return []string{"mask", "resync", "no-resync", "all-nsid", "protocol"}
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
	case p.carrier == client.Connector && given("groups"):
		return cli.Usagef("-g means nothing to --via connector: the peer has one group there")
	case p.carrier == client.Connector:
		return nil
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
	var op *client.OpError
	var group *client.GroupError
	switch {
	case errors.As(err, &group):
		return fmt.Errorf("%w; known are: %s", group, strings.Join(group.Known, ", "))
	case p.carrier == client.Connector && o.target.NetNS == "" && errors.As(err, &op) && op.Op == "subscribe" && errors.Is(err, os.ErrPermission):
		return errors.New("listening on the connector needs CAP_NET_ADMIN; try with sudo, or another --via")
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
	if slices.Contains(s.names, wire.McgrpObjects) {
		joined = append(joined, wire.GroupObjects)
	}
	if s.carrier == client.Connector {
		joined = append(joined, wire.GroupConnector)
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

// groupName is that of a group that has one.
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

	Object *objectJSON `json:"object,omitempty"`
}

// objectJSON is promised in the help.
type objectJSON struct {
	Key        string   `json:"key,omitempty"`
	KeyBytes   []byte   `json:"key_base64,omitempty"`
	Generation uint64   `json:"generation"`
	Values     [][]byte `json:"values"`
}

// newObjectJSON returns nil if there is no object.
func newObjectJSON(o client.ObjectView) *objectJSON {
	if o.Key == nil {
		return nil
	}
	j := &objectJSON{Generation: o.Generation, Values: [][]byte{}}
	if utf8.Valid(o.Key) {
		j.Key = string(o.Key)
	} else {
		j.KeyBytes = o.Key
	}
	for v := range o.Values() {
		j.Values = append(j.Values, v)
	}
	return j
}

// shownValues is how many values of an object are shown.
const shownValues = 4

func appendObject(b []byte, o client.ObjectView) []byte {
	b = fmt.Appendf(b, " key=%s gen=%d values=%d", cli.Quote(o.Key), o.Generation, o.Len())
	n := 0
	for v := range o.Values() {
		if n++; n > shownValues {
			return append(b, " ..."...)
		}
		if len(v) == 0 {
			b = append(b, ` ""`...)
			continue
		}
		b = fmt.Appendf(b, " %s", cli.Printable(v))
	}
	return b
}

func (e *peerEvent) json(now time.Time) any {
	return eventJSON{
		Type: "event", Group: e.Group, Name: groupName(e.Group), Seq: e.Seq, Kind: e.Kind.String(),
		Boot: int64(e.Time), Unix: now.UnixNano(), Again: e.Recovered, Lost: e.Lost, Bytes: len(e.Data), Data: notNull(e.Data), NSID: nsid(e.NSID),
		Object: newObjectJSON(e.Object),
	}
}

func (e *peerEvent) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "group=%s seq=%d kind=%s time=%d.%06d",
		cli.GroupName(e.Group), e.Seq, e.Kind, e.Time/time.Second, e.Time%time.Second/time.Microsecond)
	if e.Object.Key == nil {
		b = fmt.Appendf(b, " bytes=%d", len(e.Data))
	}
	b = appendNSID(b, e.NSID)
	if e.Object.Key != nil {
		b = appendObject(b, e.Object)
	}
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
