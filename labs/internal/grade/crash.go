// SPDX-License-Identifier: MIT

package grade

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A crash is what matters of the kernel's words when it crashes or complains.
type crash struct {
	what  string // its headline
	where string // in the student's module
	calls []string
	more  []string // of what could not be understood, the first lines
}

var (
	stamp    = regexp.MustCompile(`^\| \[ *\d+\.\d+\] ?`)
	headline = regexp.MustCompile(`^(BUG|WARNING|Oops|UBSAN|INFO|kernel BUG at|general protection fault|refcount_t|list_\w+ corruption|slab cache corruption|Unable to handle|divide error|invalid opcode|Kernel panic|watchdog: BUG|rcu: INFO|.*still has objects)`)
	// pointer is a place in the code: function, offset, module.
	pointer = regexp.MustCompile(`([A-Za-z_][\w.]*)\+0x([0-9a-f]+)/0x[0-9a-f]+(?: \[(\w+)[^\]]*\])?`)
	// buildDir is where nlvm builds a copy of kernel/.
	buildDir = regexp.MustCompile(`/\S*/module-\d+/`)
	// behind is what comes after a chain of calls. Registers may be in it.
	behind = regexp.MustCompile(`^(Modules linked in|---\[ end|Kernel panic|Kernel Offset|CPU: )`)
	// counter is the line that says where the processor was.
	counter = regexp.MustCompile(`^(RIP: |EIP: |pc : |Krnl PSW :)`)
)

// readCrash takes the kernel's words apart. modules are the student's, by their
// names: files with what a debugger needs.
func readCrash(words string, modules map[string]string) *crash {
	var lines []string
	for line := range strings.Lines(words) {
		if m := stamp.FindString(line); m != "" {
			line = strings.TrimSpace(line[len(m):])
			lines = append(lines, buildDir.ReplaceAllString(line, "kernel/"))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	c := &crash{}
	inTrace, done := false, false
	for _, line := range lines {
		if c.what == "" && headline.MatchString(line) {
			c.what = line
		}
		if done {
			continue
		}
		m := pointer.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "Call Trace:"), strings.HasPrefix(line, "Call trace:"):
			inTrace = true
		case counter.MatchString(line) && m != nil && !inTrace:
			c.call(m, modules)
		case inTrace && behind.MatchString(line):
			done = true
		case inTrace && m != nil && !strings.HasPrefix(line, "? "):
			c.call(m, modules)
		}
	}
	if c.what == "" {
		c.what = lines[0]
	}
	if len(c.calls) == 0 {
		c.more = lines[:min(len(lines), 12)]
	}
	return c
}

// call adds a function of the chain.
func (c *crash) call(m []string, modules map[string]string) {
	name, module := m[1], m[3]
	text := name
	if file, ok := modules[module]; ok {
		offset, _ := strconv.ParseUint(m[2], 16, 64)
		text += "   <- yours"
		place := "in " + name + "()"
		// A return address is one behind the call.
		if len(c.calls) > 0 && offset > 0 {
			offset--
		}
		if line, err := sourceLine(file, name, offset); err == nil {
			text += ", " + line
			place += ", " + line
		}
		if c.where == "" {
			c.where = place
		}
	} else if module != "" {
		text += " [" + module + "]"
	}
	c.calls = append(c.calls, text)
}

// text is for the student.
func (c *crash) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  what    %s\n", c.what)
	if c.where != "" {
		fmt.Fprintf(&b, "  where   %s\n", c.where)
	}
	const most = 14
	for i, call := range c.calls[:min(len(c.calls), most)] {
		head := "          "
		if i == 0 {
			head = "  calls   "
		}
		fmt.Fprintf(&b, "%s%s\n", head, call)
	}
	if len(c.calls) > most {
		fmt.Fprintf(&b, "          … %d more\n", len(c.calls)-most)
	}
	for _, line := range c.more {
		fmt.Fprintf(&b, "          %s\n", line)
	}
	return b.String()
}

var errNoLine = errors.New("no such line")

// sourceLine finds the line of an offset in a function of a module.
func sourceLine(file, function string, offset uint64) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool {
		return s.Name == function && elf.ST_TYPE(s.Info) == elf.STT_FUNC && int(s.Section) < len(f.Sections)
	})
	if i < 0 {
		return "", errNoLine
	}
	d, err := f.DWARF()
	if err != nil {
		return "", err
	}
	// A module is not linked: each of its sections begins at address 0, and has a
	// sequence of lines of its own, which ends with it.
	return lineAt(d, symbols[i].Value+offset, f.Sections[symbols[i].Section].Size)
}

func lineAt(d *dwarf.Data, address, size uint64) (string, error) {
	units := d.Reader()
	for {
		unit, err := units.Next()
		if err != nil || unit == nil {
			return "", errors.Join(err, errNoLine)
		}
		units.SkipChildren()
		lines, err := d.LineReader(unit)
		if err != nil || lines == nil {
			continue
		}
		var e, last, found dwarf.LineEntry
		for {
			if err := lines.Next(&e); err != nil {
				if errors.Is(err, io.EOF) {
					break
				}
				return "", err
			}
			if last.File != nil && last.Address <= address && address < e.Address {
				found = last
			}
			if e.EndSequence {
				if found.File != nil && e.Address == size {
					return fmt.Sprintf("%s:%d", filepath.Base(found.File.Name), found.Line), nil
				}
				last, found = dwarf.LineEntry{}, dwarf.LineEntry{}
				continue
			}
			last = e
		}
	}
}
