// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/internal/wire"
)

// resume gives this copy of the machine its own random numbers and the right
// time. Without it every restored guest would draw the same "random" bytes.
func resume(info wire.ResumeInfo) error {
	ts := unix.NsecToTimespec(info.UnixNano)
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set clock to %v: %w", time.Unix(0, info.UnixNano), err)
	}

	fd, err := unix.Open("/dev/urandom", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/urandom: %w", err)
	}
	defer unix.Close(fd)
	// struct rand_pool_info of linux/random.h: bits of entropy, size, bytes.
	pool := make([]byte, 8+len(info.Seed))
	binary.NativeEndian.PutUint32(pool[0:], uint32(8*len(info.Seed)))
	binary.NativeEndian.PutUint32(pool[4:], uint32(len(info.Seed)))
	copy(pool[8:], info.Seed)
	if err := ioctl(fd, unix.RNDADDENTROPY, unsafe.Pointer(&pool[0])); err != nil {
		return fmt.Errorf("add entropy: %w", err)
	}
	// Added entropy is only used at the next reseed; that must be now.
	if err := ioctl(fd, unix.RNDRESEEDCRNG, nil); err != nil {
		return fmt.Errorf("reseed: %w", err)
	}
	return nil
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
