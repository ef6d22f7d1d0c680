// SPDX-License-Identifier: MIT

package check_test

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"nlpeer/labs/check"
)

const (
	inGo = "user/user"
	inC  = "c/anatomy"

	nested   = 0x8000
	netOrder = 0x4000
)

const (
	headers    = "a header is read"
	messages   = "several messages are read, and lengths that lie are not believed"
	attributes = "attributes are read, nested ones too"
	built      = "a message is built"
	parsedInC  = "the program in C reads the same"
	agree      = "both read the same in random bytes"
	builtInC   = "the program in C builds the same"
)

func TestMain(m *testing.M) { check.Main(m) }

func TestLab(t *testing.T) {
	check.Lab(t,
		check.Step{TODO: 1, Points: 1, Name: headers, Do: checkHeaders},
		check.Step{TODO: 2, Points: 2, Name: messages, Needs: []string{headers}, Do: checkMessages},
		check.Step{TODO: 3, Points: 2, Name: attributes, Needs: []string{messages}, Do: checkAttributes},
		check.Step{TODO: 4, Points: 1, Name: built, Do: checkBuilt},
		check.Step{TODO: 5, Points: 2, Name: parsedInC, Do: checkC},
		check.Step{TODO: 5, Points: 1, Name: agree, Needs: []string{attributes, parsedInC}, Do: checkAgree},
		check.Step{TODO: 6, Points: 1, Name: builtInC, Do: checkBuiltInC},
	)
}

func TestPicture(t *testing.T) { check.Picture(t, exchange) }

// want is what a program has to print of a datagram.
func want(b []byte) string {
	var w strings.Builder
	for len(b) >= 16 {
		n := binary.NativeEndian.Uint32(b)
		if n < 16 || uint64(n) > uint64(len(b)) {
			break
		}
		fmt.Fprintf(&w, "message: length %d, type %d, flags 0x%x, sequence %d, port %d\n", n, binary.NativeEndian.Uint16(b[4:]),
			binary.NativeEndian.Uint16(b[6:]), binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:]))
		wantAttributes(&w, b[16:n], 1)
		b = after(b, int(n))
	}
	wantRest(&w, b, 0)
	return w.String()
}

func wantAttributes(w *strings.Builder, b []byte, depth int) {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		typ := binary.NativeEndian.Uint16(b[2:])
		if n < 4 || n > len(b) {
			break
		}
		flags := ""
		if typ&nested != 0 {
			flags += " (nested)"
		}
		if typ&netOrder != 0 {
			flags += " (big-endian)"
		}
		fmt.Fprintf(w, "%*sattribute %d%s: %d bytes: %x\n", 2*depth, "", typ&0x3fff, flags, n-4, b[4:n])
		if typ&nested != 0 {
			wantAttributes(w, b[4:n], depth+1)
		}
		b = after(b, n)
	}
	wantRest(w, b, depth)
}

func wantRest(w *strings.Builder, b []byte, depth int) {
	if len(b) > 0 {
		fmt.Fprintf(w, "%*s%d bytes left over\n", 2*depth, "", len(b))
	}
}

// after is what is behind the first n bytes and their padding.
func after(b []byte, n int) []byte { return b[min((n+3)&^3, len(b)):] }

// dump shows bytes, four in a group.
func dump(b []byte) string {
	var w strings.Builder
	for i := 0; i < len(b); i += 16 {
		fmt.Fprintf(&w, "    %4d  % x\n", i, b[i:min(i+16, len(b))])
	}
	if len(b) == 0 {
		return "    (no bytes)\n"
	}
	return w.String()
}

func indent(s string) string {
	if s == "" {
		return "    (nothing)\n"
	}
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}

// parse lets a program take a datagram apart.
func parse(t *check.T, program string, b []byte) check.Output {
	t.Helper()
	return check.Run(t, string(b), program, "parse")
}

// compare compares what a program printed of a datagram with what it has to.
func compare(t *check.T, what, program string, b []byte, o check.Output) {
	t.Helper()
	expected := want(b)
	if o.Status == 0 && o.Out == expected {
		return
	}
	seen := fmt.Sprintf("%s, %s parse: of the bytes\n%sit printed\n%swant\n%s", what, program, dump(b), indent(o.Out), indent(expected))
	if o.Status != 0 {
		seen = fmt.Sprintf("%sand it ended with status %d:\n%s", seen, o.Status, indent(first(o.Err, 3)))
	}
	if mistake := known(program, b, o, expected); mistake != "" {
		t.Mistake(mistake, "%s", strings.TrimSuffix(seen, "\n"))
	}
	t.Fatal(strings.TrimSuffix(seen, "\n"))
}

