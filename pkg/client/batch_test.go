// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"nlpeer/pkg/client"
)

// userFrames are those that a peer on NETLINK_USERSOCK can play.
var userFrames = []client.Carrier{client.Raw, client.Generic}

// got is an Answer that outlives the function it was given to.
type got struct {
	index   int
	payload string
	err     error
}

// do carries a batch and returns the answers in the order in which they came.
func do(ctx context.Context, c *client.Conn, b *client.Batch) ([]got, error) {
	var answers []got
	err := c.Do(ctx, b, func(a client.Answer) {
		answers = append(answers, got{a.Index, string(a.Payload), a.Err})
	})
	return answers, err
}

// echoes fills a batch with n random payloads and returns what is to come back.
func echoes(t testing.TB, b *client.Batch, n, size int) (want []got) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("random seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		payload := make([]byte, r.IntN(size+1))
		for i := range payload {
			payload[i] = byte(r.Uint32())
		}
		b.Echo(payload)
		want = append(want, got{i, string(payload), nil})
		clear(payload) // which the batch has copied
	}
	return want
}

// What is sent comes back, each answer in the order of the requests.
func TestBatchEcho(t *testing.T) {
	for _, carrier := range userFrames {
		for _, n := range []int{0, 1, 2, 63, 64, 1000} {
			for _, size := range []int{0, 5, 300, 32768} {
				if n*size > 1<<22 {
					continue
				}
				t.Run(fmt.Sprintf("%v/%d of %d", carrier, n, size), func(t *testing.T) {
					c := dialSelf(t, client.Config{Carrier: carrier})
					b := c.NewBatch()
					for range 3 { // used again
						b.Reset()
						want := echoes(t, b, n, size)
						if b.Len() != n {
							t.Errorf("Len is %d", b.Len())
						}
						answers, err := do(background(t), c, b)
						if err != nil {
							t.Fatal(err)
						}
						diffAnswers(t, want, answers)
						answers, err = do(background(t), c, b) // sent again
						if err != nil {
							t.Fatal(err)
						}
						diffAnswers(t, want, answers)
					}
					diff(t, client.Counters{}, c.Counters())
				})
			}
		}
	}
}

func diffAnswers(t testing.TB, want, answers []got) {
	t.Helper()
	if len(want) != len(answers) {
		t.Errorf("%d answers, want %d", len(answers), len(want))
	}
	for i := range min(len(want), len(answers)) {
		w, a := want[i], answers[i]
		if w.index != a.index || w.payload != a.payload || !errors.Is(a.err, w.err) || a.err != nil && w.err == nil {
			t.Fatalf("answer %d: index %d, %d bytes, error %v; want index %d, %d bytes, error %v, bytes equal: %v",
				i, a.index, len(a.payload), a.err, w.index, len(w.payload), w.err, a.payload == w.payload)
		}
	}
}

func BenchmarkBatchLoopback(b *testing.B) {
	for _, n := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, err := client.DialUser(b.Context(), client.Config{}, 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			batch := c.NewBatch()
			payload := bytes.Repeat([]byte{'x'}, 64)
			answered := 0
			take := func(a client.Answer) {
				if a.Err != nil || len(a.Payload) != 64 || a.Payload[0] != 'x' {
					b.Fatal(a)
				}
				answered++
			}
			b.ReportAllocs()
			rounds := 0
			for b.Loop() {
				batch.Reset()
				for range n {
					batch.Echo(payload)
				}
				if err := c.Do(context.Background(), batch, take); err != nil {
					b.Fatal(err)
				}
				rounds++
			}
			if answered != rounds*n {
				b.Fatal(answered)
			}
		})
	}
}

func TestPipelineEcho(t *testing.T) {
	for _, carrier := range userFrames {
		for _, n := range []int{1, 64, 65, 1000} {
			t.Run(fmt.Sprintf("%v/%d", carrier, n), func(t *testing.T) {
				var want, answers []got
				p, err := client.PipelineUser(background(t), client.Config{Carrier: carrier}, client.PipelineConfig{Answer: func(a client.Answer) {
					answers = append(answers, got{a.Index, string(a.Payload), a.Err})
				}}, 0)
				needs(t, "NETLINK_USERSOCK", err)
				defer p.Close()
				for i := range n {
					payload := fmt.Sprint(i)
					if err := p.Echo(background(t), []byte(payload)); err != nil {
						t.Fatal(err)
					}
					want = append(want, got{i, payload, nil})
				}
				if err := p.Drain(background(t)); err != nil {
					t.Fatal(err)
				}
				diffAnswers(t, want, answers)
				datagrams := uint64(n+63) / 64
				diff(t, client.PipelineCounters{Requests: uint64(n), Answers: uint64(n), Sent: datagrams, Received: datagrams}, p.Counters())
			})
		}
	}
}
