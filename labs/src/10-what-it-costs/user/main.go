// SPDX-License-Identifier: MIT

// Command user gets a thousand values out of the kernel and adds them up, by
// one of five ways, and says how often it had to go in.
//
//	user proc | ioctl | one | batch | map
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const values = 1000

// The ways into the kernel, as in kernel/values.c.
const (
	protocol = 31
	valueGet = 0x10
	value    = 0x11

	// VALUES_IOCTL_GET: read and write, 8 bytes, of type 'v', number 1.
	ioctlGet = 3<<30 | 8<<16 | 'v'<<8 | 1
)

var native = binary.NativeEndian

// calls counts those that ask for values. What makes ready for it, once, and
// does not depend on how many values there are, does not count.
var calls int

func main() {
	ways := map[string]func() uint64{"proc": proc, "ioctl": ioctl, "one": one, "batch": batch, "map": shared}
	if len(os.Args) != 2 || ways[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: user proc | ioctl | one | batch | map")
		os.Exit(2)
	}
	sum := ways[os.Args[1]]()
	fmt.Printf("%-6s sum %d, %d calls\n", os.Args[1], sum, calls)
}

// proc reads the text in /proc/values.
func proc() (sum uint64) {
	f, err := os.Open("/proc/values")
	if err != nil {
		fail("%v", err)
	}
	var text strings.Builder
	buf := make([]byte, 16384)
	for {
		n, err := syscall.Read(int(f.Fd()), buf)
		calls++
		if err != nil {
			fail("reading /proc/values: %v", err)
		}
		if n == 0 {
			break
		}
		text.Write(buf[:n])
	}
	for line := range strings.Lines(text.String()) {
		_, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			fail("%q: %v", line, err)
		}
		sum += n
	}
	return sum
}

// ioctl asks the device for one value after the other.
func ioctl() (sum uint64) {
	f := device()
	for i := range uint32(values) {
		v := [2]uint32{i}
		calls++
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ioctlGet, uintptr(unsafe.Pointer(&v))); errno != 0 {
			fail("the ioctl: %v", errno)
		}
		sum += uint64(v[1])
	}
	return sum
}

// one asks by netlink, for one value after the other.
func one() (sum uint64) {
	fd := dial()
	buf := make([]byte, 4096)
	for i := range uint32(values) {
		send(fd, request(i))
		n, s := receive(fd, buf)
		if n != 1 {
			fail("%d answers to one request", n)
		}
		sum += s
	}
	return sum
}

// batch asks by netlink, for as many values at a time as make sense.
func batch() (sum uint64) {
	fd := dial()
	buf := make([]byte, 32768)
	//> todo 3
	//| // TODO(3): many requests in one send, all answers in one receive. At most
	//| // 20 calls for all values.
	//| for i := range uint32(values) {
	//| 	send(fd, request(i))
	//| 	_, s := receive(fd, buf)
	//| 	sum += s
	//| }
	//| return sum
	//> solved
	const size = 250
	for first := 0; first < values; first += size {
		var b []byte
		for i := first; i < first+size; i++ {
			b = append(b, request(uint32(i))...)
		}
		send(fd, b)
		for got := 0; got < size; {
			n, s := receive(fd, buf)
			got += n
			sum += s
		}
	}
	return sum
	//> mistake waits-for-each
	//| const size = 250
	//| for first := 0; first < values; first += size {
	//| 	var b []byte
	//| 	for i := first; i < first+size; i++ {
	//| 		b = append(b, request(uint32(i))...)
	//| 	}
	//| 	send(fd, b)
	//| 	for range size {
	//| 		_, s := receive(fd, buf)
	//| 		sum += s
	//| 	}
	//| }
	//| return sum
	//> end
}

// shared reads the memory of the kernel.
func shared() (sum uint64) {
	f := device()
	//> todo 4
	//| // TODO(4): map the device's memory, and add up what is in it. The values
	//| // are there as the kernel has them: four bytes each.
	//| _ = f
	//| return 0
	//> solved
	b, err := syscall.Mmap(int(f.Fd()), 0, values*4, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		fail("mapping the values: %v", err)
	}
	for i := range values {
		sum += uint64(native.Uint32(b[4*i:]))
	}
	return sum
	//> end
}

// request is one for a value.
func request(index uint32) []byte {
	b := native.AppendUint32(nil, 20)
	b = native.AppendUint16(b, valueGet)
	b = native.AppendUint16(b, syscall.NLM_F_REQUEST)
	b = native.AppendUint32(b, index+1) // the sequence number
	b = native.AppendUint32(b, 0)
	return native.AppendUint32(b, index)
}

func send(fd int, b []byte) {
	calls++
	if err := syscall.Sendto(fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		fail("sending: %v", err)
	}
}

// receive waits for a datagram; it returns how many answers were in it, and the
// sum of their values.
func receive(fd int, buf []byte) (n int, sum uint64) {
	calls++
	length, _, err := syscall.Recvfrom(fd, buf, 0)
	if err != nil {
		fail("receiving: %v", err)
	}
	messages, err := syscall.ParseNetlinkMessage(buf[:length])
	if err != nil {
		fail("this is no message: % x", buf[:length])
	}
	for _, m := range messages {
		if m.Header.Type != value {
			fail("an answer of type %d (%v)", m.Header.Type, syscall.Errno(-int32(native.Uint32(m.Data))))
		}
		sum += uint64(native.Uint32(m.Data[4:]))
		n++
	}
	return n, sum
}

func device() *os.File {
	f, err := os.Open("/dev/values")
	if err != nil {
		fail("%v", err)
	}
	return f
}

func dial() int {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		fail("a socket of protocol %d: %v", protocol, err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		fail("binding it: %v", err)
	}
	return fd
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "user: "+format+"\n", args...)
	os.Exit(1)
}
