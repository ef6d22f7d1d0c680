// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What the descriptions take from elsewhere, and with how many parameters: the
// language itself, and syzkaller's sys/linux/socket_netlink.txt and its like.
var syzKnown = map[string][]int{
	"ptr": {2}, "const": {1, 2}, "flags": {1, 2}, "len": {1, 2}, "array": {1, 2}, "string": {0, 1}, "void": {0},
	"int8": {0, 1}, "int16": {0, 1}, "int32": {0, 1}, "int64": {0, 1},

	"sock_netlink": {0}, "sock_nl_generic": {0}, "sockaddr_nl_proc": {0}, "nl_generic_attr": {0}, "send_flags": {0},
	"msghdr_netlink": {1}, "netlink_msg": {3}, "netlink_msg_t": {3}, "genlmsghdr_t": {1}, "nlattr": {2}, "nlnest": {2},
}

// Constants that are no names of types: those of headers, and directions.
var (
	syzConst   = regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	syzForeign = []string{"AF_NETLINK", "SOCK_RAW", "SOL_NETLINK", "NETLINK_ADD_MEMBERSHIP", "NETLINK_DROP_MEMBERSHIP"}
	syzNumber  = regexp.MustCompile(`^[0-9]+(:[0-9]+)?$`)
	syzCall    = regexp.MustCompile(`^([a-z_]+)\$([A-Za-z_]+)\((.*)\)(?: ([a-z_]+))?$`)
	syzUnion   = regexp.MustCompile(`^([a-z_]+) \[$`)
	syzType    = regexp.MustCompile(`^type ([a-z_]+)\[([A-Z, ]+)\] (.+)$`)
	syzRes     = regexp.MustCompile(`^resource ([a-z_]+)\[([a-z0-9_]+)\]$`)
	syzFlags   = regexp.MustCompile(`^([a-z_]+) = (.+)$`)
)

// A syzExpr is a use of a type: its name, and what is in brackets behind it.
type syzExpr struct {
	name string
	args []syzExpr
}

// syzFile is one description, as far as its structure can be told without
// syzkaller's compiler.
type syzFile struct {
	defined map[string]int // the types of its own, by their number of parameters
	used    map[string]bool
	consts  map[string]bool // of the headers that it includes
	calls   map[string]int  // by name
	errs    []error
}

func (f *syzFile) errorf(line int, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("line %d: %s", line+1, fmt.Sprintf(format, args...)))
}

