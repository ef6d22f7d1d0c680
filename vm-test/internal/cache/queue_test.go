// SPDX-License-Identifier: MIT

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"nlpeer/vm-test/internal/cache"
)

func TestSlots(t *testing.T) {
	c := open(t, t.TempDir())
	var held []*cache.Lock
	for range 2 {
		l, err := c.Slot(t.Context(), 2, nil)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Slot(ctx, 2, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a third of two places: %v", err)
	}
	held[1].Unlock()
	if _, err := c.Slot(ctx, 2, nil); err != nil {
		t.Errorf("a place that is free again: %v", err)
	}
}

// queued waits until n stand in the queue.
func queued(t *testing.T, c *cache.Cache, n int) []int {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		pids, err := c.Waiting()
		if err != nil {
			t.Fatal(err)
		}
		if len(pids) == n {
			return pids
		}
		if time.Now().After(end) {
			t.Fatalf("%d wait, want %d", len(pids), n)
		}
	}
}

// take takes a place in the background and says so, with its name.
func take(t *testing.T, c *cache.Cache, name, places int, got chan<- int) {
	go func() {
		l, err := c.Slot(t.Context(), places, func() {})
		if err != nil {
			t.Errorf("%d: %v", name, err)
		}
		// Told while the place is still held, so that it is in order.
		got <- name
		if l != nil {
			l.Unlock()
		}
	}()
}

func TestSlotsInOrderOfArrival(t *testing.T) {
	root := t.TempDir()
	c := open(t, root)
	held, err := c.Slot(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 8
	got := make(chan int)
	var want, order []int
	for i := range n {
		take(t, open(t, root), i, 1, got)
		queued(t, c, i+1)
		want = append(want, i)
	}
	held.Unlock()
	for range n {
		order = append(order, <-got)
	}
	if !slices.Equal(order, want) {
		t.Errorf("served in order %v", order)
	}
	queued(t, c, 0)
}

// Who may use more places goes past those who wait for the first ones, and
// only there.
func TestSlotsOfDifferentLimits(t *testing.T) {
	c := open(t, t.TempDir())
	var held []*cache.Lock
	for range 2 {
		l, err := c.Slot(t.Context(), 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	got := make(chan int)
	take(t, c, 2, 2, got)
	queued(t, c, 1)
	third, err := c.Slot(t.Context(), 3, func() {})
	if err != nil {
		t.Fatalf("the third of three places, while another waits for one of two: %v", err)
	}
	take(t, c, 3, 3, got)
	queued(t, c, 2)
	held[0].Unlock()
	if first := <-got; first != 2 {
		t.Errorf("%d was served before the one that came first", first)
	}
	<-got
	third.Unlock()
	held[1].Unlock()
}

// waitForever stands in the queue until it is killed.
func waitForever(dir string) {
	c, err := cache.OpenAt(dir)
	if err != nil {
		panic(err)
	}
	_, err = c.Slot(context.Background(), 1, func() {})
	panic(fmt.Sprint("the place was free: ", err))
}

func TestDeadWaitersLeaveTheQueue(t *testing.T) {
	root := t.TempDir()
	c := open(t, root)
	held, err := c.Slot(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), waiterEnv+"="+root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := queued(t, c, 1)
	if pids[0] != cmd.Process.Pid {
		t.Errorf("process %d waits, want %d", pids[0], cmd.Process.Pid)
	}
	got := make(chan int)
	take(t, c, 1, 1, got)
	queued(t, c, 2)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	held.Unlock()
	select {
	case <-got:
	case <-time.After(time.Minute):
		t.Fatal("a dead waiter keeps the others from the place")
	}
	if left, _ := os.ReadDir(c.Path("locks", "queue")); len(left) > 0 {
		t.Errorf("left in the queue: %v", left)
	}
}
