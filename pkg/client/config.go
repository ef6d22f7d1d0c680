// SPDX-License-Identifier: MIT

package client

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
)

// A Carrier is a way to the peer.
type Carrier int

const (
	// Raw is the peer's own protocol, NETLINK_TEST. It is the least that a
	// message can carry: a header and bytes.
	Raw Carrier = iota
	// Generic is the generic netlink family nlpeer.
	Generic
	// UserSock is NETLINK_USERSOCK, the kernel's protocol for messages from
	// process to process: the peer is a process, which Config.To names, and
	// which sends back what it gets. It needs neither the module nor a
	// privilege. Only [Dial] has it; [Listen] is for the other side.
	UserSock
	// Connector is the peer's callback on the connector, NETLINK_CONNECTOR. It
	// has echo and events, no objects, and exists in the initial network
	// namespace only. It reports no errors: who is not understood gets no answer.
	// Listening needs CAP_NET_ADMIN.
	Connector
	// Rtnl is the peer's protocol family on rtnetlink, NETLINK_ROUTE. It has echo
	// and objects, no events.
	Rtnl
)

// carriers are all of them.
var carriers = []Carrier{Raw, Generic, Connector, Rtnl, UserSock}

// String returns the name that the commands use: "raw", "genl", "connector",
// "rtnl" or "usersock".
func (c Carrier) String() string {
	switch c {
	case Raw:
		return "raw"
	case Generic:
		return "genl"
	case UserSock:
		return "usersock"
	case Connector:
		return "connector"
	case Rtnl:
		return "rtnl"
	}
	return fmt.Sprintf("carrier %d", int(c))
}

// MarshalText returns the carrier's name. It fails for unknown carriers.
func (c Carrier) MarshalText() ([]byte, error) {
	if !slices.Contains(carriers, c) {
		return nil, fmt.Errorf("unknown %v", c)
	}
	return []byte(c.String()), nil
}

// UnmarshalText sets c from a name that String returns, so that a Carrier can
// be a flag (flag.TextVar) or a field of a configuration file.
func (c *Carrier) UnmarshalText(text []byte) error {
	for _, known := range carriers {
		if string(text) == known.String() {
			*c = known
			return nil
		}
	}
	return fmt.Errorf("unknown carrier %q: must be raw, genl, connector, rtnl or usersock", text)
}

