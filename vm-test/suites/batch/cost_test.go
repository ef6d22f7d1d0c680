// SPDX-License-Identifier: MIT

package batch_test

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
	"nlpeer/vm-test/suites/vmtest"
)

// A batch of 64 echoes is two system calls and no heap allocation.
func TestSystemCalls(t *testing.T) {
	vmtest.Module(t)
	const rounds = 200
	ctx := context.Background()
	conn := dial(t, client.Config{})
	b := conn.NewBatch()
	payload := make([]byte, 64)
	answers := 0
	round := func() {
		b.Reset()
		for range 64 {
			b.Echo(payload)
		}
		if err := conn.Do(ctx, b, func(a client.Answer) {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			answers++
		}); err != nil {
			t.Fatal(err)
		}
	}
	round()
	calls := vmtest.CountSystemCalls(t, func() {
		for range rounds {
			round()
		}
	})
	if answers != 64*(rounds+1) {
		t.Errorf("%d answers", answers)
	}
	for _, call := range []int{unix.SYS_SENDTO, unix.SYS_RECVFROM} {
		if calls[call] != rounds {
			t.Errorf("system call %d: %d times in %d batches", call, calls[call], rounds)
		}
		delete(calls, call)
	}
	// The runtime looks after its own affairs now and then, the oftener the slower
	// the machine; a call of the client would be there for each batch.
	for call, n := range calls {
		if n >= rounds {
			t.Errorf("system call %d: %d times in %d batches", call, n, rounds)
		}
	}
}

