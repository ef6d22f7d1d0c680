// SPDX-License-Identifier: MIT

package profile

import (
	"bufio"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Function is a symbol of the program, or of the kernel and its modules.
type Function struct {
	Name   string
	Module string // of the kernel, "" if built in
	Kernel bool
}

// symbol is a function and where it begins. It ends where the next one begins,
// or before that if its end is known.
type symbol struct {
	Function
	addr, end uint64
}

// Symbols finds functions by address.
type Symbols struct {
	sorted []symbol
}

// kernelHalf is where the kernel's half of the address space begins.
const kernelHalf = 1 << 63

// unknown are functions of which nothing is known but on which side they are:
// what the kernel maps into each process, and shared libraries.
var unknown = map[bool]*Function{
	false: {Name: "[outside the program]"},
	true:  {Name: "[unknown]", Kernel: true},
}

// NewSymbols puts the functions of a program and of the kernel together. The
// kernel's come as in /proc/kallsyms.
func NewSymbols(p *Program, kallsyms io.Reader) (*Symbols, error) {
	kernel, err := readKallsyms(kallsyms)
	if err != nil {
		return nil, err
	}
	s := &Symbols{sorted: slices.Concat(p.symbols, kernel)}
	slices.SortStableFunc(s.sorted, func(a, b symbol) int {
		return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(rank(a.Name), rank(b.Name)))
	})
	// Of several names for one place, the plainest.
	s.sorted = slices.CompactFunc(s.sorted, func(a, b symbol) bool { return a.addr == b.addr })
	return s, nil
}

// rank is lower for plainer names.
func rank(name string) int {
	return 100*(len(name)-len(strings.TrimLeft(name, "_"))) + len(name)
}

// find returns the function at an address, and whether it begins there.
func (s *Symbols) find(addr uint64) (f *Function, begins bool) {
	i, exact := slices.BinarySearchFunc(s.sorted, addr, func(sym symbol, addr uint64) int { return cmp.Compare(sym.addr, addr) })
	if !exact {
		i--
	}
	kernel := addr >= kernelHalf
	if i < 0 || s.sorted[i].Kernel != kernel || s.sorted[i].end != 0 && addr >= s.sorted[i].end {
		return unknown[kernel], false
	}
	return &s.sorted[i].Function, exact
}

// readKallsyms reads lines such as
//
//	ffffffffc0381230 t raw_echo	[nlpeer]
func readKallsyms(r io.Reader) ([]symbol, error) {
	var symbols []symbol
	scanner := bufio.NewScanner(r)
	for n := 1; scanner.Scan(); n++ {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 3 {
			return nil, fmt.Errorf("/proc/kallsyms: line %d: %q", n, scanner.Text())
		}
		if !strings.Contains("tTwW", fields[1]) {
			continue
		}
		addr, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("/proc/kallsyms: line %d: %w", n, err)
		}
		if addr < kernelHalf { // per processor, or not for our eyes
			continue
		}
		if entryLabel(fields[2]) {
			continue
		}
		f := Function{Name: cold(fields[2]), Kernel: true}
		if len(fields) > 3 {
			f.Module = strings.Trim(fields[3], "[]")
		}
		symbols = append(symbols, symbol{Function: f, addr: addr})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("/proc/kallsyms: %w", err)
	}
	if len(symbols) == 0 {
		return nil, errors.New("/proc/kallsyms of the guest tells no address")
	}
	return symbols, nil
}

// entryLabel says that a symbol is a place in the kernel's entry of system
// calls and no function of its own.
func entryLabel(name string) bool {
	return strings.HasPrefix(name, "entry_SYSCALL_64_") || strings.HasPrefix(name, "entry_SYSRETQ_") || name == "syscall_return_via_sysret"
}

// cold gives a part of a function that the compiler has moved away the name of
// the whole.
func cold(name string) string { return strings.TrimSuffix(name, ".cold") }

// Program is what is known of the program that is followed.
type Program struct {
	name    string
	symbols []symbol
}

// OpenProgram reads a program's symbols. Its addresses must be those that the
// file says.
func OpenProgram(name string) (*Program, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s is no program with symbols: %w", name, err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("%s is a program for %v; only x86-64 can be followed so far", name, f.Machine)
	}
	if f.Type != elf.ET_EXEC {
		return nil, fmt.Errorf("%s is position-independent: it may lie anywhere; link it with -no-pie (Go: -buildmode=exe)", name)
	}
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w; build it without -s and do not strip it", name, err)
	}
	p := &Program{name: name}
	for _, s := range all {
		if elf.ST_TYPE(s.Info) != elf.STT_FUNC || int(s.Section) >= len(f.Sections) {
			continue
		}
		sym := symbol{Function: Function{Name: cold(s.Name)}, addr: s.Value, end: s.Value + s.Size}
		if s.Size == 0 { // written in assembly: up to the next one, or the last
			in := f.Sections[s.Section]
			sym.end = in.Addr + in.Size
		}
		p.symbols = append(p.symbols, sym)
	}
	return p, nil
}

// codeLength is how much of a marker is compared: enough to tell it from what
// other programs have at its address.
const codeLength = 16

// Marker finds the marker function: by its name, or in a Go program by its name
// in package main.
func (p *Program) Marker(name string) (addr uint64, code []byte, err error) {
	for _, want := range []string{name, "main." + name} {
		for _, s := range p.symbols {
			if s.Name == want {
				code, err := p.code(s.addr)
				return s.addr, code, err
			}
		}
	}
	return 0, nil, fmt.Errorf("%s has no function %s; have it call one between two operations that the compiler does not inline, or name another with --marker", p.name, name)
}

func (p *Program) code(addr uint64) ([]byte, error) {
	f, err := elf.Open(p.name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_LOAD && addr >= prog.Vaddr && addr < prog.Vaddr+prog.Filesz {
			code := make([]byte, min(codeLength, prog.Vaddr+prog.Filesz-addr))
			_, err := prog.ReadAt(code, int64(addr-prog.Vaddr))
			return code, err
		}
	}
	return nil, fmt.Errorf("%s: address %#x is in no segment of it", p.name, addr)
}
