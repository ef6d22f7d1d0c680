// SPDX-License-Identifier: MIT

package bounds_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// An event costs as much as it has listeners, and nobody bounds those: so what
// sends many events ends after some seconds, done or not, and says so. All who use
// generic netlink may have to wait for it.
func TestRequestsEnd(t *testing.T) {
	const burst = 4096
	many := vmtest.Times(20000)
	limit := unix.Rlimit{Cur: 50000, Max: 50000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	vmtest.Module(t, "interval_ms=0", "history=0", "object_bytes=10000000", fmt.Sprintf("objects=%d", many))
	attr := func(typ uint16, value uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(value)} }
	c := vmtest.OpenControl(t)
	tables := map[string]*vmtest.Table{
		"raw":  vmtest.OpenTable(t, vmtest.RawCarrier),
		"genl": vmtest.OpenTable(t, vmtest.GenlCarrier),
	}
	fill := func() { vmtest.FillObjects(t, tables["raw"], many, []byte("value")) }
	fill()
	c.Set(t, attr(vmtest.BeaconGroups, 0xffffffff))

	var listeners []*vmtest.Socket
	listen := func(n int) {
		for range n {
			s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0xffffffff)
			if err != nil {
				t.Fatalf("%d listeners: %v", len(listeners), err)
			}
			listeners = append(listeners, s)
			s.SetBuffer(t, 1)
		}
	}
	deaf := func() {
		for _, s := range listeners {
			s.Close()
		}
		listeners = nil
	}
	defer func() { deaf() }()
	// A slow kernel ends it now and then even if nobody listens.
	empty := func() {
		deaf()
		for left := uint32(many); left > 0; {
			_, ack := tables["genl"].Ask(t, vmtest.DelObjects(""))
			now := c.TableStats(t).Count
			if now >= left || (ack.Errno == 0) != (now == 0) {
				t.Fatalf("%d of %d objects are left: %+v", now, left, ack)
			}
			left = now
		}
	}
	took := func(do func()) uint64 {
		begin := vmtest.Now(t)
		do()
		return vmtest.Now(t) - begin
	}
	// Enough of them that all would take four times as long as it may.
	const all, few = 20e9, 16
	left := many
	for {
		listen(500)
		events := took(func() { c.Set(t, attr(vmtest.BeaconBurst, few)) })
		key := vmtest.NumberedKey(many - left)
		changes := took(func() { tables["raw"].Must(t, vmtest.DelObjects(key[:len(key)-1])) })
		left -= few
		if events/few*burst > all && changes/few*uint64(left) > all {
			t.Logf("with %d listeners: %d us for an event to each group, %d us for a deletion", len(listeners), events/few/1e3, changes/few/1e3)
			break
		}
	}

	before := c.Stats(t).Raw.Events
	_, ack := c.Request(t, vmtest.CmdBeaconSet, attr(vmtest.BeaconSize, 7), attr(vmtest.BeaconBurst, burst))
	if ack.Errno != unix.EAGAIN || ack.Text != "nlpeer: the burst took too long and was cut short" {
		t.Errorf("a burst: %+v", ack)
	}
	// One to each of the groups, at least.
	if n := c.Stats(t).Raw.Events - before; n < 32 || n >= 32*burst {
		t.Errorf("%d events of %d", n, 32*burst)
	}
	if b := c.Beacon(t); b.Size != 7 {
		t.Errorf("the settings are %+v", b)
	}

	n := len(listeners)
	for name, tb := range tables {
		empty()
		fill()
		listen(n)
		if _, ack := tb.Ask(t, vmtest.DelObjects("")); ack.Errno != unix.EAGAIN || ack.Text != "nlpeer: took too long, not all are deleted; ask again" {
			t.Errorf("%s: deletion of all: %+v", name, ack)
		}
		if left := c.TableStats(t).Count; left == 0 || int(left) >= many {
			t.Errorf("%s: %d of %d objects are left", name, left, many)
		}
	}

	// Nor does who is killed go on.
	empty()
	fill()
	listen(n)
	cmd := vmtest.Command(t, deleteAll, vmtest.Who{})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	vmtest.Until(t, "the deletion has begun", func() bool { return kernelTime(t, cmd.Process.Pid) >= 20 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if d := took(func() { _ = cmd.Wait() }); d > 2e9 {
		t.Errorf("a deletion went on for %d ms after the signal", d/1e6)
	}
	if left := c.TableStats(t).Count; left == 0 || int(left) >= many {
		t.Errorf("killed: %d of %d objects are left", left, many)
	}
	empty()
	c.Set(t, attr(vmtest.BeaconBurst, 1))
}

// deleteAll is a child that deletes all objects.
var deleteAll = vmtest.Register("delete all objects", func() (string, error) {
	s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0)
	if err == nil {
		err = s.TrySend(vmtest.RawCarrier.Encode(0, 1, vmtest.DelObjects("")).Bytes())
	}
	return "", err
})

// kernelTime is how long a process has been in the kernel, in hundredths of a second.
func kernelTime(t *testing.T, pid int) (n int) {
	t.Helper()
	_, after, _ := strings.Cut(vmtest.ReadFile(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	if _, err := fmt.Sscan(strings.Fields(after)[12], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
