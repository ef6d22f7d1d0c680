// SPDX-License-Identifier: MIT

// Package bench measures what it costs to talk to a kernel, for everybody who
// does it: the same work by each contender, in one process on one kernel, warm,
// in turns.
//
// A [Case] is the work, a contender is who does it. Contenders in Go run in this
// process; those in C are programs that [program] talks to. [Bench.Run] makes
// [Record] values of what it finds, which are also the file that is kept, and
// [Targets] says what the figures have to be.
//
// It is for cmd/nlbench alone: other people's libraries are linked here that
// nothing else of nlpeer needs.
package bench
