// SPDX-License-Identifier: MIT

// Package packing_test looks at what the raw protocol puts into one datagram:
// answers to several requests, events of a burst.
package packing_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// The contract, see vmtest.NetlinkTest.
const (
	packMin   = 8192
	packMax   = 32256
	headerLen = 16
	ackLen    = headerLen + 20 // and the header of the request
)

// An answer is what a request is to be answered by.
type answer struct {
	len   int  // of the message
	alone bool // a datagram of its own
	last  bool // nothing comes behind it in its datagram
	check func(t *testing.T, m vmtest.Message)
}

// echo makes a request, and says what answers it.
func echo(s *vmtest.Socket, seq uint32, payload []byte, flags uint16) (vmtest.Message, []answer) {
	req := vmtest.NewEcho(seq, payload)
	req.Flags |= flags
	answers := []answer{{len: headerLen + len(payload), check: func(t *testing.T, m vmtest.Message) {
		t.Helper()
		if m.Type != 16 || m.Seq != seq || m.PortID != s.PortID || m.Flags != 0 || !bytes.Equal(m.Body, payload) {
			t.Errorf("request %d: answer of type %d, seq %d, port ID %d, flags %#x, %d bytes; want type 16, port ID %d, %d bytes",
				seq, m.Type, m.Seq, m.PortID, m.Flags, len(m.Body), s.PortID, len(payload))
		}
	}}}
	if flags&unix.NLM_F_ACK != 0 {
		answers = append(answers, acked(req))
	}
	return req, answers
}

func acked(req vmtest.Message) answer {
	return answer{len: ackLen, last: true, check: func(t *testing.T, m vmtest.Message) {
		t.Helper()
		if a := vmtest.ParseAck(t, m, req); a.Errno != 0 || m.Flags != unix.NLM_F_CAPPED || len(m.Body) != 20 {
			t.Errorf("request %d: acknowledged by %v, flags %#x, %d bytes", req.Seq, a.Errno, m.Flags, len(m.Body))
		}
	}}
}

// refused is an error, which the core of netlink sends by itself.
// offset is that of the attribute to blame, -1 for none.
func refused(req vmtest.Message, errno unix.Errno, offset int, text string) answer {
	return answer{alone: true, check: func(t *testing.T, m vmtest.Message) {
		t.Helper()
		// What one request did wrong is not said of the next.
		if a := vmtest.ParseAck(t, m, req); a.Errno != errno || a.Text != text || a.Offset != offset || a.Miss != -1 {
			t.Errorf("request %d: %v, %q, offset %d, missing %d; want %v, %q, %d, -1", req.Seq, a.Errno, a.Text, a.Offset, a.Miss, errno, text, offset)
		}
	}}
}

func aligned(n int) int { return (n + 3) &^ 3 }

// expect receives the answers in as few datagrams as they fit in, and not one
// byte more.
func expect(t *testing.T, s *vmtest.Socket, request int, answers []answer) (datagrams int) {
	t.Helper()
	limit := min(max(request, packMin), packMax)
	for len(answers) > 0 {
		n, size := 0, 0
		for n < len(answers) && !answers[n].alone && (n == 0 || size+aligned(answers[n].len) <= limit) {
			size += aligned(answers[n].len)
			if n++; answers[n-1].last {
				break
			}
		}
		alone := n == 0
		if alone {
			n = 1
		}
		b := s.Recv(t)
		datagrams++
		got := vmtest.Parse(t, b)
		if len(got) != n || !alone && len(b) != size {
			t.Fatalf("datagram of %d messages, %d bytes; want %d, %d; %d answers are missing", len(got), len(b), n, size, len(answers))
		}
		for i, m := range got {
			answers[i].check(t, m)
		}
		answers = answers[n:]
	}
	s.Empty(t)
	return datagrams
}

func open(t *testing.T) *vmtest.Socket {
	t.Helper()
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	s.SetBuffer(t, 4<<20)
	s.Set(t, unix.NETLINK_EXT_ACK, 1)
	s.Set(t, unix.NETLINK_CAP_ACK, 1)
	return s
}

