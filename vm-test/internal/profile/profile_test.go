// SPDX-License-Identifier: MIT

package profile_test

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/gdb"
	"nlpeer/vm-test/internal/profile"
)

// A kernel that has just what the tests below walk through.
const kallsyms = `0000000000001000 A per_cpu_thing
ffffffff81000000 T entry_SYSCALL_64
ffffffff81000010 T entry_SYSCALL_64_after_hwframe
ffffffff81000100 T do_syscall_64
ffffffff81000200 T __x64_sys_send
ffffffff81000200 t ____alias_of_it
ffffffff81000300 T netlink_sendmsg
ffffffff81000400 T __alloc_skb
ffffffff81000500 T memset
ffffffff81000600 T asm_exc_page_fault
ffffffff81000302 d some_data
ffffffffc0000000 t raw_echo	[nlpeer]
ffffffffc0000100 t raw_echo.cold	[nlpeer]
`

// compile builds a program with a marker.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "program")
	cmd := exec.Command("gcc", append([]string{"-x", "c", "-O1", "-nostdlib", "-Wl,-e,main", "-o", file, "-"}, flags...)...)
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

const source = `__attribute__((noinline)) void marker(void) { __asm__ volatile(""); }
int main(void) { marker(); return 0; }`

const (
	kernelStack = 0xffffc90000200000
	userStack   = 0x7ffc00001000
)

// at is an instruction.
func at(pc, sp uint64) profile.Sample { return profile.Sample{PC: pc, SP: sp} }

func symbols(t *testing.T) (*profile.Symbols, uint64) {
	t.Helper()
	p, err := profile.OpenProgram(compile(t, source, "-static", "-no-pie"))
	if err != nil {
		t.Fatal(err)
	}
	marker, code, err := p.Marker("marker")
	if err != nil || len(code) == 0 || code[0] != 0xc3 { // ret
		t.Fatalf("%x, %v", code, err)
	}
	s, err := profile.NewSymbols(p, strings.NewReader(kallsyms))
	if err != nil {
		t.Fatal(err)
	}
	return s, marker
}

// One operation with all that a way through a kernel has: calls, a jump in place
// of a call, a part that the compiler moved away, another stack, an exception,
// and a repeated instruction.
func TestTree(t *testing.T) {
	s, marker := symbols(t)
	const (
		entry, do, send, netlink = 0xffffffff81000000, 0xffffffff81000100, 0xffffffff81000200, 0xffffffff81000300
		alloc, memset, fault     = 0xffffffff81000400, 0xffffffff81000500, 0xffffffff81000600
		echo, cold               = 0xffffffffc0000000, 0xffffffffc0000100
		k                        = kernelStack
		u                        = userStack
		outside                  = 0x7f0000000000 // vdso, say
	)
	op := []profile.Sample{
		at(marker, u-8), at(marker, u-8), // ret
		at(outside, u),               // the caller
		at(entry, u), at(entry+4, u), // into the kernel, on the program's stack
		at(entry+0x12, k), at(entry+0x14, k-8), // its own stack, another label
		at(do, k-16), at(do+1, k-24),
		at(send, k-32), at(send+4, k-32), // a jump:
		at(netlink, k-32), at(netlink+1, k-40),
		at(alloc, k-48), at(alloc+1, k-48),
		at(memset, k-56), at(memset+3, k-56), at(memset+3, k-56), at(memset+3, k-56), at(memset+5, k-56),
		at(alloc+6, k-48),
		at(netlink+6, k-40),
		at(echo, k-48), at(cold, k-48), at(echo+9, k-48),
		at(fault, k-96), at(fault+1, k-96), at(echo+9, k-48),
		at(alloc, k-56), at(echo+14, k-48),
		at(netlink+11, k-40),
		at(do+6, k-24), at(do+7, k-16),
		at(entry+0x20, k-8), at(entry+0x22, u),
		at(outside+2, u),
	}
	b := profile.New(s, profile.Recording{Operations: [][]profile.Sample{op, op}})

	if b.Fewest != len(op) || b.Most != len(op) || b.Instructions != float64(len(op)) || b.Operations != 2 {
		t.Errorf("%v instructions, %d to %d, in %d operations, want %d in 2", b.Instructions, b.Fewest, b.Most, b.Operations, len(op))
	}
	var folded bytes.Buffer
	if err := b.Folded(&folded); err != nil {
		t.Fatal(err)
	}
	const want = `marker 4
[outside the program] 4
[outside the program];entry_SYSCALL_64 12
[outside the program];entry_SYSCALL_64;do_syscall_64 8
[outside the program];entry_SYSCALL_64;do_syscall_64;__x64_sys_send 4
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg 8
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg;__alloc_skb 6
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg;__alloc_skb;memset 10
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg;raw_echo [nlpeer] 10
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg;raw_echo [nlpeer];asm_exc_page_fault 4
[outside the program];entry_SYSCALL_64;do_syscall_64;netlink_sendmsg;raw_echo [nlpeer];__alloc_skb 2
`
	if folded.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", folded.String(), want)
	}
	if got := len(op) * 2; b.Root.Total != got {
		t.Errorf("%d instructions in the tree, want %d", b.Root.Total, got)
	}

	calls, parts := map[string]int{}, 0
	for _, f := range b.Functions {
		calls[f.Name] += f.Calls
	}
	for name, want := range map[string]int{"marker": 2, "__alloc_skb": 4, "raw_echo": 2, "memset": 2, "entry_SYSCALL_64": 2} {
		if calls[name] != want {
			t.Errorf("%d calls of %s, want %d", calls[name], name, want)
		}
	}
	got := map[profile.Part]int{}
	for _, p := range b.Parts {
		parts += p.Self
		got[p.Part] = p.Self
	}
	// An exception is no part of its own: it belongs to who caused it.
	for part, want := range map[profile.Part]int{
		profile.PartProgram: 8, profile.PartPeer: 14, profile.PartCopy: 10, profile.PartBuffer: 8, profile.PartNetlink: 8,
		profile.PartSyscall: 20, profile.PartSocket: 4,
	} {
		if got[part] != want {
			t.Errorf("%d instructions of %s, want %d", got[part], part, want)
		}
	}
	if parts != b.Root.Total {
		t.Errorf("the parts have %d instructions, want %d", parts, b.Root.Total)
	}
}

