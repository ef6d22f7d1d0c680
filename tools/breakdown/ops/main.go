// SPDX-License-Identifier: MIT

// Ops repeats one operation of the client for ever, for nlvm profile: it first
// writes what it measures itself, and then calls marker before each.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"nlpeer/pkg/client"
)

// What all figures of the documentation are about.
const (
	payloadSize = 64
	batchSize   = 64
	eventGroup  = 3
)

// Operations before the measured ones fill caches and pools. The queue of a
// listener is filled with burst events at a time, so that none of them waits for
// another burst while it is being measured.
const (
	warmup   = 1000
	measured = 2000
	burst    = 4000
)

// A loop repeats an operation and calls each after it.
type loop func(ctx context.Context, each func()) error

var operations = map[string]loop{
	"echo-raw":  func(ctx context.Context, each func()) error { return echo(ctx, client.Raw, each) },
	"echo-genl": func(ctx context.Context, each func()) error { return echo(ctx, client.Generic, each) },
	"batch-raw": batch,
	"event":     func(ctx context.Context, each func()) error { return events(ctx, 0, each) },
	"packed":    func(ctx context.Context, each func()) error { return events(ctx, 1<<(eventGroup-1), each) },
}

//go:noinline
func marker() {}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "ops: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 || operations[args[0]] == nil {
		return errors.New("name one operation: " + strings.Join(slices.Sorted(maps.Keys(operations)), ", "))
	}
	done := 0
	var begin time.Time
	return operations[args[0]](context.Background(), func() {
		done++
		switch {
		case done == warmup:
			begin = time.Now()
		case done == warmup+measured:
			fmt.Println(time.Since(begin).Nanoseconds(), measured)
		case done > warmup+measured:
			marker()
		}
	})
}

func payload() []byte { return []byte(strings.Repeat("x", payloadSize)) }

func echo(ctx context.Context, via client.Carrier, each func()) error {
	conn, err := client.Dial(ctx, client.Config{Carrier: via})
	if err != nil {
		return err
	}
	payload := payload()
	var answer []byte
	for {
		if answer, err = conn.AppendEcho(ctx, answer[:0], payload); err != nil {
			return err
		}
		if len(answer) != payloadSize {
			return fmt.Errorf("%d bytes came back", len(answer))
		}
		each()
	}
}

func batch(ctx context.Context, each func()) error {
	conn, err := client.Dial(ctx, client.Config{})
	if err != nil {
		return err
	}
	payload := payload()
	requests := conn.NewBatch()
	answered := 0
	answer := func(a client.Answer) {
		if a.Err == nil && len(a.Payload) == payloadSize {
			answered++
		}
	}
	for {
		requests.Reset()
		for range batchSize {
			requests.Echo(payload)
		}
		answered = 0
		if err := conn.Do(ctx, requests, answer); err != nil {
			return err
		}
		if answered != batchSize {
			return fmt.Errorf("%d answers came back", answered)
		}
		each()
	}
}

// events receives what is queued already, packed in the given groups.
func events(ctx context.Context, packed uint32, each func()) error {
	conn, err := client.Dial(ctx, client.Config{})
	if err != nil {
		return err
	}
	groups, size, none := uint32(1<<(eventGroup-1)), payloadSize, time.Duration(0)
	fill := func() error {
		return conn.SetBeacon(ctx, client.BeaconChange{
			Interval: &none, Groups: &groups, Size: &size, Packed: &packed, Burst: burst,
		})
	}
	sub, err := client.Subscribe(ctx, client.Config{Groups: groups, ReceiveBuffer: 32 << 20})
	if err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	left := burst
	for e, err := range sub.Events(ctx) {
		if err != nil {
			return err
		}
		if len(e.Data) != payloadSize {
			return fmt.Errorf("an event with %d bytes", len(e.Data))
		}
		each()
		if left--; left == 0 {
			if err := fill(); err != nil {
				return err
			}
			left = burst
		}
	}
	return nil
}
