// SPDX-License-Identifier: MIT

package check_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
	"nlpeer/vm-test/suites/vmtest"
)

const (
	protocol = 31
	group    = 3
	tick     = 0x10
)

func TestMain(m *testing.M) { check.Main(m) }

const (
	sockets    = "a socket for protocol 31, which anybody may listen to"
	worlds     = "a socket for each network namespace"
	rings      = "the timer rings again and again, until the module goes"
	stops      = "the timer is stopped before anything else goes"
	sends      = "each tick is a message to group 3"
	atomic     = "in the timer, nothing may sleep"
	ownClock   = "each namespace hears its own clock"
	nobody     = "no message is made that nobody hears, and the clock goes on"
	subscriber = "the program hears the ticks"
	gaps       = "the program names what it missed"
)

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: sockets, Do: checkSocket},
		check.Step{TODO: 1, Points: 1, Name: worlds, Needs: []string{sockets}, Do: checkWorlds},
		check.Step{TODO: 2, Points: 1, Name: stops, Needs: []string{sockets}, Do: checkStops},
		check.Step{TODO: 2, Points: 1, Name: rings, Needs: []string{stops}, Do: checkRings},
		check.Step{TODO: 3, Points: 1, Name: sends, Needs: []string{rings}, Do: checkSends},
		check.Step{TODO: 3, Points: 1, Name: atomic, Needs: []string{sends}, Do: checkAtomic},
		check.Step{TODO: 3, Points: 1, Name: ownClock, Needs: []string{worlds, sends}, Do: checkOwnClock},
		check.Step{TODO: 4, Points: 1, Name: nobody, Needs: []string{atomic}, Do: checkNobody},
		check.Step{TODO: 5, Points: 1, Name: subscriber, Needs: []string{sends}, Do: checkSubscriber},
		check.Step{TODO: 6, Points: 1, Name: gaps, Needs: []string{subscriber}, Do: checkGaps},
	)
}

// patience is how long to wait for what ought to happen in the blink of an eye.
func patience() time.Duration { return check.Deadline() / 2 }

// kernelSocket says whether this namespace has the kernel's socket.
func kernelSocket(t *check.T) bool {
	return slices.ContainsFunc(vmtest.Sockets(t), func(s vmtest.NetlinkSocket) bool {
		return s.Protocol == protocol && s.PortID == 0
	})
}

// The first steps let no timer ring: one that is left behind crashes the kernel
// when it does, or when another one is set that has its place beside it.
func checkSocket(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=3600000")
	if !kernelSocket(t) {
		t.Fatal("/proc/net/netlink lists no socket of protocol 31 with port ID 0, which the kernel's sockets have.\n" +
			"Does ticker_net_init() make one?")
	}
	asNobody(t, func() {
		if s, err := check.TryDial(t, protocol, 0, 1<<(group-1)); err == unix.EPERM {
			t.Mistake("root-only")
		} else if err != nil {
			t.Fatalf("user 65534 joins group %d of protocol %d: %v", group, protocol, err)
		} else {
			s.Close()
		}
	})
}

// asNobody runs f on a thread without any right.
func asNobody(t *check.T, f func()) {
	t.Helper()
	// The call for a thread alone: the library's one is for all of them.
	set := func(uid int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Fatal("setresuid: ", errno)
		}
	}
	set(65534)
	defer set(0)
	f()
}

func checkWorlds(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=3600000")
	there := false
	err := inNewNet(func() { there = kernelSocket(t) })
	if err == unix.ENOMEM {
		// The initializer failed: the number is taken in the namespace that it
		// asked for.
		t.Mistake("first-namespace-only")
	}
	if err != nil {
		t.Fatalf("making a network namespace: %v", err)
	}
	if !there {
		t.Fatal("in a new network namespace, /proc/net/netlink lists no socket of the kernel for protocol 31")
	}
}

// inNewNet runs f on a thread in a network namespace that is made for it, and
// waits until the namespace has begun to die.
func inNewNet(f func()) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // it dies with this function, and the namespace with it
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	return <-done
}

