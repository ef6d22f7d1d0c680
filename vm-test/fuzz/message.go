// SPDX-License-Identifier: MIT

package fuzz

// A Record is a line that the fuzzer in the guest writes for the one on the
// host. Which members are there depends on Kind.
type Record struct {
	Kind string `json:"kind"`
	// Programs are about to run (batch), have reached something new (input), or
	// brought a report.
	Programs []string `json:"programs,omitempty"`
	// First and Count are the numbers of programs about to run (batch) that
	// follow from the seed and the inputs so far, see Numbered.
	First  uint64  `json:"first,omitempty"`
	Count  int     `json:"count,omitempty"`
	Text   string  `json:"text,omitempty"` // of a report
	Totals *Totals `json:"totals,omitempty"`
	// Missed are the functions of the module of which nothing was reached.
	Missed []string `json:"missed,omitempty"`
}

// The kinds of records.
const (
	KindBatch  = "batch"
	KindInput  = "input"
	KindReport = "report"
	KindStatus = "status"
	KindEnd    = "end"
)

// Totals are the figures of a run so far.
type Totals struct {
	Seconds  float64 `json:"seconds"`
	Programs int     `json:"programs"`
	Messages int     `json:"messages"`
	Answers  int     `json:"answers"`
	Reached  int     `json:"reached"`
	Places   int     `json:"places"` // 0 without KCOV
	Corpus   int     `json:"corpus"`
	Reports  int     `json:"reports"`
}
