// SPDX-License-Identifier: MIT

// Package objectdump_test dumps objects over every carrier that has them,
// while the table is at rest and while it changes.
package objectdump_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	rep    = vmtest.FlagReplace
	exc    = vmtest.FlagExcl
	cre    = vmtest.FlagCreate
	atomic = vmtest.FlagAtomic
)

// objects is what a table should hold: values by key.
type objects map[string][]byte

func (o objects) keys(prefix string) []string {
	var all []string
	for k := range o {
		if bytes.HasPrefix([]byte(k), []byte(prefix)) {
			all = append(all, k)
		}
	}
	slices.Sort(all) // by bytes, as the kernel does
	return all
}

// key is a random key, of any bytes but 0.
func key(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255))
	}
	return string(b)
}

// fill makes n objects with about size bytes each.
func fill(t *testing.T, tb *vmtest.Table, r *rand.Rand, n, size int) objects {
	t.Helper()
	all := objects{}
	for len(all) < n {
		k := key(r, 2+r.IntN(63))
		all[k] = vmtest.Bytes(r, size+r.IntN(8))
		tb.Must(t, vmtest.NewObject(cre|rep, k, all[k]))
	}
	return all
}

// check compares a finished dump with what it should hold.
func check(t *testing.T, d *vmtest.Dump, all objects, prefix string) {
	t.Helper()
	if d.Errno != 0 || d.Text != "" {
		t.Fatalf("dump: %v: %s", d.Errno, d.Text)
	}
	want := all.keys(prefix)
	if len(d.Objects) != len(want) {
		t.Fatalf("%d objects, want %d", len(d.Objects), len(want))
	}
	for i, o := range d.Objects {
		vmtest.SameObject(t, o, want[i], o.Generation, all[want[i]])
	}
}

// Every object once, in the order of their keys, whatever is asked for.
func TestOrder(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		tb := vmtest.OpenTable(t, c)
		all := fill(t, tb, r, 300, 300)
		for _, k := range []string{"\x01", "\x01\x01", "\xff", "\xff\xff", "m", "mm", "mmm", "mn"} {
			all[k] = []byte(k)
			tb.Must(t, vmtest.NewObject(cre|rep, k, all[k]))
		}
		some := string([]byte{all.keys("")[150][0]})
		type ask struct {
			flags  uint16
			prefix []string
		}
		asks := []ask{
			{vmtest.FlagDump, nil}, {vmtest.FlagDump, []string{""}}, {vmtest.FlagDump, []string{"m"}},
			{vmtest.FlagDump, []string{"mm"}}, {vmtest.FlagDump, []string{some}}, {vmtest.FlagDump, []string{"\xff"}},
			{vmtest.FlagDump, []string{"\x01"}}, {vmtest.FlagDump, []string{"mm\xff\xff\xffnone"}},
			{vmtest.FlagDump, []string{"\xff\xff\xff\xff\xff\xff"}},
		}
		if c != vmtest.GenlCarrier { // which knows both flags together only
			asks = append(asks, ask{vmtest.FlagRoot, nil}, ask{vmtest.FlagMatch, []string{"m"}}, ask{vmtest.FlagMatch, []string{""}})
		}
		for _, a := range asks {
			for _, flag := range []uint16{0, atomic} {
				d := tb.Begin(t, vmtest.ObjectRequest{Op: vmtest.ObjectGet, Flags: a.flags | flag, Attrs: vmtest.GetObjects(0, a.prefix...).Attrs})
				d.Finish(t)
				prefix := ""
				if a.prefix != nil {
					prefix = a.prefix[0]
				}
				check(t, d, all, prefix)
				if d.Interrupted || d.Nothing != 0 {
					t.Errorf("%+v: interrupted %v, %d times nothing", a, d.Interrupted, d.Nothing)
				}
				if prefix == "" && d.Datagrams < 4 {
					t.Errorf("only %d datagrams", d.Datagrams)
				}
			}
		}
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// A dump of nothing is one message, its end.
func TestEmpty(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		for _, r := range []vmtest.ObjectRequest{
			vmtest.GetObjects(0), vmtest.GetObjects(0, "x"), vmtest.GetObjects(atomic), vmtest.GetObjects(atomic, ""),
		} {
			d := vmtest.OpenTable(t, c).Begin(t, r)
			d.Finish(t)
			check(t, d, nil, "")
			if d.Datagrams != 1 || d.Interrupted || d.Nothing != 0 {
				t.Errorf("%+v", d)
			}
		}
		if s := vmtest.OpenControl(t).TableStats(t); s.Snapshots != 0 {
			t.Errorf("%d snapshots", s.Snapshots)
		}
	})
}

