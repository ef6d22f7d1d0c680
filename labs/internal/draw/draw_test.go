// SPDX-License-Identifier: MIT

package draw_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/labs/internal/draw"
	"nlpeer/labs/internal/event"
)

// drawing has two messages in a datagram, fields that share a row, a payload
// that ends in the middle of one, and one that is too long to be shown whole.
func drawing() *event.Drawing {
	short := []byte{
		0x15, 0, 0, 0, 0x10, 0, 0x01, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'h', 'e', '<', 'l', 'o', 0, 0, 0,
		0x14, 0, 0, 0, 0x11, 0, 0x01, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd,
	}
	long := make([]byte, 16+101)
	copy(long, []byte{117, 0, 0, 0, 0x10})
	for i := range long[16:] {
		long[16+i] = 0xee
	}
	return &event.Drawing{Datagrams: []event.Datagram{
		{Title: "to & fro", Sent: true, Protocol: 31, Data: short},
		{Title: "back", Protocol: 31, Data: long},
	}}
}

func TestText(t *testing.T) {
	got := draw.Text(drawing())
	for _, want := range []string{"to & fro\n", "\nback\n", `"he<lo"`, "| 15 00 00 00 |   nlmsg_len", "| aa bb cc dd |", "padding"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// Each byte is in the drawing, or said to be left out, and the file is XML.
func TestSVG(t *testing.T) {
	got := draw.SVG(drawing())
	d := xml.NewDecoder(strings.NewReader(got))
	bytes, left := 0, 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "class" && a.Value == "byte" {
					bytes++
				}
			}
		}
		if text, ok := token.(xml.CharData); ok {
			var n int
			if _, err := fmt.Sscanf(string(text), "… %d more bytes", &n); err == nil {
				// What is behind the last whole row is shown again.
				left += n &^ 3
			}
		}
	}
	if all := 44 + 16 + 101; bytes+left != all {
		t.Errorf("%d bytes are drawn and %d left out, of %d\n%s", bytes, left, all, got)
	}
}

// What is said of fields that share a row has its room: in one line, in two, and
// what is longer than a line ends with an ellipsis within the drawing.
func TestLines(t *testing.T) {
	message := func(flags byte) []byte {
		return []byte{0x14, 0, 0, 0, 0x10, 0, 0x05, flags, 1, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 'd'}
	}
	got := draw.SVG(&event.Drawing{Datagrams: []event.Datagram{
		{Title: "short", Sent: true, Protocol: 31, Data: message(0)},
		{Title: "long", Sent: true, Protocol: 31, Data: message(6)},
	}})
	type line struct {
		X    float64 `xml:"x,attr"`
		Y    int     `xml:"y,attr"`
		Kind string  `xml:"class,attr"`
		Text string  `xml:",innerxml"`
	}
	var page struct {
		Lines []line `xml:"text"`
	}
	if err := xml.Unmarshal([]byte(got), &page); err != nil {
		t.Fatal(err)
	}
	tags := regexp.MustCompile(`<[^>]*>`)
	var found []string
	last := 0
	for _, l := range page.Lines {
		letter := 7.83
		switch l.Kind {
		case "small":
			letter = 6.63
			if l.Y == last {
				t.Errorf("two lines at %d", l.Y)
			}
			last = l.Y
		case "":
		default:
			continue
		}
		text := html.UnescapeString(tags.ReplaceAllString(l.Text, ""))
		if end := l.X + letter*float64(len([]rune(text))); end > 880 {
			t.Errorf("%q ends at %.0f, beyond the drawing", text, end)
		}
		if strings.HasPrefix(text, "nlmsg_type") || strings.HasPrefix(text, "nlmsg_flags") {
			found = append(found, text)
		}
	}
	want := []string{
		"nlmsg_type 16 · nlmsg_flags 0x5 NLM_F_REQUEST | NLM_F_ACK",
		"nlmsg_type 16",
		"nlmsg_flags 0x605 NLM_F_REQUEST | NLM_F_ACK | 0x200 (NLM_F_MATCH, NLM_F_EXCL or NLM_F_BULK) | …",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
}
