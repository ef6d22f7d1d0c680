// SPDX-License-Identifier: MIT

package check_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
	"nlpeer/vm-test/suites/vmtest"
)

const (
	family = "parrot"
	group  = "listeners"

	cmdEcho  = 1
	cmdList  = 2
	cmdHeard = 3

	attrText   = 1
	attrTimes  = 2
	attrNumber = 3

	textMax  = 32
	timesMax = 8
	memory   = 128
)

func TestMain(m *testing.M) { check.Main(m) }

const (
	lets     = "good requests pass the policy"
	refuses  = "bad requests are refused, and the place is named"
	answers  = "the parrot repeats what it hears"
	lists    = "the list is complete, in several datagrams"
	tells    = "those in the group are told"
	resolves = "the program finds the family, wherever it is"
	echoes   = "the program talks to the parrot"
	explains = "the program says why it is refused"
)

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: lets, Do: checkLets},
		check.Step{TODO: 1, Points: 2, Name: refuses, Needs: []string{lets}, Do: checkRefuses},
		check.Step{TODO: 2, Points: 2, Name: answers, Needs: []string{lets}, Do: checkAnswers},
		check.Step{TODO: 3, Points: 1, Name: lists, Needs: []string{answers}, Do: checkLists},
		check.Step{TODO: 4, Points: 1, Name: tells, Needs: []string{answers}, Do: checkTells},
		check.Step{TODO: 5, Points: 1, Name: resolves, Needs: []string{answers, lists, tells}, Do: checkResolves},
		check.Step{TODO: 6, Points: 1, Name: echoes, Needs: []string{resolves}, Do: checkEchoes},
		check.Step{TODO: 6, Points: 1, Name: explains, Needs: []string{echoes, refuses}, Do: checkExplains},
	)
}

// patience is how long to wait for what ought to happen in the blink of an eye.
func patience() time.Duration { return check.Deadline() / 2 }

// A client is the check's own.
type client struct {
	*check.Socket
	family vmtest.Family
	seq    uint32
}

// load loads the module, and opens a client of the family.
func load(t *check.T) *client {
	t.Helper()
	check.Insmod(t, "parrot")
	f, ok := vmtest.FindFamily(t, family)
	if !ok {
		t.Fatalf("the module is loaded, and the kernel knows no family %q", family)
	}
	s := check.Dial(t, unix.NETLINK_GENERIC)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	return &client{s, f, check.RandomNumber()}
}

// request makes a request to the family, with a sequence number of its own.
func (c *client) request(cmd uint8, flags uint16, attrs ...vmtest.Attr) check.Message {
	c.seq++
	return message(c.family.ID, cmd, unix.NLM_F_REQUEST|flags, c.seq, attrs...)
}

// reply is the message that answers a request.
func (c *client) reply(to check.Message, cmd uint8, flags uint16, attrs ...vmtest.Attr) check.Message {
	m := message(c.family.ID, cmd, flags, to.Seq, attrs...)
	m.PortID = c.PortID
	return m
}

// message is one of the family: a struct genlmsghdr, whose version is 1, and
// attributes.
func message(family uint16, cmd uint8, flags uint16, seq uint32, attrs ...vmtest.Attr) check.Message {
	body := []byte{cmd, 1, 0, 0}
	for _, a := range attrs {
		body = append(body, a.Bytes()...)
	}
	return check.Message{Type: family, Flags: flags, Seq: seq, Body: body}
}

// ack receives the error that answers a request, and takes it apart.
func (c *client) ack(t *check.T, to check.Message) vmtest.Ack {
	t.Helper()
	return parseAck(t, c.one(t), to)
}

func parseAck(t *check.T, m, to check.Message) vmtest.Ack {
	t.Helper()
	plain := func(m check.Message) vmtest.Message {
		return vmtest.Message{Type: m.Type, Flags: m.Flags, Seq: m.Seq, PortID: m.PortID, Body: m.Body}
	}
	return vmtest.ParseAck(t, plain(m), plain(to))
}

