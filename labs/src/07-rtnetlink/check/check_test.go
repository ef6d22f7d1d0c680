// SPDX-License-Identifier: MIT

package check_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
	"nlpeer/vm-test/suites/vmtest"
)

// Attributes, as Attrs of package vmtest gives them: without the flag of a nest.
const (
	nested   = 1 << 15
	infoKind = 1
	infoData = 2
	labMark  = 1
)

func TestMain(m *testing.M) { check.Main(m) }

const (
	made     = "a link of kind lab is made, and gone with the module"
	noMark   = "without a mark: refused, with a reason"
	badMark  = "a bad mark: refused, with a reason and its place"
	answered = "the mark is in the answer to RTM_GETLINK"
	notified = "the mark is in the notification"
	adds     = "the program makes links"
	refused  = "the program says why a link is refused"
	lists    = "the program lists all links, and ends"
	watches  = "the program tells new links from those that are gone"
)

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 2, Name: made, Do: checkMade},
		check.Step{TODO: 2, Points: 1, Name: noMark, Do: checkNoMark},
		check.Step{TODO: 2, Points: 1, Name: badMark, Do: checkBadMark},
		check.Step{TODO: 3, Points: 1, Name: answered, Needs: []string{made}, Do: checkAnswered},
		check.Step{TODO: 3, Points: 1, Name: notified, Needs: []string{answered}, Do: checkNotified},
		check.Step{TODO: 4, Points: 1, Name: adds, Needs: []string{made}, Do: checkAdds},
		check.Step{TODO: 4, Points: 1, Name: refused, Needs: []string{adds, badMark}, Do: checkRefused},
		check.Step{TODO: 5, Points: 1, Name: lists, Needs: []string{answered}, Do: checkLists},
		check.Step{TODO: 6, Points: 1, Name: watches, Needs: []string{notified}, Do: checkWatches},
	)
}

// patience is how long to wait for what ought to happen in the blink of an eye.
func patience() time.Duration { return check.Deadline() / 2 }

// A router is the check's own socket of NETLINK_ROUTE.
type router struct {
	*check.Socket
	seq uint32
}

func open(t *check.T, groups uint32) *router {
	t.Helper()
	s := check.DialPort(t, unix.NETLINK_ROUTE, 0, groups)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	return &router{s, check.RandomNumber()}
}

// newLink is a request for a link of kind lab with the attributes of its own.
func (r *router) newLink(name string, data ...vmtest.Attr) check.Message {
	r.seq++
	body := make([]byte, unix.SizeofIfInfomsg)
	body = append(body, str(unix.IFLA_IFNAME, name).Bytes()...)
	body = append(body, nest(unix.IFLA_LINKINFO, str(infoKind, "lab"), nest(infoData, data...)).Bytes()...)
	return check.Message{
		Type:  unix.RTM_NEWLINK,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		Seq:   r.seq,
		Body:  body,
	}
}

// do sends a request and returns its acknowledgment.
func (r *router) do(t *check.T, m check.Message) vmtest.Ack {
	t.Helper()
	r.Send(m.Bytes())
	answer := check.Parse(t, "the acknowledgment", r.Recv("the acknowledgment"))[0]
	return vmtest.ParseAck(t, plain(answer), plain(m))
}

// plain is a message of the tests' own package.
func plain(m check.Message) vmtest.Message {
	return vmtest.Message{Type: m.Type, Flags: m.Flags, Seq: m.Seq, PortID: m.PortID, Body: m.Body}
}

// add makes a link, or fails the step.
func (r *router) add(t *check.T, name string, mark uint32) {
	t.Helper()
	if a := r.do(t, r.newLink(name, u32(labMark, mark))); a.Errno != 0 {
		t.Fatalf("RTM_NEWLINK of %s, kind lab, mark %d: %v%s", name, mark, a.Errno, quoted(a.Text))
	}
}

// remove deletes a link, or fails the step.
func (r *router) remove(t *check.T, name string) {
	t.Helper()
	r.seq++
	a := r.do(t, check.Message{
		Type:  unix.RTM_DELLINK,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK,
		Seq:   r.seq,
		Body:  append(make([]byte, unix.SizeofIfInfomsg), str(unix.IFLA_IFNAME, name).Bytes()...),
	})
	if a.Errno != 0 {
		t.Fatalf("RTM_DELLINK of %s: %v%s", name, a.Errno, quoted(a.Text))
	}
}

