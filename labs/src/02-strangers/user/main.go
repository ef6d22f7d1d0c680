// SPDX-License-Identifier: MIT

// User lets processes talk to each other by netlink; the kernel only carries.
//
//	user open PORT…                      opens a socket for each; 0: the kernel chooses
//	user listen [-port N] [-groups MASK] [-join GROUP] [-count N] [-answer]
//	user send [-protocol N] PORT TEXT
//	user send -group GROUP TEXT
//	user self TEXT                       two sockets of one process
//	user may                             what this user may do, and what not
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

const (
	userSock   = syscall.NETLINK_USERSOCK
	solNetlink = 270 // SOL_NETLINK
)

// A socket is a netlink socket with an address.
type socket struct {
	fd   int
	port uint32
}

// open makes a socket of a protocol, and gives it a port ID (0: the kernel is to
// choose) and groups to listen to, a bit each.
func open(protocol int, port, groups uint32) (*socket, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	s := &socket{fd: fd, port: port}
	//> todo 1
	//| // TODO(1): bind() the socket to its address, a syscall.SockaddrNetlink, and
	//| // ask with getsockname() which port ID it has now.
	//> solved
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Pid: port, Groups: groups}); err != nil {
		s.close()
		return nil, fmt.Errorf("bind to port %d: %w", port, err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	s.port = name.(*syscall.SockaddrNetlink).Pid
	//> mistake process-id
	//| if port == 0 {
	//| 	port = uint32(os.Getpid())
	//| }
	//| if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Pid: port, Groups: groups}); err != nil {
	//| 	s.close()
	//| 	return nil, fmt.Errorf("bind to port %d: %w", port, err)
	//| }
	//| s.port = port
	//> end

	limit := syscall.NsecToTimeval(int64(20 * time.Second))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		s.close()
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return s, nil
}

func (s *socket) close() { syscall.Close(s.fd) }

// send sends a text to one port.
func (s *socket) send(port uint32, text string) error {
	b := build(s.port, text)
	//> todo 2
	//| // TODO(2): sendto() the socket of that port.
	//| return fmt.Errorf("%d bytes for port %d are not sent yet", len(b), port)
	//> solved
	err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Pid: port})
	if err != nil {
		return fmt.Errorf("send to port %d: %w", port, err)
	}
	return nil
	//> mistake to-the-kernel
	//| err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
	//| if err != nil {
	//| 	return fmt.Errorf("send to port %d: %w", port, err)
	//| }
	//| return nil
	//> end
}

// A letter is a text that came, and what is known about its sender.
type letter struct {
	text  string
	from  uint32 // port ID
	group uint32 // 0: it was for this port alone
}

// receive waits for one.
func (s *socket) receive() (letter, error) {
	buf := make([]byte, 8192)
	//> todo 3
	//| // TODO(3): recvfrom() gives a datagram and the address it came from, a
	//| // *syscall.SockaddrNetlink. Who sent it? parse() tells what the sender
	//| // says of himself; the address, what the kernel says of him. Nl_groups
	//| // has the bit of the group that it was sent to, or none: see groupOf.
	//| _, _ = parse, buf
	//| return letter{}, errors.New("nobody receives yet")
	//> solved
	n, from, err := syscall.Recvfrom(s.fd, buf, 0)
	if errors.Is(err, syscall.EAGAIN) {
		return letter{}, errors.New("nothing came")
	}
	if err != nil {
		return letter{}, fmt.Errorf("receive: %w", err)
	}
	_, text, err := parse(buf[:n])
	if err != nil {
		return letter{}, err
	}
	sender := from.(*syscall.SockaddrNetlink)
	return letter{text: text, from: sender.Pid, group: groupOf(sender.Groups)}, nil
	//> mistake believes-the-header
	//| n, from, err := syscall.Recvfrom(s.fd, buf, 0)
	//| if err != nil {
	//| 	return letter{}, fmt.Errorf("receive: %w", err)
	//| }
	//| port, text, err := parse(buf[:n])
	//| if err != nil {
	//| 	return letter{}, err
	//| }
	//| return letter{text: text, from: port, group: groupOf(from.(*syscall.SockaddrNetlink).Groups)}, nil
	//> end
}

// groupOf is the number of the lowest group in a mask, 0 if there is none.
func groupOf(mask uint32) uint32 {
	for group := uint32(1); group <= 32; group++ {
		if mask>>(group-1)&1 != 0 {
			return group
		}
	}
	return 0
}

// join lets the socket listen to one more group.
func (s *socket) join(group uint32) error {
	//> todo 4
	//| // TODO(4): the socket option NETLINK_ADD_MEMBERSHIP of SOL_NETLINK takes
	//| // the number of a group.
	//| return fmt.Errorf("nobody joins group %d yet", group)
	//> solved
	err := syscall.SetsockoptInt(s.fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, int(group))
	if err != nil {
		return fmt.Errorf("join group %d: %w", group, err)
	}
	return nil
	//> mistake joins-by-mask
	//| err := syscall.SetsockoptInt(s.fd, solNetlink, syscall.NETLINK_ADD_MEMBERSHIP, 1<<(group-1))
	//| if err != nil {
	//| 	return fmt.Errorf("join group %d: %w", group, err)
	//| }
	//| return nil
	//> end
}

