// SPDX-License-Identifier: MIT

package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A statement is one of a source, or the head of one, with all lines up to its last
// parenthesis. The module's style is taken for granted: a tab for each level.
type statement struct {
	first, last int
	depth       int
	text        string // without comments and strings
}

var (
	notCode    = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])*'`)
	jump       = regexp.MustCompile(`^(return\b.*|goto \w+|break|continue);$`)
	condition  = regexp.MustCompile(`^(\} )?(else )?(if|for|while|switch|\w*for_each\w*) ?\(`)
	definition = regexp.MustCompile(`^[a-z].*?(\w+)\(`)
)

func (s statement) jumps() bool { return jump.MatchString(s.text) }

// reached says whether one of its lines is, if one of them is counted.
func (s statement) reached(known map[int]bool) (yes, ok bool) {
	for n := s.first; n <= s.last; n++ {
		if r, counted := known[n]; counted {
			yes, ok = yes || r, true
		}
	}
	return yes, ok
}

// statements takes a source apart.
func statements(source string) (list []statement) {
	source = notCode.ReplaceAllStringFunc(source, func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
	open := 0 // parentheses
	for i, l := range strings.Split(source, "\n") {
		text := strings.TrimSpace(l)
		switch {
		case text == "":
		case open > 0:
			s := &list[len(list)-1]
			s.last, s.text = i+1, s.text+" "+text
		default:
			list = append(list, statement{i + 1, i + 1, len(l) - len(strings.TrimLeft(l, "\t")), text})
		}
		open += strings.Count(text, "(") - strings.Count(text, ")")
	}
	return list
}

// functionAt is the function that a line is in, also one that has become part of
// others, of which lcov does not know.
func functionAt(source []statement, number int) (name string) {
	for _, s := range source {
		if m := definition.FindStringSubmatch(s.text); m != nil && s.depth == 0 && s.first <= number {
			name = m[1]
		}
	}
	return name
}

// The compiler makes one of jumps that do the same, as of all "return -ENOMEM;" of a
// function, and what is left of most are the branches to it: in lcov's report they
// have no line. jumps says which of them are reached, by the lines and branches around
// them. It leaves out those of which the report says nothing, neither of a statement
// before them nor of their condition: the compiler has made no code of them, or
// calculates the result.
func jumps(source []statement, reached map[int]bool, taken map[int][]bool) map[int]bool {
	known, added := maps.Clone(reached), make(map[int]bool)
	for i, s := range source {
		if _, ok := s.reached(known); ok || !s.jumps() {
			continue
		}
		if yes, ok := jumpReached(source[:i], s.depth, known, taken); ok {
			known[s.first], added[s.first] = yes, yes
		}
	}
	return added
}

// jumpReached goes back from a jump, of a depth, through the statements before it to
// the one that decides.
func jumpReached(before []statement, depth int, known map[int]bool, taken map[int][]bool) (yes, ok bool) {
	level := depth // of what decides; less beyond an "else" or a "case"
	for i, s := range slices.Backward(before) {
		block := before[i+1:]
		switch {
		case s.depth > level:
			continue
		case condition.MatchString(s.text):
			var ways []bool
			for n := s.first; n <= s.last; n++ {
				ways = append(ways, taken[n]...)
			}
			switch {
			case s.depth == depth && !slices.ContainsFunc(block, statement.jumps) && !strings.HasPrefix(s.text, "}"):
				// All come out of it, as of a plain statement.
				if yes, ok := s.reached(known); ok {
					return yes, true
				}
			case len(ways) == 0:
				return false, false
			case s.depth < depth:
				return into(ways), true
			default:
				return past(s, block, ways, known), true
			}
		case strings.HasPrefix(s.text, "}"):
			level = s.depth
		case s.depth == depth:
			if yes, ok := s.reached(known); ok {
				return yes, true
			}
		case strings.HasSuffix(s.text, "{"):
			return false, false // a function, or a block without a condition
		default: // an else, a case; for a label or an #if there is only the function left
			level = s.depth
		}
	}
	return false, false
}

// into says whether what a condition leads to is reached, by the ways that the
// condition was left. The report does not say which way is which, and a || b has four.
// So all must have been taken. A jump that always happens is thus one that never does;
// but then there is something else, behind it, that is not reached.
func into(ways []bool) bool { return !slices.Contains(ways, false) }

// past says whether somebody has gone past a condition and its block, which has a way
// out. Each part of a condition without an || that has gone both ways was untrue once,
// which is enough; so it is with copies of a function in others, each of which has its
// own ways. The ways of a switch are single. Nor is there a doubt if nobody went into
// the block.
func past(s statement, block []statement, ways []bool, known map[int]bool) bool {
	for _, b := range block {
		if b.depth == s.depth && strings.Contains(b.text, "else") {
			return false // perhaps, but the ways do not say so
		}
	}
	if into(ways) {
		return true
	}
	if !strings.Contains(s.text, "||") && !strings.HasPrefix(s.text, "switch") {
		for part := range slices.Chunk(ways, 2) {
			if into(part) {
				return true
			}
		}
	}
	if here, _ := s.reached(known); here {
		for _, b := range block {
			if yes, ok := b.reached(known); ok {
				return !yes
			}
		}
	}
	return false
}
