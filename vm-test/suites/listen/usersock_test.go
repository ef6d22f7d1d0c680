// SPDX-License-Identifier: MIT

package listen_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// A process that replies is as good as the kernel: same type, number and bytes.
func TestUserReply(t *testing.T) {
	p := start(t, "nlsub", "--via", "usersock", "--pid", "4000", "--reply", "-o", "json")
	if hello := p.next(t); !hello.has(object{"type": "listening", "protocol": unix.NETLINK_USERSOCK, "port": 4000, "groups": []int{}}) {
		t.Errorf("%v", hello)
	}

	r := vmtest.Rand(t)
	m := newMate(t, unix.NETLINK_USERSOCK, 0, 0)
	for _, n := range []int{0, 1, 3, 100, 32768} {
		// Two requests, and between them what the kernel passes over as well.
		a := vmtest.Message{Type: 16 + uint16(r.Uint32N(1000)), Flags: unix.NLM_F_REQUEST, Seq: r.Uint32(), PortID: 77, Body: vmtest.Bytes(r, n)}
		event := vmtest.Message{Type: 17, Seq: r.Uint32(), Body: []byte("no request")}
		noop := vmtest.Message{Type: unix.NLMSG_NOOP, Flags: unix.NLM_F_REQUEST, Seq: r.Uint32()}
		b := vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST, Seq: a.Seq + 1, Body: vmtest.Bytes(r, 7)}
		if err := m.send(4000, vmtest.Join(a, event, noop, b)); err != nil {
			t.Fatal(err)
		}
		answer, from := m.receive()
		if from != 4000 {
			t.Errorf("answered by %d", from)
		}
		want := []vmtest.Message{a, b}
		for i := range want {
			want[i].Flags, want[i].PortID = 0, m.PortID
		}
		if diff := cmp.Diff(want, vmtest.Parse(t, answer)); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		for _, sent := range []struct {
			vmtest.Message
			answered bool
		}{{a, true}, {event, false}, {noop, false}, {b, true}} {
			if got := p.next(t); !got.has(object{
				"type": "message", "from": m.PortID, "group": 0, "pid": unix.Getpid(), "uid": 0, "gid": 0,
				"msg_type": sent.Type, "msg_flags": sent.Flags, "msg_port": sent.PortID, "answered": sent.answered,
				"bytes": len(sent.Body), "data": base64.StdEncoding.EncodeToString(sent.Body),
			}) || got.number(t, "seq") != int64(sent.Seq) {
				t.Errorf("got %v for %+v", got, sent)
			}
		}
	}
	_, summary, code := p.totals(t)
	if code != 0 || !summary.has(object{"received": 20, "overruns": 0}) || summary["lost"] != nil || !group(t, summary, 0).has(object{"received": 20}) {
		t.Errorf("status %d, %v", code, summary)
	}
}

// What is no message is an error in the stream, and what was before it counts.
func TestUserMalformed(t *testing.T) {
	p := start(t, "nlsub", "--via", "usersock", "--pid", "4000", "--reply", "-o", "json")
	p.next(t)
	m := newMate(t, unix.NETLINK_USERSOCK, 0, 0)
	good := vmtest.NewEcho(5, []byte("good"))
	long := good.Bytes()
	long[0] = 200
	short := good.Bytes()
	short[0] = 15
	for name, tt := range map[string]struct {
		bytes []byte
		error string
	}{
		"text":       {[]byte("hi"), "header is cut short"},
		"too long":   {long, "length does not fit"},
		"too short":  {short, "length does not fit"},
		"after good": {append(good.Bytes(), 1, 2, 3), "header is cut short"},
	} {
		if err := m.send(4000, tt.bytes); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "after") {
			if answer, _ := m.receive(); len(answer) != len(good.Bytes()) {
				t.Errorf("%s: answer % x", name, answer)
			}
			p.find(t, object{"type": "message", "answered": true})
		}
		// An error is shown once it is known not to be the last.
		if err := m.send(4000, good.Bytes()); err != nil {
			t.Fatal(err)
		}
		m.receive()
		if e := p.next(t); e["type"] != "error" || !strings.Contains(fmt.Sprint(e["error"]), tt.error) ||
			!strings.Contains(fmt.Sprint(e["error"]), fmt.Sprintf("from port ID %d", m.PortID)) {
			t.Errorf("%s: %v", name, e)
		}
		p.find(t, object{"type": "message", "answered": true})
	}
	if _, summary, code := p.totals(t); code != 0 || !summary.has(object{"received": 5}) {
		t.Errorf("status %d, %v", code, summary)
	}
}

