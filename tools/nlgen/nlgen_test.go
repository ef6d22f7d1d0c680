// SPDX-License-Identifier: MIT

package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata again")

// The files in the tree are those that the specifications give.
func TestCurrent(t *testing.T) {
	const root = "../.."
	files, err := generate(filepath.Join(root, "spec"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is out of date; run: make generate\n%s", name, diff)
		}
	}
}

func TestGolden(t *testing.T) {
	files, err := generate("testdata/small")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 9 {
		t.Errorf("%d files, want 9", len(files))
	}
	for name, got := range files {
		base := filepath.Base(name)
		if name == fuzzFile { // there is another of that name
			base = "fuzz_" + base
		}
		golden := filepath.Join("testdata/small", base+".golden")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", golden, diff)
		}
	}
}

// The same input gives the same bytes, every time.
func TestDeterministic(t *testing.T) {
	first, err := generate("testdata/small")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := generate("testdata/small")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestRun(t *testing.T) {
	out := t.TempDir()
	if err := run("testdata/small", out); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{goFile, docFile, headerFile, policyFile, explainFile, luaFile} {
		if info, err := os.Stat(filepath.Join(out, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := run(t.TempDir(), out); err == nil || !strings.Contains(err.Error(), genlFile) || !strings.Contains(err.Error(), rawFile) {
		t.Errorf("without specifications: %v, want both files named", err)
	}
}

// One wrong thing in a specification that is right gives one error about it.
func TestCheck(t *testing.T) {
	const genl, raw = genlFile, rawFile
	const size = "        name: size\n        type: u64\n"
	const pad = "      -\n        name: pad\n        type: pad\n"
	tests := []struct {
		name     string
		file     string
		old, new string
		want     string
	}{
		{"unknown key", genl, "value: 40000", "valeu: 40000", "nlpeer.yaml: yaml: unmarshal errors:\n  line 17: field valeu not found in type main.definition"},
		{"no YAML", genl, "doc: Longest text.", "doc: [", "nlpeer.yaml: yaml: "},
		{"two documents", raw, "mcast-groups:", "---\nmcast-groups:", "netlink_test.yaml: more than one document"},
		{"protocol", genl, "protocol: genetlink", "protocol: genetlink-legacy", `protocol is "genetlink-legacy", want "genetlink"`},
		{"raw protocol", raw, "protocol: netlink-raw", "protocol: genetlink", `protocol is "genetlink", want "netlink-raw"`},
		{"protonum of a family", genl, "protocol: genetlink", "protocol: genetlink\nprotonum: 20", "protonum: a generic netlink family has none"},
		{"protonum", raw, "protonum: 23", "protonum: 32", "protonum is not a number from 0 to 31"},
		{"enum model", raw, "enum-model: directional", "enum-model: unified", `operations: enum-model is "unified", want "directional"`},
		{"long family", genl, "name: small", "name: very-very-small1", "family very-very-small1: name is longer than 15 bytes"},
		{"name", genl, "name: red", "name: Red", `enum colour: entry: name "Red" is not lower-case words joined by hyphens`},
		{"no doc", genl, "        doc: Its size.\n", "", "attribute set thing: attribute size: no doc"},
		{"definition type", genl, "type: const", "type: struct", `definition long-max: type "struct" is not supported`},
		{"definition twice", genl, "name: colour\n    doc", "name: long-max\n    doc", "definition long-max occurs twice"},
		{"constant without value", raw, "    value: 23\n", "", "constant small: no value"},
		{"entry twice", genl, "name: green", "name: red", "enum colour: entry red occurs twice"},
		{"entry number twice", genl, "value: 5", "value: 0", "enum colour: value 0 occurs twice"},
		{"entry number", genl, "value: 5", "value: -5", "enum colour: entry deep-blue: value -5 does not fit a u32"},
		{"enum without entries", genl, "    entries:\n      -\n        name: quickly", "  -\n    type: enum\n    name: tools\n    doc: With what.\n    entries:\n      -\n        name: quickly", "enum manner: no entries"},
		{"bit", genl, "value: 4\n        doc: So", "value: 31\n        doc: So", "enum manner: entry twice: value 4294967296 does not fit a u32"},
		{"no bit", genl, "value: 4\n        doc: So", "value: -4\n        doc: So", "enum manner: entry with-care: value -1 does not fit a u32"},
		{"bit too high", genl, "value: 4\n        doc: So", "value: 64\n        doc: So", "enum manner: entry with-care: value -1 does not fit a u32"},
		{"constant of another header", raw, "header: linux/small.h", "header: linux/large.h", "constant long-max is not that of"},
		{"constant of another value", raw, "value: 40000", "value: 40001", "constant long-max is not that of"},
		{"constant of another name", raw, "name: long-max", "name: longer-max", "constant longer-max is not that of"},
		{"subset of nothing", genl, "subset-of: thing", "subset-of: things", `attribute set thing-part: there is no set "things" to be a subset of`},
		{"subset of a subset", raw, "subset-of: sheet\n", "subset-of: sheet-head\n", `attribute set sheet-head: there is no set "sheet-head" to be a subset of`},
		{"attribute of no whole", raw, "        name: title\n      -\n        name: page\n\n", "        name: titles\n\n", "attribute set sheet-head: attribute titles is not in the set sheet"},
		{"set twice", genl, "\noperations:", "  -\n    name: thing\n    doc: Another.\n\noperations:", "attribute set thing occurs twice"},
		{"attribute twice", genl, "name: key", "name: id", "attribute set thing: attribute id occurs twice"},
		{"attribute number twice", genl, "type: binary\n        value: 4\n", "type: binary\n        value: 1\n", "attribute set thing: number 1 occurs twice"},
		{"attribute number", genl, "type: binary\n        value: 4\n", "type: binary\n        value: 16384\n", "attribute set thing: attribute text: number 16384 is not from 1 to 16383"},
		{"attribute type", genl, size, strings.Replace(size, "u64", "sint", 1), `attribute set thing: attribute size: type "sint" is not supported`},
		{"two pads", genl, "name: size\n        type: u64\n        doc: Its size.\n        checks:\n          min: 1\n", "name: size\n        type: pad\n", "attribute set thing: more than one pad"},
		{"no pad", genl, pad, "", "attribute set thing: attribute size is a u64, but the set has no pad"},
		{"no enum", genl, "enum: colour", "enum: shape", "attribute set thing: attribute colour: there is no enum shape"},
		{"no flags", genl, "enum: manner", "enum: mannerism", "attribute set thing: attribute manner: there is no enum mannerism"},
		{"enum type", genl, "type: u32\n        enum", "type: u16\n        enum", "attribute set thing: attribute colour: an enum is a u32"},
		{"no nested set", genl, "nested-attributes: thing-part", "nested-attributes: things", `attribute set thing: attribute part: there is no attribute set "things"`},
		{"not a nest", genl, "type: nest", "type: binary", "attribute set thing: attribute part: nested-attributes without type nest"},
		{"no constant", genl, "max-len: long-max", "max-len: short-max", "attribute set thing: attribute text: max-len: there is no constant short-max"},
		{"value too large", genl, "max: 60000", "max: 65536", "attribute set thing: attribute id: max 65536 is not from 0 to 65535"},
		{"value too small", genl, "min: 1\n          max", "min: -1\n          max", "attribute set thing: attribute id: min -1 is not from 0 to 65535"},
		{"length above an attribute's", genl, "value: 40000", "value: 65532", "attribute set thing: attribute text: max-len 65532 is not from 0 to 65531"},
		{"length above an s16", genl, "exact-len: 16", "exact-len: 32768", "attribute set thing: attribute key: exact-len 32768 is not from 0 to 32767"},
		{"check of another type", genl, "exact-len: 16", "max: 16", "attribute set thing: attribute key: max does not go with type binary"},
		{"two checks on bytes", genl, "exact-len: 16", "min-len: 1\n          max-len: 16", "attribute set thing: attribute key: more than one check on binary"},
		{"empty range", genl, "max: 60000", "max: 0", "attribute set thing: attribute id: min 1 is above max 0"},
		{"operation twice", raw, "name: event\n      doc", "name: echo\n      doc", "operation echo occurs twice"},
		{"command twice", genl, "value: 9", "value: 1", "operation number 1 occurs twice"},
		{"command", genl, "value: 9", "value: 256", "operation changed: number 256 is not from 1 to 255"},
		{"message type", raw, "value: 16", "value: 15", "operation echo: number 15 is not from 16 to 65535"},
		{"neither do nor event", genl, "      event:\n        attributes:\n          - id\n          - size\n", "", "operation changed: wants a do, a dump, both, or an event"},
		{"both ask and event", genl, "      event:\n", "      do:\n        reply: *all\n      event:\n", "operation changed: wants a do, a dump, both, or an event"},
		{"command with a number inside", genl, "request: &all\n", "request: &all\n          value: 1\n", "operation echo: a message of a generic netlink family has no number of its own"},
		{"message without number", raw, "          value: 16\n", "", "operation echo: a message has no number"},
		{"requests with two numbers", raw, "value: 22\n          attributes:\n            - blank", "value: 23\n          attributes:\n            - blank", "operation sheet-get: requests have the numbers 22 and 23"},
		{"replies with two numbers", raw, "reply: *sheet", "reply:\n          value: 21\n          attributes: []", "operation sheet-get: replies have the numbers 20 and 21"},
		{"attribute of a dump", raw, "- blank", "- bland", "operation sheet-get: attribute bland is not in the set sheet"},
		{"attribute of a reply", raw, "            - text\n      dump", "            - texts\n      dump", "operation sheet-get: attribute texts is not in the set sheet"},
		{"check that no policy holds", raw, "          max-len: 31\n", "          max-len: 31\n          min-len: 1\n", "operation sheet-get: attribute title: policies of a raw protocol have no min-len"},
		{"flag", genl, "[admin-perm]", "[root]", `operation echo: flag "root" is not supported`},
		{"no group", genl, "mcgrp: watchers", "mcgrp: nobody", "operation changed: there is no multicast group nobody"},
		{"no set", genl, "attribute-set: thing\n      event", "attribute-set: things\n      event", `operation changed: there is no attribute set "things"`},
		{"attribute of no set", genl, "- id", "- ids", "operation changed: attribute ids is not in the set thing"},
		{"attribute listed twice", genl, "- id\n", "- size\n", "operation changed: attribute size occurs twice"},
		{"group twice", raw, "      name: all\n      value: 1\n", "      name: all\n      value: 1\n    -\n      name: all\n      value: 2\n", "multicast group all occurs twice"},
		{"group name", genl, "list:\n    -\n      name: watchers", "list:\n    -\n      name: watchers-of-all1", `multicast group "watchers-of-all1": not a name of at most 15 bytes`},
		{"group number", raw, "name: all\n      value: 1", "name: all\n      value: 33", "multicast group all: value is not from 1 to 32"},
		{"group number of a family", genl, "      name: watchers", "      name: watchers\n      value: 1", "multicast group watchers: the kernel chooses the number of a generic netlink group"},
		{"Go name twice", genl, "name: long-max", "name: colour-red", "two things in the specifications are both called ColourRed in Go"},
		{"nothing", genl, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{genl, raw} {
				data, err := os.ReadFile(filepath.Join("testdata/small", name))
				if err != nil {
					t.Fatal(err)
				}
				text := string(data)
				if name == tt.file {
					if !strings.Contains(text, tt.old) {
						t.Fatalf("%q is not in %s", tt.old, name)
					}
					text = strings.Replace(text, tt.old, tt.new, 1)
				}
				if tt.name == "Go name twice" { // the name is also used by a limit
					text = strings.ReplaceAll(text, "long-max", "colour-red")
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, err := generate(dir)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error, want\n%s", tt.want)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

// An attribute of a raw request gets the policy that its type and length need.
func TestPolicies(t *testing.T) {
	genl := &spec{Name: "small", Definitions: []definition{{Type: "const", Name: "long-max"}}}
	most := func(l limit) checks { return checks{MaxLen: &l} }
	tests := []struct {
		attr attr
		want string
	}{
		{attr{Type: "u8"}, "{ .type = NLA_U8, }"},
		{attr{Type: "u64"}, "{ .type = NLA_U64, }"},
		{attr{Type: "flag"}, "{ .type = NLA_FLAG, }"},
		{attr{Type: "binary"}, "{ .type = NLA_BINARY, }"},
		{attr{Type: "binary", Checks: most(limit{Value: 9})}, "{ .type = NLA_BINARY, .len = 9, }"},
		{attr{Type: "string", Checks: most(limit{Value: 9})}, "{ .type = NLA_NUL_STRING, .len = 9, }"},
		{attr{Type: "string", Checks: most(limit{Value: 9, Const: "long-max"})}, "{ .type = NLA_NUL_STRING, .len = SMALL_LONG_MAX, }"},
	}
	for _, tt := range tests {
		if got := genl.policy(&tt.attr); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.attr, got, tt.want)
		}
	}
}

// A set that stands in both specifications is the same in both.
func TestSameSets(t *testing.T) {
	set := func(attrs ...attr) *spec {
		s := &spec{File: "x", AttributeSets: []attrSet{{Name: "event", Attributes: attrs}}}
		s.number()
		return s
	}
	seven := int64(7)
	a, b := attr{Name: "a", Type: "u32"}, attr{Name: "b", Type: "u64"}
	tests := []struct {
		name      string
		genl, raw *spec
		want      string
	}{
		{"equal", set(a, b), set(a, b), ""},
		{"other words and enum", set(attr{Name: "a", Type: "u32", Enum: "e", Doc: "A."}), set(a), ""},
		{"one more", set(a, b), set(a), "attribute set event: attribute 2 is u64 b = 2 in x, none in x"},
		{"one less", set(a), set(a, b), "attribute set event: attribute 2 is none in x, u64 b = 2 in x"},
		{"order", set(a, b), set(b, a), "attribute set event: attribute 1 is u32 a = 1 in x, u64 b = 1 in x"},
		{"type", set(a), set(attr{Name: "a", Type: "u16"}), "attribute set event: attribute 1 is u32 a = 1 in x, u16 a = 1 in x"},
		{"name", set(a), set(attr{Name: "c", Type: "u32"}), "attribute set event: attribute 1 is u32 a = 1 in x, u32 c = 1 in x"},
		{"number", set(a), set(attr{Name: "a", Type: "u32", Value: &seven}), "attribute set event: attribute 1 is u32 a = 1 in x, u32 a = 7 in x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if errs := sameSets(tt.genl, tt.raw); len(errs) > 0 {
				got = errs[0].Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	if got, want := goName("carrier-stats", "rx-bytes"), "CarrierStatsRxBytes"; got != want {
		t.Errorf("goName: %s, want %s", got, want)
	}
	if got, want := cName("nlpeer", "a", "carrier-stats", "rx-bytes"), "NLPEER_A_CARRIER_STATS_RX_BYTES"; got != want {
		t.Errorf("cName: %s, want %s", got, want)
	}
}

func TestEscape(t *testing.T) {
	tests := []struct{ text, want string }{
		{"plain words, (even so)", "plain words, (even so)"},
		{"socket(AF_NETLINK, SOCK_RAW)", "socket(`AF_NETLINK`, `SOCK_RAW`)"},
		{"ENOBUFS. EVERY file_name.yaml", "`ENOBUFS`. `EVERY` `file_name.yaml`"},
		{"*a* <b> [c] `d` \\ & _", `\*a\* &lt;b&gt; \[c\] ` + "\\`d\\`" + ` \\ &amp; \_`},
		{"NETLINK_*", "NETLINK\\_\\*"},
	}
	for _, tt := range tests {
		if got := escape(tt.text); got != tt.want {
			t.Errorf("escape(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestWrap(t *testing.T) {
	text := "a bb ccc\n dddd \n\n\neeeeeeeee f"
	if diff := cmp.Diff([]string{"a bb ccc dddd", "eeeeeeeee f"}, paragraphs(text)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a bb", "ccc", "dddd"}, wrap("a bb ccc dddd", 4)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"eeeeeeeee", "f"}, wrap("eeeeeeeee f", 4)); diff != "" {
		t.Error(diff)
	}
}

// Parts that are no multiple of four bytes share rows and span them.
func TestLayoutString(t *testing.T) {
	l := new(layout)
	l.u32("len", 0, "")
	l.bytes("three", []byte{1, 2, 3}, "odd")
	l.bytes("six", []byte{4, 5, 6, 7, 8, 9}, "more than a row")
	l.u16("end", 0x0b0a, "")
	want := `offset  +0       +1       +2       +3
       +-----------------------------------+
    0  | len                               |  0f 00 00 00   15 bytes in all
       +--------------------------+--------+
    4  | three                    | six    |  01 02 03 04   odd; more than a row
       +--------------------------+        +
    8  |                                   |  05 06 07 08
       +        +-----------------+--------+
   12  |        | end             |           09 0a 0b
       +--------+-----------------+
`
	if diff := cmp.Diff(want, l.finish().String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPadded(t *testing.T) {
	s, err := readSpec("../../spec/" + rawFile)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"group", "seq", "time", "kind", "data"}
	if diff := cmp.Diff([]string{"seq", "time"}, padded(s.set("event"), names, 16)); diff != "" {
		t.Error("raw:", diff)
	}
	if diff := cmp.Diff([]string{"time"}, padded(s.set("event"), names, 20)); diff != "" {
		t.Error("generic:", diff)
	}
}

// What the language of a specification has no words for is read from the text
// of an operation.
func TestDocFromText(t *testing.T) {
	var s spec
	s.McastGroups.List = []group{{Name: "lamps"}, {Name: "doors"}, {Name: "windows"}}
	event := operation{Mcgrp: "lamps", Doc: "Sent to the group lamps, or to the\ngroup doors. No group windows."}
	if got, want := s.eventGroups(&event), []string{"lamps", "doors"}; !slices.Equal(got, want) {
		t.Errorf("groups %q, want %q", got, want)
	}
	if got := s.eventGroups(&operation{Doc: "To the group doors."}); got != nil {
		t.Errorf("groups %q of an event without one", got)
	}

	get := operation{Doc: "All at once needs CAP_NET_ADMIN, else EPERM; EBUSY, if there are too many. EBUSY passes."}
	if got, want := get.privilege(), "none, but for what needs `CAP_NET_ADMIN` by the text above"; got != want {
		t.Errorf("privilege %q, want %q", got, want)
	}
	if got, want := s.errors(&get), "`EPERM`, `EBUSY` as the text above says; those of [all operations](#errors)"; got != want {
		t.Errorf("errors %q, want %q", got, want)
	}
}
