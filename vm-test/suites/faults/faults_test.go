// SPDX-License-Identifier: MIT

// Package faults_test lets every allocation fail that a request comes to, and
// every copy from and to the asker, one after the other: each time there is a
// clean error or all of the answer, what was asked for is done or is not, and
// the next request works. What is lost for ever, the debug kernel finds.
package faults_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// most bounds a loop that does not come to the operation's end.
const most = 2000

// clean are the errors that a failure may show as.
var clean = []unix.Errno{unix.ENOMEM, unix.ENOBUFS, unix.EFAULT}

// outcome is how a request with a failure in it ended.
type outcome struct {
	errno    unix.Errno // of the request, from send or from an acknowledgment
	acked    bool       // an acknowledgment came, of whatever kind
	overrun  bool       // the socket says that an answer was lost
	answers  int        // messages besides the acknowledgment
	happened bool       // there was an n-th failure at all
}

func (o outcome) String() string {
	return fmt.Sprintf("%v, acknowledged %v, answers %d, lost %v", o.errno, o.acked, o.answers, o.overrun)
}

// ask sends a request, in which the n-th possible failure happens, and reads
// all that the socket has after it.
func ask(t *testing.T, f *vmtest.Faults, n int, s *vmtest.Socket, req vmtest.Message) (o outcome) {
	t.Helper()
	errno, happened := f.Send(t, n, s, req.Bytes())
	o.errno, o.happened = errno, happened
	for {
		b, err := s.TryRecv(0)
		switch {
		case errors.Is(err, unix.ETIMEDOUT):
			if errno != 0 && (o.acked || o.answers > 0) {
				t.Errorf("failure %d: send says %v, and yet: %v", n, errno, o)
			}
			return o
		case errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM):
			o.overrun = true
		case err != nil:
			t.Fatalf("failure %d: receiving: %v", n, err)
		}
		for _, m := range vmtest.Parse(t, b) {
			if m.Type == unix.NLMSG_ERROR {
				if o.acked {
					t.Fatalf("failure %d: two acknowledgments", n)
				}
				o.acked, o.errno = true, vmtest.ParseAck(t, m, req).Errno
			} else {
				o.answers++
			}
		}
	}
}

// judge looks at what holds for every request: answers is how many it has when
// all goes well, and echoes how many events, each of which may be missing before
// an acknowledgment of success.
func (o outcome) judge(t *testing.T, n, answers, echoes int) {
	t.Helper()
	switch {
	case o.errno != 0 && !slices.Contains(clean, o.errno):
		t.Errorf("failure %d: %v, want one of %v", n, o, clean)
	case o.errno != 0 && o.answers > 0:
		t.Errorf("failure %d: an error and an answer: %v", n, o)
	case o.errno == 0 && !o.overrun && (!o.acked || o.answers < answers || o.answers > answers+echoes):
		t.Errorf("failure %d: neither an error nor all of the answer (%d messages and %d events), nor told of a loss: %v", n, answers, echoes, o)
	case !o.happened && o.answers != answers+echoes:
		t.Errorf("nothing failed any more, and yet: %v", o)
	case !o.happened && (o.errno != 0 || o.overrun):
		t.Errorf("nothing failed any more, and yet: %v", o)
	}
}

// every calls f for each possible failure of an operation that no other test lets
// fail, and puts their number into the table of a run.
func every(t *testing.T, least int, f func(n int) (happened bool)) {
	t.Helper()
	vmtest.Count(t, "faults", failures(t, least, f))
}

// failures calls f with n from 1 on, to let the n-th possible failure happen, until
// f says that there was none, or the test has failed. It returns how many there
// were. An operation that can fail less often than it must have been able to has
// not been tested.
func failures(t *testing.T, least int, f func(n int) (happened bool)) int {
	t.Helper()
	n := 1
	for f(n) && !t.Failed() {
		if n++; n > most {
			t.Fatalf("no end after %d failures", most)
		}
	}
	if n-1 < least {
		t.Errorf("%d possible failures, want %d at least", n-1, least)
	}
	return n - 1
}

