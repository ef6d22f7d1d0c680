// SPDX-License-Identifier: MIT

// Package benchmod_test holds the module of kmod/bench to its word: each way
// echoes what it is sent and refuses what is too much, whatever user space
// writes into memory that it shares with the kernel.
package benchmod_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// As in nlpeer_bench.h.
const (
	device   = "/dev/nlpeer_bench"
	procFile = "/proc/nlpeer_bench"
	sysFile  = "/sys/kernel/nlpeer_bench/echo"

	echoMax = 32768
	sysMax  = 4095

	ioctlNull     = 0xbe00
	ioctlEcho     = 0x4018be01
	ioctlDoorbell = 0xbe02
)

type echoArg struct {
	in, out  uint64
	len, pad uint32
}

func open(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	return fd
}

// opened closes the file when the test ends.
func opened(t *testing.T, path string) int {
	t.Helper()
	fd := open(t, path)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return int(n), errno
}

// address is where b lies: b does not move while the test holds it.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// mapped is memory outside of Go's, whose addresses may be handed out.
func mapped(t *testing.T, size, prot int) []byte {
	t.Helper()
	b, err := unix.Mmap(-1, 0, size, prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(b) })
	return b
}

// sizes are the limits, and what lies around those of pages.
var sizes = []int{0, 1, 7, 8, 63, 64, 4095, 4096, 4097, echoMax - 1, echoMax}

func TestIoctl(t *testing.T) {
	fd := opened(t, device)
	in, out := mapped(t, echoMax+4096, unix.PROT_READ|unix.PROT_WRITE), mapped(t, echoMax+4096, unix.PROT_READ|unix.PROT_WRITE)
	for _, size := range sizes {
		want := vmtest.Random(t, size)
		copy(in, want)
		clear(out)
		arg := echoArg{in: address(in), out: address(out), len: uint32(size)}
		if n, errno := ioctl(fd, ioctlEcho, unsafe.Pointer(&arg)); n != 0 || errno != 0 {
			t.Fatalf("%d bytes: %d, %v", size, n, errno)
		}
		if !bytes.Equal(out[:size], want) || !bytes.Equal(out[size:], make([]byte, len(out)-size)) {
			t.Errorf("%d bytes came back as others, or more", size)
		}
	}
	// In place.
	want := vmtest.Random(t, 100)
	copy(in, want)
	arg := echoArg{in: address(in), out: address(in), len: 100}
	if _, errno := ioctl(fd, ioctlEcho, unsafe.Pointer(&arg)); errno != 0 || !bytes.Equal(in[:100], want) {
		t.Errorf("in place: %v", errno)
	}
	if n, errno := ioctl(fd, ioctlNull, nil); n != 0 || errno != 0 {
		t.Errorf("the empty call: %d, %v", n, errno)
	}
}

func TestIoctlRefused(t *testing.T) {
	fd := opened(t, device)
	rw := mapped(t, 2*echoMax, unix.PROT_READ|unix.PROT_WRITE)
	ro := mapped(t, echoMax, unix.PROT_READ)
	for _, c := range []struct {
		name string
		arg  echoArg
		want unix.Errno
	}{
		{"one byte too many", echoArg{address(rw), address(rw), echoMax + 1, 0}, unix.EMSGSIZE},
		{"4 GiB", echoArg{address(rw), address(rw), 1<<32 - 1, 0}, unix.EMSGSIZE},
		{"something in the padding", echoArg{address(rw), address(rw), 1, 1}, unix.EINVAL},
		{"from nowhere", echoArg{8, address(rw), 1, 0}, unix.EFAULT},
		{"from the kernel", echoArg{1 << 63, address(rw), 1, 0}, unix.EFAULT},
		{"to nowhere", echoArg{address(rw), 8, 1, 0}, unix.EFAULT},
		{"to the kernel", echoArg{address(rw), 1 << 63, 1, 0}, unix.EFAULT},
		{"to what is not ours to write", echoArg{address(rw), address(ro), 1, 0}, unix.EFAULT},
	} {
		if _, errno := ioctl(fd, ioctlEcho, unsafe.Pointer(&c.arg)); errno != c.want {
			t.Errorf("%s: %v, want %v", c.name, errno, c.want)
		}
	}
	if _, errno := ioctl(fd, ioctlEcho, nil); errno != unix.EFAULT {
		t.Errorf("no argument: %v, want EFAULT", errno)
	}
	for _, request := range []uintptr{0xbe03, 0xbf00, 0x4010be01, 0} {
		if _, errno := ioctl(fd, request, unsafe.Pointer(&echoArg{})); errno != unix.ENOTTY {
			t.Errorf("request %#x: %v, want ENOTTY", request, errno)
		}
	}
}