// Whatever the lengths are, and whoever wants an acknowledgment.
func TestEchoes(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	r := vmtest.Rand(t)
	for _, tt := range []struct{ n, longest int }{
		{2, 0}, {2, 64}, {64, 64}, {256, 64}, {1000, 0}, {300, 200}, {40, 4096}, {3, vmtest.PayloadMax}, {2000, 40},
	} {
		t.Run(fmt.Sprintf("%d of up to %d bytes", tt.n, tt.longest), func(t *testing.T) {
			for _, acks := range []float64{0, 0.3, 1} {
				var requests []vmtest.Message
				var answers []answer
				for i := range tt.n {
					var flags uint16
					if r.Float64() < acks {
						flags = unix.NLM_F_ACK
					}
					req, a := echo(s, uint32(i), vmtest.Bytes(r, r.IntN(tt.longest+1)), flags)
					requests, answers = append(requests, req), append(answers, a...)
				}
				b := vmtest.Join(requests...)
				s.Send(t, b)
				datagrams := expect(t, s, len(b), answers)
				t.Logf("%d bytes, %d answers: %d datagrams", len(b), len(answers), datagrams)
			}
		})
	}
}

// Rows of echoes, broken off at random by what is none: the answers have nothing
// of what lies between the requests, and what lies behind the last is no matter.
func TestRows(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	r := vmtest.Rand(t)
	for range 60 {
		var b []byte
		var answers []answer
		add := func(m vmtest.Message, a ...answer) {
			b = append(b, m.Bytes()...)
			// Padding that the sender did not clear.
			for i := aligned(len(m.Body)) - len(m.Body); i > 0; i-- {
				b[len(b)-i] = byte(1 + r.IntN(255))
			}
			answers = append(answers, a...)
		}
		n, longest := 2+r.IntN(400), r.IntN(120)
		for i := range n {
			var flags uint16
			switch r.IntN(40) {
			case 0:
				flags = unix.NLM_F_ACK
			case 1:
				flags = unix.NLM_F_ECHO // which means nothing to an echo
			case 2:
				bad := vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | 0x800, Seq: uint32(i)}
				add(bad, refused(bad, unix.EINVAL, -1, "nlpeer: ambiguous or reserved bits set in nlmsg_flags"))
				continue
			case 3:
				add(vmtest.Message{Type: 16, Seq: uint32(i), Body: []byte("passed over")})
				continue
			}
			req, a := echo(s, uint32(i), vmtest.Bytes(r, r.IntN(longest+1)), flags)
			req.PortID = r.Uint32() // the kernel does not look at it
			add(req, a...)
		}
		req, a := echo(s, uint32(n), vmtest.Bytes(r, 5), 0)
		add(req, a...)
		// The last one may lack its padding; or a length lies behind it, by which
		// nothing can be found any more.
		switch end := r.IntN(3); end {
		case 0:
			b = b[:len(b)-3+r.IntN(3)]
		case 1:
			liar := vmtest.NewEcho(1, vmtest.Bytes(r, 20)).Bytes()
			lies := []uint32{0, 15, uint32(len(liar)) + 1, 16 + vmtest.PayloadMax, 17 + vmtest.PayloadMax, 0x7fffffff, 0xfffffffd, 0xffffffff}
			copy(liar, vmtest.U32(lies[r.IntN(len(lies))]))
			b = append(b, liar...)
		}
		s.Send(t, b)
		expect(t, s, len(b), answers)
	}
}

// One request has an answer and an acknowledgment, as everywhere in netlink.
// Bytes behind it that are too few for another make no batch.
func TestOneAlone(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	for i := range 3 {
		req, answers := echo(s, 7, []byte("alone, with ack!"), unix.NLM_F_ACK)
		s.Send(t, append(req.Bytes(), make([]byte, i*7)...))
		answers[0].alone, answers[1].alone = true, true
		if n := expect(t, s, 0, answers); n != 2 {
			t.Errorf("%d datagrams, want 2", n)
		}
	}
}