func first(s string, n int) string {
	lines := strings.SplitAfterN(s, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}

// known is the name of the mistake that a program's words give away.
func known(program string, b []byte, o check.Output, expected string) string {
	if program == inC {
		switch {
		case strings.Count(o.Out, "message:") > strings.Count(expected, "message:"), o.Status >= 128:
			if unpadded(b) {
				return "unsigned-rest"
			}
			return "trusts-the-length-in-c"
		case longerValues(o.Out, expected):
			return "rta-len-as-payload"
		}
		return ""
	}
	swapped := ""
	if len(b) >= 16 {
		swapped = fmt.Sprintf("length %d, type %d,", bits.ReverseBytes32(binary.NativeEndian.Uint32(b)), bits.ReverseBytes16(binary.NativeEndian.Uint16(b[4:])))
	}
	switch {
	case swapped != "" && strings.Contains(o.Out, swapped):
		return "network-order"
	case strings.HasPrefix(expected, "message:") && o.Out == fmt.Sprintf("%d bytes left over\n", len(b)):
		return "network-order" // a length that was turned round is too large
	case strings.Contains(o.Err, "slice bounds out of range"):
		return "trusts-the-length"
	case longerValues(o.Out, expected):
		return "header-in-the-value"
	case strings.HasPrefix(expected, firstMessage(o.Out)) && strings.Count(o.Out, "message:") < strings.Count(expected, "message:") && unaligned(b):
		return "no-padding"
	}
	return ""
}

// unaligned says whether the first message of a datagram needs padding.
func unaligned(b []byte) bool { return len(b) >= 16 && binary.NativeEndian.Uint32(b)%4 != 0 }

// unpadded says whether a datagram ends in a message whose padding is missing.
func unpadded(b []byte) bool {
	for len(b) >= 16 {
		n := binary.NativeEndian.Uint32(b)
		if n < 16 || uint64(n) > uint64(len(b)) {
			return false
		}
		if (int(n)+3)&^3 > len(b) {
			return true
		}
		b = after(b, int(n))
	}
	return false
}

// firstMessage is what was printed of the first message.
func firstMessage(out string) string {
	if i := strings.Index(out, "\nmessage:"); i >= 0 {
		return out[:i+1]
	}
	if i := strings.LastIndex(strings.TrimSuffix(out, "\n"), "\n"); i >= 0 {
		return out[:i+1]
	}
	return out
}

// longerValues says whether the first attribute was printed with four bytes too
// many.
func longerValues(out, expected string) bool {
	length := func(s string) (n int) {
		_, s, _ = strings.Cut(s, "attribute ")
		_, s, _ = strings.Cut(s, ": ")
		if _, err := fmt.Sscanf(s, "%d bytes", &n); err != nil {
			return -100
		}
		return n
	}
	return length(expected) >= 0 && length(out) == length(expected)+4
}

// header is a message with random numbers.
func header(body []byte) check.Message {
	return check.Message{
		Type: 16 + uint16(rand.UintN(1000)), Flags: uint16(rand.UintN(1 << 12)),
		Seq: check.RandomNumber(), PortID: check.RandomNumber(), Body: body,
	}
}

// randomAttributes are some attributes, nested ones among them.
func randomAttributes(depth int) []byte {
	var b []byte
	for range 1 + rand.IntN(3) {
		typ := uint16(1 + rand.UintN(200))
		switch value := check.Random(rand.IntN(12)); rand.IntN(4) {
		case 0:
			if depth < 3 {
				value = randomAttributes(depth + 1)
				typ |= nested
			}
			b = append(b, check.Attr(typ, value)...)
		case 1:
			b = append(b, check.Attr(typ|netOrder, value)...)
		default:
			b = append(b, check.Attr(typ, value)...)
		}
	}
	return b
}

func checkHeaders(t *check.T) {
	for range 5 {
		b := header(nil).Bytes()
		compare(t, "one message without payload", inGo, b, parse(t, inGo, b))
	}
	golden := []byte{20, 0, 0, 0, 18, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		// RTM_GETLINK with NLM_F_REQUEST and NLM_F_DUMP, as ip link sends it.
		o := parse(t, inGo, golden)
		line, _, _ := strings.Cut(o.Out, "\n")
		if want := "message: length 20, type 18, flags 0x301, sequence 1, port 0"; line != want {
			t.Fatalf("user parse: of the bytes\n%sit printed\n%swant as its first line\n%s", dump(golden), indent(o.Out), indent(want))
		}
	}
}

// badHeaders are datagrams with lengths that lie. Their payloads are zeros, so
// that it does not matter what becomes of attributes.
func badHeaders() map[string][]byte {
	m := func(n int, length uint32) check.Message {
		m := header(make([]byte, n))
		m.Len = length
		return m
	}
	good := header(nil)
	return map[string][]byte{
		"no bytes":                               nil,
		"fewer bytes than a header has":          check.Random(15),
		"a length of 0":                          zero(header(nil).Bytes()),
		"a length of 15":                         m(0, 15).Bytes(),
		"a length that is 1 too large":           m(0, 17).Bytes(),
		"the largest length":                     m(0, 1<<32-1).Bytes(),
		"a length with the uppermost bit":        m(0, 1<<31+16).Bytes(),
		"two messages":                           check.Join(good, header(nil)),
		"a good message, then a length of 0":     append(good.Bytes(), zero(header(nil).Bytes())...),
		"a good message, then one that is short": append(good.Bytes(), m(0, 20).Bytes()...),
		"a good message, then 7 bytes":           append(good.Bytes(), check.Random(7)...),
	}
}

// zero makes the first length of a datagram 0.
func zero(b []byte) []byte {
	clear(b[:4])
	return b
}

func checkMessages(t *check.T) {
	for range 3 {
		// Attributes come later: payloads of three bytes and less have none.
		b := check.Join(header([]byte{1}), header([]byte{1, 2}), header(nil))
		o := parse(t, inGo, b)
		if got, expected := onlyMessages(o.Out), onlyMessages(want(b)); o.Status != 0 || got != expected {
			o.Out, b = got, b[:len(b):len(b)]
			if strings.Count(got, "message:") < 3 && o.Status == 0 && !strings.Contains(o.Out, fmt.Sprint(check.Parse(t, "", b)[1].Seq)) {
				t.Mistake("no-padding", "three messages of 17, 18 and 16 bytes, user parse: of the bytes\n%sit printed\n%swant\n%s", dump(b), indent(got), strings.TrimSuffix(indent(expected), "\n"))
			}
			compareMessages(t, "three messages of 17, 18 and 16 bytes", b, o)
		}
	}
	for what, b := range badHeaders() {
		compareMessages(t, what, b, parse(t, inGo, b))
	}
	// Cut off at each byte.
	whole := check.Join(header(nil), header([]byte{1, 2, 3}))
	whole = whole[:35]
	for n := range whole {
		compareMessages(t, fmt.Sprintf("two messages of 16 and 19 bytes, cut off after %d", n), whole[:n], parse(t, inGo, whole[:n]))
	}
	compareMessages(t, "two messages of 16 and 19 bytes, without padding at the end", whole, parse(t, inGo, whole))
}

// onlyMessages leaves out what is about attributes.
func onlyMessages(out string) string {
	var w strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			w.WriteString(line)
		}
	}
	return w.String()
}

