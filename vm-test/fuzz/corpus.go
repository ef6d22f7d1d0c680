// SPDX-License-Identifier: MIT

package fuzz

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// Ext is what the names of files with a program end with.
const Ext = ".nlfuzz"

// Name is what a program is called: the same text has the same name.
func (p *Program) Name() string {
	sum := sha256.Sum256([]byte(p.String()))
	return hex.EncodeToString(sum[:6])
}

// Load reads the programs of a folder, in the order of their names; a folder
// that is not there has none.
func Load(dir string) ([]*Program, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+Ext))
	if err != nil {
		return nil, err
	}
	sort.Strings(files)
	var all []*Program
	for _, file := range files {
		p, err := LoadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// LoadFile reads one program.
func LoadFile(file string) (*Program, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// Save writes a program into a folder and returns the file's name.
func Save(dir string, p *Program) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(dir, p.Name()+Ext)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	return file, os.WriteFile(file, []byte(p.String()), 0o644)
}