// one receives a message.
func (c *client) one(t *check.T) check.Message {
	t.Helper()
	return check.Parse(t, "the answer", c.Recv("an answer"))[0]
}

// say is the request to repeat something.
func (c *client) say(text string, times ...uint32) check.Message {
	attrs := []vmtest.Attr{str(attrText, text)}
	for _, n := range times {
		attrs = append(attrs, u32(attrTimes, n))
	}
	return c.request(cmdEcho, 0, attrs...)
}

// mustSay says something, and takes the answer for granted.
func (c *client) mustSay(t *check.T, text string) {
	t.Helper()
	c.Send(c.say(text).Bytes())
	if m := c.one(t); m.Type != c.family.ID {
		t.Fatalf("a request to repeat %q is answered by % x", text, m.Bytes())
	}
}

func str(typ uint16, s string) vmtest.Attr {
	return vmtest.Attr{Type: typ, Data: append([]byte(s), 0)}
}

func u32(typ uint16, v uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(v)} }

// words are random ones, of n bytes.
func words(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.IntN(26))
	}
	return string(b)
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", text)
}

func checkLets(t *check.T) {
	c := load(t)
	for _, m := range []check.Message{
		c.say(words(1)), c.say(words(textMax)), c.say(words(5), 1), c.say(words(5), timesMax),
	} {
		c.Send(m.Bytes())
		b := c.Recv("an answer")
		if len(b) < 16 || binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_ERROR {
			continue // what is in it, another step looks at
		}
		// Before there is an answer, the skeleton's handler says EOPNOTSUPP.
		if a := parseAck(t, check.Parse(t, "the answer", b)[0], m); a.Errno != 0 && a.Errno != unix.EOPNOTSUPP {
			t.Fatalf("a good request is refused: %v%s, byte %d of it. Which attributes does the policy list?\nThe request: % x",
				a.Errno, quoted(a.Text), a.Offset, m.Bytes())
		}
	}
}

func checkRefuses(t *check.T) {
	c := load(t)
	const at = 16 + 4 // where the first attribute is
	text := str(attrText, words(4))
	second := at + len(text.Bytes())
	for _, x := range []struct {
		what    string
		offset  int
		mistake string
		attrs   []vmtest.Attr
	}{
		{"a text without a zero byte at its end", at, "no-zero", []vmtest.Attr{{Type: attrText, Data: []byte(words(textMax - 1))}}},
		{"a text that is too long by one", at, "", []vmtest.Attr{str(attrText, words(textMax+1))}},
		{"0 times", second, "no-range", []vmtest.Attr{text, u32(attrTimes, 0)}},
		{"too often by one", second, "no-range", []vmtest.Attr{text, u32(attrTimes, timesMax+1)}},
		{"times of two bytes", second, "", []vmtest.Attr{text, {Type: attrTimes, Data: []byte{1, 0}}}},
		{"a number, which no request has", second, "", []vmtest.Attr{text, u32(attrNumber, 1)}},
		{"an attribute that does not exist", second, "", []vmtest.Attr{text, u32(4+uint16(rand.IntN(100)), 1)}},
	} {
		m := c.request(cmdEcho, 0, x.attrs...)
		c.Send(m.Bytes())
		answer := c.one(t)
		if answer.Type != unix.NLMSG_ERROR {
			if x.mistake != "" {
				t.Mistake(x.mistake)
			}
			t.Fatalf("%s: the request is answered; want it refused", x.what)
		}
		a := parseAck(t, answer, m)
		if a.Errno != unix.EINVAL && a.Errno != unix.ERANGE {
			if a.Errno == unix.EOPNOTSUPP && x.mistake != "" {
				t.Mistake(x.mistake)
			}
			t.Fatalf("%s: %v%s; want %v or %v, which the policy brings by itself", x.what, a.Errno, quoted(a.Text), unix.EINVAL, unix.ERANGE)
		}
		if a.Offset != x.offset && a.Offset >= 0 {
			t.Fatalf("%s: the answer points to byte %d, want %d", x.what, a.Offset, x.offset)
		}
	}
}

