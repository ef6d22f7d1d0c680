// SPDX-License-Identifier: MIT

// Package client_test holds pkg/client against the module.
package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// The carriers that can do all but objects, and those that can do one thing.
var (
	carriers       = []client.Carrier{client.Raw, client.Generic}
	echoCarriers   = []client.Carrier{client.Raw, client.Generic, client.Connector, client.Rtnl}
	eventCarriers  = []client.Carrier{client.Raw, client.Generic, client.Connector}
	objectCarriers = []client.Carrier{client.Raw, client.Generic, client.Rtnl}
)

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), vmtest.Deadline())
	t.Cleanup(cancel)
	return ctx
}

func dial(t testing.TB, cfg client.Config) *client.Conn {
	t.Helper()
	conn, err := client.Dial(background(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func subscribe(t testing.TB, cfg client.Config) *client.Subscription {
	t.Helper()
	sub, err := client.Subscribe(background(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Close() })
	return sub
}

func setBeacon(t testing.TB, conn *client.Conn, change client.BeaconChange) {
	t.Helper()
	if err := conn.SetBeacon(background(t), change); err != nil {
		t.Fatal(err)
	}
}

func TestEcho(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range echoCarriers {
		for _, ack := range []bool{false, true} {
			if ack && carrier == client.Connector {
				continue
			}
			t.Run(fmt.Sprintf("%v/ack=%v", carrier, ack), func(t *testing.T) {
				ctx := background(t)
				conn := dial(t, client.Config{Carrier: carrier, Acknowledge: ack})
				r := vmtest.Rand(t)
				sizes := []int{0, 1, 2, 3, 4, 63, 64, 128, 129, 4096, 16384, 32767, 32768}
				if carrier == client.Connector {
					sizes = append(sizes[:10], wire.CnPayloadMax-1, wire.CnPayloadMax)
				}
				for _, n := range sizes {
					payload := vmtest.Bytes(r, n)
					sent := bytes.Clone(payload)
					got, err := conn.Echo(ctx, payload)
					if err != nil {
						t.Fatalf("%d bytes: %v", n, err)
					}
					if !bytes.Equal(got, sent) {
						t.Errorf("%d bytes: other bytes came back", n)
					}
				}
				if diff := cmp.Diff(client.Counters{}, conn.Counters()); diff != "" {
					t.Errorf("counters (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestEchoTooLong(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range echoCarriers {
		conn := dial(t, client.Config{Carrier: carrier})
		n := wire.PayloadMax + 1
		if carrier == client.Connector {
			n = wire.CnPayloadMax + 1
		}
		if _, err := conn.Echo(background(t), make([]byte, n)); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("%v: %v, want EMSGSIZE", carrier, err)
		}
		if got, err := conn.Echo(background(t), []byte("next")); err != nil || string(got) != "next" {
			t.Errorf("%v: the next echo: %q, %v", carrier, got, err)
		}
	}
}

// A call that is given up leaves its answer behind; the next call must not take
// it for its own.
func TestCancelledCall(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range echoCarriers {
		conn := dial(t, client.Config{Carrier: carrier})
		for range 20 {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := conn.Echo(ctx, []byte("given up")); !errors.Is(err, context.Canceled) {
				t.Fatalf("%v: %v, want context.Canceled", carrier, err)
			}
			if got, err := conn.Echo(background(t), []byte("next")); err != nil || string(got) != "next" {
				t.Fatalf("%v: the next echo: %q, %v", carrier, got, err)
			}
		}
	}
}

func TestConcurrentEcho(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range echoCarriers {
		t.Run(carrier.String(), func(t *testing.T) { testConcurrentEcho(t, dial(t, client.Config{Carrier: carrier})) })
	}
}

func testConcurrentEcho(t *testing.T, conn *client.Conn) {
	errs := make(chan error)
	for i := range 8 {
		go func() {
			for j := range 200 {
				want := fmt.Sprintf("task %d round %d", i, j)
				got, err := conn.Echo(context.Background(), []byte(want))
				if err == nil && string(got) != want {
					err = fmt.Errorf("got %q, want %q", got, want)
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestBeacon(t *testing.T) {
	vmtest.Module(t, "interval_ms=250", "groups=5")
	for _, carrier := range carriers {
		t.Run(carrier.String(), func(t *testing.T) {
			ctx := background(t)
			conn := dial(t, client.Config{Carrier: carrier})
			setBeacon(t, conn, client.BeaconChange{Interval: new(250 * time.Millisecond), Groups: new(uint32(5)),
				Generic: new(true), Size: new(0)})

			want := client.Beacon{Interval: 250 * time.Millisecond, Groups: 5, Generic: true}
			compare := func() {
				t.Helper()
				got, err := conn.Beacon(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("beacon (-want +got):\n%s", diff)
				}
			}
			compare()
			setBeacon(t, conn, client.BeaconChange{Size: new(99)})
			want.Size = 99
			compare()
			setBeacon(t, conn, client.BeaconChange{Interval: new(time.Duration(0)), Generic: new(false)})
			want.Interval, want.Generic = 0, false
			compare()

			for _, tt := range []struct {
				name   string
				change client.BeaconChange
				errno  error
			}{
				{"nothing", client.BeaconChange{}, unix.EINVAL},
				{"above an hour", client.BeaconChange{Interval: new(time.Hour + time.Millisecond)}, unix.ERANGE},
				{"part of a millisecond", client.BeaconChange{Interval: new(time.Microsecond)}, unix.EINVAL},
				{"negative", client.BeaconChange{Interval: new(-time.Second)}, unix.EINVAL},
				{"size", client.BeaconChange{Size: new(4097)}, unix.ERANGE},
			} {
				if err := conn.SetBeacon(ctx, tt.change); !errors.Is(err, tt.errno) {
					t.Errorf("%s: %v, want %v", tt.name, err, tt.errno)
				}
			}
			compare()
		})
	}
}

var asNobody = vmtest.Register("set-beacon", func() (string, error) {
	ctx := context.Background()
	conn, err := client.Dial(ctx, client.Config{Carrier: client.Generic})
	if err != nil {
		return "", err
	}
	if _, err := conn.Beacon(ctx); err != nil {
		return "", err
	}
	err = conn.SetBeacon(ctx, client.BeaconChange{Size: new(1)})
	if !errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("SetBeacon: %v, want os.ErrPermission", err)
	}
	return "refused", nil
})

func TestSetBeaconWithoutPrivilege(t *testing.T) {
	vmtest.Module(t)
	if got, err := vmtest.Run(t, asNobody, vmtest.Who{UID: vmtest.Nobody}); got != "refused" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// What the kernel says about a bad request arrives whole.
func TestExtAck(t *testing.T) {
	vmtest.Module(t)
	conn := dial(t, client.Config{Carrier: client.Generic})
	err := conn.SetBeacon(background(t), client.BeaconChange{Size: new(1), Interval: new(2 * time.Hour)})
	var op *client.OpError
	if !errors.As(err, &op) || op.Op != "beacon-set" || op.ExtAck == nil {
		t.Fatalf("%#v, want an OpError of beacon-set with an ExtAck", err)
	}
	x := op.ExtAck
	if x.Text == "" || x.Offset < 20 || x.Policy.MaxU != wire.IntervalMax {
		t.Errorf("ext-ack %+v, want a text, an offset in the attributes and the limit %d", x, wire.IntervalMax)
	}
}

func TestStats(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ctx := background(t)
	raw := dial(t, client.Config{})
	genl := dial(t, client.Config{Carrier: client.Generic})
	rtnl := dial(t, client.Config{Carrier: client.Rtnl})
	if err := rtnl.NewObject(ctx, "key", wire.ModifierCreate, []byte("value")); err != nil {
		t.Fatal(err)
	}
	if _, err := rtnl.GetObject(ctx, "no key"); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := raw.Echo(ctx, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if _, err := genl.Echo(ctx, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := genl.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := client.Stats{Carriers: []client.CarrierStats{
		{Carrier: wire.CarrierRaw, Requests: 3, Replies: 3, RxBytes: 3 * 26, TxBytes: 3 * 26},
		{Carrier: wire.CarrierGenl, Requests: 3, Replies: 3, RxBytes: 3 * 36, TxBytes: 3 * 36},
		{Carrier: wire.CarrierConnector, Events: 1}, // it is sent before it is known that nobody listens
		// An empty echo at Dial, an object, and a failure.
		{Carrier: wire.CarrierRtnl, Requests: 3, Replies: 1, Errors: 1, Errs: []client.ErrorCount{{Errno: unix.ENOENT, Count: 1}},
			RxBytes: 24 + 40 + 32, TxBytes: 24},
	}, History: client.HistoryStats{Size: 1024, BytesMax: 1 << 20},
		Objects: client.ObjectStats{Count: 1, CountMax: 4096, BytesMax: 4 << 20, Generation: 1}}
	if got.Objects.Bytes < 10 {
		t.Errorf("an object takes %d bytes", got.Objects.Bytes)
	}
	got.Objects.Bytes = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
}

func TestSubscribe(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, carrier := range eventCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			conn := dial(t, client.Config{Carrier: carrier})
			sub := subscribe(t, client.Config{Carrier: carrier})
			setBeacon(t, conn, client.BeaconChange{Interval: new(5 * time.Millisecond), Size: new(33), Connector: new(true)})

			group := groupOf(carrier)
			var last client.Event
			n := 0
			for ev, err := range sub.Events(background(t)) {
				if err != nil {
					t.Fatal(err)
				}
				if n == 0 && carrier == client.Connector {
					last.Seq = ev.Seq - 1 // numbered whether or not anybody listens
				}
				if ev.Seq != last.Seq+1 || ev.Time <= last.Time || ev.Group != group || ev.Kind != wire.KindBeacon ||
					ev.Lost != 0 || ev.NSID != client.OwnNSID {
					t.Fatalf("%+v after %+v", ev, last)
				}
				want := make([]byte, 33)
				for i := range want {
					want[i] = byte(int(ev.Seq) + i)
				}
				if !bytes.Equal(ev.Data, want) {
					t.Fatalf("data % x, want % x", ev.Data, want)
				}
				last = ev.Clone()
				if n++; n == 20 {
					break
				}
			}
			want := client.SubscriptionStats{Received: 20,
				Groups: []client.GroupStats{{NSID: client.OwnNSID, Group: group, Received: 20}}}
			if diff := cmp.Diff(want, sub.Stats()); diff != "" {
				t.Errorf("statistics (-want +got):\n%s", diff)
			}
		})
	}
}

// An overrun is an error in the stream, the stream goes on, and what was lost is
// counted to the event if it is not recovered.
func TestOverrun(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, carrier := range carriers {
		t.Run(carrier.String(), func(t *testing.T) {
			conn := dial(t, client.Config{Carrier: carrier})
			sub := subscribe(t, client.Config{Carrier: carrier, ReceiveBuffer: 4096, NoResync: true})
			setBeacon(t, conn, client.BeaconChange{Interval: new(time.Millisecond), Size: new(1000)})
			vmtest.Until(t, "an overrun is in /proc/net/netlink", func() bool {
				for _, s := range vmtest.Sockets(t) {
					if s.PortID == sub.PortID() && s.Drops >= 50 {
						return true
					}
				}
				return false
			})
			setBeacon(t, conn, client.BeaconChange{Interval: new(20 * time.Millisecond)})

			var received, lost, first, last, overruns uint64
			for ev, err := range sub.Events(background(t)) {
				var overrun *client.OverrunError
				switch {
				case errors.As(err, &overrun):
					if !errors.Is(err, unix.ENOBUFS) {
						t.Errorf("%v is not ENOBUFS", err)
					}
					overruns++
					continue
				case err != nil:
					t.Fatal(err)
				}
				if first == 0 {
					first = ev.Seq
				}
				received++
				lost += ev.Lost
				last = ev.Seq
				if ev.Lost > 0 {
					break
				}
			}
			if overruns == 0 || lost < 50 || last-first+1 != received+lost {
				t.Errorf("%d overruns, events %d to %d, %d received, %d lost", overruns, first, last, received, lost)
			}
			got := sub.Stats()
			if got.Received != received || got.Lost != lost || got.Overruns != overruns {
				t.Errorf("statistics %+v; want %d received, %d lost, %d overruns", got, received, lost, overruns)
			}
			// It goes on without a gap.
			n := 0
			for ev, err := range sub.Events(background(t)) {
				if err != nil || ev.Lost != 0 || ev.Seq != last+1 {
					t.Fatalf("after the overrun: %+v, %v, want number %d", ev, err, last+1)
				}
				last++
				if n++; n == 5 {
					break
				}
			}
		})
	}
}

// Only the kernel is believed, whoever may send to the group.
func TestForeignEvent(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	sub := subscribe(t, client.Config{})
	liar := vmtest.Open(t, vmtest.NetlinkTest, 0, 0)
	fake := vmtest.Message{Type: vmtest.MsgEvent, Body: append(append(
		vmtest.Attr{Type: 1, Data: vmtest.U32(1)}.Bytes(),
		vmtest.Attr{Type: 2, Data: []byte{9, 9, 9, 9, 9, 9, 9, 9}}.Bytes()...),
		vmtest.Attr{Type: 4, Data: vmtest.U32(1)}.Bytes()...)}
	if err := unix.Sendto(liar.FD, fake.Bytes(), 0,
		&unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		t.Fatal(err)
	}
	setBeacon(t, dial(t, client.Config{}), client.BeaconChange{Interval: new(5 * time.Millisecond)})
	for ev, err := range sub.Events(background(t)) {
		if err != nil || ev.Seq != 1 {
			t.Errorf("%+v, %v, want number 1", ev, err)
		}
		break
	}
	if got := sub.Stats(); got.Foreign == 0 || got.Received != 1 {
		t.Errorf("statistics %+v, want the foreign datagrams counted", got)
	}

	// A socket that asks is connected to the kernel and refuses others.
	conn := dial(t, client.Config{})
	err := unix.Sendto(liar.FD, fake.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: conn.PortID()})
	if err != unix.ECONNREFUSED {
		t.Errorf("unicast to a Conn: %v, want ECONNREFUSED", err)
	}
}

func TestNetNS(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ready, release := make(chan *os.File), make(chan bool)
	go vmtest.NetNS(t, func() {
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Error(err)
		}
		ready <- f
		<-release
	})
	ns := <-ready
	defer close(release)
	there := dial(t, client.Config{NetNS: int(ns.Fd())})
	here := dial(t, client.Config{})
	setBeacon(t, there, client.BeaconChange{Size: new(77)})
	ns.Close() // used during Dial only, also for the second socket behind SetBeacon
	if got, err := here.Beacon(background(t)); err != nil || got.Size != 0 {
		t.Errorf("here: %+v, %v", got, err)
	}
	if got, err := there.Beacon(background(t)); err != nil || got.Size != 77 {
		t.Errorf("there: %+v, %v", got, err)
	}
	if got, err := there.Echo(background(t), []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("there: echo %q, %v", got, err)
	}
}

func TestClose(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, carrier := range carriers {
		sub := subscribe(t, client.Config{Carrier: carrier})
		done := make(chan error)
		started := make(chan bool)
		go func() {
			close(started)
			for _, err := range sub.Events(context.Background()) {
				done <- err
				return
			}
		}()
		<-started
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v: %v, want net.ErrClosed and os.ErrClosed", carrier, err)
		}
		conn := dial(t, client.Config{Carrier: carrier})
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if _, err := conn.Echo(background(t), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v: echo on a closed Conn: %v", carrier, err)
		}
	}
}

func TestNotLoaded(t *testing.T) {
	vmtest.Module(t)
	conns := map[client.Carrier]*client.Conn{}
	for _, carrier := range echoCarriers[1:] { // a raw socket holds the module
		conns[carrier] = dial(t, client.Config{Carrier: carrier})
	}
	vmtest.Unload(t)
	for _, carrier := range echoCarriers {
		if _, err := client.Dial(background(t), client.Config{Carrier: carrier}); !errors.Is(err, client.ErrNotLoaded) ||
			!errors.Is(err, os.ErrNotExist) {
			t.Errorf("Dial by %v: %v, want ErrNotLoaded", carrier, err)
		}
	}
	for _, carrier := range eventCarriers {
		if _, err := client.Subscribe(background(t), client.Config{Carrier: carrier}); !errors.Is(err, client.ErrNotLoaded) {
			t.Errorf("Subscribe by %v: %v, want ErrNotLoaded", carrier, err)
		}
	}
	for carrier, conn := range conns {
		if got, err := conn.Echo(background(t), []byte("anybody?")); !errors.Is(err, client.ErrNotLoaded) {
			t.Errorf("echo by %v: %q, %v, want ErrNotLoaded", carrier, got, err)
		}
	}
	for _, carrier := range objectCarriers[1:] {
		if err := conns[carrier].NewObject(background(t), "key", wire.ModifierCreate); !errors.Is(err, client.ErrNotLoaded) {
			t.Errorf("object-new by %v: %v, want ErrNotLoaded", carrier, err)
		}
	}
}

// On a carrier that does not hold the module, a Conn outlives it, and finds the next
// one: its family has another number, whether or not somebody asked in between.
func TestReload(t *testing.T) {
	for _, carrier := range []client.Carrier{client.Connector, client.Rtnl} {
		vmtest.Module(t, "interval_ms=0")
		conn := dial(t, client.Config{Carrier: carrier})
		ask := func() error {
			_, err := conn.Stats(background(t))
			return err
		}
		for _, between := range []bool{false, true} {
			if err := ask(); err != nil {
				t.Fatalf("%v: %v", carrier, err)
			}
			vmtest.Unload(t)
			if between {
				if err := ask(); !errors.Is(err, client.ErrNotLoaded) {
					t.Errorf("%v without the module: %v, want ErrNotLoaded", carrier, err)
				}
			}
			vmtest.Module(t, "interval_ms=0")
			for ev, err := range conn.EventsSince(background(t), 1, 0) {
				t.Errorf("%v, after a reload: %+v, %v, want no event", carrier, ev, err)
			}
		}
	}
}

// The peer may be there and a carrier not.
func TestNoCarrier(t *testing.T) {
	for _, carrier := range []client.Carrier{client.Connector, client.Rtnl} {
		vmtest.Module(t, "connector=0", "rtnl=0")
		_, err := client.Dial(background(t), client.Config{Carrier: carrier})
		if !errors.Is(err, client.ErrNoCarrier) || errors.Is(err, client.ErrNotLoaded) || !strings.Contains(fmt.Sprint(err), carrier.String()+"=0") {
			t.Errorf("Dial by %v: %v, want ErrNoCarrier", carrier, err)
		}
	}
	vmtest.Module(t)
	ns := vmtest.NewNet(t)
	cfg := client.Config{Carrier: client.Connector, NetNS: int(ns.File.Fd())}
	if _, err := client.Dial(background(t), cfg); !errors.Is(err, client.ErrNoCarrier) || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial in another namespace: %v, want ErrNoCarrier and ECONNREFUSED", err)
	}
	if _, err := client.Subscribe(background(t), cfg); !errors.Is(err, client.ErrNoCarrier) {
		t.Errorf("Subscribe in another namespace: %v, want ErrNoCarrier", err)
	}
	cfg.Carrier = client.Rtnl
	if got, err := dial(t, cfg).Echo(background(t), []byte("x")); err != nil || string(got) != "x" {
		t.Errorf("rtnl in another namespace: %q, %v", got, err)
	}
	conn := dial(t, client.Config{Carrier: client.Generic, NetNS: int(ns.File.Fd())})
	if err := conn.SetBeacon(background(t), client.BeaconChange{Connector: new(true)}); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("a beacon on the connector of another namespace: %v, want EOPNOTSUPP", err)
	}
}

func TestNoGroup(t *testing.T) {
	vmtest.Module(t)
	_, err := client.Subscribe(background(t), client.Config{Carrier: client.Generic, GroupNames: []string{"pigeons"}})
	var group *client.GroupError
	if !errors.As(err, &group) || !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%v, want a GroupError", err)
	}
	if diff := cmp.Diff(&client.GroupError{Family: wire.FamilyName, Group: "pigeons", Known: []string{"beacon", "objects"}}, group); diff != "" {
		t.Error(diff)
	}
}

func TestFamily(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range echoCarriers {
		f, err := dial(t, client.Config{Carrier: carrier}).Family(background(t))
		if err != nil || f.Name != wire.FamilyName || f.Version != wire.FamilyVersion || f.ID != vmtest.Nlpeer(t).ID ||
			len(f.Groups) != 2 || f.Groups[0].Name != "beacon" || f.Groups[1].Name != "objects" || f.Groups[0].ID == 0 {
			t.Errorf("%v: %+v, %v", carrier, f, err)
		}
	}
}

func TestPortIDInUse(t *testing.T) {
	vmtest.Module(t)
	conn := dial(t, client.Config{PortID: 4242})
	if conn.PortID() != 4242 {
		t.Errorf("port ID %d, want 4242", conn.PortID())
	}
	if _, err := client.Dial(background(t), client.Config{PortID: 4242}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v, want EADDRINUSE", err)
	}
}