// get asks for a link.
func (r *router) get(t *check.T, name string) link {
	t.Helper()
	r.seq++
	r.Send(check.Message{
		Type:  unix.RTM_GETLINK,
		Flags: unix.NLM_F_REQUEST,
		Seq:   r.seq,
		Body:  append(make([]byte, unix.SizeofIfInfomsg), str(unix.IFLA_IFNAME, name).Bytes()...),
	}.Bytes())
	return parse(t, check.Parse(t, "the answer", r.Recv("the answer to RTM_GETLINK"))[0])
}

// A link is what the check wants to know of one.
type link struct {
	index uint32
	name  string
	mtu   uint32
	kind  string
	data  []vmtest.Attr // of the kind
	there bool          // data is, if empty
}

func parse(t *check.T, m check.Message) (l link) {
	t.Helper()
	if m.Type != unix.RTM_NEWLINK && m.Type != unix.RTM_DELLINK {
		t.Fatalf("a message of type %d where one about a link is due: % x", m.Type, m.Body)
	}
	l.index = binary.NativeEndian.Uint32(m.Body[4:])
	for _, a := range vmtest.Attrs(t, m.Body[unix.SizeofIfInfomsg:]) {
		switch a.Type {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(a.Data)
		case unix.IFLA_MTU:
			l.mtu = binary.NativeEndian.Uint32(a.Data)
		case unix.IFLA_LINKINFO:
			for _, a := range vmtest.Attrs(t, a.Data) {
				switch a.Type {
				case infoKind:
					l.kind = unix.ByteSliceToString(a.Data)
				case infoData:
					l.there = true
					l.data = vmtest.Attrs(t, a.Data)
				}
			}
		}
	}
	return l
}

// wantMark fails the step unless the link has the mark.
func (l link) wantMark(t *check.T, mark uint32) {
	t.Helper()
	if l.kind != "lab" {
		t.Fatalf("the kind of %s is %q, want lab", l.name, l.kind)
	}
	i := slices.IndexFunc(l.data, func(a vmtest.Attr) bool { return a.Type == labMark })
	if i < 0 {
		t.Fatalf("IFLA_INFO_DATA of %s has no attribute LAB_A_MARK, type %d. What does lab_fill_info() put into the message?", l.name, labMark)
	}
	got := l.data[i].Data
	want := vmtest.U32(mark)
	swapped := slices.Clone(want)
	slices.Reverse(swapped)
	if !slices.Equal(got, want) && slices.Equal(got, swapped) {
		t.Mistake("network-order")
	}
	t.Compare("the attribute LAB_A_MARK", vmtest.Attr{Type: labMark, Data: want}.Bytes(), l.data[i].Bytes())
}

func str(typ uint16, s string) vmtest.Attr {
	return vmtest.Attr{Type: typ, Data: append([]byte(s), 0)}
}

func u32(typ uint16, v uint32) vmtest.Attr { return vmtest.Attr{Type: typ, Data: vmtest.U32(v)} }

func nest(typ uint16, parts ...vmtest.Attr) vmtest.Attr {
	var b []byte
	for _, p := range parts {
		b = append(b, p.Bytes()...)
	}
	return vmtest.Attr{Type: typ | nested, Data: b}
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", text)
}

// speaksOf says whether a text has a word in it, in capitals or not.
func speaksOf(text, word string) bool { return strings.Contains(strings.ToLower(text), word) }

func newName() string { return fmt.Sprintf("lab%08x", rand.Uint32()) }
func newMark() uint32 { return 1 + rand.Uint32N(1000) }
func exists(name string) bool {
	_, err := os.Stat("/sys/class/net/" + name)
	return err == nil
}

func checkMade(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	name, other := newName(), newName()
	r.add(t, name, newMark())
	if !exists(name) {
		t.Fatalf("the kernel confirms RTM_NEWLINK, but there is no link %s.\nWho tells the kernel of the device? See register_netdevice().", name)
	}
	r.add(t, other, newMark())
	r.remove(t, other)
	if exists(other) {
		t.Fatalf("the kernel confirms RTM_DELLINK, but the link %s is still there", other)
	}
	check.Rmmod(t, "lablink")
	if exists(name) {
		t.Fatalf("the module is gone, and its link %s is still there", name)
	}
}

