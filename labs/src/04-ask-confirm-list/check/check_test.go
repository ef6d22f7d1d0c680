// SPDX-License-Identifier: MIT

package check_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

// The module's protocol, as in kernel/book.c.
const (
	bookWrite = 16
	bookRead  = 17
	bookPage  = 18
	bookPages = 65536
)

const (
	refused    = "what makes no sense is refused"
	withReason = "a refusal says why"
	one        = "a page is read"
	begins     = "a list begins and ends"
	whole      = "ten thousand pages come through a buffer of 4096 bytes"
	listed     = "the program lists the book, and knows its own answers"
	interrupt  = "a change under a list is told"
)

func TestMain(m *testing.M) { check.Main(m) }

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: refused, Do: checkRefused},
		check.Step{TODO: 1, Points: 1, Name: withReason, Needs: []string{refused}, Do: checkReason},
		check.Step{TODO: 2, Points: 1, Name: "the program tells what the kernel said", Needs: []string{withReason}, Do: checkVerdict},
		check.Step{TODO: 3, Points: 1, Name: one, Needs: []string{refused}, Do: checkRead},
		check.Step{TODO: 4, Points: 1, Name: begins, Do: checkBegins},
		check.Step{TODO: 5, Points: 2, Name: whole, Needs: []string{begins}, Do: checkWhole},
		check.Step{TODO: 6, Points: 1, Name: listed, Needs: []string{one, whole}, Do: checkList},
		check.Step{TODO: 7, Points: 1, Name: interrupt, Needs: []string{whole}, Do: checkInterrupted},
		check.Step{TODO: 7, Points: 1, Name: "the program lists again what has changed", Needs: []string{listed, interrupt}, Do: checkAgain},
	)
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// words lays numbers out as the book has them.
func words(numbers ...uint32) []byte {
	var b []byte
	for _, n := range numbers {
		b = append(b, check.U32(n)...)
	}
	return b
}

func write(number, value uint32, flags uint16) check.Message {
	return check.Message{
		Type: bookWrite, Flags: unix.NLM_F_REQUEST | flags,
		Seq: check.RandomNumber(), Body: words(number, value),
	}
}

func read(flags uint16, numbers ...uint32) check.Message {
	return check.Message{
		Type: bookRead, Flags: unix.NLM_F_REQUEST | flags,
		Seq: check.RandomNumber(), Body: words(numbers...),
	}
}

// ack is the acknowledgment of a request: an error of 0, and its header.
func ack(s *check.Socket, request check.Message) check.Message {
	return check.Message{
		Type: unix.NLMSG_ERROR, Flags: 0x100, // NLM_F_CAPPED
		Seq: request.Seq, PortID: s.PortID, Body: append(words(0), request.Bytes()[:16]...),
	}
}

// answers are all datagrams that wait at a socket. The kernel answers in the
// course of sendmsg, so nothing is on its way.
func answers(t *check.T, s *check.Socket) [][]byte {
	var all [][]byte
	for {
		b, _, err := s.RecvFrom(0)
		if err == check.ErrNothing {
			return all
		}
		if err != nil {
			t.Fatalf("receiving at port %d: %v", s.PortID, err)
		}
		all = append(all, b)
	}
}

// ask sends a request that has one answer.
func ask(t *check.T, s *check.Socket, what string, request check.Message) []byte {
	t.Helper()
	s.Send(request.Bytes())
	all := answers(t, s)
	if len(all) != 1 {
		t.Fatalf("%s: %d datagrams came as its answer, want 1", what, len(all))
	}
	return all[0]
}

