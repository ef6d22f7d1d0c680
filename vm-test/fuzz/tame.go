// SPDX-License-Identifier: MIT

package fuzz

import (
	"slices"

	"nlpeer/pkg/wire"
)

// maxBurst bounds how many events a program may ask for at once, so that it
// comes to an end; numbers that are refused anyhow stay as they are.
const maxBurst = 32

// Walk calls f for each message of a datagram that the kernel looks at, with
// the bytes that it takes for it, the header first.
func Walk(b []byte, f func(message []byte)) {
	for len(b) >= headerLen {
		n := int(native.Uint32(b))
		if n < headerLen || n > len(b) {
			return
		}
		f(b[:n:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// Taken counts the messages of a tame datagram that the kernel looks at for the
// peer: the connector reads one of a datagram, the controller of generic netlink
// is not ours, and what is no request by its type the core of netlink keeps.
func Taken(b []byte, protocol int, family uint16) int {
	n := 0
	Walk(b, func(m []byte) {
		typ := native.Uint16(m[4:])
		if protocol != Genl && protocol != Route || protocol == Genl && typ == family || protocol == Route && typ >= ctrlID {
			n++
		}
	})
	if protocol == Connector {
		n = min(n, 1)
	}
	return n
}

// Tame changes what a datagram would do to others than the peer: other
// families of generic netlink and of rtnetlink, and other users of the
// connector. It also bounds bursts.
func Tame(b []byte, protocol int, family uint16) {
	switch protocol {
	case Genl:
		Walk(b, func(m []byte) { tameGenl(m, family) })
	case Route:
		Walk(b, tameRoute)
	case Connector:
		Walk(b, func(m []byte) {
			if len(m) >= headerLen+4 && native.Uint32(m[headerLen:]) < 2*wire.CnIdx {
				native.PutUint32(m[headerLen:], wire.CnIdx)
			}
		})
	}
}

func tameGenl(m []byte, family uint16) {
	typ := native.Uint16(m[4:])
	if typ > ctrlID && typ < 0x7f00 && typ != family {
		typ = family
		native.PutUint16(m[4:], typ)
	}
	body := m[headerLen:]
	if typ != family || len(body) < wire.GenlHeaderLen || body[0] != wire.CmdBeaconSet {
		return
	}
	for rest := body[wire.GenlHeaderLen:]; len(rest) >= attrLen; {
		n := int(native.Uint16(rest))
		if n < attrLen || n > len(rest) {
			return
		}
		if native.Uint16(rest[2:])&0x3fff == wire.AttrBeaconBurst && n >= attrLen+4 {
			if v := native.Uint32(rest[attrLen:]); v > maxBurst && v <= wire.BurstMax {
				native.PutUint32(rest[attrLen:], 1+v%maxBurst)
			}
		}
		rest = rest[min((n+3)&^3, len(rest)):]
	}
}

func tameRoute(m []byte) {
	typ := native.Uint16(m[4:])
	if typ < ctrlID {
		return
	}
	if typ < rtmNew || typ > rtmGet+1 {
		native.PutUint16(m[4:], rtmNew+typ%4)
	}
	if len(m) > headerLen {
		m[headerLen] = wire.RtnlFamily
	}
}

// known are the errors that requests may be answered by.
var known = []int{1, 2, 7, 11, 12, 16, 17, 22, 28, 34, 90, 95, 105, 111}

// Known says whether an answer may have the error number.
func Known(errno int) bool { return slices.Contains(known, errno) }
