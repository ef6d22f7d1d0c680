// SPDX-License-Identifier: MIT

package gdb_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/gdb"
)

// An exchange is one request that a stub expects, byte for byte with its frame,
// and the bytes that it says then.
type exchange struct {
	want, say string
}

// packet frames data whose bytes need no escape.
func packet(data string) string {
	var sum byte
	for i := range len(data) {
		sum += data[i]
	}
	return fmt.Sprintf("$%s#%02x", data, sum)
}

// stub plays the other side of a conversation, and fails the test if that goes
// otherwise.
func stub(t *testing.T, script ...exchange) *gdb.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer theirs.Close()
		r := bufio.NewReader(theirs)
		for _, e := range script {
			got := make([]byte, len(e.want))
			if _, err := io.ReadFull(r, got); err != nil {
				done <- fmt.Errorf("waiting for %q: %w, got %q", e.want, err, got)
				return
			}
			if string(got) != e.want {
				done <- fmt.Errorf("got %q, want %q", got, e.want)
				return
			}
			if _, err := io.WriteString(theirs, e.say); err != nil {
				done <- fmt.Errorf("saying %q: %w", e.say, err)
				return
			}
		}
		done <- nil
	}()
	t.Cleanup(func() {
		ours.Close()
		if err := <-done; err != nil {
			t.Errorf("stub: %v", err)
		}
	})
	return gdb.New(ours)
}

// The checksums here are written out, not computed by code like that under test.
func TestConversation(t *testing.T) {
	c := stub(t,
		exchange{"$Z0,401000,1#38", "+$OK#9a"},
		exchange{"+$c#63", "+$T05thread:01;#07"},
		exchange{"+$s#73", "+$S05#b8"},
		exchange{"+$m401000,4#f2", "+$f30f1efa#8c"},
		exchange{"+$z0,401000,1#58", "+$OK#9a"},
		exchange{"+$D#44", "+$OK#9a"},
	)
	if err := c.SetBreakpoint(0x401000); err != nil {
		t.Error(err)
	}
	if signal, err := c.Continue(); signal != gdb.Trap || err != nil {
		t.Errorf("continue: %d, %v", signal, err)
	}
	if signal, err := c.Step(); signal != gdb.Trap || err != nil {
		t.Errorf("step: %d, %v", signal, err)
	}
	if code, err := c.Memory(0x401000, 4); string(code) != "\xf3\x0f\x1e\xfa" || err != nil {
		t.Errorf("memory: %x, %v", code, err)
	}
	if err := c.ClearBreakpoint(0x401000); err != nil {
		t.Error(err)
	}
	if err := c.Detach(); err != nil {
		t.Error(err)
	}
}

func registers(set map[int]string) string {
	var b strings.Builder
	for i := range 17 {
		if word, ok := set[i]; ok {
			b.WriteString(word)
		} else {
			fmt.Fprintf(&b, "%02x00000000000000", i)
		}
	}
	return b.String()
}

func TestRegisters(t *testing.T) {
	all := registers(map[int]string{7: "f0deffff01c9ffff", 16: "8877665544332211"})
	c := stub(t, exchange{"$g#67", "+" + packet(all+"46020000")})
	got, err := c.Registers()
	want := gdb.Registers{SP: 0xffffc901ffffdef0, PC: 0x1122334455667788}
	if got != want || err != nil {
		t.Errorf("%#x, %v, want %#x", got, err, want)
	}
}

func TestRegistersRefused(t *testing.T) {
	for _, answer := range []string{"", "00", registers(nil)[:16*17-1], registers(map[int]string{16: "xxxxxxxxxxxxxxxx"})} {
		c := stub(t, exchange{"$g#67", "+" + packet(answer)})
		if got, err := c.Registers(); err == nil {
			t.Errorf("%q: %+v and no error", answer, got)
		}
	}
}

