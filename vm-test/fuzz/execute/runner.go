// SPDX-License-Identifier: MIT

package execute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/fuzz"
	"nlpeer/vm-test/internal/splat"
)

var native = binary.NativeEndian

// A Runner runs programs, one at a time.
type Runner struct {
	Sites *Sites // nil if the kernel has no KCOV

	family     uint16
	tasks      [fuzz.Tasks]*task
	namespaces []int
	log        func([]byte) (int, error) // a record of the kernel's, after what was there before
	nothing    int                       // /dev/null
	peers      []*peer
	sockets    [fuzz.Sockets]atomic.Pointer[socket]
	ran        int
	slab       int // KiB, when all was warm

	mu       sync.Mutex // guards the rest
	problems []string
	sent     int
	answered int
	closed   []int // numbers of sockets of the program that are no more
	cover    Cover
}

// Result is what became of a program.
type Result struct {
	Sent     int   // messages to the peer that the kernel took
	Answered int   // messages that came back
	Cover    Cover // nil without KCOV
	// Problems are what must not be: wrong answers, and what the kernel says.
	Problems []string
}

// NewRunner prepares everything. The module must be loaded.
func NewRunner() (*Runner, error) {
	r := new(Runner)
	log, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/kmsg: %w", err)
	}
	r.log = func(p []byte) (int, error) { return unix.Read(log, p) }
	if r.nothing, err = unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if _, err := unix.Seek(log, 0, unix.SEEK_END); err != nil {
		return nil, fmt.Errorf("/dev/kmsg: %w", err)
	}
	if err := quietFaults(); err != nil {
		return nil, fmt.Errorf("faults on request: %w", err)
	}
	for i := range r.tasks {
		if r.tasks[i], err = startTask(); err != nil {
			return nil, err
		}
	}
	if r.namespaces, err = makeNamespaces(r.tasks[0], fuzz.Namespaces); err != nil {
		return nil, err
	}
	r.tasks[0].namespace = 0
	for n := range r.namespaces {
		var p *peer
		r.tasks[0].run(func() {
			if err = r.tasks[0].enter(n, r.namespaces); err == nil {
				p, err = newPeer()
			}
		})
		if err != nil {
			return nil, err
		}
		r.peers = append(r.peers, p)
	}
	r.tasks[0].run(func() { err = r.tasks[0].enter(0, r.namespaces) })
	r.family = r.peers[0].family
	if err == nil && r.tasks[0].kcov != nil {
		r.Sites, err = FindSites(os.Getenv("NLVM_MODULE"))
	}
	return r, err
}

// Run runs a program from a clean state to a clean state. All but the other
// tasks' part of it happens on the thread of the first, as to wake another one
// costs more than what it does.
func (r *Runner) Run(p *fuzz.Program) (res Result) {
	r.tasks[0].run(func() { res = r.run(p) })
	return res
}

func (r *Runner) run(p *fuzz.Program) Result {
	r.problems, r.sent, r.answered, r.cover = nil, 0, 0, nil
	if r.Sites != nil {
		r.cover = r.Sites.NewCover()
		for _, t := range r.tasks {
			t.kcov.reset()
		}
	}
	if p.Race {
		r.race(p)
	} else {
		r.inOrder(p)
	}
	if r.Sites != nil { // before the cleaning up, which is always the same
		for _, t := range r.tasks {
			r.look(t)
		}
	}
	r.finish()
	return Result{r.sent, r.answered, r.cover, r.problems}
}

// look adds what a task has reached to the rest.
func (r *Runner) look(t *task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sites.add(r.cover, t.kcov.pcs())
	t.kcov.reset()
}

func (r *Runner) inOrder(p *fuzz.Program) {
	for i := 0; i < len(p.Ops); {
		next := i
		for next < len(p.Ops) && p.Ops[next].Task == p.Ops[i].Task {
			next++
		}
		ops := p.Ops[i:next]
		t := r.tasks[ops[0].Task]
		r.on(t, func() {
			for i := range ops {
				r.do(t, &ops[i], true)
			}
		})
		i = next
	}
}