// wantErrno sends a request that is to be refused.
func wantErrno(t *check.T, s *check.Socket, what string, request check.Message, errno syscall.Errno) {
	t.Helper()
	s.Send(request.Bytes())
	all := answers(t, s)
	if len(all) == 0 {
		t.Fatalf("%s: no answer, as if it had been carried out; want NLMSG_ERROR with %v (-%d)", what, errno, errno)
	}
	got := all[0]
	if len(got) >= 20 && binary.NativeEndian.Uint16(got[4:]) == unix.NLMSG_ERROR {
		if e := int32(binary.NativeEndian.Uint32(got[16:])); e > 0 {
			t.Mistake("positive-errno", "%s: the error is %d, want %d", what, e, -int32(errno))
		}
	}
	// The whole request is sent back, its padding left out if nothing is behind.
	sent := request.Bytes()
	want := check.Message{
		Type: unix.NLMSG_ERROR, Seq: request.Seq, PortID: s.PortID,
		Body: append(words(uint32(-int32(errno))), sent[:16+len(request.Body)]...),
	}
	t.Compare("the answer to "+what, want.Bytes(), got)
	if len(all) > 1 {
		t.Fatalf("%s: %d datagrams came as its answer, want 1", what, len(all))
	}
}

func checkRefused(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)

	good := write(rand.Uint32N(bookPages), check.RandomNumber(), unix.NLM_F_ACK)
	t.Compare("the acknowledgment of a page that was written", ack(s, good).Bytes(), ask(t, s, "writing a page", good))
	s.Send(write(rand.Uint32N(bookPages), 1, 0).Bytes())
	s.Empty("a page was written without NLM_F_ACK, so nobody wants to hear of it")

	for _, n := range []int{0, 4} {
		m := write(1, 1, 0)
		m.Body = m.Body[:n]
		wantErrno(t, s, fmt.Sprintf("writing with a payload of %d bytes", n), m, unix.EINVAL)
	}
	for _, n := range []uint32{bookPages, bookPages + rand.Uint32N(1<<30), 1<<32 - 1} {
		wantErrno(t, s, fmt.Sprintf("writing page %d of %d", n, bookPages), write(n, 1, 0), unix.ERANGE)
	}
}

// refusal asks for what is refused, and returns errno and text, if there is one.
func refusal(t *check.T, s *check.Socket, what string, request check.Message) (errno syscall.Errno, text string) {
	t.Helper()
	got := ask(t, s, what, request)
	m := check.Parse(t, "the answer to "+what, got)[0]
	if m.Type != unix.NLMSG_ERROR || len(m.Body) < 4 {
		t.Fatalf("%s: the answer is of type %d, want NLMSG_ERROR", what, m.Type)
	}
	errno = syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Body)))
	quoted := 4 + (len(request.Bytes())+3)&^3
	if m.Flags&0x200 == 0 || len(m.Body) < quoted { // NLM_F_ACK_TLVS
		return errno, ""
	}
	for _, a := range check.Attrs(t, "the attributes of an error", m.Body[quoted:]) {
		if a.Type == 1 { // NLMSGERR_ATTR_MSG
			return errno, strings.TrimRight(string(a.Data), "\x00")
		}
	}
	return errno, ""
}

// reason asks for what is refused, and returns the kernel's text.
func reason(t *check.T, s *check.Socket, what string, request check.Message) string {
	t.Helper()
	_, text := refusal(t, s, what, request)
	if text == "" {
		t.Mistake("no-reason", "%s: the error has no text", what)
	}
	return text
}

func checkReason(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	short := write(1, 1, 0)
	short.Body = short.Body[:4]
	r1 := reason(t, s, "writing with a payload of 4 bytes", short)
	r2 := reason(t, s, "writing a page that is not there", write(bookPages+1, 1, 0))
	if r1 == r2 {
		t.Errorf("both a short payload and a wrong number give %q; which of the two is it?", r1)
	}
	for _, r := range []string{r1, r2} {
		if strings.HasSuffix(r, "\n") {
			t.Errorf("the text %q ends in a new line; the program that prints it makes one", r)
		}
	}
}

