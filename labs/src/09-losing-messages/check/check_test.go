// SPDX-License-Identifier: MIT

package check_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
	"nlpeer/vm-test/suites/vmtest"
)

const (
	group = 1
	slots = 64

	boardSet    = 0x10
	boardChange = 0x12
)

func TestMain(m *testing.M) { check.Main(m) }

const (
	numbered = "changes are numbered"
	told     = "who misses a change for lack of memory is told"
	executed = "the program hears who is started"
	survives = "an overrun is not the end"
	resyncs  = "after an overrun, the copy is right again"
	drained  = "no change is lost while the list is made"
	oldNews  = "old news does not spoil the copy"
)

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: numbered, Do: checkNumbered},
		check.Step{TODO: 2, Points: 2, Name: told, Needs: []string{numbered}, Do: checkTold},
		check.Step{TODO: 3, Points: 2, Name: executed, Do: checkExecuted},
		check.Step{TODO: 4, Points: 1, Name: survives, Needs: []string{numbered}, Do: checkSurvives},
		check.Step{TODO: 5, Points: 1, Name: resyncs, Needs: []string{survives}, Do: checkResyncs},
		check.Step{TODO: 6, Points: 2, Name: drained, Needs: []string{resyncs}, Do: checkDrained},
		check.Step{TODO: 7, Points: 1, Name: oldNews, Needs: []string{drained}, Do: checkOldNews},
	)
}

// patience is how long to wait for what ought to happen in the blink of an eye.
func patience() time.Duration { return check.Deadline() / 3 }

// A setter sets slots of the board, and knows what ought to be in it.
type setter struct {
	t      *check.T
	s      *check.Socket
	board  [slots]uint32
	number uint32
}

func load(t *check.T) *setter {
	t.Helper()
	check.Insmod(t, "board")
	return &setter{t: t, s: check.Dial(t, check.LabProtocol)}
}

// set sets a slot to a random value that is not 0, and others after it, all in
// one call: nobody gets to read in between.
func (w *setter) set(list ...uint32) []check.Message {
	w.t.Helper()
	var all, changes []check.Message
	for _, slot := range list {
		w.number++
		w.board[slot] = 1 + rand.Uint32N(1<<30)
		all = append(all, check.Message{Type: boardSet, Flags: unix.NLM_F_REQUEST, Body: numbers(slot, w.board[slot])})
		changes = append(changes, check.Message{Type: boardChange, Body: numbers(w.number, slot, w.board[slot])})
	}
	w.s.Send(check.Join(all...))
	return changes
}

// nudge is one more change, of slot 0, which always gets the same value.
func (w *setter) nudge() {
	w.t.Helper()
	w.number++
	w.board[0] = 1
	w.s.Send(check.Message{Type: boardSet, Flags: unix.NLM_F_REQUEST, Body: numbers(0, 1)}.Bytes())
}

func numbers(all ...uint32) []byte {
	var b []byte
	for _, n := range all {
		b = append(b, check.U32(n)...)
	}
	return b
}

// text is the board as the program prints it.
func (w *setter) text() []string {
	var lines []string
	for slot, value := range w.board {
		if value != 0 {
			lines = append(lines, fmt.Sprintf("%d: %d", slot, value))
		}
	}
	return lines
}

func checkNumbered(t *check.T) {
	w := load(t)
	listener := check.DialPort(t, check.LabProtocol, 0, 1<<(group-1))
	changes := w.set(rand.Uint32N(slots), rand.Uint32N(slots), rand.Uint32N(slots))
	var got [][]byte
	for i := range changes {
		got = append(got, listener.Recv(fmt.Sprintf("the announcement of change %d", i+1)))
	}
	if len(got[0]) == 28 && binary.NativeEndian.Uint32(got[0][16:]) == 0 && binary.NativeEndian.Uint32(got[1][16:]) == 1 {
		t.Mistake("number-after")
	}
	for i, m := range changes {
		t.Compare(fmt.Sprintf("the announcement of change %d", i+1), m.Bytes(), got[i])
	}
}