// The device and procfs are the same to write to and read from.
func TestWriteRead(t *testing.T) {
	for _, path := range []string{device, procFile} {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			fd := opened(t, path)
			for _, size := range sizes {
				want := vmtest.Random(t, size)
				if n, err := unix.Write(fd, want); n != size || err != nil {
					t.Fatalf("writing %d bytes: %d, %v", size, n, err)
				}
				got := make([]byte, echoMax+1)
				n, err := unix.Read(fd, got)
				if err != nil || !bytes.Equal(got[:n], want) {
					t.Errorf("%d bytes came back as %d others, %v", size, n, err)
				}
				if n, err := unix.Read(fd, got); n != 0 || err != nil {
					t.Errorf("%d bytes came back a second time: %d, %v", size, n, err)
				}
			}

			// In pieces; a new message takes the place of the old one.
			want := vmtest.Random(t, 1000)
			write(t, fd, want)
			got := make([]byte, 300)
			var all []byte
			for range 4 {
				n, err := unix.Read(fd, got)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, got[:n]...)
			}
			if !bytes.Equal(all, want) {
				t.Error("read in pieces, it is another message")
			}
			write(t, fd, want)
			_, _ = unix.Read(fd, got)
			write(t, fd, []byte("new"))
			if n, err := unix.Read(fd, got); err != nil || string(got[:n]) != "new" {
				t.Errorf("the second message: %q, %v", got[:n], err)
			}

			// What is refused changes nothing that is there, or leaves nothing.
			write(t, fd, []byte("kept"))
			if _, err := unix.Write(fd, make([]byte, echoMax+1)); err != unix.EMSGSIZE {
				t.Errorf("one byte too many: %v, want EMSGSIZE", err)
			}
			if n, err := unix.Read(fd, got); err != nil || string(got[:n]) != "kept" {
				t.Errorf("after a refusal: %q, %v", got[:n], err)
			}
			ro := mapped(t, 8192, unix.PROT_READ|unix.PROT_WRITE)
			if err := unix.Mprotect(ro[4096:], unix.PROT_NONE); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Write(fd, ro[4000:4200]); err != unix.EFAULT {
				t.Errorf("half of it unreadable: %v, want EFAULT", err)
			}
			if n, err := unix.Read(fd, got); n != 0 || err != nil {
				t.Errorf("after half a message: %d, %v", n, err)
			}
			write(t, fd, want)
			if _, err := unix.Read(fd, ro[4000:5000]); err != unix.EFAULT {
				t.Errorf("reading to nowhere: %v, want EFAULT", err)
			}
			if n, err := unix.Read(fd, got); n != len(got) || err != nil || !bytes.Equal(got, want[:n]) {
				t.Errorf("after that: %d, %v", n, err)
			}
			if _, err := unix.Seek(fd, 0, 0); err != unix.ESPIPE {
				t.Errorf("seek: %v, want ESPIPE", err)
			}
		})
	}
}

func write(t *testing.T, fd int, b []byte) {
	t.Helper()
	if n, err := unix.Write(fd, b); n != len(b) || err != nil {
		t.Fatalf("writing %d bytes: %d, %v", len(b), n, err)
	}
}

// An open file has one buffer, and an echo by ioctl uses it.
func TestIoctlForgetsWhatWasWritten(t *testing.T) {
	fd := opened(t, device)
	b := mapped(t, 4096, unix.PROT_READ|unix.PROT_WRITE)
	write(t, fd, []byte("written"))
	arg := echoArg{address(b), address(b), 3, 0}
	if _, errno := ioctl(fd, ioctlEcho, unsafe.Pointer(&arg)); errno != 0 {
		t.Fatal(errno)
	}
	if n, err := unix.Read(fd, b); n != 0 || err != nil {
		t.Errorf("read gives %d bytes, %v; want none", n, err)
	}
}

