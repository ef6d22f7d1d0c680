// SPDX-License-Identifier: MIT

package listen_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Whatever is done to a link and what hangs on it is told, in order.
func TestRoute(t *testing.T) {
	vmtest.KernelModule(t, "dummy", "numdummies=0")
	r := vmtest.Rand(t)
	n := 1 + r.IntN(250)
	mac := fmt.Sprintf("02:00:00:00:%02x:%02x", r.IntN(256), r.IntN(256))
	mtu := 1280 + r.IntN(200)

	p := start(t, "nlsub", "--via", "route", "-g", "link,neigh,addr,route,rule", "-o", "json")
	p.listens(t, unix.NETLINK_ROUTE, 1, 3, 5, 7, 8, 9, 11, 19)
	sh(t, strings.NewReplacer("N", fmt.Sprint(n), "MAC", mac, "MTU", fmt.Sprint(mtu)).Replace(`
		ip link add dN type dummy
		ip link set dN address MAC mtu MTU
		ip addr add 10.N.0.1/24 broadcast 10.N.0.255 dev dN
		ip link set dN up
		ip -6 addr add fd00::N/64 dev dN
		ip route add 10.N.8.0/21 via 10.N.0.2 metric 7
		ip route replace 10.N.8.0/21 via 10.N.0.3 metric 7
		ip route add prohibit 10.N.16.0/24 table 99
		arp -s 10.N.0.9 MAC -i dN
		ip rule add from 10.N.0.0/16 fwmark 0xN lookup 99 priority 1N
		ip rule del from 10.N.0.0/16 fwmark 0xN lookup 99 priority 1N
		ip route del prohibit 10.N.16.0/24 table 99
		ip route del 10.N.8.0/21
		ip addr del 10.N.0.1/24 dev dN
		ip link del dN
	`))
	dev := fmt.Sprintf("d%d", n)
	mark := 0
	fmt.Sscanf(fmt.Sprint(n), "%x", &mark)
	net := func(format string) string { return fmt.Sprintf(format, n) }
	var index int64
	for i, want := range []object{
		{"action": "new", "object": "link", "group": 1, "name": "link", "link": dev, "kind": "dummy", "state": "down", "flags": []string{"BROADCAST", "NOARP"}},
		{"action": "new", "object": "link", "link": dev, "address": mac, "mtu": mtu},
		{"action": "new", "object": "addr", "group": 5, "name": "ipv4-addr", "family": "inet", "link": dev, "address": net("10.%d.0.1/24"), "broadcast": net("10.%d.0.255"), "scope": "global"},
		{"action": "new", "object": "link", "link": dev, "flags": []string{"BROADCAST", "NOARP", "UP", "RUNNING", "LOWER_UP"}},
		{"action": "new", "object": "route", "group": 7, "name": "ipv4-route", "dst": net("10.%d.0.0/24"), "link": dev, "table": 254, "protocol": "kernel", "scope": "link", "src": net("10.%d.0.1"), "route_type": "unicast"},
		{"action": "new", "object": "route", "dst": net("10.%d.8.0/21"), "gateway": net("10.%d.0.2"), "link": dev, "protocol": "boot", "metric": 7},
		{"action": "replace", "object": "route", "dst": net("10.%d.8.0/21"), "gateway": net("10.%d.0.3"), "metric": 7},
		{"action": "new", "object": "route", "dst": net("10.%d.16.0/24"), "route_type": "prohibit", "table": 99},
		{"action": "new", "object": "neigh", "group": 3, "name": "neigh", "family": "inet", "address": net("10.%d.0.9"), "lladdr": mac, "state": "permanent", "link": dev},
		{"action": "new", "object": "rule", "group": 8, "name": "ipv4-rule", "from": net("10.%d.0.0/16"), "to": "all", "fwmark": mark, "table": 99, "rule_action": "lookup", "priority": "PRIORITY"},
		{"action": "del", "object": "rule", "from": net("10.%d.0.0/16"), "table": 99},
		{"action": "del", "object": "route", "dst": net("10.%d.16.0/24"), "route_type": "prohibit"},
		{"action": "del", "object": "route", "dst": net("10.%d.8.0/21"), "gateway": net("10.%d.0.3")},
		{"action": "del", "object": "addr", "address": net("10.%d.0.1/24"), "link": dev},
		{"action": "del", "object": "link", "link": dev},
	} {
		if want["priority"] != nil {
			p := 0
			fmt.Sscan("1"+fmt.Sprint(n), &p)
			want["priority"] = p
		}
		got := p.find(t, want)
		switch {
		case i == 0:
			index = got.number(t, "index")
		case got["link"] == dev && got.number(t, "index") != index:
			t.Errorf("index %v, want %d", got, index)
		}
	}
	_, summary, code := p.totals(t)
	// The count of each group is that of its lines.
	lines := make(map[float64]int)
	v6 := false
	for _, line := range p.seen {
		o := objects(t, line)[0]
		lines[o["group"].(float64)]++
		v6 = v6 || o.has(object{"object": "addr", "family": "inet6", "address": fmt.Sprintf("fd00::%d/64", n), "group": 9})
	}
	if !v6 {
		t.Error("nothing about the IPv6 address")
	}
	for g, n := range lines {
		if !group(t, summary, uint32(g)).has(object{"received": n}) {
			t.Errorf("group %v has %d lines: %v", g, n, summary)
		}
	}
	if code != 0 || !summary.has(object{"received": len(p.seen), "overruns": 0}) || summary["lost"] != nil {
		t.Errorf("status %d, %v", code, summary)
	}
}