func checkVerdict(t *check.T) {
	check.Insmod(t, "book")
	number, value := rand.Uint32N(bookPages), check.RandomNumber()
	o := check.Run(t, "", "user/user", "write", fmt.Sprintf("%d=%d", number, value))
	o.Succeeded(t, "user write")
	if want := fmt.Sprintf("page %d: written\n", number); o.Out != want {
		t.Fatalf("user write printed %q, want %q", o.Out, want)
	}

	s := check.Dial(t, check.LabProtocol)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	number = bookPages + rand.Uint32N(1000)
	text := reason(t, s, "writing a page that is not there", write(number, value, 0))
	o = check.Run(t, "", "user/user", "write", fmt.Sprintf("%d=%d", number, value))
	want := fmt.Sprintf("user: page %d: %v: %s\n", number, unix.ERANGE, text)
	switch {
	case o.Status == 0:
		t.Fatalf("user write %d=… ended with status 0, though the kernel has refused; it printed %q", number, o.Out)
	case o.Err == want:
	case strings.Contains(o.Err, fmt.Sprint(uint32(1<<32-34))): // -ERANGE, unsigned
		t.Mistake("sign", "user write %d=… printed %q", number, o.Err)
	case strings.Contains(o.Err, unix.ERANGE.Error()):
		t.Mistake("behind-the-header", "user write %d=… printed\n    %q, want\n    %q", number, o.Err, want)
	default:
		t.Fatalf("user write %d=… printed\n    %q, want\n    %q", number, o.Err, want)
	}

	// A request of another length, so the attributes are at another place.
	errno, text := refusal(t, s, "reading a page that is not there", read(0, number))
	o = check.Run(t, "", "user/user", "read", fmt.Sprint(number))
	want = fmt.Sprintf("user: page %d: %v\n", number, errno)
	if text != "" {
		want = fmt.Sprintf("user: page %d: %v: %s\n", number, errno, text)
	}
	if o.Err != want {
		t.Mistake("fixed-place", "user read %d printed\n    %q, want\n    %q", number, o.Err, want)
	}
}

func checkRead(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)
	number, value := 1+rand.Uint32N(bookPages-1), check.RandomNumber()
	s.Send(write(number, value, 0).Bytes())

	what := fmt.Sprintf("reading page %d", number)
	request := read(0, number)
	got := ask(t, s, what, request)
	m := check.Parse(t, "the answer", got)[0]
	if m.Type == bookPage && m.Seq != request.Seq {
		t.Mistake("seq-of-my-own", "%s: the request has sequence number %d, the answer %d", what, request.Seq, m.Seq)
	}
	page := check.Message{Type: bookPage, Seq: request.Seq, PortID: s.PortID, Body: words(number, value)}
	t.Compare("the answer to "+what, page.Bytes(), got)

	request = read(unix.NLM_F_ACK, number)
	s.Send(request.Bytes())
	all := answers(t, s)
	acks := 0
	for _, b := range all {
		if binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
			acks++
		}
	}
	if acks == 2 {
		t.Mistake("ack-twice", "%s with NLM_F_ACK was acknowledged twice", what)
	}
	if len(all) != 2 {
		t.Fatalf("%s with NLM_F_ACK: %d datagrams came, want 2, the page and the acknowledgment", what, len(all))
	}
	page.Seq = request.Seq
	t.Compare("the first answer to "+what+" with NLM_F_ACK", page.Bytes(), all[0])
	t.Compare("the second answer to "+what+" with NLM_F_ACK", ack(s, request).Bytes(), all[1])

	wantErrno(t, s, "reading a page on which nothing is written", read(0, number-1), unix.ENOENT)
	if check.Kept(t, "user/user", "read", fmt.Sprint(number)) {
		t.Mistake("lock-kept", "After an empty page was read, a program that reads page %d does not come back.", number)
	}
	before := check.SocketBuffers(t)
	for range 500 {
		s.Send(read(0, number-1).Bytes())
		s.Recv("an answer")
	}
	if more := check.SocketBuffers(t) - before; more > 250 {
		t.Mistake("buffer-lost", "An empty page was read 500 times, and the kernel has %d socket buffers more than before.", more)
	}
	wantErrno(t, s, "reading a page that is not there", read(0, bookPages+rand.Uint32N(1000)), unix.ERANGE)
	wantErrno(t, s, "reading without a number", read(0), unix.EINVAL)

	s.Overfill(read(0, number))
	request = read(0, number)
	page.Seq = request.Seq
	t.Compare("the answer to a request after some that found no room", page.Bytes(), ask(t, s, what, request))
}

