// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A user is the source of what other processes send, on NETLINK_USERSOCK, or on
// the raw protocol if we are to reply there.
type user struct {
	raw    bool
	mask   uint32
	reply  bool
	number int // of the protocol
}

func (u *user) name() string {
	if u.raw {
		return client.Raw.String()
	}
	return client.UserSock.String()
}

func (u *user) takes() []string {
	if u.raw {
		return []string{"mask", "all-nsid", "reply", "protocol"}
	}
	return []string{"mask", "all-nsid", "reply"}
}

func (u *user) groups() []string { return nil }

func (u *user) choose(o *options, given func(flag string) bool) (err error) {
	u.reply, u.number = o.reply, unix.NETLINK_USERSOCK
	if u.raw {
		u.number = wire.NetlinkTest
		if o.target.Protocol != 0 {
			u.number = o.target.Protocol
		}
	}
	switch {
	case given("groups") && given("mask"):
		return errBothGroups
	case given("mask"):
		u.mask = o.mask
	case given("groups"):
		if u.mask, err = cli.ParseGroups(o.list); err != nil {
			return cli.Usagef("-g: %w", err)
		}
	}
	return nil
}

func (u *user) open(ctx context.Context, o *options, cfg client.Config) (stream, error) {
	l, err := o.listen(ctx, client.ListenConfig{
		Protocol: u.number, PortID: cfg.PortID, Groups: cli.Groups(u.mask),
		NetNS: cfg.NetNS, ReceiveBuffer: cfg.ReceiveBuffer, AllNSID: o.allNSID, Tap: cfg.Tap,
	})
	if err != nil {
		return nil, err
	}
	name := func(group uint32) string {
		if group == 0 {
			return "none"
		}
		return ""
	}
	return &userStream{l, u, newCensus(name, append([]uint32{0}, cli.Groups(u.mask)...)...)}, nil
}

func (u *user) explain(o *options, err error) error {
	var op *client.OpError
	switch {
	case errors.Is(err, syscall.EPROTONOSUPPORT) && u.raw:
		err = fmt.Errorf("%w (protocol %d)", client.ErrNotLoaded, u.number)
	case errors.As(err, &op) && op.Op == "listen" && errors.Is(err, os.ErrPermission) && u.mask != 0 && o.target.NetNS == "":
		return fmt.Errorf("joining groups with --via %s needs CAP_NET_ADMIN in this network namespace; try with sudo", u.name())
	}
	return o.target.Explain(err)
}

// A listener is what is needed of a client.Listener.
type listener interface {
	Datagrams(ctx context.Context) iter.Seq2[client.Datagram, error]
	Send(port uint32, b []byte) error
	PortID() uint32
	Stats() client.ListenerStats
	Close() error
}

type userStream struct {
	listener
	*user
	*census
}

func (s *userStream) totals() totals { return s.census.totals(s.Stats()) }

func (s *userStream) lines(ctx context.Context) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		for d, err := range s.Datagrams(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			// Whoever asks waits, so the answer goes first.
			asks := s.reply && d.Group == 0 && d.From != 0 && d.NSID == client.OwnNSID
			if asks {
				err = s.answer(&d)
			}
			for m, merr := range wire.Messages(d.Data) {
				if merr != nil {
					merr = fmt.Errorf("from port ID %s: %w; the datagram has %d bytes: %s", portID(d.From), merr, len(d.Data), cli.Printable(d.Data))
					if !yield(nil, merr) {
						return
					}
					break
				}
				s.at(d.Group, d.NSID).received++
				if !yield(&userMessage{&d, m, asks && err == nil && request(m)}, nil) {
					return
				}
			}
			if err != nil && !yield(nil, fmt.Errorf("%w to port ID %s: %w", errNoAnswer, portID(d.From), err)) {
				return
			}
		}
	}
}

// errNoAnswer says that a sender has no answer. All goes on after it.
var errNoAnswer = errors.New("no answer")

// request says that a message is to be answered: by the kernel's rule, and so
// that no answer is answered.
func request(m wire.Message) bool { return m.Flags&wire.FlagRequest != 0 && m.Type >= wire.MsgMin }

