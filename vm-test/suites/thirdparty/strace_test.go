// SPDX-License-Identifier: MIT

package thirdparty_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// trace runs a program under strace and returns its network system calls as
// strace shows them, those of each thread in order, and what it printed.
func trace(t *testing.T, args ...string) (calls []string, stdout string) {
	t.Helper()
	// A file for each thread: no call is cut in two by another's.
	prefix := filepath.Join(t.TempDir(), "trace")
	strace := []string{"strace", "-ff", "-o", prefix, "-e", "trace=network", "-e", "signal=none", "-s", "1000"}
	stdout = output(t, append(strace, args...)...)
	files, err := filepath.Glob(prefix + ".*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, strings.Split(strings.TrimSpace(string(b)), "\n")...)
	}
	return calls, stdout
}

// one finds the one call that a regular expression matches as a whole.
func one(t *testing.T, calls []string, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile("^" + pattern + "$")
	var found [][]string
	for _, call := range calls {
		if m := re.FindStringSubmatch(call); m != nil {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d calls match %s in:\n%s", len(found), pattern, strings.Join(calls, "\n"))
	}
	return found[0]
}

// header is how strace shows a message header, all of which it knows; kind and
// flags are regular expressions.
func header(length int, kind, flags, seq, port string) string {
	return fmt.Sprintf(`\{nlmsg_len=%d, nlmsg_type=%s, nlmsg_flags=%s, nlmsg_seq=%s, nlmsg_pid=%s\}`, length, kind, flags, seq, port)
}

// shown is how strace shows bytes that it does not know.
func shown(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\\x%02x`, c)
	}
	return `"` + s.String() + `"`
}

// unknown is how strace shows a number that it has no name for.
func unknown(n uint16, kind string) string {
	return regexp.QuoteMeta(fmt.Sprintf("%#x /* %s_??? */", n, kind))
}

// strace shows who talks to whom, message by message. To it, the raw protocol
// is a number; the family has the name that nlctrl gives it.
func TestEchoUnderStrace(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	text := fmt.Sprintf("%x", vmtest.Random(t, 9))
	attribute := vmtest.Attr{Type: wire.AttrEchoPayload, Data: []byte(text)}.Bytes()
	for _, tt := range []struct {
		via      string
		protocol string
		kind     string // message type
		body     []byte
		length   int
	}{
		{"raw", unknown(wire.NetlinkTest, "NETLINK"), unknown(wire.MsgEcho, "NLMSG"), []byte(text), 16 + 18},
		{"genl", "NETLINK_GENERIC", wire.FamilyName, append([]byte{wire.CmdEcho, wire.FamilyVersion, 0, 0}, attribute...), 16 + 4 + 4 + 20},
	} {
		t.Run(tt.via, func(t *testing.T) {
			calls, stdout := trace(t, "nlecho", "--via", tt.via, text)
			port := regexp.MustCompile(`port=(\d+) `).FindStringSubmatch(stdout)
			if port == nil || !strings.Contains(stdout, `"`+text+`"`) {
				t.Fatalf("%q", stdout)
			}
			one(t, calls, `socket\(AF_NETLINK, SOCK_RAW\|SOCK_CLOEXEC\|SOCK_NONBLOCK, `+tt.protocol+`\) = \d+`)
			one(t, calls, `getsockname\(\d+, \{sa_family=AF_NETLINK, nl_pid=`+port[1]+`, nl_groups=00000000\}, .*`)
			one(t, calls, `connect\(\d+, \{sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000\}, 12\) = 0`)
			sent := one(t, calls, `sendto\(\d+, \[`+header(tt.length, tt.kind, "NLM_F_REQUEST", `(\d+)`, "0")+`, `+shown(tt.body)+`\], .*\) = \d+`)
			one(t, calls, `recvfrom\(\d+, \[`+header(tt.length, tt.kind, "0", sent[1], port[1])+`, `+shown(tt.body)+`\], .*\) = \d+`)
		})
	}
}

// A C program's and Python's calls: an answer and then its acknowledgment.
func TestOthersUnderStrace(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	here := vmtest.Nlpeer(t)
	payload := vmtest.Random(t, 8)
	body := shown(slices.Concat([]byte{wire.CmdEcho, wire.FamilyVersion, 0, 0}, vmtest.Attr{Type: wire.AttrEchoPayload, Data: payload}.Bytes()))
	// ynl does not bind: before the first message strace cannot ask whose the
	// socket is, and has no name for the family.
	number := unknown(here.ID, "NLMSG")
	length := 16 + 4 + 4 + 8

	calls, _ := trace(t, "ynl", "--family", wire.FamilyName, "--do", "echo", "--json", `{"payload": "`+hex.EncodeToString(payload)+`"}`)
	// Where socketcall(2) is the only way, libc's send is one.
	sent := one(t, calls, `send(?:to)?\(\d+, \[`+header(length, number, `NLM_F_REQUEST\|NLM_F_ACK`, `(\d+)`, "0")+`, `+body+`\], 32, 0(?:, NULL, 0)?\) = 32`)
	received := `recvmsg\(\d+, \{msg_name=\{sa_family=AF_NETLINK, nl_pid=0, nl_groups=00000000\}, msg_namelen=12, msg_iov=\[\{iov_base=\[`
	answer := one(t, calls, received+header(length, wire.FamilyName, "0", sent[1], `(\d+)`)+`, `+body+`\], iov_len=\d+\}\], .*\) = 32`)
	one(t, calls, received+header(36, "NLMSG_ERROR", "NLM_F_CAPPED", sent[1], answer[1])+
		`, \{error=0, msg=`+header(length, wire.FamilyName, `NLM_F_REQUEST\|NLM_F_ACK`, sent[1], "0")+`\}\], iov_len=\d+\}\], .*\) = 36`)

	// What iproute2 asks of nlctrl names the family.
	calls, _ = trace(t, "genl", "ctrl", "get", "name", wire.FamilyName)
	name := vmtest.Attr{Type: unix.CTRL_ATTR_FAMILY_NAME, Data: append([]byte(wire.FamilyName), 0)}.Bytes()
	one(t, calls, `sendmsg\(\d+, .*iov_base=\[`+header(16+4+len(name), `\S.*`, `NLM_F_REQUEST\|NLM_F_ACK`, `\d+`, "0")+
		`, `+shown(append([]byte{3 /* CTRL_CMD_GETFAMILY */, 0, 0, 0}, name...))+`\].*`)
}
