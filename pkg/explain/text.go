// SPDX-License-Identifier: MIT

package explain

import (
	"fmt"
	"strings"
)

// How the picture of a message is laid out.
const (
	rowBytes  = 4  // bytes on a line: netlink aligns to 4
	shownRows = 16 // lines of one value
	nameWidth = 28 // names that are longer push their meaning aside
)

const ruler = "      +-------------+"

// AppendText appends a picture of the message, lines that each end in a newline:
// a heading, and for each field its offset in the datagram, its bytes at their
// place in a word of 4, its name and its meaning. Long values are cut off. What
// is wrong follows two exclamation marks.
func (m *Message) AppendText(b []byte) []byte {
	switch m.Direction {
	case Sent:
		b = append(b, "sent: "...)
	case Received:
		b = append(b, "received: "...)
	}
	b = fmt.Appendf(b, "%s, %s\n", m.Summary, count(m.Size, "byte"))

	width := 0
	for i := range m.Fields {
		if f := &m.Fields[i]; f.Kind != Heading {
			width = max(width, min(2*f.Depth+len(f.Name), nameWidth))
		}
	}
	for i := range m.Fields {
		b = m.Fields[i].appendText(b, width)
	}
	return append(b, ruler+"\n"...)
}

func (f *Field) appendText(b []byte, width int) []byte {
	indent := strings.Repeat("  ", f.Depth)
	if f.Kind == Heading {
		return fmt.Appendf(b, "%s %s%s\n", ruler, indent, f.Name)
	}

	words := fmt.Sprintf("%-*s  %s", width, indent+f.Name, f.Meaning)
	if f.Problem != "" {
		words += "  !! " + f.Problem
	}
	words = strings.TrimRight(words, " ")
	if len(f.Bytes) == 0 {
		return fmt.Appendf(b, "      |             |   %s\n", words)
	}
	at, left := f.Offset, f.Bytes
	for row := 0; len(left) > 0; row++ {
		if row == shownRows {
			return fmt.Appendf(b, "  ... |             |   %*s  %d more\n", width, "", len(left))
		}
		n := min(rowBytes-at%rowBytes, len(left))
		hex := strings.Repeat("   ", at%rowBytes) + fmt.Sprintf("% x", left[:n])
		line := fmt.Sprintf("%5d | %-11s |   %s", at, hex, words)
		b = append(append(b, strings.TrimRight(line, " ")...), '\n')
		at, left, words = at+n, left[n:], ""
	}
	return b
}
