// SPDX-License-Identifier: MIT

// Package objectload_test fails a hundred thousand times, and
// fills and empties the table: no memory may be left behind.
package objectload_test

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	rep = vmtest.FlagReplace
	exc = vmtest.FlagExcl
	cre = vmtest.FlagCreate
	app = vmtest.FlagAppend
)

// repeat sends a request n times, many in one send, and does not care for the
// answers.
func repeat(t *testing.T, tb *vmtest.Table, r vmtest.ObjectRequest, n int) {
	t.Helper()
	one := tb.Encode(r)
	batch := min(250, 100<<10/len(one.Bytes()))
	b := vmtest.Join(slices.Repeat([]vmtest.Message{one}, batch)...)
	for ; n > 0; n -= batch {
		tb.Send(t, b[:min(n, batch)*len(one.Bytes())])
		for {
			if _, err := tb.TryRecv(0); err == unix.ETIMEDOUT {
				break
			}
		}
	}
}

// A hundred thousand requests that fail over all carriers, in each way they can, leave no memory
// behind.
func TestFailuresLeakNothing(t *testing.T) {
	const ways = 10
	each := vmtest.Times(3400)
	vmtest.Module(t, "interval_ms=0", "objects=2", "object_bytes=20000")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		control := vmtest.OpenTable(t, c)
		stats := vmtest.OpenControl(t)
		big := make([]byte, 4000)
		control.Must(t, vmtest.NewObject(cre, "a"))
		control.Must(t, vmtest.NewObject(cre, "b", big, big, big, big))
		requests := []vmtest.ObjectRequest{
			vmtest.NewObject(cre, "c", []byte("no room for objects")),
			vmtest.NewObject(rep, "a", big, big),
			vmtest.NewObject(app, "b", big),
			vmtest.NewObject(cre|exc, "a", []byte("is there")),
			vmtest.NewObject(app, "c"),
			{Op: vmtest.ObjectNew, Flags: cre},
			vmtest.DelObject("c"),
			vmtest.GetObject("c"),
			vmtest.DelObject(""),
			{Op: vmtest.ObjectGet, Attrs: []vmtest.Attr{{Type: vmtest.ObjectKey, Data: []byte("no NUL")}}},
		}
		if len(requests) != ways {
			t.Fatal(len(requests))
		}
		tb := vmtest.OpenTable(t, c)
		tb.SetBuffer(t, 1) // most answers are dropped
		for _, r := range requests {
			repeat(t, tb, r, 500)
		}
		was, before := stats.TableStats(t), vmtest.Slabs(t)
		for _, r := range requests {
			repeat(t, tb, r, each)
		}
		vmtest.Level(t, before, 500)
		is := stats.TableStats(t)
		var failed uint64
		for errno, n := range is.Errors[c.Number] {
			failed += n - was.Errors[c.Number][errno]
		}
		// The core of generic netlink checks the attributes by itself.
		want := uint64(each * ways)
		if c == vmtest.GenlCarrier {
			want -= uint64(each)
		}
		if failed != want {
			t.Errorf("%d requests failed, want %d: %v", failed, want, is.Errors[c.Number])
		}
		if is.Generation != was.Generation || is.Bytes != was.Bytes || is.Count != 2 {
			t.Errorf("the table is %+v, was %+v", is, was)
		}
		control.Must(t, vmtest.DelObjects(""))
	})
}

// A table filled and emptied, in every way, leaves no memory behind.
func TestFillAndEmpty(t *testing.T) {
	const n = 1500
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
		before := vmtest.Slabs(t)
		for round := range 4 {
			vmtest.FillObjects(t, tb, n, make([]byte, 100))
			if s := stats.TableStats(t); s.Count != n {
				t.Fatalf("%d objects, want %d", s.Count, n)
			}
			switch round {
			case 0: // all at once
			case 1: // one by one
				for i := range n / 2 {
					tb.Send(t, tb.Encode(vmtest.DelObject(vmtest.NumberedKey(i))).Bytes())
				}
				tb.Empty(t)
			case 2: // replaced and appended to
				for i := range n / 2 {
					tb.Send(t, vmtest.Join(tb.Encode(vmtest.NewObject(rep, vmtest.NumberedKey(i), make([]byte, 50))),
						tb.Encode(vmtest.NewObject(app, vmtest.NumberedKey(i), make([]byte, 40)))))
				}
				tb.Empty(t)
			case 3: // with a dump that holds all of it, given up later
				held := vmtest.OpenTable(t, c)
				held.Begin(t, vmtest.GetObjects(vmtest.FlagAtomic)).Next(t)
				tb.Must(t, vmtest.DelObjects(""))
				if s := stats.TableStats(t); s.Snapshots != 1 || s.Bytes != 0 {
					t.Errorf("%+v", s)
				}
				held.Close()
			}
			tb.Must(t, vmtest.DelObjects(""))
			if s := stats.TableStats(t); s.Count != 0 || s.Bytes != 0 || s.Snapshots != 0 {
				t.Errorf("the table is %+v", s)
			}
			vmtest.Level(t, before, 500)
		}
	})
}
