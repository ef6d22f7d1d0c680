// SPDX-License-Identifier: MIT

package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies are how long each operation took.
type latencies struct{ h *hdrhistogram.Histogram }

// Longer than the longest that is told apart; three digits are kept.
const longestLatency = 10 * time.Second

func newLatencies() *latencies {
	return &latencies{hdrhistogram.New(1, int64(longestLatency), 3)}
}

func (l *latencies) add(d time.Duration) {
	// It fails for what is out of range, which is then as long as can be told.
	_ = l.h.RecordValue(min(max(int64(d), 1), int64(longestLatency)))
}

func (l *latencies) percentiles() []Percentile {
	if l.h.TotalCount() == 0 {
		return nil
	}
	var all []Percentile
	for _, p := range []float64{50, 90, 99, 99.9, 99.99, 100} {
		all = append(all, Percentile{p, l.h.ValueAtQuantile(p)})
	}
	return all
}
