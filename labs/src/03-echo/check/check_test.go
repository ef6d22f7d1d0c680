// SPDX-License-Identifier: MIT

// The check of lab 3.
package check_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

func TestMain(m *testing.M) { check.Main(m) }

// module is the student's.
const module = "echo"

func TestLab(t *testing.T) {
	const loads, echoes = "the module makes a socket for protocol 31", "an answer comes back to who asked"
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: loads, Do: socket},
		check.Step{TODO: 1, Points: 1, Name: "it does not load if the number is taken", Needs: []string{loads}, Do: taken},
		check.Step{TODO: 2, Points: 1, Name: "a request that asks for an acknowledgment gets one", Needs: []string{loads}, Do: acknowledged},
		check.Step{TODO: 3, Points: 1, Name: echoes, Needs: []string{loads}, Do: echo},
		check.Step{TODO: 3, Points: 1, Name: "each message of a datagram is answered", Needs: []string{echoes}, Do: several},
		check.Step{TODO: 3, Points: 1, Name: "4096 bytes and more come back", Needs: []string{echoes}, Do: long},
		check.Step{TODO: 3, Points: 1, Name: "answers that find no room harm nobody", Needs: []string{echoes}, Do: noRoom},
		check.Step{TODO: 2, Points: 1, Name: "what is no request, or lies about its length, is not answered", Needs: []string{loads}, Do: nonsense},
		check.Step{TODO: 4, Points: 2, Name: "the program sends and receives", Needs: []string{echoes}, Do: program},
	)
}

func request(payload []byte) check.Message {
	return check.Message{
		Type: uint16(16 + rand.IntN(1000)), Flags: unix.NLM_F_REQUEST, Seq: check.RandomNumber(), Body: payload,
	}
}

// answerTo is what has to come.
func answerTo(m check.Message, portID uint32) check.Message {
	m.Flags, m.PortID = 0, portID
	return m
}

func socket(t *check.T) {
	check.Insmod(t, module)
	check.Dial(t, check.LabProtocol).Close()
	check.Rmmod(t, module)
	if _, err := check.TryDial(t, check.LabProtocol, 0, 0); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Fatalf("the module is unloaded, and protocol %d is still there (socket: %v): what netlink_kernel_create made, netlink_kernel_release has to give back", check.LabProtocol, err)
	}
}

// peer is a module that takes the same protocol.
const peer = "/lib/nlpeer/nlpeer.ko"

// loadPeer loads it. It is unloaded by the function that is returned, or when the
// step ends.
func loadPeer(t *check.T) (unload func()) {
	t.Helper()
	f, err := os.Open(peer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		t.Fatalf("insmod %s: %v", peer, err)
	}
	loaded := true
	unload = func() {
		if !loaded {
			return
		}
		loaded = false
		check.Until(t, "nlpeer is unloaded", func() bool {
			err := unix.DeleteModule("nlpeer", unix.O_NONBLOCK)
			if err != nil && err != unix.EAGAIN { // EAGAIN: a socket that is being taken apart
				t.Fatalf("rmmod nlpeer: %v", err)
			}
			return err == nil
		})
	}
	t.Cleanup(unload)
	return unload
}

func taken(t *check.T) {
	loadPeer(t)
	err := check.TryInsmod(module)
	if err == nil {
		check.Rmmod(t, module)
		t.Mistake("unchecked", "Another module has protocol %d already, and yours was loaded all the same.", check.LabProtocol)
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("another module has protocol %d already: loading yours fails with %v, and should with %v", check.LabProtocol, err, unix.EADDRINUSE)
	}
}

