// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jsimonetti/rtnetlink/v2"
	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
)

// A route is the source of changes to links, addresses, neighbours, routes and
// rules.
type route struct{ joined []uint32 }

func (r *route) name() string    { return "route" }
func (r *route) takes() []string { return []string{"all-nsid"} }

// routeBoth are names for the groups of both families.
var routeBoth = []string{"addr", "route", "rule"}

func (r *route) groups() []string {
	names := slices.Clone(routeBoth)
	for _, name := range kernel.RouteGroups {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// routeGroupMax is more than any kernel has.
const routeGroupMax = 1024

func (r *route) choose(o *options, given func(flag string) bool) (err error) {
	r.joined = kernel.RouteDefault
	if !given("groups") {
		return nil
	}
	r.joined, err = parseNames(o.list, r.groups(), func(name string) []uint32 {
		if n, err := strconv.ParseUint(name, 10, 32); err == nil && n >= 1 && n <= routeGroupMax {
			return []uint32{uint32(n)}
		}
		var found []uint32
		for n, known := range kernel.RouteGroups {
			both := slices.Contains(routeBoth, name) && (known == "ipv4-"+name || known == "ipv6-"+name)
			if name != "" && (known == name || both) {
				found = append(found, uint32(n))
			}
		}
		return found
	})
	if err != nil {
		return cli.Usagef("-g: %w; or a number, 1 to %d", err, routeGroupMax)
	}
	return nil
}

// sorted sorts numbers and drops those that are there twice.
func sorted(numbers []uint32) []uint32 {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

func (r *route) open(ctx context.Context, o *options, cfg client.Config) (stream, error) {
	cfg.AllNSID = o.allNSID
	l, err := kernel.ListenRoute(ctx, listenConfig(cfg, r.joined))
	if err != nil {
		return nil, err
	}
	return &routeStream{l, newCensus(routeGroup, r.joined...)}, nil
}

func (r *route) explain(o *options, err error) error {
	if errors.Is(err, kernel.ErrRoute) {
		var op *client.OpError
		if errors.As(err, &op) {
			return op.Err
		}
	}
	return o.target.Explain(err)
}

// routeGroup is the name of a group, "" if it has none.
func routeGroup(group uint32) string {
	if group < uint32(len(kernel.RouteGroups)) {
		return kernel.RouteGroups[group]
	}
	return ""
}

type routeStream struct {
	*kernel.Route
	*census
}

func (s *routeStream) totals() totals { return s.census.totals(s.Stats()) }

func (s *routeStream) lines(ctx context.Context) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		for c, err := range s.Changes(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			s.at(c.Group, c.NSID).received++
			if !yield(newRouteLine(&c, s.LinkName), nil) {
				return
			}
		}
	}
}

// A routeLine is a change in words. It is promised in the help; members that are
// empty depend on object.
type routeLine struct {
	Type      string `json:"type"`
	Action    string `json:"action"`
	Object    string `json:"object"`
	Group     uint32 `json:"group"`
	GroupName string `json:"name,omitempty"`
	Unix      int64  `json:"unix_ns"`
	NSID      *int32 `json:"nsid,omitempty"`

	Family string `json:"family,omitempty"`
	Index  uint32 `json:"index,omitempty"`
	Link   string `json:"link,omitempty"`

	// Of a link.
	Flags  []string `json:"flags,omitempty"`
	MTU    uint32   `json:"mtu,omitempty"`
	State  string   `json:"state,omitempty"` // also of a neighbour
	Kind   string   `json:"kind,omitempty"`
	Master uint32   `json:"master,omitempty"`

	// Of an address, a neighbour, and a link.
	Address   string `json:"address,omitempty"`
	Broadcast string `json:"broadcast,omitempty"`
	Label     string `json:"label,omitempty"`
	LLAddress string `json:"lladdr,omitempty"`

	// Of a route.
	RouteType string    `json:"route_type,omitempty"`
	Dst       string    `json:"dst,omitempty"`
	Gateway   string    `json:"gateway,omitempty"`
	Src       string    `json:"src,omitempty"`
	Protocol  string    `json:"protocol,omitempty"`
	Scope     string    `json:"scope,omitempty"` // also of an address
	Metric    uint32    `json:"metric,omitempty"`
	Hops      []hopJSON `json:"hops,omitempty"`
	Table     uint32    `json:"table,omitempty"` // also of a rule

	// Of a rule.
	Priority *uint32 `json:"priority,omitempty"`
	From     string  `json:"from,omitempty"`
	To       string  `json:"to,omitempty"`
	Mark     *uint32 `json:"fwmark,omitempty"`
	Mask     *uint32 `json:"fwmask,omitempty"`
	IIF      string  `json:"iif,omitempty"`
	OIF      string  `json:"oif,omitempty"`
	Goto     *uint32 `json:"goto,omitempty"`
	Does     string  `json:"rule_action,omitempty"`

	// Of what is not decoded.
	MsgType uint16 `json:"msg_type,omitempty"`
	Data    []byte `json:"data,omitempty"`
}

type hopJSON struct {
	Gateway string `json:"gateway,omitempty"`
	Index   uint32 `json:"index"`
	Link    string `json:"link"`
	Weight  int    `json:"weight"`
}

// linkFlags are the names of ip-link(8) for the bits of a link's flags.
var linkFlags = []struct {
	bit  uint32
	name string
}{
	{unix.IFF_LOOPBACK, "LOOPBACK"}, {unix.IFF_BROADCAST, "BROADCAST"}, {unix.IFF_POINTOPOINT, "POINTOPOINT"},
	{unix.IFF_MULTICAST, "MULTICAST"}, {unix.IFF_NOARP, "NOARP"}, {unix.IFF_ALLMULTI, "ALLMULTI"}, {unix.IFF_PROMISC, "PROMISC"},
	{unix.IFF_MASTER, "MASTER"}, {unix.IFF_SLAVE, "SLAVE"}, {unix.IFF_UP, "UP"}, {unix.IFF_RUNNING, "RUNNING"},
	{unix.IFF_LOWER_UP, "LOWER_UP"}, {unix.IFF_DORMANT, "DORMANT"},
}

var operStates = []string{"unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up"}

var neighStates = []string{"incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent"}

var routeTypes = []string{"unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve"}

var ruleActions = []string{"unspec", "lookup", "goto", "nop", "", "", "blackhole", "unreachable", "prohibit"}

var routeProtocols = map[uint8]string{
	unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot", unix.RTPROT_STATIC: "static",
	unix.RTPROT_RA: "ra", unix.RTPROT_DHCP: "dhcp",
}

// nth is the name of a number, or the number.
func nth[N uint8 | uint16 | rtnetlink.OperationalState](names []string, n N) string {
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return strconv.Itoa(int(n))
}

func family(f uint8) string {
	switch f {
	case unix.AF_INET:
		return "inet"
	case unix.AF_INET6:
		return "inet6"
	case unix.AF_BRIDGE:
		return "bridge"
	}
	return strconv.Itoa(int(f))
}

// ip writes an address, "" if there is none.
func ip(a net.IP) string {
	if addr, ok := netip.AddrFromSlice(a); ok {
		return addr.String()
	}
	return ""
}

// prefix writes a destination: "default" if it is all there is.
func prefix(a net.IP, length uint8, all string) string {
	if length == 0 && ip(a) == "" {
		return all
	}
	return ip(a) + "/" + strconv.Itoa(int(length))
}

func newRouteLine(c *kernel.RouteChange, name func(index uint32) string) *routeLine {
	l := &routeLine{Type: "change", Action: c.Action(), Group: c.Group, GroupName: routeGroup(c.Group), NSID: nsid(c.NSID)}
	if c.NSID != client.OwnNSID {
		name = func(index uint32) string { return fmt.Sprintf("if%d", index) } // names are of our namespace
	}
	link := func(index uint32) {
		if index != 0 {
			l.Index, l.Link = index, name(index)
		}
	}
	switch {
	case c.Link != nil:
		l.Object = "link"
		link(c.Link.Index)
		l.link(c.Link)
	case c.Address != nil:
		l.Object = "addr"
		link(c.Address.Index)
		l.address(c.Address)
	case c.Neigh != nil:
		l.Object = "neigh"
		link(c.Neigh.Index)
		l.neigh(c.Neigh)
	case c.Route != nil:
		l.Object = "route"
		link(c.Route.Attributes.OutIface)
		l.route(c.Route, name)
	case c.Rule != nil:
		l.Object = "rule"
		l.rule(c.Rule)
	default:
		l.Object, l.MsgType, l.Data = "other", c.Type, slices.Clone(c.Body)
	}
	return l
}

func (l *routeLine) link(m *rtnetlink.LinkMessage) {
	l.Flags = []string{}
	for _, f := range linkFlags {
		if m.Flags&f.bit != 0 {
			l.Flags = append(l.Flags, f.name)
		}
	}
	if a := m.Attributes; a != nil {
		if a.Name != "" {
			l.Link = a.Name
		}
		l.MTU, l.State, l.Address = a.MTU, nth(operStates, a.OperationalState), a.Address.String()
		if a.Info != nil {
			l.Kind = a.Info.Kind
		}
		if a.Master != nil {
			l.Master = *a.Master
		}
	}
}

func (l *routeLine) address(m *rtnetlink.AddressMessage) {
	l.Family, l.Scope = family(m.Family), cli.Scope(m.Scope)
	if a := m.Attributes; a != nil {
		local := a.Local
		if local == nil {
			local = a.Address
		}
		l.Address, l.Broadcast, l.Label = prefix(local, m.PrefixLength, ""), ip(a.Broadcast), a.Label
	}
}

func (l *routeLine) neigh(m *rtnetlink.NeighMessage) {
	l.Family = family(uint8(m.Family))
	var states []string
	for i, name := range neighStates {
		if m.State&(1<<i) != 0 {
			states = append(states, name)
		}
	}
	l.State = strings.Join(states, ",")
	if l.State == "" {
		l.State = "none"
	}
	if a := m.Attributes; a != nil {
		l.Address, l.LLAddress = ip(a.Address), a.LLAddress.String()
	}
}

func (l *routeLine) route(m *rtnetlink.RouteMessage, name func(index uint32) string) {
	a := &m.Attributes
	l.Family, l.RouteType, l.Scope = family(m.Family), nth(routeTypes, m.Type), cli.Scope(m.Scope)
	l.Dst, l.Gateway, l.Src, l.Metric = prefix(a.Dst, m.DstLength, "default"), ip(a.Gateway), ip(a.Src), a.Priority
	l.Protocol = strconv.Itoa(int(m.Protocol))
	if known, ok := routeProtocols[m.Protocol]; ok {
		l.Protocol = known
	}
	if l.Table = a.Table; l.Table == 0 {
		l.Table = uint32(m.Table)
	}
	for _, h := range a.Multipath {
		l.Hops = append(l.Hops, hopJSON{ip(h.Gateway), h.Hop.IfIndex, name(h.Hop.IfIndex), int(h.Hop.Hops) + 1})
	}
}

func (l *routeLine) rule(m *rtnetlink.RuleMessage) {
	l.Family, l.Does, l.Table = family(m.Family), nth(ruleActions, m.Action), uint32(m.Table)
	l.From, l.To = "all", "all"
	a := m.Attributes
	if a == nil {
		return
	}
	if a.Src != nil {
		l.From = prefix(*a.Src, m.SrcLength, "all")
	}
	if a.Dst != nil {
		l.To = prefix(*a.Dst, m.DstLength, "all")
	}
	if a.Table != nil {
		l.Table = *a.Table
	}
	if a.IIFName != nil {
		l.IIF = *a.IIFName
	}
	if a.OIFName != nil {
		l.OIF = *a.OIFName
	}
	l.Priority, l.Mark, l.Mask, l.Goto = a.Priority, a.FwMark, a.FwMask, a.Goto
	if l.Priority == nil {
		l.Priority = new(uint32) // the first rule is 0, which is not sent
	}
}

func (l *routeLine) json(now time.Time) any {
	l.Unix = now.UnixNano()
	return l
}

// appendText is in the manner of ip-monitor(8).
func (l *routeLine) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "%s %s", l.Action, l.Object)
	add := func(name, value string) {
		if value != "" {
			b = fmt.Appendf(b, " %s %s", name, word(value))
		}
	}
	switch l.Object {
	case "link":
		b = fmt.Appendf(b, " %d: %s <%s>", l.Index, word(l.Link), strings.Join(l.Flags, ","))
		b = fmt.Appendf(b, " mtu %d", l.MTU)
		if l.Master != 0 {
			b = fmt.Appendf(b, " master %d", l.Master)
		}
		add("state", l.State)
		add("kind", l.Kind)
		add("address", l.Address)
	case "addr":
		b = fmt.Appendf(b, " %d: %s %s %s", l.Index, word(l.Link), l.Family, l.Address)
		add("brd", l.Broadcast)
		add("scope", l.Scope)
	case "neigh":
		b = fmt.Appendf(b, " %s", l.Address)
		add("dev", l.Link)
		add("lladdr", l.LLAddress)
		add("state", l.State)
	case "route":
		b = fmt.Appendf(b, " %s ", l.Family)
		if l.RouteType != "unicast" {
			b = fmt.Appendf(b, "%s ", l.RouteType)
		}
		b = append(b, l.Dst...)
		add("via", l.Gateway)
		add("dev", l.Link)
		add("table", cli.Table(l.Table))
		add("proto", l.Protocol)
		add("scope", l.Scope)
		add("src", l.Src)
		if l.Metric != 0 {
			b = fmt.Appendf(b, " metric %d", l.Metric)
		}
		for _, h := range l.Hops {
			b = append(b, " nexthop"...)
			add("via", h.Gateway)
			add("dev", h.Link)
			b = fmt.Appendf(b, " weight %d", h.Weight)
		}
	case "rule":
		b = fmt.Appendf(b, " %s", l.Family)
		if l.Priority != nil {
			b = fmt.Appendf(b, " %d:", *l.Priority)
		}
		add("from", l.From)
		if l.To != "all" {
			add("to", l.To)
		}
		if l.Mark != nil {
			b = fmt.Appendf(b, " fwmark %#x", *l.Mark)
			if l.Mask != nil {
				b = fmt.Appendf(b, "/%#x", *l.Mask)
			}
		}
		add("iif", l.IIF)
		add("oif", l.OIF)
		switch {
		case l.Does == "lookup":
			add("lookup", cli.Table(l.Table))
		case l.Does == "goto" && l.Goto != nil:
			b = fmt.Appendf(b, " goto %d", *l.Goto)
		default:
			b = fmt.Appendf(b, " %s", l.Does)
		}
	default:
		b = fmt.Appendf(b, " type=%d bytes=%d", l.MsgType, len(l.Data))
	}
	return appendNSID(b, deref(l.NSID))
}

// deref undoes nsid.
func deref(id *int32) int32 {
	if id == nil {
		return client.OwnNSID
	}
	return *id
}
