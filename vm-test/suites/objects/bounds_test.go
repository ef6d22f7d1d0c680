// SPDX-License-Identifier: MIT

package objects_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	textPolicy = "Attribute failed policy validation"
	textObject = "nlpeer: an object's values take at most 16384 bytes, headers included"
	textCount  = "nlpeer: table full: objects=N allows more objects"
	textBytes  = "nlpeer: table full: object_bytes=N allows more bytes"
)

// untouched does what must fail and checks that the table does not notice.
func untouched(t *testing.T, c *vmtest.Carrier, f func()) {
	t.Helper()
	tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
	was, objects := stats.TableStats(t), fmt.Sprint(tb.All(t))
	f()
	is := stats.TableStats(t)
	if is.Generation != was.Generation || is.Count != was.Count || is.Bytes != was.Bytes {
		t.Errorf("the table has %d objects of %d bytes at generation %d, had %d of %d at %d",
			is.Count, is.Bytes, is.Generation, was.Count, was.Bytes, was.Generation)
	}
	if fmt.Sprint(tb.All(t)) != objects {
		t.Error("the objects have changed")
	}
}

// Keys of 1 to 64 bytes and a NUL, in every request.
func TestKeys(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb := vmtest.OpenTable(t, c)
		r := vmtest.Rand(t)
		for _, n := range []int{1, 2, 3, 4, 5, 63, 64} {
			key := strings.Map(func(rune) rune { return rune('a' + r.IntN(26)) }, strings.Repeat("x", n))
			tb.Must(t, vmtest.NewObject(cre|exc, key, []byte{byte(n)}))
			o, _ := tb.Get(t, key)
			vmtest.SameObject(t, o, key, o.Generation, []byte{byte(n)})
			d := tb.Begin(t, vmtest.GetObjects(0, key))
			d.Finish(t)
			if keys(d.Objects) != key {
				t.Errorf("dump of prefix %q: %q", key, keys(d.Objects))
			}
			tb.Must(t, vmtest.DelObject(key))
		}
		// Every byte but 0 may stand in a key.
		for b := 1; b < 256; b++ {
			tb.Must(t, vmtest.NewObject(cre|exc, string([]byte{byte(b)})))
		}
		all := tb.All(t)
		if len(all) != 255 {
			t.Errorf("%d objects, want 255", len(all))
		}
		for i, o := range all {
			if o.Key != string([]byte{byte(i + 1)}) {
				t.Errorf("object %d is %q", i, o.Key)
			}
		}
		tb.Must(t, vmtest.DelObjects(""))

		tb.Must(t, vmtest.NewObject(cre, "k", []byte("kept")))
		bad := map[string][]byte{
			"65 bytes and a NUL": append(bytes.Repeat([]byte{'k'}, 65), 0),
			"without a NUL":      []byte("k"),
			"64 without a NUL":   bytes.Repeat([]byte{'k'}, 64),
			"4096 bytes":         append(bytes.Repeat([]byte{'k'}, 4096), 0),
			"no data":            {},
		}
		for name, data := range bad {
			for op, attr := range map[int]uint16{vmtest.ObjectNew: 1, vmtest.ObjectDel: 1, vmtest.ObjectGet: 1, 10 + vmtest.ObjectDel: 4} {
				untouched(t, c, func() {
					flags := uint16(0)
					switch op {
					case vmtest.ObjectNew:
						flags = cre | rep
					case 10 + vmtest.ObjectDel:
						flags = vmtest.FlagBulk
					}
					before, ack := tb.Ask(t, vmtest.ObjectRequest{Op: op % 10, Flags: flags, Attrs: []vmtest.Attr{{Type: attr, Data: data}}})
					refused(t, before, ack, unix.EINVAL, textPolicy, c.Header)
					if !ack.Policy {
						t.Errorf("%s: no policy in the error", name)
					}
				})
			}
		}
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// full is values that take exactly the room of an object.
func full(fill byte) [][]byte {
	var values [][]byte
	for i := range 4 {
		values = append(values, bytes.Repeat([]byte{fill + byte(i)}, 4092))
	}
	return values
}

// Values of 0 to 4096 bytes, as many as have room.
func TestValues(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb := vmtest.OpenTable(t, c)
		r := vmtest.Rand(t)
		last := func() uint64 { return vmtest.OpenControl(t).TableStats(t).Generation }
		for _, n := range []int{0, 1, 2, 3, 4, 5, 4092, 4095, 4096} {
			value := vmtest.Bytes(r, n)
			tb.Must(t, vmtest.NewObject(cre|rep, "k", value))
			o, _ := tb.Get(t, "k")
			vmtest.SameObject(t, o, "k", last(), value)
		}
		untouched(t, c, func() {
			before, ack := tb.Ask(t, vmtest.NewObject(cre|rep, "k", vmtest.Bytes(r, 4097)))
			refused(t, before, ack, unix.ERANGE, textPolicy, c.Header+8)
		})
		untouched(t, c, func() { // the second one is to blame
			before, ack := tb.Ask(t, vmtest.NewObject(cre, "new", []byte("good"), vmtest.Bytes(r, 4097)))
			refused(t, before, ack, unix.ERANGE, textPolicy, c.Header+8+8)
		})

		// 4096 empty values are as much as 4 of 4092 bytes.
		many := make([][]byte, 4096)
		tb.Must(t, vmtest.NewObject(rep, "k", many...))
		o, _ := tb.Get(t, "k")
		vmtest.SameObject(t, o, "k", last(), many...)
		untouched(t, c, func() {
			before, ack := tb.Ask(t, vmtest.NewObject(app, "k", nil))
			refused(t, before, ack, unix.ENOSPC, textObject, -1)
			before, ack = tb.Ask(t, vmtest.NewObject(cre, "more", append(many, nil)...))
			refused(t, before, ack, unix.ENOSPC, textObject, -1)
		})

		values := full(byte(r.Uint32()))
		tb.Must(t, vmtest.NewObject(rep, "k", values...))
		o, _ = tb.Get(t, "k")
		vmtest.SameObject(t, o, "k", last(), values...)
		untouched(t, c, func() {
			more := append([][]byte{append([]byte{0}, values[0]...)}, values[1:]...)
			before, ack := tb.Ask(t, vmtest.NewObject(rep, "k", more...))
			refused(t, before, ack, unix.ENOSPC, textObject, -1)
		})

		// Appended up to the bound, with padding.
		tb.Must(t, vmtest.NewObject(rep, "k", values[:3]...))
		tb.Must(t, vmtest.NewObject(app, "k", vmtest.Bytes(r, 4085)))
		untouched(t, c, func() {
			before, ack := tb.Ask(t, vmtest.NewObject(app, "k", []byte{1}))
			refused(t, before, ack, unix.ENOSPC, textObject, -1)
		})
		tb.Must(t, vmtest.NewObject(app, "k", nil))
		untouched(t, c, func() {
			before, ack := tb.Ask(t, vmtest.NewObject(app, "k", nil))
			refused(t, before, ack, unix.ENOSPC, textObject, -1)
		})
		tb.Must(t, vmtest.NewObject(app, "k")) // nothing is always room for
		o, _ = tb.Get(t, "k")
		if len(o.Values) != 5 || o.Generation != last() {
			t.Errorf("%d values of generation %d", len(o.Values), o.Generation)
		}
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// A table that is full of objects.
func TestFullOfObjects(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "objects=3")
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb := vmtest.OpenTable(t, c)
		for _, k := range []string{"a", "b", "c"} {
			tb.Must(t, vmtest.NewObject(cre, k, []byte(k)))
		}
		for _, flags := range []uint16{cre, cre | exc, cre | rep, cre | app} {
			untouched(t, c, func() {
				before, ack := tb.Ask(t, vmtest.NewObject(flags, "d"))
				refused(t, before, ack, unix.ENOSPC, textCount, -1)
			})
		}
		tb.Must(t, vmtest.NewObject(rep, "a", []byte("replaced")))
		tb.Must(t, vmtest.NewObject(app, "c", []byte("appended")))
		tb.Must(t, vmtest.DelObject("b"))
		tb.Must(t, vmtest.NewObject(cre, "d"))
		if got := keys(tb.All(t)); got != "a c d" {
			t.Errorf("%q", got)
		}
		s := vmtest.OpenControl(t).TableStats(t)
		if s.Count != 3 || s.CountMax != 3 {
			t.Errorf("%d of %d objects", s.Count, s.CountMax)
		}
		tb.Must(t, vmtest.DelObjects(""))
	})
}

