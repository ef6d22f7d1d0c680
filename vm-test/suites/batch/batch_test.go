// SPDX-License-Identifier: MIT

// Package batch_test holds the batches and pipelines of pkg/client against the
// module.
package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

var (
	carriers       = []client.Carrier{client.Raw, client.Generic, client.Connector, client.Rtnl}
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

// A wanted is what is to come of a request.
type wanted struct {
	payload []byte
	object  string // what the object with this key holds: the key again
	err     error
}

// check is a function for Do or a Pipeline that compares the answers, which have
// to come in the order of the requests.
func check(t testing.TB, want *[]wanted) (take func(client.Answer), n *int) {
	n = new(int)
	return func(a client.Answer) {
		t.Helper()
		if a.Index != *n || a.Index >= len(*want) {
			t.Fatalf("answer %d has index %d of %d", *n, a.Index, len(*want))
		}
		w := (*want)[*n]
		*n++
		if !errors.Is(a.Err, w.err) || !bytes.Equal(a.Payload, w.payload) {
			t.Fatalf("answer %d: %d bytes, error %v; want %d bytes, error %v, bytes equal: %v",
				a.Index, len(a.Payload), a.Err, len(w.payload), w.err, bytes.Equal(a.Payload, w.payload))
		}
		if (a.Object != nil) != (w.object != "") {
			t.Fatalf("answer %d: object %v, want %q", a.Index, a.Object, w.object)
		}
		if w.object != "" {
			for v := range a.Object.Values() {
				if string(v) != w.object || string(a.Object.Key) != w.object {
					t.Fatalf("answer %d: object %q with %q, want %q", a.Index, a.Object.Key, v, w.object)
				}
			}
		}
	}, n
}

// do carries a batch and compares the answers.
func do(t testing.TB, conn *client.Conn, b *client.Batch, want []wanted) {
	t.Helper()
	take, n := check(t, &want)
	if err := conn.Do(background(t), b, take); err != nil {
		t.Fatal(err)
	}
	if *n != len(want) {
		t.Fatalf("%d answers, want %d", *n, len(want))
	}
}

// echoes adds n echoes of random length, 0 to size.
func echoes(r *rand.Rand, b *client.Batch, n, size int) (want []wanted) {
	for range n {
		payload := vmtest.Bytes(r, r.IntN(size+1))
		b.Echo(payload)
		want = append(want, wanted{payload: payload})
	}
	return want
}

func acknowledged(t *testing.T, f func(t *testing.T, cfg client.Config)) {
	for _, carrier := range carriers {
		for _, ack := range []bool{false, true} {
			if ack && carrier == client.Connector {
				continue
			}
			t.Run(fmt.Sprintf("%v/ack=%v", carrier, ack), func(t *testing.T) {
				f(t, client.Config{Carrier: carrier, Acknowledge: ack})
			})
		}
	}
}

// Random numbers of random payloads on all carriers, from a peer that packs and
// from one that does not.
func TestEcho(t *testing.T) {
	for _, packs := range []string{"batch=1", "batch=0"} {
		t.Run(packs, func(t *testing.T) {
			vmtest.Module(t, packs)
			acknowledged(t, func(t *testing.T, cfg client.Config) {
				r := vmtest.Rand(t)
				conn := dial(t, cfg)
				b := conn.NewBatch()
				for _, size := range []int{0, 3, 64, 1000, 16000} {
					b.Reset()
					do(t, conn, b, echoes(r, b, r.IntN(1<<17/(size+256)), size))
				}
				b.Reset()
				most := make([]byte, wire.PayloadMax)
				if cfg.Carrier == client.Connector {
					most = most[:wire.CnPayloadMax]
				}
				b.Echo(most)
				b.Echo(most)
				b.Echo(append(most, 0))
				b.Echo(most)
				do(t, conn, b, []wanted{{payload: most}, {payload: most}, {err: unix.EMSGSIZE}, {payload: most}})
				if diff := cmp.Diff(client.Counters{}, conn.Counters()); diff != "" {
					t.Errorf("counters (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// How many datagrams it takes is what a batch is made for, and what the client
// tells.
func TestDatagrams(t *testing.T) {
	type row struct {
		carrier        client.Carrier
		n              int
		sent, received int
	}
	rows := func(t *testing.T, rows ...row) {
		for _, row := range rows {
			conn := dial(t, client.Config{Carrier: row.carrier})
			b := conn.NewBatch()
			do(t, conn, b, echoes(vmtest.Rand(t), b, row.n, 64))
			if sent, received := b.Datagrams(); sent != row.sent || received != row.received {
				t.Errorf("%v: %d requests took %d datagrams, and %d back; want %d and %d", row.carrier, row.n, sent, received, row.sent, row.received)
			}
		}
	}
	t.Run("packs", func(t *testing.T) {
		vmtest.Module(t)
		rows(t, row{client.Raw, 1, 1, 1}, row{client.Raw, 64, 1, 1}, row{client.Generic, 64, 1, 64},
			row{client.Connector, 64, 64, 64}, row{client.Rtnl, 64, 1, 64})
	})
	t.Run("does not", func(t *testing.T) {
		vmtest.Module(t, "batch=0")
		rows(t, row{client.Raw, 64, 1, 64})
	})
}

// Requests of all kinds, good and bad, shuffled: each has its own answer in its
// place, whatever happens to the others.
func TestErrorsInTheMiddle(t *testing.T) {
	for _, packs := range []string{"batch=1", "batch=0"} {
		t.Run(packs, func(t *testing.T) {
			vmtest.Module(t, packs)
			acknowledged(t, func(t *testing.T, cfg client.Config) {
				r := vmtest.Rand(t)
				conn := dial(t, cfg)
				b := conn.NewBatch()
				if cfg.Carrier == client.Connector {
					b.Echo([]byte("before"))
					b.Get("key")
					b.NewObject("key", wire.ModifierCreate)
					b.Echo([]byte("after"))
					do(t, conn, b, []wanted{{payload: []byte("before")}, {err: unix.EOPNOTSUPP}, {err: unix.EOPNOTSUPP}, {payload: []byte("after")}})
					return
				}
				if err := conn.DeleteObjects(background(t), ""); err != nil {
					t.Fatal(err)
				}
				var want []wanted
				there := map[string]bool{}
				for range vmtest.Times(500) {
					key := fmt.Sprint("key ", r.IntN(5))
					w := wanted{}
					switch r.IntN(8) {
					case 0:
						b.Get(key)
						if w.object = key; !there[key] {
							w = wanted{err: unix.ENOENT}
						}
					case 1:
						b.NewObject(key, wire.ModifierCreate|wire.ModifierExcl, []byte(key))
						if there[key] {
							w.err = unix.EEXIST
						}
						there[key] = true
					case 2:
						b.DeleteObject(key)
						if !there[key] {
							w.err = unix.ENOENT
						}
						there[key] = false
					case 3:
						b.DeleteObjects("no such prefix")
					case 4:
						b.Echo(make([]byte, wire.PayloadMax+1))
						w.err = unix.EMSGSIZE
					case 5:
						b.Get("key\x00")
						w.err = unix.EINVAL
					default:
						want = append(want, echoes(r, b, 1, 200)...)
						continue
					}
					want = append(want, w)
				}
				do(t, conn, b, want)
				if n := conn.Counters(); n != (client.Counters{}) {
					t.Errorf("counters %+v", n)
				}

				// What the kernel has to say comes with it.
				b.Reset()
				b.Echo(nil)
				b.DeleteObject("nobody")
				b.Echo(nil)
				var errs []error
				if err := conn.Do(background(t), b, func(a client.Answer) { errs = append(errs, a.Err) }); err != nil {
					t.Fatal(err)
				}
				alone := conn.DeleteObject(background(t), "nobody")
				if len(errs) != 3 || errs[0] != nil || errs[2] != nil || fmt.Sprint(errs[1]) != alone.Error() {
					t.Errorf("errors %q; alone it is %q", errs, alone)
				}
			})
		})
	}
}

// least is the size to ask for to get the least receive buffer in which an answer
// and its acknowledgment have room. That is the least there is, 2,304 bytes, but
// where a line of the processor's cache has 256 bytes: two messages take 2,560.
func least() int {
	if unsafe.Sizeof(cpu.CacheLinePad{}) == 256 {
		return 2048
	}
	return 1
}

// Thousands of requests through the least receive buffer there is: not one
// answer is lost, neither to packed answers nor to errors, which have a datagram
// each.
func TestSmallBuffer(t *testing.T) {
	for _, packs := range []string{"batch=1", "batch=0"} {
		t.Run(packs, func(t *testing.T) {
			vmtest.Module(t, packs)
			acknowledged(t, func(t *testing.T, cfg client.Config) {
				for _, buffer := range []int{least(), 20000} {
					r := vmtest.Rand(t)
					cfg.ReceiveBuffer = buffer
					conn := dial(t, cfg)
					b := conn.NewBatch()
					n := vmtest.Times(1024)
					if cfg.Carrier != client.Raw {
						n = vmtest.Times(256)
					}
					// The shortest take more for their length than all others.
					for _, size := range []int{0, 64} {
						b.Reset()
						do(t, conn, b, echoes(r, b, n/2, size))
					}
					b.Reset()
					size := 5000
					if cfg.Acknowledge {
						size = buffer / 4 // one request always goes, whatever comes back
					}
					do(t, conn, b, echoes(r, b, vmtest.Times(200), size))
					if cfg.Carrier != client.Connector {
						b.Reset()
						var want []wanted
						for range vmtest.Times(300) {
							want = append(want, echoes(r, b, r.IntN(3), 500)...)
							b.Get(fmt.Sprintf("a key of some length, which nobody has: %d", len(want)))
							want = append(want, wanted{err: unix.ENOENT})
						}
						do(t, conn, b, want)
					}
					if n := conn.Counters(); n != (client.Counters{}) {
						t.Errorf("buffer of %d: counters %+v", buffer, n)
					}
				}
			})
		})
	}
}

// Objects of all sizes come back through small buffers too.
func TestObjects(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range objectCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			r := vmtest.Rand(t)
			conn := dial(t, client.Config{Carrier: carrier})
			b := conn.NewBatch()
			if err := conn.DeleteObjects(background(t), ""); err != nil {
				t.Fatal(err)
			}
			const n = 200
			sizes := make([]int, n)
			for i := range n {
				var values [][]byte
				for sizes[i] = r.IntN(4); len(values) < sizes[i]; {
					values = append(values, make([]byte, r.IntN(wire.ValueMax-100)))
				}
				b.NewObject(fmt.Sprint(i), wire.ModifierCreate, values...)
			}
			do(t, conn, b, make([]wanted, n))

			for _, buffer := range []int{1, 0} {
				conn := dial(t, client.Config{Carrier: carrier, ReceiveBuffer: buffer})
				b := conn.NewBatch()
				for i := range n {
					b.Get(fmt.Sprint(i))
				}
				got := 0
				if err := conn.Do(background(t), b, func(a client.Answer) {
					if a.Err != nil || a.Object == nil || string(a.Object.Key) != fmt.Sprint(a.Index) || a.Object.Len() != sizes[a.Index] {
						t.Fatalf("answer %d: %v, %v", a.Index, a.Object, a.Err)
					}
					got++
				}); err != nil || got != n {
					t.Fatalf("%d answers, %v", got, err)
				}
				if n := conn.Counters(); n != (client.Counters{}) {
					t.Errorf("counters %+v", n)
				}
			}
		})
	}
}

// A context that ends while answers are told of ends Do. The kernel has answered
// by then what was sent, so that is told of, and none comes late.
func TestCancelled(t *testing.T) {
	vmtest.Module(t)
	for _, carrier := range carriers {
		t.Run(carrier.String(), func(t *testing.T) {
			conn := dial(t, client.Config{Carrier: carrier})
			b := conn.NewBatch()
			const n, last = 1000, 5 // more than are on their way at a time
			want := echoes(vmtest.Rand(t), b, n, 64)
			ctx, cancel := context.WithCancel(background(t))
			take, told := check(t, &want)
			err := conn.Do(ctx, b, func(a client.Answer) {
				take(a)
				if a.Index == last {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
			if *told <= last || *told == n {
				t.Errorf("%d answers were told of", *told)
			}
			do(t, conn, b, want)
			for range 3 {
				if got, err := conn.Echo(background(t), []byte("next")); err != nil || string(got) != "next" {
					t.Errorf("the next echo: %q, %v", got, err)
				}
			}
			if c := conn.Counters(); c != (client.Counters{}) {
				t.Errorf("counters %+v", c)
			}

			gone, cancel := context.WithCancel(context.Background())
			cancel()
			if err := conn.Do(gone, b, func(client.Answer) { t.Error("an answer") }); !errors.Is(err, context.Canceled) {
				t.Errorf("with a context that is done: %v", err)
			}
		})
	}
}

// A peer that never reads holds no more than its receive buffer, and keeps
// nobody for longer than he wants to wait. One that reads but does not answer,
// neither.
func TestSilentPeer(t *testing.T) {
	peer := vmtest.Open(t, unix.NETLINK_USERSOCK, 0, 0)
	conn := dial(t, client.Config{Carrier: client.UserSock, To: peer.PortID, Timeout: 1e6})
	b := conn.NewBatch()
	echoes(vmtest.Rand(t), b, 64, 4000)
	took := 0
	for {
		err := conn.Do(context.Background(), b, func(a client.Answer) { t.Fatalf("an answer: %+v", a) })
		if errors.Is(err, unix.EAGAIN) {
			break // its receive buffer is full
		}
		if took++; !isTimeout(err) || took > 1000 {
			t.Fatalf("after %d batches: %v", took, err)
		}
	}
	if took == 0 {
		t.Error("not one batch was sent")
	}

	var timeouts int
	p, err := client.DialPipeline(background(t), client.Config{Carrier: client.UserSock, To: peer.PortID, Timeout: 1e6},
		client.PipelineConfig{Batch: 1, Answer: func(a client.Answer) {
			if !isTimeout(a.Err) {
				t.Fatalf("answer %d: %v", a.Index, a.Err)
			}
			timeouts++
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for {
		if _, err := peer.TryRecv(0); err == unix.ETIMEDOUT {
			break
		}
	}
	for range 10 {
		if err := p.Echo(background(t), []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Drain(background(t)); err != nil || timeouts != 10 {
		t.Errorf("%d of 10 timed out, %v", timeouts, err)
	}
}

func isTimeout(err error) bool {
	var op *client.OpError
	return errors.As(err, &op) && op.Timeout()
}
