// SPDX-License-Identifier: MIT

// Command user makes links of kind lab, lists all links, and tells when one
// changes.
//
//	user add NAME MARK
//	user list
//	user monitor COUNT
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// What package syscall does not name.
const (
	solNetlink     = 270 // SOL_NETLINK
	extAck         = 11  // NETLINK_EXT_ACK: errors bring their reasons
	iflaInfoKind   = 1   // these are inside of IFLA_LINKINFO
	iflaInfoData   = 2
	labMark        = 1 // this one is inside of IFLA_INFO_DATA, when the kind is lab
	groupLink      = 1 // RTNLGRP_LINK
	flagNested     = 1 << 15
	sizeofIfInfo   = syscall.SizeofIfInfomsg
	sizeofNlMsghdr = syscall.SizeofNlMsghdr
)

var native = binary.NativeEndian

func main() {
	fd, err := dial()
	if err != nil {
		fail("a netlink socket: %v", err)
	}
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "add":
		add(fd, args[1], number(args[2]))
	case len(args) == 1 && args[0] == "list":
		list(fd)
	case len(args) == 2 && args[0] == "monitor":
		monitor(fd, int(number(args[1])))
	default:
		fmt.Fprintln(os.Stderr, "usage: user add NAME MARK | user list | user monitor COUNT")
		os.Exit(2)
	}
}

// add makes a link of kind lab.
func add(fd int, name string, mark uint32) {
	//> todo 4
	//| // TODO(4): a request RTM_NEWLINK that makes a new link, and wants to hear
	//| // how it went. Its body is a struct ifinfomsg of zeroes and attributes:
	//| // the name; and IFLA_LINKINFO, in which is the kind, and in IFLA_INFO_DATA
	//| // the mark. attr() and nest() below help.
	//| var request []byte
	//> solved
	body := make([]byte, sizeofIfInfo)
	body = append(body, attr(syscall.IFLA_IFNAME, []byte(name+"\x00"))...)
	body = append(body, nest(syscall.IFLA_LINKINFO,
		attr(iflaInfoKind, []byte("lab\x00")),
		nest(iflaInfoData, attr(labMark, native.AppendUint32(nil, mark))))...)
	request := message(syscall.RTM_NEWLINK,
		syscall.NLM_F_REQUEST|syscall.NLM_F_ACK|syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, body)
	//> mistake no-create
	//| body := make([]byte, sizeofIfInfo)
	//| body = append(body, attr(syscall.IFLA_IFNAME, []byte(name+"\x00"))...)
	//| body = append(body, nest(syscall.IFLA_LINKINFO,
	//| 	attr(iflaInfoKind, []byte("lab\x00")),
	//| 	nest(iflaInfoData, attr(labMark, native.AppendUint32(nil, mark))))...)
	//| request := message(syscall.RTM_NEWLINK, syscall.NLM_F_REQUEST|syscall.NLM_F_ACK, body)
	//> mistake flat
	//| body := make([]byte, sizeofIfInfo)
	//| body = append(body, attr(syscall.IFLA_IFNAME, []byte(name+"\x00"))...)
	//| body = append(body, attr(iflaInfoKind, []byte("lab\x00"))...)
	//| body = append(body, nest(iflaInfoData, attr(labMark, native.AppendUint32(nil, mark)))...)
	//| request := message(syscall.RTM_NEWLINK,
	//| 	syscall.NLM_F_REQUEST|syscall.NLM_F_ACK|syscall.NLM_F_CREATE|syscall.NLM_F_EXCL, body)
	//> end
	if len(request) == 0 {
		fail("there is no request yet")
	}
	send(fd, request)
	if err := reason(receive(fd)[0]); err != nil {
		fail("%s is refused: %v", name, err)
	}
	fmt.Printf("%s is made\n", name)
}

// list prints all links.
func list(fd int) {
	send(fd, message(syscall.RTM_GETLINK, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP, make([]byte, sizeofIfInfo)))
	//> todo 5
	//| // TODO(5): print describe(m) for each link that comes, a line each, until
	//| // the message that ends the list: ended(m) says whether it is complete. If
	//| // the list is refused, reason(m) of an NLMSG_ERROR says why.
	//> solved
	for {
		for _, m := range receive(fd) {
			switch m.Header.Type {
			case syscall.RTM_NEWLINK:
				fmt.Println(describe(m))
			case syscall.NLMSG_DONE:
				if err := ended(m); err != nil {
					fail("the list is not complete: %v", err)
				}
				return
			case syscall.NLMSG_ERROR:
				fail("the list is refused: %v", reason(m))
			}
		}
	}
	//> mistake first-datagram
	//| for _, m := range receive(fd) {
	//| 	if m.Header.Type == syscall.RTM_NEWLINK {
	//| 		fmt.Println(describe(m))
	//| 	}
	//| }
	//> mistake waits-on
	//| for {
	//| 	for _, m := range receive(fd) {
	//| 		if m.Header.Type == syscall.RTM_NEWLINK {
	//| 			fmt.Println(describe(m))
	//| 		}
	//| 	}
	//| }
	//> end
}

