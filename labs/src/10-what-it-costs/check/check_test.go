// SPDX-License-Identifier: MIT

package check_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

const (
	values   = 1000
	valueGet = 0x10
	value    = 0x11
)

func TestMain(m *testing.M) { check.Main(m) }

const (
	packs  = "many requests in, one datagram of answers out"
	maps   = "the device can be mapped"
	asks   = "the program asks for many values at once"
	reads  = "the program reads the mapped values"
	follow = "the way of a request, function by function"
)

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 3, Name: packs, Do: checkPacks},
		check.Step{TODO: 2, Points: 2, Name: maps, Do: checkMaps},
		check.Step{TODO: 3, Points: 2, Name: asks, Needs: []string{packs}, Do: checkAsks},
		check.Step{TODO: 4, Points: 1, Name: reads, Needs: []string{maps}, Do: checkReads},
		check.Step{TODO: 5, Points: 2, Name: follow, Do: checkFollow},
	)
}

// load loads the module with random values, and returns them.
func load(t *check.T) []uint32 {
	t.Helper()
	x := rand.Uint32()
	check.Insmod(t, "values", fmt.Sprintf("seed=%d", x))
	var all []uint32
	for range values {
		x = x*1664525 + 1013904223
		all = append(all, x>>8)
	}
	return all
}

func sum(all []uint32) (n uint64) {
	for _, v := range all {
		n += uint64(v)
	}
	return n
}

func request(index uint32) check.Message {
	return check.Message{Type: valueGet, Flags: unix.NLM_F_REQUEST, Seq: check.RandomNumber(), Body: check.U32(index)}
}

func checkPacks(t *check.T) {
	all := load(t)
	s := check.Dial(t, check.LabProtocol)
	s.SetBuffer(4 << 20) // for thousands of refusals, if it comes to that
	for _, n := range []int{1, 350 + rand.IntN(20), 4000 + rand.IntN(100), 2 + rand.IntN(5)} {
		var requests, want []check.Message
		for range n {
			i := rand.Uint32N(values)
			m := request(i)
			requests = append(requests, m)
			want = append(want, check.Message{Type: value, Seq: m.Seq, PortID: s.PortID, Body: append(check.U32(i), check.U32(all[i])...)})
		}
		s.Send(check.Join(requests...))
		refused := 0
		for {
			got := s.Recv("the answers")
			messages := check.Parse(t, "the answers", got)
			if messages[0].Type == unix.NLMSG_ERROR {
				refused++
				continue
			}
			switch {
			case len(messages) == 1 && n > 1:
				t.Fatalf("%d requests were sent in one datagram; the first datagram of answers has one, and %d requests were refused.\n"+
					"How large is answers?", n, refused)
			case refused > 0 && n >= 4000: // fewer have fitted
				t.Mistake("fixed-size", "Of %d requests in one datagram, %d were answered and %d refused.", n, len(messages), refused)
			case refused > 0 && len(messages) < 200:
				t.Mistake("a-page", "Of %d requests in one datagram, %d were answered and %d refused.", n, len(messages), refused)
			case refused > 0:
				t.Mistake("as-asked", "Of %d requests in one datagram, %d were answered and %d refused.", n, len(messages), refused)
			}
			t.Compare(fmt.Sprintf("the datagram that answers %d requests", n), check.Join(want...), got)
			break
		}
		s.Empty("all is answered")
	}
	s.Send(check.Message{Type: valueGet, Flags: unix.NLM_F_REQUEST, Seq: 1, Body: check.U32(values)}.Bytes())
	if m := check.Parse(t, "the answer", s.Recv("an error"))[0]; m.Type != unix.NLMSG_ERROR {
		t.Fatalf("a request for value %d, which there is not, is answered by a message of type %d", values, m.Type)
	}
	if n := largest(t, s); n > 16384 {
		t.Mistake("always-large", "One request was sent, and a buffer of %d bytes was made.", n)
	}
}

// largest is the largest buffer that is made while one request is sent and
// answered, in bytes: the least of some times, as others may make one, too.
func largest(t *check.T, s *check.Socket) int {
	t.Helper()
	r := check.TraceKernel(t, []string{"kmem/kmalloc", "kmem/kmalloc_node"}, nil)
	least := math.MaxInt
	for range 3 {
		r.Clear()
		s.Send(request(rand.Uint32N(values)).Bytes())
		s.Recv("the answer")
		most := 0
		for _, e := range r.Events() {
			// Which of these it is depends on what the compiler has inlined.
			site := e.Field("call_site")
			if strings.HasPrefix(site, "__alloc_skb+") || strings.HasPrefix(site, "kmalloc_reserve+") || strings.Contains(e.Text, "[values]") {
				n, _ := strconv.Atoi(e.Field("bytes_alloc")) // 0 if it is none
				most = max(most, n)
			}
		}
		least = min(least, most)
	}
	return least
}

