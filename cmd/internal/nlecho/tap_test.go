// SPDX-License-Identifier: MIT

package nlecho_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlecho"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

// A tapped peer lets the tap see the messages that a Conn would send and
// receive.
func tapped(protocol int) *peer {
	p := new(peer)
	p.answer = func(_ context.Context, n int, payload []byte) ([]byte, error) {
		if p.cfg.Tap == nil {
			return nil, errors.New("there is no tap")
		}
		buf := wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: uint32(n)}, payload)
		p.cfg.Tap(client.Crossing{Sent: true, Protocol: protocol, PortID: 1234, Data: buf, Size: len(buf)})
		clear(buf) // the tap may not keep it
		buf = wire.AppendMessage(buf[:0], wire.Header{Type: wire.MsgEcho, Seq: uint32(n), PortID: 1234}, payload)
		p.cfg.Tap(client.Crossing{Protocol: protocol, PortID: 1234, Data: buf, Size: len(buf)})
		clear(buf)
		return payload, nil
	}
	return p
}

// crossed are the two messages of the first echo.
func crossed(payload string) (request, answer []byte) {
	return wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 1}, []byte(payload)),
		wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Seq: 1, PortID: 1234}, []byte(payload))
}

// pictures is what -x shows of messages.
func pictures(protocol int, sent, received []byte) string {
	d := explain.Decoder{RawProtocol: protocol}
	var text []byte
	for i, b := range [][]byte{sent, received} {
		for _, m := range d.Decode(explain.Datagram{Protocol: protocol, Direction: explain.Sent + explain.Direction(i), Data: b}) {
			text = append(m.AppendText(text), '\n')
		}
	}
	return string(text)
}

// -x shows the request, the answer, and then the line of the answer.
func TestExplain(t *testing.T) {
	request, answer := crossed("hello")
	for protocol, args := range map[int]string{wire.NetlinkTest: "-x hello", 25: "--explain --protocol 25 hello"} {
		p := tapped(protocol)
		got := clitest.Run(t.Context(), nlecho.CommandWith(p.dial), strings.Fields(args)...)
		want := pictures(protocol, request, answer) + "5 bytes from kernel: seq=1 "
		if got.Code != cli.ExitOK || got.Err != "" || !strings.HasPrefix(got.Out, want) || !strings.HasPrefix(want, "sent: NETLINK_TEST echo, 24 bytes\n") {
			t.Errorf("%s: %+v\nwant it to begin\n%s", args, got, want)
		}
	}
}

func TestExplainJSON(t *testing.T) {
	p := tapped(wire.NetlinkTest)
	got := clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "-x", "-o", "json", "hello")
	lines := strings.Split(strings.TrimSpace(got.Out), "\n")
	if got.Code != cli.ExitOK || len(lines) != 4 {
		t.Fatalf("%+v", got)
	}
	for i, direction := range []string{"sent", "received"} {
		var m map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &m); err != nil {
			t.Fatal(err)
		}
		fields := m["fields"].([]any)
		delete(m, "fields")
		if m["unix_ns"].(float64) < 1e18 {
			t.Errorf("the time is %v", m["unix_ns"])
		}
		delete(m, "unix_ns")
		want := map[string]any{"type": "message", "direction": direction, "protocol": 31., "port": 1234., "offset": 0., "bytes": 24.,
			"summary": "NETLINK_TEST echo", "problems": 0.}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		wantFields := []any{
			map[string]any{"kind": "heading", "offset": 0., "hex": "", "depth": 0., "name": "nlmsghdr"},
			map[string]any{"kind": "value", "offset": 0., "hex": "15000000", "depth": 0., "name": "nlmsg_len", "value": 21., "meaning": "21 bytes, 5 of them after this header"},
		}
		if diff := cmp.Diff(wantFields, fields[:2]); diff != "" || len(fields) != 9 {
			t.Errorf("%d fields (-want +got):\n%s", len(fields), diff)
		}
	}
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "echo.pcapng")
	p := tapped(wire.NetlinkTest)
	got := clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "-q", "--write", file, "hello")
	if got.Code != cli.ExitOK || !strings.HasPrefix(got.Out, "1 transmitted") {
		t.Fatalf("%+v", got)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	request, answer := crossed("hello")
	for i, want := range [][]byte{request, answer} {
		got, err := r.Next()
		if err != nil || !bytes.Equal(got.Data, want) || got.Protocol != wire.NetlinkTest || got.Direction != explain.Sent+explain.Direction(i) {
			t.Errorf("%+v, %v; want %x", got, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}

func TestWriteFails(t *testing.T) {
	p := tapped(wire.NetlinkTest)
	got := clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "-q", "-c", "9", "-i", "0", "--write", "/dev/full", "hello")
	if want := "nlecho: --write /dev/full: no space left on device\n"; got.Code != cli.ExitError || got.Err != want || len(p.sent) != 1 {
		t.Errorf("%+v after %d messages, want the error %q", got, len(p.sent), want)
	}

	p = tapped(wire.NetlinkTest)
	missing := filepath.Join(t.TempDir(), "missing", "file")
	got = clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "--write", missing, "hello")
	want := clitest.Result{Code: cli.ExitError, Err: "nlecho: --write " + missing + ": no such file or directory\n"}
	if diff := cmp.Diff(want, got); diff != "" || p.sent != nil {
		t.Errorf("%d messages (-want +got):\n%s", len(p.sent), diff)
	}
}

// Who does not ask to see anything pays nothing.
func TestNoTap(t *testing.T) {
	var p peer
	clitest.Run(t.Context(), nlecho.CommandWith(p.dial), "hello")
	if p.cfg.Tap != nil || len(p.sent) != 1 {
		t.Errorf("after %d messages there is a tap: %v", len(p.sent), p.cfg.Tap != nil)
	}
}
