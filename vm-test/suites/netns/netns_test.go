// SPDX-License-Identifier: MIT

// Package netns_test asserts that each network namespace is a world of its own
// to the module: sockets, beacon, event numbers and statistics; and that
// namespaces may come and go at any time.
package netns_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

func interval(ms uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(ms)}
}

func size(n uint32) vmtest.Attr {
	return vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(n)}
}

// world is what a test has in one namespace.
type world struct {
	net     *vmtest.Net // nil for the initial one
	control *vmtest.Control
}

func here(t *testing.T) world {
	t.Helper()
	return world{nil, vmtest.OpenControl(t)}
}

func elsewhere(t *testing.T) world {
	t.Helper()
	n := vmtest.NewNet(t)
	return world{n, n.Control(t)}
}

func (w world) open(t *testing.T, protocol int, groups uint32) *vmtest.Socket {
	t.Helper()
	if w.net == nil {
		return vmtest.Open(t, protocol, 0, groups)
	}
	return w.net.Open(t, protocol, 0, groups)
}

// listen listens to raw group 1 and to the generic group.
func (w world) listen(t *testing.T) []*vmtest.Listener {
	t.Helper()
	listeners := []*vmtest.Listener{
		vmtest.RawListener(w.open(t, vmtest.NetlinkTest, 1)),
		vmtest.GenlListener(t, w.open(t, unix.NETLINK_GENERIC, 0)),
	}
	for _, l := range listeners {
		l.SetBuffer(t, 4<<20) // they are not read all the time
	}
	return listeners
}

// answers asks by both protocols.
func (w world) answers(t *testing.T) {
	t.Helper()
	raw := w.open(t, vmtest.NetlinkTest, 0)
	defer raw.Close()
	req := vmtest.NewEcho(7, bytes.Repeat([]byte("raw "), 25))
	raw.Send(t, req.Bytes())
	if m := raw.RecvOne(t); m.Type != vmtest.MsgEcho || m.PortID != raw.PortID || !bytes.Equal(m.Body, req.Body) {
		t.Errorf("raw echo: %+v", m)
	}
	payload := bytes.Repeat([]byte("genl"), 25)
	reply, ack := w.control.Request(t, vmtest.CmdEcho, vmtest.Attr{Type: 1, Data: payload})
	if ack.Errno != 0 || len(reply) != 1 || !bytes.Equal(reply[0].Data, payload) {
		t.Errorf("generic echo: %v, %+v", ack.Errno, reply)
	}
}

