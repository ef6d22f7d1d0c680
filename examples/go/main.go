// SPDX-License-Identifier: MIT

// A program that asks the kernel and listens to it. The README shows it.
package main

import (
	"context"
	"fmt"
	"log"

	"nlpeer/pkg/client"
)

func main() {
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
	fmt.Printf("port %d got %s\n", conn.PortID(), answer)

	sub, err := conn.Subscribe(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	for event, err := range sub.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("group %d, event %d\n", event.Group, event.Seq)
		break
	}
}