// A module like those before there were batches.
func TestOff(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "batch=0")
	s := open(t)
	var requests []vmtest.Message
	var answers []answer
	for i := range 20 {
		req, a := echo(s, uint32(i), vmtest.Random(t, i), unix.NLM_F_ACK)
		requests, answers = append(requests, req), append(answers, a...)
	}
	for i := range answers {
		answers[i].alone = true
	}
	b := vmtest.Join(requests...)
	s.Send(t, b)
	if n := expect(t, s, len(b), answers); n != 40 {
		t.Errorf("%d datagrams, want 40", n)
	}
}

// Errors, messages that are no request, objects and what they are answered by,
// all in the place of their requests.
func TestEverythingInItsPlace(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	tb := vmtest.NewTable(t, vmtest.RawCarrier, s)
	value := vmtest.Random(t, 4000)
	for i := range 4 {
		tb.Must(t, vmtest.NewObject(vmtest.FlagCreate, vmtest.NumberedKey(i), value))
	}
	first := tb.Last() + 1

	var requests []vmtest.Message
	var answers []answer
	seq := first
	add := func(req vmtest.Message, a ...answer) {
		requests, answers = append(requests, req), append(answers, a...)
		seq++
	}
	ask := func(r vmtest.ObjectRequest) vmtest.Message {
		req := tb.Encode(r)
		req.Seq = seq
		return req
	}
	for range 3 {
		m, a := echo(s, seq, vmtest.Random(t, 100), 0)
		add(m, a...)
		m = ask(vmtest.GetObject(strings.Repeat("k", 65)))
		add(m, refused(m, unix.EINVAL, headerLen, "Attribute failed policy validation"))
		m = vmtest.Message{Type: 99, Flags: unix.NLM_F_REQUEST, Seq: seq}
		add(m, refused(m, unix.EOPNOTSUPP, -1, "nlpeer: unknown message type"))
		m, a = echo(s, seq, vmtest.Random(t, 33), unix.NLM_F_ACK)
		add(m, a...)
		for i := range 4 {
			m := ask(vmtest.GetObject(vmtest.NumberedKey(i)))
			add(m, answer{len: headerLen + 4 + 12 + 12 + 4 + len(value), check: func(t *testing.T, got vmtest.Message) {
				t.Helper()
				if got.Type != 20 || got.Seq != m.Seq || got.PortID != s.PortID || got.Flags != 0 {
					t.Errorf("object: type %d, seq %d, flags %#x; want 20, %d, 0", got.Type, got.Seq, got.Flags, m.Seq)
				}
				vmtest.SameObject(t, vmtest.ParseObject(t, vmtest.Attrs(t, got.Body)), vmtest.NumberedKey(i), uint64(i+1), value)
			}})
		}
		m = ask(vmtest.GetObject("missing"))
		add(m, refused(m, unix.ENOENT, headerLen, "nlpeer: no object has this key"))
		m = vmtest.NewEcho(seq, make([]byte, vmtest.PayloadMax+1))
		add(m, refused(m, unix.EMSGSIZE, -1, "nlpeer: echo payload is longer than 32768 bytes"))
		m = vmtest.Message{Type: 3, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: seq} // netlink's own type
		add(m, acked(m))
		m = vmtest.Message{Type: 16, Flags: unix.NLM_F_ACK, Seq: seq, Body: []byte("not asked")}
		add(m, acked(m))
		add(vmtest.Message{Type: 16, Seq: seq, Body: []byte("passed over")})
		m = ask(vmtest.NewObject(vmtest.FlagCreate|unix.NLM_F_ACK, fmt.Sprint("made ", seq)))
		add(m, acked(m))
	}
	b := vmtest.Join(requests...)
	s.Send(t, b)
	expect(t, s, len(b), answers)
}

