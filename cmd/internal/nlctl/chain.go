// SPDX-License-Identifier: MIT

package nlctl

import (
	"path"
	"slices"
	"strings"

	"nlpeer/cmd/internal/ftrace"
)

// chain is what a netlink message meets on its way through the kernel. Patterns
// are those of ftrace's set_ftrace_filter; a kernel may lack any of them, or
// have made it part of its caller.
var chain = []struct {
	pattern string
	root    bool // may begin a tree; others show only below what does
}{
	{":mod:nlpeer", true},  // the peer: requests, timer, work
	{"*netlink*", true},    // sockets, rtnetlink, nfnetlink, security
	{"genl*", true},        // generic netlink: which family, which operation
	{"ctrl_*", false},      // its controller, nlctrl
	{"cn_*", false},        // the connector
	{"rtnl_*", false},      // links, and the locks
	{"rtmsg_*", false},     // what tells others of a change
	{"inet*_rtm_*", false}, // addresses and routes
	{"fib_*", false},       // routes
	{"nlmsg*", false},
	{"do_one_broadcast*", false},
	{"__alloc_skb", false}, // buffers, and how a socket gets them
	{"skb_clone", false},
	{"skb_queue_tail", false},
	{"sock_def_readable", false},
	{"*skb_recv_datagram", false},
	{"consume_skb", false},
	{"kfree_skb*", false},

	// Small ones that are called again and again and say nothing.
	{"!bpf_lsm_*", false},
	{"!genl_op_*", false},
	{"!kfree_skbmem", false},
	{"!netlink_compare*", false},
	{"!rtnl_is_locked", false},
}

// patterns are those of the chain, as ftrace takes them.
func patterns() []string {
	var all []string
	for _, c := range chain {
		all = append(all, c.pattern)
	}
	return all
}

// begins says that a call may be the root of a tree: it is one of the chain, or
// of the patterns that the user gave.
func begins(c *ftrace.Call, more []string) bool {
	for _, row := range chain {
		if row.root && matches(row.pattern, c) {
			return true
		}
	}
	return slices.ContainsFunc(more, func(pattern string) bool { return matches(pattern, c) })
}

// matches says that a call is of a function that a pattern, with or without
// :mod:MODULE, stands for.
func matches(pattern string, c *ftrace.Call) bool {
	function, module, of := strings.Cut(pattern, ":mod:")
	if of && module != c.Module {
		return false
	}
	ok, _ := path.Match(function, c.Function)
	return ok || of && function == ""
}
