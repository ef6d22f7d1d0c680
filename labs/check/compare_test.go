// SPDX-License-Identifier: MIT

package check

import (
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	want := Message{Type: 20, Seq: 7, PortID: 9, Body: []byte("hello")}
	for name, c := range map[string]struct {
		got   Message
		words []string
	}{
		"sequence number": {Message{Type: 20, Seq: 8, PortID: 9, Body: []byte("hello")}, []string{
			"!  8 07 00 00 00              08 00 00 00              nlmsg_seq: should be ", "Wrong: nlmsg_seq: should be "}},
		"payload": {Message{Type: 20, Seq: 7, PortID: 9, Body: []byte("help!")}, []string{
			"! 16 68 65 6c 6c 6f           68 65 6c 70 21           payload: should be \"hello\", is \"help!\""}},
		"too short": {Message{Type: 20, Seq: 7, PortID: 9}, []string{
			"nlmsg_len: should be ", "payload: is missing", "padding: is missing"}},
		"too long": {Message{Type: 20, Seq: 7, PortID: 9, Body: []byte("hello, all of you")}, []string{"nlmsg_len: should be", "payload: should be \"hello\""}},
	} {
		got := difference(LabProtocol, want.Bytes(), c.got.Bytes())
		for _, word := range c.words {
			if !strings.Contains(got, word) {
				t.Errorf("%s: %q is not in\n%s", name, word, got)
			}
		}
		if strings.Contains(got, "nlmsg_type: ") || strings.Contains(got, "!  4") {
			t.Errorf("%s: the type is right, and called wrong in\n%s", name, got)
		}
	}
}
