// SPDX-License-Identifier: MIT

package wire_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/internal/fuzzing"
	"nlpeer/vm-test/internal/wire"
)

// stream is a Conn's underlying stream: written frames are read back.
type stream struct{ bytes.Buffer }

func TestFramesRoundTrip(t *testing.T) {
	want := []wire.Frame{
		{Type: wire.Stdout, Payload: []byte("hello\x00\xff\n")},
		{Type: wire.StdinEOF, Payload: []byte{}},
		{Type: wire.Files, Payload: bytes.Repeat([]byte{0xa5}, wire.MaxPayload)},
		{Type: wire.Exit, Payload: []byte("{}")},
	}
	conn := wire.NewConn(&stream{})
	for _, f := range want {
		if err := conn.Send(f.Type, f.Payload); err != nil {
			t.Fatalf("send frame %d: %v", f.Type, err)
		}
	}
	var got []wire.Frame
	for range want {
		f, err := conn.Receive()
		if err != nil {
			t.Fatalf("receive after %d frames: %v", len(got), err)
		}
		got = append(got, f)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames changed on their way (-want +got):\n%s", diff)
	}
	if _, err := conn.Receive(); err != io.EOF {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

func TestSendRefusesTooLong(t *testing.T) {
	s := &stream{}
	err := wire.NewConn(s).Send(wire.Stdout, make([]byte, wire.MaxPayload+1))
	if !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
	if s.Len() != 0 {
		t.Errorf("%d bytes were sent all the same", s.Len())
	}
}

func encoded(t *testing.T, payload string) []byte {
	t.Helper()
	s := &stream{}
	if err := wire.NewConn(s).Send(wire.Stdout, []byte(payload)); err != nil {
		t.Fatal(err)
	}
	return s.Bytes()
}

func TestTruncatedStream(t *testing.T) {
	whole := encoded(t, "payload")
	for n := 1; n < len(whole); n++ {
		s := &stream{*bytes.NewBuffer(whole[:n])}
		if _, err := wire.NewConn(s).Receive(); err != io.ErrUnexpectedEOF {
			t.Errorf("first %d of %d bytes: error %v, want io.ErrUnexpectedEOF", n, len(whole), err)
		}
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	n := len(encoded(t, "payload"))
	// More bytes follow, so that a longer length does not end the stream.
	text := append(encoded(t, "payload"), make([]byte, wire.MaxPayload)...)
	for i := range n {
		for bit := range 8 {
			text[i] ^= 1 << bit
			conn := wire.NewConn(struct {
				io.Reader
				io.Writer
			}{bytes.NewReader(text), nil})
			if f, err := conn.Receive(); err == nil {
				t.Errorf("byte %d bit %d: accepted as %d %q", i, bit, f.Type, f.Payload)
			}
			text[i] ^= 1 << bit
		}
	}
}

func TestChecksumError(t *testing.T) {
	bad := encoded(t, "payload")
	bad[len(bad)-1] ^= 1
	_, err := wire.NewConn(&stream{*bytes.NewBuffer(bad)}).Receive()
	if !errors.Is(err, wire.ErrChecksum) {
		t.Errorf("error %v, want ErrChecksum", err)
	}
}

func TestStreamWriterSplits(t *testing.T) {
	conn := wire.NewConn(&stream{})
	want := bytes.Repeat([]byte("0123456789"), wire.MaxPayload/4)
	if n, err := conn.Writer(wire.Files).Write(want); n != len(want) || err != nil {
		t.Fatalf("wrote %d, %v, want %d", n, err, len(want))
	}
	var got []byte
	for len(got) < len(want) {
		f, err := conn.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Payload...)
	}
	if !bytes.Equal(want, got) {
		t.Error("the stream changed on its way")
	}
}

func TestValues(t *testing.T) {
	conn := wire.NewConn(&stream{})
	want := wire.Command{Argv: []string{"a", "ü\n"}, Terminal: &wire.Size{Rows: 25, Cols: 80}, Module: "/m.ko"}
	if err := conn.SendValue(wire.Run, want); err != nil {
		t.Fatal(err)
	}
	f, err := conn.Receive()
	if err != nil {
		t.Fatal(err)
	}
	var got wire.Command
	if err := f.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("value changed on its way (-want +got):\n%s", diff)
	}
	if err := (wire.Frame{Type: wire.Run, Payload: []byte("{")}).Decode(&got); err == nil {
		t.Error("half a value was decoded without an error")
	}
}

// FuzzReceive: whatever comes in, Receive ends without a panic, and a frame
// that it accepts is encoded to the same bytes again.
func FuzzReceive(f *testing.F) {
	s := &stream{}
	if err := wire.NewConn(s).Send(wire.Stdout, []byte("seed")); err != nil {
		f.Fatal(err)
	}
	f.Add(s.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		defer fuzzing.Limit(in)()
		frame, err := wire.NewConn(&stream{*bytes.NewBuffer(bytes.Clone(in))}).Receive()
		if err != nil {
			return
		}
		out := &stream{}
		if err := wire.NewConn(out).Send(frame.Type, frame.Payload); err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(in, out.Bytes()) {
			t.Errorf("accepted % x, which is encoded as % x", in, out.Bytes())
		}
	})
}
