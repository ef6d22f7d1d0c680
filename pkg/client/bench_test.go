// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"fmt"
	"testing"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

func BenchmarkEchoLoopback(b *testing.B) {
	for _, carrier := range []client.Carrier{client.Raw, client.Generic} {
		for _, size := range []int{0, 64, 1024, 32768} {
			b.Run(fmt.Sprintf("%v/%d", carrier, size), func(b *testing.B) {
				conn, err := client.DialUser(b.Context(), client.Config{Carrier: carrier}, 0, 0)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				ctx := context.Background()
				payload, answer := make([]byte, size), make([]byte, 0, wire.PayloadMax)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					answer, err = conn.AppendEcho(ctx, answer[:0], payload)
					if err != nil {
						b.Fatal(err)
					}
				}
				if len(answer) != size {
					b.Fatalf("%d bytes came back", len(answer))
				}
			})
		}
	}
}

// Events that are queued already, one in a datagram, as a burst leaves them.
func BenchmarkEventsQueued(b *testing.B) {
	for _, carrier := range []client.Carrier{client.Raw, client.Generic} {
		b.Run(carrier.String(), func(b *testing.B) {
			u := newUser(b)
			sub, err := client.SubscribeUser(b.Context(), client.Config{Carrier: carrier, ReceiveBuffer: 1 << 20}, u.port, 0)
			needs(b, "root, to join groups of NETLINK_USERSOCK", err)
			defer sub.Close()
			const burst = 256
			seq := uint64(0)
			fill := func() {
				for range burst {
					seq++
					u.multicast(1, event(carrier, beacon(1, seq)))
				}
			}
			b.ReportAllocs()
			b.StopTimer()
			fill()
			b.StartTimer()
			n := 0
			for event, err := range sub.Events(context.Background()) {
				if err != nil || event.Lost != 0 {
					b.Fatal(event.Lost, err)
				}
				if n++; n == b.N {
					break
				}
				if n%burst == 0 {
					b.StopTimer()
					fill()
					b.StartTimer()
				}
			}
		})
	}
}
