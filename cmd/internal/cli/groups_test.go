// SPDX-License-Identifier: MIT

package cli_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/fuzzing"
)

func TestParseGroups(t *testing.T) {
	for list, want := range map[string]uint32{
		"1": 1, "32": 1 << 31, "1,3-5": 0x1d, "1-32": 0xffffffff, "3,1,3": 5, "4-4": 8, "31-32,1": 0xc0000001,
	} {
		if got, err := cli.ParseGroups(list); got != want || err != nil {
			t.Errorf("ParseGroups(%q) = %#x, %v, want %#x", list, got, err, want)
		}
	}
	for list, want := range map[string]string{
		"0":                    `group "0" is out of range; must be 1 to 32`,
		"33":                   `group "33" is out of range; must be 1 to 32`,
		"1,33":                 `group "33" is out of range; must be 1 to 32`,
		"30-33":                `group "30-33" is out of range; must be 1 to 32`,
		"0-3":                  `group "0-3" is out of range; must be 1 to 32`,
		"99999999999999999999": `group "99999999999999999999" is out of range; must be 1 to 32`,
		"5-3":                  `groups "5-3" run backwards; try: 3-5`,
		"":                     `group "" is not understood`,
		"1-":                   `group "1-" is not understood`,
		"-1":                   `group "-1" is not understood`,
		"a-b":                  `group "a-b" is not understood`,
		"1,,2":                 `group "" is not understood`,
		"1,":                   `group "" is not understood`,
		"1-2-3":                `group "1-2-3" is not understood`,
		"1 2":                  `group "1 2" is not understood`,
		"0x1":                  `group "0x1" is not understood`,
		"beacon":               `group "beacon" is not understood`,
	} {
		if got, err := cli.ParseGroups(list); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("ParseGroups(%q) = %#x, %v, want the error %q", list, got, err, want)
		}
	}
}

func TestParseMask(t *testing.T) {
	for s, want := range map[string]uint32{"0": 0, "0x15": 0x15, "21": 21, "0b101": 5, "0xffffffff": 0xffffffff} {
		if got, err := cli.ParseMask(s); got != want || err != nil {
			t.Errorf("ParseMask(%q) = %#x, %v, want %#x", s, got, err, want)
		}
	}
	for _, s := range []string{"", "0x", "-1", "0x100000000", "1,2", "mask"} {
		if got, err := cli.ParseMask(s); err == nil {
			t.Errorf("ParseMask(%q) = %#x, want an error", s, got)
		}
	}
}

func TestGroupList(t *testing.T) {
	for mask, want := range map[uint32]string{
		0: "none", 1: "1", 3: "1,2", 7: "1-3", 0x1d: "1,3-5", 0xffffffff: "1-32", 0x80000001: "1,32",
	} {
		if got := cli.GroupList(mask); got != want {
			t.Errorf("GroupList(%#x) = %q, want %q", mask, got, want)
		}
	}
}

func TestParseGroupNames(t *testing.T) {
	got, err := cli.ParseGroupNames("objects,beacon,beacon")
	if diff := cmp.Diff([]string{"beacon", "objects"}, got); diff != "" || err != nil {
		t.Errorf("error %v, names (-want +got):\n%s", err, diff)
	}
	for _, list := range []string{"", "beacon,", "1", "1-3", "beacon,2"} {
		if got, err := cli.ParseGroupNames(list); err == nil {
			t.Errorf("ParseGroupNames(%q) = %q, want an error", list, got)
		}
	}
}

// What GroupList writes is what ParseGroups reads.
func FuzzParseGroups(f *testing.F) {
	for _, list := range []string{"1", "1,3-5", "1-32", "5-3", "0", "33", "1,", "-"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		defer fuzzing.Limit(list)()
		mask, err := cli.ParseGroups(list)
		if err != nil {
			return
		}
		if back, err := cli.ParseGroups(cli.GroupList(mask)); back != mask || err != nil {
			t.Errorf("%q is %#x, written %q, which is %#x, %v", list, mask, cli.GroupList(mask), back, err)
		}
	})
}
