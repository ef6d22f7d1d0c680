// SPDX-License-Identifier: MIT

// Command user listens to what the kernel announces.
//
//	user exec COUNT      the programs that are started, COUNT of them
//	user mirror NUMBER   keeps a copy of the board, until the change NUMBER;
//	                     says which changes it took over, and prints the copy
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

var native = binary.NativeEndian

// What package syscall does not name.
const (
	solNetlink = 270 // SOL_NETLINK

	netlinkConnector = 11
)

func main() {
	if len(os.Args) == 3 {
		n, err := strconv.Atoi(os.Args[2])
		switch {
		case err != nil || n < 0:
		case os.Args[1] == "exec":
			watch(n)
			return
		case os.Args[1] == "mirror":
			mirror(uint32(n))
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: user exec COUNT | user mirror NUMBER")
	os.Exit(2)
}

// The connector, as in linux/connector.h and linux/cn_proc.h: inside of a
// netlink message is a struct cn_msg, and inside of that what its id says.
const (
	cnIdxProc = 1 // also the number of the group
	cnValProc = 1

	procListen = 1 // PROC_CN_MCAST_LISTEN
	procExec   = 2 // PROC_EVENT_EXEC
)

// watch prints the process ID of each program that is started.
func watch(count int) {
	fd := open(netlinkConnector, cnIdxProc)
	//> todo 3
	//| // TODO(3): the kernel makes process events when somebody has asked for
	//| // them. Send it procListen, four bytes, in a struct cn_msg, in a message.
	//> solved
	b := make([]byte, 40)
	native.PutUint32(b[0:], 40)                 // struct nlmsghdr: nlmsg_len
	native.PutUint16(b[4:], syscall.NLMSG_DONE) // nlmsg_type
	native.PutUint32(b[16:], cnIdxProc)         // struct cn_msg: id.idx
	native.PutUint32(b[20:], cnValProc)         // id.val
	native.PutUint16(b[32:], 4)                 // len, of what follows
	native.PutUint32(b[36:], procListen)
	send(fd, b)
	//> mistake not-asked
	//> mistake no-length
	//| b := make([]byte, 40)
	//| native.PutUint32(b[0:], 40)
	//| native.PutUint16(b[4:], syscall.NLMSG_DONE)
	//| native.PutUint32(b[16:], cnIdxProc)
	//| native.PutUint32(b[20:], cnValProc)
	//| native.PutUint32(b[36:], procListen)
	//| send(fd, b)
	//> end
	for n := 0; n < count; {
		messages, err := receive(fd)
		if err == syscall.ENOBUFS {
			fmt.Println("some were missed")
			continue
		}
		if err != nil {
			fail("receiving: %v", err)
		}
		for _, m := range messages {
			// 20 bytes of struct cn_msg, 16 until the event's own.
			if len(m.Data) < 44 || native.Uint32(m.Data[20:]) != procExec {
				continue
			}
			fmt.Printf("exec %d\n", native.Uint32(m.Data[40:]))
			n++
		}
	}
}

// The board, as in kernel/board.c.
const (
	protocol = 31
	group    = 1
	slots    = 64

	boardList   = 0x11
	boardChange = 0x12
)

// A board is a copy of the one in the kernel.
type board struct {
	values [slots]uint32
	number uint32 // of the last change that is in it
}

// mirror keeps a copy of the board until the change with a number, and prints
// it: those of its slots that are not 0.
func mirror(until uint32) {
	fd := open(protocol, group)
	// So little that messages are lost before you have had your coffee.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1); err != nil {
		fail("a small buffer: %v", err)
	}
	var b board
	b.resync()
	for b.number < until {
		messages, err := receive(fd)
		//> todo 4
		//| // TODO(4): ENOBUFS is no end. It says that something was lost: print
		//| // "overrun", empty the buffer, with drain(), and get the whole board
		//| // again, with b.resync(). In this order.
		//> solved
		if err == syscall.ENOBUFS {
			fmt.Println("overrun")
			drain(fd)
			b.resync()
			continue
		}
		//> mistake goes-on
		//| if err == syscall.ENOBUFS {
		//| 	fmt.Println("overrun")
		//| 	continue
		//| }
		//> mistake list-first
		//| if err == syscall.ENOBUFS {
		//| 	fmt.Println("overrun")
		//| 	b.resync()
		//| 	continue
		//| }
		//> end
		if err != nil {
			fail("receiving: %v", err)
		}
		for _, m := range messages {
			if m.Header.Type == boardChange {
				b.apply(m.Data)
			}
		}
	}
	for slot, value := range b.values {
		if value != 0 {
			fmt.Printf("%d: %d\n", slot, value)
		}
	}
}

// drain throws away what is in the buffer of a socket, until nothing is left.
func drain(fd int) {
	//> todo 6
	//| // TODO(6): while something is left, the kernel drops what is new, and says
	//| // so no second time. Receive without waiting until there is nothing.
	//> solved
	buf := make([]byte, 8192)
	for {
		_, _, err := syscall.Recvfrom(fd, buf, syscall.MSG_DONTWAIT)
		switch err {
		case nil, syscall.EINTR, syscall.ENOBUFS: // the list is yet to come
		case syscall.EAGAIN:
			return
		default:
			fail("emptying the buffer: %v", err)
		}
	}
	//> end
}

// apply takes over a change that was announced.
func (b *board) apply(change []byte) {
	number, slot, value := native.Uint32(change), native.Uint32(change[4:]), native.Uint32(change[8:])
	//> todo 7
	//| // TODO(7): the list of resync() may know this change, and later ones.
	//> solved
	if number <= b.number {
		return
	}
	//> end
	b.values[slot] = value
	b.number = number
	fmt.Printf("change %d\n", number)
}

// resync makes the copy equal to the board, by asking for all of it.
func (b *board) resync() {
	//> todo 5
	//| // TODO(5): a request boardList, for a dump, over a socket of its own; then
	//| // take over what comes, until NLMSG_DONE. Its messages are like those of
	//| // changes, and all have the number of the last change that is in the list.
	//| // If it fails, with NLMSG_ERROR or in NLMSG_DONE, there is no list: end.
	//> solved
	fd := open(protocol, 0)
	defer syscall.Close(fd)
	request := make([]byte, 16)
	native.PutUint32(request[0:], 16)
	native.PutUint16(request[4:], boardList)
	native.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	send(fd, request)
	for {
		messages, err := receive(fd)
		if err != nil {
			fail("receiving the list: %v", err)
		}
		for _, m := range messages {
			switch m.Header.Type {
			case boardChange:
				b.number = native.Uint32(m.Data)
				b.values[native.Uint32(m.Data[4:])] = native.Uint32(m.Data[8:])
			case syscall.NLMSG_ERROR, syscall.NLMSG_DONE:
				if err := failure(m); err != 0 {
					fail("receiving the list: %v", err)
				}
				return
			}
		}
	}
	//> mistake half-a-list
	//| fd := open(protocol, 0)
	//| defer syscall.Close(fd)
	//| request := make([]byte, 16)
	//| native.PutUint32(request[0:], 16)
	//| native.PutUint16(request[4:], boardList)
	//| native.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	//| send(fd, request)
	//| for {
	//| 	messages, err := receive(fd)
	//| 	if err != nil {
	//| 		fail("receiving the list: %v", err)
	//| 	}
	//| 	for _, m := range messages {
	//| 		switch m.Header.Type {
	//| 		case boardChange:
	//| 			b.number = native.Uint32(m.Data)
	//| 			b.values[native.Uint32(m.Data[4:])] = native.Uint32(m.Data[8:])
	//| 		case syscall.NLMSG_ERROR:
	//| 			fail("receiving the list: %v", failure(m))
	//| 		case syscall.NLMSG_DONE:
	//| 			return
	//| 		}
	//| 	}
	//| }
	//> mistake no-number
	//| fd := open(protocol, 0)
	//| defer syscall.Close(fd)
	//| request := make([]byte, 16)
	//| native.PutUint32(request[0:], 16)
	//| native.PutUint16(request[4:], boardList)
	//| native.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_DUMP)
	//| send(fd, request)
	//| for {
	//| 	messages, err := receive(fd)
	//| 	if err != nil {
	//| 		fail("receiving the list: %v", err)
	//| 	}
	//| 	for _, m := range messages {
	//| 		switch m.Header.Type {
	//| 		case boardChange:
	//| 			b.values[native.Uint32(m.Data[4:])] = native.Uint32(m.Data[8:])
	//| 		case syscall.NLMSG_ERROR, syscall.NLMSG_DONE:
	//| 			if err := failure(m); err != 0 {
	//| 				fail("receiving the list: %v", err)
	//| 			}
	//| 			return
	//| 		}
	//| 	}
	//| }
	//> end
}

// open makes a socket, and joins a group unless that is 0.
func open(protocol, group int) int {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		fail("a socket of protocol %d: %v", protocol, err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		fail("binding it: %v", err)
	}
	if group != 0 {
		if err := syscall.SetsockoptInt(fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			fail("joining group %d: %v", group, err)
		}
	}
	return fd
}

func send(fd int, b []byte) {
	if err := syscall.Sendto(fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		fail("sending: %v", err)
	}
}

// receive waits for a datagram, and returns its messages.
func receive(fd int) ([]syscall.NetlinkMessage, error) {
	buf := make([]byte, 8192)
	for {
		n, _, err := syscall.Recvfrom(fd, buf, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return syscall.ParseNetlinkMessage(buf[:n])
	}
}

// failure is the error that an NLMSG_ERROR or an NLMSG_DONE tells of, 0 for none.
func failure(m syscall.NetlinkMessage) syscall.Errno {
	if len(m.Data) < 4 {
		return 0
	}
	return syscall.Errno(-int32(native.Uint32(m.Data)))
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "user: "+format+"\n", args...)
	os.Exit(1)
}
