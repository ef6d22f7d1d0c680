// SPDX-License-Identifier: MIT

// Package storm_test has what comes in numbers: thousands of sockets, and
// processes that die with all that they had begun.
package storm_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Ten thousand sockets, all of which listen and ask: each hears the one event,
// each gets its own answer, and nothing is left of them.
func TestSockets(t *testing.T) {
	n := vmtest.Scale(500, 10000)
	limit := unix.Rlimit{Cur: uint64(n) + 100, Max: uint64(n) + 100}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	vmtest.Module(t, "interval_ms=0", "groups=16")
	c := vmtest.OpenControl(t)
	beacon := int(vmtest.Nlpeer(t).Groups["beacon"])
	before := vmtest.Slabs(t)
	payload := vmtest.Random(t, 100)
	buf := make([]byte, 8192)
	read := func(fd int) []vmtest.Message {
		size, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			t.Fatalf("nothing came: %v", err)
		}
		return vmtest.Parse(t, buf[:size])
	}

	var all []*vmtest.Socket
	defer func() {
		for _, s := range all {
			s.Close()
		}
	}()
	ports := map[uint32]bool{}
	for i := range n {
		protocol, groups := vmtest.NetlinkTest, uint32(16)
		if i%4 == 3 {
			protocol, groups = unix.NETLINK_GENERIC, 0
		}
		s, err := vmtest.TryOpen(protocol, 0, groups)
		if err != nil {
			t.Fatalf("socket %d: %v", i, err)
		}
		if groups == 0 {
			s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, beacon)
		} else if ports[s.PortID] {
			t.Fatalf("port ID %d twice", s.PortID)
		} else {
			ports[s.PortID] = true
		}
		all = append(all, s)
	}
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(1)}, vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(50)})
	events, answers := 0, 0
	for i, s := range all {
		m := read(s.FD)[0]
		body := m.Body
		if m.Type != vmtest.MsgEvent {
			body = body[4:]
		}
		if e := vmtest.ParseEvent(t, vmtest.Attrs(t, body)); e.Seq != 1 || len(e.Data) != 50 {
			t.Fatalf("socket %d: event %d with %d bytes", i, e.Seq, len(e.Data))
		}
		events++
	}
	for i, s := range all {
		req := vmtest.NewEcho(uint32(i), payload)
		if i%4 == 3 {
			req = vmtest.NewGenl(c.Family, vmtest.CmdEcho, uint32(i), vmtest.Attr{Type: 1, Data: payload})
		}
		s.Send(t, req.Bytes())
	}
	for i, s := range all {
		m := read(s.FD)[0]
		if m.Seq != uint32(i) || m.PortID != s.PortID || string(m.Body[len(m.Body)-len(payload):]) != string(payload) {
			t.Fatalf("socket %d of port ID %d: answer %d to port ID %d", i, s.PortID, m.Seq, m.PortID)
		}
		s.Empty(t)
		answers++
	}
	st := c.Stats(t)
	vmtest.Count(t, "sockets at a time", n)
	t.Logf("%d sockets: %d events, %d answers; %d and %d errors", n, events, answers, st.Raw.Errors, st.Genl.Errors)
	for _, s := range all {
		s.Close()
	}
	all = nil
	vmtest.Level(t, before, 600)
}

// begun is a child that begins all it can, and is killed in the middle of it:
// dumps of all kinds, some half read; echoes, events and batches not read.
var begun = vmtest.Register("begin and die", func() (string, error) {
	var family uint16
	var groups [2]int
	if _, err := fmt.Sscan(os.Getenv("NLPEER_FAMILY"), &family, &groups[0], &groups[1]); err != nil {
		return "", err
	}
	for i, c := range vmtest.Carriers {
		for k, flags := range []uint16{0, vmtest.FlagAtomic, 0} {
			s, err := vmtest.TryOpen(c.Protocol, 0, 0)
			if err == nil {
				err = s.TrySend(c.Encode(family, 1, vmtest.GetObjects(flags)).Bytes())
			}
			if err == nil && (i+k)%2 == 0 {
				_, err = s.TryRecv(vmtest.Deadline())
			}
			if err != nil {
				return "", err
			}
		}
	}
	raw, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0xffffffff)
	if err == nil {
		err = raw.TrySend(vmtest.Join(vmtest.NewEcho(1, make([]byte, 5000)), vmtest.NewEcho(2, make([]byte, 5000))))
	}
	var genl *vmtest.Socket
	if err == nil {
		genl, err = vmtest.TryOpen(unix.NETLINK_GENERIC, 0, 0)
	}
	for _, g := range groups {
		if err == nil {
			err = unix.SetsockoptInt(genl.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	if err == nil {
		req := vmtest.NewGenl(family, 6, 1, vmtest.Attr{Type: 1, Data: vmtest.U32(vmtest.RawGroupObjects)})
		req.Flags |= unix.NLM_F_DUMP
		err = genl.TrySend(req.Bytes())
	}
	if err != nil {
		return "", err
	}
	if _, err := unix.Write(1, []byte("!")); err != nil {
		return "", err
	}
	for { // until it is killed, it never stops asking
		raw.TrySend(vmtest.NewEcho(3, make([]byte, 20000)).Bytes())
	}
})

// Processes die in the middle of dumps, with answers and events that they never
// read. Nothing of them is left: no dump, no memory, no hold on the module.
func TestKilled(t *testing.T) {
	n := vmtest.Scale(10, 300)
	vmtest.Module(t, "interval_ms=1", "groups=0xffffffff", "history=100")
	f := vmtest.Nlpeer(t)
	t.Setenv("NLPEER_FAMILY", fmt.Sprint(f.ID, f.Groups["beacon"], f.Groups["objects"]))
	c, tb := vmtest.OpenControl(t), vmtest.OpenTable(t, vmtest.RawCarrier)
	if err := unix.SetsockoptInt(tb.FD, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20); err != nil { // by default a 32-bit kernel has too little
		t.Fatal(err)
	}
	vmtest.FillObjects(t, tb, 100, make([]byte, 2000))
	dumps, overruns := 0, 0
	kill := func() {
		cmd := vmtest.Command(t, begun, vmtest.Who{})
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd.Stdout = w
		err = cmd.Start()
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err != nil {
			t.Fatalf("the child died by itself: %v, %v", err, cmd.Wait())
		}
		dumps += int(c.Stats(t).Objects.Snapshots)
		for _, s := range vmtest.Sockets(t) {
			if s.Protocol == vmtest.NetlinkTest && s.Drops > 0 {
				overruns++
			}
		}
		tb.Must(t, vmtest.NewObject(vmtest.FlagReplace, vmtest.NumberedKey(dumps%100), make([]byte, 2000)))
		cmd.Process.Kill()
		cmd.Wait()
		vmtest.Until(t, "its atomic dumps have ended", func() bool { return c.Stats(t).Objects.Snapshots == 0 })
	}
	kill()
	before := vmtest.Slabs(t)
	for range n {
		kill()
	}
	vmtest.Level(t, before, 500)
	vmtest.Count(t, "processes killed", n)
	vmtest.Count(t, "dumps left by them", dumps)
	vmtest.Count(t, "sockets of theirs overrun", overruns)
	t.Logf("%d processes killed: %d atomic dumps in progress, %d sockets overrun", n, dumps, overruns)
	if dumps != 3*(n+1) {
		t.Errorf("%d atomic dumps were in progress, want %d", dumps, 3*(n+1))
	}
	if len(tb.All(t)) != 100 {
		t.Error("the table is not what it was")
	}
	tb.Close()
	c.Close()
	vmtest.Unload(t)
}
