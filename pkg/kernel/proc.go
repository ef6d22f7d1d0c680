// SPDX-License-Identifier: MIT

package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// The process connector's address and commands (linux/connector.h,
// linux/cn_proc.h).
const (
	procIndex  = 1 // CN_IDX_PROC, also its multicast group
	procValue  = 1 // CN_VAL_PROC
	procListen = 1 // PROC_CN_MCAST_LISTEN
	procIgnore = 2 // PROC_CN_MCAST_IGNORE
	procAll    = 0 // no kind in struct proc_input, which stands for all

	connectorLen = 20 // struct cn_msg
	procHeadLen  = 16 // struct proc_event up to its union
)

// A ProcKind is what happened to a process.
type ProcKind uint32

// The kinds (enum proc_event in linux/cn_proc.h).
const (
	ProcAck      ProcKind = 0 // somebody began or ceased to listen
	ProcFork     ProcKind = 0x1
	ProcExec     ProcKind = 0x2
	ProcUID      ProcKind = 0x4
	ProcGID      ProcKind = 0x40
	ProcSID      ProcKind = 0x80
	ProcPtrace   ProcKind = 0x100
	ProcComm     ProcKind = 0x200
	ProcCoredump ProcKind = 0x40000000
	ProcExit     ProcKind = 0x80000000
)

// ProcKinds are all kinds.
var ProcKinds = []ProcKind{ProcAck, ProcFork, ProcExec, ProcUID, ProcGID, ProcSID, ProcPtrace, ProcComm, ProcCoredump, ProcExit}

// String returns the name of a kind, such as "fork".
func (k ProcKind) String() string {
	switch k {
	case ProcAck:
		return "ack"
	case ProcFork:
		return "fork"
	case ProcExec:
		return "exec"
	case ProcUID:
		return "uid"
	case ProcGID:
		return "gid"
	case ProcSID:
		return "sid"
	case ProcPtrace:
		return "ptrace"
	case ProcComm:
		return "comm"
	case ProcCoredump:
		return "coredump"
	case ProcExit:
		return "exit"
	}
	return fmt.Sprintf("kind %#x", uint32(k))
}

// A ProcEvent is one event of the process connector. IDs are those of the initial
// PID and user namespaces. TGID is what is called a process, PID a thread of it.
type ProcEvent struct {
	// Kind is what happened. Which of the fields below have a meaning depends
	// on it.
	Kind ProcKind
	// CPU is the processor that it happened on, and Seq its number there.
	CPU, Seq uint32
	// Time is when it happened (CLOCK_MONOTONIC in clock_gettime(2)).
	Time time.Duration
	// Lost is the number of events of this processor that are missing right
	// before this one.
	Lost uint64

	// PID and TGID are whom it happened to: of a fork, the child.
	PID, TGID int32
	// ParentPID and ParentTGID: of fork, exit and coredump.
	ParentPID, ParentTGID int32
	// TracerPID and TracerTGID: of ptrace, 0 if the tracer has let go.
	TracerPID, TracerTGID int32
	// RealID and EffectiveID: of uid and gid.
	RealID, EffectiveID uint32
	// Comm is the new name: of comm.
	Comm string
	// Status is how it ended, as wait(2) has it, and Signal is what the parent
	// gets, -1 for a thread: of exit.
	Status syscall.WaitStatus
	Signal int32
	// Err is why a listener was refused, 0 if it was not: of ack.
	Err syscall.Errno

	ack uint32 // of struct cn_msg
}

// ErrProcSilent says that the process connector does not answer, which is how it
// refuses.
var ErrProcSilent = errors.New("the process connector does not answer: it serves only the initial PID and user namespaces, and CAP_NET_ADMIN")

// A Proc listens to the process connector. [ListenProc] makes one.
type Proc struct {
	*client.Listener

	seq  map[uint32]uint32 // next number of each processor
	lost atomic.Uint64
}

