// SPDX-License-Identifier: MIT

package capture_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/pkg/capture"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

const dissector = "../../share/wireshark/nlpeer.lua"

func needTshark(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("NLPEER_CI") == "1" {
			t.Fatalf("%v; tools/deps host installs it", err)
		}
		t.Skipf("%v; tools/deps host installs it", err)
	}
}

// tshark returns what tshark with our dissector prints about packets.
func tshark(t *testing.T, all []capture.Packet, args ...string) string {
	t.Helper()
	needTshark(t)
	file := filepath.Join(t.TempDir(), "test.pcapng")
	if err := os.WriteFile(file, write(t, all), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", append([]string{"-r", file, "-X", "lua_script:" + dissector}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // no plug-ins and settings of this user
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || strings.Contains(stderr.String(), "Lua") || strings.Contains(string(out), "Lua Error") {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &stderr, out)
	}
	return string(out)
}

// fields returns the values of fields, a line for each packet.
func fields(t *testing.T, all []capture.Packet, names ...string) []string {
	t.Helper()
	args := []string{"-T", "fields", "-E", "separator=/s"}
	for _, name := range names {
		args = append(args, "-e", name)
	}
	var lines []string
	for line := range strings.Lines(tshark(t, all, args...)) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// family is the message type that newFamily gives to the family nlpeer.
const family = 0x23

// one is one message as a packet.
func one(protocol int, direction explain.Direction, h wire.Header, body []byte) capture.Packet {
	return packet(protocol, 88, direction, time.Unix(1700000000, 5), wire.AppendMessage(nil, h, body))
}

func newFamily() capture.Packet {
	b := wire.AppendGenlHeader(nil, wire.GenlHeader{Command: 1, Version: 2})
	b = wire.AppendString(b, 2, wire.FamilyName)
	b = wire.AppendUint16(b, 1, family)
	return one(wire.NetlinkGeneric, explain.Received, wire.Header{Type: 16, Seq: 1, PortID: 88}, b)
}

func genl(cmd uint8, attrs []byte) []byte {
	return append(wire.AppendGenlHeader(nil, wire.GenlHeader{Command: cmd, Version: 1}), attrs...)
}

func TestTsharkRaw(t *testing.T) {
	payload := fmt.Sprintf("hello %d", rand.Uint32())
	seq := rand.Uint64()
	all := []capture.Packet{
		one(wire.NetlinkTest, explain.Sent, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 7}, []byte(payload)),
		one(wire.NetlinkTest, explain.Received, wire.Header{Type: wire.MsgEvent},
			wire.AppendEvent(nil, wire.Event{Group: 3, Seq: seq, Time: 60e9, Kind: wire.KindBeacon, Data: []byte{7, 8, 9}})),
		one(wire.NetlinkTest, explain.Sent, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 8}, nil),
	}
	got := fields(t, all, "netlink_test.type", "netlink_test.seq", "netlink_test.payload", "netlink_test.text",
		"netlink_test.event.group", "netlink_test.event.seq", "netlink_test.event.time", "netlink_test.event.kind", "netlink_test.event.data")
	want := []string{
		strings.TrimSpace(fmt.Sprintf("16 7 %x %s", payload, payload)),
		fmt.Sprintf("17 0   3 %d 60000000000 1 070809", seq),
		"", // Wireshark hands over no message of a header alone
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// Names, and which way it went.
	text := tshark(t, all, "-V")
	for _, want := range []string{"nlmsg_type: NETLINK_TEST_MSG_EVENT (17)", "kind: NLPEER_KIND_BEACON (1)", "NLM_F_REQUEST: True",
		"Interface name: NETLINK_TEST", "Interface description: socket with port ID 88", "Direction: Outbound", "Direction: Inbound"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}

func TestTsharkProtocolNumber(t *testing.T) {
	all := []capture.Packet{one(25, explain.Sent, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 7}, []byte("hello"))}
	if got := tshark(t, all, "-T", "fields", "-e", "netlink_test.text"); strings.TrimSpace(got) != "" {
		t.Errorf("protocol 25 is decoded as %q", got)
	}
	if got := tshark(t, all, "-o", "netlink_test.number:25", "-T", "fields", "-e", "netlink_test.text"); strings.TrimSpace(got) != "hello" {
		t.Errorf("with the setting it is decoded as %q", got)
	}
}

