// SPDX-License-Identifier: MIT

// Package capture keeps netlink datagrams in files that Wireshark, tshark and
// tcpdump read, and reads such files.
//
// They are recorded by who sends and receives them, see client.Config.Tap. An
// nlmon device, which is the usual way, does not see NETLINK_TEST
// (netlink_filter_tap in net/netlink/af_netlink.c).
//
// The form is pcapng with link type LINKTYPE_NETLINK: 16 bytes with the protocol
// stand before each datagram (https://www.tcpdump.org/linktypes.html).
package capture

import (
	"time"

	"nlpeer/pkg/explain"
)

// A Packet is one datagram of a capture.
type Packet struct {
	explain.Datagram
	// Time is when it was seen.
	Time time.Time
	// PortID is the address of the socket that it was seen on. It is written, but
	// not read.
	PortID uint32
	// Size is the datagram's length in bytes; its Data are shorter if not all of
	// it was kept. 0 stands for their length.
	Size int
}

// Link types of files (LINKTYPE_* of libpcap).
const (
	linkCooked  = 113 // of older libpcap
	linkNetlink = 253
)

// The header before each datagram, in network byte order: the packet type, the
// type of the device, an address of up to 8 bytes, of which netlink has none, and
// the protocol.
const (
	cookedLen     = 16
	hardware      = 824 // ARPHRD_NETLINK in linux/if_arp.h
	packetToUser  = 6   // PACKET_USER in linux/if_packet.h
	packetToKern  = 7   // PACKET_KERNEL
	readerBufSize = 64 << 10
)
