// SPDX-License-Identifier: MIT

package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Median returns the middle of the values, the mean of the two in the middle if
// their number is even, and 0 if there are none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// Spread returns how far the values are apart, from the least to the greatest, in
// percent of their median.
func Spread(values []float64) float64 {
	m := Median(values)
	if m == 0 {
		return 0
	}
	return (slices.Max(values) - slices.Min(values)) / m * 100
}

// round keeps as many digits as a figure is good for, so that a file of them can
// be read.
func round(v float64, digits int) float64 {
	p := math.Pow10(digits)
	return math.Round(v*p) / p
}

// Cost writes one with as many digits as it is good for.
func Cost(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// PerSecond writes how many operations a clock's unit allows: by a million
// instructions, or by a second.
func PerSecond(s Setting, cost float64) string {
	if s.Wall {
		return fmt.Sprintf("%.0f events/s by a real clock", 1e9/cost)
	}
	return fmt.Sprintf("%.0f events in a million instructions", 1e6/cost)
}
