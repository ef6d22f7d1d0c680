// SPDX-License-Identifier: MIT

package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The kinds of a lab: its checks run on this machine, or in a virtual one.
const (
	Host = "host"
	VM   = "vm"
)

// A Lab is the source of a lab.
type Lab struct {
	// Dir is its folder, ID the folder's name, such as "03-echo".
	Dir string `yaml:"-"`
	ID  string `yaml:"-"`

	Number  int      `yaml:"number"`
	Name    string   `yaml:"name"`
	Title   string   `yaml:"title"`
	Minutes int      `yaml:"minutes"`
	Kind    string   `yaml:"kind"`
	Image   string   `yaml:"image"`
	Kmod    []string `yaml:"kmod"` // of the kernel's own, loaded before
	Needs   []int    `yaml:"needs"`
	Teaches []string `yaml:"teaches"`

	Todos    []Todo             `yaml:"todos"`
	Mistakes map[string]Mistake `yaml:"mistakes"`

	// Show is a command for the guest that shows what the lab is about, Trace
	// one whose way through the kernel is worth to be seen.
	Show  string `yaml:"show"`
	Trace Trace  `yaml:"trace"`

	// Tour is what a lab without TODOs shows, instead of a check.
	Tour []Stop `yaml:"tour"`

	files map[string]*File
}

// A Todo is a piece of the student's work.
type Todo struct {
	Title string   `yaml:"title"`
	Hints []string `yaml:"hints"`
}

// A Mistake is one that is known. The check finds it, or the kernel does.
type Mistake struct {
	// Help says what it is, what it does and where to look.
	Help string `yaml:"help"`
	// Log, if it is not "", finds it in what a kernel says that has crashed or
	// complained, or in what nlvm says of one that hangs.
	Log string `yaml:"log"`
}

// UnmarshalYAML takes a string for the help alone.
func (m *Mistake) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&m.Help)
	}
	type plain Mistake
	return n.Decode((*plain)(m))
}

// A Trace is a command, and the functions besides netlink's own that are traced.
type Trace struct {
	Command   string   `yaml:"command"`
	Functions []string `yaml:"functions"`
	AllTasks  bool     `yaml:"all-tasks"`
}

// A Stop of a tour is a command for the guest, and what there is to say of it.
type Stop struct {
	Say   string `yaml:"say"`
	Do    string `yaml:"do"`
	Crash bool   `yaml:"crash"` // it is to crash the guest's kernel
}

// StudentDirs are the folders of a lab that are the student's.
var StudentDirs = []string{"kernel", "user", "c"}

// Course reads all labs of labs/src, in order.
func Course(dir string) ([]*Lab, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var labs []*Lab
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		lab, err := Load(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		labs = append(labs, lab)
	}
	slices.SortFunc(labs, func(a, b *Lab) int { return a.Number - b.Number })
	for i, lab := range labs[:max(0, len(labs)-1)] {
		if lab.Number == labs[i+1].Number {
			return nil, fmt.Errorf("%s and %s have the same number", lab.Dir, labs[i+1].Dir)
		}
	}
	return labs, nil
}

