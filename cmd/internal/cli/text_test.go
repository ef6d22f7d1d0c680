// SPDX-License-Identifier: MIT

package cli_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/fuzzing"
)

func TestQuote(t *testing.T) {
	for b, want := range map[string]string{
		"":                              `""`,
		"hello":                         `"hello"`,
		"say \"hi\"\n":                  `"say \"hi\"\n"`,
		"\x1b[31m\xff\x00":              `"\x1b[31m\xff\x00"`,
		"Grüße":                         `"Grüße"`,
		strings.Repeat("a", 60):         `"` + strings.Repeat("a", 60) + `"`,
		strings.Repeat("a", 61):         `"` + strings.Repeat("a", 60) + `"...`,
		strings.Repeat("a", 59) + "üüü": `"` + strings.Repeat("a", 59) + `"...`,
		strings.Repeat("\x80", 61):      `"` + strings.Repeat(`\x80`, 56) + `"...`,
	} {
		if got := cli.Quote([]byte(b)); got != want {
			t.Errorf("Quote(%q) = %s, want %s", b, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for b, want := range map[string]string{
		"":                                  `""`,
		"text":                              `"text"`,
		"\x00\x01\xfe":                      "0001fe",
		strings.Repeat("\x00", 9):           strings.Repeat("00", 9),
		"\xff" + strings.Repeat("\x00", 16): "ff" + strings.Repeat("00", 15) + "...",
	} {
		if got := cli.Printable([]byte(b)); got != want {
			t.Errorf("Printable(%q) = %s, want %s", b, got, want)
		}
	}
}

func TestUnix(t *testing.T) {
	if got, want := cli.Unix(time.Unix(1700000000, 1234999)), "[1700000000.001234]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Nothing that is shown may reach the terminal as a control sequence.
func FuzzPrintable(f *testing.F) {
	f.Add([]byte("hello"))
	f.Add([]byte("\x1b]0;title\x07"))
	f.Add([]byte(strings.Repeat("ü", 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer fuzzing.Limit(b)()
		for _, s := range []string{cli.Quote(b), cli.Printable(b)} {
			if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
				t.Errorf("%q is shown as %q", b, s)
			}
			if len(s) > 4*64+8 {
				t.Errorf("%d bytes are shown in %d", len(b), len(s))
			}
		}
	})
}