func splitTop(s string) (all []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				all = append(all, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	return append(all, strings.TrimSpace(s[from:]))
}

func parseSyz(s string) (syzExpr, error) {
	name, rest, ok := strings.Cut(s, "[")
	if !ok {
		if strings.ContainsAny(s, "], ") && !strings.HasPrefix(s, `"`) || s == "" {
			return syzExpr{}, fmt.Errorf("%q is no type", s)
		}
		return syzExpr{name: s}, nil
	}
	if !strings.HasSuffix(rest, "]") {
		return syzExpr{}, fmt.Errorf("%q has no end", s)
	}
	e := syzExpr{name: name}
	for _, part := range splitTop(strings.TrimSuffix(rest, "]")) {
		arg, err := parseSyz(part)
		if err != nil {
			return syzExpr{}, err
		}
		e.args = append(e.args, arg)
	}
	return e, nil
}

// checkSyz says what is wrong with a description. headers has the constants of
// the uapi headers by the names of the files.
func checkSyz(text string, headers map[string][]string) *syzFile {
	f := &syzFile{defined: map[string]int{}, used: map[string]bool{}, consts: map[string]bool{}, calls: map[string]int{}}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	define := func(n int, name string, params int) {
		if _, ok := f.defined[name]; ok || syzKnown[name] != nil {
			f.errorf(n, "%s is defined twice", name)
		}
		f.defined[name] = params
	}
	for n, line := range lines { // what there is, as it may stand below its use
		switch {
		case strings.HasPrefix(line, "include <"):
			for _, c := range headers[strings.TrimSuffix(strings.TrimPrefix(line, "include <"), ">")] {
				f.consts[c] = true
			}
		case syzRes.MatchString(line):
			define(n, syzRes.FindStringSubmatch(line)[1], 0)
		case syzType.MatchString(line):
			m := syzType.FindStringSubmatch(line)
			define(n, m[1], len(splitTop(m[2])))
		case syzUnion.MatchString(line):
			define(n, syzUnion.FindStringSubmatch(line)[1], 0)
		case syzFlags.MatchString(line):
			define(n, syzFlags.FindStringSubmatch(line)[1], 0)
		}
	}
	union := "" // that the line is in
	members := map[string]bool{}
	for n, line := range lines {
		switch {
		case union != "" && line == "] [varlen]":
			if len(members) == 0 {
				f.errorf(n, "%s has no member", union)
			}
			union = ""
		case union != "":
			name, typ, ok := strings.Cut(strings.TrimPrefix(line, "\t"), "\t")
			if !ok || !strings.HasPrefix(line, "\t") || members[name] {
				f.errorf(n, "%q is no member of %s, or one that it has", line, union)
			}
			members[name] = true
			f.expr(n, typ, nil, nil)
			if e, err := parseSyz(typ); err == nil && (len(e.args) == 0 || e.args[0].name != name) {
				f.errorf(n, "member %s is of type %s", name, typ)
			}
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "include <"):
		case syzRes.MatchString(line):
			f.expr(n, syzRes.FindStringSubmatch(line)[2], nil, nil)
		case syzType.MatchString(line):
			m := syzType.FindStringSubmatch(line)
			f.expr(n, m[3], splitTop(m[2]), nil)
		case syzUnion.MatchString(line):
			union, members = syzUnion.FindStringSubmatch(line)[1], map[string]bool{}
		case syzFlags.MatchString(line):
			for _, c := range splitTop(syzFlags.FindStringSubmatch(line)[2]) {
				f.constant(n, c)
			}
		case syzCall.MatchString(line):
			m := syzCall.FindStringSubmatch(line)
			f.calls[m[1]+"$"+m[2]]++
			var args []string
			for _, arg := range splitTop(m[3]) {
				name, _, _ := strings.Cut(arg, " ")
				args = append(args, name)
			}
			for _, arg := range splitTop(m[3]) {
				_, typ, _ := strings.Cut(arg, " ")
				f.expr(n, typ, nil, args)
			}
			if m[4] != "" {
				f.expr(n, m[4], nil, nil)
			}
		default:
			f.errorf(n, "%q is nothing known", line)
		}
	}
	if union != "" {
		f.errorf(len(lines), "%s has no end", union)
	}
	for name := range f.defined {
		if !f.used[name] {
			f.errs = append(f.errs, fmt.Errorf("%s is used nowhere", name))
		}
	}
	for name, times := range f.calls {
		if times != 1 {
			f.errs = append(f.errs, fmt.Errorf("call %s occurs %d times", name, times))
		}
	}
	return f
}

// expr checks a type. params are those of the template that it is in, siblings
// what a length may be of.
func (f *syzFile) expr(n int, text string, params, siblings []string) {
	e, err := parseSyz(text)
	if err != nil {
		f.errorf(n, "%v", err)
		return
	}
	f.use(n, e, params, siblings)
}

func (f *syzFile) use(n int, e syzExpr, params, siblings []string) {
	f.used[e.name] = true
	arity, ours := f.defined[e.name]
	switch {
	case slices.Contains(params, e.name) && len(e.args) == 0:
		return
	case syzConst.MatchString(e.name):
		f.constant(n, e.name)
		return
	case ours && len(e.args) != arity, !ours && !slices.Contains(syzKnown[e.name], len(e.args)):
		f.errorf(n, "%s is not known with %d parameters", e.name, len(e.args))
	}
	for i, arg := range e.args {
		switch {
		case e.name == "ptr" && i == 0:
			if arg.name != "in" && arg.name != "out" {
				f.errorf(n, "direction %s", arg.name)
			}
		case e.name == "len" && i == 0:
			if !slices.Contains(siblings, arg.name) {
				f.errorf(n, "the length of %s, which is not there", arg.name)
			}
		case e.name == "string":
			if _, err := strconv.Unquote(arg.name); err != nil {
				f.errorf(n, "%s is no text", arg.name)
			}
		case syzNumber.MatchString(arg.name) && (strings.HasPrefix(e.name, "int") || e.name == "array" && i == 1):
			from, to, ok := strings.Cut(arg.name, ":")
			a, _ := strconv.ParseUint(from, 10, 64)
			if b, err := strconv.ParseUint(to, 10, 64); ok && (err != nil || b < a) {
				f.errorf(n, "range %s", arg.name)
			}
		case e.name == "flags" && i == 0 && arg.name != "send_flags" && f.defined[arg.name] != 0:
			f.errorf(n, "%s are no flags", arg.name)
		default:
			f.use(n, arg, params, siblings)
		}
	}
}