func done(s *check.Socket, seq uint32) check.Message {
	return check.Message{
		Type: unix.NLMSG_DONE, Flags: unix.NLM_F_MULTI, Seq: seq, PortID: s.PortID, Body: words(0),
	}
}

func checkBegins(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)
	for _, flags := range []uint16{0, unix.NLM_F_ACK} {
		what := "listing an empty book"
		if flags != 0 {
			what += " with NLM_F_ACK"
		}
		request := read(unix.NLM_F_DUMP | flags)
		s.Send(request.Bytes())
		all := answers(t, s)
		if len(all) == 0 {
			t.Fatalf("%s: nothing came, want NLMSG_DONE", what)
		}
		t.Compare("the answer to "+what, done(s, request.Seq).Bytes(), all[0])
		for _, b := range all[1:] {
			if m := check.Parse(t, "the second answer", b)[0]; m.Type == unix.NLMSG_ERROR {
				t.Mistake("dump-acked", "%s: after NLMSG_DONE came another answer, NLMSG_ERROR", what)
			}
			t.Fatalf("%s: %d datagrams came, want 1, NLMSG_DONE", what, len(all))
		}
	}
}

// A fill of the book with n pages.
func fill(s *check.Socket, n int) map[uint32]uint32 {
	book := map[uint32]uint32{}
	for len(book) < n {
		book[rand.Uint32N(bookPages)] = check.RandomNumber()
	}
	var b []byte
	for number, value := range book {
		b = append(b, write(number, value, 0).Bytes()...)
		if len(b) > 16<<10 {
			s.Send(b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		s.Send(b)
	}
	return book
}

// A listing is what came of a list.
type listing struct {
	numbers   []uint32
	values    map[uint32]uint32
	datagrams int
	// The datagram, from 1, whose messages are the first with NLM_F_DUMP_INTR.
	interrupted int
}

// list reads a list to its end; between is called after the first datagram.
func list(t *check.T, s *check.Socket, between func()) listing {
	t.Helper()
	request := read(unix.NLM_F_DUMP)
	s.Send(request.Bytes())
	l := listing{values: map[uint32]uint32{}}
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(s.FD, buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err != nil {
			t.Fatalf("the list has no end: %d pages came in %d datagrams, but no NLMSG_DONE; then: %v", len(l.numbers), l.datagrams, err)
		}
		if n > len(buf) {
			t.Fatalf("datagram %d of the list has %d bytes; who reads with 4096 loses its end", l.datagrams+1, n)
		}
		l.datagrams++
		for _, m := range check.Parse(t, fmt.Sprintf("datagram %d of the list", l.datagrams), buf[:n]) {
			if m.Flags&0x10 != 0 && l.interrupted == 0 { // NLM_F_DUMP_INTR
				l.interrupted = l.datagrams
			}
			m.Flags &^= 0x10
			if m.Type == unix.NLMSG_DONE {
				t.Compare("the end of the list", done(s, request.Seq).Bytes(), m.Bytes())
				return l
			}
			l.add(t, s, m, request.Seq)
		}
		if l.datagrams == 1 && between != nil {
			between()
		}
	}
}

// add looks at one page of a list.
func (l *listing) add(t *check.T, s *check.Socket, m check.Message, seq uint32) {
	t.Helper()
	if m.Type == bookPage && m.Flags&unix.NLM_F_MULTI == 0 {
		t.Mistake("no-multi", "message %d of the list has flags %#x", len(l.numbers)+1, m.Flags)
	}
	what := fmt.Sprintf("message %d of the list", len(l.numbers)+1)
	want := check.Message{Type: bookPage, Flags: unix.NLM_F_MULTI, Seq: seq, PortID: s.PortID, Body: m.Body}
	if len(m.Body) != 8 {
		want.Body = make([]byte, 8)
	}
	t.Compare(what, want.Bytes(), m.Bytes())
	number := binary.NativeEndian.Uint32(m.Body)
	if _, again := l.values[number]; again {
		t.Mistake("same-pages", "%s, in datagram %d, is page %d, which was listed already", what, l.datagrams, number)
	}
	l.numbers = append(l.numbers, number)
	l.values[number] = binary.NativeEndian.Uint32(m.Body[4:])
}

// compare compares a listing with what was written.
func (l *listing) compare(t *check.T, book map[uint32]uint32) {
	t.Helper()
	if len(l.numbers) == 0 {
		t.Fatalf("the list is empty; %d pages are written", len(book))
	}
	if !slices.IsSorted(l.numbers) {
		t.Fatalf("the pages are not in the order of their numbers: %d…", l.numbers[:min(8, len(l.numbers))])
	}
	var lost []uint32
	for _, number := range slices.Sorted(maps.Keys(book)) {
		value, ok := l.values[number]
		switch {
		case !ok:
			lost = append(lost, number)
		case value != book[number]:
			t.Fatalf("page %d is listed with the value %d, and %d was written", number, value, book[number])
		}
	}
	for _, number := range l.numbers {
		if _, ok := book[number]; !ok {
			t.Fatalf("page %d is listed with the value %d, and nothing was written there", number, l.values[number])
		}
	}
	switch {
	case len(lost) == 0:
	case len(lost) == l.datagrams-1 || len(lost) == l.datagrams-2:
		t.Mistake("one-lost", "%d pages are missing in %d datagrams, as if one got lost between each two", len(lost), l.datagrams)
	default:
		t.Fatalf("%d pages of %d are not listed, the first of them page %d", len(lost), len(book), lost[0])
	}
}

func checkWhole(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)
	book := fill(check.Dial(t, check.LabProtocol), 9000+rand.IntN(2000))
	l := list(t, s, nil)
	l.compare(t, book)
	// A message has 24 bytes, a datagram some 3700 on a machine with 4 KB pages.
	if most := len(book)*24/2000 + 2; l.datagrams > most {
		t.Fatalf("%d pages came in %d datagrams; in %d there is room for them", len(book), l.datagrams, most)
	}
}

func lines(book map[uint32]uint32) string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(book)) {
		fmt.Fprintf(&b, "page %d: %d\n", n, book[n])
	}
	return b.String()
}

