// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	vlink "github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// The libraries are used as their documentation shows, and answers are looked at
// as their users do.

// libraryBuffer is Config.MessageBufferSize where it is set: room for whatever
// comes.
const libraryBuffer = 64 << 10

func openMdlayher(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	return mdlayher(ctx, b, c, netlink.Config{})
}

func openMdlayherBuffer(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	return mdlayher(ctx, b, c, netlink.Config{MessageBufferSize: libraryBuffer})
}

func mdlayher(ctx context.Context, b *Bench, c Case, cfg netlink.Config) (sampler, func(), error) {
	switch c.Name {
	case Receive, Rate:
		if c.Carrier != "raw" {
			return nil, nil, errNotHere
		}
		return b.receiving(ctx, c, func(_ context.Context, c Case, room int) (listener, error) {
			return mdlayherListen(c, cfg, room)
		})
	case Echo, Get, Dump:
		if c.Carrier == "usersock" || c.Carrier == "connector" || !c.netlink() {
			return nil, nil, errNotHere
		}
	default:
		return nil, nil, errNotHere
	}
	sh, err := b.shape(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if c.Name != Echo {
		if c.Carrier != "raw" {
			return nil, nil, errNotHere
		}
		if err := b.fill(ctx, c); err != nil {
			return nil, nil, err
		}
	}
	conn, err := netlink.Dial(sh.protocol, &cfg)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetReadBuffer(socketRoom)
	_ = conn.SetWriteBuffer(socketRoom)
	end := func() { conn.Close() }
	switch {
	case c.Name == Get:
		return b.gets(c, func(key string) (int, error) { return mdlayherGet(conn, key) }), end, nil
	case c.Name == Dump:
		return dumps(c, func() (int, error) {
			m, err := conn.Execute(netlink.Message{Header: netlink.Header{
				Type: netlink.HeaderType(wire.MsgObjectGet), Flags: netlink.Request | netlink.Dump,
			}})
			return len(m), err
		}), end, nil
	case c.Batch > 1:
		return mdlayherBatch(c, sh, conn), end, nil
	}
	return echoes(c.Size, func(p []byte) ([]byte, error) {
		m, err := conn.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(sh.request), Flags: netlink.Request},
			Data:   sh.body(nil, p),
		})
		if err != nil {
			return nil, err
		}
		return sh.payload(m[0].Data)
	}), end, nil
}

// mdlayherBatch sends many requests at once and receives until all are answered.
func mdlayherBatch(c Case, sh shape, conn *netlink.Conn) sampler {
	return batched(c, func(e *echoed) func() error {
		return func() error {
			all := make([]netlink.Message, c.Batch)
			for i := range all {
				all[i] = netlink.Message{
					Header: netlink.Header{Type: netlink.HeaderType(sh.request), Flags: netlink.Request},
					Data:   sh.body(nil, e.sent),
				}
			}
			if _, err := conn.SendMessages(all); err != nil {
				return err
			}
			for left := c.Batch; left > 0; {
				got, err := conn.Receive()
				if err != nil {
					return err
				}
				for _, m := range got {
					p, err := sh.payload(m.Data)
					if err != nil {
						return err
					}
					e.answer(p)
					left--
				}
			}
			return nil
		}
	})
}

func mdlayherGet(conn *netlink.Conn, key string) (values int, err error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(wire.AttrObjectKey, key)
	data, err := ae.Encode()
	if err != nil {
		return 0, err
	}
	m, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(wire.MsgObjectGet), Flags: netlink.Request},
		Data:   data,
	})
	if err != nil {
		return 0, err
	}
	ad, err := netlink.NewAttributeDecoder(m[0].Data)
	if err != nil {
		return 0, err
	}
	for ad.Next() {
		if ad.Type() == wire.AttrObjectValue {
			values++
		}
	}
	return values, ad.Err()
}

func mdlayherListen(c Case, cfg netlink.Config, room int) (listener, error) {
	cfg.Groups = groupMask(c)
	conn, err := netlink.Dial(wire.NetlinkTest, &cfg)
	if err != nil {
		return listener{}, err
	}
	if room > 0 {
		_ = conn.SetReadBuffer(room)
	}
	last := uint64(0)
	take := func(n int) error {
		for n > 0 {
			got, err := conn.Receive()
			if err != nil {
				return err
			}
			for _, m := range got {
				e, err := wire.ParseEvent(m.Data)
				if err != nil {
					return err
				}
				if last != 0 && e.Seq != last+1 || len(e.Data) != c.Size {
					return fmt.Errorf("%w: event %d after %d, of %d bytes", errWrong, e.Seq, last, len(e.Data))
				}
				last = e.Seq
				n--
			}
		}
		return nil
	}
	return listener{take, func() { conn.Close() }}, nil
}