func checkAnswers(t *check.T) {
	c := load(t)
	for _, times := range []uint32{1, 2 + rand.Uint32N(timesMax-2), timesMax} {
		text := words(1 + rand.IntN(textMax))
		m := c.say(text, times)
		c.Send(m.Bytes())
		got := c.Recv("the answer")
		want := c.reply(m, cmdEcho, 0, str(attrText, strings.TrimSuffix(strings.Repeat(text+" ", int(times)), " "))).Bytes()
		switch {
		case len(got) > 20 && binary.NativeEndian.Uint32(got) == 20: // the two headers
			t.Mistake("no-end")
		case len(got) == len(want) && binary.NativeEndian.Uint32(got[8:]) == 0 && slices.Equal(got[16:], want[16:]):
			t.Mistake("no-answer")
		}
		t.Compare(fmt.Sprintf("the answer to %q, %d times", text, times), want, got)
	}
	m := c.request(cmdEcho, 0)
	c.Send(m.Bytes())
	if a := c.ack(t, m); a.Errno != unix.EINVAL || a.Text == "" {
		t.Fatalf("a request without a text: %v%s; want %v and a reason", a.Errno, quoted(a.Text), unix.EINVAL)
	}
	c.Overfill(c.say(words(textMax), timesMax))
	c.mustSay(t, "after those")
}

func checkLists(t *check.T) {
	c := load(t)
	var all []string
	for _, n := range []int{rand.IntN(10), 60 + rand.IntN(10), 30 + rand.IntN(60)} {
		c.list(t, all)
		for range n {
			text := words(textMax - rand.IntN(4))
			c.mustSay(t, text)
			all = append(all, text)
		}
	}
	c.list(t, all)
}

// list asks for the list, with a small buffer, and compares.
func (c *client) list(t *check.T, want []string) {
	t.Helper()
	// A socket of its own: one that has once received into a large buffer gets
	// large datagrams from then on.
	c = &client{check.Dial(t, unix.NETLINK_GENERIC), c.family, c.seq}
	defer c.Close()
	m := c.request(cmdList, unix.NLM_F_DUMP)
	c.Send(m.Bytes())
	first := max(0, len(want)-memory)
	next := first
	for {
		got := check.Parse(t, "a part of the list", c.recvSmall(t))
		for _, answer := range got {
			if answer.Type == unix.NLMSG_DONE {
				if next != len(want) {
					t.Fatalf("the list ends after %d messages; the parrot has heard %d texts and remembers the last %d", next-first, len(want), memory)
				}
				if len(answer.Body) >= 4 && int32(binary.NativeEndian.Uint32(answer.Body)) < 0 {
					errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer.Body)))
					t.Mistake("empty-is-an-error", "The list has all that the parrot remembers, %d texts, and ends with NLMSG_DONE and %v.", next-first, errno)
				}
				end := check.Message{Type: unix.NLMSG_DONE, Flags: unix.NLM_F_MULTI, Seq: m.Seq, PortID: c.PortID, Body: check.U32(0)}
				t.Compare("the end of the list", end.Bytes(), answer.Bytes())
				return
			}
			if next == len(want) || next > first && slices.Equal(answer.Body, c.heard(m, cmdList, 0, first, want).Body) {
				t.Mistake("from-the-beginning")
			}
			expected := c.heard(m, cmdList, unix.NLM_F_MULTI, next, want)
			if answer.Flags == 0 && slices.Equal(answer.Body, expected.Body) {
				t.Mistake("not-many")
			}
			t.Compare(fmt.Sprintf("message %d of the list", next-first+1), expected.Bytes(), answer.Bytes())
			next++
		}
	}
}

// heard is the message about the text i.
func (c *client) heard(to check.Message, cmd uint8, flags uint16, i int, texts []string) check.Message {
	return c.reply(to, cmd, flags, u32(attrNumber, uint32(i+1)), str(attrText, texts[i]))
}

