// SPDX-License-Identifier: MIT

package nlctl

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	// A line of xxd: "00000010: 6865 6c6c 6f  hello", or of hexdump -C:
	// "00000010  68 65 6c 6c  6f  |hello|".
	xxdLine     = regexp.MustCompile(`^([0-9a-fA-F]+):[ \t](.*?)(?:  .*)?$`)
	hexdumpLine = regexp.MustCompile(`^([0-9a-fA-F]{7,})  (.*?)(?: *\|.*\|)?$`)
	hexdumpEnd  = regexp.MustCompile(`^[0-9a-fA-F]{7,}$`)

	// What separates bytes.
	between = regexp.MustCompile(`[\s,;"']+|\\x|\b0[xX]`)
	comment = regexp.MustCompile(`(?://|#).*|/\*.*?\*/`)
)

// parseHex reads bytes as people and programs write them: plain digits, xxd,
// hexdump -C, and arrays and strings of C.
func parseHex(text string) ([]byte, error) {
	// Of a program, what is in the braces.
	if _, after, ok := strings.Cut(text, "{"); ok {
		body, _, closed := strings.Cut(after, "}")
		if !closed {
			return nil, errors.New("a brace is opened and not closed")
		}
		text = strings.Repeat("\n", strings.Count(text[:len(text)-len(after)], "\n")) + body
	}

	var b, last []byte // and the bytes of the last line of a dump
	var at string      // its offset
	var dump, equal bool
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		offset, end := "", false
		if m := xxdLine.FindStringSubmatch(line); m != nil {
			offset, line = m[1], m[2]
		} else if m := hexdumpLine.FindStringSubmatch(line); m != nil && strings.Contains(m[2], " ") {
			offset, line, dump = m[1], m[2], true
		} else if dump && hexdumpEnd.MatchString(line) {
			offset, line, end = line, "", true
		} else if line == "*" && len(last) > 0 {
			equal = true
			continue
		}
		if equal && offset == "" && line != "" {
			return nil, fmt.Errorf("line %d: %w", n+1, errNoOffset)
		}
		if equal && offset != "" {
			size, err := gap(at, offset, len(last), end)
			switch {
			case err != nil:
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			case size > maxBytes-len(b):
				return nil, fmt.Errorf("line %d: up to offset %s it is more than %d MiB", n+1, offset, maxBytes>>20)
			}
			b = append(b, bytes.Repeat(last, size/len(last)+1)[:size]...)
			equal = false
		}
		before := len(b)
		for _, word := range between.Split(comment.ReplaceAllString(line, " "), -1) {
			if len(word) == 1 {
				word = "0" + word
			}
			if len(word)%2 != 0 {
				return nil, fmt.Errorf("line %d: %q has an odd number of digits", n+1, shorten(word))
			}
			for i := 0; i < len(word); i += 2 {
				hi, lo := digit(word[i]), digit(word[i+1])
				if hi < 0 || lo < 0 {
					return nil, fmt.Errorf("line %d: %q", n+1, shorten(word))
				}
				b = append(b, byte(hi<<4|lo))
			}
		}
		if offset != "" {
			at, last = offset, b[before:]
		}
	}
	if equal {
		return nil, errNoOffset
	}
	if len(b) == 0 {
		return nil, errors.New("it is empty")
	}
	return b, nil
}

// maxBytes is how many bytes a dump may have: as many as plain digits can.
const maxBytes = maxHex / 2

var errNoOffset = errors.New("* stands for lines up to an offset, which is missing")

// gap returns how many bytes are missing between a line of a dump, with its offset
// and its length, and the next offset. They are whole lines, but maybe at the end.
func gap(at, next string, line int, end bool) (int, error) {
	from, err := strconv.ParseInt(at, 16, 64)
	to, nerr := strconv.ParseInt(next, 16, 64)
	n := to - from - int64(line)
	if err != nil || nerr != nil || to <= from || n <= 0 || n%int64(line) != 0 && !end {
		return 0, fmt.Errorf("offset %s does not fit to the lines that * stands for", shorten(next))
	}
	return int(min(n, maxBytes+1)), nil
}

func shorten(word string) string {
	if len(word) > 20 {
		return word[:20] + "..."
	}
	return word
}

// digit returns the value of a hexadecimal digit, -1 if it is none.
func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
