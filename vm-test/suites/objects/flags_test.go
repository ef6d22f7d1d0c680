// SPDX-License-Identifier: MIT

// Package objects_test asks for the objects of a namespace over every carrier
// that has them.
package objects_test

import (
	"fmt"
	"strings"
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

func flagNames(flags uint16) string {
	var names []string
	for _, f := range []struct {
		bit  uint16
		name string
	}{{cre, "CREATE"}, {exc, "EXCL"}, {rep, "REPLACE"}, {app, "APPEND"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "|")
}

// refused fails the test if a request was not refused as it should be. An
// offset of -1 means that no attribute is to blame.
func refused(t *testing.T, before []vmtest.Message, a vmtest.Ack, errno unix.Errno, text string, offset int) {
	t.Helper()
	if before != nil {
		t.Errorf("an answer besides an error: %+v", before)
	}
	if a.Errno != errno || a.Text != text || a.Offset != offset {
		t.Errorf("%v, %q, offset %d; want %v, %q, offset %d", a.Errno, a.Text, a.Offset, errno, text, offset)
	}
}

const (
	textNone    = "nlpeer: no object has this key; NLM_F_CREATE makes one"
	textExists  = "nlpeer: the object exists; NLM_F_REPLACE or NLM_F_APPEND changes it"
	textExcl    = "nlpeer: the object exists"
	textUnknown = "nlpeer: no object has this key"
)

// What becomes of an object.
const (
	kept = iota
	made
	replaced
	appended
)

type cell struct {
	errno  unix.Errno
	text   string
	effect int
}

var (
	none    = cell{unix.ENOENT, textNone, kept}
	exists  = cell{unix.EEXIST, textExists, kept}
	excl    = cell{unix.EEXIST, textExcl, kept}
	makes   = cell{effect: made}
	puts    = cell{effect: replaced}
	appends = cell{effect: appended}
)

// flagTable is the table in docs/protocol.md: what a request does if the object
// is not there, and if it is.
var flagTable = []struct {
	flags         uint16
	absent, there cell
}{
	{0, none, exists},
	{rep, none, puts},
	{exc, none, excl},
	{exc | rep, none, excl},
	{app, none, appends},
	{app | rep, none, puts},
	{app | exc, none, excl},
	{app | exc | rep, none, excl},
	{cre, makes, exists},
	{cre | rep, makes, puts},
	{cre | exc, makes, excl},
	{cre | exc | rep, makes, excl},
	{cre | app, makes, appends},
	{cre | app | rep, makes, puts},
	{cre | app | exc, makes, excl},
	{cre | app | exc | rep, makes, excl},
}

// Every combination of flags, with and without the object.
func TestFlags(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	if len(flagTable) != 16 {
		t.Fatal(len(flagTable))
	}
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		r := vmtest.Rand(t)
		tb, stats := vmtest.OpenTable(t, c), vmtest.OpenControl(t)
		for _, row := range flagTable {
			for _, there := range []bool{false, true} {
				want := row.absent
				if there {
					want = row.there
				}
				t.Run(fmt.Sprintf("%s there=%v", flagNames(row.flags), there), func(t *testing.T) {
					key := fmt.Sprintf("key%d", r.Uint32())
					old := [][]byte{vmtest.Bytes(r, 5), {}, vmtest.Bytes(r, 300)}
					values := [][]byte{vmtest.Bytes(r, 1+r.IntN(50)), vmtest.Bytes(r, r.IntN(50))}
					if there {
						tb.Must(t, vmtest.NewObject(cre|exc, key, old...))
					}
					was := stats.TableStats(t)
					before, ack := tb.Ask(t, vmtest.NewObject(row.flags, key, values...))
					offset := c.Header
					if want.errno == 0 {
						offset = -1
					}
					refused(t, before, ack, want.errno, want.text, offset)

					is := stats.TableStats(t)
					generation := was.Generation
					if want.effect != kept {
						generation++
					}
					if is.Generation != generation {
						t.Errorf("generation %d, want %d", is.Generation, generation)
					}
					if !there && want.effect == kept {
						if is.Count != was.Count || is.Bytes != was.Bytes {
							t.Errorf("%d objects of %d bytes, want %d of %d", is.Count, is.Bytes, was.Count, was.Bytes)
						}
						before, ack := tb.Ask(t, vmtest.GetObject(key))
						refused(t, before, ack, unix.ENOENT, textUnknown, c.Header)
						return
					}
					o, ack := tb.Get(t, key)
					if ack.Errno != 0 {
						t.Fatal(ack.Errno)
					}
					switch want.effect {
					case kept:
						vmtest.SameObject(t, o, key, was.Generation, old...)
					case appended:
						vmtest.SameObject(t, o, key, generation, append(old, values...)...)
					default:
						vmtest.SameObject(t, o, key, generation, values...)
					}
					tb.Must(t, vmtest.DelObject(key))
				})
			}
		}
		tb.Empty(t)
	})
}