// recvSmall receives a datagram into a buffer of 4 KiB. A dump makes no larger
// ones for who has no more room.
func (c *client) recvSmall(t *check.T) []byte {
	t.Helper()
	buf := make([]byte, 4096)
	fds := []unix.PollFd{{Fd: int32(c.FD), Events: unix.POLLIN}}
	unix.Poll(fds, int(patience().Milliseconds()))
	n, _, err := unix.Recvfrom(c.FD, buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
	if err == unix.EAGAIN {
		t.Fatal("the dump stops before NLMSG_DONE: nothing more comes.\nIs a full buffer sent on, or an empty one?")
	}
	if err != nil || n > len(buf) {
		t.Fatalf("receiving a part of the dump: %d bytes, %v", n, err)
	}
	return buf[:n]
}

func checkTells(t *check.T) {
	c := load(t)
	id, ok := c.family.Groups[group]
	if !ok {
		t.Fatalf("the family has no multicast group %q. See mcgrps and n_mcgrps in struct genl_family.", group)
	}
	listener := check.Dial(t, unix.NETLINK_GENERIC)
	listener.Set(unix.NETLINK_ADD_MEMBERSHIP, int(id))
	for i := range uint32(3) {
		text := words(1 + rand.IntN(textMax))
		c.mustSay(t, text)
		got, _, err := listener.RecvFrom(patience())
		if err == check.ErrNothing {
			t.Fatalf("%q was said, and a socket in the group %q hears nothing", text, group)
		} else if err != nil {
			t.Fatal(err)
		}
		want := message(c.family.ID, cmdHeard, 0, 0, u32(attrNumber, i+1), str(attrText, text))
		t.Compare("what a member of the group hears", want.Bytes(), got)
	}
	c.mustSay(t, "twice")
	listener.Recv("what was said last")
	listener.Empty("it was said once")

	r := check.TraceKernel(t, []string{"kmem/kmem_cache_alloc", "kmem/kmem_cache_alloc_node"}, nil)
	heard := buffers(r, func() { c.mustSay(t, "to somebody") })
	listener.Close()
	if alone := buffers(r, func() { c.mustSay(t, "to nobody") }); alone >= heard {
		t.Mistake("made-for-nobody", "For a request that a listener hears of, %d socket buffers are made, and if nobody listens %d.", heard, alone)
	}
}

// buffers is how many socket buffers the kernel makes while f runs: the least of
// some times, as others may make one, too.
func buffers(r check.KernelTrace, f func()) int {
	least := math.MaxInt
	for range 3 {
		r.Clear()
		f()
		n := 0
		for _, e := range r.Events() {
			if strings.HasPrefix(e.Field("call_site"), "__alloc_skb+") {
				n++
			}
		}
		least = min(least, n)
	}
	return least
}

func checkResolves(t *check.T) {
	seen := map[uint16]bool{}
	for range 3 {
		c := load(t)
		seen[c.family.ID] = true
		texts := []string{words(8), words(9)}
		var want []string
		for i, text := range texts {
			c.mustSay(t, text)
			want = append(want, fmt.Sprintf("%d: %s", i+1, text))
		}
		got := check.Run(t, "", "user/user", "list")
		if out := got.Out + got.Err; strings.Contains(out, unix.ENOENT.Error()) || strings.Contains(out, unix.EOPNOTSUPP.Error()) {
			t.Mistake("fixed-id")
		} else if got.Status != 0 || got.Out != strings.Join(want, "\n")+"\n" {
			t.Fatalf("the family has the ID %d. user/user list ends with status %d, printing:\n%s\nwant:\n%s",
				c.family.ID, got.Status, indent(strings.Split(strings.TrimSpace(out), "\n")), indent(want))
		}
		listens(t, c)
		check.Rmmod(t, "parrot")
	}
	if len(seen) < 2 {
		t.Fatalf("the family had the same ID all the time, %v: this check has checked nothing", seen)
	}
}

// listens checks that the program has found the group, too.
func listens(t *check.T, c *client) {
	t.Helper()
	cmd := exec.Command("user/user", "listen", "1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := make(chan string, 10)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		close(lines)
	}()
	text := words(7)
	limit := time.After(patience())
	for {
		select {
		case line := <-lines:
			if !strings.HasSuffix(line, ": "+text) {
				t.Fatalf("user/user listen 1 prints %q; somebody said %q", line, text)
			}
			return
		case <-limit:
			t.Fatalf("user/user listen 1 hears nothing of what is said.\nThe group %q has the ID %d, which the answer to CTRL_CMD_GETFAMILY has, too.",
				group, c.family.Groups[group])
		case <-time.After(20 * time.Millisecond): // until it has joined
			c.mustSay(t, text)
		}
	}
}

func checkEchoes(t *check.T) {
	load(t)
	text, times := words(1+rand.IntN(textMax)), 2+rand.IntN(timesMax-1)
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"echo", text}, text},
		{[]string{"echo", text, fmt.Sprint(times)}, strings.TrimSuffix(strings.Repeat(text+" ", times), " ")},
	} {
		got := check.Run(t, "", "user/user", x.args...)
		if strings.Contains(got.Err, unix.EINVAL.Error()) && strings.Contains(got.Err, "byte 20") {
			t.Mistake("no-zero-byte")
		}
		if got.Status != 0 || got.Out != x.want+"\n" {
			t.Fatalf("user/user %s ends with status %d, printing\n\t%s\nwant\n\t%s",
				strings.Join(x.args, " "), got.Status, got.Out+got.Err, x.want)
		}
	}
}

