// SPDX-License-Identifier: MIT

package nlecho_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlecho"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// answering makes us a process that answers whenever it has so many datagrams, if
// that is not 0. It does so after nlecho has looked for answers.
func answering(t *testing.T, ctx context.Context, after int) (port uint32, came <-chan struct{}) {
	t.Helper()
	l, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK})
	if err != nil {
		t.Fatal(err)
	}
	datagrams, ended := make(chan struct{}, 10), make(chan struct{})
	go func() {
		defer close(ended)
		var b []byte
		n := 0
		for d, err := range l.Datagrams(ctx) {
			if err != nil {
				continue
			}
			n++
			datagrams <- struct{}{}
			for m, err := range wire.Messages(d.Data) {
				if err == nil {
					b = wire.AppendMessage(b, wire.Header{Type: m.Type, Seq: m.Seq, PortID: d.From}, m.Body)
				}
			}
			if after == 0 || n%after != 0 {
				continue
			}
			if err := l.Send(d.From, b); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			b = nil
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.PortID(), datagrams
}

// While a flood waits for the next line of a slow pipe, what was sent comes to its
// end: an answer is taken, and one that does not come is given up.
func TestFloodFromSlowPipe(t *testing.T) {
	for _, test := range []struct {
		name, args string
		lines      string
		after      int
		first      string // what is said before another line is there
		want       string // at the end
	}{
		{"answered", "-x", "1\n2\n", 1, "received: NETLINK_USERSOCK ", "3 transmitted, 3 received, 0% loss, "},
		{"answered, between two datagrams", "-x --batch 2", "1\n2\n", 1, "received: NETLINK_USERSOCK ", "3 transmitted, 3 received, 0% loss, "},
		{"answered, amid the lines of a datagram", "-x --batch 2", "1\n2\n3\n", 1, "received: NETLINK_USERSOCK ", "4 transmitted, 4 received, 0% loss, "},
		{"not answered", "-W 0.01", "1\n2\n", 0, "nlecho: seq=1: no answer within 10ms", "3 transmitted, 0 received, 100% loss\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			port, _ := answering(t, ctx, test.after)
			in, lines := io.Pipe()
			said, out := io.Pipe()
			go func() {
				args := fmt.Sprintf("-f --via usersock --to %d %s", port, test.args)
				cli.Run(ctx, nlecho.Command, cli.NewStreams(in, out, out), strings.Fields(args))
				out.Close()
			}()
			go io.WriteString(lines, test.lines)
			var text strings.Builder
			for r := bufio.NewReader(said); ; {
				line, err := r.ReadString('\n')
				text.WriteString(line)
				if strings.HasPrefix(line, test.first) { // only then there is more to read
					go func() {
						io.WriteString(lines, "9\n")
						lines.Close()
					}()
					test.first = "nothing more"
				}
				if err != nil {
					break
				}
			}
			if ctx.Err() != nil || test.first != "nothing more" || !strings.Contains(text.String(), test.want) {
				t.Errorf("%v after\n%s", ctx.Err(), &text)
			}
		})
	}
}

// A line that comes while answers are waited for does not wait for them.
func TestFloodDoesNotWait(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	port, came := answering(t, ctx, 3)
	in, lines := io.Pipe()
	go func() {
		defer lines.Close()
		for range 3 {
			io.WriteString(lines, "line\n")
			select {
			case <-came:
			case <-ctx.Done():
			}
		}
	}()
	args := fmt.Sprintf("-f -W 20 --via usersock --to %d", port)
	got := clitest.RunInput(ctx, nlecho.Command, in, strings.Fields(args)...)
	if got.Code != cli.ExitOK || !strings.HasPrefix(got.Out, "3 transmitted, 3 received, 0% loss, ") {
		t.Errorf("%+v", got)
	}
}
