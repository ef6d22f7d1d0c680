// SPDX-License-Identifier: MIT

// Package echo_test asks the module to send bytes back, on both protocols, and
// looks at every byte that comes.
package echo_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Lengths around everything that rounds, allocates or ends.
var sizes = []int{
	0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 127, 255, 256, 1000, 1024,
	3775, 3776, 3777, 4080, 4095, 4096, 4097, 8191, 8192, 16383, 16384, 20000,
	32765, 32766, 32767, 32768,
}

func TestRawSizes(t *testing.T) {
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			req := vmtest.NewEcho(rand.Uint32(), vmtest.Random(t, n))
			s.Send(t, req.Bytes())

			datagram := s.Recv(t)
			if want := 16 + (n+3)&^3; len(datagram) != want {
				t.Errorf("datagram of %d bytes, want %d", len(datagram), want)
			}
			all := vmtest.Parse(t, datagram)
			if len(all) != 1 {
				t.Fatalf("%d messages, want 1", len(all))
			}
			want := vmtest.Message{Type: 16, Flags: 0, Seq: req.Seq, PortID: s.PortID, Body: req.Body}
			compare(t, all[0], want)
			s.Empty(t)
		})
	}
}

func TestGenlSizes(t *testing.T) {
	f := vmtest.Nlpeer(t)
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			payload := vmtest.Random(t, n)
			req := vmtest.NewGenl(f.ID, vmtest.CmdEcho, rand.Uint32(), vmtest.Attr{Type: 1, Data: payload})
			s.Send(t, req.Bytes())

			m := s.RecvOne(t)
			body := append([]byte{vmtest.CmdEcho, 1, 0, 0}, vmtest.Attr{Type: 1, Data: payload}.Bytes()...)
			compare(t, m, vmtest.Message{Type: f.ID, Seq: req.Seq, PortID: s.PortID, Body: body})
			vmtest.Attrs(t, m.Body[4:]) // padding
			s.Empty(t)
		})
	}
}

func compare(t *testing.T, got, want vmtest.Message) {
	t.Helper()
	if got.Type != want.Type || got.Flags != want.Flags || got.Seq != want.Seq || got.PortID != want.PortID {
		t.Errorf("header: type %d flags %#x seq %d port %d, want type %d flags %#x seq %d port %d",
			got.Type, got.Flags, got.Seq, got.PortID, want.Type, want.Flags, want.Seq, want.PortID)
	}
	if !bytes.Equal(got.Body, want.Body) {
		i := 0
		for i < len(got.Body) && i < len(want.Body) && got.Body[i] == want.Body[i] {
			i++
		}
		t.Errorf("%d bytes came back, want %d; the first difference is at %d", len(got.Body), len(want.Body), i)
	}
}

// The asker's port ID is that of its socket, whatever it writes in the header.
func TestPortID(t *testing.T) {
	s := vmtest.Open(t, vmtest.NetlinkTest, 4711, 0)
	req := vmtest.NewEcho(1, []byte("x"))
	req.PortID = 99
	s.Send(t, req.Bytes())
	compare(t, s.RecvOne(t), vmtest.Message{Type: 16, Seq: 1, PortID: 4711, Body: []byte("x")})
}

func TestManyInOneSend(t *testing.T) {
	family := vmtest.Nlpeer(t)
	for _, tt := range []struct {
		name     string
		protocol int
		request  func(seq uint32, payload []byte) vmtest.Message
		payload  func(t *testing.T, m vmtest.Message) []byte
	}{
		{"raw", vmtest.NetlinkTest, vmtest.NewEcho, func(_ *testing.T, m vmtest.Message) []byte { return m.Body }},
		{"genl", unix.NETLINK_GENERIC, func(seq uint32, payload []byte) vmtest.Message {
			return vmtest.NewGenl(family.ID, vmtest.CmdEcho, seq, vmtest.Attr{Type: 1, Data: payload})
		}, func(t *testing.T, m vmtest.Message) []byte { return vmtest.Attrs(t, m.Body[4:])[0].Data }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := vmtest.Open(t, tt.protocol, 0, 0)
			r := vmtest.Rand(t)
			var requests []vmtest.Message
			var payloads [][]byte
			for i := range 100 {
				payloads = append(payloads, vmtest.Bytes(r, r.IntN(200)))
				m := tt.request(uint32(1000+i), payloads[i])
				if i%3 == 0 {
					m.Flags |= unix.NLM_F_ACK
				}
				requests = append(requests, m)
			}
			s.Send(t, vmtest.Join(requests...))

			var got []vmtest.Message
			for want := len(requests) + (len(requests)+2)/3; len(got) < want; {
				got = append(got, vmtest.Parse(t, s.Recv(t))...)
			}
			s.Empty(t)
			for i, req := range requests {
				if got[0].Seq != req.Seq || !bytes.Equal(tt.payload(t, got[0]), payloads[i]) {
					t.Fatalf("answer %d: seq %d, %d bytes; want seq %d, %d bytes", i, got[0].Seq,
						len(tt.payload(t, got[0])), req.Seq, len(payloads[i]))
				}
				got = got[1:]
				if req.Flags&unix.NLM_F_ACK != 0 {
					if ack := vmtest.ParseAck(t, got[0], req); ack.Errno != 0 {
						t.Fatalf("acknowledgment %d: %v", i, ack.Errno)
					}
					got = got[1:]
				}
			}
			if len(got) != 0 {
				t.Errorf("%d messages too many: %+v", len(got), got)
			}
		})
	}
}

