// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"strings"
)

// splitWords splits a line at blanks. Single and double quotes keep blanks
// together; there are no escapes, as in go test's -exec, which reads the same.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	inside := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inside = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inside {
				words = append(words, word.String())
				word.Reset()
				inside = false
			}
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inside {
		words = append(words, word.String())
	}
	return words, nil
}

// joinWords is the inverse of splitWords, for words without both kinds of quotes.
func joinWords(words []string) (string, error) {
	var quoted []string
	for _, w := range words {
		switch {
		case w != "" && !strings.ContainsAny(w, " \t\n\"'"):
		case !strings.Contains(w, "'"):
			w = "'" + w + "'"
		case !strings.Contains(w, `"`):
			w = `"` + w + `"`
		default:
			return "", errors.New("cannot pass on an argument with both kinds of quotes: " + w)
		}
		quoted = append(quoted, w)
	}
	return strings.Join(quoted, " "), nil
}