func compareMessages(t *check.T, what string, b []byte, o check.Output) {
	t.Helper()
	expected := onlyMessages(want(b))
	if o.Status == 0 && onlyMessages(o.Out) == expected {
		return
	}
	seen := fmt.Sprintf("%s, user parse: of the bytes\n%sit printed\n%swant\n%s", what, dump(b), indent(o.Out), indent(expected))
	// A slice has a capacity, often more than its length, and panics only beyond.
	if strings.Contains(o.Err, "slice bounds out of range") || strings.Count(o.Out, "message:") > strings.Count(expected, "message:") {
		t.Mistake("trusts-the-length", "%s%s", seen, strings.TrimSuffix(indent(first(o.Err, 1)), "\n"))
	}
	if o.Status != 0 {
		seen += fmt.Sprintf("and it ended with status %d:\n%s", o.Status, indent(first(o.Err, 3)))
	}
	t.Fatal(strings.TrimSuffix(seen, "\n"))
}

// checkAll lets a program read good datagrams, and what is cut off of them.
func checkAll(t *check.T, program string) {
	t.Helper()
	simple := header(append(check.Attr(1, check.Random(5)), check.Attr(2, check.Random(4))...)).Bytes()
	compare(t, "a message with two attributes", program, simple, parse(t, program, simple))
	for range 5 {
		b := check.Join(header(randomAttributes(0)), header(randomAttributes(0)))
		compare(t, "two messages with attributes", program, b, parse(t, program, b))
	}
	for _, n := range []uint16{0, 1, 3, 10, 0xffff} {
		body := check.Attr(1, check.Random(4))
		binary.NativeEndian.PutUint16(body, n)
		b := header(append(check.Attr(7, check.Random(3)), body...)).Bytes()
		compare(t, fmt.Sprintf("an attribute of 8 bytes that says that it has %d", n), program, b, parse(t, program, b))
	}
	// The last attribute of a message need not be padded, nor the last message.
	m := header(check.Attr(1, check.Random(5)))
	m.Body = m.Body[:9]
	b := m.Bytes()[:25]
	compare(t, "a message that ends where its attribute of 9 bytes does", program, b, parse(t, program, b))
	// A nested one that lies about what is in it.
	b = header(check.Attr(5|nested, append(check.U16(200), 1, 0, 2, 3))).Bytes()
	compare(t, "a nested attribute whose content is longer than itself", program, b, parse(t, program, b))
}

