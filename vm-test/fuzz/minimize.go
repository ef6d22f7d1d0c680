// SPDX-License-Identifier: MIT

package fuzz

import "slices"

// Minimize leaves out of a program what the property that keep tests does not
// need, trying at most so many times. keep gets a program that it may hold on to.
func Minimize(p *Program, tries int, keep func(*Program) bool) *Program {
	try := func(c *Program) bool {
		if tries == 0 || len(c.Ops) == 0 {
			return false
		}
		tries--
		if !keep(c) {
			return false
		}
		p = c
		return true
	}
	for n := (len(p.Ops) + 1) / 2; n > 0; n /= 2 {
		for at := 0; at < len(p.Ops); {
			c := p.Clone()
			c.Ops = slices.Delete(c.Ops, at, min(at+n, len(c.Ops)))
			if !try(c) {
				at += n
			}
		}
	}
	for i := 0; i < len(p.Ops); i++ {
		for n := (len(p.Ops[i].Messages) + 1) / 2; n > 0; n /= 2 {
			for at := 0; at < len(p.Ops[i].Messages) && len(p.Ops[i].Messages) > 1; {
				c := p.Clone()
				op := &c.Ops[i]
				op.Messages = slices.Delete(op.Messages, at, min(at+n, len(op.Messages)))
				if len(op.Messages) == 0 || !try(c) {
					at += n
				}
			}
		}
	}
	if p.Race {
		c := p.Clone()
		c.Race = false
		try(c)
	}
	return p
}
