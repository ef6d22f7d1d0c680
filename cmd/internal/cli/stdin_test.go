// SPDX-License-Identifier: MIT

package cli_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
)

func TestLines(t *testing.T) {
	for _, test := range []struct {
		name, in string
		want     []string
		err      string
	}{
		{"nothing", "", nil, ""},
		{"lines", "a\nb\n", []string{"a", "b"}, ""},
		{"last line without end", "a\nb", []string{"a", "b"}, ""},
		{"empty lines", "\n\na\n", []string{"", "", "a"}, ""},
		{"carriage return is kept", "a\r\n", []string{"a\r"}, ""},
		{"as long as can be", "12345678\n", []string{"12345678"}, ""},
		{"as long as can be, without end", "12345678", []string{"12345678"}, ""},
		{"too long", "a\n123456789\nb\n", []string{"a"}, "standard input: line 2 is longer than 8 bytes"},
		{"too long, without end", "a\n123456789", []string{"a"}, "standard input: line 2 is longer than 8 bytes"},
		{"far too long", strings.Repeat("x", 100), nil, "standard input: line 1 is longer than 8 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Too short a limit for bufio would be raised to 16.
			scale := func(s string) string { return strings.ReplaceAll(s, "12345678", strings.Repeat("12345678", 4)) }
			lines, failed := cli.Lines(t.Context(), iotest.OneByteReader(strings.NewReader(scale(test.in))), 32)
			var got []string
			for line := range lines {
				got = append(got, string(line))
			}
			var want []string
			for _, line := range test.want {
				want = append(want, scale(line))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			text := ""
			if err := failed(); err != nil {
				text = err.Error()
			}
			if want := strings.ReplaceAll(test.err, "than 8", "than 32"); text != want {
				t.Errorf("error %q, want %q", text, want)
			}
		})
	}
}

func TestLinesReadError(t *testing.T) {
	in := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(&os.PathError{Op: "read", Path: "/dev/stdin", Err: errors.New("is a directory")}))
	lines, failed := cli.Lines(t.Context(), in, 100)
	n := 0
	for range lines {
		n++
	}
	if err := failed(); n != 1 || err == nil || err.Error() != "standard input: line 2: is a directory" {
		t.Errorf("%d lines, error %v", n, err)
	}
}

func TestLinesStop(t *testing.T) {
	// The bubble fails if the reader is left behind.
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lines, _ := cli.Lines(ctx, strings.NewReader("a\nb\nc\n"), 100)
		<-lines
		cancel()
	})
}

func TestTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for name, stream := range map[string]any{"/dev/null": null, "a pipe": r, "no file": strings.NewReader("")} {
		if cli.Terminal(stream) {
			t.Errorf("%s is a terminal", name)
		}
	}
	if tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil {
		defer tty.Close()
		if !cli.Terminal(tty) {
			t.Error("a pseudo terminal is no terminal")
		}
	}
}
