// SPDX-License-Identifier: MIT

package check_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

const (
	userSock = unix.NETLINK_USERSOCK
	msgText  = 16
)

const (
	address  = "a socket has a port ID"
	unicast  = "a text reaches a port"
	sender   = "the sender is known by his address"
	join     = "a group is joined"
	groups   = "a text reaches a group, and no other"
	inC      = "the program in C speaks to a port"
	mayOrNot = "who may what is found out"
)

func TestMain(m *testing.M) { check.Main(m) }

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 2, Name: address, Do: checkAddress},
		check.Step{TODO: 2, Points: 1, Name: unicast, Needs: []string{address}, Do: checkUnicast},
		check.Step{TODO: 3, Points: 2, Name: sender, Needs: []string{unicast}, Do: checkSender},
		check.Step{TODO: 4, Points: 1, Name: join, Needs: []string{sender}, Do: checkJoin},
		check.Step{TODO: 4, Points: 1, Name: groups, Needs: []string{unicast}, Do: checkGroups},
		check.Step{TODO: 5, Points: 2, Name: inC, Do: checkC},
		check.Step{TODO: 6, Points: 1, Name: mayOrNot, Needs: []string{join}, Do: checkMay},
	)
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// text is a message with a text, as user/message.go builds it.
func text(port uint32, s string) []byte {
	return check.Message{Type: msgText, Seq: 1, PortID: port, Body: []byte(s)}.Bytes()
}

// freePort is a port ID that nobody has, of those that the kernel does not give.
func freePort() uint32 { return 1<<24 + rand.Uint32N(1<<28) }

func checkAddress(t *check.T) {
	// The ports that the kernel chooses.
	o := check.Run(t, "", "user/user", "open", "0", "0", "0")
	if o.Status != 0 && strings.Contains(o.Err, unix.EADDRINUSE.Error()) {
		t.Mistake("process-id", "user open 0 0 0 printed\n    %s%s", o.Out, o.Err)
	}
	o.Succeeded(t, "user open 0 0 0")
	var ports []uint64
	for line := range strings.Lines(o.Out) {
		port, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(line, "port ")), 10, 32)
		if err != nil {
			t.Fatalf("user open 0 0 0 printed %q; want \"port N\"", line)
		}
		ports = append(ports, port)
	}
	if len(ports) != 3 || ports[0] == 0 || ports[0] == ports[1] || ports[1] == ports[2] || ports[0] == ports[2] {
		t.Fatalf("user open 0 0 0 names the ports %d; three sockets have three port IDs, none of them 0.\n"+
			"Is the socket bound? Does getsockname() come after bind()?", ports)
	}

	// One that is asked for.
	port := freePort()
	o = check.Run(t, "", "user/user", "open", fmt.Sprint(port))
	o.Succeeded(t, fmt.Sprintf("user open %d", port))
	if want := fmt.Sprintf("port %d\n", port); o.Out != want {
		t.Fatalf("user open %d printed %q, want %q", port, o.Out, want)
	}
	taken := check.DialPort(t, userSock, port, 0)
	o = check.Run(t, "", "user/user", "open", fmt.Sprint(port))
	if o.Status == 0 || !strings.Contains(o.Err, unix.EADDRINUSE.Error()) {
		t.Fatalf("port %d is taken, and user open %d ended with status %d and %q; want %q", taken.PortID, port, o.Status, o.Out+o.Err, unix.EADDRINUSE.Error())
	}
}

func checkUnicast(t *check.T) {
	s := check.DialPort(t, userSock, freePort(), 0)
	word := check.RandomText(1 + rand.IntN(40))
	o := check.Run(t, "", "user/user", "send", fmt.Sprint(s.PortID), word)
	if o.Status != 0 && strings.Contains(o.Err, unix.ECONNREFUSED.Error()) {
		t.Mistake("to-the-kernel", "user send %d %s printed %q; there is a socket at that port", s.PortID, word, o.Err)
	}
	o.Succeeded(t, "user send")
	got, from, err := s.RecvFrom(0)
	if err != nil {
		t.Fatalf("user send %d %s has ended, and at port %d: %v", s.PortID, word, s.PortID, err)
	}
	t.Compare("what came at the port", text(from.Pid, word), got)
	s.Empty("one text was sent")

	nobody := freePort()
	o = check.Run(t, "", "user/user", "send", fmt.Sprint(nobody), word)
	if o.Status == 0 || !strings.Contains(o.Err, unix.ECONNREFUSED.Error()) {
		t.Fatalf("nobody has port %d, and user send %d ended with status %d and %q; want %q", nobody, nobody, o.Status, o.Err, unix.ECONNREFUSED.Error())
	}
}

