// SPDX-License-Identifier: MIT

// Package student knows a student's folder: where it is, the files of the labs
// in it, and what is remembered there of how far the student has come.
package student

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"nlpeer/labs/internal/source"
)

// stateDir is the folder, in a student's, of what nllab remembers.
const stateDir = ".nllab"

// A Root is a folder that has labs in it.
type Root struct {
	Dir string
	// Tree is nlpeer's source tree, as it was when the folder was made; "" in
	// the tree itself.
	Tree string
}

// about is what a folder says of itself.
type about struct {
	Tree string `json:"tree"`
}

// ErrNoRoot says that there are no labs here.
var ErrNoRoot = errors.New("there are no labs in this folder nor above it; go to yours, or make one: nllab new DIR")

// Find looks for a student's folder, from dir upwards. In nlpeer's own tree it
// is labs/.
func Find(dir string) (Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Root{}, err
	}
	if _, err := os.Stat(dir); err != nil {
		return Root{}, err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, stateDir, "about.json"))
		if err == nil {
			var a about
			if err := json.Unmarshal(text, &a); err != nil {
				return Root{}, fmt.Errorf("%s: %w", filepath.Join(dir, stateDir, "about.json"), err)
			}
			return Root{Dir: dir, Tree: a.Tree}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return Root{}, err
		}
		if st, err := os.Stat(filepath.Join(dir, "labs", "src")); err == nil && st.IsDir() {
			return Root{Dir: filepath.Join(dir, "labs")}, nil
		}
		if dir == filepath.Dir(dir) {
			return Root{}, ErrNoRoot
		}
	}
}

// goMod makes the folder a module, for editors; no lab needs another one.
const goMod = `// The programs of the labs use nothing but the standard library.
module labs

go 1.26
`

const readme = `# The life of a message

These are your labs. Each folder has a text, README.md, to begin with.

    nllab list      the labs, and how far you are
    nllab run 0     the first
    nllab --help    everything else

What nllab remembers, and files that it has put aside for you, are in .nllab.
`

// New makes a student's folder with all labs in it. The folder must be new or
// empty.
func New(dir, tree string, labs []*source.Lab) (Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Root{}, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return Root{}, fmt.Errorf("%s is there and not empty; give the name of a new folder", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Root{}, err
	}
	if inside, err := filepath.Rel(tree, dir); err == nil && filepath.IsLocal(inside) {
		return Root{}, fmt.Errorf("%s is in nlpeer's source tree; make your folder outside of it", dir)
	}
	r := Root{Dir: dir, Tree: tree}
	for name, text := range map[string]string{"go.mod": goMod, "README.md": readme} {
		if err := source.WriteFile(filepath.Join(dir, name), []byte(text)); err != nil {
			return Root{}, err
		}
	}
	for _, l := range labs {
		if err := r.write(l, source.Variant{}, r.Lab(l)); err != nil {
			return Root{}, err
		}
	}
	// The last, so that a folder that is not whole is none.
	text, err := json.MarshalIndent(about{Tree: tree}, "", "  ")
	if err != nil {
		return Root{}, err
	}
	return r, source.WriteFile(r.state("about.json"), append(text, '\n'))
}

// Lab is the folder of a lab.
func (r Root) Lab(l *source.Lab) string { return filepath.Join(r.Dir, l.ID) }

func (r Root) state(name string) string { return filepath.Join(r.Dir, stateDir, name) }

func (r Root) write(l *source.Lab, v source.Variant, dir string) error {
	files, err := l.Student(v)
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := source.WriteFile(filepath.Join(dir, name), text); err != nil {
			return err
		}
	}
	return nil
}

// Reset makes a lab's files anew, up to a TODO that is solved. Those that were
// there are put aside, whole; it returns where, "" if there were none.
func (r Root) Reset(l *source.Lab, v source.Variant) (kept string, err error) {
	// First all that may go wrong.
	if err := os.MkdirAll(r.state("kept"), 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(r.state(""), "fresh-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	// MkdirTemp's are nobody else's to read; a lab is like any folder.
	if err := os.Chmod(fresh, 0o755); err != nil {
		return "", err
	}
	if err := r.write(l, v, fresh); err != nil {
		return "", err
	}
	dir := r.Lab(l)
	if _, err := os.Lstat(dir); err == nil {
		if kept, err = r.keep(dir); err != nil {
			return "", err
		}
	}
	if err := os.Rename(fresh, dir); err != nil {
		if kept != "" {
			err = errors.Join(err, os.Rename(kept, dir))
		}
		return "", err
	}
	return kept, nil
}

// keep moves a folder aside under a name that is new.
func (r Root) keep(dir string) (string, error) {
	name := r.state(filepath.Join("kept", filepath.Base(dir)+"."+time.Now().Format("2006-01-02-150405")))
	for n := 1; ; n++ {
		target := name
		if n > 1 {
			target = fmt.Sprintf("%s-%d", name, n)
		}
		if _, err := os.Lstat(target); err == nil {
			continue
		}
		return target, os.Rename(dir, target)
	}
}

// Untouched says whether a lab's code is still the skeleton.
func Untouched(l *source.Lab, dir string) (bool, error) {
	files, err := l.Files(source.Variant{})
	if err != nil {
		return false, err
	}
	for name, text := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if err != nil || string(have) != string(text) {
			return false, nil
		}
	}
	return true, nil
}

// Place says where in a lab's files a TODO is, as FILE:LINE; "" if it is not
// there any more.
func Place(l *source.Lab, dir string, todo int) string {
	files, err := l.Files(source.Variant{})
	if err != nil {
		return ""
	}
	words := fmt.Sprintf("TODO(%d)", todo)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			if strings.Contains(line, words) {
				return fmt.Sprintf("%s:%d", filepath.Join(dir, name), number)
			}
		}
	}
	return ""
}