func checkNoMark(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	a := r.do(t, r.newLink(newName()))
	if a.Errno != unix.EINVAL {
		t.Fatalf("RTM_NEWLINK without a mark: %v%s, want %v", a.Errno, quoted(a.Text), unix.EINVAL)
	}
	if !speaksOf(a.Text, "mark") {
		t.Fatalf("RTM_NEWLINK without a mark is refused, and the reason is %q; want a text that speaks of the mark.\n"+
			"Whoever asked sees \"Invalid argument\", and may guess which.", a.Text)
	}

	// The kind alone, as "ip link add type lab" sends it: there is no data at all.
	r.seq++
	a = r.do(t, check.Message{
		Type:  unix.RTM_NEWLINK,
		Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE | unix.NLM_F_EXCL,
		Seq:   r.seq,
		Body:  append(make([]byte, unix.SizeofIfInfomsg), nest(unix.IFLA_LINKINFO, str(infoKind, "lab")).Bytes()...),
	})
	if a.Errno != unix.EINVAL || !speaksOf(a.Text, "mark") {
		t.Fatalf("RTM_NEWLINK with nothing but the kind is refused with %v%s; want %v, and a text that speaks of the mark", a.Errno, quoted(a.Text), unix.EINVAL)
	}
}

func checkBadMark(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	for _, mark := range []uint32{0, 1001, 1001 + rand.Uint32N(1<<31)} {
		name := newName()
		m := r.newLink(name, u32(labMark, mark))
		a := r.do(t, m)
		if a.Errno == 0 {
			if a.Text != "" {
				t.Mistake("no-but-yes")
			}
			t.Fatalf("a link with the mark %d is made; want it refused with %v", mark, unix.EINVAL)
		}
		if a.Errno != unix.EINVAL || !speaksOf(a.Text, "mark") {
			t.Fatalf("a link with the mark %d is refused with %v%s; want %v, and a text that speaks of the mark", mark, a.Errno, quoted(a.Text), unix.EINVAL)
		}
		// The mark is the last attribute of the request.
		want := len(m.Bytes()) - len(u32(labMark, mark).Bytes())
		if a.Offset < 0 {
			t.Mistake("no-place")
		}
		if a.Offset != want {
			t.Fatalf("the answer points to byte %d of the request; the attribute LAB_A_MARK begins at byte %d", a.Offset, want)
		}
	}
	for _, mark := range []uint32{1, 1000} {
		m := r.newLink(newName(), u32(labMark, mark))
		if a := r.do(t, m); a.Errno == unix.EINVAL {
			t.Fatalf("a link with the mark %d is refused: %v%s", mark, a.Errno, quoted(a.Text))
		}
	}
}

func checkAnswered(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	for range 3 {
		name, mark := newName(), newMark()
		r.add(t, name, mark)
		r.get(t, name).wantMark(t, mark)
	}
}

func checkNotified(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	listener := open(t, unix.RTMGRP_LINK)
	name, mark := newName(), newMark()
	r.add(t, name, mark)
	m := check.Parse(t, "the notification", listener.Recv("a notification"))[0]
	l := parse(t, m)
	if m.Type != unix.RTM_NEWLINK || l.name != name {
		t.Fatalf("a listener to RTNLGRP_LINK hears message type %d about %q, want %d about %s", m.Type, l.name, unix.RTM_NEWLINK, name)
	}
	l.wantMark(t, mark)
}

func checkAdds(t *check.T) {
	check.Insmod(t, "lablink")
	name := newName()
	got := check.Run(t, "", "user/user", "add", name, fmt.Sprint(newMark()))
	out := got.Out + got.Err
	switch {
	case strings.Contains(out, unix.ENODEV.Error()):
		t.Mistake("no-create")
	case strings.Contains(out, unix.EOPNOTSUPP.Error()):
		t.Mistake("flat")
	case got.Status != 0:
		t.Fatalf("user/user add %s ends with status %d; it printed:\n\t%s", name, got.Status, out)
	case !exists(name):
		t.Fatalf("user/user add %s ends well, and there is no link of that name; it printed:\n\t%s", name, out)
	}
	again := check.Run(t, "", "user/user", "add", name, "7")
	if again.Status != 1 || !strings.Contains(again.Err, unix.EEXIST.Error()) {
		t.Fatalf("user/user add %s, a second time, ends with status %d, printing %q; want 1 and %q.\n"+
			"Which flag says that the link must be new?", name, again.Status, again.Out+again.Err, unix.EEXIST.Error())
	}
}

func checkRefused(t *check.T) {
	check.Insmod(t, "lablink")
	name, bad := newName(), 1001+rand.Uint32N(1000)
	r := open(t, 0)
	want := r.do(t, r.newLink(name, u32(labMark, bad)))
	got := check.Run(t, "", "user/user", "add", name, fmt.Sprint(bad))
	if got.Status != 1 || !strings.Contains(got.Err, want.Text) {
		t.Fatalf("user/user add %s %d ends with status %d, printing %q; want status 1 and the kernel's reason, %q",
			name, bad, got.Status, got.Out+got.Err, want.Text)
	}
	if exists(name) {
		t.Fatal("the link was made all the same")
	}
}

