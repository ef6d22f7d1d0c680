// SPDX-License-Identifier: MIT

package bench_test

import (
	"slices"
	"testing"

	"nlpeer/internal/bench"
)

// Cases are told apart by their names, and the quick ones are some of all.
func TestCases(t *testing.T) {
	full := bench.Cases(bench.Full)
	names := map[string]bench.Case{}
	for _, c := range append(full, bench.HostCases()...) {
		if other, ok := names[c.String()]; ok {
			t.Errorf("%+v and %+v are both called %v", c, other, c)
		}
		names[c.String()] = c
	}
	quick := bench.Cases(bench.Quick)
	for _, c := range quick {
		if !slices.Contains(full, c) {
			t.Errorf("%v is quick but not measured else", c)
		}
	}
	if len(quick)*2 > len(full) {
		t.Errorf("%d of %d cases are quick", len(quick), len(full))
	}
}

// What the issue asks for is measured.
func TestAxes(t *testing.T) {
	full := bench.Cases(bench.Full)
	var want []bench.Case
	for _, carrier := range []string{"raw", "genl", "connector", "rtnl"} {
		for _, size := range []int{0, 64, 1024, 32768} {
			if carrier != "connector" || size < 32768 { // it takes no more than 16 KiB
				want = append(want, bench.Case{Name: bench.Echo, Carrier: carrier, Size: size, Batch: 1})
			}
		}
	}
	for _, carrier := range []string{"raw", "genl", "rtnl", "ring"} {
		for _, batch := range []int{4, 16, 64, 256} {
			want = append(want, bench.Case{Name: bench.Echo, Carrier: carrier, Size: 64, Batch: batch})
		}
	}
	for _, way := range []string{"ioctl", "chardev", "proc", "sysfs", "ring"} {
		want = append(want, bench.Case{Name: bench.Echo, Carrier: way, Size: 64, Batch: 1})
	}
	for _, n := range []int{1, 10, 100, 1000} {
		for _, batch := range []int{1, 16} {
			want = append(want, bench.Case{Name: bench.Broadcast, Carrier: "raw", Size: 64, Batch: batch, N: n})
		}
	}
	for _, n := range []int{10, 1000, 100000} {
		want = append(want, bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: n})
	}
	for _, c := range want {
		if !slices.Contains(full, c) {
			t.Errorf("%v is not measured", c)
		}
	}
}

func TestProgramCase(t *testing.T) {
	for _, c := range []struct {
		c           bench.Case
		name        string
		size, batch int
	}{
		{bench.Case{Name: bench.Syscall}, "syscall", 0, 1},
		{bench.Case{Name: bench.Syscall, Carrier: "ioctl"}, "ioctl-null", 0, 1},
		{bench.Case{Name: bench.Echo, Carrier: "raw", Size: 64, Batch: 16}, "echo", 64, 16},
		{bench.Case{Name: bench.Echo, Carrier: "rtnl", Size: 1024, Batch: 1}, "echo-rtnl", 1024, 1},
		{bench.Case{Name: bench.Echo, Carrier: "ring", Size: 64, Batch: 256}, "ring", 64, 256},
		{bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: 1}, "recv", 64, 1},
		{bench.Case{Name: bench.Receive, Carrier: "raw", Size: 64, Batch: 16}, "recv-packed", 64, 16},
		{bench.Case{Name: bench.Dump, Carrier: "raw", Size: 64, N: 1000}, "dump", 1000, 1},
		{bench.Case{Name: bench.Dump, Carrier: "genl", Size: 64, N: 1000}, "dump-genl", 1000, 1},
	} {
		name, size, batch := bench.ProgramCase(c.c)
		if name != c.name || size != c.size || batch != c.batch {
			t.Errorf("%v is %s %d %d, want %s %d %d", c.c, name, size, batch, c.name, c.size, c.batch)
		}
	}
}
