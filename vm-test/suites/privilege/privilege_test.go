// SPDX-License-Identifier: MIT

// Package privilege_test tries every operation as everybody: who may what is
// one table of errnos.
package privilege_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// The operations, in the order in which a child tries them.
const (
	rawEcho      = "raw echo"
	genlEcho     = "genl echo"
	statsGet     = "stats-get"
	beaconGet    = "beacon-get"
	beaconSet    = "beacon-set"
	beaconSetBad = "beacon-set out of range"
	beaconConn   = "beacon-set without an address" // the opener of the socket must have the privilege too
	joinBind     = "join raw groups at bind"
	joinRaw      = "join a raw group"
	joinGenl     = "join the generic group"
	userMulti    = "multicast to a raw group"
	userUni      = "send to another's port"
)

var operations = []string{
	rawEcho, genlEcho, statsGet, beaconGet, beaconSet, beaconSetBad, beaconConn,
	joinBind, joinRaw, joinGenl, userMulti, userUni,
}

// The witness of the test, in the initial namespace: a port and a group.
const (
	witnessPort  = 4242
	witnessGroup = 9
)

// try is a child: it tries everything and tells one errno a line. Two files
// above standard error are sockets of the raw and the generic protocol to use;
// without, it opens its own.
var try = vmtest.Register("try everything", func() (string, error) {
	family, err := familyID()
	if err != nil {
		return "", err
	}
	raw, genl := 3, 4
	if os.Getenv(handed) == "" {
		if raw, err = socket(vmtest.NetlinkTest); err != nil {
			return "", err
		}
		if genl, err = socket(unix.NETLINK_GENERIC); err != nil {
			return "", err
		}
	}
	set := func(interval uint32) []byte {
		m := vmtest.NewGenl(family.id, vmtest.CmdBeaconSet, 5,
			vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(interval)})
		m.Flags |= unix.NLM_F_ACK
		return m.Bytes()
	}
	results := map[string]error{
		rawEcho:      ask(raw, vmtest.NewEcho(1, []byte("who am I")).Bytes()),
		genlEcho:     ask(genl, vmtest.NewGenl(family.id, vmtest.CmdEcho, 2, vmtest.Attr{Type: 1, Data: []byte("who")}).Bytes()),
		statsGet:     ask(genl, vmtest.NewGenl(family.id, vmtest.CmdStatsGet, 3).Bytes()),
		beaconGet:    ask(genl, vmtest.NewGenl(family.id, vmtest.CmdBeaconGet, 4).Bytes()),
		beaconSet:    ask(genl, set(1234)),
		beaconSetBad: ask(genl, set(3600001)),
		beaconConn:   askConnected(genl, set(1234)),
		joinRaw:      unix.SetsockoptInt(raw, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, 32),
		joinGenl:     unix.SetsockoptInt(genl, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(family.beacon)),
		userMulti:    send(raw, "multicast", &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (witnessGroup - 1)}),
		userUni:      send(raw, "unicast", &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: witnessPort}),
	}
	s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0xffffffff)
	if err == nil {
		s.Close()
	}
	results[joinBind] = err

	var out strings.Builder
	for _, op := range operations {
		fmt.Fprintf(&out, "%s: %s\n", op, name(results[op]))
	}
	return out.String(), nil
})

const handed = "NLPEER_HANDED"

func name(err error) string {
	if errno, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(errno)
	}
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func socket(protocol int) (int, error) {
	return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
}

func send(fd int, text string, to unix.Sockaddr) error {
	return unix.Sendto(fd, vmtest.NewEcho(9, []byte(text)).Bytes(), unix.MSG_DONTWAIT, to)
}

// ask sends to the kernel and returns the errno in its answer, nil for a reply.
func ask(fd int, b []byte) error {
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	return answer(fd, b)
}

func askConnected(fd int, b []byte) error {
	if err := unix.Connect(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, b); err != nil {
		return err
	}
	return answer(fd, b)
}

func answer(fd int, request []byte) error {
	buf := make([]byte, 4096)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return fmt.Errorf("no answer: %w", err)
		}
		if !bytes.Equal(buf[8:12], request[8:12]) {
			continue // the acknowledgment of something else
		}
		if binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR || n < 20 {
			return nil
		}
		if e := -int32(binary.NativeEndian.Uint32(buf[16:])); e != 0 {
			return unix.Errno(e)
		}
		return nil
	}
}

type family struct {
	id     uint16
	beacon uint32
}

// familyID reads what the parent found out.
func familyID() (f family, err error) {
	_, err = fmt.Sscan(os.Getenv("NLPEER_FAMILY"), &f.id, &f.beacon)
	return f, err
}

// openAs opens both sockets as another user of this process's namespaces.
func openAs(t *testing.T, uid int) []*os.File {
	t.Helper()
	type result struct {
		files []*os.File
		err   error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with its user
		var r result
		if uid != 0 {
			// Of this thread alone, which is not what unix.Setresuid does.
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				done <- result{err: errno}
				return
			}
		}
		for _, protocol := range []int{vmtest.NetlinkTest, unix.NETLINK_GENERIC} {
			fd, err := socket(protocol)
			r.err = errors.Join(r.err, err)
			r.files = append(r.files, os.NewFile(uintptr(fd), "netlink"))
		}
		done <- r
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() {
		for _, f := range r.files {
			f.Close()
		}
	})
	return r.files
}