// on lets a task do something, for a caller on the first one's thread.
func (r *Runner) on(t *task, f func()) {
	if t == r.tasks[0] {
		f()
		return
	}
	t.run(f)
}

// race lets all tasks begin at once, each with its own operations.
func (r *Runner) race(p *fuzz.Program) {
	var all [fuzz.Tasks][]*fuzz.Op
	for i := range p.Ops {
		all[p.Ops[i].Task] = append(all[p.Ops[i].Task], &p.Ops[i])
	}
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	first := func() {}
	for n, ops := range all {
		if len(ops) == 0 {
			continue
		}
		own := func() {
			for _, op := range ops {
				r.do(r.tasks[n], op, false)
			}
		}
		if n == 0 {
			first = own
			continue
		}
		ready.Add(1)
		done.Add(1)
		r.tasks[n].do <- func() {
			defer done.Done()
			ready.Done()
			<-begin
			own()
		}
	}
	ready.Wait()
	close(begin)
	first()
	done.Wait()
}

// finish closes what is open, puts the namespaces in order, and asks whether
// all is well.
func (r *Runner) finish() {
	for i := range r.sockets {
		if s := r.sockets[i].Swap(nil); s != nil {
			r.close(s)
		}
	}
	for _, fd := range r.closed {
		unix.Close(fd)
	}
	r.closed = r.closed[:0]
	moved := false
	for _, t := range r.tasks {
		t.failing = 0
		if t.namespace == 0 && !t.dropped {
			continue
		}
		moved = true
		r.on(t, func() {
			if err := errors.Join(t.privilege(true), t.enter(0, r.namespaces)); err != nil {
				r.problem("a task does not come home: %v", err)
			}
		})
	}
	r.ran++
	thorough := r.ran%16 == 0
	for n, p := range r.peers {
		if n == 0 || moved || thorough {
			if err := p.clean(thorough); err != nil {
				r.problem("the peer in namespace %d afterwards: %v", n, err)
			}
		}
	}
	if r.ran%64 == 0 {
		r.weigh()
	}
	r.readLog()
}

func (r *Runner) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// slabPlay is how much the kernel's small memory may grow, KASAN's quarantine
// and what waits for RCU included.
const slabPlay = 64 << 10 // KiB

// weigh compares the kernel's memory with what it was when all was warm.
func (r *Runner) weigh() {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		r.problem("%v", err)
		return
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "SUnreclaim: %d kB", &kib); n != 1 {
			continue
		}
		if r.slab == 0 {
			r.slab = kib
		}
		if kib > r.slab+slabPlay {
			r.problem("the kernel's memory grew from %d to %d KiB", r.slab, kib)
		}
	}
}

// readLog takes what the kernel logged since the last time. A complaint is
// waited for to its end.
func (r *Runner) readLog() {
	var text []string
	buf := make([]byte, 8<<10)
	quiet, lost := 0, false
	for {
		n, err := r.log(buf)
		switch {
		case err == unix.EPIPE: // more than the buffer holds
			lost = true
			continue
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && len(text) > 0 && quiet <= 20:
			quiet++
			time.Sleep(10 * time.Millisecond) // the rest is on its way
			continue
		case err != nil:
			if len(text) > 0 {
				r.problem("the kernel complains:\n%s", strings.Join(text, "\n"))
			}
			if lost {
				r.problem("the kernel logged faster than its log could be read: complaints may be among what is lost")
			}
			if err != unix.EAGAIN {
				r.problem("the kernel's log cannot be read: %v", err)
			}
			return
		}
		rec, ok := splat.Parse(string(buf[:n]))
		if ok && (len(text) > 0 || splat.Is(rec)) && len(text) < 200 {
			text = append(text, rec.String())
		}
	}
}
