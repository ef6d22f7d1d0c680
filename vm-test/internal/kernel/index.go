// SPDX-License-Identifier: MIT

package kernel

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// pkg is one package in the version that would be installed.
type pkg struct {
	Name, Version string
	Depends       [][]string // of each list of alternatives, one is needed
}

// index is all packages of a release, by their names and by the names that
// they provide.
type index map[string]pkg

// readIndex reads package lists: paragraphs as apt-cache dumpavail prints
// them, each package once. What is no package is passed over.
func readIndex(r io.Reader) index {
	all := make(index)
	provided := make(index)
	var p pkg
	var provides []string
	end := func() {
		if p.Name != "" && p.Version != "" {
			all[p.Name] = p
			for _, name := range provides {
				if _, ok := provided[name]; !ok {
					provided[name] = p
				}
			}
		}
		p, provides = pkg{}, nil
	}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, "\n")
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "":
			end()
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "Depends", "Pre-Depends":
			p.Depends = append(p.Depends, alternatives(value)...)
		case "Provides":
			for _, names := range alternatives(value) {
				provides = append(provides, names...)
			}
		}
		if err != nil {
			break
		}
	}
	end()
	for name, p := range provided {
		if _, ok := all[name]; !ok {
			all[name] = p
		}
	}
	return all
}

// packageName matches the name at the start of a dependency; what follows is a
// version or an architecture.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+`)

// alternatives takes a field of dependencies apart.
func alternatives(field string) [][]string {
	var all [][]string
	for group := range strings.SplitSeq(field, ",") {
		var names []string
		for one := range strings.SplitSeq(group, "|") {
			if name := packageName.FindString(strings.TrimSpace(one)); name != "" {
				names = append(names, name)
			}
		}
		if names != nil {
			all = append(all, names)
		}
	}
	return all
}

// closure returns the roots and what they need, directly or not, breadth
// first. A dependency is followed if its first choice is wanted, and is met by
// the first of its alternatives that there is.
func (x index) closure(want func(name string) bool, roots ...string) ([]pkg, error) {
	type need struct {
		by    string
		names []string
	}
	var queue []need
	for _, name := range roots {
		queue = append(queue, need{names: []string{name}})
	}
	var found []pkg
	seen := make(map[string]bool)
	for ; len(queue) > 0; queue = queue[1:] {
		p, ok := x.first(queue[0].names)
		if !ok {
			err := fmt.Errorf("no package %s", strings.Join(queue[0].names, " or "))
			if by := queue[0].by; by != "" {
				err = fmt.Errorf("%w, which %s needs", err, by)
			}
			return nil, err
		}
		if seen[p.Name] {
			continue
		}
		seen[p.Name] = true
		found = append(found, p)
		for _, names := range p.Depends {
			if want(names[0]) {
				queue = append(queue, need{p.Name, names})
			}
		}
	}
	return found, nil
}

// first returns the first package of those named that is in the index.
func (x index) first(names []string) (pkg, bool) {
	for _, name := range names {
		if p, ok := x[name]; ok {
			return p, true
		}
	}
	return pkg{}, false
}
