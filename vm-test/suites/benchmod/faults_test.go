// SPDX-License-Identifier: MIT

package benchmod_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// most bounds a loop that does not come to the operation's end.
const most = 2000

// every calls f with n from 1 on, to let the n-th possible failure happen, until f says
// that there was none. It returns the errors of those that were.
func every(t *testing.T, f func(n int) (errno unix.Errno, happened bool)) (errnos []unix.Errno) {
	t.Helper()
	for n := 1; ; n++ {
		errno, happened := f(n)
		if !happened && errno != 0 {
			t.Errorf("nothing failed any more, and yet: %v", errno)
		}
		if !happened || t.Failed() {
			vmtest.Count(t, "faults", len(errnos))
			return errnos
		}
		if errnos = append(errnos, errno); n == most {
			t.Fatalf("no end after %d failures", most)
		}
	}
}

// copies fails the test if an operation has other failures than these.
func copies(t *testing.T, got []unix.Errno, n int) {
	t.Helper()
	if want := slices.Repeat([]unix.Errno{unix.EFAULT}, n); !slices.Equal(got, want) {
		t.Errorf("failures: %v, want %v", got, want)
	}
}

// some fails the test if no failure shows, or one as another error than these.
func some(t *testing.T, got []unix.Errno, errnos ...unix.Errno) {
	t.Helper()
	shown := slices.DeleteFunc(slices.Clone(got), func(errno unix.Errno) bool { return errno == 0 })
	t.Logf("%d of %d failures show", len(shown), len(got))
	others := slices.ContainsFunc(shown, func(errno unix.Errno) bool { return !slices.Contains(errnos, errno) })
	if len(shown) == 0 || others {
		t.Errorf("failures: %v, want some of %v", got, errnos)
	}
}

