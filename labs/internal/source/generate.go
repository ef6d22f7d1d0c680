// SPDX-License-Identifier: MIT

package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Student returns the files of a lab as a student gets them: its code, up to
// the TODO that is solved, and its text.
func (l *Lab) Student(v Variant) (map[string][]byte, error) {
	files, err := l.Files(v)
	if err != nil {
		return nil, err
	}
	files["README.md"], err = l.Text()
	return files, err
}

// Tree returns the files that are made from the labs, by their names below
// labs/.
func Tree(labs []*Lab) (map[string][]byte, error) {
	tree := map[string][]byte{}
	for _, l := range labs {
		student, err := l.Student(Variant{})
		if err != nil {
			return nil, err
		}
		solution, err := l.Files(All)
		if err != nil {
			return nil, err
		}
		for name, text := range student {
			tree[l.ID+"/"+name] = text
		}
		if !l.Graded() {
			continue
		}
		for name, text := range solution {
			tree["solutions/"+l.ID+"/"+name] = text
		}
	}
	return tree, nil
}

// whole is Tree, with the page that leads to the labs, if dir has one.
func whole(dir string, labs []*Lab) (map[string][]byte, error) {
	tree, err := Tree(labs)
	if err != nil {
		return nil, err
	}
	page, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if errors.Is(err, fs.ErrNotExist) {
		return tree, nil
	}
	if place := mapPlace.FindIndex(page); err == nil && place != nil {
		tree["README.md"] = slices.Concat(page[:place[0]], courseMap(labs), page[place[1]:])
	}
	return tree, err
}

var mapPlace = regexp.MustCompile(`(?ms)^<!-- map -->\n.*?^<!-- end -->\n`)

// courseMap is the table of the labs.
func courseMap(labs []*Lab) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- map -->\n\n| lab | what you learn | needs | minutes |\n|---|---|---|---|\n")
	for _, l := range labs {
		needs := make([]string, len(l.Needs))
		for i, n := range l.Needs {
			needs[i] = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "| %d. [%s](%s/README.md) | %s | %s | %d |\n",
			l.Number, l.Title, l.ID, strings.Join(l.Teaches, "; "), cmp.Or(strings.Join(needs, ", "), "-"), l.Minutes)
	}
	b.WriteString("\n<!-- end -->\n")
	return b.Bytes()
}

// Stale compares what is made from the labs with the files in dir, which is
// labs/, and names those that are not as they should be, or should not be.
func Stale(dir string, labs []*Lab) ([]string, error) {
	tree, err := whole(dir, labs)
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !bytes.Equal(text, tree[name]) {
			stale = append(stale, name)
		}
	}
	more, err := leftovers(dir, tree)
	return append(stale, more...), err
}

// leftovers are files in the generated folders that no lab has any more.
func leftovers(dir string, tree map[string][]byte) ([]string, error) {
	var names []string
	numbered, err := filepath.Glob(filepath.Join(dir, "[0-9][0-9]-*"))
	if err != nil {
		return nil, err
	}
	for _, root := range append(numbered, filepath.Join(dir, "solutions")) {
		err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() || generated(d.Name()) {
				return err
			}
			rel, err := filepath.Rel(dir, file)
			if err != nil {
				return err
			}
			if rel = filepath.ToSlash(rel); tree[rel] == nil {
				names = append(names, rel)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// Generate brings the files in dir up to date and returns the names of those
// that it changed. A student's work in the tree would be lost, so it is for
// those who write labs.
func Generate(dir string, labs []*Lab) ([]string, error) {
	tree, err := whole(dir, labs)
	if err != nil {
		return nil, err
	}
	stale, err := Stale(dir, labs)
	if err != nil {
		return nil, err
	}
	for _, name := range stale {
		file := filepath.Join(dir, name)
		text, ok := tree[name]
		if !ok {
			if err := os.Remove(file); err != nil {
				return nil, err
			}
			continue
		}
		if err := WriteFile(file, text); err != nil {
			return nil, err
		}
	}
	return stale, nil
}

// WriteFile writes a file and the folders above it.
func WriteFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// Find returns the lab of that number.
func Find(labs []*Lab, number int) (*Lab, error) {
	var numbers []string
	for _, l := range labs {
		if l.Number == number {
			return l, nil
		}
		numbers = append(numbers, fmt.Sprint(l.Number))
	}
	return nil, fmt.Errorf("there is no lab %d; there are: %s", number, strings.Join(numbers, ", "))
}
