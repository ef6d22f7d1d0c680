// SPDX-License-Identifier: MIT

// Package draw makes pictures of messages: what every byte of them is.
package draw

import (
	"fmt"
	"html"
	"strings"

	"nlpeer/labs/internal/event"
	"nlpeer/pkg/explain"
)

// Text is a picture for a terminal.
func Text(d *event.Drawing) string {
	var b strings.Builder
	each(d, func(dg event.Datagram, messages []explain.Message) {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s\n", dg.Title)
		for _, m := range messages {
			text := string(m.AppendText(nil))
			_, fields, _ := strings.Cut(text, "\n") // the heading says less than the title
			b.WriteString(fields)
		}
	})
	return b.String()
}

// each decodes the datagrams, in order: an answer is understood by its request.
func each(d *event.Drawing, do func(event.Datagram, []explain.Message)) {
	// The labs' own protocol is nobody's that explain knows.
	decoder := explain.Decoder{RawProtocol: 1 << 20}
	for _, dg := range d.Datagrams {
		direction := explain.Received
		if dg.Sent {
			direction = explain.Sent
		}
		do(dg, decoder.Decode(explain.Datagram{Protocol: dg.Protocol, Direction: direction, Data: dg.Data}))
	}
}

// Measures of the drawing, in pixels.
const (
	left   = 60
	cell   = 40
	height = 26
	notes  = left + 4*cell + 16
	width  = 880
	// How wide letters are beside the bytes, and in two lines instead of one.
	letter = 7.83
	small  = 6.63
)

// colours are those of fields, one after the other; padding is grey.
var colours = []string{"#cfe8ff", "#ffe3b8", "#d5f2d0", "#f3d6ee", "#fff2a8", "#d9d6ff"}

// svg is a drawing while it is made.
type svg struct {
	b      strings.Builder
	y      int
	colour int
	// The fields that begin in one row, and where their names go.
	labels []explain.Field
	row    int
	indent int
}

// SVG is a picture for a page: the bytes of a message in rows of four, as they
// lie in memory, and what they are beside them.
func SVG(d *event.Drawing) string {
	var s svg
	s.y = 10
	each(d, func(dg event.Datagram, messages []explain.Message) {
		s.y += 22
		s.text(10, s.y, "title", dg.Title)
		s.y += 14
		for _, m := range messages {
			s.colour = 0
			for _, f := range m.Fields {
				s.field(f)
			}
			s.end()
			s.y += 10
		}
	})
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<!-- SPDX-License-Identifier: MIT -->
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<style>
text { font: 13px monospace; fill: #222; }
.title { font: bold 15px sans-serif; }
.heading { font: italic 12px sans-serif; fill: #555; }
.name { font-weight: bold; }
.offset { fill: #888; }
.small { font-size: 11px; }
rect { stroke: #555; stroke-width: 1; }
</style>
<rect x="0" y="0" width="%d" height="%d" style="fill: #fff; stroke: none"/>
%s</svg>
`, width, s.y+10, width, s.y+10, width, s.y+10, s.b.String())
}

// end ends a message. Its last row may not be full.
func (s *svg) end() {
	if len(s.labels) > 0 {
		s.flush()
		s.y += height
	}
}

func (s *svg) text(x, y int, class, text string) {
	fmt.Fprintf(&s.b, "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, html.EscapeString(text))
}

// field draws the bytes of a field, and its name beside the first of them. A
// field that begins in the middle of a row of four goes on in that row.
func (s *svg) field(f explain.Field) {
	indent := notes + 14*f.Depth
	if len(f.Bytes) == 0 && f.Kind != explain.Heading {
		return
	}
	if f.Kind == explain.Heading {
		s.end()
		s.y += 16
		s.text(indent, s.y-4, "heading", f.Name)
		return
	}
	colour := "#e4e4e4"
	if f.Kind != explain.Padding {
		colour = colours[s.colour%len(colours)]
		s.colour++
	}
	const most = 6 // rows
	row := s.y
	for i := 0; i < len(f.Bytes); {
		column := (f.Offset + i) % 4
		n := min(4-column, len(f.Bytes)-i)
		rows := (i + 3) / 4
		if rows == most && len(f.Bytes)-i > 4 {
			s.text(left+cell, s.y+17, "offset", fmt.Sprintf("… %d more bytes", len(f.Bytes)-i))
			s.y += height
			// The rest of the picture goes on where the last row would end.
			i += (len(f.Bytes) - i) &^ 3
			continue
		}
		x := left + column*cell
		fmt.Fprintf(&s.b, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", x, s.y, n*cell, height, colour)
		for j := range n {
			s.text(x+j*cell+11, s.y+17, "byte", fmt.Sprintf("%02x", f.Bytes[i+j]))
		}
		if column == 0 {
			s.text(10, s.y+17, "offset", fmt.Sprintf("%4d", f.Offset+i))
		}
		if i == 0 {
			row = s.y
		}
		i += n
		if column+n == 4 {
			s.y += height
		}
	}
	// What shares a row of bytes shares the line beside it.
	if f.Offset%4 == 0 {
		s.flush()
		s.row, s.indent = row, indent
	}
	s.labels = append(s.labels, f)
	if (f.Offset+len(f.Bytes))%4 == 0 {
		s.flush()
	}
}

// flush writes the names of the fields that share a row: in one line, or, where
// there is no room, the last in a line of its own.
func (s *svg) flush() {
	if len(s.labels) == 0 {
		return
	}
	all := s.labels
	s.labels = nil
	room := int((width - 10 - float64(s.indent)) / letter)
	if length(all) <= room || len(all) == 1 {
		s.line(s.row+17, "", room, all)
		return
	}
	room = int((width - 10 - float64(s.indent)) / small)
	s.line(s.row+11, "small", room, all[:len(all)-1])
	s.line(s.row+23, "small", room, all[len(all)-1:])
}

// meaning is what a drawing says of a field.
func meaning(f explain.Field) []rune {
	if f.Kind == explain.Padding {
		return nil
	}
	return []rune(f.Meaning)
}

// between stands between fields in a line.
const between = " · "

// length is how many letters a line of them has.
func length(fields []explain.Field) int {
	n := len([]rune(between)) * (len(fields) - 1)
	for _, f := range fields {
		n += len(f.Name) + 1 + len(meaning(f))
	}
	return n
}

// line writes a line of fields. What is too much of the last is left out.
func (s *svg) line(y int, class string, room int, fields []explain.Field) {
	fmt.Fprintf(&s.b, "<text x=\"%d\" y=\"%d\" class=\"%s\">", s.indent, y, class)
	excess := length(fields) - room
	for i, f := range fields {
		if i > 0 {
			s.b.WriteString(between)
		}
		text := meaning(f)
		if i == len(fields)-1 && excess > 0 {
			text = append(text[:max(0, len(text)-excess-1)], '…')
		}
		fmt.Fprintf(&s.b, "<tspan class=\"name\">%s</tspan> %s", html.EscapeString(f.Name), html.EscapeString(string(text)))
	}
	s.b.WriteString("</text>\n")
}
