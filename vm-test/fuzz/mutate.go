// SPDX-License-Identifier: MIT

package fuzz

import (
	"math/rand/v2"
	"slices"
)

// Numbered makes the n-th program of a seed, out of nothing or out of what has
// reached something so far.
func Numbered(seed, n uint64, corpus []*Program) *Program {
	return Next(rand.New(rand.NewPCG(seed, n)), corpus)
}

// Next makes the next program to try, of one part or several, each out of
// nothing or out of one or two programs that have reached something. Several are
// more than one after the other: sockets stay open, and what costs time around a
// program, putting all in order and looking at it, is had once for all of them.
func Next(r *rand.Rand, corpus []*Program) *Program {
	p := next(r, corpus)
	for range r.IntN(8) {
		if len(p.Ops) >= maxOps/2 {
			break
		}
		more := next(r, corpus).Ops
		// A new namespace takes as long as a hundred messages.
		p.Ops = append(p.Ops, slices.DeleteFunc(more, func(op Op) bool { return op.Kind == Fresh && r.IntN(8) > 0 })...)
	}
	p.Ops = p.Ops[:min(len(p.Ops), maxOps)]
	return p
}

func next(r *rand.Rand, corpus []*Program) *Program {
	if len(corpus) == 0 || r.IntN(4) == 0 {
		return Generate(r)
	}
	// The later ones were harder to find.
	at := func() *Program { return corpus[max(r.IntN(len(corpus)), r.IntN(len(corpus)))] }
	p := at().Clone()
	g := newGenerator(r)
	if p.Race {
		g.tasks = Tasks
	} else if g.one(4) {
		g.tasks = 2
	}
	for range 1 + r.IntN(4) {
		g.mutate(p, at())
	}
	return p
}

// mutate changes one thing; other is another program to take from.
func (g *generator) mutate(p, other *Program) {
	if len(p.Ops) == 0 {
		*p = *other.Clone()
		return
	}
	g.look(p)
	i := g.IntN(len(p.Ops))
	switch g.IntN(10) {
	case 0:
		p.Ops = slices.Insert(p.Ops, i+1, g.op())
	case 1:
		if len(p.Ops) > 1 {
			p.Ops = slices.Delete(p.Ops, i, i+1)
		}
	case 2: // the end of the other
		p.Ops = append(p.Ops[:i:i], other.Clone().Ops[g.IntN(len(other.Ops)):]...)
	case 3: // the same twice
		p.Ops = slices.Insert(p.Ops, i, p.Ops[i])
	case 4:
		p.Ops[i].Task = g.IntN(g.tasks)
		if g.one(8) {
			p.Race = !p.Race
		}
	case 5:
		if op := &p.Ops[i]; !op.sends() {
			for _, v := range []*uint32{&op.A, &op.B, &op.C}[:kinds[op.Kind]] {
				if op.Kind != Open && op.Kind != Option && g.one(2) {
					*v = g.interesting()
				}
			}
			break
		}
		fallthrough
	default:
		g.mutateMessages(p, i)
	}
}

// look finds what sockets the program has open in its course.
func (g *generator) look(p *Program) {
	for _, op := range p.Ops {
		if op.Kind == Open {
			g.protocol[op.Socket] = int(op.A)
		}
	}
}

// mutateMessages changes the messages of the first operation from i on that has
// any.
func (g *generator) mutateMessages(p *Program, i int) {
	for n := range p.Ops {
		op := &p.Ops[(i+n)%len(p.Ops)]
		if !op.sends() || len(op.Messages) == 0 {
			continue
		}
		op.Messages = slices.Clone(op.Messages)
		j := g.IntN(len(op.Messages))
		g.left = maxBody
		for _, m := range op.Messages {
			g.left -= len(m.Body) + headerLen
		}
		switch g.IntN(5) {
		case 0:
			if g.left > 0 && len(op.Messages) < maxBatch {
				op.Messages = slices.Insert(op.Messages, j, g.message(g.protocol[op.Socket]))
			}
		case 1:
			if len(op.Messages) > 1 {
				op.Messages = slices.Delete(op.Messages, j, j+1)
			}
		case 2:
			op.Messages[j] = g.message(g.protocol[op.Socket])
		default:
			op.Messages[j].Body = slices.Clone(op.Messages[j].Body)
			g.spoil(&op.Messages[j])
		}
		return
	}
}
