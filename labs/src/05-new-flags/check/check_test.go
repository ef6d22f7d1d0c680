// SPDX-License-Identifier: MIT

package check_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/labs/check"
)

// The module's messages, as in kernel/table.c.
const (
	tableNew = 16
	tableDel = 17
	tableGet = 18
)

// Flags of NEW.
const (
	replace = unix.NLM_F_REPLACE
	excl    = unix.NLM_F_EXCL
	create  = unix.NLM_F_CREATE
	app     = unix.NLM_F_APPEND
)

// The columns of a truth table.
var columns = []struct {
	bit  uint16
	name string
}{{replace, "REPLACE"}, {excl, "EXCL"}, {create, "CREATE"}, {app, "APPEND"}}

const (
	names     = "flags are called by their names"
	observed  = "what became of neighbours and links is seen"
	right     = "the verdict is what the table says"
	creates   = "CREATE decides about an entry that is not there"
	refuses   = "EXCL, or no flag at all, leaves an entry as it is"
	replaces  = "REPLACE leaves the new value alone"
	appends   = "APPEND adds a value, up to eight"
	wholeOfIt = "the whole truth table"
)

func TestMain(m *testing.M) { check.Main(m) }

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 2, Name: names, Do: checkNames},
		check.Step{TODO: 2, Points: 2, Name: observed, Do: checkObserved},
		check.Step{TODO: 2, Points: 1, Name: right, Needs: []string{observed}, Do: checkVerdict},
		check.Step{TODO: 3, Points: 1, Name: creates, Do: checkCreate},
		check.Step{TODO: 4, Points: 1, Name: refuses, Needs: []string{creates}, Do: checkRefused},
		check.Step{TODO: 5, Points: 1, Name: replaces, Needs: []string{refuses}, Do: checkReplace},
		check.Step{TODO: 6, Points: 1, Name: appends, Needs: []string{refuses}, Do: checkAppend},
		check.Step{TODO: 6, Points: 1, Name: wholeOfIt, Needs: []string{observed, replaces, appends}, Do: checkWhole},
	)
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// flagNames are the names by kind of message, the lowest bit first.
var flagNames = map[string]map[uint16]string{
	"get": {0x100: "ROOT", 0x200: "MATCH", 0x400: "ATOMIC"},
	"new": {0x100: "REPLACE", 0x200: "EXCL", 0x400: "CREATE", 0x800: "APPEND"},
	"del": {0x100: "NONREC", 0x200: "BULK"},
	"ack": {0x100: "CAPPED", 0x200: "ACK_TLVS"},
}

func checkNames(t *check.T) {
	for kind, upper := range flagNames {
		all := map[uint16]string{1: "REQUEST", 2: "MULTI", 4: "ACK", 8: "ECHO", 0x10: "DUMP_INTR", 0x20: "DUMP_FILTERED"}
		for bit, name := range upper {
			all[bit] = name
		}
		// Each flag is there once, and once it is not. To start a program takes long
		// in an emulated machine.
		some := uint16(rand.UintN(0x1000))
		sets := []uint16{some, some ^ 0xfff}
		for _, flags := range sets {
			var want []string
			rest := uint16(0)
			for bit := uint16(1); bit != 0; bit <<= 1 {
				switch {
				case flags&bit == 0:
				case all[bit] != "":
					want = append(want, all[bit])
				default:
					rest |= bit
				}
			}
			if rest != 0 {
				want = append(want, fmt.Sprintf("%#x", rest))
			}
			command := fmt.Sprintf("user names %s %#x", kind, flags)
			o := check.Run(t, "", "user/user", "names", kind, fmt.Sprintf("%#x", flags))
			o.Succeeded(t, command)
			got, expected := strings.TrimSpace(o.Out), strings.Join(want, "|")
			if got == expected {
				continue
			}
			if kind != "new" && strings.Contains(got, "REPLACE") {
				t.Mistake("one-meaning", "%s printed %s, want %s", command, got, expected)
			}
			t.Fatalf("%s printed\n    %s\nwant\n    %s", command, got, expected)
		}
	}
}

// witness is a table of rtnetlink: what a request to make an object is, and how
// to look at one.
type witness struct {
	name string
	set  func(number int, value byte) (typ uint16, body []byte)
	get  func(number int) (typ uint16, body []byte)
	del  func(number int) (typ uint16, body []byte)
	// value of what answers get.
	value func(t *check.T, body []byte) byte
}

func neighbour(number int) []byte {
	b := make([]byte, 12)
	b[0] = unix.AF_INET6
	binary.NativeEndian.PutUint32(b[4:], 1)
	address := make([]byte, 16)
	address[0], address[1], address[14], address[15] = 0xfd, 1, byte(number>>8), byte(number)
	return append(b, check.Attr(unix.NDA_DST, address)...)
}

