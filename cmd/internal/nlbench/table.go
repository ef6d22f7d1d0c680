// SPDX-License-Identifier: MIT

package nlbench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nlpeer/internal/bench"
)

// A page is what a report writes between two marks in a document: Markdown.
type page struct {
	*bench.Results
	strings.Builder
	dir string // of the charts, as seen from the document
}

// results returns the part of the document about one run.
func document(r *bench.Results, dir string) (string, error) {
	p := &page{Results: r, dir: dir}
	fmt.Fprintf(p, "Kernel %s, %s, %d rounds, nlpeer %s. ", r.Setting.Kernel, r.Setting.Go, r.Setting.Rounds, r.Setting.Version)
	if r.Setting.Wall {
		p.host()
	} else {
		p.guest()
	}
	return p.String(), nil
}

func (p *page) guest() {
	fmt.Fprintf(p, "Kernel arguments: `%s`.\nAll figures are guest instructions for one operation, the median of the rounds.\n", p.Setting.Arguments)
	p.targets()
	p.chart("contenders")
	p.grid("An echo of 64 bytes, one at a time; in parentheses what it is to C on raw",
		[]string{"raw", "genl", "connector", "rtnl"}, func(carrier string) bench.Case {
			return bench.Case{Name: bench.Echo, Carrier: carrier, Size: 64, Batch: 1}
		})
	p.ways()
	p.chart("batches")
	p.grid("An echo of 64 bytes in a batch, raw; a column is the number of requests in a datagram",
		[]string{"1", "4", "16", "64", "256"}, func(batch string) bench.Case {
			return bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: number(batch)}
		})
	p.grid("The same on generic netlink",
		[]string{"1", "4", "16", "64", "256"}, func(batch string) bench.Case {
			return bench.Case{Name: bench.Echo, Carrier: "genl", Size: 64, Batch: number(batch)}
		})
	p.chart("payloads")
	p.grid("An echo, raw, one at a time; a column is the payload in bytes",
		[]string{"0", "64", "1024", "32768"}, func(size string) bench.Case {
			return bench.Case{Name: bench.Echo, Carrier: "raw", Size: number(size), Batch: 1}
		})
	p.grid("A queued event; a column is the number of events in a datagram",
		[]string{"1", "16", "64"}, func(batch string) bench.Case {
			return bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: number(batch)}
		})
	p.chart("listeners")
	p.listeners()
	p.rates()
	p.chart("dumps")
	p.grid("A dump, raw, for each object; a column is the number of objects",
		[]string{"10", "1000", "100000"}, func(n string) bench.Case {
			return bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: number(n)}
		})
	p.grid("One object by its key",
		[]string{"raw", "genl", "rtnl"}, func(carrier string) bench.Case {
			return bench.Case{Name: bench.Get, Carrier: carrier, Size: 64, Batch: 1}
		})
	p.allocations()
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err) // a word of ours
	}
	return n
}

func (p *page) chart(name string) {
	for _, c := range charts {
		if c.name == name {
			fmt.Fprintf(p, "\n![%s](%s/%s.svg)\n", c.alt, p.dir, c.name)
		}
	}
}

// row writes a line of a table.
func (p *page) row(cells ...string) {
	fmt.Fprintf(p, "| %s |\n", strings.Join(cells, " | "))
}

func (p *page) head(title string, cells ...string) {
	fmt.Fprintf(p, "\n%s:\n\n", title)
	p.row(cells...)
	line := "|---"
	for range cells[1:] {
		line += "|---:"
	}
	fmt.Fprintln(p, line+"|")
}

func (p *page) targets() {
	fmt.Fprintln(p)
	p.row("target", "measured", "must", "aim", "")
	fmt.Fprintln(p, "|---|---:|---:|---:|---|")
	for _, v := range bench.Judge(p.Results) {
		value, word := "-", "not measured"
		if v.Value != nil {
			value, word = bench.Ratio(*v.Value), v.Word()
		}
		p.row(v.Name, value, bench.Ratio(v.Must), bench.Ratio(v.Aim), word)
	}
}

// grid is a table with a line for each contender.
func (p *page) grid(title string, columns []string, at func(string) bench.Case) {
	var who []string
	for _, rec := range p.Records {
		if rec.Type == bench.TypeResult && !slices.Contains(who, rec.Contender) &&
			slices.ContainsFunc(columns, func(c string) bool { return at(c) == *rec.Case }) {
			who = append(who, rec.Contender)
		}
	}
	if len(who) == 0 {
		return
	}
	p.head(title, append([]string{"contender"}, columns...)...)
	for _, w := range who {
		cells := []string{w}
		for _, column := range columns {
			cell := ""
			if f, ok := p.Find(at(column), w); ok {
				cell = bench.Cost(f.Cost)
				if ratio, ok := p.ToC(at(column), f.Cost); ok {
					cell += " (" + bench.Ratio(ratio) + ")"
				}
			}
			cells = append(cells, cell)
		}
		p.row(cells...)
	}
}

