// SPDX-License-Identifier: MIT

package lifecycle_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// A waiter waits for the last event of a group.
type waiter struct {
	*vmtest.Socket
	name   string
	group  uint32
	header int // bytes before the attributes
}

// waiters are those that may be there when the module goes, for each group and in two
// namespaces. Who listens beside another gets a copy.
func waiters(t *testing.T, there *vmtest.Net) (all []waiter) {
	t.Helper()
	family := vmtest.Nlpeer(t)
	genl := func(name string, s *vmtest.Socket, group uint32) {
		all = append(all, waiter{s, name + " of genl", group, 4})
		s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, int(family.Groups[map[uint32]string{
			vmtest.GroupBeacon: "beacon", vmtest.GenlGroupObjects: "objects"}[group]]))
	}
	genl("beacon", vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.GroupBeacon)
	genl("beacon", vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.GroupBeacon)
	genl("objects", vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.GenlGroupObjects)
	genl("beacon of another namespace", there.Open(t, unix.NETLINK_GENERIC, 0, 0), vmtest.GroupBeacon)
	for range 2 {
		s := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
		s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, vmtest.CnIdx)
		all = append(all, waiter{s, "connector", vmtest.GroupConnector, vmtest.CnHeader})
	}
	return all
}

// ends takes what has come: the end, which is the first event of its group, or that
// something was lost, or nothing.
func (w waiter) ends(t *testing.T) (heard, told bool) {
	t.Helper()
	for {
		b, err := w.TryRecv(0)
		switch {
		case errors.Is(err, unix.ETIMEDOUT):
			return heard, told
		case errors.Is(err, unix.ENOBUFS):
			told = true
			continue
		case err != nil:
			t.Fatalf("%s: %v", w.name, err)
		}
		all := vmtest.Parse(t, b)
		if len(all) != 1 || heard {
			t.Fatalf("%s: %d messages at once, want 1, and heard before: %v", w.name, len(all), heard)
		}
		e := vmtest.ParseEvent(t, vmtest.Attrs(t, all[0].Body[w.header:]))
		if e.Kind != vmtest.KindEnd || e.Group != w.group || e.Seq != 1 || len(e.Data) != 0 {
			t.Errorf("%s: %+v", w.name, e)
		}
		heard = true
	}
}

// Unloading asks for memory, too: for the events that say so. Each of these allocations
// fails once. The module goes all the same, and who does not hear of it is told that
// something was lost. Only the connector tells nobody, if there is no message to begin
// with.
func TestUnloadWithFaults(t *testing.T) {
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	// kmemleak's note of an allocation is half of all allocations, and no loss.
	vmtest.SetFaultSpace(t, "failslab/reject", "__alloc_object")
	unloaded(t)
	there := vmtest.NewNet(t)
	name := append([]byte("nlpeer"), 0)
	var missed, silent int // by generic netlink, and by the connector without being told
	n := 1
	for ; !t.Failed(); n++ {
		insmod(t, "interval_ms=0")
		all := waiters(t, there)
		_, errno, happened := f.Do(t, n, unix.SYS_DELETE_MODULE, uintptr(unsafe.Pointer(&name[0])), unix.O_NONBLOCK)
		if errno != 0 {
			t.Fatalf("failure %d: %v", n, errno)
		}
		nothingLeft(t)
		groups := map[string]bool{} // that have missed the end
		untold := 0
		for _, w := range all {
			heard, told := w.ends(t)
			w.Close()
			switch {
			case heard && told:
				t.Errorf("failure %d: %s has heard the end, and that something was lost", n, w.name)
			case heard:
				continue
			case told:
			case w.group == vmtest.GroupConnector:
				untold++
			default:
				t.Errorf("failure %d: %s has not heard the end, and is not told", n, w.name)
			}
			groups[w.name] = true
			if w.group != vmtest.GroupConnector {
				missed++
			}
		}
		// One event, to one group of one namespace, is lost by a failure.
		if len(groups) > 1 || untold == 1 || !happened && len(groups) > 0 {
			t.Errorf("failure %d, %v: the end has not come to %v, and of two at the connector, %d are not told", n, happened, groups, untold)
		}
		silent += untold
		if !happened {
			break
		}
	}
	vmtest.Count(t, "faults", n-1)
	t.Logf("%d have missed the end by generic netlink, %d by the connector, untold", missed, silent)
	if missed < 4 || silent < 2 {
		t.Errorf("%d have missed the end by generic netlink, %d by the connector; want 4 and 2 at least", missed, silent)
	}
	insmod(t)
	works(t, vmtest.NetlinkTest)
}

// A namespace ends, whether there is what its last events ask for or not. Nobody can
// listen in it any more, but the kernel knows only that somebody listens somewhere.
func TestNamespaceEndsWithoutMemory(t *testing.T) {
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	unloaded(t)
	insmod(t, "interval_ms=0")
	l := vmtest.ListenGenl(t)
	objects := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	objects.Set(t, unix.NETLINK_ADD_MEMBERSHIP, int(vmtest.Nlpeer(t).Groups["objects"]))
	n := vmtest.NewNet(t)
	n.Control(t).Close()

	const most, events = 1000, 2
	failed := func() int {
		t.Helper()
		left, err := strconv.Atoi(strings.TrimSpace(vmtest.ReadFile(t, "/sys/kernel/debug/failslab/times")))
		if err != nil {
			t.Fatal(err)
		}
		return most - left
	}
	vmtest.SetFault(t, "failslab/times", fmt.Sprint(most))
	vmtest.SetFault(t, "failslab/probability", "100") // of all tasks: a kernel thread ends it
	n.Close()
	vmtest.Until(t, "the namespace has asked for its last events", func() bool { return failed() >= events })
	vmtest.SetFault(t, "failslab/probability", "0")
	vmtest.Count(t, "faults", failed())

	l.Empty(t)
	objects.Empty(t)
	next := vmtest.NewNet(t)
	next.Control(t).Stats(t)
	next.Close()
	works(t, vmtest.NetlinkTest)
	// This waits for the end of both.
	if err := vmtest.Rmmod("nlpeer"); err != nil {
		t.Fatalf("rmmod: %v", err)
	}
	nothingLeft(t)
	l.Ended(t)
}