func TestObjects(t *testing.T) {
	value := vmtest.Random(t, 300)
	other := vmtest.Random(t, 3000)
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		// Without failures, and on another socket.
		calm := vmtest.OpenTable(t, c)
		// Somebody listens on both ways that events take, whatever way the request does.
		listeners := []*objectHearer{hearObjects(t, vmtest.RawCarrier), hearObjects(t, vmtest.GenlCarrier)}

		// There is a and p0 to p2; the state after each failure is all or nothing.
		before := append([]string{"a"}, many("p", 3)...)
		with := append([]string{"a", "new"}, many("p", 3)...)
		created, changed, deleted := []string{event(vmtest.KindNew, "new")}, []string{event(vmtest.KindChange, "a")}, []string{event(vmtest.KindDel, "a")}
		var allDeleted []string
		for _, key := range many("p", 3) {
			allDeleted = append(allDeleted, event(vmtest.KindDel, key))
		}
		tests := []struct {
			name    string
			request vmtest.ObjectRequest
			answers int
			echoes  int
			after   []string // keys, if it is done
			change  bool     // the value of a is other, if it is done
			events  []string // of each group, if it is done
		}{
			{"create", vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, "new", other), 0, 0, with, false, created},
			{"create, echoed", echoed(vmtest.NewObject(vmtest.FlagCreate, "new", other)), 0, 1, with, false, created},
			{"replace", vmtest.NewObject(vmtest.FlagReplace, "a", other), 0, 0, before, true, changed},
			{"append", vmtest.NewObject(vmtest.FlagAppend, "a", other), 0, 0, before, true, changed},
			{"get", vmtest.GetObject("a"), 1, 0, before, false, nil},
			{"delete", vmtest.DelObject("a"), 0, 0, many("p", 3), true, deleted},
			{"delete, echoed", echoed(vmtest.DelObject("a")), 0, 1, many("p", 3), true, deleted},
			{"delete all of a prefix", vmtest.DelObjects("p"), 0, 0, []string{"a"}, false, allDeleted},
			{"delete all of a prefix, echoed", echoed(vmtest.DelObjects("p")), 0, 3, []string{"a"}, false, allDeleted},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				f := vmtest.OpenFaults(t) // of this test's own thread
				fresh := false            // the table is as before
				lost := 0
				every(t, 4, func(n int) bool {
					if !fresh {
						calm.Must(t, vmtest.DelObjects(""))
						for _, key := range before {
							calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, key, value))
						}
					}
					for _, l := range listeners {
						l.catchUp(t)
					}
					asker := vmtest.OpenTable(t, c)
					r := tt.request
					r.Flags |= unix.NLM_F_ACK
					o := ask(t, f, n, asker.Socket, asker.Encode(r))
					o.judge(t, n, tt.answers, tt.echoes)

					all := calm.All(t)
					got := keys(all)
					done, undone := slices.Equal(got, tt.after), slices.Equal(got, before)
					if !slices.Equal(tt.after, before) && done == undone || !done && !undone {
						t.Errorf("failure %d: %v, and the objects are %q; want %q or %q", n, o, got, before, tt.after)
					}
					there := len(got) > 0 && got[0] == "a"
					changed := there && (len(all[0].Values) != 1 || len(all[0].Values[0]) != len(value))
					if tt.change && there {
						done = changed
					}
					if fresh = undone && !changed; o.errno != 0 && !fresh {
						t.Errorf("failure %d: done in spite of an error: %v", n, o)
					}
					if o.acked && o.errno == 0 && !done {
						t.Errorf("failure %d: acknowledged and not done: %v", n, o)
					}
					// And the asker can go on.
					if _, ack := asker.Get(t, "p0"); ack.Errno != 0 && ack.Errno != unix.ENOENT {
						t.Errorf("failure %d: the next request: %v", n, ack.Errno)
					}
					asker.Close()

					var expected []string
					if done && tt.events != nil {
						expected = tt.events
					}
					for _, l := range listeners {
						if !l.judge(t, n, expected, o) {
							lost++
						}
					}
					// The next ones come, and by their numbers whoever missed some knows.
					calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, "mark"))
					calm.Must(t, vmtest.DelObject("mark"))
					for _, l := range listeners {
						l.next(t, n, event(vmtest.KindNew, "mark"), event(vmtest.KindDel, "mark"))
					}
					return o.happened
				})
				if tt.events != nil && lost == 0 {
					t.Error("no failure has lost an event")
				}
			})
		}
		t.Run("dump", func(t *testing.T) { dump(t, c, calm) })
		calm.Must(t, vmtest.DelObjects(""))
	})
}

