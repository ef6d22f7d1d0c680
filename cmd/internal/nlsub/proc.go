// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/kernel"
)

// A proc is the source of what happens to processes. What -g chooses are kinds
// of events here: there is but one multicast group.
type proc struct{ kinds []uint32 }

func (p *proc) name() string    { return "proc" }
func (p *proc) takes() []string { return nil }

func (p *proc) groups() []string {
	var names []string
	for _, k := range kernel.ProcKinds {
		names = append(names, k.String())
	}
	return names
}

func (p *proc) choose(o *options, given func(flag string) bool) (err error) {
	if !given("groups") {
		for _, k := range kernel.ProcKinds {
			p.kinds = append(p.kinds, uint32(k))
		}
		return nil
	}
	p.kinds, err = parseNames(o.list, p.groups(), func(name string) []uint32 {
		for _, k := range kernel.ProcKinds {
			if name == k.String() {
				return []uint32{uint32(k)}
			}
		}
		return nil
	})
	if err != nil {
		return cli.Usagef("-g: %w", err)
	}
	return nil
}

func (p *proc) open(ctx context.Context, _ *options, cfg client.Config) (stream, error) {
	l, err := kernel.ListenProc(ctx, listenConfig(cfg, nil))
	if err != nil {
		return nil, err
	}
	return &procStream{l, p, newCensus(func(k uint32) string { return kernel.ProcKind(k).String() }, p.kinds...)}, nil
}

func (p *proc) explain(o *options, err error) error {
	var op *client.OpError
	isOp := errors.As(err, &op)
	switch {
	case errors.Is(err, kernel.ErrProcSilent):
		return kernel.ErrProcSilent
	case errors.Is(err, kernel.ErrProc):
		return kernel.ErrProc
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("process events exist in the initial network namespace only, and in kernels with CONFIG_PROC_EVENTS")
	case errors.Is(err, syscall.EPROTONOSUPPORT):
		return errors.New("this kernel has no connector (CONFIG_CONNECTOR), which sends process events")
	case isOp && op.Op == "listen" && errors.Is(err, os.ErrPermission) && o.target.NetNS == "":
		return errors.New("process events need CAP_NET_ADMIN; try with sudo")
	}
	return o.target.Explain(err)
}

type procStream struct {
	*kernel.Proc
	*proc
	*census
}

func (s *procStream) totals() totals {
	t := s.census.totals(s.Stats())
	t.kinds, t.lost = countsLost, s.Lost()
	// What was lost is not known by kind.
	for i := range t.perGroup {
		t.perGroup[i].kinds = countsReceived
	}
	return t
}

func (s *procStream) lines(ctx context.Context) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		lost := uint64(0) // before events that are not wanted
		for e, err := range s.Events(ctx) {
			if err == nil {
				lost += e.Lost
				if !slices.Contains(s.kinds, uint32(e.Kind)) {
					continue
				}
				e.Lost, lost = lost, 0
				s.at(uint32(e.Kind), client.OwnNSID).received++
			}
			if !yield((*procLine)(&e), err) {
				return
			}
		}
	}
}

type procLine kernel.ProcEvent

// procJSON is promised in the help. Members that are pointers depend on kind.
type procJSON struct {
	Type   string  `json:"type"`
	Kind   string  `json:"kind"`
	CPU    uint32  `json:"cpu"`
	Seq    uint32  `json:"seq"`
	Lost   uint64  `json:"lost"`
	Time   int64   `json:"monotonic_ns"`
	Unix   int64   `json:"unix_ns"`
	PID    *int32  `json:"pid,omitempty"`
	TGID   *int32  `json:"tgid,omitempty"`
	PPID   *int32  `json:"parent_pid,omitempty"`
	PTGID  *int32  `json:"parent_tgid,omitempty"`
	TPID   *int32  `json:"tracer_pid,omitempty"`
	TTGID  *int32  `json:"tracer_tgid,omitempty"`
	Real   *uint32 `json:"real,omitempty"`
	Eff    *uint32 `json:"effective,omitempty"`
	Comm   *string `json:"comm,omitempty"`
	Code   *int    `json:"exit_code,omitempty"`
	Killed *int    `json:"killed_by,omitempty"`
	Core   *bool   `json:"core_dumped,omitempty"`
	Signal *int32  `json:"parent_signal,omitempty"`
	Err    *string `json:"errno,omitempty"`
}

