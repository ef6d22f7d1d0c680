// SPDX-License-Identifier: MIT

package objects_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Who has many deleted does not go on for as long as others make more.
func TestDelManyEnds(t *testing.T) {
	const n = 1000 // so that it takes longer than a task has the processor
	vmtest.Module(t, "interval_ms=0", fmt.Sprint("objects=", n))
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		tb, maker := vmtest.OpenTable(t, c), vmtest.OpenTable(t, vmtest.RawCarrier)
		var stop, full atomic.Bool
		made := 0
		all := vmtest.DelObjects("")
		if c != vmtest.GenlCarrier { // there the prefix is needed
			all.Attrs = nil
		}
		vmtest.Together(
			func() {
				for i := 0; !stop.Load(); i++ {
					// Always behind those that are there.
					if _, ack := maker.Ask(t, vmtest.NewObject(cre, vmtest.NumberedKey(i))); ack.Errno == 0 {
						made++
					} else {
						full.Store(true)
					}
				}
			},
			func() {
				defer stop.Store(true)
				vmtest.Until(t, "a deletion ends while there are more", func() bool {
					full.Store(false)
					vmtest.Until(t, "there is no room", full.Load)
					before, ack := tb.Ask(t, all)
					if ack.Errno == 0 && before == nil {
						return false
					}
					refused(t, before, ack, unix.EAGAIN, "nlpeer: objects come faster than they are deleted; ask again", -1)
					return true
				})
			})
		if made <= n {
			t.Errorf("%d objects were made", made)
		}
		tb.Must(t, vmtest.DelObjects(""))
		if all := tb.All(t); len(all) != 0 {
			t.Errorf("%d objects are left", len(all))
		}
	})
}
