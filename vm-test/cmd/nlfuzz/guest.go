// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/fuzz"
	"nlpeer/vm-test/fuzz/execute"
)

var errOutside = errors.New("this runs inside the VM, as root; try: make fuzz FUZZTIME=1m, or nlvm run --kernel debug --put build/bin/nlfuzz --put FILE -- ./nlfuzz --replay FILE")

// A guest is the fuzzer in the virtual machine.
type guest struct {
	seed    uint64
	time    time.Duration
	corpora []string
	replay  []string
	repeat  int
	records bool

	runner *execute.Runner
	corpus []*fuzz.Program
	cover  execute.Cover
	totals fuzz.Totals
	begun  time.Time
	spoken time.Time
}

// batch is how many programs are announced at once: after a panic, one of the
// last of them is to blame.
const batch = 16

// tries bounds the runs by which a program that reached something is made small.
const tries = 40

// stuckAfter is when a program is said to hang, see patience.
const stuckAfter = 3 * time.Minute

var errReport = errors.New("something is wrong, see above")

func (g *guest) run() error {
	if os.Getenv("NLVM") == "" {
		return errOutside
	}
	debug.SetGCPercent(400) // there is memory, and the processors are slow
	var err error
	if g.runner, err = execute.NewRunner(); err != nil {
		return err
	}
	if g.runner.Sites != nil {
		g.cover = g.runner.Sites.NewCover()
		g.totals.Places = g.runner.Sites.Count()
	} else if os.Getenv("NLVM_KERNEL") == "debug" {
		return execute.ErrNoKcov
	}
	g.begun = time.Now()
	g.spoken = g.begun
	if len(g.replay) > 0 {
		return g.again()
	}
	return g.fuzz()
}

// again runs programs that are in files, in rounds: of several, one may leave
// behind what another one needs.
func (g *guest) again() error {
	var programs []*fuzz.Program
	for _, file := range g.replay {
		p, err := fuzz.LoadFile(file)
		if err != nil {
			return err
		}
		programs = append(programs, p)
	}
	for range g.repeat {
		for _, p := range programs {
			if _, err := g.try(p); err != nil {
				return err
			}
		}
	}
	return g.end()
}

func (g *guest) fuzz() error {
	fmt.Fprintf(os.Stderr, "nlfuzz: seed %d\n", g.seed)
	seeds, err := fuzz.Seeds()
	if err != nil {
		return err
	}
	var begin []*fuzz.Program
	for _, s := range seeds {
		begin = append(begin, s.Program)
	}
	corpora := [][]*fuzz.Program{begin}
	for _, dir := range g.corpora {
		old, err := fuzz.Load(dir)
		if err != nil {
			return err
		}
		corpora = append(corpora, old)
	}
	for _, old := range corpora {
		for from := range slices.Chunk(old, batch) {
			texts := make([]string, len(from))
			for i, p := range from {
				texts[i] = p.String()
			}
			g.record(fuzz.Record{Kind: fuzz.KindBatch, Programs: texts})
			if err := g.several(from, true); err != nil {
				return err
			}
		}
	}
	for n := uint64(1); time.Since(g.begun) < g.time; n += batch {
		programs := make([]*fuzz.Program, batch)
		for i := range programs {
			programs[i] = fuzz.Numbered(g.seed, n+uint64(i), g.corpus)
		}
		g.record(fuzz.Record{Kind: fuzz.KindBatch, First: n, Count: batch})
		if err := g.several(programs, false); err != nil {
			return err
		}
	}
	return g.end()
}

// several runs programs that have been announced, and keeps those that reach new
// places: old ones as they are, others made small.
func (g *guest) several(programs []*fuzz.Program, old bool) error {
	if g.records {
		drain()
	}
	for _, p := range programs {
		cover, err := g.try(p)
		if err != nil {
			return err
		}
		if cover == nil { // and nobody to tell which are worth it
			if old {
				g.keep(p)
			}
			continue
		}
		if g.cover.Contains(cover) {
			continue
		}
		if old {
			g.cover.Add(cover)
			g.keep(p)
			continue
		}
		news := g.cover.New(cover)
		// What one run in two reaches, a race, is worth keeping too.
		p = fuzz.Minimize(p, tries, func(c *fuzz.Program) bool {
			cover, cerr := g.try(c)
			if cerr != nil {
				err = errors.Join(err, cerr)
			}
			return cerr == nil && cover.Contains(news)
		})
		if err != nil {
			return err
		}
		g.cover.Add(cover)
		g.keep(p)
	}
	return nil
}

// keep makes a program one of those that others are made of.
func (g *guest) keep(p *fuzz.Program) {
	g.corpus = append(g.corpus, p)
	g.record(fuzz.Record{Kind: fuzz.KindInput, Programs: []string{p.String()}})
}

// try runs a program; errReport says that something was wrong.
func (g *guest) try(p *fuzz.Program) (execute.Cover, error) {
	watch := time.AfterFunc(stuckAfter, func() {
		g.report(p, "the program hangs")
		os.Exit(1)
	})
	res := g.runner.Run(p)
	watch.Stop()
	g.totals.Programs++
	g.totals.Messages += res.Sent
	g.totals.Answers += res.Answered
	if time.Since(g.spoken) > 10*time.Second {
		g.spoken = time.Now()
		g.record(fuzz.Record{Kind: fuzz.KindStatus, Totals: g.total()})
	}
	if len(res.Problems) == 0 {
		return res.Cover, nil
	}
	g.report(p, strings.Join(res.Problems, "\n"))
	return res.Cover, errReport
}

func (g *guest) report(p *fuzz.Program, text string) {
	g.totals.Reports++
	g.record(fuzz.Record{Kind: fuzz.KindReport, Programs: []string{p.String()}, Text: text, Totals: g.total()})
	if !g.records {
		fmt.Fprintf(os.Stderr, "nlfuzz: program %s:\n%s\n%s\n", p.Name(), p, text)
	}
}

func (g *guest) total() *fuzz.Totals {
	t := g.totals
	t.Seconds = time.Since(g.begun).Seconds()
	t.Corpus = len(g.corpus)
	if g.cover != nil {
		t.Reached = g.cover.Count()
	}
	return &t
}

func (g *guest) end() error {
	g.record(fuzz.Record{Kind: fuzz.KindEnd, Totals: g.total(), Missed: g.missed()})
	if !g.records {
		t := g.total()
		fmt.Fprintf(os.Stderr, "nlfuzz: %d programs, %d messages, %d answers, no report\n", t.Programs, t.Messages, t.Answers)
	}
	return nil
}

// missed lists the functions that were never entered.
func (g *guest) missed() []string {
	if g.cover == nil {
		return nil
	}
	var all []string
	entered := map[string]bool{}
	for i := range g.runner.Sites.Count() {
		name, _, _ := strings.Cut(g.runner.Sites.Name(i), "+")
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
		entered[name] = entered[name] || g.cover.Has(i)
	}
	all = slices.DeleteFunc(all, func(name string) bool { return entered[name] })
	slices.Sort(all)
	return all
}

func (g *guest) record(r fuzz.Record) {
	if !g.records {
		return
	}
	b, err := json.Marshal(r)
	if err == nil {
		_, err = os.Stdout.Write(append(b, '\n'))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nlfuzz:", err)
		os.Exit(1)
	}
}

// drain waits until what was written has left this process's pipe, so that it
// is known on the host when the kernel panics.
func drain() {
	for range 1000 {
		n, err := unix.IoctlGetInt(int(os.Stdout.Fd()), unix.TIOCINQ)
		if err != nil || n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(2 * time.Millisecond)
}