func link(number int) []byte {
	return append(make([]byte, 16), check.Attr(unix.IFLA_IFNAME, fmt.Appendf(nil, "check%d\x00", number))...)
}

// attribute is the first one of a type.
func attribute(t *check.T, b []byte, typ uint16) []byte {
	t.Helper()
	for _, a := range check.Attrs(t, "an object of rtnetlink", b) {
		if a.Type == typ {
			return a.Data
		}
	}
	t.Fatalf("an object of rtnetlink has no attribute %d: % x", typ, b)
	return nil
}

var witnesses = []witness{
	{
		"neighbours",
		func(number int, value byte) (uint16, []byte) {
			b := neighbour(number)
			b[8] = unix.NUD_PERMANENT
			if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
				b[8], b[9] = 0, unix.NUD_PERMANENT
			}
			return unix.RTM_NEWNEIGH, append(b, check.Attr(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, value})...)
		},
		func(number int) (uint16, []byte) { return unix.RTM_GETNEIGH, neighbour(number) },
		func(number int) (uint16, []byte) { return unix.RTM_DELNEIGH, neighbour(number) },
		func(t *check.T, b []byte) byte { return attribute(t, b[12:], unix.NDA_LLADDR)[5] },
	},
	{
		"links",
		func(number int, value byte) (uint16, []byte) {
			b := append(link(number), check.Attr(unix.IFLA_LINKINFO, check.Attr(unix.IFLA_INFO_KIND, []byte("dummy\x00")))...)
			return unix.RTM_NEWLINK, append(b, check.Attr(unix.IFLA_MTU, check.U32(1300+uint32(value)))...)
		},
		func(number int) (uint16, []byte) { return unix.RTM_GETLINK, link(number) },
		func(number int) (uint16, []byte) { return unix.RTM_DELLINK, link(number) },
		func(t *check.T, b []byte) byte {
			return byte(binary.NativeEndian.Uint32(attribute(t, b[16:], unix.IFLA_MTU)) - 1300)
		},
	},
}

// request sends one, and returns the payload of the answer and the errno.
func request(t *check.T, s *check.Socket, typ, flags uint16, body []byte) ([]byte, syscall.Errno) {
	t.Helper()
	s.Send(check.Message{Type: typ, Flags: unix.NLM_F_REQUEST | flags, Seq: check.RandomNumber(), Body: body}.Bytes())
	m := check.Parse(t, "an answer", s.Recv("an answer"))[0]
	if m.Type != unix.NLMSG_ERROR {
		return m.Body, 0
	}
	return nil, syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Body)))
}

// became is what becomes of an object, by the kernel that this runs on.
func (w witness) became(t *check.T, s *check.Socket, number int, there bool, flags uint16) string {
	t.Helper()
	defer func() {
		typ, body := w.del(number)
		request(t, s, typ, unix.NLM_F_ACK, body)
	}()
	if there {
		typ, body := w.set(number, 1)
		if _, err := request(t, s, typ, unix.NLM_F_ACK|create|excl, body); err != 0 {
			t.Fatalf("%s: one to be looked at cannot be made: %v", w.name, err)
		}
	}
	typ, body := w.set(number, 2)
	if _, err := request(t, s, typ, unix.NLM_F_ACK|flags, body); err != 0 {
		return errno(err)
	}
	typ, body = w.get(number)
	now, err := request(t, s, typ, 0, body)
	switch {
	case err != 0:
		return "nothing"
	case w.value(t, now) == 1:
		return "kept"
	case there:
		return "changed"
	}
	return "made"
}

func line(flags uint16, notThere, isThere string) string {
	marks := [4]string{"-", "-", "-", "-"}
	for i, c := range columns {
		if flags&c.bit != 0 {
			marks[i] = "x"
		}
	}
	return fmt.Sprintf("%-8s%-5s%-7s%-8s%-11s %s", marks[0], marks[1], marks[2], marks[3], notThere, isThere)
}

// row is the flags of a row of a truth table.
func row(i int) (flags uint16) {
	for j, c := range columns {
		if i&(8>>j) != 0 {
			flags |= c.bit
		}
	}
	return flags
}

// detected is what the program has printed of each witness.
var detected = map[string]string{}

