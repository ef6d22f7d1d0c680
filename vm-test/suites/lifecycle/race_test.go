// SPDX-License-Identifier: MIT

package lifecycle_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// race is a module that comes and goes under parties that do not care.
type race struct {
	mu     sync.Mutex
	counts map[string]int // what happened, by party and outcome
	parts  []string       // outcomes that each life of the module must see once more

	over    atomic.Bool
	leaving atomic.Bool // the module wants to go: let go of what holds it
}

func (r *race) count(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
}

// seen is how often each part of the race has happened.
func (r *race) seen() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []int
	for _, p := range r.parts {
		all = append(all, r.counts[p])
	}
	return all
}

func (r *race) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		all = append(all, fmt.Sprintf("%s %d", what, r.counts[what]))
	}
	return strings.Join(all, ", ")
}

// party is somebody who does the same again and again: f says what came of it,
// in one of few words. A word that nobody expects fails the test.
func (r *race) party(t *testing.T, name string, part string, words []string, f func(turn int) string) func() {
	r.parts = append(r.parts, name+": "+part)
	return func() {
		for turn := 0; !r.over.Load(); turn++ {
			for r.leaving.Load() && !r.over.Load() {
				unix.Poll(nil, 1)
			}
			word := f(turn)
			r.count(name + ": " + word)
			if word != part && !slices.Contains(words, word) {
				r.over.Store(true)
				t.Fatalf("%s: %s, want %s or one of %q", name, word, part, words)
			}
			if word != part {
				unix.Poll(nil, 1)
			}
			runtime.Gosched()
		}
	}
}

// answer receives what answers a request: "answered", the name of an errno, or
// what else went wrong.
func answer(t *testing.T, s *vmtest.Socket, req vmtest.Message) string {
	b, err := s.TryRecv(vmtest.Deadline())
	if err != nil {
		return unix.ErrnoName(err.(unix.Errno))
	}
	m := vmtest.Parse(t, b)[0]
	switch {
	case m.Seq != req.Seq:
		return "another answer"
	case m.Type == unix.NLMSG_ERROR:
		return unix.ErrnoName(vmtest.ParseAck(t, m, req).Errno)
	}
	return "answered"
}

// dumps begins a dump and reads it to the end, or gives it up after a datagram
// or two, every other time.
func dumps(t *testing.T, s *vmtest.Socket, req vmtest.Message, turn int) string {
	if err := s.TrySend(req.Bytes()); err != nil {
		return unix.ErrnoName(err.(unix.Errno))
	}
	for n := 0; ; n++ {
		if turn%2 == 1 && n > turn%3 {
			return "given up"
		}
		b, err := s.TryRecv(vmtest.Deadline())
		if err != nil {
			return unix.ErrnoName(err.(unix.Errno))
		}
		for _, m := range vmtest.Parse(t, b) {
			if m.Type == unix.NLMSG_ERROR {
				return unix.ErrnoName(vmtest.ParseAck(t, m, req).Errno)
			}
			if m.Type == unix.NLMSG_DONE {
				if errno := -int32(binary.NativeEndian.Uint32(m.Body)); errno != 0 {
					return unix.ErrnoName(unix.Errno(errno))
				}
				return "read to the end"
			}
		}
	}
}

