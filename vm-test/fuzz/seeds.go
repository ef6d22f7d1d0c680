// SPDX-License-Identifier: MIT

package fuzz

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed testdata/*.nlfuzz
var seeds embed.FS

// A Seed is a program that is part of the source tree.
type Seed struct {
	Name string
	*Program
}

// Seeds returns the programs to begin with: each carrier's operations, right
// and wrong, and what once went wrong.
func Seeds() ([]Seed, error) {
	files, err := seeds.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	var all []Seed
	for _, f := range files {
		b, err := seeds.ReadFile(path.Join("testdata", f.Name()))
		if err != nil {
			return nil, err
		}
		p, err := Parse(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		all = append(all, Seed{strings.TrimSuffix(f.Name(), Ext), p})
	}
	return all, nil
}
