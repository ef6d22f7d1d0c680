// SPDX-License-Identifier: MIT

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"nlpeer/pkg/client"
)

// peerBatch sends batches of echoes, one after the other.
func peerBatch(ctx context.Context, c Case, conn *client.Conn) sampler {
	return batched(c, func(e *echoed) func() error {
		b := conn.NewBatch()
		var failed error
		each := func(a client.Answer) {
			if a.Err != nil {
				failed = a.Err
			}
			e.answer(a.Payload)
		}
		return func() error {
			b.Reset()
			for range c.Batch {
				b.Echo(e.sent)
			}
			if err := conn.Do(ctx, b, each); err != nil {
				return err
			}
			return failed
		}
	})
}

// openPipeline is this project's client with a stream of echoes.
func openPipeline(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	if c.Name != Echo || c.Carrier != "raw" && c.Carrier != "genl" {
		return nil, nil, errNotHere
	}
	cfg := client.Config{ReceiveBuffer: socketRoom}
	if err := cfg.Carrier.UnmarshalText([]byte(c.Carrier)); err != nil {
		return nil, nil, err
	}
	var answers int
	var wrong error
	sent, compare := payload(c.Size), true
	p, err := client.DialPipeline(ctx, cfg, client.PipelineConfig{
		Batch: c.Batch,
		Answer: func(a client.Answer) {
			answers++
			switch {
			case a.Err != nil:
				wrong = a.Err
			case len(a.Payload) != len(sent) || compare && !bytes.Equal(a.Payload, sent):
				wrong = errWrong
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	stream := func(n int) error {
		answers = 0
		for range n {
			if err := p.Echo(ctx, sent); err != nil {
				return err
			}
		}
		if err := p.Drain(ctx); err != nil {
			return err
		}
		if wrong == nil && answers != n {
			return fmt.Errorf("%w: %d answers to %d requests", errWrong, answers, n)
		}
		return wrong
	}
	return func(n int, m *meter) error {
		compare = true
		if err := stream(2 * c.Batch); err != nil {
			return err
		}
		n = max(1, n/c.Batch) * c.Batch
		compare = false
		m.start()
		if err := stream(n); err != nil {
			return err
		}
		m.stop(n)
		compare = true
		rand.Read(sent)
		return stream(2 * c.Batch)
	}, func() { p.Close() }, nil
}
