// SPDX-License-Identifier: MIT

package profile

import (
	"cmp"
	"slices"
)

// Breakdown says where the instructions of an operation went.
type Breakdown struct {
	// Operations is how many were followed, and Fewest and Most how many
	// instructions one of them took.
	Operations   int
	Fewest, Most int
	// Instructions is how many an operation took on average. All counts below
	// are of all operations together.
	Instructions float64
	// Clock is what the program measured itself: nanoseconds for an operation, of
	// which one is an instruction where the guest's clock counts them; 0 if it
	// did not say.
	Clock     float64
	Parts     []PartTotal
	Functions []FunctionTotal
	// Root stands for the caller of the marker. Its callees are the marker, and
	// what the program does between two calls of it.
	Root *Call
}

// PartTotal is what a part of program and kernel took.
type PartTotal struct {
	Part Part
	Self int
}

// FunctionTotal is what a function took, wherever it was called.
type FunctionTotal struct {
	Function
	Part  Part
	Calls int
	Self  int
}

// New adds up a recording.
func New(symbols *Symbols, r Recording) Breakdown {
	b := Breakdown{Operations: len(r.Operations), Root: newTree(symbols, r.Operations)}
	for i, op := range r.Operations {
		if i == 0 || len(op) < b.Fewest {
			b.Fewest = len(op)
		}
		b.Most = max(b.Most, len(op))
	}
	b.Instructions = b.PerOperation(b.Root.Total)

	type key struct {
		Function
		Part
	}
	functions := map[key]*FunctionTotal{}
	parts := map[Part]int{}
	var walk func(c *Call, caller Part)
	walk = func(c *Call, caller Part) {
		for _, k := range c.Callees {
			part := partOf(k.Function, caller)
			id := key{*k.Function, part}
			if functions[id] == nil {
				functions[id] = &FunctionTotal{Function: *k.Function, Part: part}
			}
			functions[id].Calls += k.Calls
			functions[id].Self += k.Self
			parts[part] += k.Self
			walk(k, part)
		}
	}
	walk(b.Root, "")
	for _, f := range functions {
		b.Functions = append(b.Functions, *f)
	}
	slices.SortFunc(b.Functions, func(a, b FunctionTotal) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Part, b.Part))
	})
	for _, p := range partOrder {
		if parts[p] > 0 {
			b.Parts = append(b.Parts, PartTotal{p, parts[p]})
		}
	}
	return b
}

// PerOperation divides a count by the number of operations.
func (b Breakdown) PerOperation(count int) float64 {
	return float64(count) / float64(max(1, b.Operations))
}
