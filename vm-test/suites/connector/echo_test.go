// SPDX-License-Identifier: MIT

// Package connector_test speaks to the peer over the connector, which answers
// and refuses by silence: what is not answered is told apart by the statistics.
package connector_test

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	header = 16 + vmtest.CnHeader // of a message
	room   = 16384                // that the connector gives a message, its own header included
)

func open(t *testing.T) *vmtest.Socket {
	t.Helper()
	return vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
}

// counted fails the test if the carrier counted anything but want while f ran.
func counted(t *testing.T, want vmtest.CarrierStats, f func()) {
	t.Helper()
	c := vmtest.OpenControl(t)
	defer c.Close()
	before := c.Stats(t).Connector
	f()
	got := c.Stats(t).Connector
	for _, n := range [][2]*uint64{
		{&got.Requests, &before.Requests}, {&got.Replies, &before.Replies}, {&got.Errors, &before.Errors},
		{&got.RxBytes, &before.RxBytes}, {&got.TxBytes, &before.TxBytes},
		{&got.Events, &before.Events}, {&got.EventErrors, &before.EventErrors},
	} {
		*n[0] -= *n[1]
	}
	for i := range got.By {
		got.By[i] -= before.By[i]
	}
	if got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Every byte comes back, to who sent it and nobody else; numbers are the
// sender's, and its flags are not taken over.
func TestEcho(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	r := vmtest.Rand(t)
	s, other := open(t), open(t)
	sizes := []int{0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 1023, 1024, 4076, 4096, 8192, vmtest.CnPayloadMax - 1, vmtest.CnPayloadMax}
	for range 200 {
		sizes = append(sizes, r.IntN(vmtest.CnPayloadMax+1))
	}
	var bytes uint64
	for _, n := range sizes {
		bytes += uint64(header + n)
	}
	n := uint64(len(sizes))
	counted(t, vmtest.CarrierStats{Requests: n, Replies: n, RxBytes: bytes, TxBytes: bytes}, func() {
		for _, n := range sizes {
			req := vmtest.NewCn(r.Uint32(), r.Uint32(), vmtest.Bytes(r, n))
			req.Flags = uint16(r.Uint32())
			s.EchoCn(t, req)
		}
	})
	s.Empty(t)
	other.Empty(t)
}

// The netlink header of a request means nothing to the connector: no type, no
// flag, no number. There is never an acknowledgment.
func TestNetlinkHeader(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	r := vmtest.Rand(t)
	s := open(t)
	for range 300 {
		req := vmtest.NewCn(r.Uint32(), r.Uint32(), vmtest.Bytes(r, r.IntN(50)))
		m := req.Message()
		m.Type, m.Flags, m.Seq, m.PortID = uint16(r.Uint32()), uint16(r.Uint32()), r.Uint32(), r.Uint32()
		s.Send(t, m.Bytes())
		if got := s.RecvCn(t); got.Seq != req.Seq || got.Ack != req.Ack || string(got.Data) != string(req.Data) {
			t.Fatalf("%+v was answered by %+v", m, got)
		}
		s.Empty(t)
	}
}

// What lies behind cn_msg.len does not come back.
func TestShorterThanTheMessage(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	m := vmtest.NewCn(1, 2, []byte("shown")).Message()
	m.Body = append(m.Body, "hidden"...)
	s.Send(t, m.Bytes())
	if got := s.RecvCn(t); string(got.Data) != "shown" {
		t.Errorf("%q came back", got.Data)
	}
}

// One datagram holds one request for the connector: it looks at the first.
func TestOnlyTheFirstOfADatagram(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	for _, first := range []vmtest.Cn{vmtest.NewCn(1, 0, []byte("one")), {Idx: 9999, Val: 1, Seq: 1, Data: []byte("one")}} {
		s.Send(t, vmtest.Join(first.Message(), vmtest.NewCn(2, 0, []byte("two")).Message(), vmtest.NewCn(3, 0, nil).Message()))
		if first.Idx == vmtest.CnIdx {
			if got := s.RecvCn(t); got.Seq != 1 || string(got.Data) != "one" {
				t.Errorf("answer %+v, want the first", got)
			}
		}
		s.Empty(t)
	}
}

// Requests that the connector itself passes over: nobody answers or counts them.
func TestSilence(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	id := func(idx, val uint32) []byte {
		return vmtest.Cn{Idx: idx, Val: val, Seq: 1, Data: []byte("hello")}.Message().Bytes()
	}
	good := vmtest.NewCn(1, 2, []byte("hello"))
	cut := func(n int) []byte { return vmtest.Message{Type: unix.NLMSG_DONE, Body: good.Bytes()[:n]}.Bytes() }
	// A length in one of the two headers that is not that of the message.
	lie := func(v uint32) []byte {
		b := good.Message().Bytes()
		binary.NativeEndian.PutUint32(b, v)
		return b
	}
	inner := func(v uint16) []byte {
		b := good.Message().Bytes()
		binary.NativeEndian.PutUint16(b[16+16:], v)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
	}{
		{"another value", id(16, 2)},
		{"value 0", id(16, 0)},
		{"another index", id(17, 1)},
		{"swapped", id(1, 16)},
		{"index of nobody", id(0xffffffff, 0xffffffff)},
		{"no connector header", cut(0)},
		{"half a connector header", cut(10)},
		{"a connector header less a byte", cut(19)},
		{"length above what is there", inner(6)},
		{"length above everything", inner(0xffff)},
		{"netlink length of a header", lie(16)},
		{"netlink length of two headers less a byte", lie(header - 1)},
		{"netlink length above what is there", lie(1000)},
		{"netlink length 0", lie(0)},
		{"three bytes", []byte{3, 0, 0}},
		{"a byte too long", vmtest.NewCn(1, 2, make([]byte, vmtest.CnPayloadMax+1)).Message().Bytes()},
		{"much too long", vmtest.NewCn(1, 2, make([]byte, 60000)).Message().Bytes()},
		{"room for a byte too much", vmtest.Message{Type: 3, Body: append(good.Bytes(), make([]byte, room)...)[:room+1]}.Bytes()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			counted(t, vmtest.CarrierStats{}, func() {
				s.Send(t, tt.b)
				s.Empty(t)
			})
			s.EchoCn(t, vmtest.NewCn(3, 4, []byte("still there")))
		})
	}
}