func checkExplains(t *check.T) {
	c := load(t)
	m := c.say("never", timesMax+1)
	c.Send(m.Bytes())
	want := c.ack(t, m)
	got := check.Run(t, "", "user/user", "echo", "never", fmt.Sprint(timesMax+1))
	if got.Status != 1 || !strings.Contains(got.Err, want.Text) || !strings.Contains(got.Err, fmt.Sprintf("byte %d", want.Offset)) {
		t.Fatalf("user/user echo never %d ends with status %d, printing %q; want status 1, the kernel's reason %q and the place, byte %d",
			timesMax+1, got.Status, got.Out+got.Err, want.Text, want.Offset)
	}
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return "\t(nothing)"
	}
	return "\t" + strings.Join(lines, "\n\t")
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is all that a client needs: the family found, and something said.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, "parrot")
	s := check.DialPort(t, unix.NETLINK_GENERIC, 4711, 0)
	var all []check.Datagram
	do := func(what string, to string, m check.Message) check.Message {
		s.Send(m.Bytes())
		b := s.Recv("the answer")
		all = append(all,
			check.Datagram{Title: what + ": port 4711 to " + to, Sent: true, Protocol: unix.NETLINK_GENERIC, Data: m.Bytes()},
			check.Datagram{Title: "the answer: " + to + " to port 4711", Protocol: unix.NETLINK_GENERIC, Data: b})
		return check.Parse(t, "the answer", b)[0]
	}
	m := do("which number has parrot", "the controller", message(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, unix.NLM_F_REQUEST, 1,
		str(unix.CTRL_ATTR_FAMILY_NAME, family)))
	// The kernel gives out numbers that are free, and which are depends on what it
	// has. In the picture they are always the same.
	const shownFamily, shownGroup = 32, 9
	var id uint16
	for _, a := range check.Attrs(t, "the family", m.Body[4:]) {
		switch a.Type {
		case unix.CTRL_ATTR_FAMILY_ID:
			id = binary.NativeEndian.Uint16(a.Data)
			binary.NativeEndian.PutUint16(a.Data, shownFamily)
		case unix.CTRL_ATTR_MCAST_GROUPS:
			for _, group := range check.Attrs(t, "the groups", a.Data) {
				for _, b := range check.Attrs(t, "a group", group.Data) {
					if b.Type == unix.CTRL_ATTR_MCAST_GRP_ID {
						binary.NativeEndian.PutUint32(b.Data, shownGroup)
					}
				}
			}
		}
	}
	do("say it twice", "the parrot", message(id, cmdEcho, unix.NLM_F_REQUEST, 2, str(attrText, "hello"), u32(attrTimes, 2)))
	for _, d := range all[2:] {
		binary.NativeEndian.PutUint16(d.Data[4:], shownFamily)
	}
	return all
}
