// SPDX-License-Identifier: MIT

// Package explain_test lets package explain and the commands take apart what a
// real kernel sends. What comes from a kernel has no problem, and is named.
package explain_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/explain"
	"nlpeer/vm-test/suites/vmtest"
)

// A message is the object of -o json.
type message struct {
	Type      string `json:"type"`
	Direction string `json:"direction"`
	Protocol  int    `json:"protocol"`
	Port      uint32 `json:"port"`
	Summary   string `json:"summary"`
	Problems  int    `json:"problems"`
	Fields    []struct {
		Kind, Hex, Name, Meaning string
		Value                    any
	} `json:"fields"`

	// Of other objects.
	Seq   uint64 `json:"seq"`
	Bytes int    `json:"bytes"`
}

// data are the bytes of all fields.
func (m *message) data(t *testing.T) []byte {
	t.Helper()
	var b []byte
	for _, f := range m.Fields {
		part, err := hex.DecodeString(f.Hex)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}

// field returns the meaning of a field, "" if there is none.
func (m *message) field(name string) string {
	for _, f := range m.Fields {
		if f.Name == name && f.Kind == "value" {
			return f.Meaning
		}
	}
	return ""
}

// command is a command that ends in time.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// objects runs a command and returns its lines of JSON.
func objects(t *testing.T, args ...string) []message {
	t.Helper()
	out, err := command(t, args...).Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	var all []message
	for line := range bytes.Lines(out) {
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, m)
	}
	return all
}

func summaries(all []message) []string {
	var s []string
	for _, m := range all {
		if m.Type == "message" {
			s = append(s, m.Direction+" "+m.Summary)
		} else {
			s = append(s, m.Type)
		}
		if m.Problems != 0 {
			s = append(s, fmt.Sprintf("with %d problems: %+v", m.Problems, m.Fields))
		}
	}
	return s
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// The very bytes that cross, on either protocol.
func TestEcho(t *testing.T) {
	vmtest.Module(t)
	payload := fmt.Sprintf("hello %d", rand.Uint32())
	family := vmtest.Nlpeer(t)

	all := objects(t, "nlecho", "-x", "-o", "json", "--pid", "4242", "--ack", payload)
	diff(t, []string{"sent NETLINK_TEST echo", "received NETLINK_TEST echo", "received NETLINK_TEST acknowledgment", "answer", "summary"}, summaries(all))
	request, answer := vmtest.Parse(t, all[0].data(t))[0], vmtest.Parse(t, all[1].data(t))[0]
	diff(t, vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: request.Seq, Body: []byte(payload)}, request)
	diff(t, vmtest.Message{Type: 16, Seq: request.Seq, PortID: 4242, Body: []byte(payload)}, answer)
	if all[0].Port != 4242 || all[0].Protocol != 31 || all[2].field("error") != "0: done as asked" {
		t.Errorf("%+v", all)
	}

	all = objects(t, "nlecho", "-x", "-o", "json", "--via", "genl", payload)
	diff(t, []string{"sent nlctrl getfamily", "received nlctrl newfamily", "sent nlpeer echo", "received nlpeer echo", "answer", "summary"}, summaries(all))
	request = vmtest.Parse(t, all[2].data(t))[0]
	diff(t, vmtest.NewGenl(family.ID, 1, request.Seq, vmtest.Attr{Type: 1, Data: []byte(payload)}), request)
	if want := fmt.Sprintf("%d the family nlpeer", family.ID); all[2].field("nlmsg_type") != want || all[2].field("payload") != fmt.Sprintf("%q", payload) {
		t.Errorf("%+v, want %q", all[2], want)
	}
}

