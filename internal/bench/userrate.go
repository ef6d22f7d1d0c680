// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// userRate is bursts from one socket to another, where no module is: messages to
// a port ID, as joining groups of NETLINK_USERSOCK needs a privilege.
func userRate(b *Bench, c Case) sampler {
	message := wire.AppendMessage(nil, wire.Header{Type: wire.MsgEvent}, payload(c.Size))
	between := func(do func(burst func(n int) error) error) error {
		ctx := context.Background()
		from, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK})
		if err != nil {
			return err
		}
		defer from.Close()
		to, err := client.Listen(ctx, client.ListenConfig{Protocol: unix.NETLINK_USERSOCK})
		if err != nil {
			return err
		}
		defer to.Close()
		return do(func(n int) error {
			for range n {
				// It fails if the other has no room.
				if err := from.Send(to.PortID(), message); err != nil {
					return err
				}
			}
			for range n {
				d, ok, err := to.Poll(ctx)
				if err != nil {
					return err
				}
				if !ok || len(d.Data) != len(message) {
					return fmt.Errorf("%w: %d bytes of %d", errWrong, len(d.Data), len(message))
				}
			}
			return nil
		})
	}
	largest := 0
	return func(n int, m *meter) error {
		if largest == 0 {
			var err error
			largest, err = search(func(n int) error {
				return between(func(burst func(int) error) error { return burst(n) })
			})
			if err != nil {
				return err
			}
		}
		m.burst = largest
		return between(func(burst func(int) error) error {
			bursts := max(1, n/largest)
			m.start()
			for range bursts {
				if err := burst(largest); err != nil {
					return err
				}
			}
			m.stop(bursts * largest)
			return nil
		})
	}
}
