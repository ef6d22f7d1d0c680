// SPDX-License-Identifier: MIT

package ftrace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// settings are the files of a tracing folder. They remember how to undo what is
// done to them.
type settings struct {
	dir  string
	undo []func() error // the last comes first
}

// restore undoes everything, whatever fails.
func (s *settings) restore() error {
	var err error
	for _, undo := range slices.Backward(s.undo) {
		err = errors.Join(err, undo())
	}
	s.undo = nil
	return err
}

// later makes restore write to a file.
func (s *settings) later(name, value string) {
	s.undo = append(s.undo, func() error { return s.write(name, value) })
}

// set changes a file that holds one value. One that holds it already is not
// touched.
func (s *settings) set(name, value string) error {
	old, err := s.value(name)
	if err != nil || old == value {
		return err
	}
	s.later(name, old)
	return s.write(name, value)
}

// option switches an option. One that this kernel does not have is off.
func (s *settings) option(name string, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	err := s.set("options/"+name, value)
	if errors.Is(err, os.ErrNotExist) && !on {
		return nil
	}
	return err
}

// clear empties a file that holds a list.
func (s *settings) clear(name string) error {
	old, err := s.list(name)
	if err != nil || len(old) == 0 {
		return err
	}
	s.undo = append(s.undo, func() error { return s.add(name, old...) })
	return s.add(name)
}

// fill makes items the content of a file that holds a list.
func (s *settings) fill(name string, items ...string) error {
	if err := s.clear(name); err != nil {
		return err
	}
	s.undo = append(s.undo, func() error { return s.add(name) })
	return s.add(name, items...)
}

// value reads a file that holds one value: the one in brackets, if it shows all
// that there are.
func (s *settings) value(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	text := strings.TrimSpace(string(b))
	if _, after, ok := strings.Cut(text, "["); ok {
		text, _, _ = strings.Cut(after, "]")
	}
	return text, err
}

// list reads a file that holds a list, as items that can be written to it.
func (s *settings) list(name string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // not on this kernel, or not in an instance
	}
	var items []string
	for item := range strings.Lines(string(b)) {
		item = strings.TrimSpace(item)
		if item == "" || item[0] == '#' || item == "no pid" {
			continue
		}
		if name, module, ok := strings.Cut(item, " ["); ok { // as a function of a module is shown
			item = name + ":mod:" + strings.TrimSuffix(module, "]")
		}
		items = append(items, item)
	}
	return items, err
}

func (s *settings) write(name, value string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(value), 0)
}

// add empties a list and writes items to it.
func (s *settings) add(name string, items ...string) error {
	return s.each(name, os.O_TRUNC, items, func(item string, err error) error { return fmt.Errorf("%s: %q: %w", name, item, err) })
}

// each writes items to a file, each by a write of its own as the kernel wants
// it, and asks failed about those that the kernel refuses.
func (s *settings) each(name string, mode int, items []string, failed func(item string, err error) error) error {
	f, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY|mode, 0)
	if err != nil {
		return err
	}
	for _, item := range items {
		if _, err := f.WriteString(item + "\n"); err != nil {
			if err := failed(item, err); err != nil {
				f.Close()
				return err
			}
		}
	}
	return f.Close()
}