// ways compares what is not netlink.
func (p *page) ways() {
	p.head("Ways into the kernel, 64 bytes, in C", "way", "instructions", "to C on raw")
	line := func(name string, c bench.Case) {
		if f, ok := p.Find(c, bench.YardstickName); ok {
			echo := bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}
			ratio := ""
			if x, ok := p.ToC(echo, f.Cost); ok {
				ratio = bench.Ratio(x)
			}
			p.row(name, bench.Cost(f.Cost), ratio)
		}
	}
	echo := func(way string, batch int) bench.Case {
		return bench.Case{Name: bench.Echo, Carrier: way, Size: 64, Batch: batch}
	}
	line("a system call that does nothing", bench.Case{Name: bench.Syscall})
	line("an ioctl that does nothing", bench.Case{Name: bench.Syscall, Carrier: "ioctl"})
	line("shared memory ring and doorbell", echo("ring", 1))
	line("the same, 64 requests for a doorbell, each", echo("ring", 64))
	line("ioctl", echo("ioctl", 1))
	line("write and read, character device", echo("chardev", 1))
	line("write and read, procfs", echo("proc", 1))
	line("write and read, sysfs", echo("sysfs", 1))
	line("netlink, raw protocol", echo("raw", 1))
	line("netlink, raw protocol, 64 requests a datagram, each", echo("raw", 64))
}

func (p *page) listeners() {
	p.head("Broadcast of an event, the kernel's side", "listeners", "a datagram for each event", "16 events in a datagram")
	for _, n := range []int{1, 10, 100, 1000} {
		cells := []string{strconv.Itoa(n)}
		for _, batch := range []int{1, 16} {
			cell := ""
			if f, ok := p.Find(bench.Case{Name: bench.Broadcast, Carrier: "raw", Size: 64, Batch: batch, N: n}, "kernel"); ok {
				cell = bench.Cost(f.Cost)
			}
			cells = append(cells, cell)
		}
		p.row(cells...)
	}
}

func (p *page) rates() {
	p.head("Events that a listener takes without a loss, with the receive buffer that everybody has: it drains its queue between bursts",
		"contender", "events in a datagram", "largest burst", "events in a million instructions")
	for _, rec := range p.Records {
		if rec.Type == bench.TypeResult && rec.Case.Name == bench.Rate {
			p.row(rec.Contender, strconv.Itoa(rec.Case.Batch), strconv.Itoa(rec.Burst), fmt.Sprintf("%.0f", 1e6/rec.Cost))
		}
	}
}

func (p *page) allocations() {
	columns := []struct {
		name string
		c    bench.Case
	}{
		{"echo", bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 1}},
		{"echo, genl", bench.Case{Name: bench.Echo, Carrier: "genl", Size: 64, Batch: 1}},
		{"batch of 64", bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 64}},
		{"event", bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: 1}},
		{"get", bench.Case{Name: bench.Get, Carrier: "raw", Size: 64, Batch: 1}},
		{"dump, an object", bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: 1000}},
	}
	heads := []string{"contender"}
	for _, c := range columns {
		heads = append(heads, c.name)
	}
	p.head("Allocations on the heap for an operation", heads...)
	for _, who := range bench.Contenders() {
		cells, any := []string{who}, false
		for _, c := range columns {
			cell := ""
			if f, ok := p.Find(c.c, who); ok && f.Allocs != nil {
				cell, any = strconv.FormatFloat(*f.Allocs, 'f', -1, 64), true
			}
			cells = append(cells, cell)
		}
		if any {
			p.row(cells...)
		}
	}
}

// host is about a real clock.
func (p *page) host() {
	fmt.Fprintln(p, "By a real clock: these figures depend on the machine, and on what else it does.")
	p.head("Latency in microseconds", "case", "contender", "mean", "50 %", "90 %", "99 %", "99.9 %", "longest")
	for _, rec := range p.Records {
		if rec.Type != bench.TypeResult || len(rec.Percentiles) == 0 {
			continue
		}
		cells := []string{rec.Case.String(), rec.Contender, micros(rec.Cost)}
		for _, want := range []float64{50, 90, 99, 99.9, 100} {
			for _, c := range rec.Percentiles {
				if c.Percent == want {
					cells = append(cells, micros(float64(c.Nanos)))
				}
			}
		}
		p.row(cells...)
	}
	for _, rec := range p.Records {
		if rec.Type == bench.TypeResult && rec.Burst > 0 {
			fmt.Fprintf(p, "\nMessages from process to process without a loss (%v, %s): up to %d at once; %.0f a second.\n",
				*rec.Case, rec.Contender, rec.Burst, 1e9/rec.Cost)
		}
	}
	p.chart("latencies")
}

func micros(ns float64) string { return strconv.FormatFloat(ns/1e3, 'f', 1, 64) }

// marks are what the region of a document is between that is for results of a
// kind.
func marks(wall bool) (begin, end string) {
	kind := "guest"
	if wall {
		kind = "host"
	}
	return "<!-- nlbench report: " + kind + ": begin -->\n", "<!-- nlbench report: " + kind + ": end -->\n"
}

// replace puts text between the marks of a document.
func replace(doc []byte, wall bool, text string) ([]byte, error) {
	begin, end := marks(wall)
	from, to := bytes.Index(doc, []byte(begin)), bytes.Index(doc, []byte(end))
	if from < 0 || to < from {
		return nil, fmt.Errorf("it has no lines %q and %q, in this order", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return slices.Concat(doc[:from+len(begin)], []byte("\n"+text+"\n"), doc[to:]), nil
}

// writeDocument puts the results into a document, and the charts into the folder
// beside it that has its name.
func writeDocument(name string, r *bench.Results) error {
	doc, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	text, err := document(r, dir)
	if err != nil {
		return err
	}
	if doc, err = replace(doc, r.Setting.Wall, text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := writeCharts(filepath.Join(filepath.Dir(name), dir), r); err != nil {
		return err
	}
	return os.WriteFile(name, doc, 0o666)
}
