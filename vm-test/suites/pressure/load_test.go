// SPDX-License-Identifier: MIT

package pressure_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// lack is whether an error is one that says that there was no memory.
func lack(err error) bool { return errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS) }

// load does what a client does, and knows what must come of it.
type load struct {
	family  uint16
	sockets map[int]*vmtest.Socket // by protocol
	seq     uint32
	table   map[string][]byte   // what must be there
	unsure  map[string][][]byte // what may be there instead, nil for nothing, as an answer was lost
	right   map[string]int      // requests that were answered well, by kind
	refused map[string]int      // those for which there was no memory
}

func newLoad(t *testing.T) *load {
	t.Helper()
	l := &load{
		family: vmtest.Nlpeer(t).ID, sockets: map[int]*vmtest.Socket{}, table: map[string][]byte{},
		unsure: map[string][][]byte{}, right: map[string]int{}, refused: map[string]int{},
	}
	for _, protocol := range []int{vmtest.NetlinkTest, unix.NETLINK_GENERIC, unix.NETLINK_ROUTE, unix.NETLINK_CONNECTOR} {
		l.open(t, protocol)
	}
	return l
}

func (l *load) open(t *testing.T, protocol int) {
	t.Helper()
	s := vmtest.Open(t, protocol, 0, 0)
	s.SetBuffer(t, 1<<20)
	if protocol != unix.NETLINK_GENERIC {
		// There is memory for an error that does not quote what there was none for.
		s.Set(t, unix.NETLINK_CAP_ACK, 1)
	}
	l.sockets[protocol] = s
}

// answer is what came of a request.
type answer struct {
	lost     bool // the socket said so, or send
	sent     bool
	messages []vmtest.Message
}

// ask sends requests in one datagram and takes all that comes. Everything but a
// dump is answered before send returns; a dump goes on while somebody reads.
func (l *load) ask(t *testing.T, protocol int, requests ...vmtest.Message) (a answer) {
	t.Helper()
	s := l.sockets[protocol]
	if err := s.TrySend(vmtest.Join(requests...)); err != nil {
		if !lack(err) {
			t.Fatalf("protocol %d: sending: %v", protocol, err)
		}
		a.lost = true
		return a
	}
	a.sent = true
	for {
		b, err := s.TryRecv(0)
		switch {
		case err == unix.ETIMEDOUT:
			return a
		case err == nil:
			a.messages = append(a.messages, vmtest.Parse(t, b)...)
		case lack(err):
			a.lost = true
		default:
			t.Fatalf("protocol %d: receiving: %v", protocol, err)
		}
	}
}

// errno is the error of a message.
func errno(m vmtest.Message) unix.Errno {
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body)))
}

// counted notes how a request ended, and says whether it was answered well. A
// request of which nothing is known must be one for which the socket said that an
// answer was lost.
func (l *load) counted(t *testing.T, kind string, a answer, well bool) bool {
	t.Helper()
	if well {
		l.right[kind]++
		return true
	}
	l.refused[kind]++
	for _, m := range a.messages {
		if m.Type == unix.NLMSG_ERROR && lack(errno(m)) {
			return false
		}
	}
	if !a.lost {
		t.Errorf("%s: no answer, no error, and nothing lost: %+.300v", kind, a.messages)
	}
	return false
}

func (l *load) next() uint32 { l.seq++; return l.seq }

// fill makes objects, until the table holds what an atomic dump is long by.
func (l *load) fill(t *testing.T) {
	t.Helper()
	for i := range 150 {
		key, value := vmtest.NumberedKey(i), bytes.Repeat([]byte{byte(i)}, 4000)
		a := l.ask(t, vmtest.NetlinkTest, vmtest.RawCarrier.Encode(0, l.next(), vmtest.NewObject(vmtest.FlagCreate, key, value)))
		if a.lost || a.messages != nil {
			t.Fatalf("object %d: %+v", i, a)
		}
		l.table[key] = value
	}
}

func (l *load) echoes(t *testing.T) {
	t.Helper()
	for _, n := range []int{vmtest.PayloadMax, 16000, 4000, 100, 0} { // the first are refused, the others make the kernel kill
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(l.seq + uint32(i))
		}
		attr := vmtest.Attr{Type: 1, Data: payload}
		for protocol, req := range map[int]vmtest.Message{
			vmtest.NetlinkTest:     vmtest.NewEcho(l.next(), payload),
			unix.NETLINK_GENERIC:   vmtest.NewGenl(l.family, vmtest.CmdEcho, l.next(), attr),
			unix.NETLINK_ROUTE:     vmtest.NewRtnlEcho(l.next(), payload),
			unix.NETLINK_CONNECTOR: vmtest.NewCn(l.next(), 0, payload).Message(),
		} {
			if protocol == unix.NETLINK_CONNECTOR && n > vmtest.CnPayloadMax {
				continue
			}
			a := l.ask(t, protocol, req)
			well := len(a.messages) == 1 && a.messages[0].Type != unix.NLMSG_ERROR && !a.lost
			if well {
				m := a.messages[0]
				if m.Seq != req.Seq || !bytes.Equal(m.Body[len(m.Body)-n:], payload) || len(m.Body) != len(req.Body) {
					t.Errorf("protocol %d: %d bytes came back as another %d", protocol, n, len(m.Body))
				}
			}
			// The connector has no way to say that there was no memory: see silent.
			if protocol == unix.NETLINK_CONNECTOR && a.sent && !a.lost && len(a.messages) == 0 {
				l.refused["silent"]++
				continue
			}
			l.counted(t, "echo", a, well)
		}
	}
}