// monitor prints what happens to links, until it has printed count lines.
func monitor(fd, count int) {
	//> todo 6
	//| // TODO(6): join the group of link notifications. A link that is new or has
	//| // changed is printed as "new", one that is gone as "gone":
	//| //
	//| //	new 4: lab0 mtu 1500 mark 7
	//| //	gone 4: lab0 mtu 1500 mark 7
	//> solved
	if err := syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, groupLink); err != nil {
		fail("joining the group of links: %v", err)
	}
	for n := 0; n < count; {
		for _, m := range receive(fd) {
			switch m.Header.Type {
			case syscall.RTM_NEWLINK:
				fmt.Println("new", describe(m))
			case syscall.RTM_DELLINK:
				fmt.Println("gone", describe(m))
			default:
				continue
			}
			n++
		}
	}
	//> mistake all-new
	//| if err := syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, groupLink); err != nil {
	//| 	fail("joining the group of links: %v", err)
	//| }
	//| for n := 0; n < count; {
	//| 	for _, m := range receive(fd) {
	//| 		fmt.Println("new", describe(m))
	//| 		n++
	//| 	}
	//| }
	//> end
}

// describe puts a link into words: "4: lab0 mtu 1500 mark 7".
func describe(m syscall.NetlinkMessage) string {
	index := native.Uint32(m.Data[4:])
	all := attributes(m.Data[sizeofIfInfo:])
	text := fmt.Sprintf("%d: %s mtu %d", index, str(all[syscall.IFLA_IFNAME]), u32(all[syscall.IFLA_MTU]))
	info := attributes(all[syscall.IFLA_LINKINFO])
	if str(info[iflaInfoKind]) != "lab" {
		return text
	}
	if mark, ok := attributes(info[iflaInfoData])[labMark]; ok {
		text += fmt.Sprintf(" mark %d", u32(mark))
	}
	return text
}

// attr makes an attribute: its length, its type, its value, zeroes up to the
// next multiple of four.
func attr(typ uint16, value []byte) []byte {
	b := native.AppendUint16(nil, uint16(4+len(value)))
	b = native.AppendUint16(b, typ)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// nest makes an attribute whose value is attributes.
func nest(typ uint16, parts ...[]byte) []byte {
	var value []byte
	for _, p := range parts {
		value = append(value, p...)
	}
	return attr(typ|flagNested, value)
}

// attributes takes attributes apart. The flag of a nest is not in the type.
func attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		all[native.Uint16(b[2:])&^flagNested] = b[4:n]
		b = b[min((n+3)&^3, len(b)):]
	}
	return all
}

func u32(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return native.Uint32(b)
}

// str is a string without the zero byte at its end.
func str(b []byte) string {
	if n := len(b); n > 0 && b[n-1] == 0 {
		b = b[:n-1]
	}
	return string(b)
}

// message puts the header in front of a body.
func message(typ, flags uint16, body []byte) []byte {
	b := native.AppendUint32(nil, uint32(sizeofNlMsghdr+len(body)))
	b = native.AppendUint16(b, typ)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, 1) // the sequence number, which answers repeat
	b = native.AppendUint32(b, 0) // the port ID, which the kernel knows
	return append(b, body...)
}

// reason takes an acknowledgment apart: nil if it is one, else what is wrong,
// in the kernel's own words if there are any.
func reason(m syscall.NetlinkMessage) error {
	if m.Header.Type != syscall.NLMSG_ERROR {
		return fmt.Errorf("an answer of type %d", m.Header.Type)
	}
	errno := syscall.Errno(-int32(native.Uint32(m.Data)))
	if errno == 0 {
		return nil
	}
	words := errno.Error()
	const acked, capped, tlvs = 4, 0x100, 0x200
	if m.Header.Flags&tlvs == 0 {
		return fmt.Errorf("%s", words)
	}
	request := m.Data[acked:]
	n := sizeofNlMsghdr
	if m.Header.Flags&capped == 0 {
		n = (int(native.Uint32(request)) + 3) &^ 3
	}
	why := attributes(request[n:])
	if text, ok := why[1]; ok { // NLMSGERR_ATTR_MSG
		words += ": " + str(text)
	}
	if at, ok := why[2]; ok { // NLMSGERR_ATTR_OFFS
		words += fmt.Sprintf(" (the attribute at byte %d)", u32(at))
	}
	return fmt.Errorf("%s", words)
}

// ended takes the end of a list apart: nil if the list is complete, else the
// errno by which it ended half-way.
func ended(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return fmt.Errorf("an end of %d bytes", len(m.Data))
	}
	if errno := syscall.Errno(-int32(native.Uint32(m.Data))); errno != 0 {
		return errno
	}
	return nil
}

func dial() (int, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return -1, err
	}
	return fd, syscall.SetsockoptInt(fd, solNetlink, extAck, 1)
}

func send(fd int, request []byte) {
	if err := syscall.Sendto(fd, request, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		fail("sending: %v", err)
	}
}

// receive waits for a datagram, and returns its messages.
func receive(fd int) []syscall.NetlinkMessage {
	buf := make([]byte, 16384)
	for {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			fail("receiving: %v", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			fail("this is no message: % x", buf[:n])
		}
		return messages
	}
}

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		fail("%q is no number", s)
	}
	return uint32(n)
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "user: "+format+"\n", args...)
	os.Exit(1)
}
