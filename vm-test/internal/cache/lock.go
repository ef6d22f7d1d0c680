// SPDX-License-Identifier: MIT

package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is an advisory lock. The kernel gives it up when its process dies.
type Lock struct {
	f *os.File
}

// Unlock releases the lock.
func (l *Lock) Unlock() {
	l.f.Close()
}

const (
	retryInterval = 50 * time.Millisecond
	noticeAfter   = 3 * time.Second
)

// Lock takes the named lock and waits for it as long as ctx allows.
// waiting is called once when that takes a while.
func (c *Cache) Lock(ctx context.Context, name string, waiting func()) (*Lock, error) {
	return await(ctx, waiting, func() (*Lock, error) {
		return TryLock(c.Path("locks", name), true)
	})
}

// ErrLocked is returned by TryLock if somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// TryLock locks a file, exclusively or together with others, or fails at once.
// An exclusive lock creates the file if it does not exist.
func TryLock(path string, exclusive bool) (*Lock, error) {
	flags, how := os.O_RDONLY, unix.LOCK_SH
	if exclusive {
		flags, how = os.O_RDWR|os.O_CREATE, unix.LOCK_EX
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == nil {
		return &Lock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// await polls, because flock in the kernel can neither be given a deadline nor
// be interrupted by a context.
func await(ctx context.Context, waiting func(), try func() (*Lock, error)) (*Lock, error) {
	start := time.Now()
	noticed := false
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		l, err := try()
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if !noticed && time.Since(start) > noticeAfter {
			noticed = true
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

// Use says that this process uses what is in the cache: it keeps UseAlone out.
func (c *Cache) Use() (*Lock, error) {
	return c.useLock(unix.LOCK_SH)
}

// UseAlone fails with ErrLocked while another process uses the cache.
func (c *Cache) UseAlone() (*Lock, error) {
	return c.useLock(unix.LOCK_EX | unix.LOCK_NB)
}

func (c *Cache) useLock(how int) (*Lock, error) {
	f, err := os.OpenFile(c.Path("locks", "use"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how)
	if err == nil {
		return &Lock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("cache: %w", err)
}
