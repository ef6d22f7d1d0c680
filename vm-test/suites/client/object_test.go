// SPDX-License-Identifier: MIT

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// randomValues are some that an object has room for.
func randomValues(r *rand.Rand) [][]byte {
	values := make([][]byte, 0, 8)
	for range r.IntN(4) {
		values = append(values, vmtest.Bytes(r, r.IntN(100)))
	}
	if r.IntN(8) == 0 {
		values = append(values, vmtest.Bytes(r, wire.ValueMax), nil, []byte{0})
	}
	return values
}

// randomKey is one that begins with prefix.
func randomKey(r *rand.Rand, prefix string) string {
	b := vmtest.Bytes(r, 1+r.IntN(wire.KeyMax-len(prefix)))
	for i := range b {
		if b[i] == 0 {
			b[i] = 1
		}
	}
	return prefix + string(b)
}

var sameValues = cmp.Comparer(func(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) })

// diff is cmp.Diff, which takes long for thousands, where it is needed.
func diff(want, got []client.Object) string {
	if slices.EqualFunc(want, got, func(a, b client.Object) bool {
		return a.Key == b.Key && a.Generation == b.Generation && slices.EqualFunc(a.Values, b.Values, bytes.Equal)
	}) {
		return ""
	}
	return cmp.Diff(want, got, sameValues)
}

func wantObject(t *testing.T, want, got client.Object) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameValues); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

func wantErr(t *testing.T, what string, err error, op string, want ...error) {
	t.Helper()
	var oe *client.OpError
	if !errors.As(err, &oe) || oe.Op != op {
		t.Errorf("%s: %v, want an OpError of %s", what, err, op)
		return
	}
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: %v, want %v", what, err, w)
		}
	}
	if _, ok := want[0].(unix.Errno); ok && (oe.ExtAck == nil || oe.ExtAck.Text == "") {
		t.Errorf("%s: %v has no text of the kernel", what, err)
	}
}

// Whatever is made over one carrier is found over all.
func TestObjects(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ctx := background(t)
	conns := map[client.Carrier]*client.Conn{}
	for _, carrier := range objectCarriers {
		conns[carrier] = dial(t, client.Config{Carrier: carrier})
	}
	generation := uint64(0)
	for _, carrier := range objectCarriers {
		for _, ack := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/ack=%v", carrier, ack), func(t *testing.T) {
				r := vmtest.Rand(t)
				conn := dial(t, client.Config{Carrier: carrier, Acknowledge: ack})
				want := client.Object{Key: randomKey(r, ""), Values: randomValues(r)}
				made := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
					generation++
					want.Generation = generation
					for _, c := range []*client.Conn{conn, conns[client.Raw], conns[client.Generic], conns[client.Rtnl]} {
						got, err := c.GetObject(ctx, want.Key)
						if err != nil {
							t.Fatal(err)
						}
						wantObject(t, want, got)
					}
				}

				_, err := conn.GetObject(ctx, want.Key)
				wantErr(t, "get nothing", err, "object-get", unix.ENOENT, os.ErrNotExist)
				wantErr(t, "change nothing", conn.NewObject(ctx, want.Key, wire.ModifierReplace), "object-new", unix.ENOENT)
				made(conn.NewObject(ctx, want.Key, wire.ModifierCreate|wire.ModifierExcl, want.Values...))
				wantErr(t, "make it again", conn.NewObject(ctx, want.Key, wire.ModifierCreate), "object-new", unix.EEXIST, os.ErrExist)
				more := randomValues(r)
				want.Values = append(want.Values, more...)
				made(conn.NewObject(ctx, want.Key, wire.ModifierAppend, more...))
				want.Values = randomValues(r)
				made(conn.NewObject(ctx, want.Key, wire.ModifierReplace, want.Values...))

				five := slices.Repeat([][]byte{make([]byte, wire.ValueMax)}, 5)
				wantErr(t, "too large", conn.NewObject(ctx, want.Key, wire.ModifierReplace, five...), "object-new", unix.ENOSPC)
				if err := conn.NewObject(ctx, want.Key, wire.ModifierReplace, make([]byte, wire.ValueMax+1)); !errors.Is(err, unix.ERANGE) && !errors.Is(err, unix.EINVAL) {
					t.Errorf("too long a value: %v", err)
				}
				if err := conn.NewObject(ctx, want.Key, 0, make([]byte, 1<<16)); !errors.Is(err, unix.EMSGSIZE) {
					t.Errorf("a value beyond all: %v", err)
				}

				if err := conn.DeleteObject(ctx, want.Key); err != nil {
					t.Fatal(err)
				}
				generation++
				wantErr(t, "delete nothing", conn.DeleteObject(ctx, want.Key), "object-del", unix.ENOENT)
				if err := conn.DeleteObjects(ctx, want.Key); err != nil {
					t.Errorf("delete none: %v", err)
				}
				if got, err := conn.Echo(ctx, []byte("still there")); err != nil || string(got) != "still there" {
					t.Errorf("echo %q, %v", got, err)
				}
				if n := conn.Counters(); n != (client.Counters{}) {
					t.Errorf("counters %+v", n)
				}
			})
		}
	}
}