func TestTsharkGeneric(t *testing.T) {
	interval := rand.Uint32()
	stats := wire.EndNest(wire.AppendUint64(wire.AppendUint32(wire.BeginNest(nil, wire.AttrStatsCarrier),
		wire.AttrCarrierStatsCarrier, 2), wire.AttrCarrierStatsRequests, 1<<40), 0)
	all := []capture.Packet{
		newFamily(),
		one(wire.NetlinkGeneric, explain.Sent, wire.Header{Type: family, Flags: wire.FlagRequest, Seq: 2},
			genl(wire.CmdBeaconSet, wire.AppendUint32(nil, wire.AttrBeaconInterval, interval))),
		one(wire.NetlinkGeneric, explain.Sent, wire.Header{Type: family, Flags: wire.FlagRequest, Seq: 3},
			genl(wire.CmdEcho, wire.AppendAttr(nil, wire.AttrEchoPayload, []byte("hello")))),
		one(wire.NetlinkGeneric, explain.Received, wire.Header{Type: family, Seq: 4, PortID: 88}, genl(wire.CmdStatsGet, stats)),
	}
	got := fields(t, all, "nlpeer.cmd", "nlpeer.beacon.interval", "nlpeer.echo.payload", "nlpeer.carrier_stats.carrier", "nlpeer.carrier_stats.requests")
	want := []string{"", fmt.Sprintf("4 %d", interval), "1  68656c6c6f", "2   2 1099511627776"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTsharkAcknowledgment(t *testing.T) {
	request := wire.AppendMessage(nil, wire.Header{Type: family, Flags: wire.FlagRequest, Seq: 2},
		genl(wire.CmdBeaconSet, wire.AppendUint32(nil, wire.AttrBeaconInterval, 1<<31)))
	errno := int32(syscall.ERANGE)
	code := binary.NativeEndian.AppendUint32(nil, uint32(-errno))
	ext := wire.AppendUint32(wire.AppendString(nil, 1, "integer out of range"), 2, 20)
	ext = append(ext, wire.EndNest(wire.AppendUint64(wire.AppendUint32(wire.BeginNest(nil, 4), 1, 4), 5, 3600000), 0)...)
	missing := wire.AppendUint32(wire.AppendUint32(nil, 5, 1), 6, 36)
	ack := func(typ, flags uint16, parts ...[]byte) capture.Packet {
		var body []byte
		for _, p := range parts {
			body = append(body, p...)
		}
		return one(wire.NetlinkGeneric, explain.Received, wire.Header{Type: typ, Flags: flags | wire.FlagAckTLVs, Seq: 2, PortID: 88}, body)
	}
	all := []capture.Packet{
		ack(wire.MsgError, wire.FlagCapped, code, request[:16], ext),
		ack(wire.MsgError, 0, code, request, ext),
		ack(wire.MsgError, wire.FlagCapped, code, request[:16], missing),
		ack(wire.MsgDone, wire.FlagMulti, code, ext),
	}
	got := fields(t, all, "netlink.error", "netlink_ack.msg", "netlink_ack.offs", "netlink_ack.policy.type",
		"netlink_ack.policy.max_value_u", "netlink_ack.miss_type", "netlink_ack.miss_nest")
	const said = "integer out of range 20 4 3600000"
	want := []string{"-34 " + said, "-34 " + said, "-34     1 36", said}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// complaint is an acknowledgment of an error with a text, as it is in the attribute.
func complaint(text string, more []byte) []byte {
	errno := int32(syscall.ERANGE)
	b := binary.NativeEndian.AppendUint32(nil, uint32(-errno))
	b = append(b, wire.AppendMessage(nil, wire.Header{Type: family, Seq: 2}, nil)...)
	b = append(wire.AppendAttr(b, 1, []byte(text)), more...)
	return wire.AppendMessage(nil, wire.Header{Type: wire.MsgError, Flags: wire.FlagCapped | wire.FlagAckTLVs, Seq: 2, PortID: 88}, b)
}

// A text ends with its attribute, if no NUL ends it before.
func TestTsharkTextWithoutNUL(t *testing.T) {
	offset := wire.AppendUint32(nil, 2, 20)
	var all []capture.Packet
	for _, m := range [][]byte{complaint("four", offset), complaint("four", nil), complaint("four\x00more\x00", offset)} {
		all = append(all, packet(wire.NetlinkGeneric, 88, explain.Received, time.Unix(1700000000, 5), m))
	}
	got := fields(t, all, "netlink_ack.msg", "netlink_ack.offs")
	if diff := cmp.Diff([]string{"four 20", "four", "four 20"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Of several acknowledgments in a datagram each shows its own text.
func TestTsharkAcknowledgments(t *testing.T) {
	b := append(complaint("crimson\x00", nil), complaint("emerald\x00", nil)...)
	all := []capture.Packet{packet(wire.NetlinkGeneric, 88, explain.Received, time.Unix(1700000000, 5), b)}
	if line := tshark(t, all); strings.Count(line, "crimson") != 1 || strings.Count(line, "emerald") != 1 {
		t.Errorf("%q", line)
	}
}

// Whatever the bytes are, the dissector has no error of its own.
func TestTsharkGarbage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := []capture.Packet{newFamily()}
	for i := range 400 {
		body := make([]byte, random.IntN(60))
		for j := range body {
			body[j] = byte(random.IntN(256))
			if random.IntN(2) == 0 {
				body[j] = byte(random.IntN(9))
			}
		}
		if i%4 > 1 && len(body) > 4 {
			body[0], body[1] = byte(1+i%6), 1
		}
		h := wire.Header{Type: []uint16{wire.MsgEcho, wire.MsgEvent, family, wire.MsgError, wire.MsgDone}[i%5], Flags: uint16(random.Uint32())}
		all = append(all, one([]int{wire.NetlinkTest, wire.NetlinkGeneric}[i%2], explain.Received, h, body))
	}
	if text := tshark(t, all, "-V"); strings.Contains(text, "Lua") {
		t.Errorf("%s", text)
	}
}