// A Config says how to reach the peer. The zero value is ready to use: the raw
// protocol 31, a port ID that the kernel chooses, the namespace of the calling
// thread, no time limit. None of it needs a privilege except where a field says
// so.
type Config struct {
	// Carrier is the way to the peer.
	Carrier Carrier

	// Protocol is the number of the raw protocol, which is a parameter of the
	// module; 0 means [wire.NetlinkTest]. It is for [Raw] only.
	Protocol int

	// PortID is the socket's address, nl_pid in bind(2). 0 lets the kernel
	// choose, which is the process ID if that is free. A number in use on the
	// same protocol and namespace fails with EADDRINUSE.
	PortID uint32

	// To is the port ID of the peer, 0 if that is the kernel. On [Raw] another
	// process can be the peer: one that sends back what it gets, as "nlsub --via
	// raw --reply" does. Sending to processes needs CAP_NET_ADMIN in the user
	// namespace that owns the network namespace, unless the module was loaded
	// with user_send=1; without, Dial fails with [os.ErrPermission] (EPERM). On
	// [UserSock] it can not be 0, and needs no privilege. It is for [Dial] only.
	//
	// While a process is the peer, nobody else is believed, not even the kernel.
	// A peer that is not there, or is connected to another socket, makes calls
	// fail with ECONNREFUSED, and one whose receive buffer is full with EAGAIN.
	To uint32

	// Groups are the multicast groups to join, nl_groups in bind(2): bit n-1
	// stands for group n. 0 means group 1, the beacon's; group 2 has the events
	// of objects. It is for [Subscribe] on [Raw] only.
	Groups uint32

	// GroupNames are the multicast groups to join by name: [wire.McgrpBeacon],
	// [wire.McgrpObjects]. None means the former. It is for [Subscribe] on
	// [Generic] only. [Connector] has one group, and joins that.
	GroupNames []string

	// NetNS is an open file descriptor of a network namespace, such as
	// /run/netns/NAME, in which the socket is made; 0 means the namespace of
	// the calling thread. It is used during Dial or Subscribe and may be closed
	// afterwards. Needs CAP_SYS_ADMIN in that namespace's user namespace and
	// in the caller's (setns(2)).
	NetNS int

	// ReceiveBuffer is the size of the kernel's receive buffer in bytes, 0 the
	// system's default. Without CAP_NET_ADMIN the kernel cuts it off at
	// net.core.rmem_max; see SO_RCVBUF and SO_RCVBUFFORCE in socket(7).
	ReceiveBuffer int

	// AllNSID lets a subscription hear the events of all network namespaces
	// that have an ID in its own (NETLINK_LISTEN_ALL_NSID in netlink(7)). It is
	// for [Subscribe] only. Needs CAP_NET_BROADCAST in the namespace's user
	// namespace.
	//
	// An ID may come to mean another namespace when the one that had it is removed.
	// The events do not tell, and are numbered anew there, so that they may be
	// taken for those of the old one, with a number lost in between or none.
	AllNSID bool

	// NoResync leaves it at counting the events that a subscription misses,
	// where else it asks the peer for them; see [Subscription]. It is for
	// [Subscribe] only.
	NoResync bool

	// Since has the number of the event that was seen last in a group, for some
	// or all groups that are joined: a subscription that replaces an earlier one
	// first asks for what came after that, and so misses nothing. The number 0
	// stands for the time before the first event. Groups are the numbers of
	// [Event]. A peer that has not reached the number was loaded anew; then it is as
	// if the number were 0, as all that it has sent since is new. With NoResync, and
	// for what the peer's history no longer holds, it only makes the first event's
	// Lost right. It is for [Subscribe] only.
	Since map[uint32]uint64

	// Acknowledge asks for an acknowledgment of each request, also of those
	// that are answered anyway, and waits for both. It is for [Dial] only, and not
	// for [Connector], which has no acknowledgments.
	Acknowledge bool

	// Tap, if it is not nil, sees all that crosses: it is called with each
	// datagram before it is sent and after it was received, those of the second
	// socket that a Conn or Subscription may open too. What was received from
	// others than the peer is left out. The look-up of a generic netlink family
	// is made once more for it to see. Tap is called while the socket is locked,
	// so it must not call methods of the Conn or Subscription, and what it takes
	// counts as part of the call. Calls on several goroutines may call it at the
	// same time.
	Tap func(Crossing)

	// Timeout limits each call whose context has no deadline; 0 means no limit.
	// It does not limit how long a subscription waits for an event, but how long
	// it waits for those that it missed and asks for; there 0 means 5 seconds.
	Timeout time.Duration
}

// A Crossing is a datagram as it crosses a socket: one or more messages.
type Crossing struct {
	// Sent says that it went to the peer; else it came from there.
	Sent bool
	// Protocol is the netlink protocol of the socket.
	Protocol int
	// PortID is the address of the socket.
	PortID uint32
	// Data are its bytes. They are valid until Tap returns.
	Data []byte
	// Size is its length in bytes. It is more than that of Data if it did not fit
	// the receive buffer.
	Size int
}

// maxProtocol is the greatest netlink protocol number (MAX_LINKS - 1 in
// linux/netlink.h).
const maxProtocol = 31