// What can not be meant never reaches the kernel.
func TestObjectRefusedHere(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ctx := background(t)
	conn := dial(t, client.Config{})
	for what, err := range map[string]error{
		"NUL in a key": conn.NewObject(ctx, "a\x00b", wire.ModifierCreate),
		"unknown flag": conn.NewObject(ctx, "a", 1),
	} {
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", what, err)
		}
	}
	cn := dial(t, client.Config{Carrier: client.Connector})
	_, err := cn.GetObject(ctx, "a")
	for _, err := range []error{err, cn.NewObject(ctx, "a", 0), cn.DeleteObject(ctx, "a"), cn.DeleteObjects(ctx, "")} {
		if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(fmt.Sprint(err), "connector") {
			t.Errorf("on the connector: %v, want EOPNOTSUPP", err)
		}
	}
	n := 0
	for _, err := range cn.Objects(ctx, client.ObjectQuery{}) {
		if n++; !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("on the connector: %v, want EOPNOTSUPP", err)
		}
	}
	if n != 1 {
		t.Errorf("a dump on the connector gives %d errors, want one", n)
	}
	stats, err := conn.Stats(ctx)
	if err != nil || stats.Carriers[0].Requests != 0 || stats.Objects.Generation != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	if _, err := client.Dial(ctx, client.Config{Carrier: client.Connector, Acknowledge: true}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("acknowledgments on the connector: %v, want EINVAL", err)
	}
}

// fill makes n objects with random keys that begin with prefix, and returns them
// in their order.
func fill(t testing.TB, conn *client.Conn, r *rand.Rand, n int, prefix string) []client.Object {
	t.Helper()
	all := map[string]client.Object{}
	for len(all) < n {
		o := client.Object{Key: randomKey(r, prefix), Values: randomValues(r)}
		if _, ok := all[o.Key]; ok {
			continue
		}
		if err := conn.NewObject(background(t), o.Key, wire.ModifierCreate|wire.ModifierExcl, o.Values...); err != nil {
			t.Fatal(err)
		}
		o.Generation = uint64(len(all) + 1)
		all[o.Key] = o
	}
	var list []client.Object
	for _, o := range all {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b client.Object) int { return strings.Compare(a.Key, b.Key) })
	return list
}

func dump(t testing.TB, conn *client.Conn, q client.ObjectQuery) (all []client.Object, err error) {
	t.Helper()
	for o, e := range conn.Objects(background(t), q) {
		if err = e; err == nil {
			all = append(all, o)
		} else if diff := cmp.Diff(client.Object{}, o); diff != "" {
			t.Error(diff)
		}
	}
	return all, err
}