func TestTwoOpeners(t *testing.T) {
	for _, path := range []string{device, procFile} {
		one, two := opened(t, path), opened(t, path)
		write(t, one, []byte("one"))
		write(t, two, []byte("the other"))
		got := make([]byte, 100)
		if n, _ := unix.Read(one, got); string(got[:n]) != "one" {
			t.Errorf("%s: the first reads %q", path, got[:n])
		}
		if n, _ := unix.Read(two, got); string(got[:n]) != "the other" {
			t.Errorf("%s: the second reads %q", path, got[:n])
		}
	}
}

func TestSysfs(t *testing.T) {
	for _, size := range []int{1, 7, 64, 4094, sysMax} {
		want := vmtest.Random(t, size)
		if err := os.WriteFile(sysFile, want, 0); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if got, err := os.ReadFile(sysFile); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back as %d others, %v", size, len(got), err)
		}
	}
	if err := os.WriteFile(sysFile, []byte("kept"), 0); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{sysMax + 1, echoMax} {
		if err := os.WriteFile(sysFile, make([]byte, size), 0); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("%d bytes: %v, want EMSGSIZE", size, err)
		}
	}
	if got, err := os.ReadFile(sysFile); err != nil || string(got) != "kept" {
		t.Errorf("after refusals: %q, %v", got, err)
	}
}

// Nothing of it is anybody's but root's.
func TestModes(t *testing.T) {
	for _, path := range []string{device, procFile, sysFile} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Error(err)
		} else if st.Mode&0o7777 != 0o600 || st.Uid != 0 {
			t.Errorf("%s: mode %o of user %d, want 600 of root", path, st.Mode&0o7777, st.Uid)
		}
	}
}

// The device holds the module; procfs and sysfs let it go, and end what is open.
func TestUnload(t *testing.T) {
	reload := func() {
		t.Helper()
		file := filepath.Join(filepath.Dir(os.Getenv("NLVM_MODULE")), "nlpeer_bench.ko")
		if err := vmtest.InsmodFile(file); err != nil {
			t.Fatal(err)
		}
	}
	dev := open(t, device)
	if err := vmtest.Rmmod("nlpeer_bench"); err != unix.EAGAIN && err != unix.EBUSY {
		t.Errorf("rmmod while the device is open: %v, want EAGAIN", err)
	}
	area := mapDevice(t, dev)
	unix.Close(dev)
	if err := vmtest.Rmmod("nlpeer_bench"); err != unix.EAGAIN && err != unix.EBUSY {
		t.Errorf("rmmod while rings are mapped: %v, want EAGAIN", err)
	}
	if err := unix.Munmap(area); err != nil {
		t.Fatal(err)
	}

	proc, sys := opened(t, procFile), opened(t, sysFile)
	write(t, proc, []byte("in the buffer"))
	vmtest.Until(t, "the module is unloaded", func() bool { return vmtest.Rmmod("nlpeer_bench") == nil })
	for _, path := range []string{device, procFile, sysFile, filepath.Dir(sysFile)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after rmmod: %v", path, err)
		}
	}
	b := make([]byte, 16)
	if _, err := unix.Read(proc, b); err != unix.EIO {
		t.Errorf("reading the file of procfs that was open: %v, want EIO", err)
	}
	if _, err := unix.Pread(sys, b, 0); err != unix.ENODEV {
		t.Errorf("reading the file of sysfs that was open: %v, want ENODEV", err)
	}
	reload()
}

// An open file's memory is gone with it: 64 KiB of buffer, as allocations come,
// and 2 MiB of rings.
func TestNothingIsLeft(t *testing.T) {
	before := unreclaimable(t)
	for range 50 {
		fd := open(t, device)
		write(t, fd, make([]byte, 100))
		_ = unix.Munmap(mapDevice(t, fd))
		unix.Close(fd)
	}
	if grown := unreclaimable(t) - before; grown > 1600 {
		t.Errorf("50 open files have left %d KiB behind", grown)
	}
	if vmalloc, err := os.ReadFile("/proc/vmallocinfo"); err != nil {
		t.Error(err)
	} else if n := strings.Count(string(vmalloc), "[nlpeer_bench]"); n > 4 { // its own sections
		t.Errorf("%d areas of the module are left:\n%s", n, vmalloc)
	}
}

// unreclaimable is how many KiB the kernel has allocated for itself.
func unreclaimable(t *testing.T) int {
	t.Helper()
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(info), "\nSUnreclaim:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatalf("SUnreclaim in /proc/meminfo: %v", err)
	}
	return kib
}
