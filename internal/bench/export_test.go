// SPDX-License-Identifier: MIT

package bench

import "context"

// Search finds the largest number that works.
var Search = search

// ProgramCase is what programs call a case.
var ProgramCase = programCase

// RateMax is where Search ends.
const RateMax = rateMax

// RunProgram starts a program, asks it for one sample of a case, and ends it.
func RunProgram(ctx context.Context, file string, c Case, n int) (name string, nanos, ops int64, err error) {
	p, err := startProgram(ctx, file)
	if err != nil {
		return "", 0, 0, err
	}
	defer p.close()
	run, _, err := p.open(ctx, &Bench{}, c)
	if err != nil {
		return p.name, 0, 0, err
	}
	var m meter
	err = run(n, &m)
	return p.name, int64(m.elapsed), m.ops, err
}

// ErrNotHere says that the contender does not do the case.
var ErrNotHere = errNotHere

// IsSkip says that a contender can not do it, and why.
func IsSkip(err error) (string, bool) {
	s, ok := err.(skip)
	return string(s), ok
}
