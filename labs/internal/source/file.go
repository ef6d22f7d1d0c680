// SPDX-License-Identifier: MIT

package source

import (
	"bytes"
	"fmt"
	"go/format"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Variant says what of a lab is solved. The zero value is the skeleton.
type Variant struct {
	// Solved is the number of the last TODO that is solved, those before it
	// included.
	Solved int
	// Mistake is the name of a known mistake to be made, "" for none.
	Mistake string
}

// All is the Variant in which everything is solved.
var All = Variant{Solved: 1 << 30}

// A File is a file of a lab, taken apart at its marks.
type File struct {
	name  string
	parts []part
}

// A part is lines that all variants have, or a region.
type part struct {
	lines  []string
	region *region
}

// A region is what belongs to a TODO.
type region struct {
	line     int // where it begins
	todo     int
	skeleton []string
	solved   []string
	mistakes []mistake
}

type mistake struct {
	name  string
	lines []string
}

var (
	mark    = regexp.MustCompile(`^\s*//>\s*(.*?)\s*$`)
	carried = regexp.MustCompile(`^(\s*)//\|( ?)(.*)\n?$`)
	named   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// ParseFile takes a file apart. The name is for errors, and its extension says
// how the file is formatted.
func ParseFile(name string, text []byte) (*File, error) {
	f := &File{name: name}
	p := fileParser{file: f}
	for line := range strings.Lines(string(text)) {
		p.number++
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, p.number, err)
		}
	}
	if p.region != nil {
		return nil, fmt.Errorf("%s:%d: the region that begins here has no \"//> end\"", name, p.region.line)
	}
	return f, nil
}

type fileParser struct {
	file   *File
	number int
	region *region // the one that is open
	where  string  // "skeleton", "solved" or "mistake"
}

func (p *fileParser) line(line string) error {
	if m := mark.FindStringSubmatch(line); m != nil {
		return p.mark(strings.Fields(m[1]))
	}
	if p.region == nil {
		if carried.MatchString(line) {
			return fmt.Errorf("a line after \"//|\" outside of a region")
		}
		last := len(p.file.parts) - 1
		if last < 0 || p.file.parts[last].region != nil {
			p.file.parts = append(p.file.parts, part{})
			last++
		}
		p.file.parts[last].lines = append(p.file.parts[last].lines, line)
		return nil
	}
	if p.where == "solved" {
		if carried.MatchString(line) {
			return fmt.Errorf("a line after \"//|\" among those of the solution")
		}
		p.region.solved = append(p.region.solved, line)
		return nil
	}
	m := carried.FindStringSubmatch(line)
	switch {
	case m == nil && strings.TrimSpace(line) == "":
		return nil
	case m == nil:
		return fmt.Errorf("this line needs a \"//|\" in front of it, or a \"//> solved\" above it")
	case m[2] == "" && m[3] != "":
		return fmt.Errorf("a blank is missing after \"//|\"")
	}
	text := "\n"
	if m[3] != "" {
		text = m[1] + m[3] + "\n"
	}
	if p.where == "mistake" {
		last := &p.region.mistakes[len(p.region.mistakes)-1]
		last.lines = append(last.lines, text)
		return nil
	}
	p.region.skeleton = append(p.region.skeleton, text)
	return nil
}

func (p *fileParser) mark(words []string) error {
	verb := ""
	if len(words) > 0 {
		verb = words[0]
	}
	want := map[string]int{"todo": 2, "solved": 1, "mistake": 2, "end": 1}[verb]
	switch {
	case want == 0:
		return fmt.Errorf("\"//> %s\" is none of todo N, solved, mistake NAME, end", strings.Join(words, " "))
	case len(words) != want:
		return fmt.Errorf("\"//> %s\" has %d words, want %d", strings.Join(words, " "), len(words), want)
	case verb == "todo" && p.region != nil:
		return fmt.Errorf("a region in the one of line %d; regions do not nest", p.region.line)
	case verb != "todo" && p.region == nil:
		return fmt.Errorf("\"//> %s\" outside of a region", verb)
	}
	switch verb {
	case "todo":
		n, err := strconv.Atoi(words[1])
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of a TODO", words[1])
		}
		p.region, p.where = &region{line: p.number, todo: n}, "skeleton"
		p.file.parts = append(p.file.parts, part{region: p.region})
	case "solved":
		if p.where != "skeleton" {
			return fmt.Errorf("\"//> solved\" comes once, after the lines of the skeleton")
		}
		p.where = "solved"
	case "mistake":
		if p.where == "skeleton" {
			return fmt.Errorf("\"//> mistake\" comes after the lines of the solution")
		}
		if !named.MatchString(words[1]) {
			return fmt.Errorf("%q: names of mistakes are lower-case words joined by hyphens", words[1])
		}
		p.region.mistakes = append(p.region.mistakes, mistake{name: words[1]})
		p.where = "mistake"
	case "end":
		if p.where == "skeleton" {
			return fmt.Errorf("the region that begins in line %d has no \"//> solved\"", p.region.line)
		}
		p.region = nil
	}
	return nil
}

// Regions says for each region to which TODO it belongs.
func (f *File) Regions() []int {
	var todos []int
	for _, p := range f.parts {
		if p.region != nil {
			todos = append(todos, p.region.todo)
		}
	}
	return todos
}

// Mistakes are the names of the mistakes that the file has lines for.
func (f *File) Mistakes() []string {
	var names []string
	for _, p := range f.parts {
		if p.region == nil {
			continue
		}
		for _, m := range p.region.mistakes {
			if !slices.Contains(names, m.name) {
				names = append(names, m.name)
			}
		}
	}
	return names
}

// Render returns a variant of the file.
func (f *File) Render(v Variant) ([]byte, error) {
	var b bytes.Buffer
	for _, p := range f.parts {
		lines := p.lines
		if r := p.region; r != nil {
			lines = r.skeleton
			if r.todo <= v.Solved {
				lines = r.solved
			}
			for _, m := range r.mistakes {
				if v.Mistake != "" && m.name == v.Mistake {
					lines = m.lines
				}
			}
		}
		for _, line := range lines {
			b.WriteString(line)
		}
	}
	if path.Ext(f.name) != ".go" {
		return b.Bytes(), nil
	}
	text, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s, with TODOs up to %d solved: %w", f.name, min(v.Solved, 99), err)
	}
	return text, nil
}