// Objects that are as large as can be, for a reader that was never seen to have
// a large buffer. rtnetlink has to say "nothing" first if one does not fit.
func TestLarge(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		tb := vmtest.OpenTable(t, c)
		var values [][]byte
		for range 4 {
			values = append(values, vmtest.Bytes(r, 4092))
		}
		keys := []string{"b", "c", "d"}
		for _, k := range keys {
			tb.Must(t, vmtest.NewObject(cre, k, values...))
		}
		run := func(nothing int, want ...string) {
			t.Helper()
			for _, flag := range []uint16{0, atomic} {
				d := vmtest.OpenTable(t, c).Begin(t, vmtest.GetObjects(flag))
				d.Finish(t)
				if len(d.Objects) != len(want) || d.Errno != 0 || d.Interrupted {
					t.Fatalf("%d objects, want %d; %v", len(d.Objects), len(want), d.Errno)
				}
				for i, o := range d.Objects {
					if o.Key == "a" {
						vmtest.SameObject(t, o, want[i], o.Generation)
					} else {
						vmtest.SameObject(t, o, want[i], o.Generation, values...)
					}
				}
				if d.Nothing != nothing {
					t.Errorf("%d times nothing, want %d", d.Nothing, nothing)
				}
			}
		}
		if c == vmtest.RtnlCarrier {
			run(1, keys...)
		} else {
			run(0, keys...)
		}
		tb.Must(t, vmtest.NewObject(cre, "a"))
		run(0, "a", "b", "c", "d")
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// changes are what a dump may meet.
var changes = []struct {
	name string
	req  func(all objects) vmtest.ObjectRequest
}{
	{"new before", func(objects) vmtest.ObjectRequest { return vmtest.NewObject(cre|exc, "\x01") }},
	{"new behind", func(objects) vmtest.ObjectRequest { return vmtest.NewObject(cre|exc, "\xff\xff\xff") }},
	{"replaced", func(all objects) vmtest.ObjectRequest { return vmtest.NewObject(rep, all.keys("")[0], []byte("new")) }},
	{"appended to", func(all objects) vmtest.ObjectRequest {
		return vmtest.NewObject(vmtest.FlagAppend, all.keys("")[0], []byte("new"))
	}},
	{"deleted", func(all objects) vmtest.ObjectRequest { return vmtest.DelObject(all.keys("")[0]) }},
	{"all deleted", func(objects) vmtest.ObjectRequest { return vmtest.DelObjects("") }},
}

// A dump during which the table changed says so, and an atomic one does not
// notice. "all deleted" leaves nothing but the end to say it in.
func TestInterrupted(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		for _, change := range changes {
			for _, flag := range []uint16{0, atomic} {
				t.Run(fmt.Sprintf("%s atomic=%v", change.name, flag != 0), func(t *testing.T) {
					tb, other := vmtest.OpenTable(t, c).Small(), vmtest.OpenTable(t, vmtest.Carriers[r.IntN(3)])
					tb.Must(t, vmtest.DelObjects(""))
					all := fill(t, tb, r, 60, 1000)

					d := tb.Begin(t, vmtest.GetObjects(flag))
					other.Must(t, change.req(all))
					d.Next(t) // was made before
					if d.Done || d.Interrupted {
						t.Fatalf("interrupted %v, done %v before anything happened", d.Interrupted, d.Done)
					}
					had := len(d.Objects)
					d.Next(t)
					if flag == atomic {
						d.Finish(t)
						check(t, d, all, "")
					} else if d.Done != (change.name == "all deleted") {
						t.Errorf("done: %v after the change", d.Done)
					} else if !d.Done && len(d.Objects) == had {
						t.Errorf("nothing new came")
					}
					if d.Interrupted != (flag == 0) {
						t.Errorf("interrupted: %v", d.Interrupted)
					}
					for !d.Done {
						d.Next(t)
					}

					// The next one is none the wiser.
					d = tb.Begin(t, vmtest.GetObjects(flag))
					d.Finish(t)
					if d.Errno != 0 || d.Interrupted {
						t.Errorf("the next dump: %v, interrupted %v", d.Errno, d.Interrupted)
					}
				})
			}
		}
		vmtest.OpenTable(t, c).Must(t, vmtest.DelObjects(""))
	})
}

