// SPDX-License-Identifier: MIT

package client_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"nlpeer/pkg/client"
)

func TestLockExcludes(t *testing.T) {
	l := client.NewLock()
	n := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				if err := l.Acquire(context.Background()); err != nil {
					t.Error(err)
					return
				}
				n++
				l.Release()
			}
		})
	}
	wg.Wait()
	diff(t, 16000, n)
	diff(t, 0, l.Held())
}

// Waiters give up while the lock is handed over, in all orders that the
// scheduler finds.
func TestLockIsNotLostByThoseWhoGiveUp(t *testing.T) {
	l := client.NewLock()
	n, got := 0, 0
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ctx, cancel := context.WithCancel(context.Background())
				if (i+g)%3 != 0 {
					go cancel()
				}
				err := l.Acquire(ctx)
				if err == nil {
					n++
					l.Release()
					mu.Lock()
					got++
					mu.Unlock()
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	diff(t, got, n)
	diff(t, 0, l.Held())

	// It still works.
	l.AcquireAlways()
	l.Release()
}

// A waiter gives up just when the lock is handed to it.
func TestLockHandedToOneWhoGivesUp(t *testing.T) {
	l := client.NewLock()
	l.AcquireAlways()
	leave := l.Enter()
	l.Release()
	leave()
	diff(t, 0, l.Held())
	diff(t, 0, l.Tokens())
}

// The last of several waiters gets the lock although the others left.
func TestLockAfterOthersGaveUp(t *testing.T) {
	l := client.NewLock()
	l.AcquireAlways()
	ctx, cancel := context.WithCancel(context.Background())
	acquire := func(ctx context.Context) <-chan result[struct{}] {
		before := l.Held()
		r := async(func() (struct{}, error) { return struct{}{}, l.Acquire(ctx) })
		eventually(t, "it waits", func() bool { return l.Held() == before+1 })
		return r
	}
	first, second, third := acquire(ctx), acquire(ctx), acquire(context.Background())
	cancel()
	for _, r := range []<-chan result[struct{}]{first, second} {
		if _, err := await(t, r); !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	}
	diff(t, 2, l.Held())
	l.Release()
	if _, err := await(t, third); err != nil {
		t.Error(err)
	}
	l.Release()
	diff(t, 0, l.Held())
}
