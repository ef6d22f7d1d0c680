// SPDX-License-Identifier: MIT

package bounds_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// hoarder is somebody without privilege who makes the kernel keep as much as it
// will: root of a user namespace, he is master of network namespaces of his.
type hoarder struct {
	r       *rand.Rand
	family  uint16
	groups  []int
	worlds  []*world
	sockets []*vmtest.Socket // not read, most of them
	count   map[string]int   // of each thing he tried
}

// world is a network namespace, with the socket that keeps it.
type world struct {
	ns    *os.File
	ctl   *vmtest.Socket // of generic netlink
	raw   *vmtest.Socket
	named int // objects made so far
}

const (
	descriptors = 200 // that he may have open: RLIMIT_NOFILE
	spare       = 30  // of them are for other things than hoarding
)

// hoard is a child. It does what it can for as long as it is told, and says at
// last what that was.
var hoard = vmtest.Register("hoard", func() (string, error) {
	ms, err := strconv.Atoi(os.Getenv("NLPEER_HOARD"))
	if err != nil {
		return "", err
	}
	h := &hoarder{r: rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(ms))), count: map[string]int{}, groups: make([]int, 2)}
	if _, err := fmt.Sscan(os.Getenv("NLPEER_FAMILY"), &h.family, &h.groups[0], &h.groups[1]); err != nil {
		return "", err
	}
	limit := unix.Rlimit{Cur: descriptors, Max: descriptors}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	tricks := []func(){h.world, h.fill, h.fill, h.fill, h.churn, h.snapshot, h.snapshot, h.snapshot, h.halfDump, h.deaf, h.deaf, h.batch, h.subscribe, h.burst, h.forget}
	// Those of before count until the kernel has cleaned up behind them, which takes
	// it a while.
	for start := time.Now(); len(h.worlds) == 0; unix.Poll(nil, 20) {
		if h.world(); time.Since(start) > 10*time.Second {
			return "", fmt.Errorf("no network namespace: %v", h.count)
		}
	}
	end := time.Now().Add(time.Duration(ms) * time.Millisecond)
	for round := 0; round < 15 || time.Now().Before(end); round++ {
		h.r.Shuffle(len(tricks), func(i, k int) { tricks[i], tricks[k] = tricks[k], tricks[i] })
		for _, trick := range tricks {
			trick()
		}
	}
	var all []string
	for what, n := range h.count {
		all = append(all, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(all)
	if err := ready(); err != nil { // and keeps it all until it may go
		return "", err
	}
	return strings.Join(all, ", "), nil
})

// ready says so to the parent, and waits until it is told to go.
func ready() error {
	if _, err := unix.Write(3, []byte("!")); err != nil {
		return err
	}
	_, err := unix.Read(0, make([]byte, 1))
	for err == unix.EINTR { // by a signal of the Go runtime's
		_, err = unix.Read(0, make([]byte, 1))
	}
	return err
}

// did counts what was tried, and what came of it.
func (h *hoarder) did(what string, err error) {
	if errno, ok := err.(unix.Errno); ok {
		what += " " + unix.ErrnoName(errno)
	} else if err != nil {
		what += " failed"
	}
	h.count[what]++
}

// world makes a network namespace and moves there. What he opens next is in it.
func (h *hoarder) world() {
	err := unix.Unshare(unix.CLONE_NEWNET)
	h.did("namespaces", err)
	if err != nil {
		if w := h.any(); w != nil {
			unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET)
		}
		return
	}
	w := &world{}
	if w.ns, err = os.Open("/proc/thread-self/ns/net"); err == nil {
		w.ctl, err = vmtest.TryOpen(unix.NETLINK_GENERIC, 0, 0)
	}
	if err == nil {
		w.raw, err = vmtest.TryOpen(vmtest.NetlinkTest, 0, 0)
	}
	if err != nil {
		h.did("worlds", err)
		return
	}
	h.worlds = append(h.worlds, w)
	h.tell(w.ctl, vmtest.NewGenl(h.family, vmtest.CmdBeaconSet, 1,
		vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(20)}, vmtest.Attr{Type: vmtest.BeaconSize, Data: vmtest.U32(vmtest.DataMax)},
		vmtest.Attr{Type: vmtest.BeaconGroups, Data: vmtest.U32(7)}))
}

func (h *hoarder) any() *world {
	if len(h.worlds) == 0 {
		return nil
	}
	return h.worlds[h.r.IntN(len(h.worlds))]
}

// tell sends without an interest in the answer.
func (h *hoarder) tell(s *vmtest.Socket, all ...vmtest.Message) {
	s.TrySend(vmtest.Join(all...))
	for {
		if _, _, err := unix.Recvfrom(s.FD, nil, unix.MSG_DONTWAIT); err != nil && err != unix.ENOBUFS {
			return
		}
	}
}

func (h *hoarder) values() [][]byte {
	var all [][]byte
	for range 1 + h.r.IntN(4) {
		all = append(all, make([]byte, h.r.IntN(vmtest.DataMax)))
	}
	return all
}

