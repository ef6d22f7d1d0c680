// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/vm-test/suites/vmtest"
)

// What one echo of 64 bytes costs, counted: no heap allocation.
func TestEchoAllocations(t *testing.T) {
	vmtest.Module(t)
	ctx := context.Background()
	payload := make([]byte, 64)
	for _, carrier := range echoCarriers {
		conn := dial(t, client.Config{Carrier: carrier})
		if n := testing.AllocsPerRun(300, func() {
			if got, err := conn.Echo(ctx, payload); err != nil || len(got) != len(payload) {
				t.Fatal(len(got), err)
			}
		}); n != 0 {
			t.Errorf("%v: Echo makes %v allocations, want 0", carrier, n)
		}
		buf := make([]byte, 0, 4096)
		long := make([]byte, 4096)
		if n := testing.AllocsPerRun(300, func() {
			if got, err := conn.AppendEcho(ctx, buf, long); err != nil || len(got) != len(long) {
				t.Fatal(len(got), err)
			}
		}); n != 0 {
			t.Errorf("%v: AppendEcho makes %v allocations, want 0", carrier, n)
		}
	}
}

// What one echo of 64 bytes costs, counted by the kernel: two system calls.
func TestEchoSystemCalls(t *testing.T) {
	vmtest.Module(t)
	const rounds = 300
	for _, carrier := range echoCarriers {
		t.Run(carrier.String(), func(t *testing.T) {
			ctx := context.Background()
			conn := dial(t, client.Config{Carrier: carrier})
			payload := make([]byte, 64)
			echo := func() {
				if _, err := conn.Echo(ctx, payload); err != nil {
					t.Fatal(err)
				}
			}
			echo()
			got := vmtest.CountSystemCalls(t, func() {
				for range rounds {
					echo()
				}
			})
			for _, call := range []int{unix.SYS_SENDTO, unix.SYS_RECVFROM} {
				if got[call] != rounds {
					t.Errorf("system call %d: %d times in %d echoes", call, got[call], rounds)
				}
				delete(got, call)
			}
			// The runtime looks after its own affairs now and then, the oftener the
			// slower the machine; a call of the client would be there for each echo.
			for call, n := range got {
				if n >= rounds {
					t.Errorf("system call %d: %d times in %d echoes", call, n, rounds)
				}
			}
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	vmtest.Module(b)
	for _, carrier := range echoCarriers {
		b.Run(carrier.String(), func(b *testing.B) {
			ctx := context.Background()
			conn := dial(b, client.Config{Carrier: carrier})
			payload := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Echo(ctx, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