func (f *syzFile) constant(n int, name string) {
	if !f.consts[name] && !slices.Contains(syzForeign, name) {
		f.errorf(n, "constant %s is in no header that is included", name)
	}
}

// uapi returns the constants of the generated headers.
func uapi(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("../../include/uapi/linux/*.h")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d headers, %v", len(files), err)
	}
	all := map[string][]string{}
	name := regexp.MustCompile(`(?m)^(?:\t|#define )([A-Z][A-Z0-9_]+)\b`)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(b), -1) {
			key := "uapi/linux/" + filepath.Base(file)
			all[key] = append(all[key], m[1])
		}
	}
	return all
}

// Every type that the descriptions use is defined, once, every length is that of
// something, every constant is in a header, and each request has its call.
// (TestCurrent says whether they are those of the specifications.)
func TestSyzkaller(t *testing.T) {
	headers := uapi(t)
	texts, err := filepath.Glob("../../share/syzkaller/*.txt")
	if err != nil || len(texts) != 2 {
		t.Fatalf("%v, %v", texts, err)
	}
	for _, s := range []struct{ text, spec string }{{syzGenlFile, genlFile}, {syzRawFile, rawFile}} {
		b, err := os.ReadFile(filepath.Join("../..", s.text))
		if err != nil {
			t.Fatal(err)
		}
		f := checkSyz(string(b), headers)
		for _, err := range f.errs {
			t.Errorf("%s: %v", s.text, err)
		}
		sp, err := readSpec(filepath.Join("../../spec", s.spec))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range sp.Operations.List {
			if op := &sp.Operations.List[i]; op.Event == nil {
				want = append(want, "sendmsg$"+sp.cOp(op))
			}
		}
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(f.calls)), func(name string) bool { return !strings.HasPrefix(name, "sendmsg$") })
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: calls %v, want %v", s.text, got, want)
		}
	}
}

// One wrong thing in a description that is right is found.
func TestSyzkallerWrong(t *testing.T) {
	headers := uapi(t)
	b, err := os.ReadFile(filepath.Join("../..", syzGenlFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"nlpeer_echo [", "nlpeer_eco [", "nlpeer_echo is not known with 0 parameters"},
		{"nlpeer_echo [", "nlpeer_echo {", "is nothing known"},
		{"[NLPEER_A_ECHO_PAYLOAD, array", "[NLPEER_A_ECHO_PAYLODE, array", "constant NLPEER_A_ECHO_PAYLODE"},
		{"\tNLPEER_A_ECHO_PAYLOAD\t", "\tNLPEER_A_ECHO\t", "member NLPEER_A_ECHO is of type"},
		{"0:32768", "32769:32768", "range 32769:32768"},
		{"nlattr[NLPEER_A_BEACON_GENL, int32", "nlattr[int32", "nlattr is not known with 1 parameters"},
		{"flags[nlpeer_modifier", "flags[nlpeer_modifiers", "nlpeer_modifiers is not known"},
		{"f flags[send_flags])\n", "f flags[send_flags], n len[g])\n", "the length of g"},
		{"include <uapi/linux/nlpeer.h>\n", "", "constant NLPEER_CMD_ECHO is in no header"},
		{"NLPEER_CMD_ECHO, nlpeer_echo]", "NLPEER_CMD_ECHO, nl_generic_attr]", "nlpeer_echo is used nowhere"},
		{"sendmsg$NLPEER_CMD_STATS_GET", "sendmsg$NLPEER_CMD_ECHO", "occurs 2 times"},
		{"resource genl_nlpeer_family_id[int16]", "resource genl_nlpeer_family_id[int17]", "int17 is not known"},
		{"nlpeer_modifier =", "nlpeer_echo =", "nlpeer_echo is defined twice"},
		{"array[int8, 0:32768]]", "array[int8, 0:32768]", "has no end"},
	} {
		text := strings.Replace(string(b), tt.old, tt.new, 1)
		if text == string(b) {
			t.Errorf("%q is not there", tt.old)
		}
		if got := fmt.Sprint(checkSyz(text, headers).errs); !strings.Contains(got, tt.want) {
			t.Errorf("%q for %q: %s, want %q", tt.new, tt.old, got, tt.want)
		}
	}
}
