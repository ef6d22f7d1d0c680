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
	t.Logf("%d beacons of 1 ms, made in %v: a task has %.0f %% of the processor", n, made.Round(time.Millisecond), 100*beset/alone)
	if beset < alone/4 {
		t.Errorf("a task makes %.0f turns a second, %.0f without beacons", beset, alone)
	}
}