// dumpOutcome is how a dump with a failure in it ended.
type dumpOutcome struct {
	errno    unix.Errno // 0 for the regular end
	messages int
	happened bool
}

// dumped asks for a dump and reads it to its end. The n-th possible failure
// happens in the request, or in receiving its first datagram, by which it goes on.
func dumped(t *testing.T, f *vmtest.Faults, n int, s *vmtest.Socket, req vmtest.Message, inRequest bool) (o dumpOutcome) {
	t.Helper()
	var first []byte
	if inRequest {
		o.errno, o.happened = f.Send(t, n, s, req.Bytes())
	} else {
		s.Send(t, req.Bytes())
		first, o.errno, o.happened = f.Receive(t, n, s)
		first = slices.Clone(first)
	}
	for o.errno == 0 {
		b := first
		if first = nil; b == nil {
			var err error
			if b, err = s.TryRecv(0); errors.As(err, &o.errno) {
				return o
			} else if err != nil {
				t.Fatalf("failure %d: %v", n, err)
			}
		}
		for _, m := range vmtest.Parse(t, b) {
			switch m.Type {
			case unix.NLMSG_DONE:
				o.errno = unix.Errno(-vmtest.S32(m.Body))
				return o
			case unix.NLMSG_ERROR:
				o.errno = vmtest.ParseAck(t, m, req).Errno
			case unix.NLMSG_NOOP:
			default:
				o.messages++
			}
		}
	}
	return o
}

// judge looks at what holds for every dump, which has messages when all goes well.
func (o dumpOutcome) judge(t *testing.T, n, messages int) {
	t.Helper()
	switch {
	case o.errno == 0 && o.messages != messages:
		t.Errorf("failure %d: the dump ends well with %d messages, want %d", n, o.messages, messages)
	case o.errno != 0 && !slices.Contains(clean, o.errno):
		t.Errorf("failure %d: the dump ends with %v", n, o.errno)
	case o.errno != 0 && !o.happened:
		t.Errorf("nothing failed any more, and yet: %v", o.errno)
	}
}

// A dump goes on in the receiver's calls, so each of these has failures too.
func dump(t *testing.T, c *vmtest.Carrier, calm *vmtest.Table) {
	calm.Must(t, vmtest.DelObjects(""))
	want, value := many("d", 40), vmtest.Random(t, 1000) // several datagrams
	for _, key := range want {
		calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, key, value))
	}
	control := vmtest.OpenControl(t)
	for _, atomic := range []uint16{0, vmtest.FlagAtomic} {
		for _, part := range []string{"begin", "go on"} {
			t.Run(fmt.Sprintf("atomic %v, %s", atomic != 0, part), func(t *testing.T) {
				f := vmtest.OpenFaults(t)
				every(t, 2, func(n int) bool {
					asker := vmtest.OpenTable(t, c)
					o := dumped(t, f, n, asker.Socket, asker.Encode(vmtest.GetObjects(atomic)), part == "begin")
					o.judge(t, n, len(want))
					asker.Close()
					if s := control.TableStats(t).Snapshots; s != 0 {
						t.Errorf("failure %d: %d snapshots are left", n, s)
					}
					if got := len(calm.All(t)); got != len(want) {
						t.Errorf("failure %d: the next dump has %d objects, want %d", n, got, len(want))
					}
					return o.happened
				})
			})
		}
	}
}

