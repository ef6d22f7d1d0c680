// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A message goes to the kernel and comes back.
func Example() {
	ctx := context.Background()
	conn, err := client.Dial(ctx, client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answer, err := conn.Echo(ctx, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)
}

// The kernel's beacon, over generic netlink, for ten seconds. An overrun is
// news, not the end.
func ExampleSubscribe() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	sub, err := client.Subscribe(ctx, client.Config{Carrier: client.Generic})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	var overrun *client.OverrunError
	for event, err := range sub.Events(ctx) {
		switch {
		case errors.As(err, &overrun):
			log.Print(err)
		case errors.Is(err, context.DeadlineExceeded):
			return
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(event.Group, event.Seq, event.Time, event.Lost)
		}
	}
}

// Ten events a second, of 100 bytes each. It takes CAP_NET_ADMIN.
func ExampleConn_SetBeacon() {
	ctx := context.Background()
	conn, err := client.Dial(ctx, client.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	err = conn.SetBeacon(ctx, client.BeaconChange{
		Interval: new(100 * time.Millisecond),
		Size:     new(100),
	})
	if err != nil {
		log.Fatal(err)
	}
}

// What is in the table at one moment. Changing it takes CAP_NET_ADMIN, and so does
// the atomic dump.
func ExampleConn_Objects() {
	ctx := context.Background()
	conn, err := client.Dial(ctx, client.Config{Carrier: client.Generic})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	err = conn.NewObject(ctx, "color", wire.ModifierCreate|wire.ModifierReplace, []byte("green"), []byte("blue"))
	if err != nil {
		log.Fatal(err)
	}
	for object, err := range conn.Objects(ctx, client.ObjectQuery{Prefix: "c", Atomic: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %q\n", object.Key, object.Values)
	}
}

// One buffer serves for all answers.
func ExampleConn_AppendEcho() {
	ctx := context.Background()
	conn, err := client.Dial(ctx, client.Config{Carrier: client.Generic, Timeout: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	payload := make([]byte, 1024)
	var answer []byte
	for range 1000 {
		answer, err = conn.AppendEcho(ctx, answer[:0], payload)
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(len(answer))
}