func checkAttributes(t *check.T) { checkAll(t, inGo) }

func checkC(t *check.T) {
	for what, b := range badHeaders() {
		compare(t, what, inC, b, parse(t, inC, b))
	}
	checkAll(t, inC)
}

// noise is random bytes in which there is something to read, now and then.
func noise() []byte {
	var b []byte
	for range 1 + rand.IntN(3) {
		b = append(b, header(randomAttributes(0)).Bytes()...)
	}
	for range rand.IntN(4) {
		b[rand.IntN(len(b))] = byte(rand.Uint32())
	}
	if rand.IntN(2) == 0 {
		b = b[:rand.IntN(len(b)+1)]
	}
	return b
}

func checkAgree(t *check.T) {
	for range 60 {
		b := noise()
		g, c := parse(t, inGo, b), parse(t, inC, b)
		if g.Out != c.Out || g.Status != c.Status {
			t.Fatalf("of the bytes\n%suser parse printed\n%sand anatomy parse\n%s", dump(b), indent(g.Out), strings.TrimSuffix(indent(c.Out), "\n"))
		}
		compare(t, "random bytes", inGo, b, g)
	}
}

// order is what a program is asked to build, and what has to come of it.
type order struct {
	args []string
	want []byte
}

func orders() []order {
	var all []order
	for n := range 4 {
		m := header(nil)
		o := order{args: []string{"build", fmt.Sprint(m.Type), fmt.Sprintf("%#x", m.Flags), fmt.Sprint(m.Seq), fmt.Sprint(m.PortID)}}
		for range n {
			typ, value := uint16(1+rand.UintN(1000)), check.Random(rand.IntN(20))
			m.Body = append(m.Body, check.Attr(typ, value)...)
			o.args = append(o.args, fmt.Sprintf("%d=%x", typ, value))
		}
		o.want = m.Bytes()
		all = append(all, o)
	}
	// One that surely has padding, and is the last.
	m := header(check.Attr(1, []byte("hello")))
	return append(all, order{
		[]string{"build", fmt.Sprint(m.Type), fmt.Sprint(m.Flags), fmt.Sprint(m.Seq), fmt.Sprint(m.PortID), "1=68656c6c6f"},
		m.Bytes(),
	})
}

func checkBuilt(t *check.T) {
	for _, o := range orders() {
		r := check.Run(t, "", inGo, o.args...)
		r.Succeeded(t, "user build")
		got, what := []byte(r.Out), "user "+strings.Join(o.args, " ")
		if len(got) == len(o.want) && binary.NativeEndian.Uint32(got) == uint32(len(got)-16) {
			t.Mistake("payload-length", "%s: nlmsg_len is %d, and the message has %d bytes", what, len(got)-16, len(got))
		}
		if padded(got, o.want) {
			t.Mistake("padded-attribute", "%s: the attributes are\n%swant\n%s", what, dump(got[16:]), strings.TrimSuffix(dump(o.want[16:]), "\n"))
		}
		t.Compare(what, o.want, got)
	}
}

func checkBuiltInC(t *check.T) {
	for _, o := range orders() {
		r := check.Run(t, "", inC, o.args...)
		r.Succeeded(t, "anatomy build")
		got, what := []byte(r.Out), "anatomy "+strings.Join(o.args, " ")
		if padded(got, o.want) {
			t.Mistake("space-as-length", "%s: the attributes are\n%swant\n%s", what, dump(got[16:]), strings.TrimSuffix(dump(o.want[16:]), "\n"))
		}
		t.Compare(what, o.want, got)
	}
}

// padded says whether two messages differ in nothing but the lengths of
// attributes, which count the padding in got.
func padded(got, want []byte) bool {
	if len(got) != len(want) || string(got) == string(want) || string(got[:16]) != string(want[:16]) {
		return false
	}
	for g, w := got[16:], want[16:]; len(w) >= 4; {
		n := int(binary.NativeEndian.Uint16(w))
		if int(binary.NativeEndian.Uint16(g)) != (n+3)&^3 || string(g[2:n]) != string(w[2:n]) {
			return false
		}
		g, w = after(g, n), after(w, n)
	}
	return true
}

// exchange is what the picture shows.
func exchange(*check.T) []check.Datagram {
	body := append(check.Attr(1, []byte("hello")), check.Attr(2|nested, check.Attr(1, []byte{0xde, 0xad, 0xbe, 0xef}))...)
	m := check.Message{Type: 16, Flags: 5, Seq: 7, PortID: 4711, Body: body}
	return []check.Datagram{{Title: "a message with two attributes, the second of which is nested", Protocol: check.LabProtocol, Data: m.Bytes()}}
}