func openGenetlink(_ context.Context, b *Bench, c Case) (sampler, func(), error) {
	if c.Name != Echo && c.Name != Family || c.Carrier != "genl" || c.Batch > 1 {
		return nil, nil, errNotHere
	}
	conn, err := genetlink.Dial(nil)
	if err != nil {
		return nil, nil, err
	}
	end := func() { conn.Close() }
	if c.Name == Family {
		return families(func() error {
			_, err := conn.GetFamily("nlctrl")
			return err
		}), end, nil
	}
	_ = conn.SetReadBuffer(socketRoom)
	family, err := conn.GetFamily(wire.FamilyName)
	if err != nil {
		end()
		return nil, nil, err
	}
	return echoes(c.Size, func(p []byte) ([]byte, error) {
		ae := netlink.NewAttributeEncoder()
		ae.Bytes(wire.AttrEchoPayload, p)
		data, err := ae.Encode()
		if err != nil {
			return nil, err
		}
		m, err := conn.Execute(genetlink.Message{
			Header: genetlink.Header{Command: wire.CmdEcho, Version: family.Version},
			Data:   data,
		}, family.ID, netlink.Request)
		if err != nil {
			return nil, err
		}
		ad, err := netlink.NewAttributeDecoder(m[0].Data)
		if err != nil {
			return nil, err
		}
		var answer []byte
		for ad.Next() {
			if ad.Type() == wire.AttrEchoPayload {
				answer = ad.Bytes()
			}
		}
		return answer, ad.Err()
	}), end, nil
}

// families makes a sampler of a function that asks for a generic netlink family.
func families(ask func() error) sampler {
	return func(n int, m *meter) error { return m.time(n, ask) }
}

// openVishvananda is a request on a socket that stays open.
func openVishvananda(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	if c.Name == Family {
		h, err := vlink.NewHandle(unix.NETLINK_GENERIC)
		if err != nil {
			return nil, nil, err
		}
		return families(func() error {
			_, err := h.GenlFamilyGet("nlctrl")
			return err
		}), h.Close, nil
	}
	return vishvananda(ctx, b, c, func(sh shape) (func(*nl.NetlinkRequest) ([]byte, error), func(), error) {
		s, err := nl.Subscribe(sh.protocol)
		if err != nil {
			return nil, nil, err
		}
		return func(req *nl.NetlinkRequest) ([]byte, error) {
			if err := s.Send(req); err != nil {
				return nil, err
			}
			m, _, err := s.Receive()
			if err != nil {
				return nil, err
			}
			if len(m) != 1 || m[0].Header.Seq != req.Seq || m[0].Header.Type != sh.answer {
				return nil, errWrong
			}
			return m[0].Data, nil
		}, s.Close, nil
	})
}

// openVishvanandaExecute is the package's own way, a socket for each request.
func openVishvanandaExecute(ctx context.Context, b *Bench, c Case) (sampler, func(), error) {
	return vishvananda(ctx, b, c, func(sh shape) (func(*nl.NetlinkRequest) ([]byte, error), func(), error) {
		return func(req *nl.NetlinkRequest) ([]byte, error) {
			m, err := req.Execute(sh.protocol, sh.answer)
			if err != nil {
				return nil, err
			}
			if len(m) != 1 {
				return nil, errWrong
			}
			return m[0], nil
		}, nil, nil
	})
}

type vishvanandaAsk = func(*nl.NetlinkRequest) ([]byte, error)

func vishvananda(ctx context.Context, b *Bench, c Case, open func(shape) (vishvanandaAsk, func(), error)) (sampler, func(), error) {
	if c.Name != Echo || c.Batch > 1 || c.Carrier == "usersock" || c.Carrier == "connector" || !c.netlink() {
		return nil, nil, errNotHere
	}
	sh, err := b.shape(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	ask, end, err := open(sh)
	if err != nil {
		return nil, nil, err
	}
	return echoes(c.Size, func(p []byte) ([]byte, error) {
		req := nl.NewNetlinkRequest(int(sh.request), 0)
		req.AddRawData(sh.body(nil, p))
		data, err := ask(req)
		if err != nil {
			return nil, err
		}
		return sh.payload(data)
	}), end, nil
}
