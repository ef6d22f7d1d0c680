// SPDX-License-Identifier: MIT

package faults_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	alone       = 5 // raw group, an event in a datagram
	packed      = 6 // raw group, several
	cmdEventGet = 6
	burst       = 3
)

// A hearer listens to one group and looks whether it misses anything.
type hearer struct {
	name  string
	group uint32
	recv  func() ([]byte, error)
	parse func(m vmtest.Message) vmtest.Event
	last  uint64 // number of the last event before
}

// hear takes what came: how many events, in their order, and whether the socket
// says that some were lost.
func (h *hearer) hear(t *testing.T) (events int, told bool) {
	t.Helper()
	for {
		b, err := h.recv()
		switch {
		case errors.Is(err, unix.ETIMEDOUT):
			return events, told
		case errors.Is(err, unix.ENOBUFS):
			told = true
			continue
		case err != nil:
			t.Fatalf("%s: %v", h.name, err)
		}
		for _, m := range vmtest.Parse(t, b) {
			e := h.parse(m)
			if e.Group != h.group || e.Seq <= h.last {
				t.Errorf("%s: event %d of group %d after %d of group %d", h.name, e.Seq, e.Group, h.last, h.group)
			}
			h.last = e.Seq
			events++
		}
	}
}

// load loads the module with parameters until the test ends, when it is loaded
// again as the other tests want it.
func load(t *testing.T, params ...string) {
	t.Helper()
	t.Cleanup(func() {
		if err := vmtest.Insmod(); err != nil {
			t.Error(err)
		}
	})
	vmtest.Module(t, params...)
}

// quiet loads it without its own beacon.
func quiet(t *testing.T) {
	t.Helper()
	load(t, "interval_ms=0")
}

// hearers is one for each way that an event of the beacon can take.
func hearers(t *testing.T) []*hearer {
	var all []*hearer
	for _, h := range []struct {
		name     string
		protocol int
		group    uint32
		header   int // bytes before the attributes
	}{
		{"raw", vmtest.NetlinkTest, alone, 0},
		{"raw, packed", vmtest.NetlinkTest, packed, 0},
		{"genl", unix.NETLINK_GENERIC, vmtest.GroupBeacon, 4},
		{"connector", unix.NETLINK_CONNECTOR, vmtest.GroupConnector, vmtest.CnHeader},
	} {
		s := vmtest.Open(t, h.protocol, 0, 0)
		join := int(h.group)
		switch h.protocol {
		case unix.NETLINK_GENERIC:
			join = int(vmtest.Nlpeer(t).Groups["beacon"])
		case unix.NETLINK_CONNECTOR:
			join = vmtest.CnIdx
		}
		s.Set(t, unix.NETLINK_ADD_MEMBERSHIP, join)
		s.SetBuffer(t, 16<<20)
		all = append(all, &hearer{
			name: h.name, group: h.group,
			recv:  func() ([]byte, error) { return s.TryRecv(0) },
			parse: func(m vmtest.Message) vmtest.Event { return vmtest.ParseEvent(t, vmtest.Attrs(t, m.Body[h.header:])) },
		})
	}
	return all
}

// remembered counts what a namespace remembers of a group, from a number on.
func remembered(t *testing.T, c *vmtest.Control, group uint32, after uint64) (events int) {
	t.Helper()
	req := eventGet(c.Family, group, after)
	c.Send(t, req.Bytes())
	for {
		for _, m := range vmtest.Parse(t, c.Recv(t)) {
			switch m.Type {
			case c.Family:
				events++
			case unix.NLMSG_DONE:
				if errno := -vmtest.S32(m.Body); errno != 0 {
					t.Fatalf("events of group %d after %d: %v", group, after, unix.Errno(errno))
				}
				return events
			default:
				t.Fatalf("events of group %d after %d: %+v", group, after, m)
			}
		}
	}
}

func eventGet(family uint16, group uint32, after uint64) vmtest.Message {
	req := vmtest.NewGenl(family, cmdEventGet, 1, vmtest.Attr{Type: 1, Data: vmtest.U32(group)},
		vmtest.Attr{Type: 2, Data: binary.NativeEndian.AppendUint64(nil, after)})
	req.Flags |= unix.NLM_F_DUMP
	return req
}

