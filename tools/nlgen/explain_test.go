// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Flags keep the values of their bits, and are told from an enumeration.
func TestTableFlags(t *testing.T) {
	up, gone := int64(1), int64(64)
	s := &spec{Name: "some-family", Definitions: []definition{
		{Type: "const", Name: "most", Value: &gone},
		{Type: "flags", Name: "state", Entries: []entry{{Name: "up", Value: &up}, {Name: "gone", Value: &gone}}},
		{Type: "enum", Name: "kind", Entries: []entry{{Name: "up", Value: &up}}},
	}}
	want := []tableEnum{
		{Name: "state", Flags: true, Values: []tableValue{{1, "up", "SOME_FAMILY_STATE_UP"}, {64, "gone", "SOME_FAMILY_STATE_GONE"}}},
		{Name: "kind", Values: []tableValue{{1, "up", "SOME_FAMILY_KIND_UP"}}},
	}
	if diff := cmp.Diff(want, newEnums(s, s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What an operation of the raw protocol carries: bytes if none of its messages
// has an attribute.
func TestTableOpaque(t *testing.T) {
	s, err := parseSpec("raw.yaml", []byte(`
name: raw
protonum: 31
attribute-sets: [{name: object, attributes: [{name: key, type: string}]}]
operations:
  list:
    - {name: echo, value: 16, attribute-set: object, do: {request: {attributes: []}, reply: {attributes: []}}}
    - {name: del, value: 21, attribute-set: object, do: {request: {attributes: [key]}}}
    - {name: get, value: 22, attribute-set: object, dump: {request: {attributes: []}, reply: {attributes: [key]}}}
    - {name: ping, value: 23, attribute-set: object, do: {}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var opaque []string
	for _, op := range newTable(s, s).Ops {
		if op.Opaque {
			opaque = append(opaque, op.Name)
		}
	}
	if got := strings.Join(opaque, " "); got != "echo" {
		t.Errorf("opaque are %q, want echo", got)
	}
}
