// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jsimonetti/rtnetlink/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// RouteGroups are the multicast groups of NETLINK_ROUTE by number (enum
// rtnetlink_groups in linux/rtnetlink.h); "" is one that has no name. The names
// are those of the header, with the words of ip-monitor(8) for addresses.
var RouteGroups = []string{
	1: "link", "notify", "neigh", "tc", "ipv4-addr", "ipv4-mroute", "ipv4-route", "ipv4-rule", "ipv6-addr", "ipv6-mroute",
	"ipv6-route", "ipv6-ifinfo", "decnet-addr", "", "decnet-route", "decnet-rule", "", "ipv6-prefix", "ipv6-rule",
	"nd-useropt", "phonet-addr", "phonet-route", "dcb", "ipv4-netconf", "ipv6-netconf", "mdb", "mpls-route", "nsid",
	"mpls-netconf", "ipv4-mroute-r", "ipv6-mroute-r", "nexthop", "brvlan", "mctp-addr", "tunnel", "stats",
	"ipv4-mcaddr", "ipv6-mcaddr", "ipv6-acaddr",
}

// RouteDefault are the groups that most will want.
var RouteDefault = []uint32{1, 3, 5, 7, 9, 11}

// A RouteChange is one message of NETLINK_ROUTE about what has changed. At most
// one of the pointers is not nil; all are nil for messages that are not decoded:
// those about none of links, addresses, neighbours, routes and rules, and those
// with something that package rtnetlink refuses, such as an attribute of a rule that
// is newer than it, or an address that is too short to be of Ethernet or IP.
type RouteChange struct {
	// Group is the multicast group that it was sent to.
	Group uint32
	// NSID is the ID of the namespace that it is from, [client.OwnNSID] if ours.
	NSID int32
	// Type and Flags are those of the message's header.
	Type, Flags uint16
	// Body is what follows the header, valid until the iteration goes on.
	Body []byte

	Link    *rtnetlink.LinkMessage
	Address *rtnetlink.AddressMessage
	Neigh   *rtnetlink.NeighMessage
	Route   *rtnetlink.RouteMessage
	Rule    *rtnetlink.RuleMessage
}

// Action says what became of it: "new" if it was made or changed, "replace" if
// it took the place of another, "del". For messages that are not decoded it goes
// by the number alone, as all types come in fours.
func (c *RouteChange) Action() string {
	switch {
	case c.Type&3 == unix.RTM_DELLINK&3:
		return "del"
	case c.Type&3 == unix.RTM_NEWLINK&3 && c.Flags&wire.FlagReplace != 0:
		return "replace"
	case c.Type&3 == unix.RTM_NEWLINK&3:
		return "new"
	}
	return "other"
}

// A Route listens to NETLINK_ROUTE. [ListenRoute] makes one.
type Route struct {
	*client.Listener
	names map[uint32]string
}

// ListenRoute begins to listen to the groups in cfg, RouteDefault if there are
// none. It needs no privilege.
func ListenRoute(ctx context.Context, cfg client.ListenConfig) (*Route, error) {
	cfg.Protocol, cfg.KernelOnly = unix.NETLINK_ROUTE, true
	if len(cfg.Groups) == 0 {
		cfg.Groups = RouteDefault
	}
	l, err := client.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := &Route{l, make(map[uint32]string)}
	r.learn(cfg.NetNS)
	return r, nil
}

// learn asks for the names of the links that there are. Messages about addresses
// and routes have numbers only, and a number is not worth an error.
func (r *Route) learn(netns int) {
	c, err := rtnetlink.Dial(&netlink.Config{NetNS: netns})
	if err != nil {
		return
	}
	defer c.Close()
	links, err := c.Link.List()
	if err != nil {
		return
	}
	for i := range links {
		r.name(&links[i])
	}
}

func (r *Route) name(l *rtnetlink.LinkMessage) {
	if l.Attributes != nil && l.Attributes.Name != "" {
		r.names[l.Index] = l.Attributes.Name
	}
}

// LinkName returns the name of a link as far as it was heard of, or else "if"
// and its index. It is for the range over Changes.
func (r *Route) LinkName(index uint32) string {
	if name, ok := r.names[index]; ok {
		return name
	}
	return fmt.Sprintf("if%d", index)
}

// Changes ranges over the changes, as [client.Listener.Datagrams] does over
// datagrams. It goes on after an error about a message that makes no sense.
func (r *Route) Changes(ctx context.Context) iter.Seq2[RouteChange, error] {
	return func(yield func(RouteChange, error) bool) {
		for d, err := range r.Datagrams(ctx) {
			if err != nil {
				if !yield(RouteChange{}, err) {
					return
				}
				continue
			}
			for m, err := range wire.Messages(d.Data) {
				var c RouteChange
				if err == nil {
					c, err = ParseRoute(m)
				}
				if err != nil {
					c, err = RouteChange{}, &client.OpError{Op: "receive", Err: err}
				}
				c.Group, c.NSID = d.Group, d.NSID
				if c.Link != nil && d.NSID == client.OwnNSID {
					r.name(c.Link)
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// ErrRoute says that the body of a message makes no sense: it is shorter than its
// fixed header, or its attributes do not fit.
var ErrRoute = errors.New("message of NETLINK_ROUTE makes no sense")

// ParseRoute decodes a message of NETLINK_ROUTE. Group and NSID are left 0. It
// returns an error that is [ErrRoute].
func ParseRoute(m wire.Message) (RouteChange, error) {
	c := RouteChange{Type: m.Type, Flags: m.Flags, Body: m.Body}
	// The types' numbers come in fours: new, del, get, set.
	var err error
	switch m.Type &^ 3 {
	case unix.RTM_NEWLINK:
		c.Link, err = decode[rtnetlink.LinkMessage](m.Body, unix.SizeofIfInfomsg)
	case unix.RTM_NEWADDR:
		c.Address, err = decode[rtnetlink.AddressMessage](m.Body, unix.SizeofIfAddrmsg)
	case unix.RTM_NEWNEIGH:
		c.Neigh, err = decode[rtnetlink.NeighMessage](m.Body, unix.SizeofNdMsg)
	case unix.RTM_NEWROUTE:
		c.Route, err = decode[rtnetlink.RouteMessage](m.Body, unix.SizeofRtMsg)
	case unix.RTM_NEWRULE:
		c.Rule, err = decode[rtnetlink.RuleMessage](m.Body, unix.SizeofRtMsg) // as long as struct fib_rule_hdr
	}
	if err != nil {
		return RouteChange{}, fmt.Errorf("%w (type %d): %w", ErrRoute, m.Type, err)
	}
	return c, nil
}

// decode lets the library decode a body with a fixed header, of which it copies
// what it keeps. It returns nil if the library refuses what is well-formed: the
// kernel knows more than it, and what it sent makes sense.
func decode[T any, P interface {
	*T
	UnmarshalBinary([]byte) error
}](body []byte, header int) (P, error) {
	if len(body) < header {
		return nil, fmt.Errorf("%d bytes instead of %d or more", len(body), header)
	}
	for _, err := range wire.Attrs(body[header:]) {
		if err != nil {
			return nil, err
		}
	}
	p := P(new(T))
	if err := p.UnmarshalBinary(body); err != nil {
		return nil, nil
	}
	return p, nil
}
