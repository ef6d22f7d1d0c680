// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The lines between which the table stands, of rows
//
//	| `FILE` `FUNCTION` | `LINE` `LINE` … | REASON |
//
// with a line as often as it is not reached in the function. A reason that begins
// with byChance is of lines that some runs reach.
const (
	excusesBegin = "<!-- not reached: compared by make coverage -->\n"
	excusesEnd   = "<!-- end of not reached -->\n"
	byChance     = "By chance:"
)

// place is a line as the table has it: of a file below kmod, without a number, which
// changes with every line above it.
type place struct{ file, function, text string }

func (p place) String() string { return fmt.Sprintf("%s: %s: %s", p.file, p.function, p.text) }

func placeOf(l line) place { return place{strings.TrimPrefix(l.file, "kmod/"), l.function, l.text} }

// An excuse is what the table says of one line.
type excuse struct {
	times  int
	chance bool
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// spans are the pieces of code in a cell of a table.
func spans(cell string) (list []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// readExcuses reads the table in a page.
func readExcuses(page string) (map[place]excuse, error) {
	_, rest, ok := strings.Cut(page, excusesBegin)
	text, _, ok2 := strings.Cut(rest, excusesEnd)
	if !ok || !ok2 {
		return nil, errors.New("the marks of the table are missing")
	}
	const bar = "\x00" // for one that is part of a cell
	excuses := make(map[place]excuse)
	for row := range strings.Lines(text) {
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(row), `\|`, bar), "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			if strings.Contains(row, "`") {
				return nil, fmt.Errorf("not a row of three cells: %s", row)
			}
			continue // the head
		}
		where, lines := spans(cells[1]), spans(cells[2])
		reason := strings.TrimSpace(cells[3])
		if len(where) != 2 || len(lines) == 0 || reason == "" {
			return nil, fmt.Errorf("no file and function, no line, or no reason: %s", row)
		}
		for _, l := range lines {
			p := place{where[0], where[1], strings.ReplaceAll(l, bar, "|")}
			e := excuses[p]
			e.times++
			e.chance = strings.HasPrefix(reason, byChance)
			excuses[p] = e
		}
	}
	return excuses, nil
}

// compare says which lines were not reached without an excuse, and which have one
// and were reached, or are no more.
func compare(files []file, excuses map[place]excuse) (problems []string) {
	there := make(map[place]int)
	missed := make(map[place]int)
	for _, f := range files {
		for _, l := range f.lines {
			p := placeOf(l)
			there[p]++
			if l.reached {
				continue
			}
			if missed[p]++; missed[p] > excuses[p].times {
				problems = append(problems, fmt.Sprintf("%s:%d: no test reaches this: %s", l.file, l.number, l.text))
			}
		}
	}
	for _, f := range files {
		for _, l := range f.lines {
			p := placeOf(l)
			e, ok := excuses[p]
			if !ok {
				continue
			}
			delete(excuses, p)
			if missed[p] < e.times && !e.chance {
				problems = append(problems, fmt.Sprintf("%s:%d: a test reaches this, so it needs no reason why not: %s", l.file, l.number, l.text))
			}
		}
	}
	var gone []string
	for p := range excuses {
		gone = append(gone, fmt.Sprintf("there is no such line any more: %v", p))
	}
	slices.Sort(gone)
	return append(problems, gone...)
}