// nothingHeld fails the test if the module is used more than it was before, or has
// more memory, when the test ends.
func nothingHeld(t *testing.T) {
	t.Helper()
	held := func() (users string, areas int) {
		b, err := os.ReadFile("/sys/module/nlpeer_bench/refcnt")
		if err != nil {
			t.Fatal(err)
		}
		vmalloc, err := os.ReadFile("/proc/vmallocinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b)), strings.Count(string(vmalloc), "[nlpeer_bench]")
	}
	users, areas := held()
	t.Cleanup(func() {
		if u, a := held(); u != users || a != areas {
			t.Errorf("the module has %s users and %d areas of memory, and had %s and %d", u, a, users, areas)
		}
	})
}

// plain is memory outside of Go's, and there already: nothing is allocated for it when
// the kernel touches it.
func plain(t *testing.T, size int) []byte {
	t.Helper()
	b := mapped(t, size, unix.PROT_READ|unix.PROT_WRITE)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// at is where b begins, for Faults.Do.
func at(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// echoes asks for 100 bytes by write and read, and by ioctl, which must work.
func echoes(t *testing.T, fd int, want []byte, ioctls bool) {
	t.Helper()
	b := plain(t, 200)
	write(t, fd, want)
	if n, err := unix.Read(fd, b); n != 100 || err != nil || !bytes.Equal(b[:n], want) {
		t.Errorf("then, by read: %d, %v", n, err)
	}
	if ioctls {
		copy(b[100:], want)
		arg := echoArg{address(b[100:]), address(b), 100, 0}
		clear(b[:100])
		if n, errno := ioctl(fd, ioctlEcho, unsafe.Pointer(&arg)); n != 0 || errno != 0 || !bytes.Equal(b[:100], want) {
			t.Errorf("then, by ioctl: %d, %v", n, errno)
		}
	}
}

// ringsWork asks by rings, which must work.
func ringsWork(t *testing.T, fd int, want []byte) {
	t.Helper()
	r := &rings{fd: fd, area: mapDevice(t, fd)}
	r.put(1, 100, want)
	r.publish()
	r.answered(t, 1)
	r.take(t, 1, want)
	if err := unix.Munmap(r.area); err != nil {
		t.Error(err)
	}
}

// starve lets all fail that the module asks for while f runs.
func starve(t *testing.T, f func()) {
	t.Helper()
	for _, kind := range []string{"failslab", "fail_page_alloc"} {
		vmtest.SetFault(t, kind+"/probability", "100")
		vmtest.SetFault(t, kind+"/times", "-1")
		vmtest.SetFault(t, kind+"/task-filter", "Y")
	}
	const file = "/proc/thread-self/make-it-fail" // OpenFaults keeps us on the thread
	if err := os.WriteFile(file, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	f()
	if err := os.WriteFile(file, []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
}

// Each allocation and each copy in every operation of the module fails once: the error
// is the right one, what was there is there still or is gone as it should, the next
// call works, and nothing is left.
func TestFaults(t *testing.T) {
	want := vmtest.Random(t, 100)
	for _, path := range []string{device, procFile} {
		dir := filepath.Base(filepath.Dir(path))
		t.Run("open, "+dir, func(t *testing.T) { faultsOpen(t, path, want) })
		t.Run("write and read, "+dir, func(t *testing.T) { faultsWriteRead(t, path, want) })
	}
	t.Run("ioctl", func(t *testing.T) { faultsIoctl(t, want) })
	t.Run("mmap", func(t *testing.T) { faultsMmap(t, want) })
	t.Run("doorbell", func(t *testing.T) { faultsDoorbell(t, want) })
	t.Run("sysfs", func(t *testing.T) { faultsSysfs(t, want) })
}

// The kernel's own part of open fails, too.
func faultsOpen(t *testing.T, path string, want []byte) {
	nothingHeld(t)
	f := vmtest.OpenFaults(t)
	name := plain(t, 100)
	clear(name)
	copy(name, path)
	cwd := unix.AT_FDCWD
	try := func(n int) (fd int, errno unix.Errno, happened bool) {
		got, errno, happened := f.Do(t, n, unix.SYS_OPENAT, uintptr(cwd), at(name), unix.O_RDWR|unix.O_CLOEXEC)
		return int(got), errno, happened
	}
	some(t, every(t, func(n int) (unix.Errno, bool) {
		fd, errno, happened := try(n)
		if errno == 0 {
			echoes(t, fd, want, path == device)
			unix.Close(fd)
		}
		fd = open(t, path)
		echoes(t, fd, want, path == device)
		unix.Close(fd)
		return errno, happened
	}), unix.ENOMEM, unix.EFAULT) // EFAULT is of the name, which the kernel copies

	// What the module itself asks for, it gets by another way, if one fails.
	f.InModules(t)
	if errnos := every(t, func(n int) (unix.Errno, bool) {
		fd, errno, happened := try(n)
		if errno == 0 {
			echoes(t, fd, want, path == device)
			unix.Close(fd)
		}
		return errno, happened
	}); len(errnos) == 0 || !slices.Equal(errnos, make([]unix.Errno, len(errnos))) {
		t.Errorf("failures of the module's: %v, want some that do not show", errnos)
	}
	// And if none is left, it says so.
	for range 3 {
		var fd int
		var err error
		starve(t, func() { fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) })
		if err != unix.ENOMEM {
			t.Errorf("without memory: %d, %v, want ENOMEM", fd, err)
		}
		fd = open(t, path)
		echoes(t, fd, want, path == device)
		unix.Close(fd)
	}
}

func faultsWriteRead(t *testing.T, path string, want []byte) {
	nothingHeld(t)
	f := vmtest.OpenFaults(t)
	fd := open(t, path)
	defer unix.Close(fd)
	b, got := plain(t, 100), plain(t, 200)
	copy(b, want)

	copies(t, every(t, func(n int) (unix.Errno, bool) {
		write(t, fd, []byte("there before"))
		sent, errno, happened := f.Do(t, n, unix.SYS_WRITE, uintptr(fd), at(b), 100)
		kept, err := unix.Read(fd, got)
		if ok := errno == 0 && sent == 100 && bytes.Equal(got[:kept], want); err != nil || !ok && (errno == 0 || kept != 0) {
			t.Errorf("failure %d of write: %d, %v, and there is then: % x, %v", n, sent, errno, got[:kept], err)
		}
		return errno, happened
	}), 1)
	echoes(t, fd, want, path == device)

	copies(t, every(t, func(n int) (unix.Errno, bool) {
		write(t, fd, want)
		clear(got)
		first, errno, happened := f.Do(t, n, unix.SYS_READ, uintptr(fd), at(got), 60)
		if errno != 0 {
			first = 0
		}
		if all := make([]byte, 200); copy(all, want[:first]) != int(first) || !bytes.Equal(got, all) {
			t.Errorf("failure %d of read: %v, and it has written % x", n, errno, got)
		}
		if left, err := unix.Read(fd, got); err != nil || !bytes.Equal(got[:left], want[first:]) {
			t.Errorf("failure %d of read: %d, %v; the next gives % x, %v", n, first, errno, got[:left], err)
		}
		return errno, happened
	}), 1)
	echoes(t, fd, want, path == device)
}

func faultsIoctl(t *testing.T, want []byte) {
	nothingHeld(t)
	f := vmtest.OpenFaults(t)
	fd := open(t, device)
	defer unix.Close(fd)
	copies(t, every(t, func(n int) (unix.Errno, bool) {
		_, errno, happened := f.Do(t, n, unix.SYS_IOCTL, uintptr(fd), ioctlNull, 0)
		return errno, happened
	}), 0)

	in, out, got := plain(t, 100), plain(t, 200), plain(t, 200)
	memory := plain(t, int(unsafe.Sizeof(echoArg{})))
	*(*echoArg)(unsafe.Pointer(&memory[0])) = echoArg{address(in), address(out), 100, 0}
	copy(in, want)
	// The argument, what comes in, what goes out.
	copies(t, every(t, func(n int) (unix.Errno, bool) {
		write(t, fd, []byte("written"))
		clear(out)
		_, errno, happened := f.Do(t, n, unix.SYS_IOCTL, uintptr(fd), ioctlEcho, at(memory))
		answer := make([]byte, 200)
		if errno == 0 {
			copy(answer, in)
		}
		if !bytes.Equal(out, answer) {
			t.Errorf("failure %d: %v, and it has written % x", n, errno, out)
		}
		// An echo takes the buffer, but not before it is known what it is about.
		kept := ""
		if n == 1 {
			kept = "written"
		}
		if left, err := unix.Read(fd, got); err != nil || string(got[:left]) != kept {
			t.Errorf("failure %d: %v, and in the buffer is %q, %v; want %q", n, errno, got[:left], err, kept)
		}
		return errno, happened
	}), 3)
	echoes(t, fd, want, true)
}

func faultsMmap(t *testing.T, want []byte) {
	nothingHeld(t)
	f := vmtest.OpenFaults(t)
	// kmemleak's note of what to search in an area is no loss, but nlvm takes it for one.
	vmtest.SetFaultSpace(t, "failslab/reject", "kmemleak_scan_area")
	const length = requestsAt // of the mapping; all of the rings are made
	far := uint64(1) << 44    // where nothing is, and so no page tables are
	try := func(fd, n int) (unix.Errno, bool) {
		addr, errno, happened := f.Do(t, n, unix.SYS_MMAP, uintptr(far), length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED, uintptr(fd), 0)
		if errno == 0 {
			if addr != uintptr(far) {
				t.Errorf("failure %d: mapped at %#x", n, addr)
			}
			if _, _, errno := unix.Syscall(unix.SYS_MUNMAP, addr, length, 0); errno != 0 {
				t.Fatal(errno)
			}
		}
		return errno, happened
	}
	f.InModules(t)
	some(t, every(t, func(n int) (unix.Errno, bool) {
		fd := open(t, device)
		defer unix.Close(fd)
		errno, happened := try(fd, n)
		ringsWork(t, fd, want)
		return errno, happened
	}), unix.ENOMEM)
	// The rings are there, and stay.
	fd := open(t, device)
	defer unix.Close(fd)
	ringsWork(t, fd, want)
	area := mapDevice(t, fd)
	before := bytes.Clone(area)
	if err := unix.Munmap(area); err != nil {
		t.Fatal(err)
	}
	some(t, every(t, func(n int) (unix.Errno, bool) { return try(fd, n) }), unix.ENOMEM)
	area = mapDevice(t, fd)
	if !bytes.Equal(area, before) {
		t.Error("a mapping that fails has changed the rings")
	}
	if err := unix.Munmap(area); err != nil {
		t.Fatal(err)
	}

	other := open(t, device)
	defer unix.Close(other)
	var err error
	starve(t, func() { _, err = unix.Mmap(other, 0, mapSize, unix.PROT_READ, unix.MAP_SHARED) })
	if err != unix.ENOMEM {
		t.Errorf("without memory: %v, want ENOMEM", err)
	}
	if _, errno := ioctl(other, ioctlDoorbell, nil); errno != unix.ENXIO {
		t.Errorf("and then the doorbell: %v, want ENXIO", errno)
	}
	ringsWork(t, other, want)
}

// There is nothing that could fail, and in close nothing that could show.
func faultsDoorbell(t *testing.T, want []byte) {
	nothingHeld(t)
	f := vmtest.OpenFaults(t)
	copies(t, every(t, func(n int) (unix.Errno, bool) {
		r := &rings{fd: open(t, device)}
		r.area = mapDevice(t, r.fd)
		r.put(1, 100, want)
		r.publish()
		answers, errno, happened := f.Do(t, n, unix.SYS_IOCTL, uintptr(r.fd), ioctlDoorbell, 0)
		if answers != 1 {
			t.Errorf("the doorbell: %d, %v", answers, errno)
		}
		r.take(t, 1, want)
		if err := unix.Munmap(r.area); err != nil {
			t.Error(err)
		}
		if _, errno, _ := f.Do(t, n, unix.SYS_CLOSE, uintptr(r.fd)); errno != 0 {
			t.Errorf("close: %v", errno)
		}
		return errno, happened
	}), 0)
}

// What fails is sysfs's own, and the module does not hear of it.
func faultsSysfs(t *testing.T, want []byte) {
	f := vmtest.OpenFaults(t)
	b := plain(t, 100)
	got := plain(t, 200)
	copy(b, want)
	look := func() string {
		t.Helper()
		s, err := os.ReadFile(sysFile)
		if err != nil {
			t.Fatal(err)
		}
		return string(s)
	}
	some(t, every(t, func(n int) (unix.Errno, bool) {
		if err := os.WriteFile(sysFile, []byte("there before"), 0); err != nil {
			t.Fatal(err)
		}
		fd := open(t, sysFile)
		defer unix.Close(fd)
		sent, errno, happened := f.Do(t, n, unix.SYS_WRITE, uintptr(fd), at(b), 100)
		now := look()
		if errno == 0 && (sent != 100 || now != string(want)) || errno != 0 && now != "there before" {
			t.Errorf("failure %d of write: %d, %v, and there is then: % x", n, sent, errno, now)
		}
		return errno, happened
	}), unix.ENOMEM, unix.EFAULT)
	some(t, every(t, func(n int) (unix.Errno, bool) {
		if err := os.WriteFile(sysFile, want, 0); err != nil {
			t.Fatal(err)
		}
		fd := open(t, sysFile)
		defer unix.Close(fd)
		count, errno, happened := f.Do(t, n, unix.SYS_READ, uintptr(fd), at(got), 200)
		if errno == 0 && !bytes.Equal(got[:count], want) {
			t.Errorf("failure %d of read: %d bytes that are others", n, count)
		}
		if now := look(); now != string(want) {
			t.Errorf("failure %d of read: %v, and there is then: % x", n, errno, now)
		}
		return errno, happened
	}), unix.ENOMEM, unix.EFAULT)
}
