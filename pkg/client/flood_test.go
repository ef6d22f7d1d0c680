// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A flood is datagrams that answer nothing and keep a receive buffer full. They are
// sent by the tap of the one that receives: whenever it has taken one, as many
// follow as there is room for. So its socket is never empty before the flood ends,
// however busy the machine is, and who reads until it is empty sees the end.
type flood struct {
	*user
	to   uint32 // the port ID of the one that receives
	junk []byte // one of the datagrams
	room int    // how many of them the receive buffer has room for
	left int    // how many are still to be sent
	// began is called when the first is received, before others are sent.
	began func()
	// answers says that requests are answered, each as soon as there is room.
	answers bool
	due     [][]byte // answers that are still to be sent
}

func (f *flood) tap(d client.Crossing) {
	if d.Sent {
		for m := range wire.Messages(d.Data) {
			if f.answers {
				f.due = append(f.due, answer(m, f.to, m.Body))
			}
		}
		return
	}
	if began := f.began; began != nil {
		f.began = nil
		began()
	}
	for len(f.due) > 0 && f.trySend(f.to, f.due[0]) == nil {
		f.due = f.due[1:]
	}
	for f.left > 0 && f.trySend(f.to, f.junk) == nil {
		f.left--
	}
}

// of makes junk what the flood is made of, and finds out how much of it fits.
func (f *flood) of(junk []byte) {
	f.t.Helper()
	like, err := client.DialUser(context.Background(), client.Config{}, f.port, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer like.Close()
	f.junk, f.room = junk, 0
	for f.trySend(like.PortID(), f.junk) == nil {
		f.room++
	}
	f.last()
}

// last has the flood last for one more call, for which it is as good as endless: it
// is many times what the receive buffer holds.
func (f *flood) last() { f.left = 20 * f.room }

// fill makes the receive buffer full of the flood, with last at its end, which is
// as long as the others.
func (f *flood) fill(last []byte) {
	f.t.Helper()
	for range f.room - 1 {
		f.send(f.to, f.junk)
	}
	f.send(f.to, last)
	if err := f.trySend(f.to, f.junk); err != unix.EAGAIN {
		f.t.Fatalf("the receive buffer is not full: %v", err)
	}
}

// check checks that the flood outlasted a call.
func (f *flood) check() (ok bool) {
	f.t.Helper()
	if f.left == 0 {
		f.t.Errorf("the call read on for as long as the flood lasted")
	}
	return f.left != 0
}

// The end of a call does not wait for a pause in what comes in for others. What
// was in the receive buffer by then is taken all the same: here an answer that is
// behind as much of a flood as there is room for.
func TestFloodPutsOffNoEnd(t *testing.T) {
	for name, test := range map[string]struct {
		size   int
		header func(port uint32) wire.Header
	}{
		"foreign, short": {0, func(port uint32) wire.Header { return wire.Header{PortID: port + 1} }},
		"stale, short":   {8, func(port uint32) wire.Header { return wire.Header{PortID: port, Seq: 1} }},
		"foreign, long":  {5000, func(port uint32) wire.Header { return wire.Header{PortID: port + 1} }},
	} {
		payload := string(make([]byte, test.size))
		first := []got{{0, payload, nil}}

		conn := func(t *testing.T, cfg client.Config) (*client.Conn, *flood) {
			f := &flood{}
			cfg.Tap = f.tap
			c, u := dialUser(t, cfg)
			f.user, f.to = u, c.PortID()
			f.of(wire.AppendMessage(nil, test.header(f.to), []byte(payload)))
			return c, f
		}
		// Two requests of the pipeline are on their way, and their messages are
		// returned.
		pipeline := func(t *testing.T) (*client.Pipeline, *[]got, *flood, []wire.Message) {
			f := &flood{user: newUser(t)}
			p, answers := pipelineUser(t, client.Config{Tap: f.tap}, client.PipelineConfig{Batch: 1}, f.port)
			f.to = p.PortID()
			f.of(wire.AppendMessage(nil, test.header(f.to), []byte(payload)))
			echoAll(t, p, payload, payload)
			m, _ := f.requests(2)
			return p, answers, f, m
		}
		run := func(call string, f func(t *testing.T, ctx context.Context, cancel func())) {
			t.Run(call+"/"+name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(background(t))
				defer cancel()
				f(t, ctx, cancel)
			})
		}

		run("Echo", func(t *testing.T, ctx context.Context, cancel func()) {
			c, f := conn(t, client.Config{})
			f.began = func() {
				m, _ := f.receive()
				f.fill(answer(m, f.to, m.Body))
				cancel()
			}
			f.send(f.to, f.junk)
			echo, err := c.Echo(ctx, []byte(payload))
			if err != nil || string(echo) != payload {
				t.Errorf("%d bytes, error %v", len(echo), err)
			}
			f.check()
		})
		run("Echo without an answer", func(t *testing.T, ctx context.Context, cancel func()) {
			c, f := conn(t, client.Config{})
			f.began = cancel
			f.send(f.to, f.junk)
			_, err := c.Echo(ctx, []byte(payload))
			wantError(t, err, context.Canceled)
			if !f.check() {
				return
			}

			f.last()
			f.answers = true
			if _, err := c.Echo(background(t), []byte(payload)); err != nil {
				t.Errorf("the next call: %v", err)
			}
			f.check()
		})
		// The same acknowledgment again and again is of no more use.
		run("Echo that is only acknowledged", func(t *testing.T, ctx context.Context, cancel func()) {
			c, f := conn(t, client.Config{Acknowledge: true})
			f.began = func() {
				m, _ := f.receive()
				f.of(ack(m, f.to, 0, nil))
				cancel()
			}
			f.send(f.to, f.junk)
			_, err := c.Echo(ctx, []byte(payload))
			wantError(t, err, context.Canceled)
			f.check()
		})
		run("Do", func(t *testing.T, ctx context.Context, cancel func()) {
			c, f := conn(t, client.Config{})
			f.began = func() {
				m, _ := f.requests(2)
				f.fill(answer(m[0], f.to, m[0].Body))
				cancel()
			}
			f.send(f.to, f.junk)
			b := c.NewBatch()
			b.Echo([]byte(payload))
			b.Echo([]byte(payload))
			answers, err := do(ctx, c, b)
			wantError(t, err, context.Canceled)
			diffAnswers(t, first, answers)
			if !f.check() {
				return
			}

			f.last()
			f.answers = true
			answers, err = do(background(t), c, b)
			if err != nil {
				t.Errorf("the next call: %v", err)
			}
			diffAnswers(t, []got{{0, payload, nil}, {1, payload, nil}}, answers)
			f.check()
		})
		run("Drain", func(t *testing.T, ctx context.Context, cancel func()) {
			p, answers, f, m := pipeline(t)
			f.began = func() {
				f.fill(answer(m[0], f.to, m[0].Body))
				cancel()
			}
			f.send(f.to, f.junk)
			wantError(t, p.Drain(ctx), context.Canceled)
			diffAnswers(t, first, *answers)
			f.check()
		})
		run("Drain after the end", func(t *testing.T, ctx context.Context, cancel func()) {
			p, answers, f, m := pipeline(t)
			f.fill(answer(m[0], f.to, m[0].Body))
			cancel()
			wantError(t, p.Drain(ctx), context.Canceled)
			diffAnswers(t, first, *answers)
			f.check()
		})
		run("Flush of what is not sent", func(t *testing.T, ctx context.Context, cancel func()) {
			p, answers, f, m := pipeline(t)
			f.fill(answer(m[0], f.to, m[0].Body))
			cancel()
			wantError(t, p.Echo(ctx, nil), context.Canceled)
			diffAnswers(t, first, *answers)
			f.check()
		})
		// It had nothing to do but to take what was there.
		run("Flush", func(t *testing.T, ctx context.Context, cancel func()) {
			p, answers, f, m := pipeline(t)
			f.fill(answer(m[0], f.to, m[0].Body))
			if err := p.Flush(ctx); err != nil {
				t.Error(err)
			}
			diffAnswers(t, first, *answers)
			f.check()
		})
		run("Flush after the end", func(t *testing.T, ctx context.Context, cancel func()) {
			p, answers, f, m := pipeline(t)
			f.fill(answer(m[0], f.to, m[0].Body))
			cancel()
			if err := p.Flush(ctx); err != nil {
				t.Error(err)
			}
			diffAnswers(t, first, *answers)
			f.check()
		})
	}
}

