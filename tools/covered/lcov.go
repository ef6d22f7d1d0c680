// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// counts is how much of something was reached.
type counts struct {
	lines, reached  int
	branches, taken int
}

// A line is one that the compiler made code of, or a jump that it made part of other
// code.
type line struct {
	file     string
	number   int
	function string
	text     string // without the space around it
	reached  bool
}

// A file is one of the module's.
type file struct {
	name string // from the top of the tree
	counts
	lines []line
}

// readLcov reads a file that lcov has written, of sources below root. Its lines
// are of the form KEY:VALUE,VALUE…
func readLcov(name, root string) ([]file, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var files []file
	var f *file
	var source []string
	var reached map[int]bool
	var taken map[int][]bool
	for n, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		key, value, _ := strings.Cut(l, ":")
		fields := strings.Split(value, ",")
		bad := func() ([]file, error) { return nil, fmt.Errorf("%s:%d: %q is not what lcov writes", name, n+1, l) }
		if f == nil && key != "TN" && key != "SF" {
			return bad()
		}
		switch key {
		case "SF":
			b, err := os.ReadFile(value)
			if err != nil {
				return nil, err
			}
			rel, err := filepath.Rel(root, value)
			if err != nil {
				return nil, err
			}
			files = append(files, file{name: rel})
			f, source = &files[len(files)-1], strings.Split(string(b), "\n")
			reached, taken = make(map[int]bool), make(map[int][]bool)
		case "DA":
			at, err := strconv.Atoi(fields[0])
			if err != nil || len(fields) < 2 || at < 1 || at > len(source) {
				return bad()
			}
			reached[at] = fields[1] != "0"
		case "BRDA":
			at, err := strconv.Atoi(fields[0])
			if err != nil || len(fields) != 4 {
				return bad()
			}
			yes := fields[3] != "-" && fields[3] != "0"
			taken[at] = append(taken[at], yes)
			f.branches++
			if yes {
				f.taken++
			}
		case "end_of_record":
			code := statements(strings.Join(source, "\n"))
			maps.Copy(reached, jumps(code, reached, taken))
			for _, at := range slices.Sorted(maps.Keys(reached)) {
				l := line{f.name, at, functionAt(code, at), strings.TrimSpace(source[at-1]), reached[at]}
				f.lines = append(f.lines, l)
				f.counts.lines++
				if l.reached {
					f.reached++
				}
			}
			f = nil
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no file in it", name)
	}
	return files, nil
}

func total(files []file) (sum counts) {
	for _, f := range files {
		sum.lines += f.counts.lines
		sum.reached += f.reached
		sum.branches += f.branches
		sum.taken += f.taken
	}
	return sum
}

// unreached lists the lines that were not reached.
func unreached(files []file) (list []line) {
	for _, f := range files {
		for _, l := range f.lines {
			if !l.reached {
				list = append(list, l)
			}
		}
	}
	return list
}
