// SPDX-License-Identifier: MIT

package batch_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nlpeer/pkg/client"
	"nlpeer/vm-test/suites/vmtest"
)

// The benchmarks show what an operation costs, an operation being an echo or an
// event also where several cross together. Where the clock counts instructions
// that is what they count, and the kernel must not look for mistakes meanwhile:
//
//	nlvm test --icount --append "slub_debug=- mitigations=off" ./vm-test/suites/batch -- -run '^$' -bench . -benchtime 20000x

func BenchmarkEcho(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		b.Run(carrier.String(), func(b *testing.B) {
			ctx := context.Background()
			conn := dial(b, client.Config{Carrier: carrier})
			payload := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if answer, err := conn.Echo(ctx, payload); err != nil || len(answer) != len(payload) {
					b.Fatal(len(answer), err)
				}
			}
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		for _, n := range []int{1, 4, 16, 64, 256} {
			b.Run(fmt.Sprintf("%v/%d", carrier, n), func(b *testing.B) {
				ctx := context.Background()
				conn := dial(b, client.Config{Carrier: carrier})
				batch := conn.NewBatch()
				payload := make([]byte, 64)
				check := func(a client.Answer) {
					if a.Err != nil || len(a.Payload) != len(payload) {
						b.Fatal(a.Index, a.Err)
					}
				}
				round := func() {
					batch.Reset()
					for range n {
						batch.Echo(payload)
					}
					if err := conn.Do(ctx, batch, check); err != nil {
						b.Fatal(err)
					}
				}
				round()
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += n {
					round()
				}
			})
		}
	}
}

func BenchmarkPipeline(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		b.Run(carrier.String(), func(b *testing.B) {
			ctx := context.Background()
			payload := make([]byte, 64)
			p, err := client.DialPipeline(ctx, client.Config{Carrier: carrier}, client.PipelineConfig{
				Answer: func(a client.Answer) {
					if a.Err != nil || len(a.Payload) != len(payload) {
						b.Fatal(a.Index, a.Err)
					}
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			run := func(n int) {
				for range n {
					if err := p.Echo(ctx, payload); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Drain(ctx); err != nil {
					b.Fatal(err)
				}
			}
			run(128)
			b.ReportAllocs()
			b.ResetTimer()
			run(b.N)
		})
	}
}

// Events that are queued already, as a burst leaves them: each in a datagram of
// its own, or packed.
func BenchmarkEvents(b *testing.B) {
	vmtest.Module(b)
	for _, packed := range []bool{false, true} {
		b.Run(fmt.Sprintf("packed=%v", packed), func(b *testing.B) {
			ctx := context.Background()
			conn := dial(b, client.Config{})
			var mask uint32
			if packed {
				mask = 1
			}
			const burst = 256
			size := 4
			change := client.BeaconChange{Groups: new(uint32(1)), Generic: new(false), Size: &size, Packed: &mask}
			if err := conn.SetBeacon(ctx, change); err != nil {
				b.Fatal(err)
			}
			sub, err := client.Subscribe(ctx, client.Config{ReceiveBuffer: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer sub.Close()
			fill := func() {
				if err := conn.SetBeacon(ctx, client.BeaconChange{Burst: burst}); err != nil {
					b.Fatal(err)
				}
			}
			// The timer of the benchmark looks at the heap each time, which costs
			// more than all else.
			drain := func() (time.Duration, int) {
				fill()
				n, began := 0, time.Now()
				for event, err := range sub.Events(ctx) {
					if err != nil || event.Lost != 0 {
						b.Fatal(event, err)
					}
					if n++; n == burst {
						break
					}
				}
				return time.Since(began), n
			}
			drain()
			var took time.Duration
			events := 0
			for events < b.N {
				d, n := drain()
				took, events = took+d, events+n
			}
			b.ReportMetric(float64(took)/float64(events), "ns/event")
		})
	}
}
