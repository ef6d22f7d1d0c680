// SPDX-License-Identifier: MIT

// Package faults_test lets every allocation fail that a request comes to, and
// every copy from and to the asker, one after the other: each time there is a
// clean error or all of the answer, what was asked for is done or is not, and
// the next request works. What is lost for ever, the debug kernel finds.
package faults_test

import (
	"errors"
	"fmt"
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
// all goes well.
func (o outcome) judge(t *testing.T, n, answers int) {
	t.Helper()
	switch {
	case o.errno != 0 && !slices.Contains(clean, o.errno):
		t.Errorf("failure %d: %v, want one of %v", n, o, clean)
	case o.errno != 0 && o.answers > 0:
		t.Errorf("failure %d: an error and an answer: %v", n, o)
	case o.errno == 0 && !o.overrun && (!o.acked || o.answers != answers):
		t.Errorf("failure %d: neither an error nor all of the answer (%d messages), nor told of a loss: %v", n, answers, o)
	case !o.happened && (o.errno != 0 || o.overrun):
		t.Errorf("nothing failed any more, and yet: %v", o)
	}
}

// count says how many failures there were: a loop that ends at once has tested
// nothing.
func count(t *testing.T, n, least int) {
	t.Helper()
	t.Logf("%d failures", n-1)
	if n-1 < least {
		t.Errorf("%d possible failures, want %d at least", n-1, least)
	}
}

func TestObjects(t *testing.T) {
	value := vmtest.Random(t, 300)
	other := vmtest.Random(t, 5000)
	vmtest.EachCarrier(t, func(t *testing.T, c *vmtest.Carrier) {
		f := vmtest.OpenFaults(t)
		// Without failures, and on another socket.
		calm := vmtest.OpenTable(t, c)
		// Somebody listens, so that events are made.
		listener := vmtest.Open(t, c.Protocol, 0, 0)
		c.JoinObjects(t, listener)
		listener.SetBuffer(t, 16<<20)

		// There is a and p0 to p9; the state after each failure is all or nothing.
		before := append([]string{"a"}, many("p", 10)...)
		tests := []struct {
			name    string
			request vmtest.ObjectRequest
			answers int
			after   []string // keys, if it is done
			change  bool     // the value of a is other, if it is done
		}{
			{"create", vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, "new", other), 0, append([]string{"a", "new"}, many("p", 10)...), false},
			{"replace", vmtest.NewObject(vmtest.FlagReplace, "a", other), 0, before, true},
			{"append", vmtest.NewObject(vmtest.FlagAppend, "a", other), 0, before, true},
			{"get", vmtest.GetObject("a"), 1, before, false},
			{"delete", vmtest.DelObject("a"), 0, many("p", 10), true},
			{"delete all of a prefix", vmtest.DelObjects("p"), 0, []string{"a"}, false},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				n := 1
				for ; n < most; n++ {
					calm.Must(t, vmtest.DelObjects(""))
					for _, key := range before {
						calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, key, value))
					}
					asker := vmtest.OpenTable(t, c)
					r := tt.request
					r.Flags |= unix.NLM_F_ACK
					o := ask(t, f, n, asker.Socket, asker.Encode(r))
					o.judge(t, n, tt.answers)

					got := keys(calm.All(t))
					done, undone := slices.Equal(got, tt.after), slices.Equal(got, before)
					if !slices.Equal(tt.after, before) && done == undone || !done && !undone {
						t.Errorf("failure %d: %v, and the objects are %q; want %q or %q", n, o, got, before, tt.after)
					}
					if tt.change && slices.Contains(got, "a") {
						a, _ := calm.Get(t, "a")
						done = len(a.Values) != 1 || len(a.Values[0]) != len(value)
					}
					if o.errno != 0 && done && (tt.change || !undone) {
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
					empty(listener)
					if t.Failed() || !o.happened {
						break
					}
				}
				count(t, n, 4)
			})
		}
		t.Run("dump", func(t *testing.T) { dump(t, f, c, calm, value) })
		calm.Must(t, vmtest.DelObjects(""))
	})
}

