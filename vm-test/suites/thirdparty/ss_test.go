// SPDX-License-Identifier: MIT

package thirdparty_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// ss names the peer and who listens, with the groups.
func TestListenersInSS(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	raw := start(t, "nlsub", "--groups", "1,3,32")
	raw.untilListening(t, wire.NetlinkTest)
	genl := start(t, "nlsub", "--via", "genl")
	genl.untilListening(t, unix.NETLINK_GENERIC)

	// Protocol, program and port ID, groups; two blanks less or more.
	text := output(t, "ss", "--family", "netlink", "--no-header", "--extended", "--processes")
	line := func(protocol string, peer any, groups uint32) *regexp.Regexp {
		return regexp.MustCompile(fmt.Sprintf(`(?m)^0 +0 +%s:%v +\S+ +sk=\S+ cb=\S+ groups=0x%08x\b`, protocol, peer, groups))
	}
	groups := vmtest.Nlpeer(t).Groups
	for _, want := range []*regexp.Regexp{
		line(fmt.Sprint(wire.NetlinkTest), "kernel", 0),
		line(fmt.Sprint(wire.NetlinkTest), fmt.Sprint("nlsub/", raw.cmd.Process.Pid), 1<<0|1<<2|1<<31),
		line("genl", fmt.Sprint("nlsub/", genl.cmd.Process.Pid), 1<<(groups["beacon"]-1)),
	} {
		// The kernel lists a listener twice, as a socket and as a member.
		found := want.FindAllString(text, -1)
		if n := len(slices.Compact(found)); n != 1 {
			t.Errorf("%d sockets are %s in:\n%s", n, want, text)
		}
	}
	if code := raw.interrupt(t); code != 0 {
		t.Errorf("nlsub: exit status %d", code)
	}
	if code := genl.interrupt(t); code != 0 {
		t.Errorf("nlsub: exit status %d", code)
	}
}