func TestOwnSettingsAndStatistics(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=3")
	h, a, b := here(t), elsewhere(t), elsewhere(t)
	defaults := vmtest.Beacon{Groups: 3, Genl: 1}
	changed := vmtest.Beacon{Interval: 1, Groups: 0, Genl: 0, Size: 9}
	a.control.Set(t, changed.Attrs()...)
	for _, tt := range []struct {
		name string
		w    world
		want vmtest.Beacon
	}{{"initial", h, defaults}, {"changed", a, changed}, {"other", b, defaults}} {
		if got := tt.w.control.Beacon(t); got != tt.want {
			t.Errorf("%s namespace: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	vmtest.Until(t, "the changed beacon ticks", func() bool { return a.control.Stats(t).Ticks > 10 })

	for range 3 {
		a.answers(t)
	}
	for range 2 {
		b.answers(t)
	}
	for _, tt := range []struct {
		name  string
		w     world
		echos uint64
	}{{"initial", h, 0}, {"changed", a, 3}, {"other", b, 2}} {
		s := tt.w.control.Stats(t)
		if want := (vmtest.CarrierStats{
			Requests: tt.echos, Replies: tt.echos, RxBytes: 116 * tt.echos, TxBytes: 116 * tt.echos,
		}); s.Raw != want {
			t.Errorf("%s namespace: %+v, want %+v", tt.name, s.Raw, want)
		}
		if ticks := tt.w.control == a.control; (s.Ticks != 0) != ticks {
			t.Errorf("%s namespace: %d ticks", tt.name, s.Ticks)
		}
	}
}

// Three beacons tick at once, told apart by the length of their data. A
// listener sees its own, without a gap.
func TestOwnEvents(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	type place struct {
		world
		listeners []*vmtest.Listener
	}
	var places []place
	for _, w := range []world{here(t), elsewhere(t), elsewhere(t)} {
		places = append(places, place{w, w.listen(t)})
	}
	for i, p := range places {
		p.control.Set(t, interval(uint32(3+i)), size(uint32(100*i)))
	}
	for i, p := range places {
		for _, l := range p.listeners {
			seen := vmtest.Numbers{}
			for range 30 {
				e := l.Next(t)
				seen.Follow(t, e)
				if len(e.Data) != 100*i {
					t.Fatalf("namespace %d: an event with %d bytes of data, want %d", i, len(e.Data), 100*i)
				}
			}
		}
	}
}

// receive receives an event and the nsid it came with, -1 if with none.
func receive(t *testing.T, s *vmtest.Socket) (length, nsid int) {
	t.Helper()
	buf, oob := make([]byte, 8192), make([]byte, 256)
	fds := []unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(vmtest.Deadline().Milliseconds()))
	for err == unix.EINTR { // by a signal of the Go runtime's
		n, err = unix.Poll(fds, int(vmtest.Deadline().Milliseconds()))
	}
	if n != 1 {
		t.Fatalf("nothing came: %v", err)
	}
	n, oobn, _, _, err := unix.Recvmsg(s.FD, buf, oob, 0)
	if err != nil {
		t.Fatal(err)
	}
	control, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		t.Fatal(err)
	}
	nsid = -1
	for _, c := range control {
		if c.Header.Level == unix.SOL_NETLINK && c.Header.Type == unix.NETLINK_LISTEN_ALL_NSID {
			nsid = int(int32(binary.NativeEndian.Uint32(c.Data)))
		}
	}
	return n, nsid
}

// assign gives a namespace an ID in this one.
func assign(t *testing.T, n *vmtest.Net, nsid uint32) {
	t.Helper()
	s := vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	body := make([]byte, 4) // struct rtgenmsg
	body = append(body, vmtest.Attr{Type: unix.NETNSA_NSID, Data: vmtest.U32(nsid)}.Bytes()...)
	body = append(body, vmtest.Attr{Type: unix.NETNSA_FD, Data: vmtest.U32(uint32(n.File.Fd()))}.Bytes()...)
	req := vmtest.Message{Type: unix.RTM_NEWNSID, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 1, Body: body}
	s.Send(t, req.Bytes())
	if ack := s.RecvAck(t, req); ack.Errno != 0 {
		t.Fatalf("RTM_NEWNSID: %v", ack.Errno)
	}
}

// A listener may ask for the events of all namespaces that have an ID in its
// own. It is told where each came from.
func TestAllNSID(t *testing.T) {
	for _, carrier := range []string{"raw", "genl"} {
		t.Run(carrier, func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			h, known, unknown := here(t), elsewhere(t), elsewhere(t)
			assign(t, known.net, 7)

			i := 0
			if carrier == "genl" {
				i = 1
			}
			all, own := h.listen(t)[i], h.listen(t)[i]
			all.Set(t, unix.NETLINK_LISTEN_ALL_NSID, 1)
			witness := unknown.listen(t)[i]

			h.control.Set(t, interval(2), size(8))
			known.control.Set(t, interval(3), size(1000))
			unknown.control.Set(t, interval(2), size(2000))

			count := map[int]int{}
			for count[7] < 20 || count[-1] < 20 {
				n, nsid := receive(t, all.Socket)
				count[nsid]++
				want := -1
				if n >= 1000 {
					want = 7
				}
				if nsid != want || n >= 2000 {
					t.Fatalf("a datagram of %d bytes from nsid %d", n, nsid)
				}
			}
			for range 20 {
				if n := len(witness.Next(t).Data); n != 2000 {
					t.Fatalf("the namespace without an ID: %d bytes of data", n)
				}
				if n := len(own.Next(t).Data); n != 8 {
					t.Fatalf("a listener that did not ask for all: %d bytes of data", n)
				}
			}
		})
	}
}

var listenAll = vmtest.Register("listen all nsid", func() (string, error) {
	s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 1)
	if err != nil {
		return "", err
	}
	return "", unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
})

func TestAllNSIDNeedsPrivilege(t *testing.T) {
	vmtest.Module(t)
	if _, err := vmtest.Run(t, listenAll, vmtest.Who{UID: vmtest.Nobody}); err == nil || err.Error() != unix.EPERM.Error() {
		t.Errorf("%v, want EPERM", err)
	}
}

// The module comes to namespaces that are there, and namespaces come to it.
func TestBeforeAndAfter(t *testing.T) {
	vmtest.Module(t)
	vmtest.Unload(t)
	before := []*vmtest.Net{vmtest.NewNet(t), vmtest.NewNet(t)}
	for _, n := range before {
		n.Do(t, func() error {
			if _, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0); err != unix.EPROTONOSUPPORT {
				return fmt.Errorf("without the module: %v, want EPROTONOSUPPORT", err)
			}
			return nil
		})
	}
	vmtest.Module(t, "interval_ms=5")
	for _, n := range append(before, vmtest.NewNet(t)) {
		w := world{n, n.Control(t)}
		w.answers(t)
		for _, l := range w.listen(t) {
			seen := vmtest.Numbers{}
			first := l.Next(t)
			seen[first.Group] = first.Seq
			for range 3 {
				seen.Follow(t, l.Next(t))
			}
		}
	}
}

