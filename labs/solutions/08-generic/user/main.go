// SPDX-License-Identifier: MIT

// Command user talks to the generic netlink family parrot.
//
//	user echo TEXT [TIMES]
//	user list
//	user listen COUNT
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// The family, as parrot.yaml has it. Operations and attributes are numbered
// from 1, in the order of the file.
const (
	familyName = "parrot"
	groupName  = "listeners"

	cmdEcho  = 1
	cmdList  = 2
	cmdHeard = 3

	attrText   = 1
	attrTimes  = 2
	attrNumber = 3
)

// The controller of generic netlink, a family itself; it is the only one whose
// ID is fixed. The names are those of linux/genetlink.h.
const (
	genlIDCtrl = 0x10

	ctrlCmdGetFamily = 3

	ctrlAttrFamilyID    = 1 // u16
	ctrlAttrFamilyName  = 2 // string
	ctrlAttrMcastGroups = 7 // a nest of nests, one for each group

	ctrlAttrMcastGrpName = 1 // string
	ctrlAttrMcastGrpID   = 2 // u32
)

// What package syscall does not name.
const (
	solNetlink     = 270 // SOL_NETLINK
	extAck         = 11  // NETLINK_EXT_ACK: errors bring their reasons
	typeMask       = 0x3fff
	sizeofNlMsghdr = syscall.SizeofNlMsghdr
	sizeofGenl     = 4
)

var native = binary.NativeEndian

func main() {
	fd, err := dial()
	if err != nil {
		fail("a netlink socket: %v", err)
	}
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{""}
	}
	id, group, err := resolve(fd)
	if err != nil {
		fail("the family %s: %v", familyName, err)
	}
	switch {
	case args[0] == "echo" && (len(args) == 2 || len(args) == 3):
		echo(fd, id, args[1], args[2:])
	case args[0] == "list" && len(args) == 1:
		list(fd, id)
	case args[0] == "listen" && len(args) == 2:
		listen(fd, id, group, number(args[1]))
	default:
		fmt.Fprintln(os.Stderr, "usage: user echo TEXT [TIMES] | user list | user listen COUNT")
		os.Exit(2)
	}
}

// resolve asks the controller for the ID of the family, and of its group. Both
// are given by the kernel when a family is registered.
func resolve(fd int) (id uint16, group uint32, err error) {
	send(fd, message(genlIDCtrl, syscall.NLM_F_REQUEST, ctrlCmdGetFamily,
		attr(ctrlAttrFamilyName, []byte(familyName+"\x00"))))
	m := receive(fd)[0]
	if m.Header.Type == syscall.NLMSG_ERROR {
		return 0, 0, reason(m)
	}
	family := attributes(m.Data[sizeofGenl:])
	if len(family[ctrlAttrFamilyID]) != 2 {
		return 0, 0, errors.New("the answer has no ID")
	}
	id = native.Uint16(family[ctrlAttrFamilyID])
	for _, nest := range attributes(family[ctrlAttrMcastGroups]) {
		g := attributes(nest)
		if str(g[ctrlAttrMcastGrpName]) == groupName {
			group = u32(g[ctrlAttrMcastGrpID])
		}
	}
	return id, group, nil
}

// echo says something, times times if that is given, and prints the answer.
func echo(fd int, id uint16, text string, times []string) {
	body := attr(attrText, []byte(text+"\x00"))
	if len(times) > 0 {
		body = append(body, attr(attrTimes, native.AppendUint32(nil, uint32(number(times[0]))))...)
	}
	request := message(id, syscall.NLM_F_REQUEST, cmdEcho, body)
	if len(request) == 0 {
		fail("there is no request yet")
	}
	send(fd, request)
	m := receive(fd)[0]
	if m.Header.Type == syscall.NLMSG_ERROR {
		fail("the parrot refuses: %v", reason(m))
	}
	fmt.Println(str(attributes(m.Data[sizeofGenl:])[attrText]))
}

// list prints what the parrot has heard.
func list(fd int, id uint16) {
	send(fd, message(id, syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP, cmdList, nil))
	for {
		for _, m := range receive(fd) {
			switch m.Header.Type {
			case id:
				fmt.Println(describe(m))
			case syscall.NLMSG_DONE:
				if err := ended(m); err != nil {
					fail("the list is not complete: %v", err)
				}
				return
			case syscall.NLMSG_ERROR:
				fail("the parrot refuses: %v", reason(m))
			}
		}
	}
}

// listen prints what the parrot hears, count times.
func listen(fd int, id uint16, group uint32, count int) {
	if err := syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
		fail("joining group %d: %v", group, err)
	}
	for n := 0; n < count; {
		for _, m := range receive(fd) {
			if m.Header.Type == id && m.Data[0] == cmdHeard {
				fmt.Println(describe(m))
				n++
			}
		}
	}
}

// describe puts what was heard into words: "3: hello".
func describe(m syscall.NetlinkMessage) string {
	all := attributes(m.Data[sizeofGenl:])
	return fmt.Sprintf("%d: %s", u32(all[attrNumber]), str(all[attrText]))
}

// message makes a message to a family: the header that all messages have, that
// of generic netlink, and attributes.
func message(family uint16, flags uint16, cmd byte, attrs []byte) []byte {
	b := native.AppendUint32(nil, uint32(sizeofNlMsghdr+sizeofGenl+len(attrs)))
	b = native.AppendUint16(b, family)
	b = native.AppendUint16(b, flags)
	b = native.AppendUint32(b, 1) // the sequence number, which answers repeat
	b = native.AppendUint32(b, 0) // the port ID, which the kernel knows
	b = append(b, cmd, 1, 0, 0)   // command, version, and two bytes that must be zero
	return append(b, attrs...)
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

// attributes takes attributes apart. The flags beside the type are not in it.
func attributes(b []byte) map[uint16][]byte {
	all := map[uint16][]byte{}
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		all[native.Uint16(b[2:])&typeMask] = b[4:n]
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

// reason takes an error apart, with the kernel's own words if there are any.
func reason(m syscall.NetlinkMessage) error {
	errno := syscall.Errno(-int32(native.Uint32(m.Data)))
	words := errno.Error()
	const capped, tlvs = 0x100, 0x200
	if m.Header.Flags&tlvs == 0 {
		return errors.New(words)
	}
	request := m.Data[4:]
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
	return errors.New(words)
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
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_GENERIC)
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

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		fail("%q is no number", s)
	}
	return n
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "user: "+format+"\n", args...)
	os.Exit(1)
}