// Load reads one lab, and says what is wrong with it.
func Load(dir string) (*Lab, error) {
	lab := &Lab{Dir: dir, ID: filepath.Base(dir), files: map[string]*File{}}
	about := filepath.Join(dir, "lab.yaml")
	text, err := os.ReadFile(about)
	if err != nil {
		return nil, err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(lab); err != nil {
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	if lab.Image == "" {
		lab.Image = "busybox"
	}
	if err := lab.read(); err != nil {
		return nil, err
	}
	if err := lab.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", about, err)
	}
	return lab, nil
}

// read takes the student's files apart.
func (l *Lab) read() error {
	for _, sub := range StudentDirs {
		root := filepath.Join(l.Dir, sub)
		err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if generated(d.Name()) {
				return nil
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			f, err := ParseFile(name, text)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(l.Dir, name)
			l.files[filepath.ToSlash(rel)] = f
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// generated says whether a file is one that kbuild, a compiler or an editor
// leaves.
func generated(name string) bool {
	switch path.Ext(name) {
	case ".o", ".ko", ".mod", ".cmd", ".order", ".symvers", ".swp":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".mod.c")
}

func (l *Lab) check() error {
	switch {
	case fmt.Sprintf("%02d-%s", l.Number, l.Name) != l.ID:
		return fmt.Errorf("number %d and name %q make no folder %s", l.Number, l.Name, l.ID)
	case l.Title == "":
		return errors.New("no title")
	case l.Kind != Host && l.Kind != VM:
		return fmt.Errorf("kind %q is neither %s nor %s", l.Kind, Host, VM)
	case l.Minutes < 1:
		return errors.New("no minutes")
	case (len(l.Todos) == 0) == (len(l.Tour) == 0):
		return errors.New("a lab has either todos or a tour")
	}
	regions := map[int]bool{}
	mistakes := map[string]bool{}
	for _, f := range l.files {
		for _, n := range f.Regions() {
			regions[n] = true
		}
		for _, m := range f.Mistakes() {
			mistakes[m] = true
		}
	}
	for n := range regions {
		if n > len(l.Todos) {
			return fmt.Errorf("a region belongs to TODO %d, and there are %d", n, len(l.Todos))
		}
	}
	for i, todo := range l.Todos {
		switch {
		case todo.Title == "":
			return fmt.Errorf("TODO %d has no title", i+1)
		case len(todo.Hints) == 0:
			return fmt.Errorf("TODO %d has no hints", i+1)
		case !regions[i+1]:
			return fmt.Errorf("TODO %d has no region in %s", i+1, strings.Join(StudentDirs, ", "))
		}
	}
	for name := range mistakes {
		if _, ok := l.Mistakes[name]; !ok {
			return fmt.Errorf("the mistake %q of a region has no help", name)
		}
	}
	for name, m := range l.Mistakes {
		if !mistakes[name] {
			return fmt.Errorf("the mistake %q has no region", name)
		}
		if strings.TrimSpace(m.Help) == "" {
			return fmt.Errorf("the mistake %q has no help", name)
		}
		if _, err := regexp.Compile(m.Log); err != nil {
			return fmt.Errorf("the mistake %q: %w", name, err)
		}
	}
	return nil
}

// Graded says whether there is anything to do in the lab.
func (l *Lab) Graded() bool { return len(l.Todos) > 0 }

// MistakeNames are the names of the known mistakes, sorted.
func (l *Lab) MistakeNames() []string { return slices.Sorted(maps.Keys(l.Mistakes)) }

// A Piece is the solution of a region: lines of a file.
type Piece struct {
	File  string
	Lines []string
}

// Solution returns what solves a TODO.
func (l *Lab) Solution(todo int) []Piece {
	var pieces []Piece
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		for _, p := range l.files[name].parts {
			if p.region != nil && p.region.todo == todo {
				pieces = append(pieces, Piece{File: name, Lines: p.region.solved})
			}
		}
	}
	return pieces
}

// Has says whether the lab has a folder of that name, one of StudentDirs.
func (l *Lab) Has(dir string) bool {
	for name := range l.files {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// Files returns a variant of the student's files by their names.
func (l *Lab) Files(v Variant) (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, f := range l.files {
		text, err := f.Render(v)
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return files, nil
}

// included are the places of the text that a file fills.
var included = map[string]string{"picture": "picture.txt", "trace": "trace.txt"}

var inclusion = regexp.MustCompile(`(?ms)^<!-- (picture|trace) -->\n.*?^<!-- end -->\n`)

// Text returns the lab's text with the picture and the trace in it.
func (l *Lab) Text() ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(l.Dir, "README.md"))
	if err != nil {
		return nil, err
	}
	var wrong error
	text = inclusion.ReplaceAllFunc(text, func(place []byte) []byte {
		what := string(inclusion.FindSubmatch(place)[1])
		content, err := os.ReadFile(filepath.Join(l.Dir, included[what]))
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s of %s: %w; try: nllab generate --record %d", what, l.ID, err, l.Number))
		}
		return fmt.Appendf(nil, "<!-- %s -->\n\n```text\n%s```\n\n<!-- end -->\n", what, content)
	})
	return text, wrong
}
