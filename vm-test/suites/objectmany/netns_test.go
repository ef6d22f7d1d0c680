// SPDX-License-Identifier: MIT

package objectmany_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Hundreds of namespaces that end with an object in each, an event of it in the
// history, and a dump that nobody read to its end.
func TestNamespaces(t *testing.T) {
	const n = 300
	vmtest.Module(t, "interval_ms=0", "history=16")
	family := vmtest.Nlpeer(t).ID
	value := make([]byte, 4000)
	visit := func(i int) {
		net := vmtest.NewNet(t)
		c := vmtest.Carriers[i%3]
		s := net.Open(t, c.Protocol, 0, 0)
		var b []byte
		for i, k := range []string{"a", "b", "c", "d", "e"} {
			r := vmtest.NewObject(vmtest.FlagCreate, k, value)
			if i == 0 {
				r.Flags |= unix.NLM_F_ECHO
			}
			b = append(b, c.Encode(family, 1, r).Bytes()...)
		}
		dump := vmtest.GetObjects(vmtest.FlagAtomic)
		s.Send(t, append(b, c.Encode(family, 2, dump).Bytes()...))
		if m := s.RecvOne(t); m.Type == unix.NLMSG_ERROR || len(m.Body) < len(value) {
			t.Fatalf("not an echo: %d bytes of type %d", len(m.Body), m.Type)
		}
		s.Close()
		net.Close()
	}
	ended := func(before int) {
		t.Helper()
		nudged := time.Now()
		vmtest.Until(t, "all namespaces have ended", func() bool {
			if time.Since(nudged) > time.Second { // the kernel may free one when the next ends
				vmtest.NewNet(t).Close()
				nudged = time.Now()
			}
			return vmtest.Slabs(t)["net_namespace"] <= before+3
		})
	}
	first := vmtest.Slabs(t)["net_namespace"]
	for i := range 30 {
		visit(i)
	}
	ended(first)
	before := vmtest.Slabs(t)
	for i := range n {
		visit(i)
		if i%100 == 99 {
			ended(first)
		}
	}
	ended(first)
	vmtest.Level(t, before, n/2)
}