func TestEcho(t *testing.T) {
	control := vmtest.OpenControl(t)
	carriers := []struct {
		name     string
		protocol int
		request  func(seq uint32, payload []byte) vmtest.Message
	}{
		{"raw", vmtest.NetlinkTest, vmtest.NewEcho},
		{"genl", unix.NETLINK_GENERIC, func(seq uint32, payload []byte) vmtest.Message {
			return vmtest.NewGenl(control.Family, vmtest.CmdEcho, seq, vmtest.Attr{Type: 1, Data: payload})
		}},
		{"rtnl", unix.NETLINK_ROUTE, vmtest.NewRtnlEcho},
	}
	for _, c := range carriers {
		for _, size := range []int{0, 100, 20000} {
			t.Run(fmt.Sprintf("%s, %d bytes", c.name, size), func(t *testing.T) {
				f := vmtest.OpenFaults(t)
				payload := vmtest.Random(t, size)
				s := vmtest.Open(t, c.protocol, 0, 0)
				every(t, 4, func(n int) bool {
					req := c.request(uint32(n), payload)
					req.Flags |= unix.NLM_F_ACK
					o := ask(t, f, n, s, req)
					o.judge(t, n, 1, 0)
					s.Send(t, c.request(uint32(n), payload).Bytes())
					if m := s.RecvOne(t); m.Type == unix.NLMSG_ERROR || m.Seq != uint32(n) {
						t.Errorf("failure %d: the next request: %+v", n, m)
					}
					return o.happened
				})
			})
		}
	}
	// The connector has no errors that it could answer with: a failure behind it is
	// silence, and counted.
	t.Run("connector", func(t *testing.T) {
		f := vmtest.OpenFaults(t)
		s := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
		silent, answered := 0, 0
		one := func(n int) bool {
			before := control.Stats(t).Connector
			req := vmtest.NewCn(uint32(n), 7, vmtest.Random(t, 1000))
			errno, happened := f.Send(t, n, s, req.Message().Bytes())
			size := uint64(16 + vmtest.CnHeader + len(req.Data))
			want := before
			switch b, err := s.TryRecv(0); {
			case errno != 0:
				if !slices.Contains(clean, errno) || !errors.Is(err, unix.ETIMEDOUT) {
					t.Errorf("failure %d: %v, and then: % x, %v", n, errno, b, err)
				}
			case err == nil:
				m := vmtest.Parse(t, b)
				if got := vmtest.ParseCn(t, m[0]); len(m) != 1 || !reflect.DeepEqual(got, req) {
					t.Errorf("failure %d: the echo is %+v, want %+v", n, m, req)
				}
				want.Requests, want.Replies = want.Requests+1, want.Replies+1
				want.RxBytes, want.TxBytes = want.RxBytes+size, want.TxBytes+size
				answered++
			case errors.Is(err, unix.ETIMEDOUT):
				want.Requests, want.RxBytes, want.Errors = want.Requests+1, want.RxBytes+size, want.Errors+1
				want.By.Add(unix.ENOMEM, 1)
				silent++
			default:
				t.Errorf("failure %d: receiving: %v", n, err)
			}
			s.Empty(t)
			if got := control.Stats(t).Connector; got != want {
				t.Errorf("failure %d: %v, and the statistics are %+v, want %+v", n, errno, got, want)
			}
			s.EchoCn(t, vmtest.NewCn(uint32(n)+most, 7, vmtest.Random(t, 100)))
			return happened
		}
		every(t, 3, one)
		// In the module alone, the first is that of the answer's bytes.
		f.InModules(t)
		silent, answered = 0, 0
		failures(t, 1, one)
		if silent < 1 || answered < 1 {
			t.Errorf("%d times silence and %d answers, want 1 and 1 at least", silent, answered)
		}
	})
}

// Requests about the beacon, the statistics and the history.
func TestControl(t *testing.T) {
	tests := []struct {
		name    string
		cmd     uint8
		attrs   []vmtest.Attr
		answers int
	}{
		{"beacon-get", vmtest.CmdBeaconGet, nil, 1},
		{"beacon-set", vmtest.CmdBeaconSet, []vmtest.Attr{{Type: vmtest.BeaconSize, Data: vmtest.U32(100)}}, 0},
		{"stats-get", vmtest.CmdStatsGet, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := vmtest.OpenFaults(t)
			control := vmtest.OpenControl(t)
			before := control.Beacon(t)
			every(t, 4, func(n int) bool {
				control.Set(t, before.Attrs()...)
				asker := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
				req := vmtest.NewGenl(control.Family, tt.cmd, uint32(n), tt.attrs...)
				req.Flags |= unix.NLM_F_ACK
				o := ask(t, f, n, asker, req)
				o.judge(t, n, tt.answers, 0)
				want := before
				if tt.cmd == vmtest.CmdBeaconSet && o.errno == 0 && (o.acked || control.Beacon(t).Size == 100) {
					want.Size = 100
				}
				if got := control.Beacon(t); got != want {
					t.Errorf("failure %d: %v, and the settings are %+v, want %+v", n, o, got, want)
				}
				asker.Close()
				return o.happened
			})
			control.Set(t, before.Attrs()...)
		})
	}
}

