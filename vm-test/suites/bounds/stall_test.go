// SPDX-License-Identifier: MIT

package bounds_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// idleBurst is a child: root of a user namespace of its own, it has a beacon at full
// speed, and sends a burst that takes as long as may be, as a task that runs only if
// no other wants to. It says when that began and when it ended.
var idleBurst = vmtest.Register("burst of an idle task", func() (string, error) {
	var id uint16
	if _, err := fmt.Sscan(os.Getenv("NLPEER_FAMILY"), &id); err != nil {
		return "", err
	}
	for range 100 {
		if _, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0xffffffff); err != nil {
			return "", err
		}
	}
	s, err := vmtest.TryOpen(unix.NETLINK_GENERIC, 0, 0)
	if err != nil {
		return "", err
	}
	attr := func(typ uint16, value uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(value)} }
	burst := vmtest.NewGenl(id, vmtest.CmdBeaconSet, 1, attr(vmtest.BeaconInterval, 1), attr(vmtest.BeaconGroups, 0xffffffff),
		attr(vmtest.BeaconSize, 4096), attr(vmtest.BeaconBurst, 4096)).Bytes()
	if _, err := unix.Write(3, []byte("!")); err != nil {
		return "", err
	}
	runtime.LockOSThread()
	const idle, priority = 5, 0
	param := int32(priority)
	if _, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, idle, uintptr(unsafe.Pointer(&param))); errno != 0 {
		return "", errno
	}
	begin, err := boottime()
	if err == nil {
		err = s.TrySend(burst)
	}
	end, err2 := boottime()
	if err == nil {
		err = err2
	}
	return fmt.Sprint(begin, " ", end), err
})

func boottime() (int64, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano(), err
}

// Whoever sends events, and gets next to no processor for it, holds up the beacon
// of his own namespace, and no other.
func TestBeaconWaitsForNobodysBurst(t *testing.T) {
	const ms = 10
	vmtest.Module(t, "interval_ms=0", "history=0")
	c := vmtest.OpenControl(t)
	t.Setenv("NLPEER_FAMILY", fmt.Sprint(vmtest.Nlpeer(t).ID))
	attr := func(typ uint16, value uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(value)} }
	c.Set(t, attr(vmtest.BeaconGroups, 1), attr(vmtest.BeaconInterval, ms))
	l := vmtest.Open(t, vmtest.NetlinkTest, 0, 1)

	child := start(t, idleBurst)
	child.wait(t)
	pid := child.cmd.Process.Pid
	before := kernelTime(t, pid)
	vmtest.Until(t, "the burst has begun", func() bool { return kernelTime(t, pid) >= before+10 })

	events := 0
	buf := make([]byte, 8192)
	for err := error(nil); err != unix.EAGAIN; _, _, err = unix.Recvfrom(l.FD, buf, unix.MSG_DONTWAIT) {
	}
	from := vmtest.Now(t)
	for end := from + uint64(2*time.Second); vmtest.Now(t) < end; { // without a pause
		if _, _, err := unix.Recvfrom(l.FD, buf, unix.MSG_DONTWAIT); err == nil {
			events++
		} else if err != unix.EAGAIN && err != unix.EINTR {
			t.Fatal(err)
		}
	}
	to := vmtest.Now(t)
	var begin, end uint64
	if _, err := fmt.Sscan(child.quit(t), &begin, &end); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events of %d", events, int(to-from)/ms/1e6)
	if begin > from || end < to {
		t.Errorf("the burst went on from %d to %d, events were counted from %d to %d: that shows nothing", begin, end, from, to)
	}
	if events < int(to-from)/ms/1e6/2 {
		t.Errorf("%d events came in %d ms beside the burst, one in %d ms was to come", events, (to-from)/1e6, ms)
	}
}
