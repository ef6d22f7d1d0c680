// SPDX-License-Identifier: MIT

package nlsub

import (
	"cmp"
	"slices"

	"nlpeer/pkg/client"
)

// A census counts what came in each group, for sources that do not do so
// themselves.
type census struct {
	groups []groupTally
	name   func(group uint32) string
}

// newCensus makes one that has groups from the beginning.
func newCensus(name func(group uint32) string, joined ...uint32) *census {
	c := &census{name: name}
	for _, group := range joined {
		c.at(group, client.OwnNSID)
	}
	return c
}

// at returns the count of a group.
func (c *census) at(group uint32, nsid int32) *groupTally {
	i := slices.IndexFunc(c.groups, func(g groupTally) bool { return g.group == group && g.nsid == nsid })
	if i < 0 {
		i = len(c.groups)
		c.groups = append(c.groups, groupTally{group: group, name: c.name(group), nsid: nsid})
	}
	return &c.groups[i]
}

func (c *census) totals(stats client.ListenerStats) totals {
	t := totals{overruns: stats.Overruns, perGroup: slices.Clone(c.groups)}
	for _, g := range c.groups {
		t.received += g.received
	}
	slices.SortFunc(t.perGroup, func(a, b groupTally) int {
		return cmp.Or(cmp.Compare(a.nsid, b.nsid), cmp.Compare(a.group, b.group))
	})
	return t
}
