// SPDX-License-Identifier: MIT

package explain

// routeMessages are the messages of NETLINK_ROUTE: four types each, to create,
// delete, get and set (linux/rtnetlink.h), and the fixed header that they have.
var routeMessages = map[uint16]struct {
	name   string
	header structure
}{
	16:  {"LINK", ifinfomsg},
	20:  {"ADDR", ifaddrmsg},
	24:  {"ROUTE", rtmsg},
	28:  {"NEIGH", ndmsg},
	32:  {"RULE", fibRuleHdr},
	36:  {"QDISC", tcmsg},
	40:  {"TCLASS", tcmsg},
	44:  {"TFILTER", tcmsg},
	48:  {"ACTION", tcamsg},
	52:  {"PREFIX", prefixmsg},
	56:  {"MULTICAST", ifaddrmsg},
	60:  {"ANYCAST", ifaddrmsg},
	64:  {"NEIGHTBL", rtgenmsg},
	68:  {"NDUSEROPT", nduseroptmsg},
	72:  {"ADDRLABEL", ifaddrlblmsg},
	76:  {"DCB", dcbmsg},
	80:  {"NETCONF", rtgenmsg},
	84:  {"MDB", brPortMsg},
	88:  {"NSID", rtgenmsg},
	92:  {"STATS", ifStatsMsg},
	96:  {"CACHEREPORT", rtgenmsg},
	100: {"CHAIN", tcmsg},
	104: {"NEXTHOP", nhmsg},
	108: {"LINKPROP", ifinfomsg},
	112: {"VLAN", brVlanMsg},
	116: {"NEXTHOPBUCKET", nhmsg},
	120: {"TUNNEL", tunnelMsg},
}

// routeType returns what a message type is called, "" if nobody knows.
func routeType(typ uint16) string {
	m, ok := routeMessages[typ&^3]
	if !ok {
		return ""
	}
	return "RTM_" + [...]string{"NEW", "DEL", "GET", "SET"}[typ&3] + m.name
}

func routeHeader(typ uint16) (structure, bool) {
	m, ok := routeMessages[typ&^3]
	return m.header, ok
}

// A peerMessage is a message type of NETLINK_ROUTE that in one address family
// belongs to nlpeer.
type peerMessage struct {
	family      byte
	first, last uint16
	what        string
	header      structure
	table       *table
	set         string
}

// peerMessages are the objects of nlpeer, once the specification has them.
var peerMessages = []peerMessage{
	{family: 127, first: 72, last: 74, what: "an object of nlpeer", header: rtgenmsg, table: &rawTable, set: "object"},
}

// peerRoute finds whose a message type is in an address family.
func peerRoute(typ uint16, family byte) (peerMessage, bool) {
	for _, p := range peerMessages {
		if p.family == family && typ >= p.first && typ <= p.last && p.table.sets[p.set] != nil {
			return p, true
		}
	}
	return peerMessage{}, false
}

func u8(name string) member  { return member{name, 1, nil} }
func u16(name string) member { return member{name, 2, nil} }
func u32(name string) member { return member{name, 4, nil} }

// The fixed headers, with their padding as members.
var (
	rtgenmsg  = structure{"rtgenmsg", []member{u8("rtgen_family")}}
	ifinfomsg = structure{"ifinfomsg", []member{u8("ifi_family"), u8("__ifi_pad"), u16("ifi_type"), u32("ifi_index"), u32("ifi_flags"), u32("ifi_change")}}
	ifaddrmsg = structure{"ifaddrmsg", []member{u8("ifa_family"), u8("ifa_prefixlen"), u8("ifa_flags"), u8("ifa_scope"), u32("ifa_index")}}
	rtmsg     = structure{"rtmsg", []member{u8("rtm_family"), u8("rtm_dst_len"), u8("rtm_src_len"), u8("rtm_tos"),
		u8("rtm_table"), u8("rtm_protocol"), u8("rtm_scope"), u8("rtm_type"), u32("rtm_flags")}}
	ndmsg = structure{"ndmsg", []member{u8("ndm_family"), u8("ndm_pad1"), u16("ndm_pad2"), u32("ndm_ifindex"),
		u16("ndm_state"), u8("ndm_flags"), u8("ndm_type")}}
	fibRuleHdr = structure{"fib_rule_hdr", []member{u8("family"), u8("dst_len"), u8("src_len"), u8("tos"),
		u8("table"), u8("res1"), u8("res2"), u8("action"), u32("flags")}}
	tcmsg = structure{"tcmsg", []member{u8("tcm_family"), u8("tcm__pad1"), u16("tcm__pad2"), u32("tcm_ifindex"),
		u32("tcm_handle"), u32("tcm_parent"), u32("tcm_info")}}
	tcamsg    = structure{"tcamsg", []member{u8("tca_family"), u8("tca__pad1"), u16("tca__pad2")}}
	prefixmsg = structure{"prefixmsg", []member{u8("prefix_family"), u8("prefix_pad1"), u16("prefix_pad2"), u32("prefix_ifindex"),
		u8("prefix_type"), u8("prefix_len"), u8("prefix_flags"), u8("prefix_pad3")}}
	nduseroptmsg = structure{"nduseroptmsg", []member{u8("nduseropt_family"), u8("nduseropt_pad1"), u16("nduseropt_opts_len"), u32("nduseropt_ifindex"),
		u8("nduseropt_icmp_type"), u8("nduseropt_icmp_code"), u16("nduseropt_pad2"), u32("nduseropt_pad3")}}
	ifaddrlblmsg = structure{"ifaddrlblmsg", []member{u8("ifal_family"), u8("__ifal_reserved"), u8("ifal_prefixlen"), u8("ifal_flags"),
		u32("ifal_index"), u32("ifal_seq")}}
	dcbmsg     = structure{"dcbmsg", []member{u8("dcb_family"), u8("cmd"), u16("dcb_pad")}}
	brPortMsg  = structure{"br_port_msg", []member{u8("family"), u8("pad1"), u16("pad2"), u32("ifindex")}}
	ifStatsMsg = structure{"if_stats_msg", []member{u8("family"), u8("pad1"), u16("pad2"), u32("ifindex"), u32("filter_mask")}}
	nhmsg      = structure{"nhmsg", []member{u8("nh_family"), u8("nh_scope"), u8("nh_protocol"), u8("resvd"), u32("nh_flags")}}
	brVlanMsg  = structure{"br_vlan_msg", []member{u8("family"), u8("reserved1"), u16("reserved2"), u32("ifindex")}}
	tunnelMsg  = structure{"tunnel_msg", []member{u8("family"), u8("flags"), u16("reserved2"), u32("ifindex")}}
)