// The module comes and goes, and while it does there are senders, subscribers
// and readers of dumps on all carriers, and somebody who fills and empties the
// table. Each gets what it asks for, or one of few errors that say that nobody
// is there.
//
// The connector tells nothing and holds nothing: nlpeer waits for the calls on
// their way, and on kernels before 5.11 for a tenth of a second in place of what
// would be exact. This is where a module that does not wait falls over, the more
// so with several processors.
func TestUnloadUnderEverything(t *testing.T) {
	rounds := vmtest.Scale(10, 200)
	unloaded(t)
	r := &race{counts: map[string]int{}}
	rnd := vmtest.Rand(t)
	payload := vmtest.Bytes(rnd, 77)
	value := vmtest.Bytes(rnd, 3000)
	family := func() (uint16, bool) {
		f, ok := vmtest.FindFamily(t, "nlpeer")
		return f.ID, ok
	}
	// opened opens a socket for a turn.
	opened := func(protocol int, groups uint32, f func(s *vmtest.Socket) string) string {
		s, err := vmtest.TryOpen(protocol, 0, groups)
		if err != nil {
			return unix.ErrnoName(err.(unix.Errno))
		}
		defer s.Close()
		return f(s)
	}
	rtnl := vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	genl := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	cn := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
	heard := vmtest.ListenCn(t)
	// The cores say EPROTONOSUPPORT, too, to who comes when it is on its way out.
	gone := []string{"ENOENT", "EPROTONOSUPPORT"}
	notRtnl := []string{"EOPNOTSUPP", "ENOTSUP", "EPROTONOSUPPORT"}

	parties := []func(){
		r.party(t, "raw echo", "answered", []string{"EPROTONOSUPPORT"}, func(turn int) string {
			return opened(vmtest.NetlinkTest, 0, func(s *vmtest.Socket) string {
				req := vmtest.NewEcho(uint32(turn), payload)
				s.Send(t, req.Bytes())
				return answer(t, s, req)
			})
		}),
		r.party(t, "generic echo", "answered", gone, func(turn int) string {
			id, ok := family()
			if !ok {
				return "ENOENT"
			}
			req := vmtest.NewGenl(id, vmtest.CmdEcho, uint32(turn), vmtest.Attr{Type: 1, Data: payload})
			genl.Send(t, req.Bytes())
			return answer(t, genl, req)
		}),
		r.party(t, "rtnetlink echo", "answered", notRtnl, func(turn int) string {
			req := vmtest.NewRtnlEcho(uint32(turn), payload)
			rtnl.Send(t, req.Bytes())
			return answer(t, rtnl, req)
		}),
		r.party(t, "connector echo", "answered", []string{"silence"}, func(turn int) string {
			req := vmtest.NewCn(uint32(turn), 2, payload)
			cn.Send(t, req.Message().Bytes())
			b, err := cn.TryRecv(0)
			if err == unix.ETIMEDOUT {
				return "silence"
			}
			if err != nil {
				return err.Error()
			}
			if got := vmtest.ParseCn(t, vmtest.Parse(t, b)[0]); got.Seq != req.Seq || string(got.Data) != string(payload) {
				return "another answer"
			}
			return "answered"
		}),
		r.party(t, "connector events", "heard", []string{"silence", "overrun"}, func(int) string {
			switch _, _, err := heard.TryNext(t, 10*time.Millisecond); err {
			case nil:
				return "heard"
			case unix.ENOBUFS:
				return "overrun"
			}
			return "silence"
		}),
		r.party(t, "raw events", "heard", []string{"EPROTONOSUPPORT", "silence"}, func(int) string {
			return opened(vmtest.NetlinkTest, 0xffffffff, func(s *vmtest.Socket) string {
				if _, err := vmtest.RawListener(s).TryRecv(50 * time.Millisecond); err != nil {
					return "silence"
				}
				return "heard"
			})
		}),
		r.party(t, "generic events", "heard", append([]string{"silence"}, gone...), func(int) string {
			f, ok := vmtest.FindFamily(t, "nlpeer")
			if !ok {
				return "ENOENT"
			}
			return opened(unix.NETLINK_GENERIC, 0, func(s *vmtest.Socket) string {
				if err := unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(f.Groups["beacon"])); err != nil {
					return unix.ErrnoName(err.(unix.Errno))
				}
				if _, err := s.TryRecv(50 * time.Millisecond); err != nil {
					return "silence"
				}
				return "heard"
			})
		}),
		r.party(t, "history", "read to the end", append([]string{"given up"}, gone...), func(turn int) string {
			id, ok := family()
			if !ok {
				return "ENOENT"
			}
			return opened(unix.NETLINK_GENERIC, 0, func(s *vmtest.Socket) string {
				req := vmtest.NewGenl(id, 6, uint32(turn), vmtest.Attr{Type: 1, Data: vmtest.U32(1)})
				req.Flags |= unix.NLM_F_DUMP
				return dumps(t, s, req, turn)
			})
		}),
		r.party(t, "objects", "made", []string{"EPROTONOSUPPORT"}, func(turn int) string {
			return opened(vmtest.NetlinkTest, 0, func(s *vmtest.Socket) string {
				for i := range 8 {
					s.Send(t, vmtest.RawCarrier.Encode(0, uint32(turn), vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagReplace, fmt.Sprint(i), value)).Bytes())
				}
				if turn%5 == 0 {
					s.Send(t, vmtest.RawCarrier.Encode(0, uint32(turn), vmtest.DelObjects("")).Bytes())
				}
				return "made"
			})
		}),
	}
	for i, c := range vmtest.Carriers {
		flags := []uint16{0, vmtest.FlagAtomic}[i%2]
		words := slices.Concat([]string{"given up"}, gone, notRtnl)
		parties = append(parties, r.party(t, c.Name+" dump", "read to the end", words, func(turn int) string {
			id, ok := uint16(0), true
			if c == vmtest.GenlCarrier {
				if id, ok = family(); !ok {
					return "ENOENT"
				}
			}
			return opened(c.Protocol, 0, func(s *vmtest.Socket) string {
				return dumps(t, s, c.Encode(id, uint32(turn), vmtest.GetObjects(flags)), turn)
			})
		}))
	}

	module := func() {
		defer r.over.Store(true)
		for i := 0; i < rounds && !r.over.Load(); i++ {
			insmod(t, "interval_ms=1", "groups=0xffffffff", "history=200")
			s := vmtest.OpenControl(t)
			s.Set(t, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(1)})
			s.Close()
			before := r.seen()
			vmtest.Until(t, "everybody got something", func() bool {
				for k, n := range r.seen() {
					if n == before[k] {
						return r.over.Load()
					}
				}
				return true
			})
			end := time.Now().Add(vmtest.Deadline())
			for tries := 0; ; tries++ {
				err := vmtest.Rmmod("nlpeer")
				if err == nil {
					break
				}
				if err != unix.EWOULDBLOCK || time.Now().After(end) {
					t.Fatalf("rmmod, round %d: %v", i, err)
				}
				r.count("rmmod: in use")
				r.leaving.Store(tries > 20)
				unix.Poll(nil, 1)
			}
			r.count("rmmod: done")
			r.leaving.Store(false)
		}
	}
	vmtest.Together(append(parties, module)...)
	vmtest.Count(t, "loads and unloads while in use", rounds)
	t.Logf("%d times: %s", rounds, r)
	if n := r.counts["rmmod: done"]; n != rounds {
		t.Errorf("unloaded %d times, want %d", n, rounds)
	}
	nothingLeft(t)
}