// As a reader sees it.
func TestEchoText(t *testing.T) {
	vmtest.Module(t)
	out, err := command(t, "nlecho", "-x", "hello").Output()
	if err != nil {
		t.Fatal(err)
	}
	length, header := vmtest.U32(21), binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, 16), unix.NLM_F_REQUEST)
	for _, want := range []string{
		fmt.Sprintf("sent: NETLINK_TEST echo, 24 bytes\n      +-------------+ nlmsghdr\n    0 | % x |   nlmsg_len    21 bytes, 5 of them after this header\n", length) +
			fmt.Sprintf("    4 | % x       |   nlmsg_type   16 NETLINK_TEST_MSG_ECHO\n    6 |       % x |   nlmsg_flags  0x1 NLM_F_REQUEST\n", header[:2], header[2:]),
		"   16 | 68 65 6c 6c |   payload      \"hello\"\n   20 | 6f          |\n   21 |    00 00 00 |   padding      up to a multiple of 4\n      +-------------+\n\nreceived: NETLINK_TEST echo, 24 bytes\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// What is shown, recorded, and decoded again, is one and the same.
func TestSubWrite(t *testing.T) {
	vmtest.Module(t, "interval_ms=20")
	if out, err := command(t, "nlctl", "beacon", "set", "--size", "5", "--genl", "on").Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, via := range []string{"raw", "genl"} {
		file := filepath.Join(t.TempDir(), "events.pcapng")
		shown := objects(t, "nlsub", "--via", via, "-c", "5", "-x", "-o", "json", "--write", file)
		var messages []message
		var numbers, decoded []string
		for _, m := range shown {
			switch m.Type {
			case "message":
				m.Port = 0 // is not read back
				messages = append(messages, m)
			case "event":
				numbers = append(numbers, fmt.Sprint(m.Seq))
			}
		}
		read := objects(t, "nlctl", "decode", "-o", "json", file)
		diff(t, messages, read)
		for _, m := range read {
			if strings.HasSuffix(m.Summary, " event") {
				decoded = append(decoded, m.field("seq"))
			}
			if m.Problems != 0 {
				t.Errorf("%+v", m)
			}
		}
		if diff(t, numbers, decoded); len(numbers) != 5 {
			t.Errorf("%d events", len(numbers))
		}
	}
}

// However nlsub ends, what it has printed stands in the file.
func TestWriteIsComplete(t *testing.T) {
	vmtest.Module(t, "interval_ms=10")
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		file := filepath.Join(t.TempDir(), "events.pcapng")
		cmd := command(t, "nlsub", "-o", "json", "--write", file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		printed := 0
		for lines.Scan() && strings.Contains(lines.Text(), `"type":"event"`) {
			if printed++; printed == 10 {
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); (err == nil) != (signal != syscall.SIGKILL) {
			t.Errorf("%v: %v", signal, err)
		}
		if n := len(objects(t, "nlctl", "decode", "-o", "json", file)); n < printed || printed < 10 {
			t.Errorf("%v: %d events were printed, %d are in the file", signal, printed, n)
		}
	}
}

// A Decoder at the two ends of a socket.
type watched struct {
	*vmtest.Socket
	protocol int
	d        explain.Decoder
}

func open(t *testing.T, protocol int, options ...int) *watched {
	s := vmtest.Open(t, protocol, 0, 0)
	for _, o := range options {
		s.Set(t, o, 1)
	}
	return &watched{Socket: s, protocol: protocol}
}

func (w *watched) decode(t *testing.T, direction explain.Direction, b []byte) []explain.Message {
	t.Helper()
	all := w.d.Decode(explain.Datagram{Protocol: w.protocol, Direction: direction, Data: b})
	at := 0
	for _, m := range all {
		for _, f := range m.Fields {
			if f.Offset != at || f.Problem != "" && direction == explain.Received {
				t.Errorf("byte %d: %s", at, m.AppendText(nil))
				return all
			}
			at += len(f.Bytes)
		}
	}
	if at != len(b) {
		t.Errorf("%d of %d bytes are covered", at, len(b))
	}
	return all
}

// ask sends a message and returns what comes back up to the end.
func (w *watched) ask(t *testing.T, m vmtest.Message) []explain.Message {
	t.Helper()
	w.decode(t, explain.Sent, m.Bytes())
	w.Send(t, m.Bytes())
	var all []explain.Message
	for {
		all = append(all, w.decode(t, explain.Received, w.Recv(t))...)
		if last := all[len(all)-1].Header; last.Type == unix.NLMSG_ERROR || last.Type == unix.NLMSG_DONE || m.Flags&unix.NLM_F_DUMP == 0 {
			return all
		}
	}
}

// find returns the meaning of a value.
func find(all []explain.Message, name string) string {
	for _, m := range all {
		for _, f := range m.Fields {
			if f.Name == name && f.Kind == explain.Value {
				return f.Meaning
			}
		}
	}
	return ""
}

// Acknowledgments in all their forms: quoted and capped, with an attribute that
// is wrong and one that is missing, for a dump.
func TestAcknowledgments(t *testing.T) {
	vmtest.Module(t)
	family := vmtest.Nlpeer(t)
	for name, options := range map[string][]int{
		"quoted": {unix.NETLINK_EXT_ACK}, "capped": {unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK}, "bare": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, unix.NETLINK_GENERIC, options...)
			w.ask(t, vmtest.NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 1, vmtest.Attr{Type: unix.CTRL_ATTR_FAMILY_NAME, Data: []byte("nlpeer\x00")}))

			all := w.ask(t, vmtest.NewGenl(family.ID, 4, 2, vmtest.Attr{Type: 4, Data: vmtest.U32(1)}, vmtest.Attr{Type: 1, Data: vmtest.U32(1 << 31)}))
			diff(t, "NETLINK_GENERIC error ERANGE", all[0].Summary)
			if name != "bare" {
				diff(t, `"integer out of range"`, find(all, "msg"))
				diff(t, "28, from the beginning of the request: attribute interval", find(all, "offs"))
				diff(t, "3600000", find(all, "max-value-u"))
			}
			if quoted := find(all, "interval"); (quoted == "") != (name == "capped") {
				t.Errorf("the request quoted has interval %q", quoted)
			}

			dump := vmtest.NewGenl(family.ID, 6, 3, vmtest.Attr{Type: 1, Data: vmtest.U32(77)})
			dump.Flags |= unix.NLM_F_DUMP
			all = w.ask(t, dump)
			if last := all[len(all)-1].Summary; last != "NETLINK_GENERIC error EINVAL" && last != "NETLINK_GENERIC end of a dump: error EINVAL" {
				t.Errorf("a dump that is refused ends with %q", last)
			}

			raw := open(t, 31, options...)
			all = raw.ask(t, vmtest.Message{Type: 99, Flags: unix.NLM_F_REQUEST, Seq: 4, Body: []byte("abc")})
			diff(t, "NETLINK_TEST error EOPNOTSUPP", all[0].Summary)
			all = raw.ask(t, vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | 0x8000, Seq: 5, Body: []byte("abc")})
			diff(t, "NETLINK_TEST error EINVAL", all[0].Summary)
		})
	}
}