// The answer comes first, then the acknowledgment, a message of its own.
func TestAck(t *testing.T) {
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	req := vmtest.NewEcho(7, []byte("with ack"))
	req.Flags |= unix.NLM_F_ACK
	s.Send(t, req.Bytes())
	compare(t, s.RecvOne(t), vmtest.Message{Type: 16, Seq: 7, PortID: s.PortID, Body: req.Body})
	if ack := s.RecvAck(t, req); ack.Errno != 0 {
		t.Errorf("acknowledgment says %v", ack.Errno)
	}
	s.Empty(t)
}

// NLM_F_ECHO is known to every netlink request and changes nothing here.
func TestEchoFlag(t *testing.T) {
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	req := vmtest.NewEcho(8, []byte("once"))
	req.Flags |= unix.NLM_F_ECHO
	s.Send(t, req.Bytes())
	compare(t, s.RecvOne(t), vmtest.Message{Type: 16, Seq: 8, PortID: s.PortID, Body: req.Body})
	s.Empty(t)
}

func TestTooLong(t *testing.T) {
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	s.Set(t, unix.NETLINK_CAP_ACK, 1)
	for _, n := range []int{vmtest.PayloadMax + 1, vmtest.PayloadMax + 4, 65536} {
		req := vmtest.NewEcho(uint32(n), make([]byte, n))
		s.Send(t, req.Bytes())
		ack := s.RecvAck(t, req)
		if ack.Errno != unix.EMSGSIZE || ack.Text != "nlpeer: echo payload is longer than 32768 bytes" {
			t.Errorf("%d bytes: %v, %q", n, ack.Errno, ack.Text)
		}
		s.Empty(t)
	}

	f := vmtest.Nlpeer(t)
	g := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	g.Set(t, unix.NETLINK_EXT_ACK, 1)
	g.Set(t, unix.NETLINK_CAP_ACK, 1)
	req := vmtest.NewGenl(f.ID, vmtest.CmdEcho, 1, vmtest.Attr{Type: 1, Data: make([]byte, vmtest.PayloadMax+1)})
	g.Send(t, req.Bytes())
	if ack := g.RecvAck(t, req); ack.Errno != unix.ERANGE || ack.Offset != 20 || !ack.Policy {
		t.Errorf("genl: %+v, want ERANGE at offset 20 with the policy", ack)
	}
}

// Many askers at once get their own bytes.
func TestParallel(t *testing.T) {
	const tasks, rounds = 8, 200
	errs := make(chan error, tasks)
	for i := range tasks {
		go func() {
			s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0)
			if err != nil {
				errs <- err
				return
			}
			defer s.Close()
			for r := range rounds {
				req := vmtest.NewEcho(uint32(r), fmt.Appendf(nil, "task %d round %d", i, r))
				if err := s.TrySend(req.Bytes()); err != nil {
					errs <- err
					return
				}
				b, err := s.TryRecv(vmtest.Deadline())
				if err != nil {
					errs <- err
					return
				}
				if got := string(b[16 : 16+len(req.Body)]); got != string(req.Body) {
					errs <- fmt.Errorf("got %q, want %q", got, req.Body)
					return
				}
			}
			errs <- nil
		}()
	}
	for range tasks {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
