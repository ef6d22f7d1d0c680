// SPDX-License-Identifier: MIT

package execute

import (
	"bytes"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"nlpeer/pkg/wire"
	"nlpeer/vm-test/fuzz"
)

// A socket of a program. Any task may use it. Its number is not given to another
// before the program is over, so that none sends by mistake on a socket of
// another protocol, which its messages are not tame for.
type socket struct {
	fd       int
	protocol int // place in fuzz.Protocols
	portID   uint32

	mu     sync.Mutex // guards the rest
	echoes map[uint32][][]byte
	buf    []byte
}

// close closes the socket itself, while others may be using it.
func (r *Runner) close(s *socket) {
	if err := unix.Dup3(r.nothing, s.fd, unix.O_CLOEXEC); err != nil {
		r.problem("closing a socket: %v", err)
	}
	r.mu.Lock()
	r.closed = append(r.closed, s.fd)
	r.mu.Unlock()
}

// do carries out one operation. Many fail, as they are meant to. In order means
// that nobody else does anything meanwhile.
func (r *Runner) do(t *task, op *fuzz.Op, inOrder bool) {
	if t.kcov != nil && t.kcov.full() && r.Sites != nil {
		r.look(t)
	}
	switch op.Kind {
	case fuzz.Open:
		r.open(op)
		return
	case fuzz.Namespace:
		if n := int(op.A) % len(r.namespaces); !t.dropped {
			if err := t.enter(n, r.namespaces); err != nil {
				r.problem("a task does not enter a namespace: %v", err)
			}
		}
		return
	case fuzz.Fresh:
		if !t.dropped {
			if err := t.fresh(); err != nil {
				r.problem("a task makes no namespace: %v", err)
			}
		}
		return
	case fuzz.Privilege:
		if err := t.privilege(op.A&1 != 0); err != nil {
			r.problem("capabilities: %v", err)
		}
		return
	case fuzz.Fail:
		t.failing = op.A
		return
	case fuzz.Close:
		if s := r.sockets[op.Socket].Swap(nil); s != nil {
			r.close(s)
		}
		return
	}
	s := r.sockets[op.Socket].Load()
	if s == nil {
		return
	}
	switch op.Kind {
	case fuzz.Connect:
		_ = unix.Connect(s.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: op.A})
	case fuzz.Option:
		_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, int(op.A), int(op.B))
	case fuzz.Buffer:
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, int(op.A))
	case fuzz.SockOpt:
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, int(op.A), int(op.B))
	case fuzz.GetOpt:
		getsockopt(s.fd, int(op.A), int(min(op.B, 4096)))
	case fuzz.Send:
		r.send(t, s, op, op.A, op.B)
	case fuzz.Call:
		if inOrder {
			r.receive(s, 1<<30, maxDatagram)
		}
		r.send(t, s, op, 0, 0)
		r.receive(s, 1<<30, maxDatagram)
	case fuzz.Receive:
		r.receive(s, int(op.A), int(min(op.B, maxDatagram)))
	}
}

func (r *Runner) open(op *fuzz.Op) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, fuzz.Protocols[op.A])
	if err != nil {
		r.problem("socket of protocol %d: %v", fuzz.Protocols[op.A], err)
		return
	}
	s := &socket{fd: fd, protocol: int(op.A), echoes: map[uint32][][]byte{}}
	if unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: op.B, Groups: op.C}) != nil {
		_ = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) // the address is taken, or not for us
	}
	if sa, err := unix.Getsockname(fd); err == nil {
		s.portID = sa.(*unix.SockaddrNetlink).Pid
	}
	if old := r.sockets[op.Socket].Swap(s); old != nil {
		r.close(old)
	}
}

// maxDatagram is room for all that the peer sends at once.
const maxDatagram = 64 << 10

func getsockopt(fd, option, room int) {
	b := make([]byte, room+1)
	size := uint32(room)
	_, _, _ = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_NETLINK, uintptr(option), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
}

func (r *Runner) send(t *task, s *socket, op *fuzz.Op, portID, groups uint32) {
	b := fuzz.Datagram(op.Messages, r.family)
	fuzz.Tame(b, s.protocol, r.family)
	sent := fuzz.Taken(b, s.protocol, r.family)
	s.mu.Lock()
	fuzz.Walk(b, func(m []byte) {
		if s.protocol == fuzz.Raw && native.Uint16(m[4:]) == wire.MsgEcho {
			seq := native.Uint32(m[8:])
			s.echoes[seq] = append(s.echoes[seq], bytes.Clone(m[wire.HeaderLen:]))
		}
	})
	s.mu.Unlock()
	err := t.send(s.fd, b, portID, groups)
	if err == nil && portID == 0 {
		r.mu.Lock()
		r.sent += sent
		r.mu.Unlock()
	}
}

// receive takes at most n datagrams, with room for size bytes each, and checks
// those that are whole and from the kernel.
func (r *Runner) receive(s *socket, n, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf == nil {
		s.buf = make([]byte, maxDatagram)
	}
	overruns := 0
	for range n {
		got, from, err := unix.Recvfrom(s.fd, s.buf[:size], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOBUFS && overruns < 8 { // lost some, as it must be able to
			overruns++
			continue
		}
		if err != nil {
			return
		}
		sa, ok := from.(*unix.SockaddrNetlink)
		if !ok || sa.Pid != 0 || got > size {
			continue
		}
		answers, err := fuzz.CheckDatagram(s.buf[:got], s.protocol, r.family)
		r.mu.Lock()
		r.answered += len(answers)
		r.mu.Unlock()
		if err != nil {
			r.problem("a datagram of %d bytes on %s: %v\n% x", got, protocolNames[s.protocol], err, s.buf[:min(got, 512)])
			continue
		}
		for _, a := range answers {
			s.checkEcho(r, a)
		}
	}
}

var protocolNames = []string{"raw", "generic netlink", "the connector", "rtnetlink"}

// checkEcho: what comes back on the raw protocol is what was sent.
func (s *socket) checkEcho(r *Runner, a fuzz.Answer) {
	if s.protocol != fuzz.Raw || a.Type != wire.MsgEcho {
		return
	}
	if a.PortID != s.portID {
		r.problem("an echo to port ID %d names %d", s.portID, a.PortID)
	}
	for _, sent := range s.echoes[a.Seq] {
		if bytes.Equal(sent, a.Body) {
			return
		}
	}
	r.problem("an echo with number %d has %d bytes that were not sent: % x", a.Seq, len(a.Body), a.Body[:min(len(a.Body), 64)])
}