// sendGroup sends a text to all who listen to a group.
func (s *socket) sendGroup(group uint32, text string) error {
	b := build(s.port, text)
	//> todo 4
	//| // TODO(4): as in send, but the address is a bit of Groups. It will work,
	//| // and sendto() will say ECONNREFUSED: the text tells why.
	//| return fmt.Errorf("%d bytes for group %d are not sent yet", len(b), group)
	//> solved
	err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: 1 << (group - 1)})
	// After the multicast the kernel delivers to the port in the address, too.
	// That is 0, and of this protocol the kernel itself has no socket.
	if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("send to group %d: %w", group, err)
	}
	return nil
	//> mistake number-as-mask
	//| err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: group})
	//| if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
	//| 	return fmt.Errorf("send to group %d: %w", group, err)
	//| }
	//| return nil
	//> mistake refused
	//| err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: 1 << (group - 1)})
	//| if err != nil {
	//| 	return fmt.Errorf("send to group %d: %w", group, err)
	//| }
	//| return nil
	//> end
}

// may tries what a user may do on a protocol: send to another process, and
// listen to a group.
func may(protocol int) (send, listen error) {
	from, err := open(protocol, 0, 0)
	if err != nil {
		return err, err
	}
	defer from.close()
	to, err := open(protocol, 0, 0)
	if err != nil {
		return err, err
	}
	defer to.close()
	//> todo 6
	//| // TODO(6): let one of the two sockets send to the other, and one of them
	//| // join group 1. What is refused is the answer.
	//| return errors.New("not tried"), errors.New("not tried")
	//> solved
	return from.send(to.port, "may I?"), to.join(1)
	//> mistake tries-the-kernel
	//| return from.send(0, "may I?"), to.join(1)
	//> end
}

func runOpen(args []string) error {
	for _, arg := range args {
		port, err := strconv.ParseUint(arg, 0, 32)
		if err != nil {
			return err
		}
		s, err := open(userSock, uint32(port), 0)
		if err != nil {
			return err
		}
		defer s.close()
		fmt.Printf("port %d\n", s.port)
	}
	return nil
}

func runListen(args []string) error {
	flags := flag.NewFlagSet("listen", flag.ExitOnError)
	port := flags.Uint("port", 0, "port ID, 0: the kernel chooses")
	groups := flags.Uint("groups", 0, "groups to listen to, a bit each")
	join := flags.Uint("join", 0, "group to join")
	count := flags.Int("count", 1, "how many messages to wait for")
	answer := flags.Bool("answer", false, "send each back to who sent it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := open(userSock, uint32(*port), uint32(*groups))
	if err != nil {
		return err
	}
	defer s.close()
	if *join != 0 {
		if err := s.join(uint32(*join)); err != nil {
			return err
		}
	}
	fmt.Printf("listening at port %d\n", s.port)
	for range *count {
		l, err := s.receive()
		if err != nil {
			return err
		}
		to := ""
		if l.group != 0 {
			to = fmt.Sprintf(" to group %d", l.group)
		}
		fmt.Printf("from port %d%s: %s\n", l.from, to, l.text)
		if *answer {
			if err := s.send(l.from, l.text); err != nil {
				return err
			}
		}
	}
	return nil
}

func runSend(args []string) error {
	flags := flag.NewFlagSet("send", flag.ExitOnError)
	group := flags.Uint("group", 0, "send to a group")
	protocol := flags.Int("protocol", userSock, "netlink protocol")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := open(*protocol, 0, 0)
	if err != nil {
		return err
	}
	defer s.close()
	args = flags.Args()
	if *group != 0 && len(args) == 1 {
		return s.sendGroup(uint32(*group), args[0])
	}
	if len(args) != 2 {
		return errors.New("usage: user send PORT TEXT, or user send -group GROUP TEXT")
	}
	port, err := strconv.ParseUint(args[0], 0, 32)
	if err != nil {
		return err
	}
	return s.send(uint32(port), args[1])
}

func runSelf(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: user self TEXT")
	}
	a, err := open(userSock, 0, 0)
	if err != nil {
		return err
	}
	defer a.close()
	b, err := open(userSock, 0, 0)
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Printf("process %d has the ports %d and %d\n", os.Getpid(), a.port, b.port)
	if err := a.send(b.port, args[0]); err != nil {
		return err
	}
	l, err := b.receive()
	if err != nil {
		return err
	}
	fmt.Printf("from port %d: %s\n", l.from, l.text)
	return nil
}

func runMay([]string) error {
	verdict := func(err error) string {
		var errno syscall.Errno
		switch {
		case err == nil:
			return "yes"
		case errors.As(err, &errno):
			return errno.Error()
		}
		return err.Error()
	}
	for _, p := range []struct {
		number int
		name   string
	}{{syscall.NETLINK_ROUTE, "NETLINK_ROUTE"}, {userSock, "NETLINK_USERSOCK"}, {syscall.NETLINK_KOBJECT_UEVENT, "NETLINK_KOBJECT_UEVENT"}} {
		send, listen := may(p.number)
		fmt.Printf("%s: send to a process: %s\n", p.name, verdict(send))
		fmt.Printf("%s: listen to a group: %s\n", p.name, verdict(listen))
	}
	return nil
}

var commands = map[string]func([]string) error{
	"open":   runOpen,
	"listen": runListen,
	"send":   runSend,
	"self":   runSelf,
	"may":    runMay,
}

func main() {
	run := func([]string) error { return errors.New("usage: user open|listen|send|self|may …") }
	if len(os.Args) > 1 && commands[os.Args[1]] != nil {
		run = commands[os.Args[1]]
	}
	if err := run(os.Args[min(2, len(os.Args)):]); err != nil {
		fmt.Fprintln(os.Stderr, "user:", err)
		os.Exit(1)
	}
}