func TestWhoMayWhat(t *testing.T) {
	whoMayWhat(t, false)
}

// The parameter user_send lets everybody send to others, and lets nobody do
// anything else.
func TestWhoMayWhatWithUserSend(t *testing.T) {
	whoMayWhat(t, true)
}

func whoMayWhat(t *testing.T, userSend bool) {
	if userSend {
		vmtest.Module(t, "interval_ms=0", "user_send=1")
	} else {
		vmtest.Module(t, "interval_ms=0")
	}
	f := vmtest.Nlpeer(t)
	t.Setenv("NLPEER_FAMILY", fmt.Sprint(f.ID, f.Groups["beacon"]))

	type table map[string]string
	// What nobody may and anybody may; the rows below name the differences.
	unprivileged := table{
		rawEcho: "ok", genlEcho: "ok", statsGet: "ok", beaconGet: "ok",
		beaconSet: "EPERM", beaconSetBad: "EPERM", beaconConn: "EPERM",
		joinBind: "ok", joinRaw: "ok", joinGenl: "ok",
		userMulti: "EPERM", userUni: "EPERM",
	}
	with := func(t table, more table) table {
		n := table{}
		for _, op := range operations {
			n[op] = t[op]
			if e, ok := more[op]; ok {
				n[op] = e
			}
		}
		return n
	}
	privileged := with(unprivileged, table{
		beaconSet: "ok", beaconSetBad: "ERANGE", beaconConn: "ok",
		userMulti: "ok", userUni: "ok",
	})

	for _, tt := range []struct {
		who string
		vmtest.Who
		opener  int // whose sockets it uses, -1 for its own
		want    table
		settles uint32 // interval of the initial namespace afterwards
		heard   string // by the witness
	}{
		{"root", vmtest.Who{}, -1, privileged, 1234, "multicast unicast"},
		{"nobody", vmtest.Who{UID: vmtest.Nobody}, -1, unprivileged, 0, ""},
		// Namespaces of its own: it may all there, and nobody listens.
		{"root of a user namespace, in its network", vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, -1,
			with(privileged, table{userUni: "ECONNREFUSED"}), 0, ""},
		{"root of a user namespace, in the initial network", vmtest.Who{UID: vmtest.Nobody, UserNS: true}, -1,
			unprivileged, 0, ""},
		{"mapped root of a user namespace, in the initial network", vmtest.Who{UserNS: true}, -1,
			unprivileged, 0, ""},
		// A socket lends nobody its opener's privilege.
		{"nobody with root's sockets", vmtest.Who{UID: vmtest.Nobody}, 0, unprivileged, 0, ""},
		{"root of a user namespace with root's sockets", vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, 0,
			unprivileged, 0, ""},
		// Nor may a socket of nobody's be used to trick root: only where root
		// names the receiver itself does its privilege count.
		{"root with nobody's sockets", vmtest.Who{}, vmtest.Nobody,
			with(privileged, table{beaconConn: "EPERM"}), 1234, "multicast unicast"},
	} {
		if userSend && tt.want[userMulti] == "EPERM" {
			tt.want = with(tt.want, table{userMulti: "ok", userUni: "ok"})
			tt.heard = "multicast unicast"
		}
		t.Run(tt.who, func(t *testing.T) {
			c := vmtest.OpenControl(t)
			c.Set(t, vmtest.Attr{Type: vmtest.BeaconInterval, Data: vmtest.U32(0)})
			witness := vmtest.Open(t, vmtest.NetlinkTest, witnessPort, 1<<(witnessGroup-1))

			who := tt.Who
			t.Setenv(handed, "")
			if tt.opener >= 0 {
				t.Setenv(handed, "yes")
				who.Files = openAs(t, tt.opener)
			}
			out, err := vmtest.Run(t, try, who)
			if err != nil {
				t.Fatal(err)
			}
			got := table{}
			for line := range strings.Lines(out) {
				op, result, _ := strings.Cut(strings.TrimSpace(line), ": ")
				got[op] = result
			}
			for _, op := range operations {
				if got[op] != tt.want[op] {
					t.Errorf("%s: %s, want %s", op, got[op], tt.want[op])
				}
			}
			if len(got) != len(operations) {
				t.Errorf("%d results, want %d: %s", len(got), len(operations), out)
			}
			if b := c.Beacon(t); b.Interval != tt.settles {
				t.Errorf("interval of the initial namespace is %d afterwards, want %d", b.Interval, tt.settles)
			}
			if heard := strings.Join(hear(t, witness), " "); heard != tt.heard {
				t.Errorf("the witness heard %q, want %q", heard, tt.heard)
			}
		})
	}
}

// hear takes what came to a socket from user space, sorted.
func hear(t *testing.T, s *vmtest.Socket) []string {
	t.Helper()
	var all []string
	buf := make([]byte, 4096)
	for {
		n, from, err := unix.Recvfrom(s.FD, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			slices.Sort(all)
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if from.(*unix.SockaddrNetlink).Pid == 0 {
			t.Errorf("an answer of the kernel came to the witness: % x", buf[:n])
			continue
		}
		for _, m := range vmtest.Parse(t, bytes.Clone(buf[:n])) {
			all = append(all, string(m.Body))
		}
	}
}
