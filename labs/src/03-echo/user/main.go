// SPDX-License-Identifier: MIT

// The program's side of an echo: it sends each of its arguments to the kernel
// and prints what comes back.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
)

const (
	netlinkLab = 31 // the labs' own protocol
	msgEcho    = 16 // a message type; those below 16 are netlink's own
	headerLen  = 16
)

func main() {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW, netlinkLab)
	if err != nil {
		fatal("socket", err)
	}
	defer syscall.Close(fd)
	for i, text := range os.Args[1:] {
		answer, err := echo(fd, uint32(i+1), []byte(text))
		if err != nil {
			fatal("echo", err)
		}
		fmt.Println(string(answer))
	}
}

func fatal(what string, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	os.Exit(1)
}

// echo sends a payload to the kernel and returns the one of the answer.
func echo(fd int, seq uint32, payload []byte) ([]byte, error) {
	//> todo 4
	//| // TODO(4): send a message of type msgEcho with NLM_F_REQUEST, the
	//| // sequence number and the payload to the kernel (port 0). Receive the
	//| // answer, and return its payload. An answer to another request, or an
	//| // NLMSG_ERROR, is an error.
	//| _ = binary.NativeEndian
	//| return nil, syscall.ENOSYS
	//> solved
	msg := make([]byte, headerLen, headerLen+len(payload))
	binary.NativeEndian.PutUint32(msg[0:], uint32(headerLen+len(payload)))
	binary.NativeEndian.PutUint16(msg[4:], msgEcho)
	binary.NativeEndian.PutUint16(msg[6:], syscall.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(msg[8:], seq)
	msg = append(msg, payload...)
	if err := syscall.Sendto(fd, msg, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return nil, err
	}

	buf := make([]byte, headerLen+len(payload)+1024)
	n, _, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		return nil, err
	}
	buf = buf[:n]
	if n < headerLen {
		return nil, fmt.Errorf("%d bytes came back, too few for a message", n)
	}
	length := int(binary.NativeEndian.Uint32(buf))
	switch {
	case length < headerLen || length > n:
		return nil, fmt.Errorf("the length of the answer is %d, of %d bytes", length, n)
	case binary.NativeEndian.Uint16(buf[4:]) == syscall.NLMSG_ERROR:
		return nil, fmt.Errorf("the kernel answers with an error: %v",
			syscall.Errno(-int32(binary.NativeEndian.Uint32(buf[headerLen:]))))
	case binary.NativeEndian.Uint32(buf[8:]) != seq:
		return nil, fmt.Errorf("this answers request %d, not %d", binary.NativeEndian.Uint32(buf[8:]), seq)
	}
	return buf[headerLen:length], nil
	//> mistake error-as-answer
	//| msg := make([]byte, headerLen, headerLen+len(payload))
	//| binary.NativeEndian.PutUint32(msg[0:], uint32(headerLen+len(payload)))
	//| binary.NativeEndian.PutUint16(msg[4:], msgEcho)
	//| binary.NativeEndian.PutUint16(msg[6:], syscall.NLM_F_REQUEST)
	//| binary.NativeEndian.PutUint32(msg[8:], seq)
	//| msg = append(msg, payload...)
	//| if err := syscall.Sendto(fd, msg, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
	//| 	return nil, err
	//| }
	//| buf := make([]byte, headerLen+len(payload)+1024)
	//| n, _, err := syscall.Recvfrom(fd, buf, 0)
	//| if err != nil {
	//| 	return nil, err
	//| }
	//| return buf[headerLen:min(n, int(binary.NativeEndian.Uint32(buf)))], nil
	//> end
}