func checkTold(t *check.T) {
	w := load(t)
	listener := check.DialPort(t, check.LabProtocol, 0, 1<<(group-1))
	w.set(1)
	listener.Recv("the announcement of change 1")
	if err := os.WriteFile("/sys/module/board/parameters/fail", []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.set(2)
	b, from, err := listener.RecvFrom(patience())
	switch {
	case err == nil && from == nil && len(b) == int(unix.ENOBUFS):
		t.Mistake("positive-errno", "recvfrom() said that it had received %d bytes, and gave none.", len(b))
	case errors.Is(err, check.ErrNothing):
		t.Fatal("There was no memory for the announcement of change 2, and a listener learns nothing of it.\n" +
			"netlink_set_err() lets the next recvfrom() of all members of a group fail.")
	case err != unix.ENOBUFS:
		t.Fatalf("there was no memory for the announcement of change 2; recvfrom() of a listener says %v, want %v", err, unix.ENOBUFS)
	}
	changes := w.set(3)
	t.Compare("the announcement of change 3, after the lost one", changes[0].Bytes(), listener.Recv("the announcement of change 3"))
}

const meanwhileFile = "/sys/module/board/parameters/meanwhile"

// meanwhile has the board change slot 1 just before it writes the next list, and
// again just after. The second change is in no list.
func (w *setter) meanwhile() {
	w.t.Helper()
	value := 1 + rand.Uint32N(1<<30)
	if err := os.WriteFile(meanwhileFile, fmt.Append(nil, value), 0o644); err != nil {
		w.t.Fatalf("%v. Is kernel/board.c that of this lab?", err)
	}
	w.number += 2
	w.board[1] = value + 1
}

// socketOf is the line of /proc/net/netlink about the socket of a program that
// is in a group. The first socket of a process has its process ID for port ID.
func socketOf(t *check.T, protocol, pid int) (vmtest.NetlinkSocket, bool) {
	t.Helper()
	all := vmtest.Sockets(t)
	i := slices.IndexFunc(all, func(s vmtest.NetlinkSocket) bool {
		return s.Protocol == protocol && s.PortID == uint32(pid) && s.Groups&(1<<(group-1)) != 0
	})
	if i < 0 {
		return vmtest.NetlinkSocket{}, false
	}
	return all[i], true
}

func checkExecuted(t *check.T) {
	trace := check.TraceKernel(t, nil, []string{"cn_proc_mcast_ctl"})
	n := 2 + rand.IntN(3)
	p := check.Start(t, "", "user/user", "exec", fmt.Sprint(n))
	check.Until(t, "the program has joined the group of process events", func() bool {
		_, ok := socketOf(t, unix.NETLINK_CONNECTOR, p.PID())
		return ok
	})
	// What is started until it has asked for events, it does not hear.
	var started []string
	limit := time.Now().Add(patience())
	for {
		if over(p) {
			out := p.Wait()
			got := strings.Split(strings.TrimSpace(out.Out), "\n")
			from := slices.Index(started, got[0])
			if out.Status != 0 || from < 0 || from+n > len(started) || !slices.Equal(got, started[from:from+n]) {
				t.Fatalf("user/user exec %d ended with status %d, printing:\n%s%s\nstarted were, in this order:\n%s",
					n, out.Status, indent(got), out.Err, indent(started))
			}
			return
		}
		if time.Now().After(limit) {
			if len(trace.Events()) > 0 {
				t.Mistake("no-length")
			}
			t.Mistake("not-asked")
		}
		cmd := exec.Command("true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		started = append(started, fmt.Sprintf("exec %d", cmd.Process.Pid))
	}
}

// A mirror is the student's program, which keeps a copy of the board.
type mirror struct {
	t     *check.T
	w     *setter
	p     *check.Process
	trace check.KernelTrace
	asked bool // for the list, when it began
}

// begin starts the program, and waits until it listens. That takes a change.
func begin(t *check.T, w *setter, until int) *mirror {
	t.Helper()
	trace := check.TraceKernel(t, nil, []string{"board_dump"})
	m := &mirror{t: t, w: w, trace: trace, p: check.Start(t, "", "user/user", "mirror", fmt.Sprint(until))}
	check.Until(t, "the program has joined group 1", func() bool {
		_, ok := socketOf(t, check.LabProtocol, m.p.PID())
		return ok
	})
	w.set(1)
	check.Until(t, "the program has read what was announced", func() bool {
		s, ok := socketOf(t, check.LabProtocol, m.p.PID())
		return !ok || s.Rmem == 0
	})
	m.asked = len(trace.Events()) > 0
	trace.Clear()
	return m
}

// overrun announces more than the program has room for, while it does nothing.
func (m *mirror) overrun(list ...uint32) {
	m.t.Helper()
	m.stuff(list...)
	m.p.Signal(syscall.SIGCONT)
}

// stuff is the part of overrun after which the program still does nothing.
func (m *mirror) stuff(list ...uint32) {
	m.t.Helper()
	m.p.Signal(syscall.SIGSTOP)
	check.Until(m.t, "the program has stopped", func() bool {
		if over(m.p) {
			out := m.p.Wait()
			m.t.Fatalf("user/user mirror ended before the last change, with status %d, printing:\n%s", out.Status, indent(strings.Split(strings.TrimSpace(out.Out+out.Err), "\n")))
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.p.PID()))
		return strings.Contains(string(b), ") T ")
	})
	m.w.set(list...)
	s, ok := socketOf(m.t, check.LabProtocol, m.p.PID())
	if !ok || s.Drops == 0 {
		m.t.Fatalf("%d changes were announced to a program that does not read, and nothing was lost (%+v). Does it have another buffer?", len(list), s)
	}
}

// end waits for the program's end, for a while with nothing happening, then with
// one more change each time. It returns what was printed, and whether more
// changes were needed.
func (m *mirror) end() (out check.Output, late bool) {
	m.t.Helper()
	quiet := time.Now().Add(patience())
	end := quiet.Add(patience())
	for !over(m.p) && time.Now().Before(end) {
		time.Sleep(5 * time.Millisecond)
		if time.Now().After(quiet) {
			late = true
			m.w.nudge()
		}
	}
	return m.p.Wait(), late
}

// last is end for a program that needs one more change than was announced: it comes
// when the program has read all that there was, and waits.
func (m *mirror) last() check.Output {
	m.t.Helper()
	check.Until(m.t, "the program has read what was announced, and waits for more", func() bool {
		s, ok := socketOf(m.t, check.LabProtocol, m.p.PID())
		return !ok || s.Rmem == 0 && waits(m.p)
	})
	m.w.nudge()
	out, _ := m.end()
	return out
}

// waits says whether all threads of a program sleep.
func waits(p *check.Process) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
	return !slices.ContainsFunc(stats, func(name string) bool {
		b, _ := os.ReadFile(name)
		return !strings.Contains(string(b), ") S ")
	})
}

