// SPDX-License-Identifier: MIT

// Command user listens to the ticker: it prints each tick, and names the
// numbers that it has missed.
//
//	user COUNT
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

const (
	protocol   = 31
	group      = 3
	tick       = 0x10 // the message type
	solNetlink = 270  // SOL_NETLINK, which package syscall does not name
)

func main() {
	count, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if len(os.Args) != 2 || err != nil {
		fmt.Fprintln(os.Stderr, "usage: user COUNT")
		os.Exit(2)
	}
	fd, err := listen()
	if err != nil {
		fail("listening to group %d of protocol %d: %v", group, protocol, err)
	}

	var l listener
	buf := make([]byte, 8192)
	for l.heard < count {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		switch err {
		case nil:
		case syscall.EINTR: // the Go runtime's own signals
			continue
		case syscall.ENOBUFS: // there was no room for some; the numbers will tell
			continue
		default:
			fail("receiving: %v", err)
		}
		number, err := number(buf[:n])
		if err != nil {
			fail("%v", err)
		}
		l.hear(number)
	}
	fmt.Printf("%d heard, %d missed\n", l.heard, l.missed)
}

// listen makes a socket that hears the ticker.
func listen() (int, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	//> todo 5
	//| // TODO(5): the socket has a port ID now, but is in no group. Join group.
	//| return fd, syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
	//> solved
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return -1, err
	}
	return fd, syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, group)
	//> mistake group-as-mask
	//| return fd, syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: group})
	//> mistake unbound
	//| return fd, syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, group)
	//> end
}

// number takes the number out of a tick.
func number(b []byte) (uint32, error) {
	if len(b) != 20 || binary.NativeEndian.Uint16(b[4:]) != tick {
		return 0, fmt.Errorf("this is no tick: % x", b)
	}
	return binary.NativeEndian.Uint32(b[16:]), nil
}

// A listener keeps count of what it has heard. It has heard nothing yet if last
// is 0: the first tick of all has the number 1.
type listener struct {
	last   uint32
	heard  int
	missed uint32
}

// hear is called with the number of each tick. What was missed before the first
// one is nobody's loss.
func (l *listener) hear(number uint32) {
	//> todo 6
	//| // TODO(6): if numbers are missing between l.last and this one, say which:
	//| //
	//| //	gap: 14 to 18, 5 missed
	//| //
	//| // and add them to l.missed.
	//> solved
	if n := number - l.last - 1; l.last != 0 && n > 0 {
		fmt.Printf("gap: %d to %d, %d missed\n", l.last+1, number-1, n)
		l.missed += n
	}
	//> mistake one-too-many
	//| if n := number - l.last; l.last != 0 && n > 1 {
	//| 	fmt.Printf("gap: %d to %d, %d missed\n", l.last+1, number, n)
	//| 	l.missed += n
	//| }
	//> end
	fmt.Printf("tick %d\n", number)
	l.last = number
	l.heard++
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "user: "+format+"\n", args...)
	os.Exit(1)
}