// ListenProc begins to listen to what happens to processes. Of cfg, what to
// listen to is set here.
//
// It needs CAP_NET_ADMIN (from Linux 6.6 on, none) and the initial network, PID
// and user namespaces. Without the privilege it fails with [os.ErrPermission],
// in other network namespaces with ECONNREFUSED, in other PID and user
// namespaces with [ErrProcSilent], and without CONFIG_PROC_EVENTS with one of
// these two.
func ListenProc(ctx context.Context, cfg client.ListenConfig) (*Proc, error) {
	cfg.Protocol, cfg.Groups, cfg.KernelOnly = unix.NETLINK_CONNECTOR, []uint32{procIndex}, true
	l, err := client.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &Proc{Listener: l, seq: make(map[uint32]uint32)}
	if err := p.begin(ctx); err != nil {
		_ = l.Close()
		return nil, err
	}
	return p, nil
}

// begin asks to be sent events, and looks for the acknowledgment. The kernel
// carries out requests at once, so what is not there then will not come.
func (p *Proc) begin(ctx context.Context) error {
	ack := rand.Uint32()
	if err := p.tell(ack, procListen); err != nil {
		return err
	}
	for {
		d, ok, err := p.Poll(ctx)
		if err != nil {
			if survived(err) {
				continue
			}
			return err
		}
		if !ok {
			return &client.OpError{Op: "listen", Err: ErrProcSilent}
		}
		e, err := ParseProc(d.Data)
		if err != nil {
			continue
		}
		p.count(&e)
		// The number in the request is not kept, but this one is, plus one.
		if e.Kind == ProcAck && e.ack == ack+1 {
			if e.Err != 0 {
				return &client.OpError{Op: "listen", Err: e.Err}
			}
			p.lost.Store(0)
			return nil
		}
	}
}

