// SPDX-License-Identifier: MIT

package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
)

// Groups of NETLINK_KOBJECT_UEVENT.
const (
	UeventKernel = 1 // what the kernel sends
	UeventUdev   = 2 // what udev made of it
)

// A Uevent is what the kernel, or udev, says about a device, a driver, or a
// module.
type Uevent struct {
	// Group is UeventKernel or UeventUdev.
	Group uint32
	// Action is what happened: "add", "remove", "change", "move", "online",
	// "offline", "bind", "unbind".
	Action string
	// Path is its folder below /sys.
	Path string
	// Subsystem is what kind of thing it is; "" if it does not say.
	Subsystem string
	// Seq is its number, 0 if it does not say. There are gaps: others may not be
	// meant for this network namespace.
	Seq uint64
	// Env is all that is said, as KEY=VALUE, in its order.
	Env []string
}

// ErrUevent says that a datagram is neither a message of the kernel's nor one of
// udev's.
var ErrUevent = errors.New("datagram is no uevent")

// A UeventListener hears uevents. [ListenUevent] makes one.
type UeventListener struct{ *client.Listener }

// ListenUevent begins to listen to the groups in cfg, UeventKernel if there are
// none. It needs no privilege. Nobody but the kernel is believed in
// UeventKernel, and nobody but root in UeventUdev.
//
// The kernel sends what concerns a network device to its network namespace, and
// all else to those that belong to the initial user namespace. It does not
// multicast to namespaces of others, so there is nothing to hear.
func ListenUevent(ctx context.Context, cfg client.ListenConfig) (*UeventListener, error) {
	cfg.Protocol = unix.NETLINK_KOBJECT_UEVENT
	if len(cfg.Groups) == 0 {
		cfg.Groups = []uint32{UeventKernel}
	}
	cfg.KernelOnly = !slices.Contains(cfg.Groups, UeventUdev)
	l, err := client.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &UeventListener{l}, nil
}

// Events ranges over the events, as [client.Listener.Datagrams] does over
// datagrams. It goes on after an error about an event that makes no sense.
func (l *UeventListener) Events(ctx context.Context) iter.Seq2[Uevent, error] {
	return func(yield func(Uevent, error) bool) {
		for d, err := range l.Datagrams(ctx) {
			if err != nil {
				if !yield(Uevent{}, err) {
					return
				}
				continue
			}
			believed := d.Group == UeventKernel && d.From == 0 || d.Group == UeventUdev && d.From != 0 && d.Sender.UID == 0
			if !believed {
				continue
			}
			e, err := ParseUevent(d.Data)
			e.Group = d.Group
			if err != nil {
				e, err = Uevent{}, &client.OpError{Op: "receive", Err: err}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// What udev puts before the properties (struct monitor_netlink_header in
// systemd's device-monitor.c): a word, a number in network order, and where the
// properties are.
const (
	udevPrefix  = "libudev\x00"
	udevMagic   = 0xfeedcafe
	udevHeadLen = 40
)

// ParseUevent decodes a datagram. It has no netlink header: it is "ACTION@PATH"
// and then texts KEY=VALUE, each with a NUL at its end, or udev's form of it.
// Group is left 0. It returns [ErrUevent].
func ParseUevent(b []byte) (Uevent, error) {
	var e Uevent
	if bytes.HasPrefix(b, []byte(udevPrefix)) {
		if len(b) < udevHeadLen || binary.BigEndian.Uint32(b[8:]) != udevMagic {
			return Uevent{}, ErrUevent
		}
		offset, length := uint64(binary.NativeEndian.Uint32(b[16:])), uint64(binary.NativeEndian.Uint32(b[20:]))
		if offset < udevHeadLen || offset+length > uint64(len(b)) {
			return Uevent{}, ErrUevent
		}
		b = b[offset : offset+length]
	} else {
		head, rest, ok := bytes.Cut(b, []byte{0})
		action, path, at := strings.Cut(string(head), "@")
		if !ok || !at || action == "" {
			return Uevent{}, ErrUevent
		}
		e.Action, e.Path = action, path
		b = rest
	}
	for len(b) > 0 {
		text, rest, ok := bytes.Cut(b, []byte{0})
		key, value, is := strings.Cut(string(text), "=")
		if !ok || !is || key == "" {
			return Uevent{}, ErrUevent
		}
		switch key {
		case "ACTION":
			e.Action = value
		case "DEVPATH":
			e.Path = value
		case "SUBSYSTEM":
			e.Subsystem = value
		case "SEQNUM":
			e.Seq, _ = strconv.ParseUint(value, 10, 64)
		}
		e.Env = append(e.Env, string(text))
		b = rest
	}
	if e.Action == "" || e.Path == "" {
		return Uevent{}, ErrUevent
	}
	return e, nil
}
