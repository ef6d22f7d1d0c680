// SPDX-License-Identifier: MIT

package faults_test

import (
	"fmt"
	"slices"
	"testing"

	"nlpeer/vm-test/suites/vmtest"
)

// An objectHearer listens to a group of events about objects, and says what it has
// heard.
type objectHearer struct {
	hearer
	heard []string
	due   uint64 // number of the last event of the request, heard or lost
}

func event(kind uint32, key string) string { return fmt.Sprint(kind, " ", key) }

func hearObjects(t *testing.T, c *vmtest.Carrier) *objectHearer {
	t.Helper()
	s := vmtest.Open(t, c.Protocol, 0, 0)
	c.JoinObjects(t, s)
	s.SetBuffer(t, 16<<20)
	h := &objectHearer{hearer: hearer{name: c.Name, group: vmtest.RawGroupObjects}}
	if c == vmtest.GenlCarrier {
		h.group = vmtest.GenlGroupObjects
	}
	h.recv = func() ([]byte, error) { return s.TryRecv(0) }
	h.parse = func(m vmtest.Message) vmtest.Event {
		e := c.ObjectEvent(t, m)
		h.heard = append(h.heard, event(e.Kind, e.Object.Key))
		return vmtest.Event{Group: e.Group, Seq: e.Seq, Kind: e.Kind}
	}
	return h
}

// catchUp takes what happened without failures.
func (h *objectHearer) catchUp(t *testing.T) {
	t.Helper()
	if _, told := h.hear(t); told {
		t.Errorf("%s: told of a loss before any failure", h.name)
	}
}

// judge looks at what was heard of a request: all of its events, or the socket says
// that some were lost. It is false if they were.
func (h *objectHearer) judge(t *testing.T, n int, want []string, o outcome) (all bool) {
	t.Helper()
	h.heard = nil
	h.due = h.last + uint64(len(want))
	got, told := h.hear(t)
	switch rest := want; {
	case len(want) == 0 && (got != 0 || told):
		t.Errorf("failure %d: %v, nothing is done, and %s has heard %q, told of a loss %v", n, o, h.name, h.heard, told)
	case got < len(want) && !told:
		t.Errorf("failure %d: %v, and %s has heard %q of %q, and is not told", n, o, h.name, h.heard, want)
	case !o.happened && told:
		t.Errorf("nothing failed any more, and yet %s is told of a loss", h.name)
	default:
		for _, e := range h.heard {
			at := slices.Index(rest, e)
			if at < 0 {
				t.Errorf("failure %d: %s has heard %q, want no more than %q in their order", n, h.name, h.heard, want)
				break
			}
			rest = rest[at+1:]
		}
	}
	return got == len(want)
}

// next wants the events after those, with the numbers behind all of them.
func (h *objectHearer) next(t *testing.T, n int, want ...string) {
	t.Helper()
	h.heard = nil
	if _, told := h.hear(t); told || !slices.Equal(h.heard, want) || h.last != h.due+uint64(len(want)) {
		t.Errorf("failure %d: %s hears next %q, to number %d where %d was due, told of a loss %v; want %q",
			n, h.name, h.heard, h.last, h.due+uint64(len(want)), told, want)
	}
}