// Statistics, with their nests.
func TestStats(t *testing.T) {
	vmtest.Module(t)
	family := vmtest.Nlpeer(t)
	w := open(t, unix.NETLINK_GENERIC)
	w.d.AddFamily(family.ID, "nlpeer")
	all := w.ask(t, vmtest.NewGenl(family.ID, 2, 1))
	diff(t, "nlpeer stats-get", all[0].Summary)
	if find(all, "carrier") != "1 NLPEER_CARRIER_RAW" || find(all, "size") == "" || find(all, "missed") == "" {
		t.Errorf("%s", all[0].AppendText(nil))
	}
}

// What other parts of the kernel dump is taken apart without a problem too.
func TestOtherDumps(t *testing.T) {
	vmtest.Module(t)
	genl := open(t, unix.NETLINK_GENERIC)
	get := vmtest.NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 1)
	get.Flags |= unix.NLM_F_DUMP
	families := genl.ask(t, get)
	diff(t, "nlctrl newfamily", families[0].Summary)
	diff(t, "NETLINK_GENERIC end of a dump", families[len(families)-1].Summary)

	policy := vmtest.NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETPOLICY, 2, vmtest.Attr{Type: unix.CTRL_ATTR_FAMILY_NAME, Data: []byte("nlpeer\x00")})
	policy.Flags |= unix.NLM_F_DUMP
	policies := genl.ask(t, policy)
	if find(policies, "max-value-u") == "" || find(policies, "do") == "" {
		t.Errorf("the policies of nlpeer have no bounds: %s", policies[0].AppendText(nil))
	}

	route := open(t, unix.NETLINK_ROUTE)
	for typ, name := range map[uint16]string{unix.RTM_GETLINK: "LINK", unix.RTM_GETADDR: "ADDR", unix.RTM_GETROUTE: "ROUTE", unix.RTM_GETRULE: "RULE", unix.RTM_GETNEIGHTBL: "NEIGHTBL"} {
		all := route.ask(t, vmtest.Message{Type: typ, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: uint32(typ), Body: make([]byte, 4)})
		if first := all[0].Summary; first != "NETLINK_ROUTE RTM_NEW"+name && first != "NETLINK_ROUTE end of a dump" {
			t.Errorf("a dump of %s begins with %q", name, first)
		}
	}
}

// Nothing that was held to be shown later is forgotten.
func TestFlood(t *testing.T) {
	vmtest.Module(t)
	all := objects(t, "nlecho", "-x", "-o", "json", "-f", "-c", "50", "-s", "100")
	if n := len(all); n != 101 {
		t.Errorf("%d objects, want two for each of 50 echoes and the summary", n)
	}
}