func TestProgramsThatWillNotDo(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
	}{
		{"not static", compile(t, source, "-pie", "-fPIE"), "position-independent"},
		{"stripped", compile(t, source, "-no-pie", "-s"), "do not strip"},
		{"no program", "profile_test.go", "no program"},
		{"no file", "nowhere", "no such file"},
	} {
		if _, err := profile.OpenProgram(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	p, err := profile.OpenProgram(compile(t, source, "-static", "-no-pie"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.Marker("mark"); err == nil || !strings.Contains(err.Error(), "no function mark") {
		t.Errorf("a marker that is not there: %v", err)
	}
}

func TestBadKallsyms(t *testing.T) {
	p, err := profile.OpenProgram(compile(t, source, "-static", "-no-pie"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ text, want string }{
		{"", "no address"},
		{"0000000000000000 T entry_SYSCALL_64\n", "no address"}, // kptr_restrict
		{"ffffffff81000000 T a\nffffffff81000000\n", "line 2"},
		{"ffffffff8100000x T a\n", "line 1"},
	} {
		if _, err := profile.NewSymbols(p, strings.NewReader(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}

// A guest is a program whose stub we play: it has the same three instructions
// for ever, and another process has other code at the marker's address.
type guest struct {
	t       *testing.T
	steps   int // done so far
	stops   int
	ends    int // after so many stops; 0 for never
	foreign map[int]bool
	idle    bool // each other step at the marker executes nothing
	idled   bool
	out     bytes.Buffer
}

func (g *guest) Read(p []byte) (int, error) { return g.out.Read(p) }

const marked, code = 0x401000, "0123456789abcdef"

func (g *guest) Write(p []byte) (int, error) {
	request := strings.TrimPrefix(string(p), "+")
	request = request[1:strings.IndexByte(request, '#')]
	answer := "OK"
	switch request[0] {
	case 'c':
		if g.stops > 0 && g.steps == 0 {
			g.t.Errorf("asked to go on at a breakpoint, after %d stops", g.stops)
		}
		g.stops++
		g.steps = 0
		answer = "T05"
		if g.stops == g.ends {
			answer = "W00"
		}
	case 's':
		answer = "S05"
		if g.idled = g.idle && g.steps == 0 && !g.idled; g.idled {
			break
		}
		g.steps = (g.steps + 1) % 3 // an operation has three instructions
		if g.steps == 0 {
			g.stops++
		}
	case 'g':
		answer = strings.Repeat("00", 16*8) + []string{"00104000", "04104000", "08104000"}[g.steps] + "00000000"
	case 'm':
		answer = strings.Repeat("00", len(code))
		if !g.foreign[g.stops] {
			answer = "30313233343536373839616263646566"
		}
	}
	sum := byte(0)
	for i := range len(answer) {
		sum += answer[i]
	}
	const hex = "0123456789abcdef"
	g.out.WriteString("+$" + answer + "#" + string(hex[sum>>4]) + string(hex[sum&15]))
	return len(p), nil
}

func TestRecord(t *testing.T) {
	plan := profile.Plan{Marker: marked, Code: []byte(code), Warmup: 2, Operations: 3, Limit: 3}
	for _, idle := range []bool{false, true} {
		g := &guest{t: t, foreign: map[int]bool{1: true, 3: true}, idle: idle}
		r, err := profile.Record(gdb.New(g), plan)
		if err != nil {
			t.Fatal(err)
		}
		if r.Hits != plan.Calls() || len(r.Operations) != plan.Operations {
			t.Errorf("%d hits and %d operations, want %d and %d", r.Hits, len(r.Operations), plan.Calls(), plan.Operations)
		}
		if want := plan.Calls() + len(g.foreign); g.stops != want {
			t.Errorf("%d stops, want %d: those of the other process are none of ours", g.stops, want)
		}
		for _, op := range r.Operations {
			if len(op) != 3 || op[0].PC != marked || op[2].PC != marked+8 {
				t.Errorf("an operation of %v", op)
			}
		}
	}

	g := &guest{t: t, ends: 3}
	r, err := profile.Record(gdb.New(g), plan)
	if !errors.Is(err, profile.ErrEnded) || r.Hits != 2 {
		t.Errorf("a guest that ends: %d hits, %v", r.Hits, err)
	}

	// One that is too long goes on at full speed, and is told from one that ends.
	plan.Limit = 2
	if r, err = profile.Record(gdb.New(&guest{t: t}), plan); !errors.Is(err, profile.ErrTooLong) {
		t.Errorf("a long operation: %d hits, %v", r.Hits, err)
	}
	if r, err = profile.Record(gdb.New(&guest{t: t, ends: 4}), plan); !errors.Is(err, profile.ErrEnded) || r.Hits != 3 {
		t.Errorf("a guest that ends in an operation: %d hits, %v", r.Hits, err)
	}
}