// tell sends a request: one word, or since Linux 6.6 two.
func (p *Proc) tell(ack uint32, words ...uint32) error {
	b := wire.BeginMessage(nil, wire.Header{Type: wire.MsgDone})
	for _, v := range []uint32{procIndex, procValue, 0, ack} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	b = binary.NativeEndian.AppendUint16(b, uint16(4*len(words)))
	b = binary.NativeEndian.AppendUint16(b, 0)
	for _, v := range words {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return p.Send(0, wire.EndMessage(b, 0))
}

// revive goes on after an overrun. Some kernels from 6.6 on that could deliver an
// event to nobody think that nobody listens, and make no more. They answer an
// unknown command only as long as somebody listens; if not, they count a socket
// in again whose last command was not to listen. Earlier kernels pass over both,
// as they know no requests of two words. It is false if the iteration is to end.
func (p *Proc) revive(ctx context.Context, yield func(ProcEvent, error) bool) bool {
	for {
		// The kernel drops all until what is left has been read.
		if _, _, ok := p.drain(ctx, 0, yield); !ok {
			return false
		}
		ack := rand.Uint32()
		if err := p.tell(ack, 0, procAll); err != nil {
			return yield(ProcEvent{}, err)
		}
		alive, overrun, ok := p.drain(ctx, ack+1, yield)
		switch {
		case !ok:
			return false
		case overrun && !alive:
			continue
		case alive:
			return true
		}
		if err := p.tell(0, procListen, procAll); err != nil {
			return yield(ProcEvent{}, err)
		}
		return true
	}
}

// drain yields what is there already. acked says that the answer to a request of
// ours was among it, ok is false if the iteration is to end.
func (p *Proc) drain(ctx context.Context, ack uint32, yield func(ProcEvent, error) bool) (acked, overrun, ok bool) {
	for {
		d, there, err := p.Poll(ctx)
		switch {
		case err != nil:
			overrun = true
			if !yield(ProcEvent{}, err) || !survived(err) {
				return acked, overrun, false
			}
			continue
		case !there:
			return acked, overrun, true
		}
		if e, err := ParseProc(d.Data); err == nil && ack != 0 && e.Kind == ProcAck && e.ack == ack {
			acked = true
		}
		if !p.yield(d, nil, yield) {
			return acked, overrun, false
		}
	}
}

// Close tells the kernel that nobody listens any more, and closes the socket.
func (p *Proc) Close() error {
	// Kernels before 6.6 would otherwise go on to make events for nobody.
	_ = p.tell(0, procIgnore)
	return p.Listener.Close()
}

// Lost is the number of events that are missing between those that came from the
// same processor. It is exact once each processor was heard of, but in kernels
// from 6.6 on: these may make no events for a while after an overrun.
func (p *Proc) Lost() uint64 { return p.lost.Load() }

// Events ranges over the events, as [client.Listener.Datagrams] does over
// datagrams. It goes on after an error about an event that makes no sense.
func (p *Proc) Events(ctx context.Context) iter.Seq2[ProcEvent, error] {
	return func(yield func(ProcEvent, error) bool) {
		for {
			overrun := false
			for d, err := range p.Datagrams(ctx) {
				if errors.As(err, new(*client.OverrunError)) {
					overrun = true
				}
				if !p.yield(d, err, yield) {
					return
				}
				if overrun {
					break
				}
			}
			if !overrun {
				return
			}
			if !p.revive(ctx, yield) {
				return
			}
		}
	}
}

func (p *Proc) yield(d client.Datagram, err error, yield func(ProcEvent, error) bool) bool {
	if err != nil {
		return yield(ProcEvent{}, err)
	}
	e, err := ParseProc(d.Data)
	if err != nil {
		return yield(ProcEvent{}, &client.OpError{Op: "receive", Err: err})
	}
	p.count(&e)
	return yield(e, nil)
}

// count sees what is missing before an event. Every processor numbers all that
// it sends, acknowledgments too.
func (p *Proc) count(e *ProcEvent) {
	if next, ok := p.seq[e.CPU]; ok {
		e.Lost = uint64(e.Seq - next)
		p.lost.Add(e.Lost)
	}
	p.seq[e.CPU] = e.Seq + 1
}

// survived says that an iteration goes on after err.
func survived(err error) bool {
	return errors.As(err, new(*client.OverrunError)) || errors.Is(err, client.ErrTruncated)
}

// ErrProc says that a message is no event of the process connector.
var ErrProc = errors.New("message is no event of the process connector")

// ParseProc decodes a datagram of the process connector. It returns [ErrProc] or
// an error of package wire.
func ParseProc(b []byte) (ProcEvent, error) {
	m, _, err := wire.NextMessage(b)
	if err != nil {
		return ProcEvent{}, err
	}
	b = m.Body
	u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	if len(b) < connectorLen+procHeadLen || u32(0) != procIndex || u32(4) != procValue ||
		int(binary.NativeEndian.Uint16(b[16:])) > len(b)-connectorLen {
		return ProcEvent{}, ErrProc
	}
	e := ProcEvent{Seq: u32(8), ack: u32(12)}
	b = b[connectorLen : connectorLen+int(binary.NativeEndian.Uint16(b[16:]))]
	if len(b) < procHeadLen {
		return ProcEvent{}, ErrProc
	}
	e.Kind, e.CPU, e.Time = ProcKind(u32(0)), u32(4), time.Duration(binary.NativeEndian.Uint64(b[8:]))
	b = b[procHeadLen:]

	words := map[ProcKind]int{ProcAck: 1, ProcFork: 4, ProcUID: 4, ProcGID: 4, ProcPtrace: 4, ProcComm: 6, ProcCoredump: 4, ProcExit: 6}
	need, ok := words[e.Kind]
	if !ok {
		need = 2
	}
	if len(b) < 4*need {
		return ProcEvent{}, ErrProc
	}
	i32 := func(i int) int32 { return int32(u32(4 * i)) }
	if e.Kind != ProcAck {
		e.PID, e.TGID = i32(0), i32(1)
	}
	switch e.Kind {
	case ProcAck:
		e.Err = syscall.Errno(u32(0))
	case ProcFork:
		e.ParentPID, e.ParentTGID, e.PID, e.TGID = i32(0), i32(1), i32(2), i32(3)
	case ProcUID, ProcGID:
		e.RealID, e.EffectiveID = u32(8), u32(12)
	case ProcPtrace:
		e.TracerPID, e.TracerTGID = i32(2), i32(3)
	case ProcComm:
		e.Comm = unix.ByteSliceToString(b[8:24])
	case ProcCoredump:
		e.ParentPID, e.ParentTGID = i32(2), i32(3)
	case ProcExit:
		e.Status, e.Signal, e.ParentPID, e.ParentTGID = syscall.WaitStatus(u32(8)), i32(3), i32(4), i32(5)
	}
	return e, nil
}