func checkStops(t *check.T) {
	r := check.TraceKernel(t, []string{"timer/timer_start", "timer/timer_cancel"}, append([]string{"netlink_kernel_release"}, stoppers...))
	check.Insmod(t, "ticker", "interval_ms=3600000")

	timer := ""
	for _, e := range r.Events() {
		if e.Name == "timer_start" && strings.Contains(e.Text, "[ticker]") {
			timer = e.Field("timer")
		}
	}
	if timer == "" {
		t.Fatal("the kernel's trace shows that no timer with a function of ticker was set when the module was loaded.\n" +
			"Does ticker_net_init() call mod_timer()?")
	}

	check.Rmmod(t, "ticker")
	cancelled, released := -1, -1
	called, by := "", "" // the function of the kernel that was called last, and by which the timer was stopped
	for i, e := range r.Events() {
		switch {
		case e.Name == "timer_start":
		case e.Name == "timer_cancel":
			if e.Field("timer") == timer {
				cancelled, by = i, called
			}
		case strings.HasPrefix(e.Name, "netlink_kernel_release"):
			released = i
		case !e.Softirq: // what interrupts rmmod has nothing to do with it
			called = e.Name
			// The function that waits calls one that tries, until it has.
			if caller := strings.TrimPrefix(e.Text, "<-"); strings.Contains(called, "try") && strings.Contains(caller, "_sync") {
				called = caller
			}
		}
	}
	switch {
	case cancelled < 0:
		t.Mistake("not-stopped")
	case released >= 0 && released < cancelled:
		t.Mistake("socket-first")
	case !strings.Contains(by, "_sync"):
		t.Mistake("not-waited")
	case strings.Contains(by, "try"):
		t.Mistake("only-tries")
	}
}

// stoppers match the functions that stop a timer. Each pattern has to match
// something: without _sync, it is del_timer() in 5.10, and timer_delete() or
// timer_shutdown() since; with it, timer_delete_sync() in all, and
// timer_shutdown_sync() in most. The one that only tries is
// try_to_del_timer_sync(), and timer_delete_sync_try() since 6.16.
var stoppers = []string{"timer_[ds]*", "*del_timer*"}

func checkRings(t *check.T) {
	r := check.TraceKernel(t, []string{"timer/timer_expire_entry"}, nil)
	check.Insmod(t, "ticker", "interval_ms=10")
	end := time.Now().Add(patience())
	for rung(r) < 3 && time.Now().Before(end) {
		unix.Poll(nil, 20)
	}
	switch n := rung(r); n {
	case 0:
		t.Fatal("with interval_ms=10, the timer has not rung once.\nIs it set to jiffies + msecs_to_jiffies(interval_ms)?")
	case 1, 2:
		t.Fatalf("the timer has rung %d time(s), and then no more: a timer rings once for each mod_timer().\n"+
			"Where does ticker_tick() set it again?", n)
	}

	for range 5 {
		check.Rmmod(t, "ticker")
		check.Insmod(t, "ticker", "interval_ms=1")
		unix.Poll(nil, rand.IntN(10)) // let it be anywhere between two ticks
	}
}

// hear receives a tick, and takes the number out of it.
func hear(t *check.T, s *check.Socket) uint32 {
	t.Helper()
	got, _, err := s.RecvFrom(patience())
	if err == check.ErrNothing {
		t.Fatalf("a socket in group %d hears nothing, though the timer rings every 10 ms", group)
	}
	if err != nil {
		t.Fatal("receiving: ", err)
	}
	number := uint32(0)
	if len(got) >= 20 {
		number = binary.NativeEndian.Uint32(got[16:])
	}
	t.Compare("the tick", message(number), got)
	return number
}

// message is a tick as it ought to be.
func message(number uint32) []byte {
	return check.Message{Type: tick, Body: check.U32(number)}.Bytes()
}

func checkSends(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=10")
	s := check.DialPort(t, protocol, 0, 1<<(group-1))
	other := check.DialPort(t, protocol, 0, 1<<((1<<(group-1))-1)) // who takes the number for a mask
	unix.Poll([]unix.PollFd{{Fd: int32(s.FD), Events: unix.POLLIN}, {Fd: int32(other.FD), Events: unix.POLLIN}}, int(patience().Milliseconds()))
	if _, _, err := other.RecvFrom(0); err == nil {
		t.Mistake("number-as-mask")
	}
	before := hear(t, s)
	for range 4 {
		number := hear(t, s)
		if number != before+1 {
			t.Fatalf("after tick %d comes tick %d; nothing was lost, so the next number is %d", before, number, before+1)
		}
		before = number
	}
}