func TestAllocations(t *testing.T) {
	vmtest.Module(t)
	acknowledged(t, func(t *testing.T, cfg client.Config) {
		ctx := context.Background()
		conn := dial(t, cfg)
		b := conn.NewBatch()
		if cfg.Carrier != client.Connector {
			if err := conn.NewObject(ctx, "key", wire.ModifierCreate|wire.ModifierReplace, []byte("value")); err != nil {
				t.Fatal(err)
			}
		}
		payload := make([]byte, 300)
		take := func(a client.Answer) {
			if a.Err != nil || len(a.Payload) != 300 && a.Object == nil {
				t.Fatal(a.Index, a.Err)
			}
		}
		if n := testing.AllocsPerRun(vmtest.Times(50), func() {
			b.Reset()
			for range 100 {
				b.Echo(payload)
			}
			if cfg.Carrier != client.Connector {
				b.Get("key")
			}
			if err := conn.Do(ctx, b, take); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a batch makes %v allocations, want 0", n)
		}

		p, err := client.DialPipeline(ctx, cfg, client.PipelineConfig{Answer: take})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if n := testing.AllocsPerRun(vmtest.Times(50), func() {
			for range 150 {
				if err := p.Echo(ctx, payload); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a pipeline makes %v allocations, want 0", n)
		}
	})
}

// Events that come packed, many to a datagram, are all there, in order.
func TestPackedEvents(t *testing.T) {
	vmtest.Module(t)
	ctx := background(t)
	conn := dial(t, client.Config{})
	size := 8
	if err := conn.SetBeacon(ctx, client.BeaconChange{Groups: new(uint32(6)), Generic: new(false), Size: &size, Packed: new(uint32(4))}); err != nil {
		t.Fatal(err)
	}
	datagrams := 0
	for group, packed := range map[uint32]bool{2: false, 3: true} {
		datagrams = 0
		sub, err := client.Subscribe(ctx, client.Config{Groups: 1 << (group - 1), ReceiveBuffer: 1 << 20, Tap: func(client.Crossing) { datagrams++ }})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		const burst = 200
		seq := uint64(0)
		one := func() {
			if err := conn.SetBeacon(ctx, client.BeaconChange{Burst: burst}); err != nil {
				t.Fatal(err)
			}
			n := 0
			for e, err := range sub.Events(ctx) {
				if err != nil || e.Group != group || seq != 0 && e.Seq != seq+1 || e.Lost != 0 || len(e.Data) != size || e.Data[0] != byte(e.Seq) {
					t.Fatalf("event %+v after %d: %v", e, seq, err)
				}
				seq = e.Seq
				if n++; n == burst {
					break
				}
			}
		}
		one()
		if was := datagrams; packed != (was < burst/10) {
			t.Errorf("group %d: %d events in %d datagrams", group, burst, was)
		}
	}
}

// The benchmarks show what an operation costs, an operation being an echo or an
// event also where several cross together. Where the clock counts instructions
// that is what they count, and the kernel must not look for mistakes meanwhile:
//
//	nlvm test --icount --append "slub_debug=- mitigations=off" ./vm-test/suites/batch -- -run '^$' -bench . -benchtime 20000x

func BenchmarkEcho(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		b.Run(carrier.String(), func(b *testing.B) {
			ctx := context.Background()
			conn := dial(b, client.Config{Carrier: carrier})
			payload := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if answer, err := conn.Echo(ctx, payload); err != nil || len(answer) != len(payload) {
					b.Fatal(len(answer), err)
				}
			}
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		for _, n := range []int{1, 4, 16, 64, 256} {
			b.Run(fmt.Sprintf("%v/%d", carrier, n), func(b *testing.B) {
				ctx := context.Background()
				conn := dial(b, client.Config{Carrier: carrier})
				batch := conn.NewBatch()
				payload := make([]byte, 64)
				check := func(a client.Answer) {
					if a.Err != nil || len(a.Payload) != len(payload) {
						b.Fatal(a.Index, a.Err)
					}
				}
				round := func() {
					batch.Reset()
					for range n {
						batch.Echo(payload)
					}
					if err := conn.Do(ctx, batch, check); err != nil {
						b.Fatal(err)
					}
				}
				round()
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i += n {
					round()
				}
			})
		}
	}
}

func BenchmarkPipeline(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range carriers {
		b.Run(carrier.String(), func(b *testing.B) {
			ctx := context.Background()
			payload := make([]byte, 64)
			p, err := client.DialPipeline(ctx, client.Config{Carrier: carrier}, client.PipelineConfig{
				Answer: func(a client.Answer) {
					if a.Err != nil || len(a.Payload) != len(payload) {
						b.Fatal(a.Index, a.Err)
					}
				},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			run := func(n int) {
				for range n {
					if err := p.Echo(ctx, payload); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Drain(ctx); err != nil {
					b.Fatal(err)
				}
			}
			run(128)
			b.ReportAllocs()
			b.ResetTimer()
			run(b.N)
		})
	}
}

// Events that are queued already, as a burst leaves them: each in a datagram of
// its own, or packed.
func BenchmarkEvents(b *testing.B) {
	vmtest.Module(b)
	for _, packed := range []bool{false, true} {
		b.Run(fmt.Sprintf("packed=%v", packed), func(b *testing.B) {
			ctx := context.Background()
			conn := dial(b, client.Config{})
			var mask uint32
			if packed {
				mask = 1
			}
			const burst = 256
			size := 4
			change := client.BeaconChange{Groups: new(uint32(1)), Generic: new(false), Size: &size, Packed: &mask}
			if err := conn.SetBeacon(ctx, change); err != nil {
				b.Fatal(err)
			}
			sub, err := client.Subscribe(ctx, client.Config{ReceiveBuffer: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer sub.Close()
			fill := func() {
				if err := conn.SetBeacon(ctx, client.BeaconChange{Burst: burst}); err != nil {
					b.Fatal(err)
				}
			}
			// The timer of the benchmark looks at the heap each time, which costs
			// more than all else.
			drain := func() (time.Duration, int) {
				fill()
				n, began := 0, time.Now()
				for event, err := range sub.Events(ctx) {
					if err != nil || event.Lost != 0 {
						b.Fatal(event, err)
					}
					if n++; n == burst {
						break
					}
				}
				return time.Since(began), n
			}
			drain()
			var took time.Duration
			events := 0
			for events < b.N {
				d, n := drain()
				took, events = took+d, events+n
			}
			b.ReportMetric(float64(took)/float64(events), "ns/event")
		})
	}
}

// The same events, taken by nothing but system calls: one for each, or one for
// sixteen.
func BenchmarkReceive(b *testing.B) {
	vmtest.Module(b)
	conn := dial(b, client.Config{})
	if err := conn.SetBeacon(context.Background(), client.BeaconChange{Groups: new(uint32(1)), Generic: new(false), Size: new(4)}); err != nil {
		b.Fatal(err)
	}
	s := vmtest.Open(b, vmtest.NetlinkTest, 0, 1)
	s.SetBuffer(b, 1<<20)
	const burst, many, room = 256, 16, 1024
	type mmsghdr struct {
		hdr unix.Msghdr
		_   uint32
	}
	var (
		buf  [many * room]byte
		from [many]unix.RawSockaddrNetlink
		iov  [many]unix.Iovec
		msgs [many]mmsghdr
	)
	for i := range many {
		iov[i].Base = &buf[i*room]
		iov[i].SetLen(room)
		msgs[i].hdr.Iov = &iov[i]
		msgs[i].hdr.SetIovlen(1)
		msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&from[i]))
	}
	var fromLen uint32
	for name, receive := range map[string]func() uintptr{
		"recv": func() uintptr {
			_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.FD), uintptr(unsafe.Pointer(&buf)), room, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
			if errno != 0 {
				b.Fatal(errno)
			}
			return 1
		},
		"recvfrom": func() uintptr {
			fromLen = unix.SizeofSockaddrNetlink
			_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s.FD), uintptr(unsafe.Pointer(&buf)), room, unix.MSG_DONTWAIT|unix.MSG_TRUNC,
				uintptr(unsafe.Pointer(&from[0])), uintptr(unsafe.Pointer(&fromLen)))
			if errno != 0 {
				b.Fatal(errno)
			}
			return 1
		},
		"recvmmsg": func() uintptr {
			for i := range msgs {
				msgs[i].hdr.Namelen = unix.SizeofSockaddrNetlink
			}
			n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.FD), uintptr(unsafe.Pointer(&msgs)), many, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
			if errno != 0 {
				b.Fatal(errno)
			}
			return n
		},
	} {
		b.Run(name, func(b *testing.B) {
			var took time.Duration
			events := uintptr(0)
			for events < uintptr(b.N) {
				if err := conn.SetBeacon(context.Background(), client.BeaconChange{Burst: burst}); err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				for n := uintptr(0); n < burst; {
					n += receive()
				}
				took, events = took+time.Since(began), events+burst
			}
			b.ReportMetric(float64(took)/float64(events), "ns/event")
		})
	}
}
