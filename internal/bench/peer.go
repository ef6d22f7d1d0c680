// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"fmt"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// openPeer is this project's client.
func openPeer(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	switch c.Name {
	case Echo, Get, Dump:
		return peerAsk(ctx, b, c)
	}
	switch {
	case c.Carrier == "usersock" && c.Name == Rate:
		return userRate(b, c), nil, nil
	case c.Carrier != "raw":
		return nil, nil, errNotHere
	}
	return b.receiving(ctx, c, peerListen)
}

func peerAsk(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	cfg := client.Config{ReceiveBuffer: socketRoom}
	if cfg.Carrier.UnmarshalText([]byte(c.Carrier)) != nil {
		return nil, nil, errNotHere
	}
	end := func() {}
	if cfg.Carrier == client.UserSock {
		answerer, err := newAnswerer(ctx)
		if err != nil {
			return nil, nil, err
		}
		cfg.To, end = answerer.port, answerer.close
	}
	conn, err := client.Dial(ctx, cfg)
	if err != nil {
		end()
		return nil, nil, err
	}
	done := func() {
		conn.Close()
		end()
	}
	run, err := peerRun(ctx, b, c, conn)
	if err != nil {
		done()
		return nil, nil, err
	}
	if cfg.Carrier == client.UserSock {
		alone := run
		run = func(n int, m *meter) error {
			m.program = true // the other side's allocations would be counted
			return alone(n, m)
		}
	}
	return run, done, nil
}

func peerRun(ctx context.Context, b *Bench, c Case, conn *client.Conn) (sampler, error) {
	switch c.Name {
	case Get, Dump:
		if err := b.fill(ctx, c); err != nil {
			return nil, err
		}
	}
	switch c.Name {
	case Get:
		buf := make([]byte, wire.ObjectMax+128)
		return b.gets(c, func(key string) (int, error) {
			v, err := conn.ViewObject(ctx, key, buf)
			return v.Len(), err
		}), nil
	case Dump:
		return dumps(c, func() (n int, err error) {
			for _, err := range conn.ObjectViews(ctx, client.ObjectQuery{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}), nil
	}
	if c.Batch > 1 {
		return peerBatch(ctx, c, conn), nil
	}
	buf := make([]byte, 0, wire.PayloadMax)
	return echoes(c.Size, func(p []byte) ([]byte, error) {
		return conn.AppendEcho(ctx, buf[:0], p)
	}), nil
}

func peerListen(ctx context.Context, c Case, room int) (listener, error) {
	sub, err := client.Subscribe(ctx, client.Config{Groups: groupMask(c), ReceiveBuffer: room, NoResync: true})
	if err != nil {
		return listener{}, err
	}
	take := func(n int) error {
		for e, err := range sub.Events(ctx) {
			if err != nil {
				return err
			}
			if e.Lost != 0 || len(e.Data) != c.Size {
				return fmt.Errorf("%w: event %d of %d bytes, %d lost before it", errWrong, e.Seq, len(e.Data), e.Lost)
			}
			if n--; n == 0 {
				break
			}
		}
		return nil
	}
	return listener{take, func() { sub.Close() }}, nil
}