// What a stub may do to the bytes of an answer: escape them, and write a run as
// one byte and a count.
func TestEscapesAndRuns(t *testing.T) {
	for _, tt := range []struct {
		answer, memory string
	}{
		{"}\x16}\x17", "\x67"},
		{"0* ", "\x00\x00"},                // ' ' is 29 and 3 more
		{"6*\"11", "\x66\x66\x66\x11"},     // '"' is 29 and 5
		{"}\x10*!0", "\x00\x00\x00"},       // an escaped 0, and 4 more
		{"a*!b*!", "\xaa\xaa\xab\xbb\xbb"}, // two runs
		{"4}\x03}\x03", ""},                // "4##" is no memory
		{"00*", ""},                        // nothing follows
		{"00}", ""},                        //
		{"* 00", ""},                       // nothing to repeat
		{"0*\x1d0", ""},                    // none more
		{strings.Repeat("00", 33<<10), ""}, // too long
		{"0011", ""},                       // two bytes for one
	} {
		length := max(1, len(tt.memory))
		c := stub(t, exchange{packet(fmt.Sprintf("m10,%x", length)), "+" + packet(tt.answer)})
		got, err := c.Memory(0x10, length)
		if string(got) != tt.memory || (err == nil) != (tt.memory != "") {
			t.Errorf("%.40q: %x, %v, want %x", tt.answer, got, err, tt.memory)
		}
	}
}

func TestTooLong(t *testing.T) {
	c := stub(t, exchange{"$g#67", "+" + packet(strings.Repeat("0", 64<<10+1))})
	if _, err := c.Registers(); err == nil || !strings.Contains(err.Error(), "longer than 65536 bytes") {
		t.Errorf("a packet without end: %v", err)
	}
}

// A damaged answer is asked for again, three times.
func TestDamagedAnswer(t *testing.T) {
	c := stub(t,
		exchange{"$m10,1#2b", "+$6x#67"},
		exchange{"-", "$67#zz"},
		exchange{"-", "$67#6d"},
		exchange{"+$m11,1#2c", "+$68#6e"})
	if got, err := c.Memory(0x10, 1); string(got) != "\x67" || err != nil {
		t.Errorf("%x, %v", got, err)
	}
	if got, err := c.Memory(0x11, 1); string(got) != "\x68" || err != nil {
		t.Errorf("%x, %v", got, err)
	}

	c = stub(t,
		exchange{"$m10,1#2b", "+$67#00"},
		exchange{"-", "$67#00"},
		exchange{"-", "$67#00"},
		exchange{"-", "$67#00"})
	if _, err := c.Memory(0x10, 1); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("after four damaged answers: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	var refused *gdb.Error
	c := stub(t, exchange{"$m0,1#fa", "+" + packet("E14")}, exchange{"+" + packet("Z0,1,1"), "+" + packet("E22")})
	if _, err := c.Memory(0, 1); !errors.As(err, &refused) || refused.Number != 0x14 {
		t.Errorf("memory that is not there: %v", err)
	}
	if err := c.SetBreakpoint(1); !errors.As(err, &refused) || refused.Number != 0x22 {
		t.Errorf("breakpoint: %v", err)
	}

	c = stub(t, exchange{packet("Z0,1,1"), "+$#00"})
	if err := c.SetBreakpoint(1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a stub without breakpoints: %v", err)
	}
	c = stub(t, exchange{packet("z0,1,1"), "+" + packet("no")})
	if err := c.ClearBreakpoint(1); err == nil || !strings.Contains(err.Error(), `"no"`) {
		t.Errorf("an answer that means nothing: %v", err)
	}
	c = stub(t, exchange{packet("D"), "-"})
	if err := c.Detach(); err == nil || !strings.Contains(err.Error(), "refuses") {
		t.Errorf("a request that is refused: %v", err)
	}
	c = stub(t, exchange{packet("D"), "hello"})
	if err := c.Detach(); err == nil || !strings.Contains(err.Error(), "'h'") {
		t.Errorf("no packet: %v", err)
	}
}

func TestEnd(t *testing.T) {
	for _, answer := range []string{"W00", "X09"} {
		c := stub(t, exchange{packet("c"), "+" + packet(answer)})
		if _, err := c.Continue(); !errors.Is(err, gdb.ErrExited) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	for _, answer := range []string{"T", "T0", "Txy", "hello", ""} {
		c := stub(t, exchange{packet("s"), "+" + packet(answer)})
		if _, err := c.Step(); err == nil || errors.Is(err, gdb.ErrExited) {
			t.Errorf("%q: %v", answer, err)
		}
	}
	for _, say := range []string{"", "+", "+$T05", "+$T05#", "+$T05#b"} {
		c := stub(t, exchange{packet("c"), say})
		if _, err := c.Continue(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("an end after %q: %v", say, err)
		}
	}
}
