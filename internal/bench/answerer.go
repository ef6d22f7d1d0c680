// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// An answerer is the other side of an echo where that is a process: it sends back
// what it gets, on a goroutine of its own.
type answerer struct {
	port  uint32
	close func()
}

func newAnswerer(ctx context.Context) (*answerer, error) {
	l, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK})
	if err != nil {
		return nil, fmt.Errorf("the other side: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d, err := range l.Datagrams(ctx) {
			if err != nil || len(d.Data) < wire.HeaderLen {
				return
			}
			h, err := wire.ParseHeader(d.Data)
			if err != nil {
				return
			}
			h.PortID, h.Flags = d.From, 0 // as the kernel would
			wire.PutHeader(d.Data, h)
			if l.Send(d.From, d.Data) != nil {
				return
			}
		}
	}()
	return &answerer{l.PortID(), func() {
		l.Close()
		<-done
	}}, nil
}