// check refuses what can not be meant. The errors name the field.
func (cfg *Config) check(subscribe bool) error {
	switch {
	case !slices.Contains(carriers, cfg.Carrier):
		return configError(fmt.Sprintf("Config.Carrier: unknown %v", cfg.Carrier))
	case cfg.Protocol < 0 || cfg.Protocol > maxProtocol:
		return configError(fmt.Sprintf("Config.Protocol is %d, must be 0 to %d", cfg.Protocol, maxProtocol))
	case cfg.Protocol != 0 && cfg.Carrier != Raw:
		return configError("Config.Protocol is for the raw carrier; the others have a protocol of their own")
	case cfg.To != 0 && cfg.Carrier != Raw && cfg.Carrier != UserSock:
		return configError(fmt.Sprintf("Config.To is for the raw carrier and usersock; %v is the kernel's", cfg.Carrier))
	case cfg.To == 0 && cfg.Carrier == UserSock && !subscribe:
		return configError("Config.To is 0: on usersock there is no kernel, but a process to talk to")
	case cfg.To != 0 && cfg.Acknowledge:
		return configError("Config.Acknowledge is for the kernel; a process, which Config.To names, acknowledges nothing")
	case cfg.Acknowledge && cfg.Carrier == Connector:
		return configError("Config.Acknowledge is for other carriers; the connector acknowledges nothing")
	case cfg.NetNS < 0:
		return configError(fmt.Sprintf("Config.NetNS is %d, not a file descriptor", cfg.NetNS))
	case cfg.ReceiveBuffer < 0:
		return configError(fmt.Sprintf("Config.ReceiveBuffer is %d bytes", cfg.ReceiveBuffer))
	case cfg.Timeout < 0:
		return configError(fmt.Sprintf("Config.Timeout is %v", cfg.Timeout))
	}

	if !subscribe {
		switch {
		case cfg.Groups != 0 || len(cfg.GroupNames) != 0:
			return configError("a Conn joins no groups: use Subscribe for Config.Groups and Config.GroupNames")
		case cfg.AllNSID:
			return configError("a Conn receives no events: use Subscribe for Config.AllNSID")
		case cfg.NoResync || len(cfg.Since) != 0:
			return configError("a Conn misses no events: use Subscribe for Config.NoResync and Config.Since")
		}
		return nil
	}
	switch {
	case cfg.Carrier == UserSock:
		return configError("usersock has no events of the peer: use Listen")
	case cfg.Carrier == Rtnl:
		return configError("rtnetlink has no events of the peer: use another carrier")
	case cfg.To != 0:
		return configError("a Subscription hears the kernel: use Dial, or Listen, for Config.To")
	case cfg.Groups != 0 && cfg.Carrier != Raw:
		return configError("Config.Groups is for the raw carrier; generic netlink has Config.GroupNames, the connector one group")
	case len(cfg.GroupNames) != 0 && cfg.Carrier != Generic:
		return configError("Config.GroupNames is for generic netlink; the raw carrier has Config.Groups")
	case cfg.Acknowledge:
		return configError("a Subscription sends no requests: use Dial for Config.Acknowledge")
	}
	return cfg.checkSince()
}

// checkSince refuses groups that cfg does not join.
func (cfg *Config) checkSince() error {
	joined := cfg.groups()
	for g := range cfg.Since {
		if !slices.Contains(joined, g) {
			return configError(fmt.Sprintf("Config.Since names group %d, which is not joined", g))
		}
	}
	return nil
}

// groups are the groups that a subscription joins, those of the peer that have
// a number in [Event].
func (cfg *Config) groups() (joined []uint32) {
	switch cfg.Carrier {
	case Raw:
		mask := cfg.Groups
		if mask == 0 {
			mask = 1
		}
		for g := uint32(1); g <= 32; g++ {
			if mask&(1<<(g-1)) != 0 {
				joined = append(joined, g)
			}
		}
	case Generic:
		if len(cfg.GroupNames) == 0 || slices.Contains(cfg.GroupNames, wire.McgrpBeacon) {
			joined = append(joined, wire.GroupBeacon)
		}
		if slices.Contains(cfg.GroupNames, wire.McgrpObjects) {
			joined = append(joined, wire.GroupObjects)
		}
	case Connector:
		joined = append(joined, wire.GroupConnector)
	}
	return joined
}

// A target is whom a socket talks to.
type target struct {
	protocol int
	family   string // on generic netlink, else empty
	port     uint32 // 0 is the kernel
	anyone   bool   // nobody alone: everybody's messages are let in
	foreign  bool   // no protocol of the nlpeer module
	join     uint32 // a group to join by its number, where Config has none
	// probe is how a socket finds out that the peer is there, where neither its
	// protocol nor a family tells; nil where one does.
	probe func(fd int) error
}

func (cfg *Config) target() target {
	switch {
	case cfg.Carrier == Generic:
		return target{protocol: wire.NetlinkGeneric, family: wire.FamilyName}
	case cfg.Carrier == UserSock:
		return target{protocol: unix.NETLINK_USERSOCK, port: cfg.To, foreign: true}
	case cfg.Carrier == Connector:
		return target{protocol: wire.NetlinkConnector, probe: probeConnector}
	case cfg.Carrier == Rtnl:
		return target{protocol: wire.NetlinkRoute, probe: probeRtnl}
	case cfg.Protocol == 0:
		return target{protocol: wire.NetlinkTest, port: cfg.To}
	}
	return target{protocol: cfg.Protocol, port: cfg.To}
}