func TestObjectDump(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "object_bytes=33554432")
	r := vmtest.Rand(t)
	want := fill(t, dial(t, client.Config{Carrier: client.Rtnl}), r, 3000, "")
	var prefix string
	for _, o := range want {
		if len(o.Key) > 1 {
			prefix = o.Key[:1]
		}
	}
	var some []client.Object
	for _, o := range want {
		if strings.HasPrefix(o.Key, prefix) {
			some = append(some, o)
		}
	}
	for _, carrier := range objectCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			ctx := background(t)
			conn := dial(t, client.Config{Carrier: carrier})
			for _, atomic := range []bool{false, true} {
				for _, tt := range []struct {
					prefix string
					want   []client.Object
				}{{"", want}, {prefix, some}, {"\x01\x02\x03\x04\x05", nil}} {
					got, err := dump(t, conn, client.ObjectQuery{Prefix: tt.prefix, Atomic: atomic})
					if err != nil {
						t.Fatal(err)
					}
					if diff := diff(tt.want, got); diff != "" {
						t.Fatalf("prefix %q, atomic %v: %d objects (-want +got):\n%.2000s", tt.prefix, atomic, len(got), diff)
					}
				}
			}
			// A loop that breaks off leaves the Conn as it was.
			for range 3 {
				for o, err := range conn.Objects(ctx, client.ObjectQuery{Atomic: true}) {
					if err != nil {
						t.Fatal(err)
					}
					wantObject(t, want[0], o)
					break
				}
				if o, err := conn.GetObject(ctx, want[7].Key); err != nil {
					t.Fatal(err)
				} else {
					wantObject(t, want[7], o)
				}
			}
			// So does one whose context ends.
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			n := 0
			var last error
			for _, err := range conn.Objects(ctx, client.ObjectQuery{}) {
				cancel()
				n, last = n+1, err
			}
			if n != 2 || !errors.Is(last, context.Canceled) {
				t.Errorf("%d rounds, %v", n, last)
			}
			if got, err := dump(t, conn, client.ObjectQuery{}); err != nil || len(got) != len(want) {
				t.Errorf("%d objects, %v", len(got), err)
			}
			if stats, err := conn.Stats(background(t)); err != nil || stats.Objects.Snapshots != 0 || stats.Objects.Count != 3000 {
				t.Errorf("%+v, %v", stats.Objects, err)
			}
		})
	}
}

// A dump under which the table changes says so, after all objects.
func TestObjectDumpInterrupted(t *testing.T) {
	vmtest.Module(t, "interval_ms=0", "object_bytes=33554432")
	r := vmtest.Rand(t)
	writer := dial(t, client.Config{Carrier: client.Generic})
	want := fill(t, writer, r, 1000, "b")
	for _, carrier := range objectCarriers {
		for _, atomic := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/atomic=%v", carrier, atomic), func(t *testing.T) {
				ctx := background(t)
				conn := dial(t, client.Config{Carrier: carrier})
				var got []client.Object
				var last error
				for o, err := range conn.Objects(ctx, client.ObjectQuery{Atomic: atomic}) {
					if last = err; err != nil {
						continue
					}
					got = append(got, o)
					if len(got) == 10 {
						// Before and behind where the dump is.
						for _, key := range []string{"a", "c"} {
							if err := writer.NewObject(ctx, key, wire.ModifierCreate, []byte("new")); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				if atomic && last != nil || !atomic && !errors.Is(last, client.ErrDumpInterrupted) {
					t.Errorf("the dump ends with %v", last)
				}
				if !atomic {
					var oe *client.OpError
					if !errors.As(last, &oe) || oe.Op != "object-get" {
						t.Errorf("%#v", last)
					}
					got = slices.DeleteFunc(got, func(o client.Object) bool { return o.Key == "c" })
				}
				if diff := diff(want, got); diff != "" {
					t.Errorf("%d objects (-want +got):\n%.2000s", len(got), diff)
				}
				for _, key := range []string{"a", "c"} {
					if err := writer.DeleteObject(ctx, key); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := dump(t, conn, client.ObjectQuery{}); err != nil {
					t.Errorf("the next dump: %v", err)
				}
			})
		}
	}
}

var objectsAsNobody = vmtest.Register("objects", func() (string, error) {
	ctx := context.Background()
	for _, carrier := range objectCarriers {
		conn, err := client.Dial(ctx, client.Config{Carrier: carrier})
		if err != nil {
			return "", err
		}
		if o, err := conn.GetObject(ctx, "key"); err != nil || len(o.Values) != 1 {
			return "", fmt.Errorf("%v: get: %v, %w", carrier, o, err)
		}
		n := 0
		for _, err := range conn.Objects(ctx, client.ObjectQuery{}) {
			if err != nil {
				return "", err
			}
			n++
		}
		var atomic error
		for _, atomic = range conn.Objects(ctx, client.ObjectQuery{Atomic: true}) {
			n--
		}
		if n != 0 {
			return "", fmt.Errorf("%v: %d", carrier, n)
		}
		for _, err := range []error{atomic, conn.NewObject(ctx, "a", wire.ModifierCreate), conn.DeleteObject(ctx, "key"), conn.DeleteObjects(ctx, "")} {
			if !errors.Is(err, os.ErrPermission) {
				return "", fmt.Errorf("%v: %v, want os.ErrPermission", carrier, err)
			}
		}
	}
	if _, err := client.Subscribe(ctx, client.Config{Carrier: client.Connector}); !errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("connector: %v, want os.ErrPermission", err)
	}
	conn, err := client.Dial(ctx, client.Config{Carrier: client.Connector})
	if err != nil {
		return "", err
	}
	got, err := conn.Echo(ctx, []byte("hi"))
	return string(got), err
})