func checkObserved(t *check.T) {
	s := check.Dial(t, unix.NETLINK_ROUTE)
	for _, w := range witnesses {
		o := check.Run(t, "", "user/user", "detect", w.name)
		o.Succeeded(t, "user detect "+w.name)
		detected[w.name] = o.Out
		got := strings.Split(o.Out, "\n")
		rows := rand.Perm(16)
		if w.name == "links" { // which take long to be made and unmade
			rows = rows[:8]
		}
		slices.Sort(rows)
		for _, i := range rows {
			flags := row(i)
			want := line(flags, w.became(t, s, 1, false, flags), w.became(t, s, 2, true, flags))
			if i+1 < len(got) && strings.TrimRight(got[i+1], " ") == want {
				continue
			}
			seen := "(nothing)"
			if i+1 < len(got) {
				seen = got[i+1]
			}
			if strings.HasSuffix(want, " kept") && strings.HasSuffix(seen, " changed") {
				t.Mistake("believes-in-success", "user detect %s, row %d:\n    %s\nprinted\n    %s\nwant\n    %s", w.name, i+1, got[0], seen, want)
			}
			t.Fatalf("user detect %s, row %d:\n    %s\nprinted\n    %s\nwant\n    %s", w.name, i+1, got[0], seen, want)
		}
	}
}

func checkVerdict(t *check.T) {
	for _, w := range witnesses {
		out := detected[w.name]
		switch {
		case strings.HasSuffix(out, "about EXCL, right is: netlink.h\n"):
		case strings.HasSuffix(out, "about EXCL, right is: intro.rst\n"):
			t.Mistake("intro-is-right", "user detect %s printed\n%s", w.name, out)
		default:
			t.Fatalf("the verdict of user detect %s is not what its table says:\n%s", w.name, out)
		}
	}
}

// A table is the student's, with a socket to it.
type table struct {
	t   *check.T
	s   *check.Socket
	key uint32
}

func load(t *check.T) *table {
	t.Helper()
	check.Insmod(t, "table")
	return &table{t: t, s: check.Dial(t, check.LabProtocol), key: check.RandomNumber()}
}

func (b *table) set(key, value uint32, flags uint16) syscall.Errno {
	b.t.Helper()
	_, err := request(b.t, b.s, tableNew, unix.NLM_F_ACK|flags, append(check.U32(key), check.U32(value)...))
	return err
}

func (b *table) values(key uint32) []uint32 {
	b.t.Helper()
	body, err := request(b.t, b.s, tableGet, 0, check.U32(key))
	if err == unix.ENOENT {
		return nil
	}
	if err != 0 || len(body) < 8 {
		b.t.Fatalf("getting entry %d: %v and % x", key, err, body)
	}
	var all []uint32
	for body = body[4:]; len(body) >= 4; body = body[4:] {
		all = append(all, binary.NativeEndian.Uint32(body))
	}
	return all
}

// what a request was, in words.
func words(flags uint16, there bool) string {
	var set []string
	for _, c := range columns {
		if flags&c.bit != 0 {
			set = append(set, c.name)
		}
	}
	what := "a request with none of the four flags"
	if len(set) > 0 {
		what = "a request with " + strings.Join(set, "|")
	}
	if there {
		return what + ", for an entry that is there"
	}
	return what + ", for a key that no entry has"
}

// cell tries one cell of the truth table.
func (b *table) cell(flags uint16, there bool) {
	b.t.Helper()
	b.key++
	before, value := check.RandomNumber(), check.RandomNumber()
	var old []uint32
	if there {
		if err := b.set(b.key, before, create|excl); err != 0 {
			b.t.Fatalf("%s: %v", words(create|excl, false), err)
		}
		old = []uint32{before}
	}
	wantErr, want := expected(flags, there, before, value)
	err := b.set(b.key, value, flags)
	got := b.values(b.key)
	if err == wantErr && slices.Equal(got, want) {
		return
	}
	seen := fmt.Sprintf("%s:\n    want %s, and then the values %d\n    got  %s, and then the values %d (before: %d; asked for: %d)",
		words(flags, there), errno(wantErr), want, errno(err), got, old, value)
	if mistake := mistaken(flags, there, err, got, before, value); mistake != "" {
		b.t.Mistake(mistake, "%s", seen)
	}
	b.t.Fatal(seen)
}

func errno(e syscall.Errno) string {
	switch e {
	case 0:
		return "no error"
	case unix.EOPNOTSUPP:
		return "EOPNOTSUPP" // which has two names
	}
	return unix.ErrnoName(e)
}

// expected is the truth table.
func expected(flags uint16, there bool, before, value uint32) (syscall.Errno, []uint32) {
	switch {
	case !there && flags&create == 0:
		return unix.ENOENT, nil
	case !there:
		return 0, []uint32{value}
	case flags&excl != 0:
		return unix.EEXIST, []uint32{before}
	case flags&replace != 0:
		return 0, []uint32{value}
	case flags&app != 0:
		return 0, []uint32{before, value}
	}
	return unix.EEXIST, []uint32{before}
}

