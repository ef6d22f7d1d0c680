// SPDX-License-Identifier: MIT

package main

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A pkg is a package and how many of its statements were reached.
type pkg struct {
	name                string
	statements, reached int
}

// readProfile reads what go test has written: lines
//
//	MODULE/FILE:FROM,TO STATEMENTS COUNT
//
// of which the same block may have several, and is reached if one says so.
func readProfile(name string) ([]pkg, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	type block struct {
		statements int
		reached    bool
	}
	blocks := make(map[string]block)
	for n, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(l, "mode: ") {
			continue
		}
		fields := strings.Fields(l)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s:%d: %q is not what go test writes", name, n+1, l)
		}
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
		}
		blocks[fields[0]] = block{statements, blocks[fields[0]].reached || fields[2] != "0"}
	}
	sums := make(map[string]pkg)
	for at, b := range blocks {
		_, inside, _ := strings.Cut(path.Dir(at[:strings.IndexByte(at+":", ':')]), "/")
		p := sums[inside]
		p.name = inside
		p.statements += b.statements
		if b.reached {
			p.reached += b.statements
		}
		sums[inside] = p
	}
	var packages []pkg
	for _, p := range sums {
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b pkg) int { return cmp.Compare(a.name, b.name) })
	return packages, nil
}