func TestObjectsWithoutPrivilege(t *testing.T) {
	vmtest.Module(t)
	if err := dial(t, client.Config{}).NewObject(background(t), "key", wire.ModifierCreate, []byte("value")); err != nil {
		t.Fatal(err)
	}
	if got, err := vmtest.Run(t, objectsAsNobody, vmtest.Who{UID: vmtest.Nobody}); got != "hi" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// walk looks at all values of objects and returns how many objects there are.
func walk(t *testing.T, conn *client.Conn, prefix string) (objects int) {
	size := 0
	for o, err := range conn.ObjectViews(context.Background(), client.ObjectQuery{Prefix: prefix}) {
		if err != nil {
			t.Fatal(err)
		}
		for v := range o.Values() {
			size += len(v)
		}
		objects++
	}
	if size == 0 {
		t.Error("no object has a value")
	}
	return objects
}

func TestObjectAllocations(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ctx := context.Background()
	r := vmtest.Rand(t)
	fill(t, dial(t, client.Config{}), r, 500, "x")
	if err := dial(t, client.Config{}).NewObject(ctx, "largest", wire.ModifierCreate, vmtest.Bytes(r, wire.ValueMax), vmtest.Bytes(r, wire.ValueMax)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, wire.ObjectMax+128)
	for _, carrier := range objectCarriers {
		conn := dial(t, client.Config{Carrier: carrier})
		size := 0
		if n := testing.AllocsPerRun(100, func() {
			o, err := conn.ViewObject(ctx, "largest", buf)
			if err != nil {
				t.Fatal(err)
			}
			size = o.Size()
		}); n != 0 || size != 2*wire.ValueMax {
			t.Errorf("%v: ViewObject makes %v allocations, want 0; %d bytes", carrier, n, size)
		}
		count := func(prefix string) (objects int, allocs float64) {
			allocs = testing.AllocsPerRun(10, func() { objects = walk(t, conn, prefix) })
			return objects, allocs
		}
		few, a := count("largest")
		many, b := count("")
		if few != 1 || many != 501 || a != b {
			t.Errorf("%v: %v allocations for %d objects, %v for %d", carrier, a, few, b, many)
		}
		t.Logf("%v: %v allocations for %d objects", carrier, b, many)
	}
}

// Every change is an event with the object, on each carrier that has events.
func TestObjectEvents(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	for _, carrier := range eventCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			r := vmtest.Rand(t)
			ctx := background(t)
			conn := dial(t, client.Config{})
			cfg := client.Config{Carrier: carrier, ReceiveBuffer: 4 << 20}
			group := uint32(wire.GroupConnector)
			switch carrier {
			case client.Raw:
				cfg.Groups, group = 1<<1, 2
			case client.Generic:
				cfg.GroupNames, group = []string{wire.McgrpObjects}, wire.GroupObjects
			}
			sub := subscribe(t, cfg)
			key, one, two := randomKey(r, ""), vmtest.Bytes(r, wire.ValueMax), slices.Repeat([][]byte{vmtest.Bytes(r, wire.ValueMax)}, 2)
			before, err := conn.Stats(ctx)
			if err != nil {
				t.Fatal(err)
			}
			g := before.Objects.Generation
			for _, err := range []error{
				conn.NewObject(ctx, key, wire.ModifierCreate, one),
				conn.NewObject(ctx, key, wire.ModifierAppend, two...),
				conn.NewObject(ctx, key, wire.ModifierReplace),
				conn.DeleteObject(ctx, key),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			want := []struct {
				kind   wire.Kind
				object client.Object
			}{
				{wire.KindObjectNew, client.Object{Key: key, Generation: g + 1, Values: [][]byte{one}}},
				{wire.KindObjectChange, client.Object{Key: key, Generation: g + 2, Values: append([][]byte{one}, two...)}},
				{wire.KindObjectChange, client.Object{Key: key, Generation: g + 3}},
				{wire.KindObjectDel, client.Object{Key: key, Generation: g + 4}},
			}
			n, first := 0, uint64(1)
			var kept []client.Event
			for ev, err := range sub.Events(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				w := want[n]
				if carrier == client.Connector && n == 0 {
					first = ev.Seq // numbered whether or not anybody listens
				}
				if ev.Group != group || ev.Seq != first+uint64(n) || ev.Kind != w.kind || ev.Data != nil || ev.Lost != 0 {
					t.Errorf("%+v, want %v", ev, w.kind)
				}
				wantObject(t, w.object, ev.Object.Clone())
				kept = append(kept, ev.Clone())
				if n++; n == len(want) {
					break
				}
			}
			for i, ev := range kept {
				wantObject(t, want[i].object, ev.Object.Clone())
			}
		})
	}
}