func checkMaps(t *check.T) {
	all := load(t)
	f, err := os.Open("/dev/values")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, 4*values, unix.PROT_READ, unix.MAP_SHARED)
	if err == unix.EINVAL {
		t.Mistake("not-for-users")
	}
	if err != nil {
		t.Fatalf("mapping /dev/values: %v", err)
	}
	defer unix.Munmap(b)
	for i, want := range all {
		if got := binary.NativeEndian.Uint32(b[4*i:]); got != want {
			t.Fatalf("in the memory that is mapped, value %d is %d, want %d", i, got, want)
		}
	}

	page := os.Getpagesize()
	for _, more := range []struct {
		what           string
		offset, length int
	}{
		{"two pages", 0, 2 * page},
		{"the page behind it", page, page},
	} {
		b, err := unix.Mmap(int(f.Fd()), int64(more.offset), more.length, unix.PROT_READ, unix.MAP_SHARED)
		if err == nil {
			unix.Munmap(b)
			t.Mistake("maps-more", "The values are in one page, and %s could be mapped.", more.what)
		}
	}
}

// cost counts the ways into the module and its socket while a program runs.
type cost struct {
	send, receive, other int
}

// run runs the student's program by a way, and checks the sum. Hung is what it
// means if it does not end.
func run(t *check.T, way string, all []uint32, hung string) cost {
	t.Helper()
	trace := check.TraceKernel(t, nil, []string{"netlink_sendmsg", "netlink_recvmsg", "values_ioctl", "values_show"})
	p := check.Start(t, "", "user/user", way)
	end := time.Now().Add(check.Deadline() / 2)
	for hung != "" && syscall.Kill(p.PID(), 0) != syscall.ESRCH {
		if time.Now().After(end) {
			t.Mistake(hung)
		}
		time.Sleep(5 * time.Millisecond)
	}
	out := p.Wait()
	out.Succeeded(t, "user/user "+way)
	if want := fmt.Sprintf(" sum %d,", sum(all)); !strings.Contains(out.Out, want) {
		t.Fatalf("user/user %s printed %q, want in it %q", way, out.Out, want)
	}
	var c cost
	for _, e := range trace.Events() {
		switch e.Name {
		case "netlink_sendmsg":
			c.send++
		case "netlink_recvmsg":
			c.receive++
		default:
			c.other++
		}
	}
	return c
}

func checkAsks(t *check.T) {
	all := load(t)
	c := run(t, "batch", all, "waits-for-each")
	if c.send+c.receive > 20 || c.other > 0 {
		t.Fatalf("user/user batch has called the kernel %d times to send and %d times to receive, and %d times by other ways; want at most 20 in all, by netlink",
			c.send, c.receive, c.other)
	}
	if c.send == 0 {
		t.Fatal("user/user batch has not sent anything over netlink")
	}
}

func checkReads(t *check.T) {
	all := load(t)
	if c := run(t, "map", all, ""); c != (cost{}) {
		t.Fatalf("user/user map has called the kernel for values: %+v; all it has to do is to look", c)
	}
}

// way is the functions of a request, as the kernel of this machine enters them.
func way(t *check.T) []string {
	t.Helper()
	steps := []string{
		"netlink_sendmsg", "netlink_unicast", "values_input", "netlink_rcv_skb",
		"values_request", "sock_def_readable", "netlink_recvmsg",
	}
	s := check.Dial(t, check.LabProtocol)
	trace := check.TraceKernel(t, nil, steps)
	s.Send(request(rand.Uint32N(values)).Bytes())
	s.Recv("the answer")
	var names []string
	for _, e := range trace.Events() {
		names = append(names, e.Name)
		if e.Name == "netlink_recvmsg" {
			break
		}
	}
	return names
}

func checkFollow(t *check.T) {
	load(t)
	text, err := os.ReadFile("user/calls.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			got = append(got, strings.TrimSuffix(line, "()"))
		}
	}
	want := way(t)
	if slices.Equal(got, want) {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("user/calls.txt has %d lines that count, want %d", len(got), len(want))
	}
	swapped := slices.Clone(want)
	if i := slices.Index(swapped, "values_input"); i >= 0 && i+1 < len(swapped) {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	if slices.Equal(got, swapped) {
		t.Mistake("read-first")
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("user/calls.txt: the kernel does not enter %q in place %d", got[i], i+1)
		}
	}
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// exchange is a batch of two.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, "values", "seed=1")
	s := check.DialPort(t, check.LabProtocol, 4711, 0)
	a, b := request(13), request(14)
	a.Seq, b.Seq = 4, 5
	both := check.Join(a, b)
	s.Send(both)
	return []check.Datagram{
		{Title: "two requests: port 4711 to the kernel (port 0)", Sent: true, Protocol: check.LabProtocol, Data: both},
		{Title: "two answers: the kernel (port 0) to port 4711", Protocol: check.LabProtocol, Data: s.Recv("the answers")},
	}
}