func TestUserEcho(t *testing.T) {
	p := start(t, "nlsub", "--via", "usersock", "--pid", "4000", "--reply", "-o", "json")
	p.next(t)
	for _, size := range []string{"0", "1", "1000", "32768"} {
		if got := run(t, "nlecho", "--via", "usersock", "--to", "4000", "-q", "-f", "-c", "50", "-W", "20", "-s", size); got.code != 0 ||
			!strings.HasPrefix(got.stdout, "50 transmitted, 50 received, 0% loss") {
			t.Errorf("%s bytes: %+v", size, got)
		}
	}
	got := objects(t, run(t, "nlecho", "--via", "usersock", "--to", "4000", "--pid", "41", "-o", "json", "hello").stdout)
	if len(got) != 2 || !got[0].has(object{"type": "answer", "port": 41, "to": 4000, "text": "hello"}) {
		t.Errorf("%v", got)
	}
	p.find(t, object{"from": 41, "data": base64.StdEncoding.EncodeToString([]byte("hello"))})

	// Another user may ask, and is named.
	uid, gid := userID(t)
	if got := run(t, "su", "user", "-c", "nlecho --via usersock --to 4000 mine"); got.code != 0 ||
		!strings.HasPrefix(got.stdout, "4 bytes from port 4000: seq=1 ") {
		t.Errorf("%+v", got)
	}
	p.find(t, object{"uid": uid, "gid": gid, "data": base64.StdEncoding.EncodeToString([]byte("mine"))})
	p.stop(t)

	refused := run(t, "nlecho", "--via", "usersock", "--to", "4000", "hello")
	if refused.code != 1 || refused.stderr != "nlecho: seq=1: nobody receives at port ID 4000 on --via usersock; try: nlsub --via usersock --pid 4000 --reply\n" {
		t.Errorf("%+v", refused)
	}
}