// Objects that were missed are asked for like everything else. Nobody else
// listens.
func TestObjectEventsRecovered(t *testing.T) {
	for _, carrier := range eventCarriers {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/others=%v", carrier, others), func(t *testing.T) {
				vmtest.Module(t, "interval_ms=0", "object_bytes=33554432", "history_bytes=33554432")
				r := vmtest.Rand(t)
				conn := dial(t, client.Config{Carrier: client.Generic})
				cfg := client.Config{Carrier: carrier, ReceiveBuffer: 64 << 10}
				switch carrier {
				case client.Raw:
					cfg.Groups = 1 << 1
				case client.Generic:
					cfg.GroupNames = []string{wire.McgrpObjects}
				}
				sub := subscribe(t, cfg)
				if others {
					cfg.ReceiveBuffer = 32 << 20
					subscribe(t, cfg)
				}
				objects := fill(t, conn, r, 300, "")
				slices.SortFunc(objects, func(a, b client.Object) int { return int(a.Generation) - int(b.Generation) })
				n, recovered, overruns := 0, 0, 0
				for ev, err := range sub.Events(background(t)) {
					if errors.Is(err, unix.ENOBUFS) {
						overruns++
						continue
					}
					if err != nil {
						t.Fatal(err)
					}
					if ev.Seq != uint64(n+1) || ev.Lost != 0 || ev.Kind != wire.KindObjectNew {
						t.Fatalf("%v %d, %d lost, want number %d", ev.Kind, ev.Seq, ev.Lost, n+1)
					}
					wantObject(t, objects[n], ev.Object.Clone())
					if ev.Recovered {
						recovered++
					}
					if n++; n == len(objects) {
						break
					}
				}
				if overruns == 0 || recovered == 0 || recovered == n {
					t.Errorf("%d events, %d recovered, %d overruns", n, recovered, overruns)
				}
			})
		}
	}
}

