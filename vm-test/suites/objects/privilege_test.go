// SPDX-License-Identifier: MIT

package objects_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const handed = "NLPEER_HANDED" // sockets above standard error are to be used

// alone is a testing.TB for a child, where there is no test. What fails there
// ends it.
type alone struct{ testing.TB }

func (alone) Helper()                        {}
func (alone) Cleanup(func())                 {}
func (alone) Fatal(a ...any)                 { panic(fmt.Sprint(a...)) }
func (alone) Fatalf(f string, a ...any)      { panic(fmt.Sprintf(f, a...)) }
func (a alone) Errorf(f string, args ...any) { a.Fatalf(f, args...) }

// attempts is what a child tries over each carrier, in this order.
var attempts = []string{"get", "dump", "new", "change", "del", "del many", "atomic dump", "new without an address"}

var tryObjects = vmtest.Register("try objects", func() (string, error) {
	t := alone{}
	var out strings.Builder
	for i, c := range vmtest.Carriers {
		var tb *vmtest.Table
		if os.Getenv(handed) != "" {
			fd := 3 + i
			sa, err := unix.Getsockname(fd)
			if err != nil {
				return "", err
			}
			tb = vmtest.NewTable(t, c, &vmtest.Socket{FD: fd, PortID: sa.(*unix.SockaddrNetlink).Pid})
		} else {
			tb = vmtest.OpenTable(t, c)
		}
		ask := func(r vmtest.ObjectRequest) string {
			_, ack := tb.Ask(t, r)
			return say(ack.Errno, ack.Text)
		}
		dump := func(flags uint16) string {
			d := tb.Begin(t, vmtest.GetObjects(flags))
			d.Finish(t)
			return say(d.Errno, d.Text)
		}
		for _, a := range attempts {
			var result string
			switch a {
			case "get":
				result = ask(vmtest.GetObject("there"))
			case "dump":
				result = dump(0)
			case "new":
				result = ask(vmtest.NewObject(cre|exc, "new"))
			case "change":
				result = ask(vmtest.NewObject(app, "new"))
			case "del":
				result = ask(vmtest.DelObject("new"))
			case "del many":
				result = ask(vmtest.DelObjects("new"))
			case "atomic dump":
				result = dump(vmtest.FlagAtomic)
			case "new without an address":
				// The opener of the socket must have the privilege too, as
				// nobody says by an address that it means the kernel.
				r := vmtest.NewObject(cre|rep, "connected")
				r.Flags |= unix.NLM_F_ACK
				req := tb.Encode(r)
				if err := unix.Connect(tb.FD, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
					return "", err
				}
				if _, err := unix.Write(tb.FD, req.Bytes()); err != nil {
					return "", err
				}
				ack := tb.RecvAck(t, req)
				result = say(ack.Errno, ack.Text)
			}
			fmt.Fprintf(&out, "%s %s: %s\n", c.Name, a, result)
		}
	}
	return out.String(), nil
})

func say(errno unix.Errno, text string) string {
	s := "ok"
	if errno != 0 {
		s = unix.ErrnoName(errno)
	}
	if text != "" {
		s += " " + text
	}
	return s
}

// openAs opens a socket for each carrier as another user.
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
		for _, c := range vmtest.Carriers {
			s, err := vmtest.TryOpen(c.Protocol, 0, 0)
			r.err = errors.Join(r.err, err)
			if err == nil {
				r.files = append(r.files, os.NewFile(uintptr(s.FD), "netlink"))
			}
		}
		done <- r
	}()
	r := <-done
	t.Cleanup(func() {
		for _, f := range r.files {
			f.Close()
		}
	})
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.files
}

func TestWhoMayWhat(t *testing.T) {
	vmtest.Module(t, "interval_ms=0")

	const (
		text = "EPERM nlpeer: this needs CAP_NET_ADMIN"
		bare = "EPERM" // of the cores of generic netlink and rtnetlink
	)
	admin := []string{"ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok"}
	// By carrier, in the order of attempts.
	all := map[string][]string{"raw": admin, "genl": admin, "rtnl": admin}
	read := map[string][]string{
		"raw":  {"ok", "ok", text, text, text, text, text, text},
		"genl": {"ok", "ok", bare, bare, bare, bare, text, bare},
		"rtnl": {"ok", "ok", bare, bare, bare, bare, text, bare},
	}
	// An address names the kernel as the one that is meant; without it, the
	// opener's privilege counts as well.
	tricked := map[string][]string{
		"raw":  append(admin[:7:7], text),
		"genl": append(admin[:7:7], bare),
		"rtnl": append(admin[:7:7], bare),
	}
	elsewhere := append([]string{"ENOENT " + textUnknown}, admin[1:]...)
	for _, tt := range []struct {
		who string
		vmtest.Who
		opener int // whose sockets it uses, -1 for its own
		want   map[string][]string
		made   bool // "connected" is there afterwards
	}{
		{"root", vmtest.Who{}, -1, all, true},
		{"nobody", vmtest.Who{UID: vmtest.Nobody}, -1, read, false},
		{"root of a user namespace, in its network", vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, -1,
			map[string][]string{"raw": elsewhere, "genl": elsewhere, "rtnl": elsewhere}, false},
		{"root of a user namespace, in the initial network", vmtest.Who{UID: vmtest.Nobody, UserNS: true}, -1, read, false},
		{"mapped root of a user namespace, in the initial network", vmtest.Who{UserNS: true}, -1, read, false},
		{"nobody with root's sockets", vmtest.Who{UID: vmtest.Nobody}, 0, read, false},
		{"root of a user namespace with root's sockets", vmtest.Who{UID: vmtest.Nobody, UserNS: true, NetNS: true}, 0, read, false},
		{"root with nobody's sockets", vmtest.Who{}, vmtest.Nobody, tricked, false},
	} {
		t.Run(tt.who, func(t *testing.T) {
			tb := vmtest.OpenTable(t, vmtest.RawCarrier)
			tb.Must(t, vmtest.DelObjects(""))
			tb.Must(t, vmtest.NewObject(cre, "there"))
			who := tt.Who
			t.Setenv(handed, "")
			if tt.opener >= 0 {
				t.Setenv(handed, "yes")
				who.Files = openAs(t, tt.opener)
			}
			out, err := vmtest.Run(t, tryObjects, who)
			if err != nil {
				t.Fatal(err)
			}
			var want strings.Builder
			for _, c := range vmtest.Carriers {
				for i, a := range attempts {
					fmt.Fprintf(&want, "%s %s: %s\n", c.Name, a, tt.want[c.Name][i])
				}
			}
			got, lines := strings.Split(out, "\n"), strings.Split(want.String(), "\n")
			if len(got) != len(lines) {
				t.Fatalf("%d results, want %d: %s", len(got), len(lines), out)
			}
			for i := range lines {
				if got[i] != lines[i] {
					t.Errorf("%s; want %s", got[i], lines[i])
				}
			}
			left := "there"
			if tt.made {
				left = "connected there"
			}
			if k := keys(tb.All(t)); k != left {
				t.Errorf("left in the initial namespace: %q, want %q", k, left)
			}
		})
	}
}