// batch is many echoes in one datagram. Those answered are so in order, and each of
// them by itself or by an error.
func (l *load) batch(t *testing.T) {
	t.Helper()
	const n = 100
	var all []vmtest.Message
	first := l.seq + 1
	for i := range n {
		all = append(all, vmtest.NewEcho(l.next(), bytes.Repeat([]byte{byte(i)}, 60+i)))
	}
	a := l.ask(t, vmtest.NetlinkTest, all...)
	good, last := 0, -1
	for _, m := range a.messages {
		i := int(m.Seq - first)
		if i <= last || i >= n {
			t.Fatalf("answer %d of %d after %d", i, n, last)
		}
		last = i
		if m.Type != unix.NLMSG_ERROR {
			good++
			if !bytes.Equal(m.Body, all[i].Body) {
				t.Errorf("echo %d of a batch is % .20x", i, m.Body)
			}
		} else if !lack(errno(m)) {
			t.Errorf("echo %d of a batch: %v", i, errno(m))
		}
	}
	l.counted(t, "batch", a, good == n)
}

// change makes an object, changes it or deletes it, by each carrier.
func (l *load) change(t *testing.T, del bool) {
	t.Helper()
	for i, c := range vmtest.Carriers {
		key := fmt.Sprint("key", (int(l.seq)+i)%7)
		value := bytes.Repeat([]byte{byte(l.seq)}, 4000)
		r := vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagReplace, key, value)
		if del {
			r, value = vmtest.DelObject(key), nil
		}
		r.Flags |= unix.NLM_F_ACK
		a := l.ask(t, c.Protocol, c.Encode(l.family, l.next(), r))
		well, known := false, false
		for _, m := range a.messages {
			if m.Type != unix.NLMSG_ERROR {
				t.Errorf("%s: answer %+.200v", c.Name, m)
				continue
			}
			known = true
			e := errno(m)
			well = e == 0 || e == unix.ENOENT && del && (l.table[key] == nil || l.unsure[key] != nil)
			if !well && !lack(e) {
				t.Errorf("%s: %v", c.Name, e)
			}
		}
		l.counted(t, "change", a, well)
		switch {
		case well:
			l.is(key, value)
		case a.sent && !known:
			l.unsure[key] = append(l.unsure[key], value)
		}
	}
}

// is notes what a key has, nil for nothing.
func (l *load) is(key string, value []byte) {
	delete(l.unsure, key)
	delete(l.table, key)
	if value != nil {
		l.table[key] = value
	}
}

// dump reads the table by each carrier: it is what it must be, or not told to the end.
func (l *load) dump(t *testing.T) {
	t.Helper()
	for _, c := range vmtest.Carriers {
		a := l.ask(t, c.Protocol, c.Encode(l.family, l.next(), vmtest.GetObjects(0)))
		got, end := map[string][]byte{}, false
		for _, m := range a.messages {
			switch m.Type {
			case unix.NLMSG_NOOP, unix.NLMSG_ERROR:
			case unix.NLMSG_DONE:
				if end = errno(m) == 0; !end && !lack(errno(m)) {
					t.Errorf("%s: end of a dump: %v", c.Name, errno(m))
				}
			default:
				o := vmtest.ParseObject(t, vmtest.Attrs(t, m.Body[c.Header-16:]))
				if len(o.Values) != 1 || got[o.Key] != nil {
					t.Fatalf("%s: object %q with %d values, or twice", c.Name, o.Key, len(o.Values))
				}
				got[o.Key] = o.Values[0]
			}
		}
		if !l.counted(t, "dump", a, end && !a.lost) {
			// It may stand still for ever: the kernel goes on when something is read.
			l.sockets[c.Protocol].Close()
			l.open(t, c.Protocol)
			continue
		}
		for key, values := range l.unsure {
			if slices.ContainsFunc(values, func(v []byte) bool { return bytes.Equal(v, got[key]) }) {
				l.is(key, got[key])
			}
		}
		clear(l.unsure)
		if !maps.EqualFunc(got, l.table, bytes.Equal) {
			t.Errorf("%s: the table is not what it must be: %d objects, want %d", c.Name, len(got), len(l.table))
		}
	}
}

// all does everything once.
func (l *load) all(t *testing.T, turn int) {
	t.Helper()
	l.echoes(t)
	l.batch(t)
	l.change(t, turn%3 == 2)
	l.dump(t)
}

// listener hears a beacon, and is told when it has missed a tick.
type listener struct {
	*vmtest.Listener
	last                 uint64
	told                 bool // that something is lost, since the last gap
	events, gaps, losses int
}

// drain takes what waits. A number may be left out only if the socket said so.
func (l *listener) drain(t *testing.T) {
	t.Helper()
	told := false
	var gaps int
	for {
		e, err := l.TryNext(t, 0)
		if err == unix.ETIMEDOUT {
			break
		}
		if lack(err) {
			told = true
			l.losses++
			continue
		}
		if err != nil {
			t.Fatalf("listening: %v", err)
		}
		if l.events++; l.last != 0 && e.Seq != l.last+1 {
			if e.Seq < l.last {
				t.Fatalf("event %d after %d", e.Seq, l.last)
			}
			gaps++
		}
		l.last = e.Seq
	}
	if gaps > 0 && !told && !l.told {
		t.Errorf("%d gaps before event %d, and nobody said so", gaps, l.last)
	}
	l.told = told
	l.gaps += gaps
}
