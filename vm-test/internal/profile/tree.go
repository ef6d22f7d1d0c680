// SPDX-License-Identifier: MIT

package profile

// Call is a function as called along one path, in all operations together.
type Call struct {
	*Function
	// Calls is how often it was called there.
	Calls int
	// Self is how many instructions are its own, Total with those of its Callees.
	Self, Total int
	// Callees come in the order in which they were first called.
	Callees []*Call
}

func (c *Call) callee(f *Function) *Call {
	for _, k := range c.Callees {
		if k.Function == f || *k.Function == *f {
			return k
		}
	}
	k := &Call{Function: f}
	c.Callees = append(c.Callees, k)
	return k
}

func (c *Call) sum() int {
	c.Total = c.Self
	for _, k := range c.Callees {
		c.Total += k.sum()
	}
	return c.Total
}

// farJump is a change of the stack pointer, in bytes, that no function makes in
// one instruction: another stack begins there.
const farJump = 64 << 10

// frame is a call that has not returned.
type frame struct {
	call *Call
	// sp is where its return address lies. A larger stack pointer says that it
	// has returned.
	sp uint64
}

// stack is a stretch of frames on one stack. A system call, an interrupt and a
// goroutine's system stack each bring another, which lies on top until the
// stack pointer is back.
type stack struct {
	frames []frame
	sp     uint64 // the last one seen
}

// follower builds a tree of calls out of instructions. It looks at the stack
// pointer and at which function an instruction is in, and at no code: a function
// that begins with a return address on the stack was called, one that begins
// without was jumped to, in the place of the one before.
type follower struct {
	symbols *Symbols
	root    *Call
	stacks  []stack
}

// newTree adds up operations. The root stands for whoever calls the marker.
func newTree(symbols *Symbols, operations [][]Sample) *Call {
	f := &follower{symbols: symbols, root: &Call{Function: &Function{}}}
	for _, op := range operations {
		f.stacks = []stack{{sp: op[0].SP}}
		for _, s := range op {
			f.step(s)
		}
	}
	f.root.sum()
	return f.root
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

func (f *follower) step(s Sample) {
	fn, begins := f.symbols.find(s.PC)
	called := begins
	if top := f.top(); distance(top.sp, s.SP) > farJump {
		f.changeStack(s.SP)
	} else {
		called = begins && s.SP < top.sp
	}
	top := f.top()
	top.sp = s.SP
	for n := len(top.frames); n > 0 && top.frames[n-1].sp < s.SP; n-- {
		top.frames = top.frames[:n-1]
	}

	current := f.current()
	if current != nil && current.call.Kernel && !fn.Kernel {
		f.leaveKernel()
		current = f.current()
	}
	switch {
	case current == nil && begins:
		f.push(fn, s.SP)
	case current == nil:
		f.push(fn, ^uint64(0))
	case fn.Kernel && !current.call.Kernel: // the stack may still be the program's
		f.push(fn, s.SP)
	case called:
		f.push(fn, s.SP)
	case *current.call.Function != *fn:
		f.replace(fn)
	}
	f.current().call.Self++
}

func (f *follower) top() *stack { return &f.stacks[len(f.stacks)-1] }

// changeStack goes back to a stack that lies below, or puts another on top.
func (f *follower) changeStack(sp uint64) {
	for n := len(f.stacks) - 1; n > 0; n-- {
		if distance(f.stacks[n-1].sp, sp) <= farJump {
			f.stacks = f.stacks[:n]
			return
		}
	}
	f.stacks = append(f.stacks, stack{sp: sp})
}

// current is the call that is being executed, nil if it is not known.
func (f *follower) current() *frame {
	for n := len(f.stacks) - 1; n >= 0; n-- {
		if frames := f.stacks[n].frames; len(frames) > 0 {
			return &frames[len(frames)-1]
		}
	}
	return nil
}

// pop takes away the current call.
func (f *follower) pop() {
	for n := len(f.stacks) - 1; n >= 0; n-- {
		if frames := f.stacks[n].frames; len(frames) > 0 {
			f.stacks[n].frames = frames[:len(frames)-1]
			return
		}
	}
}

// leaveKernel ends what the kernel does for the program: it goes back by an
// instruction that leaves the stack as the program had it.
func (f *follower) leaveKernel() {
	for c := f.current(); c != nil && c.call.Kernel; c = f.current() {
		f.pop()
	}
}

func (f *follower) push(fn *Function, sp uint64) {
	call := f.call(fn)
	top := f.top()
	top.frames = append(top.frames, frame{call, sp})
}

// replace has a function jump to another, which will return in its place.
func (f *follower) replace(fn *Function) {
	n := len(f.stacks) - 1
	for len(f.stacks[n].frames) == 0 {
		n--
	}
	s := &f.stacks[n]
	last := len(s.frames) - 1
	sp := s.frames[last].sp
	s.frames = s.frames[:last]
	s.frames = append(s.frames, frame{f.call(fn), sp})
}

// call has the current call call a function.
func (f *follower) call(fn *Function) *Call {
	parent := f.root
	if c := f.current(); c != nil {
		parent = c.call
	}
	call := parent.callee(fn)
	call.Calls++
	return call
}
