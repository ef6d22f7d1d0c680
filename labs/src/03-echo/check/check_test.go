// SPDX-License-Identifier: MIT

// The check of lab 3.
package check_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

func TestMain(m *testing.M) { check.Main(m) }

// module is the student's.
const module = "echo"

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 2, Name: "the module makes a socket for protocol 31", Do: socket},
		check.Step{TODO: 1, Points: 1, Name: "a second socket of that number is refused", Needs: []string{"the module makes a socket for protocol 31"}, Do: taken},
		check.Step{TODO: 2, Points: 1, Name: "a request that asks for an acknowledgment gets one", Needs: []string{"the module makes a socket for protocol 31"}, Do: acknowledged},
		check.Step{TODO: 3, Points: 2, Name: "an answer comes back to who asked", Needs: []string{"the module makes a socket for protocol 31"}, Do: echo},
		check.Step{TODO: 3, Points: 1, Name: "each message of a datagram is answered", Needs: []string{"an answer comes back to who asked"}, Do: several},
		check.Step{TODO: 3, Points: 1, Name: "4096 bytes and more come back", Needs: []string{"an answer comes back to who asked"}, Do: long},
		check.Step{TODO: 4, Points: 2, Name: "the program sends and receives", Needs: []string{"an answer comes back to who asked"}, Do: program},
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

func taken(t *check.T) {
	check.Insmod(t, module)
	if err := check.TryInsmod(module); !errors.Is(err, unix.EEXIST) {
		t.Fatalf("loading the module a second time: %v, want %v", err, unix.EEXIST)
	}
}

func acknowledged(t *check.T) {
	check.Insmod(t, module)
	s := check.Dial(t, check.LabProtocol)
	m := request(check.Random(8))
	m.Flags |= unix.NLM_F_ACK
	s.Send(m.Bytes())
	for {
		got := check.Parse(t, "the answer", s.Recv("the acknowledgment"))
		if got[0].Type == unix.NLMSG_ERROR {
			return
		}
	}
}

func echo(t *check.T) {
	check.Insmod(t, module)
	s := check.DialPort(t, check.LabProtocol, check.RandomNumber(), 0)
	m := request(check.Random(1 + rand.IntN(40)))
	s.Send(m.Bytes())
	b, _, err := s.RecvFrom(check.Deadline() / 5)
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

func program(t *check.T) {
	check.Insmod(t, module)
	text := check.RandomText(1 + rand.IntN(30))
	got := check.Run(t, "", "user/user", text, "and", text)
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
