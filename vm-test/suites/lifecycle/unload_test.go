// SPDX-License-Identifier: MIT

package lifecycle_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// An open raw socket holds the module.
func TestUnloadWithRawSocket(t *testing.T) {
	unloaded(t)
	insmod(t)
	s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	for range 3 {
		if err := vmtest.Rmmod("nlpeer"); err != unix.EWOULDBLOCK {
			t.Fatalf("rmmod: %v, want EWOULDBLOCK", err)
		}
		works(t, vmtest.NetlinkTest)
	}
	s.Close()
	vmtest.Unload(t)
	nothingLeft(t)
}

// A generic netlink socket does not. It hears nothing of the module that comes
// next, though the group may have the same number.
func TestUnloadWithGenericSocket(t *testing.T) {
	unloaded(t)
	insmod(t, "interval_ms=1")
	l := vmtest.ListenGenl(t)
	for range 5 {
		l.Next(t)
	}
	if err := vmtest.Rmmod("nlpeer"); err != nil {
		t.Fatalf("rmmod: %v", err)
	}
	nothingLeft(t)
	l.Ended(t)
	l.Empty(t)

	insmod(t, "interval_ms=1")
	witness := vmtest.ListenGenl(t)
	for range 20 {
		witness.Next(t)
	}
	l.Empty(t)
}

// Unloading under fire: a beacon at full speed, with listeners that have an
// event at hand and leave the rest unread.
func TestUnloadWhileTheBeaconRuns(t *testing.T) {
	unloaded(t)
	n := vmtest.NewNet(t)
	for range 20 {
		insmod(t, "interval_ms=1", "groups=0xffffffff")
		here := vmtest.ListenGenl(t)
		there := vmtest.GenlListener(t, n.Open(t, unix.NETLINK_GENERIC, 0, 0))
		if e := here.Next(t); e.Seq == 0 {
			t.Errorf("%+v", e)
		}
		there.Next(t)
		if err := vmtest.Rmmod("nlpeer"); err != nil {
			t.Fatalf("rmmod: %v", err)
		}
		here.Ended(t)
		here.Empty(t)
		there.Ended(t)
		there.Empty(t)
		here.Close()
		there.Close()
	}
	nothingLeft(t)
}

// Senders by both protocols go on while the module comes and goes. Each gets
// either its answer or one of few errors that say that nobody is there.
func TestUnloadWhileSendersRun(t *testing.T) {
	rounds := vmtest.Scale(15, 50)
	unloaded(t)
	vmtest.Count(t, "loads and unloads while senders run", rounds)
	var done atomic.Bool
	var raw, genl atomic.Int64 // answers
	payload := []byte("is anybody there")

	vmtest.Together(func() {
		defer done.Store(true)
		for i := range rounds {
			insmod(t, "interval_ms=1", "groups=0xffffffff")
			r, g := raw.Load(), genl.Load()
			vmtest.Until(t, "both senders got answers", func() bool { return raw.Load() > r+1 && genl.Load() > g+1 })
			for end := time.Now().Add(vmtest.Deadline()); ; {
				err := vmtest.Rmmod("nlpeer")
				if err == nil {
					break
				}
				if err != unix.EWOULDBLOCK || time.Now().After(end) {
					t.Fatalf("rmmod, round %d: %v", i, err)
				}
				runtime.Gosched()
			}
		}
	}, func() {
		for seq := uint32(1); !done.Load(); seq++ {
			s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, seq%2)
			if err == unix.EPROTONOSUPPORT {
				unix.Poll(nil, 1)
				continue
			}
			if err != nil {
				t.Fatalf("raw socket: %v", err)
			}
			// The open socket holds the module, so from here on it answers.
			s.Send(t, vmtest.NewEcho(seq, payload).Bytes())
			for answered := false; !answered; { // events come as well
				m := s.RecvOne(t)
				answered = m.Type == vmtest.MsgEcho && m.Seq == seq && string(m.Body) == string(payload)
				if !answered && m.Type != vmtest.MsgEvent {
					t.Fatalf("raw answer: %+v", m)
				}
			}
			raw.Add(1)
			s.Close()
			runtime.Gosched() // now is the moment to unload
		}
	}, func() {
		s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
		var seq uint32
		for !done.Load() {
			f, ok := vmtest.FindFamily(t, "nlpeer")
			if !ok {
				unix.Poll(nil, 1)
				continue
			}
			for range 10 {
				seq++
				req := vmtest.NewGenl(f.ID, vmtest.CmdEcho, seq, vmtest.Attr{Type: 1, Data: payload})
				s.Send(t, req.Bytes())
				m := s.RecvOne(t)
				if m.Type == unix.NLMSG_ERROR {
					if ack := vmtest.ParseAck(t, m, req); ack.Errno != unix.ENOENT {
						t.Fatalf("genl: %v, want an answer or ENOENT", ack.Errno)
					}
					break
				}
				if m.Seq != seq || m.Type != f.ID {
					t.Fatalf("genl answer: %+v", m)
				}
				genl.Add(1)
			}
		}
	})
	if n := int64(2 * rounds); raw.Load() < n || genl.Load() < n {
		t.Errorf("%d answers by raw, %d by genl in %d rounds", raw.Load(), genl.Load(), rounds)
	}
	nothingLeft(t)
}