func checkAtomic(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=10")
	// One of them gets the message itself, the other one a clone, for which
	// nlmsg_multicast() was told the flags.
	listeners := []*check.Socket{
		check.DialPort(t, protocol, 0, 1<<(group-1)),
		check.DialPort(t, protocol, 0, 1<<(group-1)),
	}
	r := check.TraceKernel(t, allocations, nil)
	for _, s := range listeners {
		for err := error(nil); err == nil; { // what was sent before anybody looked
			_, _, err = s.RecvFrom(0)
		}
	}
	for n := 0; !slices.ContainsFunc(r.Events(), isClone); n++ {
		if n == 10 {
			t.Fatalf("two listeners have heard %d ticks each, and the kernel's trace shows no clone of a socket buffer", n)
		}
		for _, s := range listeners {
			hear(t, s)
		}
	}
	clone := false
	for _, e := range socketBuffers(r) {
		switch {
		case !strings.Contains(e.Field("gfp_flags"), "GFP_KERNEL"):
		case isClone(e):
			clone = true
		default:
			t.Mistake("may-sleep")
		}
	}
	if clone {
		t.Mistake("clone-may-sleep")
	}
}

var allocations = []string{"kmem/kmem_cache_alloc", "kmem/kmem_cache_alloc_node", "kmem/kmalloc", "kmem/kmalloc_node"}

// isClone says whether an allocation is that of a second head for the data of a
// socket buffer.
func isClone(e check.Event) bool { return strings.HasPrefix(e.Field("call_site"), "skb_clone+") }

// socketBuffers are the allocations of socket buffers in softirq context, where
// there is nobody in this machine but the ticker who makes any.
func socketBuffers(r check.KernelTrace) []check.Event {
	var all []check.Event
	for _, e := range r.Events() {
		site := e.Field("call_site")
		made := strings.HasPrefix(site, "__alloc_skb+") || strings.HasPrefix(site, "kmalloc_reserve+")
		if e.Softirq && (made || isClone(e)) {
			all = append(all, e)
		}
	}
	return all
}

func checkOwnClock(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=10")
	here := check.DialPort(t, protocol, 0, 1<<(group-1))
	for hear(t, here) < 5 {
	}
	var problem error
	err := inNewNet(func() {
		s, err := check.TryDial(t, protocol, 0, 1<<(group-1))
		if err != nil {
			problem = err
			return
		}
		defer s.Close()
		before := uint32(0)
		for range 3 {
			b, _, err := s.RecvFrom(patience())
			if err != nil || len(b) != 20 {
				problem = fmt.Errorf("received % x, %v", b, err)
				return
			}
			number := binary.NativeEndian.Uint32(b[16:])
			if before != 0 && number != before+1 {
				problem = fmt.Errorf("tick %d comes after tick %d", number, before)
				return
			}
			before = number
		}
	})
	if err != nil {
		t.Fatalf("making a network namespace: %v", err)
	}
	if problem != nil {
		t.Fatalf("a listener in a new network namespace: %v", problem)
	}
}

func checkNobody(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=10")
	r := check.TraceKernel(t, append([]string{"timer/timer_expire_entry"}, allocations...), nil)
	check.Until(t, "the timer has rung 5 times", func() bool { return rung(r) >= 5 })
	if made := socketBuffers(r); len(made) > 0 {
		t.Fatalf("nobody listens, yet the timer made a message all the same:\n\t%s: %s\n"+
			"netlink_has_listeners() knows before anything is allocated.", made[0].Name, made[0].Text)
	}

	s := check.DialPort(t, protocol, 0, 1<<(group-1))
	if number := hear(t, s); number == 1 {
		t.Mistake("counts-when-heard")
	} else if number < 5 {
		t.Fatalf("the timer has rung at least 5 times, and the first tick that a listener hears has the number %d", number)
	}
}

// rung is how often the ticker's timers have rung.
func rung(r check.KernelTrace) int {
	n := 0
	for _, e := range r.Events() {
		if e.Name == "timer_expire_entry" && strings.Contains(e.Text, "[ticker]") {
			n++
		}
	}
	return n
}

func checkSubscriber(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=10")
	n := 3 + rand.IntN(4)
	lines := listen(t, n, nil)
	if len(lines) != n+1 || lines[n] != fmt.Sprintf("%d heard, 0 missed", n) {
		t.Fatalf("user/user %d printed:\n%s\nwant %d ticks, and a last line \"%d heard, 0 missed\"", n, indent(lines), n, n)
	}
}

