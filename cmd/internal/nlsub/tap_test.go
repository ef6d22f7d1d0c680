// SPDX-License-Identifier: MIT

package nlsub_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlsub"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A tapped sub lets the tap see a datagram before it yields an event.
type tapped struct{ sub }

func (s *tapped) subscribe(ctx context.Context, cfg client.Config) (nlsub.Subscription, error) {
	s.cfg = cfg
	return s, nil
}

var datagram = wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent},
	wire.AppendEvent(nil, wire.Event{Group: 1, Seq: 7, Kind: wire.KindBeacon}))

func (s *tapped) Events(ctx context.Context) iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		for ctx.Err() == nil {
			s.cfg.Tap(client.Crossing{Protocol: wire.NetlinkTest, PortID: 5, Data: datagram, Size: len(datagram)})
			if !yield(tick(1, 7, 0, "").event, nil) {
				return
			}
		}
		yield(client.Event{}, &client.OpError{Op: "events", Err: ctx.Err()})
	}
}

func TestExplain(t *testing.T) {
	var s tapped
	got := clitest.Run(t.Context(), nlsub.CommandWith(s.subscribe), "-x", "-c", "2")
	first, rest, _ := strings.Cut(got.Out, "group=1 seq=7 ")
	if got.Code != cli.ExitOK || got.Err != "" || !strings.HasPrefix(first, "received: NETLINK_TEST event, ") || strings.Count(rest, first) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.pcapng")
	var s tapped
	got := clitest.Run(t.Context(), nlsub.CommandWith(s.subscribe), "-q", "-c", "3", "--write", file)
	if got.Code != cli.ExitOK || got.Err != "" {
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
	for range 3 {
		if p, err := r.Next(); err != nil || !bytes.Equal(p.Data, datagram) || p.Protocol != wire.NetlinkTest {
			t.Errorf("%+v, %v", p, err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("the end is %v", err)
	}
}

// A full disk ends it, with the totals.
func TestWriteFails(t *testing.T) {
	var s tapped
	got := clitest.Run(t.Context(), nlsub.CommandWith(s.subscribe), "-q", "--write", "/dev/full")
	if want := "nlsub: --write /dev/full: no space left on device\n"; got.Code != cli.ExitError || got.Err != want || !strings.Contains(got.Out, "0 overruns") {
		t.Errorf("%+v, want the error %q", got, want)
	}
}
