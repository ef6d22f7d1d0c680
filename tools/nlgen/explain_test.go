// SPDX-License-Identifier: MIT

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Flags are numbered by bit in a specification, and by value in the tables.
func TestTableFlags(t *testing.T) {
	s, err := parseSpec("flags.yaml", []byte(`
name: some-family
definitions:
  -
    type: flags
    name: state
    entries:
      - {name: up}
      - {name: lost, value: 5}
      - {name: gone}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []tableEnum{{Name: "state", Flags: true, Values: []tableValue{
		{1, "up", "SOME_FAMILY_STATE_UP"}, {32, "lost", "SOME_FAMILY_STATE_LOST"}, {64, "gone", "SOME_FAMILY_STATE_GONE"},
	}}}
	if diff := cmp.Diff(want, newEnums(s)); diff != "" {
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
