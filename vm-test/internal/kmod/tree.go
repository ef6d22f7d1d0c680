// SPDX-License-Identifier: MIT

package kmod

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Tree is the modules folder of one kernel: …/lib/modules/VERSION.
type Tree struct {
	files   map[string]string // name -> path
	builtin map[string]bool
}

// ErrUnknown is returned for a module that the kernel neither has nor contains.
var ErrUnknown = errors.New("no such module in this kernel")

// OpenTree lists the modules below dir.
func OpenTree(dir string) (*Tree, error) {
	t := &Tree{files: make(map[string]string), builtin: make(map[string]bool)}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := moduleName(p); ok && !d.IsDir() {
			t.files[name] = p
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.FieldsSeq(string(list)) {
		if name, ok := moduleName(line); ok {
			t.builtin[name] = true
		}
	}
	return t, nil
}

// moduleName is the module's name if p is the path of one.
func moduleName(p string) (string, bool) {
	base, _, ok := strings.Cut(filepath.Base(p), ".ko")
	return Normalize(base), ok
}

// Order returns the files to load for the wanted modules, dependencies first,
// each once. Modules that are built into the kernel need none.
func (t *Tree) Order(wanted ...string) ([]string, error) {
	var order []string
	const (
		visiting = 1
		done     = 2
	)
	state := make(map[string]int)
	var visit func(name string) error
	visit = func(name string) error {
		name = Normalize(name)
		switch {
		case state[name] == done:
			return nil
		case state[name] == visiting:
			return fmt.Errorf("module %s depends on itself", name)
		case t.builtin[name]:
			return nil
		}
		file, ok := t.files[name]
		if !ok {
			return fmt.Errorf("%s: %w", name, ErrUnknown)
		}
		state[name] = visiting
		image, err := Read(file)
		if err != nil {
			return err
		}
		info, err := Parse(image)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, d := range info.Depends {
			if err := visit(d); err != nil {
				return fmt.Errorf("%s needs %w", name, err)
			}
		}
		state[name] = done
		order = append(order, file)
		return nil
	}
	for _, name := range wanted {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// Read returns a module's ELF image, whatever it is compressed with.
func Read(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	switch filepath.Ext(file) {
	case ".gz":
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return io.ReadAll(r)
	case ".xz":
		return decompress(file, b, "xz")
	case ".zst":
		return decompress(file, b, "zstd")
	}
	return b, nil
}

func decompress(file string, b []byte, tool string) ([]byte, error) {
	cmd := exec.Command(tool, "-dc")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w (is %s installed?)", file, err, tool)
	}
	return out, nil
}