func (e *procLine) json(now time.Time) any {
	j := procJSON{
		Type: "proc", Kind: e.Kind.String(), CPU: e.CPU, Seq: e.Seq, Lost: e.Lost, Time: int64(e.Time), Unix: now.UnixNano(),
		PID: &e.PID, TGID: &e.TGID,
	}
	switch e.Kind {
	case kernel.ProcAck:
		name := errnoName(e.Err)
		j.PID, j.TGID, j.Err = nil, nil, &name
	case kernel.ProcFork, kernel.ProcCoredump:
		j.PPID, j.PTGID = &e.ParentPID, &e.ParentTGID
	case kernel.ProcUID, kernel.ProcGID:
		j.Real, j.Eff = &e.RealID, &e.EffectiveID
	case kernel.ProcPtrace:
		j.TPID, j.TTGID = &e.TracerPID, &e.TracerTGID
	case kernel.ProcComm:
		j.Comm = &e.Comm
	case kernel.ProcExit:
		j.PPID, j.PTGID, j.Signal = &e.ParentPID, &e.ParentTGID, &e.Signal
		core := e.Status.CoreDump()
		j.Core = &core
		if e.Status.Signaled() {
			signal := int(e.Status.Signal())
			j.Killed = &signal
		} else {
			code := e.Status.ExitStatus()
			j.Code = &code
		}
	}
	return j
}

func errnoName(err syscall.Errno) string {
	if err == 0 {
		return ""
	}
	return explain.ErrnoName(err)
}

func (e *procLine) appendText(b []byte) []byte {
	b = append(b, e.Kind.String()...)
	if e.Kind != kernel.ProcAck {
		b = appendTask(b, "pid", e.PID, e.TGID)
	}
	switch e.Kind {
	case kernel.ProcAck:
		if e.Err != 0 {
			b = fmt.Appendf(b, " error=%s", errnoName(e.Err))
		}
	case kernel.ProcFork, kernel.ProcCoredump:
		b = appendTask(b, "parent", e.ParentPID, e.ParentTGID)
	case kernel.ProcUID, kernel.ProcGID:
		b = fmt.Appendf(b, " real=%d effective=%d", e.RealID, e.EffectiveID)
	case kernel.ProcPtrace:
		b = appendTask(b, "tracer", e.TracerPID, e.TracerTGID)
	case kernel.ProcComm:
		b = fmt.Appendf(b, " name=%s", cli.Quote([]byte(e.Comm)))
	case kernel.ProcExit:
		if e.Status.Signaled() {
			b = fmt.Appendf(b, " killed=%s", unix.SignalName(e.Status.Signal()))
			if e.Status.CoreDump() {
				b = append(b, ",core"...)
			}
		} else {
			b = fmt.Appendf(b, " code=%d", e.Status.ExitStatus())
		}
		b = appendTask(b, "parent", e.ParentPID, e.ParentTGID)
		if e.Signal > 0 {
			b = fmt.Appendf(b, " signal=%s", unix.SignalName(syscall.Signal(e.Signal)))
		}
	}
	b = fmt.Appendf(b, " cpu=%d time=%d.%06d", e.CPU, e.Time/time.Second, e.Time%time.Second/time.Microsecond)
	if e.Lost > 0 {
		b = fmt.Appendf(b, " lost %d", e.Lost)
	}
	return b
}

// appendTask appends a process, and its thread if that is not the first.
func appendTask(b []byte, name string, pid, tgid int32) []byte {
	b = fmt.Appendf(b, " %s=%d", name, tgid)
	if pid != tgid {
		b = fmt.Appendf(b, "/%d", pid)
	}
	return b
}
