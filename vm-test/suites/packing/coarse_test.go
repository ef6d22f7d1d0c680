// SPDX-License-Identifier: MIT

package packing_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Where timers only ring at the clock's ticks, which they do in this suite, a
// shorter interval means that points of the grid are missed, and counted.
func TestCoarseTimers(t *testing.T) {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC, &res); err != nil {
		t.Fatal(err)
	}
	const ms = 1e6
	if res.Nano() < 2*ms {
		t.Fatalf("timers ring to within %d ns", res.Nano())
	}
	vmtest.Module(t, "interval_ms=1")
	c := vmtest.OpenControl(t)
	sample := func() (grid, missed, from, to uint64) {
		from = vmtest.Now(t)
		s := c.Stats(t)
		return s.Ticks + s.Missed, s.Missed, from, vmtest.Now(t)
	}
	grid, missed, from, to := sample()
	vmtest.Until(t, "two hundred ticks", func() bool { return c.Stats(t).Ticks >= 200 })
	grid2, missed2, from2, to2 := sample()
	// What passed since the last tick is counted with the next.
	slack := 2*uint64(res.Nano())/ms + 2
	if n := grid2 - grid; n+slack < (from2-to)/ms || n > (to2-from)/ms+slack {
		t.Errorf("%d ticks and missed ones in %d to %d ms", n, (from2-to)/ms, (to2-from)/ms)
	}
	if missed == missed2 {
		t.Error("none was missed")
	}
}