// answer sends the requests of a datagram back to their sender, as the module
// does: same type, number and bytes.
func (s *userStream) answer(d *client.Datagram) error {
	var b []byte
	for m, err := range wire.Messages(d.Data) {
		if err != nil {
			break
		}
		if request(m) {
			b = wire.AppendMessage(b, wire.Header{Type: m.Type, Seq: m.Seq, PortID: d.From}, m.Body)
		}
	}
	if b == nil {
		return nil
	}
	err := s.Send(d.From, b)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return errors.New("its receive buffer is full")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("it is gone, or connected to another socket")
	case errors.Is(err, os.ErrPermission):
		return errors.New("sending to processes needs CAP_NET_ADMIN, or the module loaded with user_send=1")
	}
	return err
}

// portID writes a port ID. Those that the kernel makes up are small negative
// numbers to it.
func portID(port uint32) string {
	if int32(port) < 0 {
		return fmt.Sprintf("%d (%d)", port, int32(port))
	}
	return fmt.Sprint(port)
}

// hello tells where we listen, as others have to know.
func (s *userStream) hello() line { return userHello{s.PortID(), s.number, s.mask} }

type userHello struct {
	port     uint32
	protocol int
	mask     uint32
}

type helloJSON struct {
	Type     string   `json:"type"`
	Protocol int      `json:"protocol"`
	Port     uint32   `json:"port"`
	Groups   []uint32 `json:"groups"`
	Unix     int64    `json:"unix_ns"`
}

func (h userHello) json(now time.Time) any {
	return helloJSON{"listening", h.protocol, h.port, cli.Groups(h.mask), now.UnixNano()}
}

func (h userHello) appendText(b []byte) []byte {
	return fmt.Appendf(b, "listening on port ID %s, groups: %s", portID(h.port), cli.GroupList(h.mask))
}

// A userMessage is a message of a process.
type userMessage struct {
	*client.Datagram
	wire.Message
	answered bool
}

// messageJSON is promised in the help.
type messageJSON struct {
	Type     string `json:"type"`
	From     uint32 `json:"from"`
	Group    uint32 `json:"group"`
	PID      int32  `json:"pid"`
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	MsgType  uint16 `json:"msg_type"`
	Flags    uint16 `json:"msg_flags"`
	Seq      uint32 `json:"seq"`
	Port     uint32 `json:"msg_port"`
	Answered bool   `json:"answered"`
	Unix     int64  `json:"unix_ns"`
	Bytes    int    `json:"bytes"`
	Data     []byte `json:"data"`
	NSID     *int32 `json:"nsid,omitempty"`
}

func (m *userMessage) json(now time.Time) any {
	return messageJSON{
		Type: "message", From: m.From, Group: m.Group, PID: m.Sender.PID, UID: m.Sender.UID, GID: m.Sender.GID,
		MsgType: m.Type, Flags: m.Flags, Seq: m.Seq, Port: m.PortID, Answered: m.answered,
		Unix: now.UnixNano(), Bytes: len(m.Body), Data: notNull(m.Body), NSID: nsid(m.NSID),
	}
}

func (m *userMessage) appendText(b []byte) []byte {
	b = fmt.Appendf(b, "from=%d", m.From)
	if m.Group != 0 {
		b = fmt.Appendf(b, " group=%d", m.Group)
	}
	b = fmt.Appendf(b, " pid=%d uid=%d gid=%d type=%d flags=%s seq=%d port=%d bytes=%d",
		m.Sender.PID, m.Sender.UID, m.Sender.GID, m.Type, flagNames(m.Flags), m.Seq, m.PortID, len(m.Body))
	b = appendNSID(b, m.NSID)
	if len(m.Body) > 0 {
		b = fmt.Appendf(b, " %s", cli.Printable(m.Body))
	}
	if m.answered {
		b = append(b, " answered"...)
	}
	return b
}

// flagNames writes flags by name as far as every message may have them.
func flagNames(flags uint16) string {
	var names []string
	for _, f := range []struct {
		bit  uint16
		name string
	}{{wire.FlagRequest, "request"}, {wire.FlagMulti, "multi"}, {wire.FlagAck, "ack"}, {wire.FlagEcho, "echo"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
			flags &^= f.bit
		}
	}
	if flags != 0 || len(names) == 0 {
		names = append(names, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(names, ",")
}