// over says whether a program has ended.
func over(p *check.Process) bool { return syscall.Kill(p.PID(), 0) == syscall.ESRCH }

// compare ends the step unless the program's copy is the board.
func (m *mirror) compare(out check.Output, mistake string) {
	m.t.Helper()
	out.Succeeded(m.t, "user/user mirror")
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.Out), "\n") {
		if strings.Contains(line, ": ") {
			got = append(got, line)
		}
	}
	want := m.w.text()
	if slices.Equal(got, want) {
		return
	}
	if mistake != "" {
		m.t.Mistake(mistake)
	}
	m.t.Fatalf("the copy that user/user mirror prints is not the board:\n%s", differences(want, got))
}

// differences shows the lines that are not in both.
func differences(want, got []string) string {
	var lines []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			lines = append(lines, "  missing: "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			lines = append(lines, "  wrong:   "+line)
		}
	}
	if len(lines) > 12 {
		lines = append(lines[:12], fmt.Sprintf("  and %d more", len(lines)-12))
	}
	return strings.Join(lines, "\n")
}

// once is slots from 2 on, in random order, each one once.
func once(n int) []uint32 {
	var list []uint32
	for _, slot := range rand.Perm(slots - 2)[:n] {
		list = append(list, uint32(slot+2))
	}
	return list
}