func acknowledged(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	m := request(check.Random(8))
	m.Flags |= unix.NLM_F_ACK
	s.Send(m.Bytes())
	for {
		b, _, err := s.RecvFrom(0)
		if errors.Is(err, check.ErrNothing) {
			t.Fatalf("a request with NLM_F_ACK was sent to the kernel, and no NLMSG_ERROR came back: netlink_rcv_skb() sends it, so is it called?")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range check.Parse(t, "the answer", b) {
			if got.Type != unix.NLMSG_ERROR {
				continue
			}
			if got.Seq != m.Seq {
				t.Fatalf("the acknowledgment is for sequence number %d, the request had %d", got.Seq, m.Seq)
			}
			return
		}
	}
}

// nonsense is a datagram that nobody should answer, and one that shows that the
// module is still there.
func nonsense(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	body := check.Random(20)
	for _, length := range []uint32{1, 8, 15, uint32(16 + len(body) + 5), 1 << 31} {
		m := request(body)
		m.Len = length
		s.Send(m.Bytes())
		s.Empty(fmt.Sprintf("nlmsg_len was %d in a datagram of %d bytes", length, 16+len(body)))
	}
	m := request(body)
	m.Flags = unix.NLM_F_ACK
	s.Send(m.Bytes())
	got := check.Parse(t, "the acknowledgment", s.Recv("the acknowledgment of a message without NLM_F_REQUEST"))
	if got[0].Type != unix.NLMSG_ERROR || got[0].Seq != m.Seq {
		t.Fatalf("a message without NLM_F_REQUEST, but with NLM_F_ACK, brought a message of type %d, want an acknowledgment and nothing else", got[0].Type)
	}
	s.Empty("a message without NLM_F_REQUEST is no request")
}

func echo(t *check.T) {
	check.Insmod(t, module)
	s := check.DialPort(t, check.LabProtocol, check.RandomNumber(), 0)
	m := request(check.Random(1 + rand.IntN(40)))
	s.Send(m.Bytes())
	// The kernel answers in the course of sendmsg, so what is not there now does
	// not come.
	b, _, err := s.RecvFrom(0)
	if errors.Is(err, check.ErrNothing) {
		t.Mistake("wrong-port", "The kernel got %d bytes from port %d, and nothing came back to that port.", len(m.Bytes()), s.PortID)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := check.Parse(t, "the answer", b)[0]
	want := answerTo(m, s.PortID)
	switch {
	case got.Seq != m.Seq && len(got.Body) == len(m.Body):
		t.Mistake("wrong-seq", "The request has sequence number %d, its answer %d.", m.Seq, got.Seq)
	case len(got.Body) == len(m.Body)+16:
		t.Mistake("total-length", "The request has a payload of %d bytes, its answer one of %d.", len(m.Body), len(got.Body))
	}
	t.Compare("the answer", want.Bytes(), b)
	s.Empty("there was one request")
}

func several(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	a, b := request(check.Random(5)), request(check.Random(9))
	s.Send(check.Join(a, b))
	t.Compare("the answer to the first message", answerTo(a, s.PortID).Bytes(), s.Recv("the first answer"))
	second, _, err := s.RecvFrom(0)
	if errors.Is(err, check.ErrNothing) {
		t.Mistake("first-only", "Two messages were sent in one datagram, and one answer came.")
	}
	t.Compare("the answer to the second message", answerTo(b, s.PortID).Bytes(), second)
}

func long(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	m := request(check.Random(4096 + rand.IntN(1000)))
	s.Send(m.Bytes())
	t.Compare("the answer", answerTo(m, s.PortID).Bytes(), s.Recv("the answer"))
}

// noRoom shows what becomes of a buffer that could not be sent.
func noRoom(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	s.Overfill(request(check.Random(20)))
	m := request(check.Random(20))
	s.Send(m.Bytes())
	t.Compare("the answer to a request after those", answerTo(m, s.PortID).Bytes(), s.Recv("the answer"))
}

func program(t *check.T) {
	// One that answers with an error, as the payload is too long for it.
	unload := loadPeer(t)
	got := check.Run(t, "", "user/user", strings.Repeat("x", 70000))
	if got.Status == 0 {
		t.Mistake("error-as-answer", "the kernel answered with NLMSG_ERROR, and user/user ended with status 0; it printed %d bytes", len(got.Out))
	}
	unload()

	check.Insmod(t, module)
	text := check.RandomText(1 + rand.IntN(30))
	got = check.Run(t, "", "user/user", text, "and", text)
	got.Succeeded(t, "user/user "+text)
	if want := text + "\nand\n" + text + "\n"; got.Out != want {
		t.Fatalf("user/user %s and %s printed %q, want %q", text, text, got.Out, want)
	}
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is an echo, always the same.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, module)
	s := check.DialPort(t, check.LabProtocol, 4711, 0)
	m := check.Message{Type: 16, Flags: unix.NLM_F_REQUEST, Seq: 1, Body: []byte("hello")}
	s.Send(m.Bytes())
	return []check.Datagram{
		{Title: "The request: from port 4711 to the kernel (port 0)", Sent: true, Protocol: s.Protocol, Data: m.Bytes()},
		{Title: "The answer: from the kernel to port 4711", Protocol: s.Protocol, Data: s.Recv("the answer")},
	}
}