// sameLines compares what user list printed, its last line left out.
func sameLines(t *check.T, o check.Output, book map[uint32]uint32) {
	t.Helper()
	o.Succeeded(t, "user list")
	body, last := o.Out, ""
	if i := strings.LastIndex(strings.TrimSuffix(o.Out, "\n"), "\n"); i >= 0 {
		body, last = o.Out[:i+1], o.Out[i+1:]
	}
	want, got := strings.Split(lines(book), "\n"), strings.Split(body, "\n")
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(want):
			t.Fatalf("user list printed more than the book has, beginning with %q", got[i])
		case i >= len(got) || got[i] != want[i]:
			t.Fatalf("line %d of user list: want %q, got %q", i+1, want[i], append(got, "the end")[min(i, len(got))])
		}
	}
	if !strings.HasPrefix(last, fmt.Sprintf("%d pages in ", len(book))) {
		t.Fatalf("the last line of user list is %q, and there are %d pages", last, len(book))
	}
}

func checkList(t *check.T) {
	check.Insmod(t, "book")
	book := fill(check.Dial(t, check.LabProtocol), 1000+rand.IntN(500))
	sameLines(t, check.Run(t, "", "user/user", "list"), book)

	numbers := slices.Sorted(maps.Keys(book))
	number := numbers[len(numbers)-1-rand.IntN(100)]
	o := check.Run(t, "", "user/user", "peek", fmt.Sprint(number))
	want := fmt.Sprintf("page %d: %d\n", number, book[number])
	if o.Out != want && (strings.HasPrefix(o.Out, "page ") || o.Status != 0) {
		t.Mistake("any-answer", "user peek %d printed %q, want %q", number, o.Out+o.Err, want)
	}
	o.Succeeded(t, "user peek")
	if o.Out != want {
		t.Fatalf("user peek %d printed %q, want %q", number, o.Out, want)
	}

	if err := os.WriteFile("/sys/module/book/parameters/torn", []byte("1"), 0o644); err != nil {
		t.Fatalf("%v. Is kernel/book.c that of this lab?", err)
	}
	if o := check.Run(t, "", "user/user", "list"); o.Status == 0 {
		t.Mistake("done-is-done", "After its first datagram a list ended with NLMSG_DONE and %v, and user list with status 0", unix.EIO)
	}
}

