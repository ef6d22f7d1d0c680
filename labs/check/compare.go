// SPDX-License-Identifier: MIT

package check

import (
	"bytes"
	"fmt"
	"strings"

	"nlpeer/pkg/explain"
)

// decoder knows protocol 31 as nobody's: it is the student's own.
func decoder() *explain.Decoder { return &explain.Decoder{RawProtocol: 1 << 20} }

// picture shows a datagram as nlecho -x does.
func picture(protocol int, b []byte) string {
	var text []byte
	for _, m := range decoder().Decode(explain.Datagram{Protocol: protocol, Data: b}) {
		text = m.AppendText(text)
	}
	return string(text)
}

// Compare ends the step if two messages, or datagrams of several, are not the
// same byte for byte. It shows both, field by field, and names those that
// differ.
func (t *T) Compare(what string, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	t.Fatalf("%s is not as it should be.\n%s", what, difference(t.protocol, want, got))
}

// row is a field, or what is left over of one of the two.
type row struct {
	offset    int
	name      string
	want, got []byte
	differ    bool
	meaning   [2]string
}

const columnBytes = 8

// difference shows two datagrams side by side.
func difference(protocol int, want, got []byte) string {
	wanted := fields(protocol, want)
	actual := fields(protocol, got)
	var rows []row
	for i := 0; i < max(len(wanted), len(actual)); i++ {
		var r row
		if i < len(wanted) {
			r.offset, r.name, r.want, r.meaning[0] = wanted[i].Offset, wanted[i].Name, wanted[i].Bytes, meaning(wanted[i])
		}
		if i < len(actual) {
			r.got, r.meaning[1] = actual[i].Bytes, meaning(actual[i])
			if i >= len(wanted) {
				r.offset, r.name = actual[i].Offset, actual[i].Name
			}
		}
		r.differ = !bytes.Equal(r.want, r.got)
		rows = append(rows, r)
	}
	var wrong []string
	var b strings.Builder
	fmt.Fprintf(&b, "  at  %-*s %-*s field\n", 3*columnBytes, "expected", 3*columnBytes, "received")
	for _, r := range rows {
		mark, text := "  ", r.name
		if r.differ {
			mark = "! "
			switch {
			case r.want == nil:
				text += ": should not be there"
			case r.got == nil:
				text += ": is missing"
			case r.meaning[0] != r.meaning[1]:
				text += fmt.Sprintf(": should be %s, is %s", r.meaning[0], r.meaning[1])
			default:
				text += ": differs" + firstDifference(r.want, r.got)
			}
			wrong = append(wrong, text)
		} else if r.meaning[0] != "" {
			text += " = " + r.meaning[0]
		}
		lines := max(1, (max(len(r.want), len(r.got))+columnBytes-1)/columnBytes)
		for i := range lines {
			if lines > 6 && i == 4 {
				fmt.Fprintf(&b, "      … %d more bytes\n", max(len(r.want), len(r.got))-i*columnBytes)
				break
			}
			place := "    "
			if i == 0 {
				place = fmt.Sprintf("%4d", r.offset)
			}
			fmt.Fprintf(&b, "%s%s %-*s %-*s %s\n", mark[:1], place[1:], 3*columnBytes, hex(r.want, i), 3*columnBytes, hex(r.got, i), text)
			text = ""
		}
	}
	said := "Wrong: " + strings.Join(wrong, "; ")
	if len(wrong) > 4 {
		said = fmt.Sprintf("Wrong: %s; and %d more fields", strings.Join(wrong[:3], "; "), len(wrong)-3)
	}
	return strings.TrimRight(trimLines(b.String()), "\n") + "\n" + said
}

func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// fields are all that have bytes, of all messages.
func fields(protocol int, b []byte) []explain.Field {
	var all []explain.Field
	for _, m := range decoder().Decode(explain.Datagram{Protocol: protocol, Data: b}) {
		for _, f := range m.Fields {
			if len(f.Bytes) > 0 {
				if f.Kind == explain.Padding {
					f.Name, f.Meaning = "padding", ""
				}
				all = append(all, f)
			}
		}
	}
	return all
}

func meaning(f explain.Field) string {
	switch {
	case f.Meaning != "" && len(f.Meaning) <= 40:
		return f.Meaning
	case f.Value != nil && len(f.Bytes) <= 8:
		return fmt.Sprint(f.Value)
	}
	return ""
}

// hex is one line of a column.
func hex(b []byte, line int) string {
	from := min(line*columnBytes, len(b))
	return fmt.Sprintf("% x", b[from:min(from+columnBytes, len(b))])
}

// firstDifference says where two long values part.
func firstDifference(a, b []byte) string {
	if len(a) != len(b) {
		return fmt.Sprintf(": should have %d bytes, has %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf(" from its byte %d on", i)
		}
	}
	return ""
}
