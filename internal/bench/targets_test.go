// SPDX-License-Identifier: MIT

package bench_test

import (
	"slices"
	"strings"
	"testing"

	"nlpeer/internal/bench"
)

// sum are results whose targets are known.
func sum() *bench.Results {
	r := &bench.Results{Setting: bench.Setting{Schema: 1, Unit: bench.Instructions}}
	add := func(name, carrier string, batch, n int, who string, cost, allocs float64) {
		c := bench.Case{Name: name, Carrier: carrier, Size: 64, Batch: batch, N: n}
		r.Records = append(r.Records, bench.Record{Type: bench.TypeResult, Case: &c, Contender: who,
			Figure: &bench.Figure{Cost: cost, Allocs: &allocs}})
	}
	add("echo", "raw", 1, 0, "c", 5000, 0)
	add("echo", "raw", 1, 0, "nlpeer", 5600, 0)
	add("echo", "raw", 1, 0, "mdlayher", 28000, 42)
	add("echo", "raw", 1, 0, "vishvananda", 11200, 8)
	add("echo", "genl", 1, 0, "c", 5900, 0)
	add("echo", "genl", 1, 0, "nlpeer", 6000, 0.03)
	add("echo", "genl", 1, 0, "genetlink", 33000, 50)
	add("echo", "raw", 64, 0, "nlpeer", 550, 0)
	add("echo", "raw", 256, 0, "nlpeer", 355, 0)
	add("receive", "raw", 1, 0, "c", 2000, 0)
	add("receive", "raw", 1, 0, "nlpeer", 2500, 0.99)
	add("receive", "raw", 16, 0, "nlpeer", 500, 0)
	add("receive", "raw", 1, 0, "mdlayher", 22400, 36)
	add("broadcast", "raw", 1, 100, "kernel", 103000, 0)
	add("broadcast", "raw", 1, 1000, "kernel", 1003000, 0)
	add("broadcast", "raw", 16, 100, "kernel", 9000, 0)
	add("broadcast", "raw", 16, 1000, "kernel", 117000, 0)
	add("get", "raw", 1, 0, "nlpeer", 8000, 0)
	add("dump", "raw", 0, 1000, "nlpeer", 1000, 0)
	add("dump", "raw", 0, 100000, "nlpeer", 1050, 0)
	return r
}

func TestTargets(t *testing.T) {
	want := []struct {
		value float64
		word  string
	}{
		{1.12, "met"},
		{1.2, "met, and the aim"},
		{0.11, "met"},
		{0.071, "missed"},
		{1.25, "met"},
		{0.25, "met"},
		{0.12, "met"},
		{1.05, "met"},
		{5, "met"},
		{5.5, "met, and the aim"},
		{2, "missed"},
		{8.96, "missed"},
		{0, "met, and the aim"},
	}
	verdicts := bench.Judge(sum())
	if len(verdicts) != len(want) {
		t.Fatalf("%d verdicts, want %d", len(verdicts), len(want))
	}
	for i, v := range verdicts {
		if v.Missing != "" || v.Value == nil || *v.Value != want[i].value || v.Word() != want[i].word {
			t.Errorf("%s: %v, want %v %s", v.Name, v, want[i].value, want[i].word)
		}
	}
}

// What is missing is named, and spoils no other target.
func TestTargetsMissing(t *testing.T) {
	whole := bench.Judge(sum())
	for i := range sum().Records {
		r := sum()
		gone := r.Records[i]
		r.Records = slices.Delete(r.Records, i, i+1)
		for j, v := range bench.Judge(r) {
			if v.Missing == "" {
				if *v.Value != *whole[j].Value {
					t.Errorf("without %v %s: %s is %v", *gone.Case, gone.Contender, v.Name, *v.Value)
				}
				continue
			}
			if v.Value != nil || v.Met || v.AimMet {
				t.Errorf("without %v %s: %+v", *gone.Case, gone.Contender, v)
			}
			if !strings.Contains(v.Missing, gone.Case.String()) || !strings.Contains(v.Missing, gone.Contender) {
				t.Errorf("without %v %s: %q", *gone.Case, gone.Contender, v.Missing)
			}
			if !strings.Contains(v.String(), "not measured: "+v.Missing) {
				t.Errorf("printed: %s", v)
			}
		}
	}
}

// All that targets are made from is measured by --quick too.
func TestTargetsAreQuick(t *testing.T) {
	quick := bench.Cases(bench.Quick)
	for _, rec := range sum().Records {
		if rec.Contender == "c" && rec.Case.Carrier == "genl" {
			continue // for the reader alone
		}
		if !slices.Contains(quick, *rec.Case) {
			t.Errorf("%v is not quick", *rec.Case)
		}
	}
}

// Nobody reads that 1.35 is missed by 1.35.
func TestTargetsAsPrinted(t *testing.T) {
	for cost, want := range map[float64]string{6750: "met", 6774: "met", 6776: "missed"} {
		r := sum()
		for _, rec := range r.Records {
			if rec.Contender == "nlpeer" && rec.Case.Name == "echo" && rec.Case.Carrier == "raw" && rec.Case.Batch == 1 {
				rec.Figure.Cost = cost
			}
		}
		if v := bench.Judge(r)[0]; v.Word() != want {
			t.Errorf("%v of 5000: %v, want %s", cost, v, want)
		}
	}
}

func TestAllocationsAreWhole(t *testing.T) {
	last := len(bench.Targets) - 1
	for allocs, want := range map[float64]string{0: "met, and the aim", 0.99: "met, and the aim", 1: "missed", 42.3: "missed"} {
		r := sum()
		for _, rec := range r.Records {
			if rec.Contender == "nlpeer" && rec.Case.Name == "get" {
				rec.Figure.Allocs = &allocs
			}
		}
		if v := bench.Judge(r)[last]; v.Word() != want {
			t.Errorf("%v allocations: %v, want %s", allocs, v, want)
		}
	}
}

// One allocation for each datagram is one too many, however many operations share
// it.
func TestAllocationsOfADatagram(t *testing.T) {
	last := len(bench.Targets) - 1
	for _, test := range []struct {
		name   string
		batch  int
		allocs float64 // of an operation, as records have it
		want   float64 // of a datagram
	}{
		{"echo", 64, 0.01, 0}, {"echo", 64, 0.02, 1}, {"echo", 64, 0.98, 63},
		{"receive", 16, 0.05, 0}, {"receive", 16, 0.06, 1}, {"receive", 16, 0.13, 2},
	} {
		r := sum()
		for _, rec := range r.Records {
			if rec.Contender == "nlpeer" && rec.Case.Name == test.name && rec.Case.Batch == test.batch {
				rec.Figure.Allocs = &test.allocs
			}
		}
		if v := bench.Judge(r)[last]; v.Value == nil || *v.Value != test.want || v.Met != (test.want == 0) {
			t.Errorf("%+v: %v", test, v)
		}
	}
}