// steps are what the log says when one of them could not be done.
var steps = []string{
	"cannot open netlink protocol 31",
	"cannot register the generic netlink family",
	"cannot register with rtnetlink",
	"cannot register with the connector",
}

// Each step of the module's init fails once, in the first of two namespaces and in
// the second, and the module can be loaded after each.
func TestInit(t *testing.T) {
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	if vmtest.Loaded() {
		vmtest.Unload(t)
	}
	t.Cleanup(func() {
		if !vmtest.Loaded() {
			if err := vmtest.Insmod(); err != nil {
				t.Error(err)
			}
		}
	})
	vmtest.NewNet(t)
	said := vmtest.LogMark(t)
	// The kernel's own counters of executed lines remember those of a module that is
	// gone, or could not: some of its failures are not there each time, and then one
	// of ours is passed over.
	var missing []string
	count := 0 // of those of one load, however often they happened
	for range 3 {
		// Without the connector, the step before the last, unloading is quick. What is
		// left are the failures that only a load with it has, behind all others.
		without := failures(t, 10, func(n int) bool { return initFails(t, f, n, "connector=0") })
		count = max(count, without)
		without = max(0, without-8)
		count = max(count, without+failures(t, 1, func(n int) bool { return initFails(t, f, without+n, "") }))
		log := said()
		missing = slices.DeleteFunc(slices.Clone(steps), func(step string) bool { return strings.Contains(log, step) })
		if len(missing) == 0 || t.Failed() {
			break
		}
	}
	vmtest.Count(t, "faults", count)
	if len(missing) == 0 {
		return
	}
	t.Errorf("steps of init did not fail: the log does not say %q", missing)
}

func initFails(t *testing.T, f *vmtest.Faults, n int, params string) (happened bool) {
	errno, happened := f.InsmodFile(t, n, os.Getenv("NLVM_MODULE"), params)
	// The kernel does not say why there is no socket, and the module takes
	// the likely reason.
	if errno != 0 && errno != unix.EADDRINUSE && !slices.Contains(clean, errno) {
		t.Errorf("failure %d: %v, want one of %v", n, errno, clean)
	}
	if errno != 0 != (!vmtest.Loaded()) {
		t.Errorf("failure %d: %v, loaded: %v", n, errno, vmtest.Loaded())
	}
	if errno == 0 {
		vmtest.Unload(t)
	}
	if _, ok := vmtest.FindFamily(t, "nlpeer"); ok {
		t.Errorf("failure %d: %v, and the family is there", n, errno)
	}
	if vmtest.OnConnector(t, "nlpeer") {
		t.Errorf("failure %d: %v, and the connector knows nlpeer", n, errno)
	}
	for _, s := range vmtest.Sockets(t) {
		if s.Protocol == vmtest.NetlinkTest {
			t.Errorf("failure %d: %v, and there is a socket: %+v", n, errno, s)
		}
	}
	if err := vmtest.Insmod(params); err != nil {
		t.Fatalf("failure %d: %v, and then: %v", n, errno, err)
	}
	vmtest.Unload(t)
	return happened
}

// A network namespace is made, by another way to memory, or cleanly refused.
func TestNamespace(t *testing.T) {
	// So small that there is no other way to memory for it.
	load(t, "history=1")
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	every(t, 3, func(n int) bool {
		errno, happened := f.Unshare(t, n)
		if errno != 0 && !slices.Contains(clean, errno) {
			t.Errorf("failure %d: %v, want one of %v", n, errno, clean)
		}
		// Another can be made, and has all.
		net := vmtest.NewNet(t)
		if got := net.Control(t).Stats(t); got.Objects.CountMax == 0 {
			t.Errorf("failure %d: the next namespace: %+v", n, got)
		}
		net.Close()
		return happened
	})
}

func echoed(r vmtest.ObjectRequest) vmtest.ObjectRequest {
	r.Flags |= unix.NLM_F_ECHO
	return r
}

func keys(all []vmtest.Object) []string {
	var list []string
	for _, o := range all {
		list = append(list, o.Key)
	}
	return list
}

func many(prefix string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%s%0*d", prefix, len(fmt.Sprint(n-1)), i))
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

// empty throws away what a socket has, and its complaints.
func empty(s *vmtest.Socket) {
	for {
		if _, err := s.TryRecv(0); errors.Is(err, unix.ETIMEDOUT) {
			return
		}
	}
}