// sent is how many events each carrier has sent or lost.
func sent(s vmtest.Stats) (all [3]uint64) {
	for i, c := range []vmtest.CarrierStats{s.Raw, s.Genl, s.Connector} {
		all[i] = c.Events + c.EventErrors
	}
	return all
}

// An event is heard by all, or whoever has not heard it knows: by ENOBUFS, and by
// a number that is missing. It is remembered in any case, but for one of the
// connector that nobody heard, and it is counted.
func TestBurst(t *testing.T) {
	f := vmtest.OpenFaults(t)
	quiet(t)
	control := vmtest.OpenControl(t)
	control.Set(t, vmtest.Beacon{Groups: 1<<(alone-1) | 1<<(packed-1), Genl: 1, Connector: 1, Size: 10, Packed: 1 << (packed - 1)}.Attrs()...)
	send := vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(burst)}
	listeners := hearers(t)
	var lost, happened int
	every(t, 20, func(n int) bool {
		before := make([]uint64, len(listeners))
		for i, l := range listeners {
			before[i] = l.last
		}
		counted := sent(control.Stats(t))
		asker := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
		req := vmtest.NewGenl(control.Family, vmtest.CmdBeaconSet, uint32(n), send)
		req.Flags |= unix.NLM_F_ACK
		o := ask(t, f, n, asker, req)
		o.judge(t, n, 0, 0)
		asker.Close()

		for i, l := range listeners {
			got, told := l.hear(t)
			kept := remembered(t, control, l.group, before[i])
			connector := l.group == vmtest.GroupConnector
			switch {
			case o.errno != 0:
				if got != 0 || told || kept != 0 {
					t.Errorf("failure %d: %v, and %s has heard %d events, told of a loss %v, %d are remembered", n, o, l.name, got, told, kept)
				}
				continue
			case got != burst:
				lost++
			}
			if got < burst && !told && !connector {
				t.Errorf("failure %d: %s has heard %d of %d events, and is not told", n, l.name, got, burst)
			}
			if kept != burst && !(connector && told) {
				t.Errorf("failure %d: %d of %d events are remembered for %s", n, kept, burst, l.name)
			}
			if !o.happened && (got != burst || told) {
				t.Errorf("nothing failed any more, and yet %s has heard %d of %d events, told of a loss %v", l.name, got, burst, told)
			}
		}
		// The next ones come, behind those that were lost.
		numbers := uint64(0)
		if o.errno == 0 {
			numbers = burst
			if now := sent(control.Stats(t)); now != [3]uint64{counted[0] + 2*burst, counted[1] + burst, counted[2] + burst} {
				t.Errorf("failure %d: events were %d, and are %d", n, counted, now)
			}
		}
		control.Set(t, send)
		for i, l := range listeners {
			if got, told := l.hear(t); got != burst || told || l.last != before[i]+numbers+burst {
				t.Errorf("failure %d: %s hears %d of the next events, to number %d after %d, told of a loss %v", n, l.name, got, l.last, before[i], told)
			}
		}
		if o.happened {
			happened++
		}
		return o.happened
	})
	if lost < 8 {
		t.Errorf("only %d times in %d failures was an event lost", lost, happened)
	}
}

// The history is told in several datagrams, whose making fails in the asker's
// calls.
func TestHistory(t *testing.T) {
	quiet(t)
	control := vmtest.OpenControl(t)
	listener := vmtest.ListenRaw(t, 1<<(alone-1))
	const events = 40
	control.Set(t, vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(1 << (alone - 1))},
		vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(vmtest.DataMax)},
		vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(events)})
	if got := len(listener.Drain(t)); got != events {
		t.Fatalf("%d events, want %d", got, events)
	}
	for _, part := range []string{"begin", "go on"} {
		t.Run(part, func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			every(t, 2, func(n int) bool {
				asker := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
				d := dumped(t, f, n, asker, eventGet(control.Family, alone, 0), part == "begin")
				d.judge(t, n, events)
				asker.Close()
				if got := remembered(t, control, alone, 0); got != events {
					t.Errorf("failure %d: the next time there are %d events, want %d", n, got, events)
				}
				return d.happened
			})
		})
	}
}

// batchOutcome is how a batch with a failure in it ended.
type batchOutcome struct {
	errno     unix.Errno // of send
	overrun   bool       // the socket says that something was lost
	answered  int        // requests up to the last that has an answer
	failed    int        // errors among the answers
	datagrams int
	happened  bool
}