// A dump goes on in the receiver's calls, so each of these has failures too.
func dump(t *testing.T, f *vmtest.Faults, c *vmtest.Carrier, calm *vmtest.Table, value []byte) {
	calm.Must(t, vmtest.DelObjects(""))
	want := many("d", 200)
	for _, key := range want {
		calm.Must(t, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagExcl, key, value))
	}
	control := vmtest.OpenControl(t)
	for _, atomic := range []uint16{0, vmtest.FlagAtomic} {
		for _, part := range []string{"begin", "go on"} {
			t.Run(fmt.Sprintf("atomic %v, %s", atomic != 0, part), func(t *testing.T) {
				n := 1
				for ; n < most; n++ {
					asker := vmtest.OpenTable(t, c)
					req := asker.Encode(vmtest.GetObjects(atomic))
					var errno unix.Errno
					happened := true
					var parts [][]byte
					if part == "begin" {
						errno, happened = f.Send(t, n, asker.Socket, req.Bytes())
					} else {
						asker.Send(t, req.Bytes())
						var b []byte
						b, errno, happened = f.Receive(t, n, asker.Socket)
						parts = append(parts, slices.Clone(b))
					}
					got, end := 0, errno
					for end == 0 {
						if len(parts) == 0 {
							b, err := asker.TryRecv(0)
							if err != nil && !errors.As(err, &end) {
								t.Fatal(err)
							}
							parts = append(parts, b)
						}
						for _, m := range vmtest.Parse(t, parts[0]) {
							switch m.Type {
							case unix.NLMSG_DONE:
								end = unix.Errno(-vmtest.S32(m.Body))
								if end == 0 {
									end = unix.ENODATA // the regular end
								}
							case unix.NLMSG_ERROR:
								end = vmtest.ParseAck(t, m, req).Errno
							default:
								got++
							}
						}
						parts = parts[1:]
					}
					if end == unix.ENODATA && got != len(want) {
						t.Errorf("failure %d: the dump ends well with %d of %d objects", n, got, len(want))
					}
					if end != unix.ENODATA && !slices.Contains(clean, end) {
						t.Errorf("failure %d: the dump ends with %v", n, end)
					}
					if !happened && end != unix.ENODATA {
						t.Errorf("nothing failed any more, and yet: %v", end)
					}
					asker.Close()
					if s := control.TableStats(t).Snapshots; s != 0 {
						t.Errorf("failure %d: %d snapshots are left", n, s)
					}
					if got := len(calm.All(t)); got != len(want) {
						t.Errorf("failure %d: the next dump has %d objects, want %d", n, got, len(want))
					}
					if t.Failed() || !happened {
						break
					}
				}
				count(t, n, 2)
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
				n := 1
				for ; n < most; n++ {
					req := c.request(uint32(n), payload)
					req.Flags |= unix.NLM_F_ACK
					o := ask(t, f, n, s, req)
					o.judge(t, n, 1)
					s.Send(t, c.request(uint32(n), payload).Bytes())
					if m := s.RecvOne(t); m.Type == unix.NLMSG_ERROR || m.Seq != uint32(n) {
						t.Errorf("failure %d: the next request: %+v", n, m)
					}
					if t.Failed() || !o.happened {
						break
					}
				}
				count(t, n, 4)
			})
		}
	}
	t.Run("connector", func(t *testing.T) {
		f := vmtest.OpenFaults(t)
		s := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
		n := 1
		for ; n < most; n++ {
			req := vmtest.NewCn(uint32(n), 7, vmtest.Random(t, 1000))
			errno, happened := f.Send(t, n, s, req.Message().Bytes())
			// The connector answers from a kernel thread in some versions, and a
			// failure is silence: only what comes is looked at.
			if errno != 0 && !slices.Contains(clean, errno) {
				t.Errorf("failure %d: %v", n, errno)
			}
			empty(s)
			s.EchoCn(t, vmtest.NewCn(uint32(n)+most, 7, vmtest.Random(t, 100)))
			if t.Failed() || !happened {
				break
			}
		}
		count(t, n, 3)
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
			n := 1
			for ; n < most; n++ {
				control.Set(t, before.Attrs()...)
				asker := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
				req := vmtest.NewGenl(control.Family, tt.cmd, uint32(n), tt.attrs...)
				req.Flags |= unix.NLM_F_ACK
				o := ask(t, f, n, asker, req)
				o.judge(t, n, tt.answers)
				want := before
				if tt.cmd == vmtest.CmdBeaconSet && o.errno == 0 && (o.acked || control.Beacon(t).Size == 100) {
					want.Size = 100
				}
				if got := control.Beacon(t); got != want {
					t.Errorf("failure %d: %v, and the settings are %+v, want %+v", n, o, got, want)
				}
				asker.Close()
				if t.Failed() || !o.happened {
					break
				}
			}
			control.Set(t, before.Attrs()...)
			count(t, n, 4)
		})
	}
}

// Each step of the module's init fails once, and the module can be loaded after
// each.
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
	n := 1
	for ; n < most; n++ {
		errno, happened := f.Insmod(t, n)
		if errno != 0 && !slices.Contains(clean, errno) {
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
		if err := vmtest.Insmod(); err != nil {
			t.Fatalf("failure %d: %v, and then: %v", n, errno, err)
		}
		vmtest.Unload(t)
		if t.Failed() || !happened {
			break
		}
	}
	count(t, n, 10)
}

// A network namespace in which the module cannot begin is not made.
func TestNamespace(t *testing.T) {
	f := vmtest.OpenFaults(t)
	f.InModules(t)
	n := 1
	for ; n < most; n++ {
		errno, happened := f.Unshare(t, n)
		if errno != 0 && !slices.Contains(clean, errno) {
			t.Errorf("failure %d: %v, want one of %v", n, errno, clean)
		}
		if happened && errno == 0 {
			t.Errorf("failure %d: the namespace was made all the same", n)
		}
		// Another can be made, and has all.
		net := vmtest.NewNet(t)
		if got := net.Control(t).Stats(t); got.Objects.CountMax == 0 {
			t.Errorf("failure %d: the next namespace: %+v", n, got)
		}
		net.Close()
		if t.Failed() || !happened {
			break
		}
	}
	count(t, n, 3)
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