// listen runs the student's program for a number of ticks, and returns the
// lines that it prints. Then is called when the program has printed one.
func listen(t *check.T, ticks int, then func()) []string {
	t.Helper()
	cmd := exec.Command("user/user", fmt.Sprint(ticks))
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

	lines := make(chan string)
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			lines <- sc.Text()
		}
		close(lines)
	}()
	var all []string
	limit := time.NewTimer(5 * patience())
	quick := time.NewTimer(patience())
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return all
			}
			all = append(all, line)
			if then != nil {
				then()
				then = nil
			}
		case <-quick.C:
			if len(all) == 0 {
				deaf(t)
			}
		case <-limit.C:
			t.Fatalf("user/user %d has not ended; it printed:\n%s", ticks, indent(all))
		}
	}
}

// deaf says why a program that waits hears nothing. The sockets of a protocol
// that have a port ID are listed.
func deaf(t *check.T) {
	t.Helper()
	for _, s := range vmtest.Sockets(t) {
		switch {
		case s.Protocol != protocol || s.PortID == 0:
		case s.Groups == 0:
			t.Fatalf("user/user waits and hears nothing: its socket has the port ID %d and is in no group, as the column Groups of /proc/net/netlink says", s.PortID)
		case s.Groups == group:
			t.Mistake("group-as-mask")
		default:
			t.Fatalf("user/user waits and hears nothing: the groups of its socket are the mask %#x, and group %d is the bit %#x",
				s.Groups, group, 1<<(group-1))
		}
	}
	t.Mistake("unbound")
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return "\t(nothing)"
	}
	return "\t" + strings.Join(lines, "\n\t")
}

func checkGaps(t *check.T) {
	check.Insmod(t, "ticker", "interval_ms=20")
	for range 10 {
		got, want, missed := gap(t, 12)
		if missed == 0 {
			continue // the machine is busy: the program was done before the gap
		}
		if slices.Equal(want, got) {
			return
		}
		if slices.Contains(got, fmt.Sprintf("12 heard, %d missed", missed+1)) {
			t.Mistake("one-too-many")
		}
		t.Fatalf("Numbers were left out. The program printed:\n%s\nwant:\n%s", indent(got), indent(want))
	}
	t.Fatal("no gap could be made while the program listened: the machine is too busy")
}

// gap makes a gap while the program listens to a number of ticks. It returns what
// the program printed, and what it should have by what another socket heard.
func gap(t *check.T, ticks int) (got, want []string, missed int) {
	t.Helper()
	witness := check.DialPort(t, protocol, 0, 1<<(group-1))
	defer witness.Close()
	got = listen(t, ticks, func() {
		if err := os.WriteFile("/sys/module/ticker/parameters/skip", fmt.Append(nil, 1+rand.IntN(1000)), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	last := uint32(0)
	for heard := 0; heard < ticks; {
		b, _, err := witness.RecvFrom(0)
		if err != nil {
			t.Fatalf("the check's own socket has heard %d ticks: %v; and the program printed:\n%s", heard, err, indent(got))
		}
		number := binary.NativeEndian.Uint32(b[16:])
		if last == 0 && len(got) > 0 && got[0] != fmt.Sprintf("tick %d", number) {
			continue // before the program listened
		}
		if last != 0 && number != last+1 {
			n := int(number - last - 1)
			want = append(want, fmt.Sprintf("gap: %d to %d, %d missed", last+1, number-1, n))
			missed += n
		}
		want = append(want, fmt.Sprintf("tick %d", number))
		last = number
		heard++
	}
	return got, append(want, fmt.Sprintf("%d heard, %d missed", ticks, missed)), missed
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is the first tick of a clock that is slow enough to be caught.
func exchange(t *check.T) []check.Datagram {
	for {
		check.Insmod(t, "ticker", "interval_ms=2000")
		s := check.DialPort(t, protocol, 4711, 1<<(group-1))
		b := s.Recv("the first tick")
		s.Close()
		check.Rmmod(t, "ticker")
		if binary.NativeEndian.Uint32(b[16:]) == 1 {
			return []check.Datagram{{Title: "a tick: the kernel (port 0) to group 3", Protocol: protocol, Data: b}}
		}
	}
}