// Nor does the end of the time limit, which no wait tells of.
func TestFloodPutsOffNoTimeout(t *testing.T) {
	for _, size := range []int{0, 5000} {
		for call, do := range map[string]func(c *client.Conn) error{
			"Echo": func(c *client.Conn) error {
				_, err := c.Echo(context.Background(), nil)
				return err
			},
			"Do": func(c *client.Conn) error {
				b := c.NewBatch()
				b.Echo(nil)
				_, err := do(context.Background(), c, b)
				return err
			},
		} {
			t.Run(fmt.Sprint(call, " ", size), func(t *testing.T) {
				f := &flood{}
				c, u := dialUser(t, client.Config{Timeout: 1, Tap: f.tap})
				f.user, f.to = u, c.PortID()
				f.of(wire.AppendMessage(nil, wire.Header{PortID: f.to + 1}, make([]byte, size)))
				f.send(f.to, f.junk)
				wantError(t, do(c), os.ErrDeadlineExceeded)
				f.check()
			})
		}
		t.Run(fmt.Sprint("Drain ", size), func(t *testing.T) {
			f := &flood{user: newUser(t)}
			p, answers := pipelineUser(t, client.Config{Timeout: 1, Tap: f.tap}, client.PipelineConfig{Batch: 1}, f.port)
			f.to = p.PortID()
			f.of(wire.AppendMessage(nil, wire.Header{PortID: f.to + 1}, make([]byte, size)))
			echoAll(t, p, "", "")
			f.send(f.to, f.junk)
			if err := p.Drain(context.Background()); err != nil {
				t.Error(err)
			}
			diffAnswers(t, []got{{0, "", os.ErrDeadlineExceeded}, {1, "", os.ErrDeadlineExceeded}}, *answers)
			f.check()
		})
	}
}

