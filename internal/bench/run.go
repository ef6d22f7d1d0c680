// SPDX-License-Identifier: MIT

package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"nlpeer"
	"nlpeer/pkg/client"
)

// A Bench says how to measure.
type Bench struct {
	// Rounds is how often all contenders of a case have their turn.
	Rounds int
	// Sample is how long a turn takes, about, by the clock that measures.
	Sample time.Duration
	// Once makes every turn as short as it can be: it shows that all works, and
	// no figure is worth anything.
	Once bool
	// Only chooses what is measured, by case and contender with a space between
	// them; nil is all.
	Only *regexp.Regexp
	// Programs is the folder of the contenders in C; none if empty.
	Programs string
	// Wall says that the clock is a real one: then each operation is timed too.
	Wall bool

	control  *client.Conn
	programs []*program
	filled   int // objects in the table, -1 if nobody knows
}

// ErrNothing says that Only finds nothing that could be measured.
var ErrNothing = errors.New("no case and contender is found")

// A turn is a contender in a case.
type turn struct {
	contender string
	run       sampler
	end       func()
	n         int
	cost      []float64
	meter     meter // of the last
	allocs    []float64
	bytes     []float64
	latency   *latencies
	err       error
}

// Run measures the cases, and passes on what it finds as soon as a case is done.
// The error says that there is nothing to measure with, or, ErrNothing, nothing to
// measure.
func (b *Bench) Run(ctx context.Context, cases []Case, emit func(Record) error) error {
	defer b.close()
	if err := b.start(ctx); err != nil {
		return err
	}
	found := 0
	for _, c := range cases {
		n, err := b.measure(ctx, c, emit)
		if err != nil {
			return err
		}
		found += n
	}
	if b.Only != nil && found == 0 {
		return ErrNothing
	}
	return nil
}

func (b *Bench) start(ctx context.Context) error {
	if b.Programs == "" {
		return nil
	}
	var err error
	b.programs, err = startPrograms(ctx, b.Programs)
	return err
}

func (b *Bench) close() {
	for _, p := range b.programs {
		p.close()
	}
	if b.control != nil {
		b.control.Close()
	}
}

// all are the contenders, in the order of tables.
func (b *Bench) all() []contender {
	var all []contender
	for _, p := range b.programs {
		all = append(all, contender{p.name, p.open})
	}
	return append(all, contenders...)
}

// measure measures one case. It returns how many contenders it has.
func (b *Bench) measure(ctx context.Context, c Case, emit func(Record) error) (int, error) {
	var turns []*turn
	defer func() {
		for _, t := range turns {
			t.end()
		}
	}()
	for _, who := range b.all() {
		if b.Only != nil && !b.Only.MatchString(c.String()+" "+who.name) {
			continue
		}
		run, end, err := who.open(ctx, b, c)
		if errors.Is(err, errNotHere) {
			continue
		}
		if end == nil {
			end = func() {}
		}
		turns = append(turns, &turn{contender: who.name, run: run, end: end, err: err})
	}
	for _, t := range turns {
		if t.err == nil {
			t.err = t.warm(b)
		}
	}
	for range b.Rounds {
		for _, t := range turns {
			if err := ctx.Err(); err != nil {
				return 0, context.Cause(ctx)
			}
			if t.err == nil {
				t.err = t.sample(b)
			}
		}
	}
	for _, t := range turns {
		if err := emit(t.record(c)); err != nil {
			return 0, err
		}
	}
	return len(turns), nil
}

// warm has the contender run until all is in place that is made once, and finds
// out how many operations make a sample.
func (t *turn) warm(b *Bench) error {
	t.n = 1
	if b.Once {
		return nil
	}
	// The first run finds the order of magnitude, the others do better.
	for _, share := range []time.Duration{50, 5, 1} {
		t.meter = meter{}
		if err := t.run(t.n, &t.meter); err != nil {
			return err
		}
		if t.meter.ops == 0 || t.meter.elapsed == 0 {
			return errors.New("it did nothing")
		}
		t.n = max(1, int(float64(b.Sample/share)/t.meter.cost()))
	}
	return nil
}

func (t *turn) sample(b *Bench) error {
	// Each begins with a clean heap and pays for what it leaves there itself.
	runtime.GC()
	t.meter = meter{}
	if b.Wall {
		if t.latency == nil {
			t.latency = newLatencies()
		}
		t.meter.each = t.latency.add
	}
	if err := t.run(t.n, &t.meter); err != nil {
		return err
	}
	if t.meter.ops == 0 || t.meter.elapsed <= 0 {
		return errors.New("it did nothing")
	}
	t.cost = append(t.cost, t.meter.cost())
	t.allocs = append(t.allocs, float64(t.meter.mallocs)/float64(t.meter.ops))
	t.bytes = append(t.bytes, float64(t.meter.bytes)/float64(t.meter.ops))
	return nil
}

func (t *turn) record(c Case) Record {
	rec := Record{Type: TypeResult, Case: &c, Contender: t.contender}
	var s skip
	switch {
	case errors.As(t.err, &s):
		rec.Type, rec.Reason = TypeSkip, string(s)
		return rec
	case t.err != nil:
		rec.Type, rec.Reason = TypeError, t.err.Error()
		return rec
	}
	rec.Figure = &Figure{
		Cost: round(Median(t.cost), 1), Min: round(slices.Min(t.cost), 1), Max: round(slices.Max(t.cost), 1),
		Spread: round(Spread(t.cost), 1), Operations: t.meter.ops, Burst: t.meter.burst,
	}
	if !t.meter.program {
		rec.Allocs, rec.Bytes = new(round(slices.Min(t.allocs), 2)), new(round(slices.Min(t.bytes), 0))
	}
	if t.latency != nil {
		rec.Percentiles = t.latency.percentiles()
	}
	return rec
}

// peer is the connection by which beacon and objects are set up.
func (b *Bench) peer(ctx context.Context) (*client.Conn, error) {
	if b.control != nil {
		return b.control, nil
	}
	conn, err := client.Dial(ctx, client.Config{Timeout: time.Minute})
	if err != nil {
		return nil, fmt.Errorf("set up: %w", err)
	}
	b.control = conn
	return conn, nil
}

// Here describes what this process measures on.
func (b *Bench) Here() Setting {
	s := Setting{
		Schema: Schema, Version: nlpeer.Version(), Go: runtime.Version(),
		Kernel: "unknown", Unit: Instructions, Wall: b.Wall, Rounds: b.Rounds,
	}
	if b.Wall {
		s.Unit = Nanoseconds
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		s.Kernel = strings.TrimSpace(string(release))
	}
	return s
}
