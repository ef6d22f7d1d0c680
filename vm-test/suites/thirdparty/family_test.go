// SPDX-License-Identifier: MIT

package thirdparty_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// family is a generic netlink family as a program lists it.
type family struct {
	Name       string
	ID         uint16
	Version    int
	Operations map[int]string // flags, of programs that show them
	Groups     map[string]uint32
}

// wanted is the family as the specification has it. Its numbers are given by
// the kernel; they are asked of nlctrl by nobody's library.
func wanted(t *testing.T, s specification, flags func(operation) string) family {
	t.Helper()
	here := vmtest.Nlpeer(t)
	f := family{Name: wire.FamilyName, ID: here.ID, Version: s.Version, Operations: make(map[int]string), Groups: make(map[string]uint32)}
	if s.Name != wire.FamilyName || s.Version != wire.FamilyVersion {
		t.Errorf("the specification is of %s version %d, pkg/wire of %s version %d", s.Name, s.Version, wire.FamilyName, wire.FamilyVersion)
	}
	for _, op := range s.Operations {
		if len(op.Policies) > 0 { // an event is no request
			f.Operations[op.Value] = flags(op)
		}
	}
	for _, g := range s.Groups {
		f.Groups[g] = here.Groups[g]
	}
	if len(here.Groups) != len(s.Groups) {
		t.Errorf("the kernel has the groups %v, the specification %v", here.Groups, s.Groups)
	}
	return f
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// listing is how a program lists families, each line by a regular expression
// with the names of what is in it.
type listing struct {
	begin, operation, group *regexp.Regexp
}

var (
	iproute2 = listing{
		regexp.MustCompile(`^Name: (?P<name>\S+)\n\tID: (?P<id>0x[0-9a-f]+)  Version: (?P<version>0x[0-9a-f]+)  header size: 0  max attribs: \d+ $`),
		regexp.MustCompile(`^\t\t#\d+:  ID-(?P<id>0x[0-9a-f]+) $`),
		regexp.MustCompile(`^\t\t#\d+:  ID-(?P<id>0x[0-9a-f]+)  name: (?P<name>\S+) $`),
	}
	libnl = listing{
		regexp.MustCompile(`^(?P<id>0x[0-9a-f]{4}) (?P<name>\S+) version (?P<version>\d+)\n    hdrsize 0 maxattr \d+$`),
		regexp.MustCompile(`^      op \S+ \((?P<id>0x[0-9a-f]+)\) <(?P<flags>\S*)>$`),
		regexp.MustCompile(`^      grp (?P<name>\S+) \((?P<id>0x[0-9a-f]+)\)$`),
	}
)

// families reads a listing.
func (l listing) families(t *testing.T, text string) []family {
	t.Helper()
	lines := strings.Split(text, "\n")
	var all []family
	for i, line := range lines {
		value := map[string]string{}
		match := func(re *regexp.Regexp, line string) bool {
			m := re.FindStringSubmatch(line)
			for j, name := range re.SubexpNames() {
				if m != nil {
					value[name] = m[j]
				}
			}
			return m != nil
		}
		if i+1 < len(lines) && match(l.begin, line+"\n"+lines[i+1]) {
			all = append(all, family{
				Name: value["name"], ID: uint16(atoi(t, value["id"])), Version: atoi(t, value["version"]),
				Operations: make(map[int]string), Groups: make(map[string]uint32),
			})
		} else if len(all) == 0 {
			continue
		} else if match(l.operation, line) {
			all[len(all)-1].Operations[atoi(t, value["id"])] = value["flags"]
		} else if match(l.group, line) {
			all[len(all)-1].Groups[value["name"]] = uint32(atoi(t, value["id"]))
		}
	}
	return all
}

// ours is the one family of our name in a listing.
func (l listing) ours(t *testing.T, text string) family {
	t.Helper()
	var found []family
	for _, f := range l.families(t, text) {
		if f.Name == wire.FamilyName {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d families %s in:\n%s", len(found), wire.FamilyName, text)
	}
	return found[0]
}

func TestFamilyByIproute2(t *testing.T) {
	vmtest.Module(t)
	want := wanted(t, readSpecification(t, wire.FamilyName), func(operation) string { return "" })
	for _, args := range [][]string{{"list"}, {"get", "name", wire.FamilyName}, {"get", "id", fmt.Sprintf("%#x", want.ID)}} {
		text := output(t, append([]string{"genl", "ctrl"}, args...)...)
		if diff := cmp.Diff(want, iproute2.ours(t, text)); diff != "" {
			t.Errorf("genl ctrl %v (-want +got):\n%s", args, diff)
		}
	}
	vmtest.Unload(t)
	if text := output(t, "genl", "ctrl", "list"); strings.Contains(text, wire.FamilyName) {
		t.Errorf("without the module:\n%s", text)
	}
}

func TestFamilyByLibnl(t *testing.T) {
	vmtest.Module(t)
	want := wanted(t, readSpecification(t, wire.FamilyName), func(op operation) string {
		var flags []string
		if slices.Contains(op.Flags, "admin-perm") {
			flags = append(flags, "admin_perm")
		}
		for _, mode := range []string{"do", "dump"} {
			if _, ok := op.Policies[mode]; ok {
				flags = append(flags, "has_"+mode+"it")
			}
		}
		flags = append(flags, "has_policy")
		if slices.Contains(op.Flags, "uns-admin-perm") {
			flags = append(flags, "") // it has no name for this one
		}
		return strings.ReplaceAll(strings.Join(flags, ","), "dumpit", "dump")
	})
	if diff := cmp.Diff(want, libnl.ours(t, output(t, "genl-ctrl-list", "-d"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What genl ctrl monitor sees of the module's life: the family, then each
// group; each group again, then the family.
func TestFamilyComesAndGoes(t *testing.T) {
	if vmtest.Loaded() {
		vmtest.Unload(t)
	}
	want := readSpecification(t, wire.FamilyName)
	m := start(t, "genl", "ctrl", "monitor")
	m.untilListening(t, unix.NETLINK_GENERIC)
	vmtest.Module(t)
	here := wanted(t, want, func(operation) string { return "" })
	vmtest.Unload(t)

	var text strings.Builder
	for groups := 0; groups < 4*len(want.Groups); {
		line := m.line(t)
		text.WriteString(line + "\n")
		if iproute2.group.MatchString(line) {
			groups++
		}
	}
	if diff := cmp.Diff([]family{here, here}, iproute2.families(t, text.String())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, id := range here.Groups {
		alone := fmt.Sprintf("Name: %s\n\tID: %#x \n\tmulticast groups:\n\t\t#1:  ID-%#x  name: %s \n", here.Name, here.ID, id, name)
		if n := strings.Count(text.String(), alone); n != 2 {
			t.Errorf("group %s was told of %d times, want 2, in:\n%s", name, n, text.String())
		}
	}
}

var (
	operationLine = regexp.MustCompile(`^\tID: (0x[0-9a-f]+)  op (\d+) policies:((?: (?:do|dump)=\d+)+)$`)
	attributeLine = regexp.MustCompile(`^\tID: (0x[0-9a-f]+)  policy\[(\d+)\]:attr\[(\d+)\]: type=(\S+)(.*)$`)
	rangeOf       = regexp.MustCompile(` range:\[(\d+),(\d+)\]`)
	lengthOf      = regexp.MustCompile(` (min|max) len:(\d+)`)
)

// Each operation's policies, as the kernel tells them to genl and to ynl, are
// what the specification says.
func TestPolicies(t *testing.T) {
	vmtest.Module(t)
	s := readSpecification(t, wire.FamilyName)
	id := fmt.Sprintf("%#x", vmtest.Nlpeer(t).ID)

	modes := make(map[string]string)                  // "4 do" -> number of a policy
	tables := make(map[string]map[int]map[string]any) // its attributes
	for line := range strings.Lines(output(t, "genl", "ctrl", "policy", "name", wire.FamilyName)) {
		line = strings.TrimRight(line, "\n")
		if m := operationLine.FindStringSubmatch(line); m != nil && m[1] == id {
			for mode := range strings.FieldsSeq(m[3]) {
				name, table, _ := strings.Cut(mode, "=")
				modes[m[2]+" "+name] = table
			}
		} else if m := attributeLine.FindStringSubmatch(line); m != nil && m[1] == id {
			properties := map[string]any{"type": strings.ReplaceAll(strings.ToLower(m[4]), "_", "-")}
			if r := rangeOf.FindStringSubmatch(m[5]); r != nil {
				properties["min-value"], properties["max-value"] = json.Number(r[1]), json.Number(r[2])
			}
			for _, l := range lengthOf.FindAllStringSubmatch(m[5], -1) {
				properties[l[1]+"-length"] = json.Number(l[2])
			}
			if tables[m[2]] == nil {
				tables[m[2]] = make(map[int]map[string]any)
			}
			tables[m[2]][atoi(t, m[3])] = properties
		} else {
			t.Errorf("genl: a line like none other: %q", line)
		}
	}

	y := openYnl(t)
	for _, op := range s.Operations {
		shareOnOldKernels(op.Policies)
		for mode, want := range op.Policies {
			key := fmt.Sprintf("%d %s", op.Value, mode)
			table, ok := modes[key]
			if !ok {
				t.Errorf("genl: %s of %s has no policy", mode, op.Name)
			}
			delete(modes, key)
			flat := make(map[int]map[string]any)
			for name, properties := range want {
				properties = maps.Clone(properties)
				delete(properties, "policy") // genl shows the policy of a nest by its number,
				delete(properties, "mask")   // and not which flags are allowed
				flat[op.Numbers[name]] = properties
			}
			got := tables[table]
			if got == nil {
				got = make(map[int]map[string]any)
			}
			if diff := cmp.Diff(flat, got); diff != "" {
				t.Errorf("genl: policy of %s %s (-want +got):\n%s", mode, op.Name, diff)
			}

			told := y.run(t, "--family", wire.FamilyName, "--policy", "--"+mode, op.Name, "--output-json")
			// Of an operation that refuses every attribute Linux 6.1 tells an
			// empty policy, 6.12 that there is none; ynl dies of that.
			if noData := fmt.Sprintf("YnlException: Netlink error: -%d\n", unix.ENODATA); len(want) == 0 && strings.HasSuffix(told.stderr, noData) {
				continue
			}
			if told.code != 0 || told.stderr != "" {
				t.Errorf("ynl: policy of %s %s: %+v", mode, op.Name, told)
				continue
			}
			var seen policy // null if it is empty
			decode(t, told.stdout, &seen)
			if diff := cmp.Diff(want, seen, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ynl: policy of %s %s (-want +got):\n%s", mode, op.Name, diff)
			}
		}
	}
	if len(modes) > 0 {
		t.Errorf("genl: policies of operations that the specification has not: %v", modes)
	}
}

// shareOnOldKernels: before Linux 6.2 an operation has one policy for do and
// dump, and compat.h makes it of both.
func shareOnOldKernels(policies map[string]policy) {
	if vmtest.Has(vmtest.SplitPolicies) || len(policies) < 2 {
		return
	}
	both := make(policy)
	for mode, p := range policies {
		maps.Copy(both, p)
		policies[mode] = both
	}
}
