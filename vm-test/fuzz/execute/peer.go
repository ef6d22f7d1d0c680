// SPDX-License-Identifier: MIT

package execute

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A peer is the module in one namespace, as a well-behaved program sees it.
type peer struct {
	raw, genl *conn
	family    uint16
}

// A conn is a socket of a well-behaved program.
type conn struct {
	fd     int
	portID uint32
	seq    uint32
	buf    []byte
}

func newConn(protocol int) (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("socket of protocol %d: %w", protocol, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	wait := unix.NsecToTimeval(int64(patience()))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return nil, err
	}
	return &conn{fd: fd, portID: sa.(*unix.SockaddrNetlink).Pid, buf: make([]byte, maxDatagram)}, nil
}

// patience is how long a good answer may take; NLVM_SLOW multiplies it.
func patience() time.Duration {
	d := 20 * time.Second
	if f, err := strconv.ParseFloat(os.Getenv("NLVM_SLOW"), 64); err == nil && f > 0 {
		d = time.Duration(f * float64(d))
	}
	return d
}

// ask sends a request and returns the answer's body, without those who come
// from elsewhere; errno is that of an acknowledgment.
func (c *conn) ask(typ, flags uint16, body []byte) ([]byte, error) {
	c.seq++
	b := wire.AppendMessage(nil, wire.Header{Type: typ, Flags: flags | unix.NLM_F_REQUEST, Seq: c.seq}, body)
	if err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("receive: %w", err)
		}
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // a program guessed the port ID
		}
		m, rest, err := wire.NextMessage(c.buf[:n])
		if err != nil || len(rest) > 0 || m.Seq != c.seq || m.PortID != c.portID {
			return nil, fmt.Errorf("answer %+v, %d bytes behind it, %v", m.Header, len(rest), err)
		}
		if m.Type != unix.NLMSG_ERROR {
			return m.Body, nil
		}
		if errno := -int32(native.Uint32(m.Body)); errno != 0 {
			return nil, unix.Errno(errno)
		}
		return nil, nil
	}
}

func (c *conn) command(family uint16, cmd uint8, flags uint16, attrs []byte) ([]byte, error) {
	return c.ask(family, flags, append([]byte{cmd, wire.FamilyVersion, 0, 0}, attrs...))
}

func newPeer() (*peer, error) {
	p := new(peer)
	var err error
	if p.raw, err = newConn(wire.NetlinkTest); err != nil {
		return nil, err
	}
	if p.genl, err = newConn(wire.NetlinkGeneric); err != nil {
		return nil, err
	}
	// CTRL_CMD_GETFAMILY by CTRL_ATTR_FAMILY_NAME; CTRL_ATTR_FAMILY_ID comes back.
	body, err := p.genl.command(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 0, wire.AppendAttr(nil, unix.CTRL_ATTR_FAMILY_NAME, append([]byte(wire.FamilyName), 0)))
	if err != nil {
		return nil, fmt.Errorf("family %s: %w", wire.FamilyName, err)
	}
	for rest := body[min(len(body), wire.GenlHeaderLen):]; len(rest) > 0; {
		a, next, err := wire.NextAttr(rest)
		if err != nil {
			return nil, err
		}
		if a.Type == unix.CTRL_ATTR_FAMILY_ID {
			p.family, err = a.Uint16()
			return p, err
		}
		rest = next
	}
	return nil, errors.New("the controller names no number of the family")
}

// clean empties the table, stops the beacon and checks that good requests are
// answered well; thorough looks at the bounds too.
func (p *peer) clean(thorough bool) error {
	if _, err := p.genl.command(p.family, wire.CmdObjectDel, unix.NLM_F_ACK, wire.AppendAttr(nil, wire.AttrObjectPrefix, []byte{0})); err != nil {
		return fmt.Errorf("deleting all objects: %w", err)
	}
	var set []byte
	for _, a := range []uint16{wire.AttrBeaconInterval, wire.AttrBeaconGroups, wire.AttrBeaconGenl, wire.AttrBeaconSize, wire.AttrBeaconConnector, wire.AttrBeaconPacked} {
		set = wire.AppendUint32(set, a, 0)
	}
	if _, err := p.genl.command(p.family, wire.CmdBeaconSet, unix.NLM_F_ACK, set); err != nil {
		return fmt.Errorf("stopping the beacon: %w", err)
	}
	payload := []byte(fmt.Sprintf("good request %d", p.raw.seq))
	got, err := p.raw.ask(wire.MsgEcho, 0, payload)
	if err != nil || !bytes.Equal(got, payload) {
		return fmt.Errorf("a raw echo of %q is %q, %v", payload, got, err)
	}
	if !thorough {
		return nil // the two requests before were generic
	}
	want := wire.AppendAttr([]byte{wire.CmdEcho, wire.FamilyVersion, 0, 0}, wire.AttrEchoPayload, payload)
	got, err = p.genl.command(p.family, wire.CmdEcho, 0, want[wire.GenlHeaderLen:])
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("a generic echo of % x is % x, %v", want, got, err)
	}
	return p.bounds()
}

// bounds waits until nothing is left of what programs did, as the statistics
// tell it, and checks the limits that they name.
func (p *peer) bounds() error {
	end := time.Now().Add(patience())
	for {
		body, err := p.genl.command(p.family, wire.CmdStatsGet, 0, nil)
		if err != nil {
			return fmt.Errorf("statistics: %w", err)
		}
		left, err := p.left(body)
		if err != nil || left == "" {
			return err
		}
		if time.Now().After(end) {
			return errors.New(left)
		}
		time.Sleep(time.Millisecond)
	}
}

func (p *peer) left(body []byte) (string, error) {
	value := map[[2]uint16]uint64{}
	for a := range attrs(body[min(len(body), wire.GenlHeaderLen):]) {
		for b := range attrs(a.Data) {
			switch len(b.Data) {
			case 4:
				value[[2]uint16{a.Type, b.Type}] = uint64(native.Uint32(b.Data))
			case 8:
				value[[2]uint16{a.Type, b.Type}] = native.Uint64(b.Data)
			}
		}
	}
	objects := func(n uint16) uint64 { return value[[2]uint16{wire.AttrStatsObjects, n}] }
	history := func(n uint16) uint64 { return value[[2]uint16{wire.AttrStatsHistory, n}] }
	switch {
	case objects(wire.AttrObjectStatsCountMax) == 0 || history(wire.AttrHistoryStatsSize) == 0:
		return "", fmt.Errorf("statistics without bounds: %v", value)
	case history(wire.AttrHistoryStatsHeld) > history(wire.AttrHistoryStatsSize), history(wire.AttrHistoryStatsBytes) > history(wire.AttrHistoryStatsBytesMax):
		return "", fmt.Errorf("the history is above its bounds: %v", value)
	case objects(wire.AttrObjectStatsCount) != 0 || objects(wire.AttrObjectStatsBytes) != 0:
		return "", fmt.Errorf("%d objects of %d bytes are left", objects(wire.AttrObjectStatsCount), objects(wire.AttrObjectStatsBytes))
	case objects(wire.AttrObjectStatsSnapshots) != 0: // a closed socket's dump may still be on its way out
		return fmt.Sprintf("%d atomic dumps are left", objects(wire.AttrObjectStatsSnapshots)), nil
	}
	return "", nil
}

// attrs iterates over attributes up to the first that is wrong.
func attrs(b []byte) func(func(wire.Attr) bool) {
	return func(yield func(wire.Attr) bool) {
		for len(b) > 0 {
			a, next, err := wire.NextAttr(b)
			if err != nil || !yield(a) {
				return
			}
			b = next
		}
	}
}
