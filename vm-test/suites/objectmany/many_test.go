// SPDX-License-Identifier: MIT

// Package objectmany_test has many objects in one table, and many tables.
package objectmany_test

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// A hundred thousand objects: all are in a dump, once each and in order, and
// one of them costs no more than one of a thousand.
func TestMany(t *testing.T) {
	const few, many = 1000, 100000
	vmtest.Module(t, "interval_ms=0", "connector=0", fmt.Sprintf("objects=%d", many), fmt.Sprintf("object_bytes=%d", 256*many))
	control := vmtest.OpenTable(t, vmtest.RawCarrier)
	cost := map[int]map[string]time.Duration{few: {}, many: {}}
	for _, n := range []int{few, many} {
		control.Must(t, vmtest.DelObjects(""))
		vmtest.FillObjects(t, control, n, []byte("value"))
		for _, c := range vmtest.Carriers {
			for _, flag := range []uint16{0, vmtest.FlagAtomic} {
				name := c.Name
				if flag != 0 {
					name += " atomic"
				}
				cost[n][name] = dump(t, vmtest.OpenTable(t, c), flag, n) / time.Duration(n)
			}
		}
	}
	for name, d := range cost[many] {
		t.Logf("%s: %v for one object of %d, %v of %d: %.2f times", name, d, many, cost[few][name], few, float64(d)/float64(cost[few][name]))
	}
	// All of them go with the module.
}

// dump reads a dump of objects made by fill, and returns the time that the
// kernel took for it.
func dump(t *testing.T, tb *vmtest.Table, flag uint16, n int) time.Duration {
	t.Helper()
	b := tb.Encode(vmtest.GetObjects(flag)).Bytes()
	begin := time.Now()
	tb.Send(t, b)
	took := time.Since(begin)
	seen := 0
	for done := false; !done; {
		begin = time.Now()
		b := tb.Recv(t)
		took += time.Since(begin)
		// As many as this are not taken apart more than needed.
		for len(b) > 0 {
			size := (binary.NativeEndian.Uint32(b) + 3) &^ 3
			switch typ := binary.NativeEndian.Uint16(b[4:]); typ {
			case unix.NLMSG_ERROR, unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
				t.Fatalf("message of type %d", typ)
			case unix.NLMSG_DONE:
				if done = true; vmtest.S32(b[16:]) != 0 {
					t.Fatalf("dump: %d", vmtest.S32(b[16:]))
				}
			default:
				at := tb.Carrier.Header + 4
				if got := string(b[at : at+8]); got != vmtest.NumberedKey(seen) {
					t.Fatalf("object %d is %q", seen, got)
				}
				seen++
			}
			b = b[size:]
		}
	}
	if seen != n {
		t.Fatalf("%d objects, want %d", seen, n)
	}
	return took
}
