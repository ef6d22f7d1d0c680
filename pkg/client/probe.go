// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// The connector and rtnetlink are there with the peer or without it, so nothing
// but an answer tells. It is there when the request has been sent.

// errSilent is no answer, which is all that the connector has to say about what
// it does not know.
var errSilent = errors.New("there is no answer")

// probeConnector sends an empty echo over the connector.
func probeConnector(fd int) error {
	h := wire.ConnectorHeader{Idx: wire.CnIdx, Val: wire.CnVal, Seq: rand.Uint32(), Ack: rand.Uint32()}
	b := wire.AppendMessage(nil, wire.Header{Type: wire.MsgDone, Seq: h.Seq}, wire.AppendConnectorHeader(nil, h))
	return probe(fd, b, func(m wire.Message) (bool, error) {
		got, _, err := wire.ParseConnector(m.Body)
		return err == nil && got == h, nil
	})
}

// probeRtnl sends an empty echo over rtnetlink.
func probeRtnl(fd int) error {
	h := wire.Header{Type: wire.RtnlGet, Flags: wire.FlagRequest, Seq: rand.Uint32()}
	body := wire.AppendRtnlHeader(nil, wire.RtnlFamily)
	body = wire.AppendAttr(body, wire.AttrObjectPayload, nil)
	return probe(fd, wire.AppendMessage(nil, h, body), func(m wire.Message) (bool, error) {
		if m.Seq != h.Seq {
			return false, nil
		}
		if m.Type == wire.MsgError {
			a, err := wire.ParseAck(m)
			if err == nil {
				err = a.Errno
			}
			return true, err
		}
		return true, nil
	})
}

// probe sends a request and looks for its answer among what is there after that.
func probe(fd int, request []byte, answers func(wire.Message) (bool, error)) error {
	s := socket{fd: fd}
	if err := s.send(request, false); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, errno := recv(fd, buf, true)
		switch errno {
		case 0:
			for m, err := range wire.Messages(buf[:min(n, len(buf))]) {
				if err != nil {
					break
				}
				if ok, err := answers(m); ok {
					return err
				}
			}
		case unix.EINTR, unix.ENOBUFS:
		case unix.EAGAIN:
			return errSilent
		default:
			return os.NewSyscallError("recvfrom", errno)
		}
	}
}

// explainProbe says what the error of a probe means.
func explainProbe(ctx context.Context, cfg *Config, cause error) error {
	evidence := fmt.Sprintf("nobody answers on the connector to index %d, value %d", wire.CnIdx, wire.CnVal)
	switch {
	case cfg.Carrier == Connector && errors.Is(cause, syscall.ECONNREFUSED):
		return &noCarrierError{"this network namespace has no connector; only the initial one has", cause}
	case cfg.Carrier == Connector && cause == errSilent:
	case cfg.Carrier == Rtnl && errors.Is(cause, syscall.EOPNOTSUPP):
		evidence = fmt.Sprintf("rtnetlink has no protocol family %d", wire.RtnlFamily)
	default:
		return cause
	}

	// Either the module is not there, or it was told to do without.
	other := Config{Carrier: Generic, NetNS: cfg.NetNS}
	c, err := dial(ctx, other, other.target())
	switch {
	case err == nil:
		_ = c.Close()
		return &noCarrierError{fmt.Sprintf("the nlpeer module was loaded with %v=0", cfg.Carrier), cause}
	case errors.Is(err, ErrNotLoaded):
		return &notLoadedError{evidence, cause}
	}
	return err
}
