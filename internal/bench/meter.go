// SPDX-License-Identifier: MIT

package bench

import (
	"runtime"
	"time"
)

// A meter adds up what the timed stretches of a sample take.
type meter struct {
	elapsed time.Duration
	ops     int64
	mallocs uint64
	bytes   uint64
	program bool // the work is not Go's, so its heap is none of ours
	burst   int
	each    func(time.Duration) // where each operation is timed

	before runtime.MemStats
	since  time.Time
}

// start begins a stretch. Counting allocations stops the world, so it stands
// outside of what is timed.
func (m *meter) start() {
	runtime.ReadMemStats(&m.before)
	m.since = time.Now()
}

// stop ends it, after so many operations.
func (m *meter) stop(ops int) {
	m.elapsed += time.Since(m.since)
	m.ops += int64(ops)
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	m.mallocs += after.Mallocs - m.before.Mallocs
	m.bytes += after.TotalAlloc - m.before.TotalAlloc
}

// time times n operations, and each by itself where that is wanted: then the clock
// is read once for each, and what that takes is part of the cost.
func (m *meter) time(n int, op func() error) error {
	m.start()
	if m.each == nil {
		for range n {
			if err := op(); err != nil {
				return err
			}
		}
		m.stop(n)
		return nil
	}
	last := m.since
	for range n {
		if err := op(); err != nil {
			return err
		}
		now := time.Now()
		m.each(now.Sub(last))
		last = now
	}
	m.stop(n)
	return nil
}

// cost is that of an operation in nanoseconds, which under icount are
// instructions.
func (m *meter) cost() float64 { return float64(m.elapsed) / float64(m.ops) }
