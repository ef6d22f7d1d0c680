// SPDX-License-Identifier: MIT

// Package privilege_test tries every operation as everybody, and wants the
// answers of the table in vm-test/security.
package privilege_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/security"
	"nlpeer/vm-test/suites/vmtest"
)

// actors are the columns of both tables, in their order.
var actors = []struct {
	vmtest.Who
	opener int // of the sockets that are handed over, -1 for none
}{
	{vmtest.Who{}, -1},
	{vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, -1},
	{vmtest.Who{NetNS: true}, -1},
	{vmtest.Who{UID: vmtest.Nobody, UserNS: true}, -1},
	{vmtest.Who{UID: vmtest.Nobody}, -1},
	{vmtest.Who{UID: vmtest.Nobody, NetNS: true}, -1},

	{vmtest.Who{UID: vmtest.Nobody}, 0},
	{vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, 0},
	{vmtest.Who{}, vmtest.Nobody},
}

func columns() []string { return slices.Concat(security.Actors, security.Handed) }

// want is a column of the table, by row.
func want(column int, userSend bool) map[string]string {
	all := map[string]string{}
	rows := security.Table()
	if userSend {
		rows = append(rows, security.WithUserSend()...)
	}
	for _, r := range rows {
		all[r.Carrier+": "+r.Operation] = slices.Concat(r.Actors[:], r.Handed[:])[column]
	}
	return all
}

// asUser lets a user of this process's namespaces do something.
func asUser(t *testing.T, uid int, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with its user
		if uid != 0 {
			// Of this thread alone, which is not what unix.Setresuid does.
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				done <- errno
				return
			}
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// openAs opens the sockets of attempts as somebody.
func openAs(t *testing.T, uid int) (files []*os.File) {
	t.Helper()
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	asUser(t, uid, func() (err error) {
		for _, protocol := range protocols {
			s, failed := vmtest.TryOpen(protocol, 0, 0)
			err = errors.Join(err, failed)
			if failed == nil {
				files = append(files, os.NewFile(uintptr(s.FD), "netlink"))
			}
		}
		return err
	})
	return files
}

// hand sends files through a socket, as one process does to another, and
// returns the end that the other receives them by.
func hand(t *testing.T, files []*os.File) *os.File {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "handed")
	t.Cleanup(func() { theirs.Close() })
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := unix.Sendmsg(pair[0], []byte("!"), unix.UnixRights(fds...), nil, 0); err != nil {
		t.Fatal(err)
	}
	return theirs
}

func TestWhoMayWhat(t *testing.T) {
	whoMayWhat(t, false)
}

// The parameter user_send lets everybody send to others, and lets nobody do
// anything else.
func TestWhoMayWhatWithUserSend(t *testing.T) {
	whoMayWhat(t, true)
}

func whoMayWhat(t *testing.T, userSend bool) {
	params := []string{"interval_ms=0"}
	if userSend {
		params = append(params, "user_send=1")
	}
	vmtest.Module(t, params...)
	f := vmtest.Nlpeer(t)
	t.Setenv(familyEnv, fmt.Sprint(f.ID, f.Groups["beacon"], f.Groups["objects"]))
	if len(actors) != len(columns()) {
		t.Fatalf("%d actors, the table has %d", len(actors), len(columns()))
	}
	cells := 0
	for i, name := range columns() {
		t.Run(name, func(t *testing.T) {
			cells += column(t, i, userSend)
		})
	}
	t.Logf("%d cells", cells)
}

// The witnesses of the test, in the initial namespace: a socket of each of the first
// protocols, with a port and in a group.
const (
	witnessPort = 4242

	toGroup = "send to a group"
	toPort  = "send to another's port"
)

var witnesses = []struct {
	carrier string
	group   uint32
}{
	{"raw", 9},
	{"generic", 1}, // of all families: what there are, and which are new
	{"rtnetlink", unix.RTNLGRP_NOTIFY},
	{"connector", vmtest.CnIdx},
}

// column tries all operations as one actor, and looks at what came of them in
// the initial namespace.
func column(t *testing.T, i int, userSend bool) int {
	c, tb := vmtest.OpenControl(t), vmtest.OpenTable(t, vmtest.RawCarrier)
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(0)}, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(0)})
	tb.Must(t, vmtest.DelObjects(""))
	tb.Must(t, vmtest.NewObject(vmtest.FlagCreate, "there"))
	var heard []*vmtest.Socket
	for i, w := range witnesses {
		heard = append(heard, vmtest.Open(t, protocols[i], witnessPort, 1<<(w.group-1)))
	}

	who := actors[i].Who
	t.Setenv(handedEnv, "")
	if actors[i].opener >= 0 {
		t.Setenv(handedEnv, "yes")
		who.Files = []*os.File{hand(t, openAs(t, actors[i].opener))}
	}
	out, err := vmtest.Run(t, try, who)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(out) {
		row, result, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		got[row] = result
	}
	want := want(i, userSend)
	for _, row := range slices.Sorted(maps.Keys(want)) {
		if got[row] != want[row] {
			t.Errorf("%s: %q, want %q", row, got[row], want[row])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d results, want %d: %s", len(got), len(want), out)
	}

	// What was allowed was done here only by who was here.
	here := !actors[i].NetNS || actors[i].opener >= 0
	done := func(row string) bool { return here && want[row] == "ok" }
	interval, keys := uint32(0), []string{"there"}
	if done("generic: beacon-set") {
		interval = settled
	}
	for _, carrier := range []string{"generic", "raw", "rtnetlink"} {
		if done(carrier + ": object-new, without an address") {
			keys = append(keys, "connected "+carrier)
		}
	}
	slices.Sort(keys)
	if b := c.Beacon(t); b.Interval != interval {
		t.Errorf("interval of the initial namespace is %d afterwards, want %d", b.Interval, interval)
	}
	var left []string
	for _, o := range tb.All(t) {
		left = append(left, o.Key)
	}
	if !slices.Equal(left, keys) {
		t.Errorf("left in the initial namespace: %q, want %q", left, keys)
	}
	for i, w := range witnesses {
		wanted := []string{}
		for _, row := range []string{w.carrier + ": " + toGroup, w.carrier + ": " + toPort} {
			if done(row) {
				wanted = append(wanted, row)
			}
		}
		if all := hear(t, heard[i]); !slices.Equal(all, wanted) {
			t.Errorf("the witness of %s heard %q, want %q", w.carrier, all, wanted)
		}
	}
	return len(want)
}

// hear takes what came to a socket from user space.
func hear(t *testing.T, s *vmtest.Socket) []string {
	t.Helper()
	all := []string{}
	buf := make([]byte, 8192)
	for {
		n, from, err := unix.Recvfrom(s.FD, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if from.(*unix.SockaddrNetlink).Pid == 0 {
			continue // an event
		}
		for _, m := range vmtest.Parse(t, bytes.Clone(buf[:n])) {
			all = append(all, string(m.Body))
		}
	}
}
