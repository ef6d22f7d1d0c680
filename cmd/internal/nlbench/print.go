// SPDX-License-Identifier: MIT

package nlbench

import (
	"bytes"
	"fmt"
	"strconv"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/bench"
)

// A printer shows records as they come, and the verdicts at the end.
type printer struct {
	out     *cli.Output
	format  cli.Format
	keep    *keeper
	judge   bool // the figures are all there
	results bench.Results
	group   bench.Case // whose lines are printed
	lines   bool
	failed  bool
}

// record takes one record.
func (p *printer) record(rec bench.Record) error {
	if err := p.results.Add(rec); err != nil {
		return err
	}
	p.keep.put(rec)
	if rec.Type == bench.TypeError {
		p.failed = true
	}
	if p.format == cli.JSON {
		p.out.JSON(rec)
		return p.out.Err()
	}
	switch rec.Type {
	case bench.TypeRun:
		fmt.Fprintln(p.out, describe(*rec.Setting))
		fmt.Fprintf(p.out, "%-27s %-19s %10s %8s %7s %7s\n", "case", "contender", rec.Unit, "spread", "to C", "allocs")
	case bench.TypeEnd:
	default:
		if p.lines && *rec.Case != p.group {
			fmt.Fprintln(p.out)
		}
		p.group, p.lines = *rec.Case, true
		p.line(rec)
	}
	return p.out.Err()
}

// describe says what was measured on.
func describe(s bench.Setting) string {
	clock := "guest instructions"
	if s.Wall {
		clock = "nanoseconds of a real clock"
	}
	return fmt.Sprintf("kernel %s, %s, %d rounds; cost of an operation in %s", s.Kernel, s.Go, s.Rounds, clock)
}

func (p *printer) line(rec bench.Record) {
	if rec.Type != bench.TypeResult {
		word := "skipped"
		if rec.Type == bench.TypeError {
			word = "FAILED"
		}
		fmt.Fprintf(p.out, "%-27v %-19s %10s %s\n", *rec.Case, rec.Contender, word, rec.Reason)
		return
	}
	toC, allocs := "", ""
	if ratio, ok := p.results.ToC(*rec.Case, rec.Cost); ok {
		toC = bench.Ratio(ratio)
	}
	if rec.Allocs != nil {
		allocs = strconv.FormatFloat(*rec.Allocs, 'f', -1, 64)
	}
	line := fmt.Appendf(nil, "%-27v %-19s %10s %7.1f%% %7s %7s", *rec.Case, rec.Contender, bench.Cost(rec.Cost), rec.Spread, toC, allocs)
	if rec.Burst > 0 {
		line = fmt.Appendf(line, "   no loss up to %d at once; %s", rec.Burst, bench.PerSecond(p.results.Setting, rec.Cost))
	}
	for _, c := range rec.Percentiles {
		line = fmt.Appendf(line, "  p%s=%d", strconv.FormatFloat(c.Percent, 'f', -1, 64), c.Nanos)
	}
	fmt.Fprintf(p.out, "%s\n", bytes.TrimRight(line, " "))
}

// end prints the verdicts. The error says that something could not be measured.
func (p *printer) end() error {
	if p.judge && !judge(p.out, p.format, &p.results) {
		p.failed = true
	}
	if p.failed {
		return cli.ErrFailed
	}
	return nil
}

// judge prints the targets. It reports whether all could be computed.
func judge(out *cli.Output, format cli.Format, r *bench.Results) (all bool) {
	all = true
	if format == cli.Text {
		fmt.Fprintln(out)
	}
	for _, v := range bench.Judge(r) {
		if v.Missing != "" {
			all = false
		}
		if format == cli.JSON {
			out.JSON(v)
		} else {
			fmt.Fprintln(out, v)
		}
	}
	return all
}