// complete: all is answered, and without an error.
func (o batchOutcome) complete(requests int) bool {
	return o.errno == 0 && !o.overrun && o.failed == 0 && o.answered == requests
}

// batched sends a batch, in which the n-th possible failure happens. Each request
// is answered, or told why not, or the socket says that something was lost; and the
// answers come in their order. right looks at an answer that is no acknowledgment.
func batched(t *testing.T, f *vmtest.Faults, n int, asker *vmtest.Table, batch []vmtest.Message, right func(at int, m vmtest.Message) bool) (o batchOutcome) {
	t.Helper()
	o.errno, o.happened = f.Send(t, n, asker.Socket, vmtest.Join(batch...))
	for {
		b, err := asker.TryRecv(0)
		if errors.Is(err, unix.ETIMEDOUT) {
			break
		}
		if errors.Is(err, unix.ENOBUFS) {
			o.overrun = true
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		o.datagrams++
		for _, m := range vmtest.Parse(t, b) {
			at := slices.IndexFunc(batch, func(r vmtest.Message) bool { return r.Seq == m.Seq })
			if at < o.answered {
				t.Fatalf("failure %d: an answer to request %d, when %d is due: %+v", n, at, o.answered, m)
			}
			if at > o.answered && !o.overrun { // which is told before what waits
				t.Errorf("failure %d: request %d has no answer", n, o.answered)
			}
			o.answered = at + 1
			if m.Type == unix.NLMSG_ERROR {
				errno := vmtest.ParseAck(t, m, batch[at]).Errno
				if errno != 0 {
					o.failed++
				}
				if errno != 0 && !slices.Contains(clean, errno) || errno == 0 && batch[at].Flags&unix.NLM_F_ACK == 0 {
					t.Errorf("failure %d: request %d: %v", n, at, errno)
				}
			} else if m.Flags != 0 || m.PortID != asker.PortID || !right(at, m) {
				t.Errorf("failure %d: the answer to request %d is %+v", n, at, m)
			}
		}
	}
	switch missing := o.answered < len(batch); {
	case o.errno != 0 && !slices.Contains(clean, o.errno):
		t.Errorf("failure %d: %v", n, o.errno)
	case o.errno != 0 && o.answered > 0:
		t.Errorf("failure %d: %v, and %d answers", n, o.errno, o.answered)
	case o.errno == 0 && missing && !o.overrun:
		t.Errorf("failure %d: %d of %d requests are answered, and no loss is told", n, o.answered, len(batch))
	case !o.happened && !o.complete(len(batch)):
		t.Errorf("nothing failed any more, and yet: %+v", o)
	}
	return o
}

// echoes is what batched looks at for a batch of echoes.
func echoes(batch []vmtest.Message) func(at int, m vmtest.Message) bool {
	return func(at int, m vmtest.Message) bool {
		return m.Type == vmtest.MsgEcho && string(m.Body) == string(batch[at].Body)
	}
}

// there makes one object of random bytes, which is the only one, until the test ends.
func there(t *testing.T, size int) (value []byte) {
	t.Helper()
	calm := vmtest.OpenTable(t, vmtest.RawCarrier)
	calm.Must(t, vmtest.DelObjects(""))
	value = vmtest.Random(t, size)
	calm.Must(t, vmtest.NewObject(vmtest.FlagCreate, "there", value))
	t.Cleanup(func() { calm.Must(t, vmtest.DelObjects("")) })
	return value
}

// Several requests in one datagram, of all sorts.
func TestBatch(t *testing.T) {
	value := there(t, 2000)
	f := vmtest.OpenFaults(t)
	every(t, 10, func(n int) bool {
		asker := vmtest.OpenTable(t, vmtest.RawCarrier)
		var batch []vmtest.Message
		for i, size := range []int{100, 5000, 3, 9000} {
			batch = append(batch, vmtest.NewEcho(uint32(100+i), vmtest.Random(t, size)))
		}
		get := len(batch)
		batch = append(batch, asker.Encode(vmtest.GetObject("there")))
		create := vmtest.NewObject(vmtest.FlagCreate, fmt.Sprint("new", n), value)
		create.Flags |= unix.NLM_F_ACK
		// The second acknowledgment finds no datagram begun, and needs one.
		replace := create
		replace.Flags |= vmtest.FlagReplace
		batch = append(batch, asker.Encode(create), asker.Encode(replace), vmtest.NewEcho(200, vmtest.Random(t, 700)))
		same := echoes(batch)

		o := batched(t, f, n, asker, batch, func(at int, m vmtest.Message) bool {
			return at == get && holds(t, m, value) || at != get && same(at, m)
		})
		if _, ack := asker.Get(t, "there"); ack.Errno != 0 {
			t.Errorf("failure %d: the next request: %v", n, ack.Errno)
		}
		asker.Close()
		return o.happened
	})
}

// holds: is it an answer of the raw protocol with an object of one value?
func holds(t *testing.T, m vmtest.Message, value []byte) bool {
	o := vmtest.ParseObject(t, vmtest.Attrs(t, m.Body))
	return o.Key == "there" && len(o.Values) == 1 && string(o.Values[0]) == string(value)
}

// A batch of nothing but echoes without an acknowledgment goes back in the datagram
// that it came in. Where that cannot be, it is answered as any other: what has come
// to the module is answered in full, whatever fails.
func TestPlainEchoes(t *testing.T) {
	control := vmtest.OpenControl(t)
	for name, sizes := range map[string][]int{"short": {100, 0, 33, 500}, "long": {5000, 9000, 1, 7000}} {
		t.Run(name, func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			asker := vmtest.OpenTable(t, vmtest.RawCarrier)
			var batch []vmtest.Message
			for i, size := range sizes {
				batch = append(batch, vmtest.NewEcho(uint32(100+i), vmtest.Random(t, size)))
			}
			n, in := uint64(len(batch)), uint64(0)
			for _, m := range batch {
				in += uint64(16 + len(m.Body))
			}
			survived := 0
			one := func(i int) bool {
				want := control.Stats(t).Raw
				o := batched(t, f, i, asker, batch, echoes(batch))
				if o.errno == 0 {
					if !o.complete(len(batch)) || o.datagrams != 1 {
						t.Errorf("failure %d: %+v, want all the answers in a datagram", i, o)
					}
					want.Requests, want.Replies, want.RxBytes, want.TxBytes = want.Requests+n, want.Replies+n, want.RxBytes+in, want.TxBytes+in
					if o.happened {
						survived++
					}
				}
				if got := control.Stats(t).Raw; got != want {
					t.Errorf("failure %d: %v, and the statistics are %+v, want %+v", i, o.errno, got, want)
				}
				asker.Send(t, vmtest.Join(batch...))
				for at, m := range asker.RecvMany(t, len(batch)) {
					if m.Seq != batch[at].Seq || !echoes(batch)(at, m) {
						t.Errorf("failure %d: the next batch's answer %d: %+v", i, at, m)
					}
				}
				return o.happened
			}
			every(t, 4, one)
			// The first in the module itself is that of the datagram sent back.
			f.InModules(t)
			survived = 0
			kindsFailed(t)
			if k := failures(t, 1, one); survived != k {
				t.Errorf("%d of %d failures in the module are answered in full", survived, k)
			}
			if got := kindsFailed(t); got[0] == 0 {
				t.Errorf("%v: %v, want a piece of a slab among them", kinds, got)
			}
		})
	}
}

