// SPDX-License-Identifier: MIT

package cli

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// How much of a payload is shown, in bytes.
const (
	shownText = 60
	shownHex  = 16
)

// Quote shows bytes as a quoted string: what cannot be printed is escaped, and
// what is long is cut off and followed by "...".
func Quote(b []byte) string {
	cut := ""
	if len(b) > shownText {
		end := shownText
		for end > shownText-utf8.UTFMax && !utf8.RuneStart(b[end]) {
			end--
		}
		b, cut = b[:end], "..."
	}
	return strconv.Quote(string(b)) + cut
}

// Printable shows bytes as a quoted string if all of them can be printed, else
// as hexadecimal digits, cut off if long.
func Printable(b []byte) string {
	if Readable(b) {
		return Quote(b)
	}
	if len(b) > shownHex {
		return hex.EncodeToString(b[:shownHex]) + "..."
	}
	return hex.EncodeToString(b)
}

// Readable says that b is text that can be printed.
func Readable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) && r != '\t' && r != '\n' {
			return false
		}
		b = b[n:]
	}
	return true
}

// Millis writes a duration in milliseconds with three digits after the point.
func Millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e6, 'f', 3, 64)
}

// Unix writes a point in time as ping -D does: seconds since 1970 with six
// digits after the point.
func Unix(t time.Time) string {
	us := t.UnixMicro()
	s := strconv.FormatInt(us/1e6, 10)
	frac := strconv.FormatInt(us%1e6+1e6, 10)
	return "[" + s + "." + frac[1:] + "]"
}