// An asker that does not read loses answers and is told so. Nobody waits for
// it: neither its own send nor the module that wants to go.
func TestAskerThatNeverReads(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	s.SetBuffer(t, 1) // the least there is
	req := vmtest.NewCn(1, 2, make([]byte, 500))
	const n = 100
	done := make(chan error, 1)
	go func() {
		for range n {
			if err := s.TrySend(req.Message().Bytes()); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(vmtest.Deadline()):
		t.Fatal("the sender waits for itself to read")
	}
	if _, err := s.TryRecv(0); err != unix.ENOBUFS {
		t.Errorf("%v, want ENOBUFS", err)
	}
	answers := uint64(0)
	for {
		b, err := s.TryRecv(0)
		if err == unix.ETIMEDOUT {
			break
		}
		if err != nil || len(vmtest.Parse(t, b)) != 1 {
			t.Fatalf("% x, %v", b, err)
		}
		answers++
	}
	got := vmtest.OpenControl(t).Stats(t).Connector
	want := vmtest.CarrierStats{
		Requests: n, Replies: answers, Errors: n - answers, RxBytes: n * (header + 500), TxBytes: answers * (header + 500),
	}
	want.By.Add(unix.EAGAIN, n-answers)
	if answers == 0 || answers == n || got != want {
		t.Errorf("%d answers, counted %+v, want %+v", answers, got, want)
	}
	s.EchoCn(t, vmtest.NewCn(3, 4, []byte("reads again")))
}

// Other namespaces have no connector, whatever they send.
func TestOtherNamespace(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	n := vmtest.NewNet(t)
	s := n.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
	for _, b := range [][]byte{vmtest.NewCn(1, 2, []byte("hello")).Message().Bytes(), make([]byte, 100), {1}} {
		if err := s.TrySend(b); err != unix.ECONNREFUSED {
			t.Errorf("%d bytes: %v, want ECONNREFUSED", len(b), err)
		}
	}
	s.Empty(t)

	c := n.Control(t)
	before := c.Beacon(t)
	_, ack := c.Request(t, vmtest.CmdBeaconSet,
		vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(77)}, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(1)})
	if want := "nlpeer: this namespace has no connector"; ack.Errno != unix.EOPNOTSUPP || ack.Text != want || ack.Offset != 28 {
		t.Errorf("%v, %q at %d, want EOPNOTSUPP, %q at 28", ack.Errno, ack.Text, ack.Offset, want)
	}
	if after := c.Beacon(t); after != before {
		t.Errorf("settings %+v, before %+v", after, before)
	}
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(0)}) // which it is
	if s := c.Stats(t); s.Connector != (vmtest.CarrierStats{}) {
		t.Errorf("counted %+v", s.Connector)
	}
	open(t).EchoCn(t, vmtest.NewCn(1, 2, nil))
}

// Group 0 is none, 33 and 27 are above those that the connector has room for.
func TestNoSuchGroup(t *testing.T) {
	s := open(t)
	for _, option := range []int{unix.NETLINK_ADD_MEMBERSHIP, unix.NETLINK_DROP_MEMBERSHIP} {
		for _, group := range []int{0, 33, -1} {
			if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, option, group); err != unix.EINVAL {
				t.Errorf("option %d, group %d: %v, want EINVAL", option, group, err)
			}
		}
	}
}

// A message to a port that nobody has.
func TestDeadPort(t *testing.T) {
	s := open(t)
	dead := open(t)
	port := dead.PortID
	dead.Close()
	err := unix.Sendto(s.FD, vmtest.NewCn(1, 2, []byte("hello")).Message().Bytes(), 0,
		&unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	if err != unix.ECONNREFUSED {
		t.Errorf("%v, want ECONNREFUSED", err)
	}
}

// A hundred thousand requests that come to nothing leave no memory behind.
func TestFailuresLeakNothing(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s, deaf := open(t), open(t)
	deaf.SetBuffer(t, 1)
	good := vmtest.NewCn(1, 2, make([]byte, 100))
	ways := []struct {
		s *vmtest.Socket
		b []byte
	}{
		{s, vmtest.Cn{Idx: 16, Val: 99, Data: make([]byte, 100)}.Message().Bytes()},
		{s, vmtest.Message{Type: 3, Body: good.Bytes()[:vmtest.CnHeader+50]}.Bytes()},
		{s, vmtest.NewCn(1, 2, make([]byte, vmtest.CnPayloadMax+1)).Message().Bytes()},
		{deaf, good.Message().Bytes()},
	}
	round := func(n int) {
		for _, w := range ways {
			for range n {
				w.s.Send(t, w.b)
			}
		}
	}
	n := vmtest.Times(25000)
	round(100)
	before := vmtest.Slabs(t)
	round(n)
	vmtest.Level(t, before, 500)
	s.Empty(t)
	if got := vmtest.OpenControl(t).Stats(t).Connector; got.Errors < uint64(n) || got.By[4] != got.Errors {
		t.Errorf("%+v, want %d answers for which there was no room", got, n)
	}
}
