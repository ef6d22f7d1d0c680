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
