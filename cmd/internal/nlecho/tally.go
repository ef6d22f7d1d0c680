// SPDX-License-Identifier: MIT

package nlecho

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// A tally counts messages and keeps the sums of their round-trip times.
type tally struct {
	transmitted, received uint64

	min, max time.Duration
	mean, m2 float64 // Welford's sums, in ns
}

func (t *tally) answered(rtt time.Duration) {
	t.received++
	if t.received == 1 || rtt < t.min {
		t.min = rtt
	}
	t.max = max(t.max, rtt)
	d := float64(rtt) - t.mean
	t.mean += d / float64(t.received)
	t.m2 += d * (float64(rtt) - t.mean)
}

// avg and mdev are the mean and its standard deviation, as ping has them.
func (t *tally) avg() time.Duration { return time.Duration(math.Round(t.mean)) }

func (t *tally) mdev() time.Duration {
	if t.received == 0 {
		return 0
	}
	return time.Duration(math.Round(math.Sqrt(t.m2 / float64(t.received))))
}

func (t *tally) lost() uint64 { return t.transmitted - t.received }

func (t *tally) loss() float64 {
	if t.transmitted == 0 {
		return 0
	}
	return 100 * float64(t.lost()) / float64(t.transmitted)
}

// percent writes a loss so that it reads 0 or 100 only if nothing or all was
// lost.
func percent(loss float64) string {
	s := strconv.FormatFloat(loss, 'f', 1, 64)
	if s == "0.0" || s == "100.0" {
		s = strconv.FormatFloat(loss, 'f', 6, 64)
	}
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