// mistaken is the name of the mistake that a wrong cell gives away.
func mistaken(flags uint16, there bool, err syscall.Errno, got []uint32, before, value uint32) string {
	changed := slices.Equal(got, []uint32{value})
	switch {
	case !there && err == 0 && changed && flags&replace != 0:
		return "replace-creates"
	case there && err == 0 && changed && flags&excl != 0:
		return "excl-turned-round"
	case there && err == 0 && flags&replace != 0 && slices.Equal(got, []uint32{before, value}):
		return "append-wins"
	case there && err == 0 && changed && flags&(excl|replace|app) == 0:
		return "quiet-overwrite"
	}
	return ""
}

// cells tries those of the truth table that belong to a step, in random order.
func (b *table) cells(there bool, ours func(flags uint16) bool) {
	b.t.Helper()
	for _, i := range rand.Perm(16) {
		if flags := row(i); ours(flags) {
			b.cell(flags, there)
		}
	}
}

func checkCreate(t *check.T) {
	b := load(t)
	// Without REPLACE first, so that a mistake about one flag is not taken for one
	// about another.
	b.cells(false, func(flags uint16) bool { return flags&(create|replace) == 0 })
	b.cells(false, func(flags uint16) bool { return true })
}

func checkRefused(t *check.T) {
	b := load(t)
	// None of the flags first: who overwrites then has not thought of any.
	b.cells(true, func(flags uint16) bool { return flags&(excl|replace|app) == 0 })
	b.cells(true, func(flags uint16) bool { return flags&excl != 0 })
}

func checkReplace(t *check.T) {
	b := load(t)
	b.cells(true, func(flags uint16) bool { return flags&(excl|app) == 0 && flags&replace != 0 })
}

func checkAppend(t *check.T) {
	b := load(t)
	b.cells(true, func(flags uint16) bool { return flags&(excl|replace) == 0 && flags&app != 0 })
	b.key++
	var want []uint32
	for range 8 {
		value := check.RandomNumber()
		if err := b.set(b.key, value, create|app); err != 0 {
			t.Fatalf("value %d of an entry: %v", len(want)+1, err)
		}
		want = append(want, value)
	}
	for range 3 {
		err := b.set(b.key, check.RandomNumber(), app)
		got := b.values(b.key)
		if err == 0 {
			t.Mistake("no-bound", "a ninth value was accepted; the values were\n    %d\nand are\n    %d", want, got)
		}
		if err != unix.ENOSPC || !slices.Equal(got, want) {
			t.Fatalf("a ninth value: want ENOSPC and the values\n    %d\ngot %s and\n    %d", want, errno(err), got)
		}
	}
}

func checkWhole(t *check.T) {
	b := load(t)
	for _, there := range []bool{false, true} {
		b.cells(there, func(uint16) bool { return true })
	}
	// And as the program sees it.
	o := check.Run(t, "", "user/user", "detect", "table")
	o.Succeeded(t, "user detect table")
	got := strings.Split(o.Out, "\n")
	for i := range 16 {
		flags := row(i)
		want := line(flags, outcome(flags, false), outcome(flags, true))
		seen := "(nothing)"
		if i+1 < len(got) {
			seen = strings.TrimRight(got[i+1], " ")
		}
		if seen == want {
			continue
		}
		text := fmt.Sprintf("user detect table, row %d:\n    %s\nprinted\n    %s\nwant\n    %s", i+1, got[0], seen, want)
		if strings.HasSuffix(want, " appended") && strings.HasSuffix(seen, " changed") {
			t.Mistake("appended-is-changed", "%s", text)
		}
		t.Fatal(text)
	}
}

// outcome is what the program calls a cell of the truth table.
func outcome(flags uint16, there bool) string {
	switch err, now := expected(flags, there, 1, 2); {
	case err != 0:
		return errno(err)
	case !there:
		return "made"
	case len(now) == 2:
		return "appended"
	}
	return "changed"
}

// exchange is what the picture shows.
func exchange(t *check.T) []check.Datagram {
	check.Insmod(t, "table")
	s := check.DialPort(t, check.LabProtocol, 4711, 0)
	var all []check.Datagram
	for i, x := range []struct {
		title   string
		answer  string
		message check.Message
	}{
		{"NEW with CREATE and EXCL: 0x600", "made", check.Message{Type: tableNew, Flags: create | excl | unix.NLM_F_ACK, Body: append(check.U32(3), check.U32(42)...)}},
		{"the same again", "refused", check.Message{Type: tableNew, Flags: create | excl, Body: append(check.U32(3), check.U32(42)...)}},
	} {
		x.message.Flags |= unix.NLM_F_REQUEST
		x.message.Seq = uint32(i + 1)
		s.Send(x.message.Bytes())
		all = append(all, check.Datagram{Title: x.title, Sent: true, Protocol: check.LabProtocol, Data: x.message.Bytes()},
			check.Datagram{Title: x.answer, Protocol: check.LabProtocol, Data: s.Recv(x.answer)})
	}
	return all
}