// The answers are much longer than the requests, so their datagram has to grow, and
// grow again. If it cannot, the next answer begins another.
func TestGrowing(t *testing.T) {
	value := there(t, 700)
	f := vmtest.OpenFaults(t)
	split := 0
	one := func(n int) bool {
		asker := vmtest.OpenTable(t, vmtest.RawCarrier)
		var batch []vmtest.Message
		for range 10 {
			batch = append(batch, asker.Encode(vmtest.GetObject("there")))
		}
		o := batched(t, f, n, asker, batch, func(_ int, m vmtest.Message) bool { return holds(t, m, value) })
		switch {
		case !o.happened && o.datagrams != 1:
			t.Errorf("nothing failed any more, and yet there are %d datagrams", o.datagrams)
		case o.complete(len(batch)) && o.datagrams > 1:
			split++
		}
		if _, ack := asker.Get(t, "there"); ack.Errno != 0 {
			t.Errorf("failure %d: the next request: %v", n, ack.Errno)
		}
		asker.Close()
		return o.happened
	}
	every(t, 5, one)
	// It grows twice, and one of them is passed over if the kernel has another failure
	// before it this time. In the module alone there are few.
	f.InModules(t)
	failures(t, 3, one)
	if split < 2 {
		t.Errorf("%d failures to grow, want 2 at least", split)
	}
}