// When the module goes, those who listen are told; who has a raw socket, keeps
// it from going.
func TestEnd(t *testing.T) {
	for _, cfg := range []client.Config{
		{Carrier: client.Generic},
		{Carrier: client.Generic, GroupNames: []string{wire.McgrpBeacon, wire.McgrpObjects}},
		{Carrier: client.Generic, NoResync: true},
		{Carrier: client.Generic, AllNSID: true},
		{Carrier: client.Connector},
	} {
		t.Run(fmt.Sprintf("%v %v %v", cfg.Carrier, cfg.GroupNames, cfg.AllNSID), func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			sub := subscribe(t, cfg)
			if err := dial(t, client.Config{Carrier: client.Rtnl}).NewObject(background(t), "key", wire.ModifierCreate); err != nil {
				t.Fatal(err)
			}
			vmtest.Unload(t)
			var kinds []wire.Kind
			var last error
			for ev, err := range sub.Events(background(t)) {
				if last = err; err == nil {
					kinds = append(kinds, ev.Kind)
				}
			}
			var want []wire.Kind
			if cfg.Carrier == client.Connector || len(cfg.GroupNames) == 2 {
				want = append(want, wire.KindObjectNew)
			}
			if diff := cmp.Diff(want, kinds); diff != "" || !errors.Is(last, client.ErrEnded) {
				t.Errorf("the last error is %v; events (-want +got):\n%s", last, diff)
			}
			for _, err := range sub.Events(background(t)) {
				if !errors.Is(err, client.ErrEnded) {
					t.Errorf("again: %v", err)
				}
			}
			if st := sub.Stats(); st.Received != uint64(len(kinds)) || st.Lost != 0 || st.Failed != 0 {
				t.Errorf("statistics %+v", st)
			}
		})
	}

	vmtest.Module(t, "interval_ms=0")
	sub := subscribe(t, client.Config{})
	if err := vmtest.Rmmod("nlpeer"); err != unix.EBUSY && err != unix.EAGAIN {
		t.Errorf("rmmod with a raw subscription: %v", err)
	}
	sub.Close()
}

// Also if the last word did not fit into the receive buffer.
func TestEndLost(t *testing.T) {
	for _, carrier := range []client.Carrier{client.Generic, client.Connector} {
		t.Run(carrier.String(), func(t *testing.T) {
			vmtest.Module(t, "interval_ms=0")
			cfg := client.Config{Carrier: carrier, ReceiveBuffer: 4096}
			if carrier == client.Generic {
				cfg.GroupNames = []string{wire.McgrpObjects}
			}
			sub := subscribe(t, cfg)
			fill(t, dial(t, client.Config{Carrier: client.Rtnl}), vmtest.Rand(t), 100, "")
			vmtest.Unload(t)
			seen, overruns := uint64(0), 0
			var last error
			for ev, err := range sub.Events(background(t)) {
				if last = err; err == nil {
					if seen++; ev.Seq != seen {
						t.Errorf("event %d, want %d", ev.Seq, seen)
					}
				} else if errors.Is(err, unix.ENOBUFS) {
					overruns++
				}
			}
			st := sub.Stats()
			if !errors.Is(last, client.ErrEnded) || overruns == 0 || st.Received != seen || st.Failed == 0 {
				t.Errorf("%v after %d events; %+v", last, seen, st)
			}
		})
	}
}

// The end of another namespace is an event.
func TestEndElsewhere(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")
	ns := vmtest.NewNet(t)
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	body := []byte{unix.AF_UNSPEC, 0, 0, 0}
	body = append(body, vmtest.Attr{Type: unix.NETNSA_NSID, Data: vmtest.U32(7)}.Bytes()...)
	body = append(body, vmtest.Attr{Type: unix.NETNSA_FD, Data: vmtest.U32(uint32(here.Fd()))}.Bytes()...)
	req := vmtest.Message{Type: unix.RTM_NEWNSID, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: 1, Body: body}
	route := ns.Open(t, unix.NETLINK_ROUTE, 0, 0)
	route.Send(t, req.Bytes())
	if ack := route.RecvAck(t, req); ack.Errno != 0 {
		t.Fatalf("RTM_NEWNSID: %v", ack.Errno)
	}

	sub := subscribe(t, client.Config{Carrier: client.Generic, AllNSID: true, NetNS: int(ns.File.Fd())})
	vmtest.Unload(t)
	var last error
	n := 0
	for ev, err := range sub.Events(background(t)) {
		if last = err; err == nil {
			if n++; ev.Kind != wire.KindEnd || ev.NSID != 7 || ev.Seq != 1 {
				t.Errorf("%+v, want the end of namespace 7", ev)
			}
		}
	}
	if n != 1 || !errors.Is(last, client.ErrEnded) {
		t.Errorf("%d events, and then %v", n, last)
	}
}
