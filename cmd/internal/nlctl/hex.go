// SPDX-License-Identifier: MIT

package nlctl

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	// A line of xxd: "00000010: 6865 6c6c 6f  hello", or of hexdump -C:
	// "00000010  68 65 6c 6c  6f  |hello|".
	xxdLine     = regexp.MustCompile(`^[0-9a-fA-F]+:[ \t](.*?)(?:  .*)?$`)
	hexdumpLine = regexp.MustCompile(`^[0-9a-fA-F]{7,}  (.*?)(?: *\|.*\|)?$`)
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

	var b []byte
	dump := false
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if m := xxdLine.FindStringSubmatch(line); m != nil {
			line = m[1]
		} else if m := hexdumpLine.FindStringSubmatch(line); m != nil && strings.Contains(m[1], " ") {
			line, dump = m[1], true
		} else if dump && hexdumpEnd.MatchString(line) {
			continue
		}
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
	}
	if len(b) == 0 {
		return nil, errors.New("it is empty")
	}
	return b, nil
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