// However long the answer is, a call that does not have to wait for any of it has no
// time limit.
func TestTimeoutIsForWaiting(t *testing.T) {
	u := newUser(t)
	var port uint32
	var due [][]byte
	tap := func(d client.Crossing) {
		if d.Sent {
			m, _, err := wire.NextMessage(d.Data)
			if err != nil {
				t.Fatal(err)
			}
			h := wire.Header{Type: m.Type, Flags: wire.FlagMulti, Seq: m.Seq, PortID: port}
			for seq := range uint64(1000) {
				e := beacon(1, seq+1)
				e.Data = make([]byte, 1000)
				b := wire.AppendGenlHeader(nil, wire.GenlHeader{Command: wire.CmdEventGet, Version: wire.FamilyVersion})
				due = append(due, wire.AppendMessage(nil, h, wire.AppendEvent(b, e)))
			}
			due = append(due, done(h, 0, nil))
		}
		for len(due) > 0 && u.trySend(port, due[0]) == nil {
			due = due[1:]
		}
	}
	c, err := client.DialUser(background(t), client.Config{Carrier: client.Generic, Timeout: 1, Tap: tap}, u.port, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port = c.PortID()
	n := 0
	for _, err := range c.EventsSince(context.Background(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	diff(t, 1000, n)
}
