// SPDX-License-Identifier: MIT

// Ops repeats one operation of the client for ever, for nlvm profile: it calls
// marker before each, and first writes what it measures itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"nlpeer/pkg/client"
)

// payloadSize is that of all figures of the documentation.
const payloadSize = 64

// measured is how many operations are measured.
const measured = 2000

// operations makes a function that does one operation, for each name.
var operations = map[string]func(ctx context.Context) (func() error, error){
	"echo-raw":  func(ctx context.Context) (func() error, error) { return echo(ctx, client.Raw) },
	"echo-genl": func(ctx context.Context) (func() error, error) { return echo(ctx, client.Generic) },
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
	ctx := context.Background()
	if len(args) != 1 || operations[args[0]] == nil {
		var names []string
		for name := range operations {
			names = append(names, name)
		}
		slices.Sort(names)
		return errors.New("name one operation: " + strings.Join(names, ", "))
	}
	operation, err := operations[args[0]](ctx)
	if err != nil {
		return err
	}
	for range measured { // caches and pools fill
		if err := operation(); err != nil {
			return err
		}
	}
	begin := time.Now()
	for range measured {
		if err := operation(); err != nil {
			return err
		}
	}
	fmt.Println(time.Since(begin).Nanoseconds(), measured)
	for {
		marker()
		if err := operation(); err != nil {
			return err
		}
	}
}

func echo(ctx context.Context, via client.Carrier) (func() error, error) {
	conn, err := client.Dial(ctx, client.Config{Carrier: via})
	if err != nil {
		return nil, err
	}
	payload := []byte(strings.Repeat("x", payloadSize))
	var answer []byte
	return func() error {
		var err error
		answer, err = conn.AppendEcho(ctx, answer[:0], payload)
		if err == nil && len(answer) != payloadSize {
			err = fmt.Errorf("%d bytes came back", len(answer))
		}
		return err
	}, nil
}
