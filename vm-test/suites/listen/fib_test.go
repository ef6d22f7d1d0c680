// SPDX-License-Identifier: MIT

package listen_test

import (
	"testing"

	"nlpeer/vm-test/suites/vmtest"
)

// The answers are those of "ip route get" for the same routes: the longest prefix
// wins, local before main, and refusals are told apart.
func TestFIB(t *testing.T) {
	vmtest.KernelModule(t, "dummy", "numdummies=0")
	sh(t, `
		ip link set lo up
		ip link add df type dummy
		ip addr add 10.5.0.1/24 dev df
		ip link set df up
		ip route add 10.6.0.0/16 via 10.5.0.2
		ip route add 10.6.7.0/24 via 10.5.0.3
		ip route add unreachable 10.6.8.0/24
		ip route add prohibit 10.6.9.0/24
		ip route add blackhole 10.6.10.0/24
		ip route add throw 10.6.11.0/24
		ip route add 10.77.0.0/16 via 10.5.0.2 table 100`)
	t.Cleanup(func() { sh(t, "ip link del df; ip link set lo down") })
	check := func(code int, want object, flags ...string) {
		t.Helper()
		// It needs no privilege.
		line := "nlctl -o json fib"
		for _, f := range flags {
			line += " " + f
		}
		got := run(t, "su", "user", "-c", line)
		all := objects(t, got.stdout)
		if got.code != code || len(all) != 1 || !all[0].has(want) || got.stderr != "" {
			t.Errorf("%v: %+v, want status %d and %v", flags, got, code, want)
		}
	}
	unicast := func(prefix string) object {
		return object{"type": "fib", "found": true, "route_type": "unicast", "prefix": prefix, "table": 254, "scope": "global", "hop": 0}
	}
	for _, separate := range []bool{false, true} {
		if separate { // a rule makes the kernel keep local and main apart
			sh(t, "ip rule add from 192.0.2.1 lookup 100 priority 50")
			t.Cleanup(func() { sh(t, "ip rule del priority 50") })
		}
		check(0, unicast("10.6.0.0/16"), "10.6.1.1")
		check(0, unicast("10.6.7.0/24"), "10.6.7.9")
		check(0, object{"addr": "10.5.0.77", "prefix": "10.5.0.0/24", "scope": "link", "table": 254}, "10.5.0.77")
		check(0, object{"route_type": "local", "prefix": "10.5.0.1/32", "table": 255, "scope": "host"}, "10.5.0.1")
		check(0, object{"route_type": "broadcast", "prefix": "10.5.0.255/32", "table": 255, "scope": "link"}, "10.5.0.255")
		check(0, object{"route_type": "local", "table": 255}, "127.0.0.1")
		check(1, object{"found": false, "errno": "EHOSTUNREACH", "error": "unreachable, says table main"}, "10.6.8.1")
		check(1, object{"errno": "EACCES"}, "10.6.9.1")
		check(1, object{"errno": "EINVAL"}, "10.6.10.1")
		check(1, object{"error": "no route in the tables local, main and default"}, "10.6.11.1")
		check(1, object{"error": "no route in the tables local, main and default"}, "10.77.0.1")
		check(0, object{"prefix": "10.77.0.0/16", "table": 100}, "10.77.0.1", "--table", "100")
		check(0, object{"prefix": "10.77.0.0/16", "table": 100}, "10.77.0.1", "--table", "100", "--mark", "0x7", "--tos", "0x10")
		check(1, object{"errno": "EAGAIN", "error": "no route in table 100"}, "10.6.0.1", "--table", "100")
		check(1, object{"errno": "ENOENT", "error": "there is no table 101"}, "10.6.0.1", "--table", "101")
		// A route via a gateway reaches everywhere, one on the link no further
		// than that.
		check(0, object{"prefix": "10.5.0.0/24"}, "10.5.0.9", "--scope", "link")
		check(1, object{"errno": "EAGAIN"}, "10.6.1.1", "--scope", "link", "--table", "main")
	}
	if separated := run(t, "nlctl", "fib", "--table", "main", "10.5.0.1"); separated.stdout != "unicast 10.5.0.1 prefix 10.5.0.0/24 table main scope link hop 0\n" {
		t.Errorf("%+v", separated)
	}

	// Another namespace has routes of its own.
	got := run(t, "unshare", "-n", "nlctl", "fib", "10.6.1.1")
	if got.code != 1 || got.stdout != "10.6.1.1: no route in the tables local, main and default\n" {
		t.Errorf("%+v", got)
	}
	got = run(t, "unshare", "-n", "nlctl", "fib", "-n", "/proc/1/ns/net", "10.6.1.1")
	if got.code != 0 || got.stdout != "unicast 10.6.1.1 prefix 10.6.0.0/16 table main scope global hop 0\n" {
		t.Errorf("%+v", got)
	}
	got = run(t, "nlctl", "fib", "fd00::1")
	if got.code != 2 || got.stderr != "nlctl: \"fd00::1\" is no IPv4 address; there is no other that NETLINK_FIB_LOOKUP knows\nTry 'nlctl fib --help' for more information.\n" {
		t.Errorf("%+v", got)
	}
}