// listener starts user listen, and returns its port.
func listener(t *check.T, args ...string) (*check.Process, uint32) {
	t.Helper()
	p := check.Start(t, "", "user/user", append([]string{"listen"}, args...)...)
	line := p.Line("listening at port ")
	port, err := strconv.ParseUint(strings.TrimPrefix(line, "listening at port "), 10, 32)
	if err != nil {
		t.Fatalf("user listen printed %q", line)
	}
	return p, uint32(port)
}

// member is what /proc/net/netlink has of a port: its groups.
func member(t *check.T, p *check.Process, port uint32) string {
	t.Helper()
	for _, line := range check.Sockets(userSock) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == fmt.Sprint(port) {
			return f[3]
		}
	}
	if !alive(p) {
		p.Wait().Succeeded(t, "user listen")
	}
	t.Fatalf("/proc/net/netlink has no socket of protocol %d with port %d", userSock, port)
	return ""
}

func checkSender(t *check.T) {
	want := freePort()
	p, port := listener(t, "-port", fmt.Sprint(want), "-answer", "-groups", "0x80000005")
	if port != want {
		t.Fatalf("user listen -port %d listens at port %d", want, port)
	}
	if mask := member(t, p, port); mask != "80000005" {
		t.Fatalf("user listen -groups 0x80000005 is in the groups %s, says /proc/net/netlink: they are part of the address that open() gives to bind()", mask)
	}
	s := check.Dial(t, userSock)
	word, lie := check.RandomText(1+rand.IntN(40)), freePort()
	if err := s.SendTo(text(lie, word), port, 0); err != nil {
		t.Fatalf("sending to port %d: %v", port, err)
	}
	line := p.Line("from port ")
	if line == fmt.Sprintf("from port %d: %s", lie, word) {
		t.Mistake("believes-the-header", "a text came from port %d, with nlmsg_pid %d; user listen printed\n    %s", s.PortID, lie, line)
	}
	if want := fmt.Sprintf("from port %d: %s", s.PortID, word); line != want {
		t.Fatalf("user listen printed\n    %s\nwant\n    %s", line, want)
	}
	t.Compare("the answer of user listen -answer", text(port, word), s.Recv("the answer"))
	p.Wait().Succeeded(t, "user listen")
}

// bit is a group as a mask.
func bit(group uint32) uint32 { return 1 << (group - 1) }

func checkJoin(t *check.T) {
	group := 3 + rand.Uint32N(30)
	p := check.Start(t, "", "user/user", "listen", "-join", fmt.Sprint(group))
	var port uint32
	check.Until(t, "user listen -join listens, or ends", func() bool {
		for _, line := range check.Sockets(userSock) {
			if f := strings.Fields(line); len(f) > 3 && f[2] == fmt.Sprint(p.PID()) && f[3] != "00000000" {
				port = uint32(p.PID())
				return true
			}
		}
		return !alive(p)
	})
	if port == 0 {
		o := p.Wait()
		if strings.Contains(o.Err, unix.EINVAL.Error()) {
			t.Mistake("joins-by-mask", "user listen -join %d printed %q", group, o.Err)
		}
		o.Succeeded(t, fmt.Sprintf("user listen -join %d", group))
		t.Fatalf("user listen -join %d has ended without a text", group)
	}
	if got, want := member(t, p, port), fmt.Sprintf("%08x", bit(group)); got != want {
		t.Mistake("joins-by-mask", "user listen -join %d is in the groups of the mask %s, says /proc/net/netlink; want %s", group, got, want)
	}
	p.Line("listening at port ")
	s := check.Dial(t, userSock)
	word := check.RandomText(1 + rand.IntN(40))
	// The second addressee, port 0, is nobody.
	if err := s.SendTo(text(0, word), 0, bit(group)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("sending to group %d: %v", group, err)
	}
	p.Wait().Succeeded(t, "user listen")
	if got, want := p.Line("from port "), fmt.Sprintf("from port %d to group %d: %s", s.PortID, group, word); got != want {
		t.Fatalf("user listen -join %d printed\n    %s\nwant\n    %s", group, got, want)
	}
}

// alive says whether a program runs.
func alive(p *check.Process) bool {
	stat := fmt.Sprintf("/proc/%d/stat", p.PID())
	return check.Exists(stat)
}

