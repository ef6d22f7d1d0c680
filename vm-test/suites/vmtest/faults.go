// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Faults makes system calls of this thread fail inside: the n-th allocation,
// or copy from or to a process, that they come to.
type Faults struct {
	nth int // descriptor of the thread's own file

	// Here and not on a stack, which moves.
	on, off, left [16]byte
	to            unix.RawSockaddrNetlink
	buf           [128 << 10]byte
}

// OpenFaults prepares it, and keeps the calling goroutine on its thread until
// the test ends. Only a kernel that is built for it can.
func OpenFaults(t testing.TB) *Faults {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	fd, err := unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0)
	Need(t, FaultsOnRequest, err == nil)
	t.Cleanup(func() { unix.Close(fd) })
	// By default those that may sleep, most, never fail.
	for file, value := range map[string]string{
		"failslab/ignore-gfp-wait":        "N",
		"failslab/verbose":                "0",
		"fail_page_alloc/ignore-gfp-wait": "N",
		"fail_page_alloc/min-order":       "0",
		"fail_page_alloc/verbose":         "0",
		"fail_usercopy/verbose":           "0",
	} {
		writeDebug(t, file, value)
	}
	f := &Faults{nth: fd, to: unix.RawSockaddrNetlink{Family: unix.AF_NETLINK}}
	f.off[0] = '0'
	return f
}

func writeDebug(t testing.TB, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join("/sys/kernel/debug", file), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// SetFault sets an attribute of fault injection, such as failslab/probability, until
// the test ends.
func SetFault(t testing.TB, attribute, value string) {
	t.Helper()
	before := strings.TrimSpace(ReadFile(t, filepath.Join("/sys/kernel/debug", attribute)))
	t.Cleanup(func() { writeDebug(t, attribute, before) })
	writeDebug(t, attribute, value)
}

// SetFaultSpace sets two of them, such as failslab/require-start and -end, to where the
// kernel has one of its functions, and where the next begins.
func SetFaultSpace(t testing.TB, attributes, function string) {
	t.Helper()
	start := ""
	for line := range strings.Lines(ReadFile(t, "/proc/kallsyms")) {
		fields := strings.Fields(line)
		switch {
		case start != "" && fields[0] != start:
			SetFault(t, attributes+"-start", "0x"+start)
			SetFault(t, attributes+"-end", "0x"+fields[0])
			return
		case slices.Contains(fields[2:], function):
			start = fields[0]
		}
	}
	t.Fatalf("no function %s in /proc/kallsyms", function)
}

// InModules lets only what modules do fail, until the test ends: the kernel's
// own part of the same system call counts no more.
func (f *Faults) InModules(t testing.TB) {
	t.Helper()
	set := func(start, end uint64) {
		for _, kind := range []string{"failslab", "fail_page_alloc", "fail_usercopy"} {
			writeDebug(t, kind+"/require-start", fmt.Sprintf("%#x", start))
			writeDebug(t, kind+"/require-end", fmt.Sprintf("%#x", end))
		}
	}
	set(moduleSpace(t))
	t.Cleanup(func() { set(0, ^uint64(0)) })
}

// moduleSpace is where this kernel has modules: above all of its own.
func moduleSpace(t testing.TB) (start, end uint64) {
	t.Helper()
	for line := range strings.Lines(ReadFile(t, "/proc/kallsyms")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "_end" {
			kernelEnd, err := strconv.ParseUint(fields[0], 16, 64)
			if err != nil || kernelEnd == 0 {
				t.Fatalf("kallsyms: %q, %v", line, err)
			}
			return kernelEnd, 0xffffffffff000000
		}
	}
	t.Fatal("the end of the kernel is not in /proc/kallsyms")
	return 0, 0
}

// Do calls the kernel with the n-th possible failure, from 1, made to happen.
// There was no n-th if none happened.
func (f *Faults) Do(t testing.TB, n int, trap uintptr, args ...uintptr) (result uintptr, errno unix.Errno, happened bool) {
	t.Helper()
	on := strconv.AppendInt(f.on[:0], int64(n), 10)
	var a [6]uintptr
	copy(a[:], args)
	// The delivery of a signal copies too, and a copy that fails is fatal.
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		t.Fatal(err)
	}
	// From here on nothing but what is asked for: the thread's calls count.
	_, _, armed := unix.RawSyscall(unix.SYS_WRITE, uintptr(f.nth), uintptr(unsafe.Pointer(&f.on[0])), uintptr(len(on)))
	result, _, errno = unix.RawSyscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5])
	got, _, rerr := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(f.nth), uintptr(unsafe.Pointer(&f.left[0])), uintptr(len(f.left)), 0, 0, 0)
	for { // this too may be the call that fails
		if _, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(f.nth), uintptr(unsafe.Pointer(&f.off[0])), 1); err == 0 {
			break
		}
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); err != nil {
		t.Fatal(err)
	}
	if armed != 0 {
		t.Fatalf("arming a fault: %v", armed)
	}
	return result, errno, rerr == 0 && got > 0 && f.left[0] == '0'
}

// Send is Socket.TrySend with the n-th possible failure made to happen.
func (f *Faults) Send(t testing.TB, n int, s *Socket, b []byte) (unix.Errno, bool) {
	t.Helper()
	size := copy(f.buf[:], b)
	_, errno, happened := f.Do(t, n, unix.SYS_SENDTO, uintptr(s.FD), uintptr(unsafe.Pointer(&f.buf[0])), uintptr(size),
		0, uintptr(unsafe.Pointer(&f.to)), unsafe.Sizeof(f.to))
	return errno, happened
}

// Receive receives a datagram that is there already, with the n-th possible
// failure made to happen. The bytes are valid until the next call.
func (f *Faults) Receive(t testing.TB, n int, s *Socket) ([]byte, unix.Errno, bool) {
	t.Helper()
	got, errno, happened := f.Do(t, n, unix.SYS_RECVFROM, uintptr(s.FD), uintptr(unsafe.Pointer(&f.buf[0])), uintptr(len(f.buf)), unix.MSG_DONTWAIT)
	if errno != 0 {
		return nil, errno, happened
	}
	return f.buf[:got], 0, happened
}

// InsmodFile is InsmodFile with the n-th possible failure made to happen.
func (f *Faults) InsmodFile(t testing.TB, n int, path, params string) (unix.Errno, bool) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f.buf[copy(f.buf[:], params)] = 0
	_, errno, happened := f.Do(t, n, unix.SYS_FINIT_MODULE, file.Fd(), uintptr(unsafe.Pointer(&f.buf[0])), 0)
	return errno, happened
}

// Unshare makes a network namespace, with the n-th possible failure made to
// happen, and leaves it at once.
func (f *Faults) Unshare(t testing.TB, n int) (unix.Errno, bool) {
	t.Helper()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	_, errno, happened := f.Do(t, n, unix.SYS_UNSHARE, unix.CLONE_NEWNET)
	if errno == 0 {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Fatalf("the way back into the namespace: %v", err)
		}
	}
	return errno, happened
}