// An event for its cause, and a dump, have datagrams of their own. What was
// asked before is answered before.
func TestBetweenOtherDatagrams(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	tb := vmtest.NewTable(t, vmtest.RawCarrier, s)
	tb.Must(t, vmtest.NewObject(vmtest.FlagCreate, "there"))

	before, a := echo(s, 1, []byte("before"), 0)
	between, b := echo(s, 3, []byte("between"), unix.NLM_F_ACK)
	after, c := echo(s, 5, []byte("after"), 0)
	change := tb.Encode(vmtest.NewObject(vmtest.FlagCreate|unix.NLM_F_ECHO|unix.NLM_F_ACK, "new"))
	change.Seq = 2
	dump := tb.Encode(vmtest.GetObjects(0))
	dump.Seq = 4
	event := answer{alone: true, check: func(t *testing.T, m vmtest.Message) {
		if m.Type != 17 || m.Seq != 2 || m.PortID != s.PortID {
			t.Errorf("event of type %d, seq %d, port ID %d", m.Type, m.Seq, m.PortID)
		}
	}}
	answers := append(append(a, event, acked(change)), b...)
	s.Send(t, vmtest.Join(before, change, between, dump, after))
	limit := 0
	for len(answers) > 0 {
		got := vmtest.Parse(t, s.Recv(t))
		if limit++; limit > 10 || len(got) > len(answers) {
			t.Fatalf("%d messages, %d answers are missing", len(got), len(answers))
		}
		for i, m := range got {
			answers[i].check(t, m)
		}
		answers = answers[len(got):]
	}
	got := vmtest.Parse(t, s.Recv(t))
	if len(got) < 2 || got[0].Seq != 4 || got[0].Flags&unix.NLM_F_MULTI == 0 {
		t.Errorf("not a dump: %+v", got)
	}
	// The rest of the dump is made as it is read, so it may come before or after.
	for done := false; !done; {
		for _, m := range vmtest.Parse(t, s.Recv(t)) {
			if m.Seq == 5 {
				c[0].check(t, m)
				done = true
			}
		}
	}
}

// A length that lies ends a batch: what was before it is answered.
func TestLie(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := open(t)
	for _, lie := range []uint32{0, 15, 1000, 0x7fffffff, 0xffffffff} {
		first, a := echo(s, 1, vmtest.Random(t, 10), 0)
		second, b := echo(s, 2, vmtest.Random(t, 20), unix.NLM_F_ACK)
		third, _ := echo(s, 3, []byte("not reached"), unix.NLM_F_ACK)
		datagram := vmtest.Join(first, second)
		bad := third.Bytes()
		copy(bad, vmtest.U32(lie))
		s.Send(t, append(datagram, bad...))
		expect(t, s, 0, append(a, b...))
	}
}

// Somebody who asks and never reads makes the kernel hold what his receive
// buffer bounds, and one datagram. The next to ask is served.
func TestDoesNotRead(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, 32<<10); err != nil {
		t.Fatal(err)
	}
	room, err := unix.GetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		t.Fatal(err)
	}
	var requests []vmtest.Message
	for i := range 300 {
		req, _ := echo(s, uint32(i), vmtest.Random(t, 60), 0)
		requests = append(requests, req)
	}
	b := vmtest.Join(requests...)
	for range 50 {
		s.Send(t, b)
	}
	if got := s.Line(t); got.Rmem > room+2*packMax+4096 || got.Drops == 0 {
		t.Errorf("%d bytes wait to be received, %d drops; the buffer has %d", got.Rmem, got.Drops, room)
	}
	if _, err := s.TryRecv(0); err != unix.ENOBUFS {
		t.Errorf("receiving: %v, want ENOBUFS", err)
	}
	// What was there before the overrun is whole.
	for _, m := range vmtest.Parse(t, s.Recv(t)) {
		if !bytes.Equal(m.Body, requests[m.Seq].Body) {
			t.Errorf("answer %d is another", m.Seq)
		}
	}
	other := open(t)
	req, a := echo(other, 9, []byte("served"), 0)
	other.Send(t, req.Bytes())
	expect(t, other, 0, a)
}