// describe is what the program prints of a link.
func (l link) describe(mark uint32) string {
	return fmt.Sprintf("%d: %s mtu %d mark %d", l.index, l.name, l.mtu, mark)
}

func checkLists(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	var want []string
	for range 60 {
		name, mark := newName(), newMark()
		r.add(t, name, mark)
		want = append(want, r.get(t, name).describe(mark))
	}
	got, ended := watch(t, nil, "list")
	var missing, here []string // of ours
	for _, line := range want {
		if slices.Contains(got, line) {
			here = append(here, line)
		} else {
			missing = append(missing, line)
		}
	}
	switch {
	case !ended && len(missing) == 0:
		t.Mistake("waits-on")
	case !ended:
		t.Fatalf("user/user list does not end; it printed %d lines, and %d links are missing", len(got), len(missing))
	case len(here) > 0 && slices.Equal(here, want[:len(here)]) && len(missing) > 0:
		t.Mistake("first-datagram", "%d of %d links are missing, the last ones.", len(missing), len(want))
	case len(missing) > 0:
		t.Fatalf("user/user list prints:\n%s\n%d links are missing, such as\n%s",
			indent(got[:min(len(got), 8)]), len(missing), indent(missing[:min(len(missing), 3)]))
	}
}

func checkWatches(t *check.T) {
	check.Insmod(t, "lablink")
	r := open(t, 0)
	witness := open(t, unix.RTMGRP_LINK)
	name, mark := newName(), newMark()
	other, otherMark := newName(), newMark()
	got, ended := watch(t, func() {
		r.add(t, name, mark)
		r.add(t, other, otherMark)
		r.remove(t, name)
	}, "monitor", "3")

	var want, careless []string
	for range 3 {
		m := check.Parse(t, "the notification", witness.Recv("a notification"))[0]
		l := parse(t, m)
		text := l.describe(map[string]uint32{name: mark, other: otherMark}[l.name])
		careless = append(careless, "new "+text)
		if m.Type == unix.RTM_DELLINK {
			text = "gone " + text
		} else {
			text = "new " + text
		}
		want = append(want, text)
	}
	switch {
	case slices.Equal(got, careless):
		t.Mistake("all-new")
	case !ended:
		t.Fatalf("user/user monitor 3 still waits after 3 notifications; it printed:\n%s\nwant:\n%s", indent(got), indent(want))
	case !slices.Equal(got, want):
		t.Fatalf("two links were made, and the first one deleted. user/user monitor 3 printed:\n%s\nwant:\n%s", indent(got), indent(want))
	}
}

// watch runs the student's program, and returns the lines that it prints, and
// whether it has ended. Meanwhile is called when its socket is in a group.
func watch(t *check.T, meanwhile func(), args ...string) (lines []string, ended bool) {
	t.Helper()
	cmd := exec.Command("user/user", args...)
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

	if meanwhile != nil {
		end := time.Now().Add(patience())
		for !member(t, uint32(cmd.Process.Pid)) {
			if time.Now().After(end) {
				t.Fatalf("user/user %s runs, and no socket of it has joined RTNLGRP_LINK", strings.Join(args, " "))
			}
			unix.Poll(nil, 5)
		}
		meanwhile()
	}

	read := make(chan string)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			read <- sc.Text()
		}
		close(read)
	}()
	quiet := time.NewTimer(patience())
	for {
		select {
		case line, ok := <-read:
			if !ok {
				return lines, true
			}
			lines = append(lines, line)
			quiet.Reset(patience())
		case <-quiet.C:
			return lines, false
		}
	}
}

// member says whether the socket that has the process ID for its port ID, as the
// first one of a process does, is in RTNLGRP_LINK.
func member(t *check.T, pid uint32) bool {
	t.Helper()
	return slices.ContainsFunc(vmtest.Sockets(t), func(s vmtest.NetlinkSocket) bool {
		return s.Protocol == unix.NETLINK_ROUTE && s.PortID == pid && s.Groups&unix.RTMGRP_LINK != 0
	})
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return "\t(nothing)"
	}
	return "\t" + strings.Join(lines, "\n\t")
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is a request that is refused, and the answer.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, "lablink")
	s := check.DialPort(t, unix.NETLINK_ROUTE, 4711, 0)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	r := &router{s, 1}
	m := r.newLink("lab0", u32(labMark, 1001))
	s.Send(m.Bytes())
	return []check.Datagram{
		{Title: "the request: port 4711 to the kernel (port 0)", Sent: true, Protocol: unix.NETLINK_ROUTE, Data: m.Bytes()},
		{Title: "the answer: the kernel (port 0) to port 4711", Protocol: unix.NETLINK_ROUTE, Data: s.Recv("the answer")},
	}
}