// alive counts the network namespaces of this kernel, and a few that ended
// last: new kernels free one when the next ends.
func alive(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var name string
		var active int
		if _, err := fmt.Sscan(line, &name, &active); err == nil && name == "net_namespace" {
			return active
		}
	}
	t.Fatal("no net_namespace in /proc/slabinfo")
	return 0
}

// ended waits until there are no more namespaces than before. The kernel frees
// the last ones only when another ends; but on several processors it ends them
// more slowly than we could make them, so that one comes now and then.
func ended(t *testing.T, before int) {
	t.Helper()
	var nudged time.Time
	vmtest.Until(t, "all namespaces have ended", func() bool {
		if time.Since(nudged) > time.Second {
			vmtest.NewNet(t).Close()
			nudged = time.Now()
		}
		return alive(t) <= before+3
	})
}

// Namespaces end, a hundred of them or a thousand, with a beacon at full speed,
// just after the last event was received and the last request answered.
func TestComeAndGo(t *testing.T) {
	n := vmtest.Scale(100, 1000)
	vmtest.Module(t, "interval_ms=1", "groups=0xffffffff")
	before := alive(t)
	request := vmtest.NewEcho(1, []byte("in a world that ends")).Bytes()
	var answers, unread, events atomic.Int64
	for range n {
		n := vmtest.NewNet(t)
		listeners := world{net: n}.listen(t)
		client := n.Open(t, vmtest.NetlinkTest, 0, 0)
		control := n.Control(t)
		n.Close()
		vmtest.Together(func() {
			defer client.Close()
			for range 5 {
				client.Send(t, request)
				client.Recv(t)
				answers.Add(1)
			}
			for range 5 {
				client.Send(t, request) // and not read
				unread.Add(1)
			}
		}, func() {
			defer control.Close()
			control.Set(t, size(500))
			control.Set(t, interval(1))
		}, func() {
			for _, l := range listeners {
				defer l.Close()
				l.Next(t)
				events.Add(1)
			}
		})
		if t.Failed() {
			return
		}
	}
	ended(t, before)
	here(t).answers(t)
	vmtest.Count(t, "namespaces that ended while in use", n)
	t.Logf("%d namespaces with a beacon of 1 ms came and went: %d answers, %d more that nobody read, %d events", n, answers.Load(), unread.Load(), events.Load())
}

// Namespaces end while ticks of theirs wait to be sent: they send more than
// there is time for, one at a time. A listener in a namespace that lives on
// makes them do so, since the netlink core keeps one set of listeners for all.
func TestEndWithTicksWaiting(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "groups=0xffffffff")
	before := alive(t)
	l := vmtest.ListenRaw(t, 0xffffffff)
	for range 2 {
		var nets []*vmtest.Net
		var controls []*vmtest.Control
		for range 8 {
			n := vmtest.NewNet(t)
			nets, controls = append(nets, n), append(controls, n.Control(t))
		}
		for _, c := range controls {
			c.Set(t, size(vmtest.DataMax), interval(1))
		}
		for _, c := range controls {
			vmtest.Until(t, "it is behind", func() bool { return c.Stats(t).Missed > 10 })
		}
		for i, n := range nets {
			controls[i].Close()
			n.Close()
		}
		ended(t, before)
	}
	l.Empty(t)
	here(t).answers(t)
}

// The module leaves while namespaces live, their beacons tick and somebody
// listens by generic netlink.
func TestUnloadWithNamespaces(t *testing.T) {
	vmtest.Module(t, "interval_ms=1", "groups=0xffffffff")
	var nets []*vmtest.Net
	var listeners []*vmtest.Listener
	for range 5 {
		n := vmtest.NewNet(t)
		l := vmtest.GenlListener(t, n.Open(t, unix.NETLINK_GENERIC, 0, 0))
		l.SetBuffer(t, 4<<20) // nobody reads while the others are made, and the module goes
		l.Next(t)
		nets, listeners = append(nets, n), append(listeners, l)
	}
	if err := vmtest.Rmmod("nlpeer"); err != nil {
		t.Fatalf("rmmod: %v", err)
	}
	for i, n := range nets {
		listeners[i].Ended(t)
		var left []vmtest.NetlinkSocket
		n.Do(t, func() error { left = vmtest.Sockets(t); return nil })
		for _, s := range left {
			if s.Protocol == vmtest.NetlinkTest {
				t.Errorf("socket left in a namespace: %+v", s)
			}
		}
		if len(left) == 0 {
			t.Error("no netlink socket at all in a namespace")
		}
		listeners[i].Empty(t)
	}

	// And it finds them again.
	vmtest.Module(t)
	for _, n := range nets {
		world{n, n.Control(t)}.answers(t)
	}
}