// What fails changes nothing, and interrupts nothing.
func TestNotInterrupted(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		tb, other := vmtest.OpenTable(t, c).Small(), vmtest.OpenTable(t, c)
		all := fill(t, tb, r, 60, 1000)
		d := tb.Begin(t, vmtest.GetObjects(0))
		for !d.Done {
			d.Next(t)
			other.Ask(t, vmtest.NewObject(cre|exc, all.keys("")[0]))
			other.Ask(t, vmtest.DelObject("none has it"))
			other.Must(t, vmtest.DelObjects("none has it"))
		}
		check(t, d, all, "")
		if d.Interrupted || d.Datagrams < 3 {
			t.Errorf("interrupted: %v in %d datagrams", d.Interrupted, d.Datagrams)
		}
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// The object at which a dump stands, and its neighbours, go or are replaced.
func TestWhereItStands(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		for mask := range 64 { // one of: leave, delete, replace, delete and make again; for three objects
			tb, other := vmtest.OpenTable(t, c), vmtest.OpenTable(t, c)
			other.Must(t, vmtest.DelObjects(""))
			all := fill(t, other, r, 30, 1000)
			sorted := all.keys("")

			// What a dump's first datagram holds tells where another stands.
			probe := vmtest.OpenTable(t, c)
			d := probe.Begin(t, vmtest.GetObjects(0))
			d.Next(t)
			at := len(d.Objects) - 1
			if d.Done || at < 1 || at+1 >= len(sorted) {
				t.Fatalf("the dump stands at %d of %d", at, len(sorted))
			}
			probe.Close()

			d = tb.Begin(t, vmtest.GetObjects(0))
			for i := range 3 {
				k := sorted[at-1+i]
				switch value := vmtest.Bytes(r, 9); mask >> (2 * i) & 3 {
				case 1:
					other.Must(t, vmtest.DelObject(k))
					if i == 2 {
						delete(all, k)
					}
				case 2:
					other.Must(t, vmtest.NewObject(rep, k, value))
					if i == 2 {
						all[k] = value
					}
				case 3:
					other.Must(t, vmtest.DelObject(k))
					other.Must(t, vmtest.NewObject(cre|exc, k, value))
					if i == 2 {
						all[k] = value
					}
				}
			}
			d.Finish(t)
			check(t, d, all, "")
			if d.Interrupted != (mask != 0) {
				t.Errorf("mask %#x: interrupted: %v", mask, d.Interrupted)
			}
			tb.Close()
			other.Close()
		}
		vmtest.OpenTable(t, c).Must(t, vmtest.DelObjects(""))
	})
}

// Random changes between all the datagrams of a dump: what lived through it
// comes exactly once, as it was at some time; nothing comes twice.
func TestChurn(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		for round := range 8 {
			flag := uint16(0)
			if round%4 == 3 {
				flag = atomic
			}
			tb, other := vmtest.OpenTable(t, c).Small(), vmtest.OpenTable(t, vmtest.Carriers[r.IntN(3)])
			tb.Must(t, vmtest.DelObjects(""))
			now := fill(t, tb, r, 120, 700)
			start, lived, had := objects{}, map[string]bool{}, map[string][][]byte{}
			for k, v := range now {
				start[k], lived[k], had[k] = v, true, [][]byte{v}
			}

			d := tb.Begin(t, vmtest.GetObjects(flag))
			for ; !d.Done; d.Next(t) {
				for range 1 + r.IntN(20) {
					keys := now.keys("")
					k := keys[r.IntN(len(keys))]
					value := vmtest.Bytes(r, r.IntN(1000))
					switch r.IntN(3) {
					case 0:
						other.Must(t, vmtest.DelObject(k))
						delete(now, k)
						delete(lived, k)
					case 1:
						other.Must(t, vmtest.NewObject(rep, k, value))
						now[k], had[k] = value, append(had[k], value)
					case 2:
						k = key(r, 1+r.IntN(30))
						other.Must(t, vmtest.NewObject(cre|rep, k, value))
						now[k], had[k] = value, append(had[k], value)
					}
				}
			}
			tb.Empty(t)
			if flag == atomic {
				check(t, d, start, "")
				if d.Interrupted {
					t.Error("an atomic dump was interrupted")
				}
			} else if !d.Interrupted || d.Datagrams < 4 {
				t.Errorf("the table changed, interrupted: %v in %d datagrams", d.Interrupted, d.Datagrams)
			}
			last := ""
			for _, o := range d.Objects {
				if o.Key <= last {
					t.Errorf("%q after %q", o.Key, last)
				}
				last = o.Key
				delete(lived, o.Key)
				if !slices.ContainsFunc(had[o.Key], func(v []byte) bool { return len(o.Values) == 1 && bytes.Equal(v, o.Values[0]) }) {
					t.Errorf("%q never was like that", o.Key)
				}
			}
			if flag == 0 && len(lived) != 0 {
				t.Errorf("round %d: %d objects lived through the dump and are not in it", round, len(lived))
			}
			tb.Close()
			other.Close()

			check(t, finished(t, c), now, "")
		}
		vmtest.OpenTable(t, c).Must(t, vmtest.DelObjects(""))
	})
}

