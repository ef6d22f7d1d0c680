// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
)

// A witness is a table in the kernel that can be asked what flags do. It has
// objects, which have a number that is our choice, and values, of which we use
// 1 and 2.
type witness interface {
	// set is a request to make an object, with flags of NEW.
	set(number, value int, flags uint16) error
	// values are those that an object has, in their order; nil if there is no
	// such object.
	values(number int) ([]int, error)
	// del deletes it, if it is there.
	del(number int)
}

// neighbours is the table of neighbours: addresses of the network, and the
// hardware that has them. ip neigh shows it. Ours belong to the loopback device.
type neighbours struct{ *conn }

// header is a struct ndmsg of a permanent IPv6 neighbour of device 1.
func (neighbours) header() []byte {
	b := make([]byte, 12)
	b[0] = syscall.AF_INET6
	binary.NativeEndian.PutUint32(b[4:], 1)
	binary.NativeEndian.PutUint16(b[8:], 0x80) // NUD_PERMANENT
	return b
}

func (neighbours) address(number int) []byte {
	a := [16]byte{0: 0xfd, 14: byte(number >> 8), 15: byte(number)}
	return attr(1, a[:]) // NDA_DST
}

func (w neighbours) set(number, value int, flags uint16) error {
	hardware := attr(2, []byte{2, 0, 0, 0, 0, byte(value)}) // NDA_LLADDR
	_, err := w.ask(syscall.RTM_NEWNEIGH, flags|syscall.NLM_F_ACK, w.header(), w.address(number), hardware)
	return err
}

func (w neighbours) values(number int) ([]int, error) {
	h := w.header()
	clear(h[8:])
	body, err := w.ask(syscall.RTM_GETNEIGH, 0, h, w.address(number))
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	hardware := findAttr(body[min(12, len(body)):], 2)
	if len(hardware) != 6 {
		return nil, errors.New("a neighbour without hardware address")
	}
	return []int{int(hardware[5])}, nil
}

func (w neighbours) del(number int) {
	_, _ = w.ask(syscall.RTM_DELNEIGH, syscall.NLM_F_ACK, w.header(), w.address(number))
}

// links are network devices, of the kind "dummy". Their value is the MTU.
type links struct{ *conn }

func (links) name(number int) []byte {
	return attr(syscall.IFLA_IFNAME, fmt.Appendf(nil, "lab%d\x00", number))
}

func (w links) set(number, value int, flags uint16) error {
	kind := attr(syscall.IFLA_LINKINFO, attr(1, []byte("dummy\x00"))) // IFLA_INFO_KIND
	mtu := attr(syscall.IFLA_MTU, words(uint32(1300+value)))
	_, err := w.ask(syscall.RTM_NEWLINK, flags|syscall.NLM_F_ACK, make([]byte, 16), w.name(number), kind, mtu)
	return err
}

func (w links) values(number int) ([]int, error) {
	body, err := w.ask(syscall.RTM_GETLINK, 0, make([]byte, 16), w.name(number))
	if errors.Is(err, syscall.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mtu := findAttr(body[min(16, len(body)):], syscall.IFLA_MTU)
	if len(mtu) != 4 {
		return nil, errors.New("a link without MTU")
	}
	return []int{int(binary.NativeEndian.Uint32(mtu)) - 1300}, nil
}

func (w links) del(number int) {
	_, _ = w.ask(syscall.RTM_DELLINK, syscall.NLM_F_ACK, make([]byte, 16), w.name(number))
}

// The types of our own table's messages, as in kernel/table.c.
const (
	tableNew = syscall.NLMSG_MIN_TYPE + iota
	tableDel
	tableGet
)

// table is our own.
type table struct{ *conn }

func (w table) set(number, value int, flags uint16) error {
	_, err := w.ask(tableNew, flags|syscall.NLM_F_ACK, words(uint32(number), uint32(value)))
	return err
}

func (w table) values(number int) ([]int, error) {
	body, err := w.ask(tableGet, 0, words(uint32(number)))
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []int
	for b := body[4:]; len(b) >= 4; b = b[4:] {
		all = append(all, int(binary.NativeEndian.Uint32(b)))
	}
	return all, nil
}

func (w table) del(number int) {
	_, _ = w.ask(tableDel, syscall.NLM_F_ACK, words(uint32(number)))
}