// The text, and groups by number: what is not asked for does not come.
func TestRouteText(t *testing.T) {
	vmtest.KernelModule(t, "dummy", "numdummies=0")
	p := start(t, "nlsub", "--via", "route", "-g", "7,link", "-c", "4")
	p.listens(t, unix.NETLINK_ROUTE, 1, 7)
	sh(t, `
		ip link add dd type dummy
		ip link set dd address 02:00:00:00:00:01
		ip addr add 10.1.0.1/32 dev dd
		ip link set dd up
		ip route add 10.2.0.0/16 dev dd
		ip link del dd`)
	var got []string
	for line := range p.lines {
		got = append(got, line)
	}
	want := []string{
		"new route inet local 10.1.0.1/32 dev dd table local proto kernel scope host src 10.1.0.1",
		"group link: 3 received", "group ipv4-route: 1 received", "4 received, 0 overruns",
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("no %q in %q", line, got)
		}
	}
	if len(got) != 7 || !strings.HasSuffix(got[0], ": dd <BROADCAST,NOARP> mtu 1500 state down kind dummy address "+strings.Fields(got[0])[len(strings.Fields(got[0]))-1]) {
		t.Errorf("%q", got)
	}
}

// A namespace hears its own, and with --all-nsid those that it has a number for.
func TestRouteNamespace(t *testing.T) {
	p := start(t, "unshare", "-n", "nlsub", "--via", "route", "-g", "link", "-o", "json")
	sh(t, "unshare -n ip link set lo up")
	rest, summary, code := []object(nil), object(nil), 0
	vmtest.Until(t, "nlsub listens in its namespace", func() bool {
		return strings.Contains(run(t, "nsenter", "-t", fmt.Sprint(p.pid()), "-n", "cat", "/proc/net/netlink").stdout, fmt.Sprintf(" %d ", p.pid()))
	})
	sh(t, fmt.Sprintf("ip link set lo down; ip link set lo up; nsenter -t %d -n ip link set lo up", p.pid()))
	p.find(t, object{"object": "link", "link": "lo", "index": 1})
	rest, summary, code = p.totals(t)
	if len(rest) != 0 || code != 0 || !summary.has(object{"received": 1}) {
		t.Errorf("status %d, %v, %v", code, rest, summary)
	}
}

// An overrun is told, survived, and a failure only for those who say so.
func TestRouteOverrun(t *testing.T) {
	vmtest.KernelModule(t, "dummy", "numdummies=0")
	sh(t, "ip link add dd type dummy")
	t.Cleanup(func() { sh(t, "ip link del dd") })
	p := start(t, "nlsub", "--via", "route", "-g", "addr", "--rcvbuf", "4K", "--fail-on-gap", "-o", "json")
	p.listens(t, unix.NETLINK_ROUTE, 5, 9)
	p.signal(t, unix.SIGSTOP)
	for p.drops(t, unix.NETLINK_ROUTE) == 0 {
		sh(t, "ip addr add 10.3.0.1/24 dev dd; ip addr del 10.3.0.1/24 dev dd")
	}
	p.signal(t, unix.SIGCONT)
	p.find(t, object{"type": "overrun", "count": 1})
	// It drops until what is left was read, so say it until it is heard.
	heard := false
	vmtest.Until(t, "a change after the overrun", func() bool {
		sh(t, "ip addr add 10.4.0.1/24 dev dd; ip addr del 10.4.0.1/24 dev dd")
		for len(p.lines) > 0 {
			if p.next(t).has(object{"action": "new", "address": "10.4.0.1/24"}) {
				heard = true
			}
		}
		return heard
	})
	if _, summary, code := p.totals(t); code != 1 || summary.number(t, "overruns") < 1 {
		t.Errorf("status %d, %v", code, summary)
	}
}