func checkInterrupted(t *check.T) {
	check.Insmod(t, "book")
	s, other := check.Dial(t, check.LabProtocol), check.Dial(t, check.LabProtocol)
	book := fill(other, 1000+rand.IntN(500))

	if l := list(t, s, nil); l.interrupted != 0 {
		t.Fatalf("nobody wrote while the book was listed, but datagram %d has NLM_F_DUMP_INTR", l.interrupted)
	}
	number := slices.Min(slices.Collect(maps.Keys(book)))
	l := list(t, s, func() { other.Send(write(number, 7, 0).Bytes()) })
	if l.interrupted == 0 {
		t.Mistake("never-interrupted", "page %d was written after the first of %d datagrams, and no message has NLM_F_DUMP_INTR", number, l.datagrams)
	}
	if l := list(t, s, nil); l.interrupted != 0 {
		t.Fatalf("a list that began after the last change has NLM_F_DUMP_INTR in datagram %d", l.interrupted)
	}
	// Two at a time: what the first remembers is not the second's.
	third := check.Dial(t, check.LabProtocol)
	book[number] = 7
	l = list(t, s, func() {
		inner := list(t, third, nil)
		inner.compare(t, book)
	})
	l.compare(t, book)
}

func checkAgain(t *check.T) {
	check.Insmod(t, "book")
	s := check.Dial(t, check.LabProtocol)
	// Two datagrams hold these. The second one is ready when the first is read, so
	// the change is before the third one, NLMSG_DONE alone. A kernel side that says
	// with the last page that it is the last needs no third one.
	book := fill(s, 200+rand.IntN(100))
	if list(t, s, nil).datagrams == 3 {
		listAgain(t, book, "intr-in-pages-only")
	}
	maps.Copy(book, fill(s, 1000+rand.IntN(500)))
	listAgain(t, book, "intr-in-done-only")
}

// listAgain lists the book, and changes a page meanwhile.
func listAgain(t *check.T, book map[uint32]uint32, mistake string) {
	number := slices.Min(slices.Collect(maps.Keys(book)))
	book[number] = check.RandomNumber()
	setting := fmt.Sprintf("%d=%d", number, book[number])
	o := check.Run(t, "", "user/user", "list", setting)
	o.Succeeded(t, "user list "+setting)
	const again = "the book changed while it was listed: once more\n"
	if strings.Count(o.Out, again) != 1 {
		t.Mistake(mistake, "user list %s has not noticed that the book changed", setting)
	}
	o.Out = strings.Replace(o.Out, again, "", 1)
	sameLines(t, o, book)
}

// exchange is what the picture shows.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, "book")
	s := check.DialPort(t, check.LabProtocol, 4711, 0)
	s.Set(unix.NETLINK_EXT_ACK, 1)
	var all []check.Datagram
	show := func(title, answer string, request check.Message) {
		s.Send(request.Bytes())
		all = append(all, check.Datagram{Title: title, Sent: true, Protocol: check.LabProtocol, Data: request.Bytes()})
		for _, b := range answers(t, s) {
			all = append(all, check.Datagram{Title: answer, Protocol: check.LabProtocol, Data: b})
		}
	}
	m := write(3, 42, unix.NLM_F_ACK)
	m.Seq = 1
	show("write page 3, and confirm it", "confirmed", m)
	m = write(70000, 1, 0)
	m.Seq = 2
	show("write page 70000", "refused", m)
	m = write(9, 81, 0)
	m.Seq = 3
	show("write page 9; no answer is asked for", "", m)
	m = read(unix.NLM_F_DUMP)
	m.Seq = 4
	show("list the book", "part of the list", m)
	return all
}