// A table that has no room for a single object.
func TestNoRoom(t *testing.T) {
	for param, text := range map[string]string{"objects=0": textCount, "object_bytes=0": textBytes, "object_bytes=64": textBytes} {
		vmtest.Module(t, "interval_ms=0", param)
		vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
			tb := vmtest.OpenTable(t, c)
			untouched(t, c, func() {
				before, ack := tb.Ask(t, vmtest.NewObject(cre, "k"))
				refused(t, before, ack, unix.ENOSPC, text, -1)
			})
			tb.Must(t, vmtest.DelObjects(""))
		})
	}
}

// A table that is full of bytes.
func TestFullOfBytes(t *testing.T) {
	value := vmtest.Random(t, 1000)
	var one uint64
	t.Run("measure", func(t *testing.T) {
		vmtest.Module(t, "interval_ms=0")
		vmtest.OpenTable(t, vmtest.RawCarrier).Must(t, vmtest.NewObject(cre, "a", value))
		one = vmtest.OpenControl(t).TableStats(t).Bytes
		if one < 1004 || one > 1004+200 {
			t.Fatalf("an object with %d bytes takes %d", len(value), one)
		}
	})

	vmtest.Module(t, "interval_ms=0", fmt.Sprintf("object_bytes=%d", 3*one))
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
		for _, k := range []string{"a", "b", "c"} {
			tb.Must(t, vmtest.NewObject(cre, k, value))
		}
		if s := stats.TableStats(t); s.Bytes != 3*one || s.BytesMax != 3*one {
			t.Errorf("%d of %d bytes, want %d", s.Bytes, s.BytesMax, 3*one)
		}
		for _, r := range []vmtest.ObjectRequest{
			vmtest.NewObject(cre, "d"),
			vmtest.NewObject(rep, "a", value, nil),
			vmtest.NewObject(app, "b", nil),
		} {
			untouched(t, c, func() {
				before, ack := tb.Ask(t, r)
				refused(t, before, ack, unix.ENOSPC, textBytes, -1)
			})
		}
		tb.Must(t, vmtest.NewObject(rep, "a", value[1:]))   // as much, with padding
		tb.Must(t, vmtest.NewObject(app, "b"))              // nothing
		tb.Must(t, vmtest.NewObject(rep, "b", value[:500])) // less
		tb.Must(t, vmtest.NewObject(app, "b", value[:496])) // and as much again
		untouched(t, c, func() {
			before, ack := tb.Ask(t, vmtest.NewObject(app, "b", nil))
			refused(t, before, ack, unix.ENOSPC, textBytes, -1)
		})
		tb.Must(t, vmtest.DelObject("b"))
		tb.Must(t, vmtest.NewObject(cre, "d", value))
		tb.Must(t, vmtest.DelObjects(""))
		if s := stats.TableStats(t); s.Bytes != 0 {
			t.Errorf("%d bytes in an empty table", s.Bytes)
		}
	})
}