// fill makes objects until there is no room.
func (h *hoarder) fill() {
	w := h.any()
	var all []vmtest.Message
	for range 12 {
		w.named++
		all = append(all, vmtest.RawCarrier.Encode(0, 1, vmtest.NewObject(vmtest.FlagCreate|vmtest.FlagReplace, fmt.Sprint(w.named%2000), h.values()...)))
	}
	h.tell(w.raw, all...)
	h.did("objects", nil)
}

// churn changes objects, so that others than those of the table are remembered.
func (h *hoarder) churn() {
	w := h.any()
	var all []vmtest.Message
	for range 20 {
		r := vmtest.NewObject([]uint16{vmtest.FlagReplace, vmtest.FlagAppend}[h.r.IntN(2)], fmt.Sprint(h.r.IntN(w.named+1)), h.values()...)
		if h.r.IntN(4) == 0 {
			r = vmtest.DelObjects(fmt.Sprint(h.r.IntN(100)))
		}
		all = append(all, vmtest.RawCarrier.Encode(0, 1, r))
	}
	h.tell(w.raw, all...)
	h.did("changes", nil)
}

// keep opens a socket in a namespace and keeps it, at the expense of another if
// there are too many.
func (h *hoarder) keep(w *world, protocol int, groups uint32) *vmtest.Socket {
	if err := unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		h.did("setns", err)
		return nil
	}
	if len(h.sockets) >= descriptors-spare-3*len(h.worlds) {
		i := h.r.IntN(len(h.sockets))
		h.sockets[i].Close()
		h.sockets = slices.Delete(h.sockets, i, i+1)
	}
	s, err := vmtest.TryOpen(protocol, 0, groups)
	if err != nil {
		h.did("sockets", err)
		return nil
	}
	unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, []int{1, 8192, 1 << 30}[h.r.IntN(3)])
	h.sockets = append(h.sockets, s)
	return s
}

var carriers = []*vmtest.Carrier{vmtest.RawCarrier, vmtest.GenlCarrier, vmtest.RtnlCarrier}

func (h *hoarder) dump(flags uint16, what string) {
	w, c := h.any(), carriers[h.r.IntN(3)]
	s := h.keep(w, c.Protocol, 0)
	if s == nil {
		return
	}
	err := s.TrySend(c.Encode(h.family, 1, vmtest.GetObjects(flags)).Bytes())
	for range h.r.IntN(3) {
		unix.Recvfrom(s.FD, nil, unix.MSG_DONTWAIT)
	}
	h.did(what, err)
}

// snapshot begins an atomic dump and leaves it.
func (h *hoarder) snapshot() { h.dump(vmtest.FlagAtomic, "atomic dumps") }

// halfDump reads a little of a dump, if any.
func (h *hoarder) halfDump() { h.dump(0, "half dumps") }

// deaf asks for echoes, as long as can be, and reads none.
func (h *hoarder) deaf() {
	w := h.any()
	protocol := []int{vmtest.NetlinkTest, unix.NETLINK_GENERIC, unix.NETLINK_ROUTE}[h.r.IntN(3)]
	s := h.keep(w, protocol, 0)
	if s == nil {
		return
	}
	payload := make([]byte, vmtest.PayloadMax-h.r.IntN(2)*h.r.IntN(vmtest.PayloadMax))
	m := vmtest.NewEcho(1, payload)
	switch protocol {
	case unix.NETLINK_GENERIC:
		m = vmtest.NewGenl(h.family, vmtest.CmdEcho, 1, vmtest.Attr{Type: 1, Data: payload})
	case unix.NETLINK_ROUTE:
		m = vmtest.NewRtnlEcho(1, payload)
	}
	var err error
	for range 15 {
		err = s.TrySend(m.Bytes())
	}
	h.did("echoes unread", err)
}

// batch sends as much as a datagram holds.
func (h *hoarder) batch() {
	w := h.any()
	s := h.keep(w, vmtest.NetlinkTest, 0)
	if s == nil {
		return
	}
	unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<30)
	size := 1 + h.r.IntN(3000)
	err := s.TrySend(vmtest.Join(slices.Repeat([]vmtest.Message{vmtest.NewEcho(1, make([]byte, size))}, 100_000/(size+16))...))
	h.did("batches unread", err)
}

// subscribe joins all groups and does not listen.
func (h *hoarder) subscribe() {
	w := h.any()
	if h.r.IntN(2) == 0 {
		h.keep(w, vmtest.NetlinkTest, 0xffffffff)
	} else if s := h.keep(w, unix.NETLINK_GENERIC, 0); s != nil {
		for _, g := range h.groups {
			unix.SetsockoptInt(s.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g)
		}
	}
	h.did("subscriptions", nil)
}

func (h *hoarder) burst() {
	h.tell(h.any().ctl, vmtest.NewGenl(h.family, vmtest.CmdBeaconSet, 1, vmtest.Attr{Type: vmtest.BeaconBurst, Data: vmtest.U32(10)}))
	h.did("bursts", nil)
}

// forget lets go of something, so that something else finds room.
func (h *hoarder) forget() {
	if n := len(h.sockets); n > 0 && h.r.IntN(3) == 0 {
		h.sockets[n-1].Close()
		h.sockets = h.sockets[:n-1]
	}
	h.did("closings", nil)
}
