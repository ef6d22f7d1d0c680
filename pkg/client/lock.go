// SPDX-License-Identifier: MIT

package client

import (
	"context"
	"os"
	"sync/atomic"
	"time"
)

// A limit is how long one call may take: until its context is done, or for a
// time that counts from when it first has to wait. A call that never waits
// looks at no clock, unless it is flooded.
type limit struct {
	ctx     context.Context
	timeout time.Duration // 0 = none
	always  bool          // also if the context has a deadline

	deadline time.Time // set by the first wait, zero if there is no timeout
	vain     int       // see Conn.inVain
	idle     int       // see over
}

// start returns the deadline that the timeout sets, zero if none.
func (l *limit) start() time.Time {
	if l.timeout > 0 && l.deadline.IsZero() {
		if _, ok := l.ctx.Deadline(); !ok || l.always {
			l.deadline = time.Now().Add(l.timeout)
		}
	}
	return l.deadline
}

// over is the end of the time for a call that keeps receiving, so that no wait tells of
// it. It is told what room each datagram took. The clock is looked at, and begins to
// count, only when they took more than size since the last that answered the call.
func (l *limit) over(room, size int) error {
	if l.timeout == 0 {
		return nil
	}
	if l.idle += room; l.idle <= size {
		return nil
	}
	if d := l.start(); d.IsZero() || time.Now().Before(d) {
		return nil
	}
	return os.ErrDeadlineExceeded
}

// A lock is a mutex whose waiters can give up. Without contention it costs two
// atomic additions, which is why it is not a channel.
type lock struct {
	// held counts the holder and all who wait.
	held atomic.Int32
	// wake hands the lock to one of those who wait. It has room for one, as
	// there is one lock to hand over.
	wake chan struct{}
}

func newLock() lock { return lock{wake: make(chan struct{}, 1)} }

// acquire takes the lock. It fails with the error of the context, or with
// [os.ErrDeadlineExceeded].
func (l *lock) acquire(lim *limit) error {
	if l.held.Add(1) == 1 {
		return nil
	}
	return l.wait(lim)
}

// acquireAlways takes the lock however long it takes.
func (l *lock) acquireAlways() {
	if l.held.Add(1) != 1 {
		<-l.wake
	}
}

// release gives the lock to one of those who wait, if there are any.
func (l *lock) release() {
	if l.held.Add(-1) != 0 {
		l.wake <- struct{}{}
	}
}

func (l *lock) wait(lim *limit) error {
	var expired <-chan time.Time
	if d := lim.start(); !d.IsZero() {
		t := time.NewTimer(time.Until(d))
		defer t.Stop()
		expired = t.C
	}

	var err error
	select {
	case <-l.wake:
		return nil
	case <-lim.ctx.Done():
		err = lim.ctx.Err()
	case <-expired:
		err = os.ErrDeadlineExceeded
	}

	l.leave()
	return err
}

// leave takes back a waiter's claim. If all others have left, the lock is on
// its way to the waiter and must be passed on.
func (l *lock) leave() {
	for {
		n := l.held.Load()
		if n == 1 {
			<-l.wake
			l.release()
			return
		}
		if l.held.CompareAndSwap(n, n-1) {
			return
		}
	}
}
