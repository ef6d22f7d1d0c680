// SPDX-License-Identifier: MIT

package bench_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"nlpeer/internal/bench"
)

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{7}, 7, 0},
		{[]float64{3, 1}, 2, 100},
		{[]float64{9, 1, 5}, 5, 160},
		{[]float64{4, 100, 2, 8}, 6, 98. / 6 * 100},
		{[]float64{0, 0}, 0, 0},
	} {
		before := append([]float64(nil), c.values...)
		if m, s := bench.Median(c.values), bench.Spread(c.values); m != c.median || s != c.spread {
			t.Errorf("of %v: median %v, spread %v; want %v, %v", c.values, m, s, c.median, c.spread)
		}
		for i := range before {
			if before[i] != c.values[i] {
				t.Fatalf("%v has become %v", before, c.values)
			}
		}
	}
}

func TestSearch(t *testing.T) {
	for range 100 {
		limit := 1 + rand.IntN(bench.RateMax)
		got, err := bench.Search(func(n int) error {
			if n > limit {
				return errors.New("lost")
			}
			return nil
		})
		if got != limit || err != nil {
			t.Fatalf("%d, %v; the largest that works is %d", got, err, limit)
		}
	}
	if got, err := bench.Search(func(int) error { return nil }); got != bench.RateMax || err != nil {
		t.Errorf("%d, %v where all works, want %d", got, err, bench.RateMax)
	}
	lost := errors.New("lost")
	if _, err := bench.Search(func(int) error { return lost }); !errors.Is(err, lost) {
		t.Errorf("%v where nothing works, want its error", err)
	}
}
