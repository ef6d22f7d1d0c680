// SPDX-License-Identifier: MIT

package bench

import (
	"fmt"
	"math"
	"strconv"
)

// A Target is what a figure has to be.
type Target struct {
	// Name says what is compared with what.
	Name string
	// Must is what it has to be, Aim what would be good.
	Must, Aim float64
	// AtLeast says that more is better; else less is.
	AtLeast bool
	// Value computes it. The error names what is missing.
	Value func(*Results) (float64, error)
}

// A Verdict is how a target came out.
type Verdict struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Value   *float64 `json:"value"`
	Must    float64  `json:"must"`
	Aim     float64  `json:"aim"`
	AtLeast bool     `json:"at_least"`
	Met     bool     `json:"met"`
	AimMet  bool     `json:"aim_met"`
	Missing string   `json:"missing,omitempty"`
}

// Names of contenders.
const (
	c    = YardstickName
	ours = "nlpeer"
)

// The cases that targets name.
var (
	single    = Case{Name: Echo, Carrier: "raw", Size: standard, Batch: 1}
	generic   = Case{Name: Echo, Carrier: "genl", Size: standard, Batch: 1}
	received  = Case{Name: Receive, Carrier: "raw", Size: standard, Batch: 1}
	packed    = Case{Name: Receive, Carrier: "raw", Size: standard, Batch: 16}
	cast      = Case{Name: Broadcast, Carrier: "raw", Size: standard, Batch: 1}
	castTight = Case{Name: Broadcast, Carrier: "raw", Size: standard, Batch: 16}
	dumped    = Case{Name: Dump, Carrier: "raw", Size: standard}
)

func (c Case) batch(n int) Case { c.Batch = n; return c }
func (c Case) of(n int) Case    { c.N = n; return c }

// Targets are all of them. Costs are compared in one run.
var Targets = []Target{
	{"Echo, raw, one at a time, to C", 1.35, 1.10, false, ratio(single, ours, single, c)},
	{"Echo, genl, one at a time, to C on raw", 1.50, 1.25, false, ratio(generic, ours, single, c)},
	{"Echo, raw, 64 a batch, to C one at a time", 0.11, 0.08, false, ratio(single.batch(64), ours, single, c)},
	{"Echo, raw, 256 a batch, to C one at a time", 0.07, 0.05, false, ratio(single.batch(256), ours, single, c)},
	{"Receive a queued event, to C", 1.25, 1.05, false, ratio(received, ours, received, c)},
	{"Receive an event, 16 a datagram, to C one a datagram", 0.30, 0.15, false, ratio(packed, ours, received, c)},
	{"Broadcast, a further listener, 16 a datagram to one", 0.15, 0.10, false, further(100, 1000)},
	{"Dump, an object of 100,000 to one of 1,000", 1.10, 1.00, false, ratio(dumped.of(100000), ours, dumped.of(1000), ours)},
	{"Echo, raw, faster than mdlayher/netlink Execute", 4.5, 5.8, true, ratio(single, "mdlayher", single, ours)},
	{"Echo, genl, faster than mdlayher/genetlink Execute", 4.5, 5.4, true, ratio(generic, "genetlink", generic, ours)},
	{"Echo, raw, faster than vishvananda/netlink", 2.4, 3, true, ratio(single, "vishvananda", single, ours)},
	{"Receive, faster than mdlayher/netlink Receive", 9, 12, true, ratio(received, "mdlayher", received, ours)},
	{"Heap allocations of an operation, at most", 0, 0, false, allocations},
}

// cost is what a contender takes in a case.
func cost(r *Results, c Case, contender string) (float64, error) {
	f, ok := r.Find(c, contender)
	if !ok {
		return 0, fmt.Errorf("no figure for %s in %v", contender, c)
	}
	return f.Cost, nil
}

// ratio divides one cost by another.
func ratio(over Case, overWho string, under Case, underWho string) func(*Results) (float64, error) {
	return func(r *Results) (float64, error) {
		a, err := cost(r, over, overWho)
		if err != nil {
			return 0, err
		}
		b, err := cost(r, under, underWho)
		if err != nil {
			return 0, err
		}
		return a / b, nil
	}
}

// perListener is what a further listener adds to the cost of an event, from a few
// listeners to many.
func perListener(r *Results, c Case, few, many int) (float64, error) {
	a, err := cost(r, c.of(few), "kernel")
	if err != nil {
		return 0, err
	}
	b, err := cost(r, c.of(many), "kernel")
	if err != nil {
		return 0, err
	}
	return (b - a) / float64(many-few), nil
}

func further(few, many int) func(*Results) (float64, error) {
	return func(r *Results) (float64, error) {
		tight, err := perListener(r, castTight, few, many)
		if err != nil {
			return 0, err
		}
		loose, err := perListener(r, cast, few, many)
		if err != nil {
			return 0, err
		}
		if loose <= 0 || tight <= 0 {
			return 0, fmt.Errorf("a further listener costs nothing: %.0f and %.0f", loose, tight)
		}
		return tight / loose, nil
	}
}

// steady are the cases that must not allocate.
var steady = []Case{
	single, generic, single.batch(64), received, packed,
	{Name: Get, Carrier: "raw", Size: standard, Batch: 1}, dumped.of(1000),
}

// allocations is the most that an operation of ours allocates, in whole
// allocations as testing.AllocsPerRun counts: what the runtime does now and then
// is not the operation's. Those that share a datagram are one, as one allocation for
// all of them is a small part of one for each. A dump is not: it may allocate
// when it begins.
func allocations(r *Results) (float64, error) {
	most := 0.0
	for _, s := range steady {
		f, ok := r.Find(s, ours)
		if !ok || f.Allocs == nil {
			return 0, fmt.Errorf("no allocations counted for %s in %v", ours, s)
		}
		const rounded = 0.005 // in records, to two digits
		most = max(most, math.Floor((*f.Allocs+rounded)*float64(max(s.Batch, 1))))
	}
	return most, nil
}

// Judge computes all targets.
func Judge(r *Results) []Verdict {
	var all []Verdict
	for _, t := range Targets {
		v := Verdict{Type: "target", Name: t.Name, Must: t.Must, Aim: t.Aim, AtLeast: t.AtLeast}
		value, err := t.Value(r)
		if err != nil {
			v.Missing = err.Error()
		} else {
			// As it is printed, so that nobody reads "1.10, must 1.10, missed".
			value, _ = strconv.ParseFloat(Ratio(value), 64) // what Ratio writes is a number
			v.Value = &value
			v.Met, v.AimMet = t.meets(value, t.Must), t.meets(value, t.Aim)
		}
		all = append(all, v)
	}
	return all
}

func (t *Target) meets(value, limit float64) bool {
	if t.AtLeast {
		return value >= limit
	}
	return value <= limit
}

// Word says in a word or two whether it is met.
func (v Verdict) Word() string {
	switch {
	case v.AimMet:
		return "met, and the aim"
	case v.Met:
		return "met"
	}
	return "missed"
}

// String is the verdict on one line.
func (v Verdict) String() string {
	value, word := "-", "not measured: "+v.Missing
	if v.Value != nil {
		value, word = Ratio(*v.Value), v.Word()
	}
	return fmt.Sprintf("%-54s %7s   must %5s   aim %5s   %s", v.Name, value, Ratio(v.Must), Ratio(v.Aim), word)
}

// Ratio writes one with as many digits as it is good for.
func Ratio(x float64) string {
	switch {
	case x == 0:
		return "0"
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x < 1:
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
