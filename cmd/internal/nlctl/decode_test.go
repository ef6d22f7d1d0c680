// SPDX-License-Identifier: MIT

package nlctl_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlctl"
	"nlpeer/internal/fuzzing"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/wire"
)

var echo = wire.AppendMessage(nil, wire.Header{Type: wire.MsgEcho, Flags: wire.FlagRequest, Seq: 1}, []byte("hello"))

func picture(protocol int, direction explain.Direction, data []byte) string {
	d := explain.Decoder{RawProtocol: 31}
	var text []byte
	for _, m := range d.Decode(explain.Datagram{Protocol: protocol, Direction: direction, Data: data}) {
		text = append(m.AppendText(text), '\n')
	}
	return string(text)
}

// The same bytes, as programs write them.
func TestDecodeHex(t *testing.T) {
	digits := hex.EncodeToString(echo)
	var spaced, c, escaped strings.Builder
	for _, b := range echo {
		spaced.WriteString(hex.EncodeToString([]byte{b}) + " ")
		c.WriteString("0x" + strings.TrimPrefix(hex.EncodeToString([]byte{b}), "0") + ", ")
		escaped.WriteString(`\x` + hex.EncodeToString([]byte{b}))
	}
	want := picture(31, explain.Unknown, echo)
	if !strings.HasPrefix(want, "NETLINK_TEST echo, 24 bytes\n") {
		t.Fatal(want)
	}
	for name, text := range map[string]string{
		"plain":      digits,
		"upper case": strings.ToUpper(digits) + "\n",
		"xxd -p":     digits[:20] + "\n" + digits[20:] + "\n",
		"spaced":     "  " + spaced.String(),
		"C array":    "static const unsigned char echo[] = { /* nlmsghdr */\n\t" + c.String() + "// ff\n};\nunsigned int echo_len = 24;\n",
		"C string":   `"` + escaped.String()[:48] + "\"\n\"" + escaped.String()[48:] + "\";\n",
		"commented":  "# the header\n" + digits[:32] + " # and ff\n" + digits[32:],
		"xxd": "00000000: 1500 0000 1000 0100 0100 0000 0000 0000  ................\n" +
			"00000010: 6865 6c6c 6f00 0000                      hello...\n",
		"hexdump -C": "00000000  15 00 00 00 10 00 01 00  01 00 00 00 00 00 00 00  |................|\n" +
			"00000010  68 65 6c 6c 6f 00 00 00                           |hello...|\n00000018\n",
	} {
		got := clitest.RunInput(t.Context(), nlctl.Command, strings.NewReader(text), "decode")
		if diff := cmp.Diff(clitest.Result{Out: want}, got); diff != "" {
			t.Errorf("%s: %q (-want +got):\n%s", name, text, diff)
		}
	}

	file := filepath.Join(t.TempDir(), "echo.hex")
	if err := os.WriteFile(file, []byte(digits), 0o644); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"decode " + file:               want,
		"decode --protocol 16 " + file: picture(16, explain.Unknown, echo),
		"decode -p 25 " + file:         want,
	} {
		got := clitest.Run(t.Context(), nlctl.Command, strings.Fields(args)...)
		if diff := cmp.Diff(clitest.Result{Out: want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}

	generic := wire.AppendMessage(nil, wire.Header{Type: 0x1f, Flags: wire.FlagRequest}, []byte{wire.CmdStatsGet, 1, 0, 0})
	for args, want := range map[string]string{"--family 0x1f": "nlpeer stats-get, 20 bytes\n", "--family 32": "family 31 command 2, 20 bytes\n"} {
		got := clitest.RunInput(t.Context(), nlctl.Command, strings.NewReader(hex.EncodeToString(generic)), append(strings.Fields(args), "-p", "16", "decode")...)
		if got.Code != cli.ExitOK || !strings.HasPrefix(got.Out, want) {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}

	got := clitest.RunInput(t.Context(), nlctl.Command, strings.NewReader(digits), "decode", "-o", "json")
	var m struct{ Type, Direction, Summary string }
	if err := json.Unmarshal([]byte(got.Out), &m); err != nil || m != struct{ Type, Direction, Summary string }{"message", "unknown", "NETLINK_TEST echo"} {
		t.Errorf("%+v: %+v, %v", got, m, err)
	}
}

// An asterisk stands for lines that are the same as the one before it.
func TestHexDumpOfEqualLines(t *testing.T) {
	const (
		zeros = "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
		third = "00000030  68 69                                             |hi|\n"
	)
	for name, test := range map[string]struct {
		text string
		want []byte // nil if the text makes no sense
		err  string
	}{
		"hexdump -C":           {zeros + "*\n" + third + "00000032\n", append(make([]byte, 48), "hi"...), ""},
		"at its end":           {zeros + "*\n00000030\n", make([]byte, 48), ""},
		"its end is no line":   {zeros + "*\n00000028\n", make([]byte, 40), ""},
		"of a part of a file":  {strings.Replace(zeros, "00000000", "00000fd0", 1) + "*\n00001000\n", make([]byte, 48), ""},
		"twice":                {zeros + "*\n" + strings.Replace(zeros, "00000000  00", "00000020  07", 1) + "*\n00000040\n", append(make([]byte, 32), slices.Repeat([]byte("\x07"+strings.Repeat("\x00", 15)), 2)...), ""},
		"xxd -a":               {"00000000: 0000 0000 0000 0000  ........\n*\n00000018: 6869 0a              hi.\n", append(make([]byte, 24), "hi\n"...), ""},
		"not forward":          {zeros + "*\n00000010\n", nil, "line 3: offset 00000010 does not fit to the lines that * stands for"},
		"back":                 {strings.Replace(zeros, "00000000", "7fffffffffffffff", 1) + "*\n00000000\n", nil, "line 3: offset 00000000 does not fit to the lines that * stands for"},
		"not whole lines":      {zeros + "*\n" + strings.Replace(third, "30", "31", 1), nil, "line 3: offset 00000031 does not fit to the lines that * stands for"},
		"more than there is":   {zeros + "*\nffffffffffffffffffff\n", nil, "line 3: offset ffffffffffffffffffff does not fit to the lines that * stands for"},
		"too many":             {zeros + "*\n7ffffffffffffff0\n", nil, "line 3: up to offset 7ffffffffffffff0 it is more than 32 MiB"},
		"nothing follows":      {zeros + "*\n", nil, "* stands for lines up to an offset, which is missing"},
		"no offset follows":    {zeros + "*\n0000\n", nil, "line 3: * stands for lines up to an offset, which is missing"},
		"before any line":      {"*\n" + zeros, nil, `line 1: "0*"`},
		"after the last":       {zeros + "00000010\n*\n00000020\n", nil, `line 3: "0*"`},
		"between plain digits": {"1500\n*\n1600", nil, `line 2: "0*"`},
	} {
		got, err := nlctl.ParseHex(test.text)
		if !bytes.Equal(got, test.want) || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
			t.Errorf("%s: %x, %v, want %x, %s", name, got, err, test.want, test.err)
		}
	}
}

func TestDecodeCapture(t *testing.T) {
	var b bytes.Buffer
	w := capture.NewWriter(&b, "test")
	var want string
	for i := range 3 {
		p := capture.Packet{Datagram: explain.Datagram{Protocol: 31, Direction: explain.Sent + explain.Direction(i%2), Data: echo}, Time: time.Unix(1, 0)}
		if err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		want += picture(31, p.Direction, echo)
	}
	one := strings.Index(want, "received:")
	whole := bytes.Clone(b.Bytes())
	short := capture.Packet{Datagram: explain.Datagram{Protocol: 31, Data: echo[:18]}, Size: len(echo), Time: time.Unix(2, 0)}
	if err := w.Write(short); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for name, test := range map[string]struct {
		file []byte
		want clitest.Result
	}{
		"whole":      {whole, clitest.Result{Out: want}},
		"cut short":  {whole[:len(whole)-len(whole)/3], clitest.Result{Code: cli.ExitFailed, Out: want[:one], Err: "nlctl: " + file + ": the file is cut short after datagram 1\n"}},
		"beginnings": {b.Bytes(), clitest.Result{Code: cli.ExitFailed, Out: want + picture(31, explain.Received, echo[:18]), Err: "nlctl: " + file + ": only the beginnings were captured of 1 of 4 datagrams\n"}},
		"unknown":    {[]byte("hello, world"), clitest.Result{Code: cli.ExitError, Err: "nlctl: " + file + ` is neither pcap, pcapng nor hexadecimal digits: line 1: "hello" has an odd number of digits` + "\n"}},
		"empty":      {nil, clitest.Result{Code: cli.ExitError, Err: "nlctl: " + file + " is neither pcap, pcapng nor hexadecimal digits: it is empty\n"}},
		"ethernet": {append([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00"), "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00"...),
			clitest.Result{Code: cli.ExitError, Err: "nlctl: " + file + ": its packets have link type 1, not 253, netlink\n"}},
		"brace":   {[]byte("{ 0x15,"), clitest.Result{Code: cli.ExitError, Err: "nlctl: " + file + " is neither pcap, pcapng nor hexadecimal digits: a brace is opened and not closed\n"}},
		"letters": {[]byte("1500\n15zz"), clitest.Result{Code: cli.ExitError, Err: "nlctl: " + file + ` is neither pcap, pcapng nor hexadecimal digits: line 2: "15zz"` + "\n"}},
	} {
		if err := os.WriteFile(file, test.file, 0o644); err != nil {
			t.Fatal(err)
		}
		got := clitest.Run(t.Context(), nlctl.Command, "decode", file)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	missing := filepath.Join(dir, "missing")
	got := clitest.Run(t.Context(), nlctl.Command, "decode", missing)
	if diff := cmp.Diff(clitest.Result{Code: cli.ExitError, Err: "nlctl: open " + missing + ": no such file or directory\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := os.WriteFile(file, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	got = clitest.Run(t.Context(), nlctl.Command, "decode", "-p", "16", file)
	if got.Code != cli.ExitError || !strings.HasPrefix(got.Err, "nlctl: a capture says itself which protocol it is; --protocol can only tell") {
		t.Errorf("%+v", got)
	}
}

// ends returns what a command that is interrupted left behind.
func ends(t *testing.T, ctx context.Context, in io.Reader, args ...string) clitest.Result {
	t.Helper()
	var s store
	ended := make(chan clitest.Result, 1)
	go func() { ended <- clitest.RunInput(ctx, nlctl.CommandWith(s.dial, nil), in, args...) }()
	select {
	case got := <-ended:
		return got
	case <-time.After(10 * time.Second):
		t.Fatalf("%q goes on after Ctrl-C", args)
		panic("unreachable")
	}
}

// fifo returns a FIFO that nobody has opened.
func fifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Ctrl-C ends a command while it waits for input, and while it waits for somebody
// to write to a FIFO.
func TestInputInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	name := fifo(t)
	for what, test := range map[string]struct {
		args []string
		want clitest.Result
	}{
		"decode":              {[]string{"decode"}, clitest.Result{Code: cli.ExitFailed}},
		"decode a FIFO":       {[]string{"decode", name}, clitest.Result{Code: cli.ExitFailed}},
		"a value":             {[]string{"object", "add", "key", "-"}, clitest.Result{Code: cli.ExitError, Err: "nlctl: standard input: interrupted\n"}},
		"a value from a FIFO": {[]string{"object", "replace", "key", "@" + name}, clitest.Result{Code: cli.ExitError, Err: "nlctl: @" + name + ": interrupted\n"}},
	} {
		t.Run(what, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ends(t, ctx, r, test.args...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The same, once somebody has opened the FIFO and writes nothing.
func TestBatchInputInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	name := fifo(t)
	writer := make(chan *os.File, 1)
	go func() {
		defer cancel()
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil { // as soon as it is opened to be read
			writer <- f
		}
	}()
	got := ends(t, ctx, strings.NewReader("add key @"+name+"\n"), "object", "batch")
	(<-writer).Close()
	// Who is interrupted may be the batch or its line.
	if got.Code != cli.ExitError || got.Out != "" || !strings.Contains(got.Err, "interrupted") {
		t.Errorf("%+v", got)
	}
}

// A watcher is written to, and says so before it takes the first bytes.
type watcher struct {
	first func()
	once  sync.Once
	bytes int
}

func (w *watcher) Write(p []byte) (int, error) {
	w.once.Do(w.first)
	w.bytes += len(p)
	return len(p), nil
}

// Ctrl-C ends it between two messages, and nothing is written after the end.
func TestDecodeInterruptedWhileWriting(t *testing.T) {
	var file bytes.Buffer
	w := capture.NewWriter(&file, "test")
	for range 3 {
		if err := w.Write(capture.Packet{Time: time.Unix(1, 0), Size: len(echo), Datagram: explain.Datagram{Protocol: wire.NetlinkTest, Data: echo}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended, written := make(chan struct{}), make(chan struct{})
	out := &watcher{first: func() {
		defer close(written)
		cancel()
		select {
		case <-ended:
			t.Error("the command has ended, and writes")
		case <-time.After(50 * time.Millisecond):
		}
	}}
	var errs bytes.Buffer
	code := cli.Run(ctx, nlctl.Command, cli.NewStreams(&file, out, &errs), []string{"decode"})
	close(ended)
	<-written
	if one := len(picture(wire.NetlinkTest, explain.Unknown, echo)); code != cli.ExitFailed || errs.Len() > 0 || out.bytes >= 2*one {
		t.Errorf("exit code %d, standard error %q, %d bytes for a message of %d", code, &errs, out.bytes, one)
	}
}

func FuzzParseHex(f *testing.F) {
	for _, s := range []string{"15000000", "0x1, 0x2", `"\x15\x00"`, "00000000: 1500 0000  ..", "{ 1, 2 }", "00000000  15 00  |..|\n00000002", "00000000  15 00  |..|\n*\n00000006"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		defer fuzzing.Limit(s)()
		b, err := nlctl.ParseHex(s)
		if (err == nil) != (len(b) > 0) {
			t.Errorf("%q gives %x, %v", s, b, err)
		}
		if again, err2 := nlctl.ParseHex(hex.EncodeToString(b)); err == nil && (err2 != nil || !bytes.Equal(again, b)) {
			t.Errorf("%x is read back as %x, %v", b, again, err2)
		}
	})
}