func checkSurvives(t *check.T) {
	w := load(t)
	list := once(30 + rand.IntN(30))
	m := begin(t, w, 1+len(list)+1)
	m.overrun(list...)
	out := m.last()
	out.Succeeded(t, "user/user mirror, which was overrun,")
	if !strings.Contains(out.Out, "overrun") {
		t.Fatalf("the buffer of user/user mirror was full, and the kernel said ENOBUFS. The program did not say \"overrun\"; it printed:\n%s", out.Out)
	}
}

func checkResyncs(t *check.T) {
	w := load(t)
	list := once(30 + rand.IntN(30))
	m := begin(t, w, 1+len(list))
	m.overrun(list...)
	out, late := m.end()
	after := len(m.trace.Events()) > 0
	switch {
	case m.asked && !after:
		m.compare(out, "goes-on")
	case !m.asked:
		t.Fatal("the program never asked for the list of all slots. What does resync() do?")
	}
	m.compare(out, "")
	if late {
		t.Mistake("no-number")
	}

	if err := os.WriteFile("/sys/module/board/parameters/torn", []byte("1"), 0o644); err != nil {
		t.Fatalf("%v. Is kernel/board.c that of this lab?", err)
	}
	if out := check.Run(t, "", "user/user", "mirror", "1"); out.Status == 0 {
		t.Mistake("half-a-list", "After half of the slots a list ended with NLMSG_DONE and %v, and user/user mirror with status 0.", unix.EIO)
	}
}

// overtaken is a program after an overrun, and two changes while it gets its list:
// the first is in the list, the second is not. It waits for the second.
func overtaken(t *check.T) (m *mirror, out check.Output, late bool) {
	t.Helper()
	w := load(t)
	// The changes that still fit come first, and are old when the list is read.
	first := once(10)
	list := slices.Concat(first, once(20), first)
	m = begin(t, w, 1+len(list)+2)
	m.stuff(list...)
	w.meanwhile()
	m.p.Signal(syscall.SIGCONT)
	out, late = m.end()
	if b, err := os.ReadFile(meanwhileFile); err != nil || strings.TrimSpace(string(b)) != "0" {
		t.Fatalf("after the overrun, the program did not ask for the list (%s: %q, %v)", meanwhileFile, b, err)
	}
	return m, out, late
}

func checkDrained(t *check.T) {
	m, out, late := overtaken(t)
	if late {
		t.Mistake("list-first", "A change was announced while the program got its list. The program never heard of it.")
	}
	m.compare(out, "")
}

func checkOldNews(t *check.T) {
	m, out, _ := overtaken(t)
	m.compare(out, "")
	// The last but one is in the list.
	_, after, _ := strings.Cut(out.Out, "overrun\n")
	lines := strings.Split(after, "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "change ") })
	old := fmt.Sprintf("change %d", m.w.number-1)
	if slices.Contains(lines, old) {
		t.Fatalf("The list after the overrun had the number %d, so change %d was in it. It was announced, too,\n"+
			"and the program took it over once more:\n%s", m.w.number-1, m.w.number-1, indent(lines))
	}
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return "\t(nothing)"
	}
	return "\t" + strings.Join(lines, "\n\t")
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is how process events are asked for, and the answer; and one event.
func exchange(t *check.T) []check.Datagram {
	s := check.DialPort(t, unix.NETLINK_CONNECTOR, 4711, 1)
	request := check.Message{Type: unix.NLMSG_DONE, Body: numbers(1, 1, 0, 0, 4, 1)}
	s.Send(request.Bytes())
	answer := s.Recv("the answer")
	// The processor and the time are not the same each time.
	clear(answer[16+20+4 : 16+20+16])
	return []check.Datagram{
		{Title: "the request: port 4711 to the kernel (port 0)", Sent: true, Protocol: unix.NETLINK_CONNECTOR, Data: request.Bytes()},
		{Title: "the answer: the kernel (port 0) to group 1 (time and processor left out)", Protocol: unix.NETLINK_CONNECTOR, Data: answer},
	}
}