func checkGroups(t *check.T) {
	group := 3 + rand.Uint32N(30)
	member := check.DialPort(t, userSock, 0, bit(group))
	other := check.DialPort(t, userSock, 0, ^bit(group))
	word := check.RandomText(1 + rand.IntN(40))
	o := check.Run(t, "", "user/user", "send", "-group", fmt.Sprint(group), word)
	got, from, err := member.RecvFrom(0)
	if errors.Is(err, check.ErrNothing) {
		if _, from, err := other.RecvFrom(0); err == nil {
			t.Mistake("number-as-mask", "user send -group %d: the text came to the groups of the mask %#x", group, from.Groups)
		}
		o.Succeeded(t, fmt.Sprintf("user send -group %d", group))
		t.Fatalf("user send -group %d has ended, and nothing came to any group", group)
	}
	if err != nil {
		t.Fatalf("receiving in group %d: %v", group, err)
	}
	if strings.Contains(o.Err, unix.ECONNREFUSED.Error()) {
		t.Mistake("refused", "user send -group %d ended with status %d and %q, and the text came", group, o.Status, o.Err)
	}
	o.Succeeded(t, fmt.Sprintf("user send -group %d", group))
	t.Compare(fmt.Sprintf("what came to group %d", group), text(from.Pid, word), got)
	other.Empty(fmt.Sprintf("group %d was sent to, and no other", group))
}

func checkC(t *check.T) {
	s := check.DialPort(t, userSock, freePort(), 0)
	word := check.RandomText(20 + rand.IntN(40))
	p := check.Start(t, "", "c/hello", fmt.Sprint(s.PortID), word)
	var got []byte
	var from *unix.SockaddrNetlink
	end := time.Now().Add(check.Deadline())
	for {
		running := alive(p)
		var err error
		got, from, err = s.RecvFrom(10 * time.Millisecond)
		if err == nil {
			break
		}
		if !errors.Is(err, check.ErrNothing) {
			t.Fatalf("receiving: %v", err)
		}
		if !running || time.Now().After(end) {
			p.Wait().Succeeded(t, fmt.Sprintf("c/hello %d %s", s.PortID, word))
			t.Fatalf("c/hello %d %s has ended, and nothing came", s.PortID, word)
		}
	}
	want := check.Message{Type: msgText, Body: []byte(word)}
	switch {
	case bytes.HasPrefix(got, []byte(word[:16])):
		t.Mistake("text-in-the-header", "c/hello sent the bytes %q", got)
	case bytes.HasPrefix(got, check.U32(uint32(len(word)))):
		t.Mistake("length-without-header", "c/hello: nlmsg_len is %d, and the datagram has %d bytes", len(word), len(got))
	}
	t.Compare("what c/hello sent", want.Bytes(), got)
	if err := s.SendTo(text(0, word[1:]), from.Pid, 0); err != nil {
		t.Fatalf("answering to port %d: %v", from.Pid, err)
	}
	o := p.Wait()
	o.Succeeded(t, "c/hello")
	if want := fmt.Sprintf("from port %d: %s\n", s.PortID, word[1:]); o.Out != want {
		t.Fatalf("c/hello printed %q, want %q", o.Out, want)
	}
}

func checkMay(t *check.T) {
	const no = "operation not permitted"
	for _, c := range []struct {
		uid  uint32
		want [6]string
	}{
		{0, [6]string{"yes", "yes", "yes", "yes", "yes", "yes"}},
		{check.User, [6]string{no, "yes", "yes", no, no, "yes"}},
	} {
		var want strings.Builder
		for i, name := range []string{"NETLINK_ROUTE", "NETLINK_USERSOCK", "NETLINK_KOBJECT_UEVENT"} {
			fmt.Fprintf(&want, "%s: send to a process: %s\n%s: listen to a group: %s\n", name, c.want[2*i], name, c.want[2*i+1])
		}
		o := check.StartAs(t, c.uid, "", "user/user", "may").Wait()
		o.Succeeded(t, fmt.Sprintf("user may, as user %d", c.uid))
		if strings.Contains(o.Out, unix.ECONNREFUSED.Error()) {
			t.Mistake("tries-the-kernel", "user may, as user %d, printed\n%s", c.uid, o.Out)
		}
		if o.Out != want.String() {
			t.Fatalf("user may, as user %d, printed\n%swant\n%s", c.uid, o.Out, want.String())
		}
	}
}

// exchange is what the picture shows.
func exchange(t *check.T) []check.Datagram {
	a := check.DialPort(t, userSock, 4711, 0)
	b := check.DialPort(t, userSock, 4712, bit(3))
	first, second := text(a.PortID, "hello, stranger"), text(a.PortID, "is anybody there?")
	if err := a.SendTo(first, b.PortID, 0); err != nil {
		t.Fatalf("sending to port %d: %v", b.PortID, err)
	}
	_ = a.SendTo(second, 0, bit(3))
	var all []check.Datagram
	for _, title := range []string{"port 4711 to port 4712", "port 4711 to group 3"} {
		all = append(all, check.Datagram{Title: title, Sent: true, Protocol: userSock, Data: b.Recv(title)})
	}
	return all
}