// Ten thousand requests that fail, each way they can, leave no memory behind.
func TestFailuresLeakNothing(t *testing.T) {
	const batch = 50
	unloaded(t)
	insmod(t, "interval_ms=0")
	c := vmtest.OpenControl(t)
	raw := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	ways := []struct {
		name    string
		s       *vmtest.Socket
		request vmtest.Message
		n       int
	}{
		{"unknown type", raw, vmtest.Message{Type: 99, Flags: unix.NLM_F_REQUEST, Body: make([]byte, 100)}, 2500},
		{"flags", raw, vmtest.Message{Type: 16, Flags: unix.NLM_F_REQUEST | 0x800, Body: make([]byte, 100)}, 2500},
		{"without a payload", c.Socket, vmtest.NewGenl(c.Family, vmtest.CmdEcho, 1), 2500},
		{"without a setting", c.Socket, vmtest.NewGenl(c.Family, vmtest.CmdBeaconSet, 1), 2500},
	}
	fail := func(s *vmtest.Socket, request vmtest.Message, n int) {
		all := make([]vmtest.Message, batch)
		for i := range all {
			all[i] = request
		}
		b := vmtest.Join(all...)
		for range n / batch {
			s.Send(t, b)
			for range batch {
				if a, err := s.TryRecv(0); err != nil || binary.NativeEndian.Uint16(a[4:]) != unix.NLMSG_ERROR {
					t.Fatalf("%v, % x", err, a)
				}
			}
		}
	}
	// Answers that have no room are failures, too.
	deaf := func() {
		s := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
		defer s.Close()
		s.SetBuffer(t, 1)
		for range 20 {
			all := make([]vmtest.Message, batch)
			for i := range all {
				all[i] = vmtest.NewEcho(1, make([]byte, 200))
			}
			s.Send(t, vmtest.Join(all...))
		}
		if _, err := s.TryRecv(0); !errors.Is(err, unix.ENOBUFS) {
			t.Fatalf("%v, want ENOBUFS", err)
		}
	}
	round := func() {
		for _, w := range ways {
			w.s.SetBuffer(t, 1<<20)
			fail(w.s, w.request, w.n)
		}
		deaf()
	}

	for _, w := range ways {
		fail(w.s, w.request, batch)
	}
	deaf()
	before, errs := vmtest.Slabs(t), c.Stats(t)
	round()
	s := c.Stats(t)
	if n := s.Raw.Errors + s.Genl.Errors - errs.Raw.Errors - errs.Genl.Errors; n < 10000 {
		t.Errorf("%d requests failed, want 10000", n)
	}
	vmtest.Level(t, before, 500)
}
