// SPDX-License-Identifier: MIT

package bounds_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// storm is a child: root of a user namespace of its own, it makes network
// namespaces, each with a beacon at full speed that nobody listens to, says so,
// and waits for the end of its input.
var storm = vmtest.Register("storm of beacons", func() (string, error) {
	n, err := strconv.Atoi(os.Getenv("NLPEER_STORM"))
	if err != nil {
		return "", err
	}
	var id uint16
	if _, err := fmt.Sscan(os.Getenv("NLPEER_FAMILY"), &id); err != nil {
		return "", err
	}
	set := vmtest.NewGenl(id, vmtest.CmdBeaconSet, 1, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(1)}).Bytes()
	var sockets []*vmtest.Socket
	for range n {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return "", err
		}
		s, err := vmtest.TryOpen(unix.NETLINK_GENERIC, 0, 0) // keeps the namespace
		if err != nil {
			return "", err
		}
		sockets = append(sockets, s)
	}
	for _, s := range sockets {
		if err := s.TrySend(set); err != nil {
			return "", err
		}
	}
	return "", ready()
})

// pace is how many turns of a loop this process makes in a second.
func pace() float64 {
	turns, begin := 0, time.Now()
	for time.Since(begin) < time.Second {
		for i := range 1000 {
			turns += i & 1
		}
	}
	return float64(turns) / time.Since(begin).Seconds()
}

// However many beacons somebody without privilege sets, in namespaces of his
// own, they take no more of a processor than a task would.
func TestBeaconsShareAProcessor(t *testing.T) {
	n := vmtest.Scale(100, 500)
	vmtest.Module(t, "interval_ms=0", "objects=1", "object_bytes=1", "history=0")
	t.Setenv("NLPEER_STORM", fmt.Sprint(n))
	t.Setenv("NLPEER_FAMILY", fmt.Sprint(vmtest.Nlpeer(t).ID))
	alone := pace()

	begin := time.Now()
	c := start(t, storm)
	c.wait(t)
	made := time.Since(begin)
	// A virtual processor gets what its host has left at the time, so a slow
	// second says nothing; but if the beacons take all, no second is any better.
	beset := pace()
	for tries := 1; beset < alone/4 && tries < 20; tries++ {
		beset = max(beset, pace())
	}
	c.quit(t)
	vmtest.Count(t, "beacons of 1 ms", n)
	t.Logf("%d beacons of 1 ms, made in %v: a task has %.0f %% of the processor", n, made.Round(time.Millisecond), 100*beset/alone)
	if beset < alone/4 {
		t.Errorf("a task makes %.0f turns a second, %.0f without beacons", beset, alone)
	}
}

// Who sets his beacon does not wait for those of others: they take turns, and the
// rest of generic netlink may wait behind the request.
func TestBeaconSetWaitsForNobody(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "objects=1", "object_bytes=1", "history=0")
	c := vmtest.OpenControl(t)
	other := vmtest.NewNet(t)
	var listeners []*vmtest.Socket
	more := func() error {
		for range 500 {
			s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0xffffffff)
			if err != nil {
				return err
			}
			listeners = append(listeners, s)
			if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
				return err
			}
		}
		return nil
	}
	t.Cleanup(func() {
		for _, s := range listeners {
			s.Close()
		}
	})
	attr := func(typ uint16, value uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(value)} }
	theirs := other.Control(t)
	theirs.Set(t, attr(vmtest.BeaconGroups, 0xffffffff), attr(vmtest.BeaconSize, 4096), attr(vmtest.BeaconInterval, 1))
	const long = 50e6 // nanoseconds of a tick, in which there is time for many settings
	for tick := int64(0); tick < long; {
		other.Do(t, more)
		const n = 3
		begin, from := vmtest.Now(t), theirs.Stats(t).Ticks
		vmtest.Until(t, "the other beacon ticks", func() bool { return theirs.Stats(t).Ticks >= from+n })
		tick = int64(vmtest.Now(t)-begin) / n
	}

	const times = 40
	before, begin := theirs.Stats(t).Ticks, vmtest.Now(t)
	for i := range uint32(times) {
		c.Set(t, attr(vmtest.BeaconInterval, 1+i%2))
		// Its tick is due, and stands behind the other's.
		for due := vmtest.Now(t) + 3e6; vmtest.Now(t) < due; {
		}
	}
	ticks, took := theirs.Stats(t).Ticks-before, vmtest.Now(t)-begin
	t.Logf("%d ticks of the other beacon, with %d listeners, during %d settings of ours, which took %d ms", ticks, len(listeners), times, took/1e6)
	if ticks > times/2 {
		t.Errorf("%d ticks of the other beacon went by during %d settings of ours", ticks, times)
	}
	c.Set(t, attr(vmtest.BeaconInterval, 0))
	if s := c.Stats(t); s.Missed == 0 {
		t.Errorf("no tick was taken back: %+v", s)
	}
}
