// SPDX-License-Identifier: MIT

package nllab

import "strings"

// indented indents a hint: lines as they are, or a text of one line that is
// broken into some.
func indented(text string) string {
	text = strings.TrimRight(text, "\n")
	if !strings.Contains(text, "\n") {
		return wrap(text, "  ", 92)
	}
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// wrap breaks a text into indented lines.
func wrap(text, indent string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