func finished(t *testing.T, c *vmtest.Carrier) *vmtest.Dump {
	t.Helper()
	d := vmtest.OpenTable(t, c).Begin(t, vmtest.GetObjects(0))
	d.Finish(t)
	return d
}

// Dumps given up half-way leave nothing behind: the module can go at once.
func TestAbandoned(t *testing.T) {
	for _, flag := range []uint16{0, atomic} {
		for _, read := range []int{0, 1, 2} {
			vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
				vmtest.Module(t, "interval_ms=0")
				tb := vmtest.OpenTable(t, c)
				stats := vmtest.OpenControl(t)
				fill(t, tb, vmtest.Rand(t), 60, 1400)
				for range 3 {
					s := vmtest.OpenTable(t, c)
					d := s.Begin(t, vmtest.GetObjects(flag))
					for range read {
						d.Next(t)
					}
					want := uint32(0)
					if flag == atomic {
						want = 1
					}
					if s := stats.TableStats(t); s.Snapshots != want {
						t.Errorf("%d snapshots in mid-dump, want %d", s.Snapshots, want)
					}
					s.Close()
					if s := stats.TableStats(t); s.Snapshots != 0 {
						t.Errorf("%d snapshots left", s.Snapshots)
					}
				}
				tb.Close()
				vmtest.Unload(t) // with its objects
			})
		}
	}
}

// Four atomic dumps at a time in a namespace, over whatever carrier.
func TestAtomicBound(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	const text = "nlpeer: too many atomic dumps in progress"
	stats, n := vmtest.OpenControl(t), vmtest.NewNet(t)
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		all := fill(t, vmtest.OpenTable(t, vmtest.RawCarrier), vmtest.Rand(t), 60, 1400)
		var held []*vmtest.Dump
		var sockets []*vmtest.Table
		for i := range 4 {
			tb := vmtest.OpenTable(t, vmtest.Carriers[i%3])
			sockets = append(sockets, tb)
			d := tb.Begin(t, vmtest.GetObjects(atomic))
			d.Next(t)
			held = append(held, d)
		}
		refuse := func() {
			t.Helper()
			if s := stats.TableStats(t); s.Snapshots != 4 {
				t.Errorf("%d snapshots, want 4", s.Snapshots)
			}
			d := vmtest.OpenTable(t, c).Begin(t, vmtest.GetObjects(atomic))
			d.Finish(t)
			if d.Errno != unix.EBUSY || d.Text != text || len(d.Objects) != 0 {
				t.Errorf("%v, %q, %d objects; want EBUSY, %q", d.Errno, d.Text, len(d.Objects), text)
			}
		}
		refuse()
		refuse()
		check(t, finished(t, c), all, "") // one that is not atomic

		// Another namespace has four of its own.
		there := vmtest.NewTable(t, c, n.Open(t, c.Protocol, 0, 0)).Begin(t, vmtest.GetObjects(atomic))
		there.Finish(t)
		check(t, there, nil, "")

		held[1].Finish(t) // one ends
		check(t, held[1], all, "")
		again := vmtest.OpenTable(t, c).Begin(t, vmtest.GetObjects(atomic))
		again.Next(t)
		refuse()
		sockets[2].Close() // one is given up
		last := vmtest.OpenTable(t, c).Begin(t, vmtest.GetObjects(atomic))
		last.Next(t)
		refuse()
		for _, d := range []*vmtest.Dump{held[0], held[3], again, last} {
			d.Finish(t)
			check(t, d, all, "")
		}
		if s := stats.TableStats(t); s.Snapshots != 0 {
			t.Errorf("%d snapshots left", s.Snapshots)
		}
	})
}

// The end of a namespace waits for a socket in it, in mid-dump as ever.
func TestNamespaceGoes(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		for _, flag := range []uint16{0, atomic} {
			n := vmtest.NewNet(t)
			tb := vmtest.NewTable(t, c, n.Open(t, c.Protocol, 0, 0))
			all := fill(t, tb, vmtest.Rand(t), 60, 1400)
			d := tb.Begin(t, vmtest.GetObjects(flag))
			d.Next(t)
			n.Close() // only the socket is left in it
			d.Finish(t)
			check(t, d, all, "")

			// And with a dump that stands half-way.
			d = tb.Begin(t, vmtest.GetObjects(flag))
			d.Next(t)
			tb.Close()
		}
	})
}