// Only the peer that was asked is believed, whatever the others send.
func TestUserForeign(t *testing.T) {
	peer, other := newMate(t, unix.NETLINK_USERSOCK, 4100, 0), newMate(t, unix.NETLINK_USERSOCK, 0, 0)
	p := start(t, "nlecho", "--via", "usersock", "--to", "4100", "-o", "json", "-W", "20", "truth")
	b, from := peer.receive()
	req := vmtest.Parse(t, b)[0]
	lie := vmtest.Message{Type: req.Type, Seq: req.Seq, PortID: from, Body: []byte("lie!!")}
	if err := other.send(from, lie.Bytes()); err != unix.ECONNREFUSED {
		t.Errorf("another socket sends an answer: %v, want ECONNREFUSED", err)
	}
	// Of the peer's own, what answers something else is passed over.
	for _, wrong := range []vmtest.Message{
		{Type: req.Type, Seq: req.Seq - 1, PortID: from, Body: []byte("older")},
		{Type: req.Type, Seq: req.Seq, PortID: from + 1, Body: []byte("yours")},
	} {
		if err := peer.send(from, wrong.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := peer.send(from, vmtest.Message{Type: req.Type, Seq: req.Seq, PortID: from, Body: req.Body}.Bytes()); err != nil {
		t.Fatal(err)
	}
	if o := p.next(t); !o.has(object{"type": "answer", "text": "truth"}) {
		t.Errorf("%v", o)
	}
	if o := p.next(t); !o.has(object{"type": "summary", "received": 1, "stale": 1}) {
		t.Errorf("%v", o)
	}
}

func TestUserGroups(t *testing.T) {
	p := start(t, "nlsub", "--via", "usersock", "-g", "1,3", "--reply", "-o", "json")
	hello := p.next(t)
	if !hello.has(object{"port": p.pid(), "groups": []int{1, 3}}) {
		t.Errorf("%v", hello)
	}
	text := base64.StdEncoding.EncodeToString(vmtest.Random(t, 9))
	got := run(t, "su", "user", "-c", "nlecho --via usersock -g 1-3 -o json "+text)
	sent := objects(t, got.stdout)
	if got.code != 0 || len(sent) != 4 || !sent[0].has(object{"type": "sent", "group": 1, "listeners": 1}) ||
		!sent[1].has(object{"group": 2, "listeners": 0}) || !sent[2].has(object{"group": 3, "listeners": 1}) ||
		!sent[3].has(object{"type": "summary", "transmitted": 1, "heard": 1}) {
		t.Errorf("%+v", got)
	}
	uid, gid := userID(t)
	for _, group := range []int{1, 3} {
		if o := p.next(t); !o.has(object{"group": group, "uid": uid, "gid": gid, "answered": false,
			"data": base64.StdEncoding.EncodeToString([]byte(text))}) {
			t.Errorf("group %d: %v", group, o)
		}
	}
	_, summary, _ := p.totals(t)
	if !group(t, summary, 1).has(object{"received": 1}) || !group(t, summary, 3).has(object{"received": 1}) || !group(t, summary, 0).has(object{"received": 0}) {
		t.Errorf("%v", summary)
	}

	if got := run(t, "nlecho", "--via", "usersock", "-g", "2", "x"); got.code != 1 || !strings.Contains(got.stdout, " listeners=0\n1 transmitted, 0 heard\n") {
		t.Errorf("nobody listens: %+v", got)
	}
	refused(t, "nlsub: joining groups with --via usersock needs CAP_NET_ADMIN in this network namespace; try with sudo",
		"su", "user", "-c", "nlsub --via usersock -g 1")
}

// A listener that does not read loses messages, is told so once, and goes on.
func TestUserOverrun(t *testing.T) {
	p := start(t, "nlsub", "--via", "usersock", "-g", "5", "--rcvbuf", "4K", "--fail-on-gap", "-o", "json")
	p.next(t)
	m := newMate(t, unix.NETLINK_USERSOCK, 0, 0)
	send := func(seq uint32) {
		if err := m.multicast(5, vmtest.NewEcho(seq, make([]byte, 500)).Bytes()); err != nil && err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
	}
	p.signal(t, unix.SIGSTOP)
	seq := uint32(0)
	for p.drops(t, unix.NETLINK_USERSOCK) == 0 {
		seq++
		send(seq)
	}
	p.signal(t, unix.SIGCONT)
	p.find(t, object{"type": "overrun", "count": 1})
	for last := int64(0); last < int64(seq)-1; { // until all that was kept is read
		if last = p.next(t).number(t, "seq"); last == int64(seq)-1 {
			break
		}
	}
	send(1000000)
	p.find(t, object{"type": "message", "seq": 1000000})
	if _, summary, code := p.totals(t); code != 1 || !summary.has(object{"overruns": 1}) {
		t.Errorf("status %d, %v", code, summary)
	}
}

// On the module's protocol processes talk to each other too, if they may.
func TestRawReply(t *testing.T) {
	const needs = "needs CAP_NET_ADMIN in this network namespace, or the module loaded with user_send=1; try with sudo"
	for _, tt := range []struct {
		param string
		user  bool // may send
	}{{"user_send=0", false}, {"user_send=1", true}} {
		t.Run(tt.param, func(t *testing.T) {
			vmtest.Module(t, tt.param, "interval_ms=0")
			p := start(t, "nlsub", "--via", "raw", "--pid", "4200", "--reply", "-o", "json")
			if o := p.next(t); !o.has(object{"type": "listening", "protocol": 31, "port": 4200}) {
				t.Errorf("%v", o)
			}
			if got := run(t, "nlecho", "--to", "4200", "-c", "3", "-i", "0.01", "hello"); got.code != 0 ||
				!strings.HasPrefix(got.stdout, "5 bytes from port 4200: seq=1 ") {
				t.Errorf("root: %+v", got)
			}
			for range 3 {
				p.find(t, object{"answered": true, "uid": 0})
			}
			if tt.user {
				if got := run(t, "su", "user", "-c", "nlecho --to 4200 hello"); got.code != 0 {
					t.Errorf("user: %+v", got)
				}
				uid, _ := userID(t)
				p.find(t, object{"answered": true, "uid": uid})
			} else {
				refused(t, "nlecho: sending to port ID 4200 on --via raw "+needs, "su", "user", "-c", "nlecho --to 4200 hello")
			}
			// The kernel answers all the same, and alone: a process that has
			// only replies to send needs the right to.
			if got := run(t, "su", "user", "-c", "nlecho hello"); got.code != 0 || !strings.HasPrefix(got.stdout, "5 bytes from kernel: ") {
				t.Errorf("kernel: %+v", got)
			}
			p.stop(t)
			if got := run(t, "sh", "-c", "cat /sys/module/nlpeer/parameters/user_send"); got.stdout != map[bool]string{false: "N\n", true: "Y\n"}[tt.user] {
				t.Errorf("parameter: %+v", got)
			}

			// An unprivileged replier cannot reply, and says so.
			if !tt.user {
				p := start(t, "su", "user", "-c", "nlsub --via raw --pid 4300 --reply -o json")
				p.next(t)
				got := run(t, "nlecho", "--to", "4300", "-W", "0.2", "-c", "2", "-i", "0", "hello")
				if got.code != 1 || !strings.Contains(got.stderr, "no answer within 200ms") {
					t.Errorf("%+v", got)
				}
				p.find(t, object{"answered": false})
				if o := p.next(t); o["type"] != "error" || !strings.Contains(fmt.Sprint(o["error"]), "sending to processes needs CAP_NET_ADMIN, or the module loaded with user_send=1") {
					t.Errorf("%v", o)
				}
			}
		})
	}
}

// Every namespace has the flag of the first.
func TestUserSendInNamespaces(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		vmtest.Module(t, fmt.Sprintf("user_send=%d", map[bool]int{true: 1}[allowed]), "interval_ms=0")
		got := run(t, "unshare", "-n", "su", "user", "-c", "nlecho --to 77 hello")
		if denied := strings.Contains(got.stderr, "user_send=1"); denied == allowed || !allowed && got.code != 2 || allowed && got.code != 1 {
			t.Errorf("allowed %v: %+v", allowed, got)
		}
	}
}

// The port ID rules, as --pid has them.
func TestPortIDs(t *testing.T) {
	t.Run("auto", func(t *testing.T) {
		p := start(t, "nlsub", "--via", "usersock", "-o", "json")
		if o := p.next(t); o.number(t, "port") != int64(p.pid()) {
			t.Errorf("%v, want %d", o, p.pid())
		}
	})
	t.Run("getpid", func(t *testing.T) {
		p := start(t, "nlsub", "--via", "usersock", "--pid", "getpid", "-o", "json")
		if o := p.next(t); o.number(t, "port") != int64(p.pid()) {
			t.Errorf("%v, want %d", o, p.pid())
		}
	})
	t.Run("thread", func(t *testing.T) {
		p := start(t, "nlsub", "--via", "usersock", "--pid", "thread", "-o", "json")
		port := p.next(t).number(t, "port")
		if tasks := run(t, "ls", fmt.Sprintf("/proc/%d/task", p.pid())).stdout; uint32(port)&0xffff != p.pid() ||
			!strings.Contains("\n"+tasks, fmt.Sprintf("\n%d\n", uint32(port)>>16)) {
			t.Errorf("port ID %#x of process %d with threads %q", port, p.pid(), tasks)
		}
	})
	t.Run("number", func(t *testing.T) {
		p := start(t, "nlsub", "--via", "usersock", "--pid", "4294967295", "-o", "json")
		if o := p.next(t); o.number(t, "port") != 4294967295 {
			t.Errorf("%v", o)
		}
		refused(t, "nlsub: port ID 4294967295 (--pid 4294967295) is in use by another socket; try: --pid auto",
			"nlsub", "--via", "usersock", "--pid", "4294967295")
	})
	// The process ID is taken: auto goes on with a negative number, getpid
	// fails.
	for pid, negative := range map[string]bool{"auto": true, "getpid": false} {
		t.Run(pid+" taken", func(t *testing.T) {
			p := start(t, "sh", "-c", "read x; exec nlsub --via usersock --pid "+pid)
			vmtest.Open(t, unix.NETLINK_USERSOCK, p.pid(), 0)
			if _, err := p.in.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			if !negative {
				for range p.lines {
				}
				_ = p.cmd.Wait()
				want := fmt.Sprintf("nlsub: port ID %d (--pid getpid) is in use by another socket; try: --pid auto\n", p.pid())
				if got := p.stderr.String(); got != want || p.cmd.ProcessState.ExitCode() != 2 {
					t.Errorf("status %d, %q, want %q", p.cmd.ProcessState.ExitCode(), got, want)
				}
				return
			}
			line := p.line(t)
			var port uint32
			var signed int32
			if n, err := fmt.Sscanf(line, "listening on port ID %d (%d), groups: none", &port, &signed); n != 2 || int32(port) != signed || signed > -4097 {
				t.Errorf("%q: %v", line, err)
			}
			if got := run(t, "nlecho", "--via", "usersock", "--to", fmt.Sprint(signed), "-W", "0.1", "hi"); !bytes.Contains([]byte(got.stderr), []byte("no answer within")) {
				t.Errorf("%+v", got)
			}
			if got := p.line(t); !strings.HasSuffix(got, `bytes=2 "hi"`) {
				t.Errorf("%q", got)
			}
		})
	}
}
