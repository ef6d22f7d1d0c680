// SPDX-License-Identifier: MIT

package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Those who want one of the places stand in a queue: a folder of files that
// their owners keep locked, named by the time of arrival. A file that is not
// locked is a dead owner's and counts for nothing.

// ticket is one's place in the queue.
type ticket struct {
	name   string
	places int // how many places there are, as its owner was told
	pid    int
	lock   *Lock // nil for somebody else's
}

// Slot takes one of n places that all processes of this user share, first
// come, first served. Whoever was told of more places than those before him
// does not wait for the places that are none to them.
func (c *Cache) Slot(ctx context.Context, n int, waiting func()) (*Lock, error) {
	own, err := c.arrive(n)
	if err != nil {
		return nil, err
	}
	defer own.leave(c)
	return await(ctx, waiting, func() (*Lock, error) {
		ahead, err := c.queue()
		if err != nil {
			return nil, err
		}
		first := 0
		for _, t := range ahead {
			if t.name < own.name {
				first = max(first, t.places)
			}
		}
		for i := first; i < n; i++ {
			if l, err := TryLock(c.Path("locks", "slot-"+strconv.Itoa(i)), true); err == nil || !errors.Is(err, ErrLocked) {
				return l, err
			}
		}
		return nil, ErrLocked
	})
}

// Waiting returns the IDs of the processes that wait for a place, in the order
// in which they came.
func (c *Cache) Waiting() ([]int, error) {
	tickets, err := c.queue()
	var pids []int
	for _, t := range tickets {
		pids = append(pids, t.pid)
	}
	return pids, err
}

// arrive joins the queue.
func (c *Cache) arrive(places int) (ticket, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return ticket{}, err
	}
	dir, err := c.TempDir("ticket")
	if err != nil {
		return ticket{}, err
	}
	defer os.Remove(dir)
	// It is locked before the others can see it.
	temp := filepath.Join(dir, "ticket")
	l, err := TryLock(temp, true)
	if err != nil {
		return ticket{}, err
	}
	// The name is nobody else's, nor ever was: dir is not.
	t := ticket{fmt.Sprintf("%020d,%d,%d,%s", now.Nano(), places, os.Getpid(), filepath.Base(dir)), places, os.Getpid(), l}
	if err := os.MkdirAll(c.Path("locks", "queue"), 0o755); err != nil {
		return ticket{}, err
	}
	return t, os.Rename(temp, c.Path("locks", "queue", t.name))
}

func (t ticket) leave(c *Cache) {
	_ = os.Remove(c.Path("locks", "queue", t.name))
	t.lock.Unlock()
}

// queue returns those who wait, the first first, and takes away the dead.
func (c *Cache) queue() ([]ticket, error) {
	dir := c.Path("locks", "queue")
	files, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	var all []ticket
	for _, f := range files {
		l, err := TryLock(filepath.Join(dir, f.Name()), false)
		switch {
		case err == nil: // dead
			_ = os.Remove(filepath.Join(dir, f.Name()))
			l.Unlock()
			continue
		case errors.Is(err, os.ErrNotExist): // gone meanwhile
			continue
		case !errors.Is(err, ErrLocked):
			return nil, err
		}
		t := ticket{name: f.Name()}
		part := strings.Split(f.Name(), ",")
		if len(part) != 4 {
			continue
		}
		t.places, _ = strconv.Atoi(part[1])
		t.pid, _ = strconv.Atoi(part[2])
		all = append(all, t)
	}
	return all, nil
}
