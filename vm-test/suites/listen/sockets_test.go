// SPDX-License-Identifier: MIT

package listen_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

func TestSockets(t *testing.T) {
	for _, diag := range []bool{false, true} {
		t.Run(fmt.Sprintf("netlink_diag=%v", diag), func(t *testing.T) {
			if diag {
				vmtest.KernelModule(t, "netlink_diag")
			}
			vmtest.Module(t, "interval_ms=0")
			user := vmtest.Open(t, unix.NETLINK_USERSOCK, 5000, 1<<0|1<<31)
			route := vmtest.Open(t, unix.NETLINK_ROUTE, 4294963000, 0)
			route.Set(t, unix.NETLINK_ADD_MEMBERSHIP, 33) // the first that is in no mask
			raw := vmtest.Open(t, vmtest.NetlinkTest, 5001, 0)
			if err := unix.Connect(raw.FD, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: 42}); err != nil {
				t.Fatal(err)
			}
			// Something that waits to be read, and something that had no room.
			sender := newMate(t, unix.NETLINK_USERSOCK, 0, 0)
			for user.Line(t).Drops == 0 {
				if err := sender.multicast(1, vmtest.NewEcho(1, make([]byte, 4096)).Bytes()); err != nil && err != unix.ECONNREFUSED {
					t.Fatal(err)
				}
			}

			got := run(t, "nlctl", "sockets", "-o", "json")
			if got.code != 0 {
				t.Fatalf("%+v", got)
			}
			find := func(all []object, want object) object {
				t.Helper()
				for _, o := range all {
					if o.has(want) {
						return o
					}
				}
				t.Errorf("no %v in %v", want, all)
				return nil
			}
			all := objects(t, got.stdout)
			me := []object{{"pid": os.Getpid(), "name": strings.TrimSpace(vmtest.ReadFile(t, "/proc/self/comm"))}}
			line := user.Line(t)
			find(all, object{"type": "socket", "protocol": 2, "name": "usersock", "port": 5000, "groups": []int{1, 32},
				"receive_queue": line.Rmem, "drops": line.Drops, "references": 2, "owners": me})
			groups := []int{}
			if diag {
				groups = []int{33}
			}
			find(all, object{"name": "route", "port": uint32(4294963000), "groups": groups, "receive_queue": 0, "drops": 0, "owners": me})
			o := find(all, object{"name": "test", "protocol": 31, "port": 5001, "owners": me})
			if diag != (o["peer"] != nil) || diag && !o.has(object{"peer": 42}) {
				t.Errorf("%v", o)
			}
			find(all, object{"name": "test", "port": 0, "owners": []int{}})
			find(all, object{"name": "generic", "port": 0})
			// It lists what the kernel lists, but for its own socket, which asked.
			n := 0
			for _, o := range all {
				if !strings.Contains(fmt.Sprint(o["owners"]), "nlctl") {
					n++
				}
			}
			if want := len(vmtest.Sockets(t)); n != want {
				t.Errorf("%d sockets, want %d", n, want)
			}

			all = objects(t, run(t, "nlctl", "sockets", "-o", "json", "--protocol", "usersock").stdout)
			if find(all, object{"port": 5000}); len(all) != 2 {
				t.Errorf("%v", all)
			}
			all = objects(t, run(t, "nlctl", "sockets", "-o", "json", "--pid", fmt.Sprint(os.Getpid()), "--protocol", "31").stdout)
			if find(all, object{"port": 5001}); len(all) != 1 {
				t.Errorf("%v", all)
			}
			// Another user sees the sockets, not whose they are.
			all = objects(t, run(t, "su", "user", "-c", "nlctl sockets -o json --protocol 2").stdout)
			find(all, object{"port": 5000, "owners": []int{}, "drops": line.Drops})
			text := run(t, "nlctl", "sockets", "--protocol", "usersock").stdout
			if want := fmt.Sprintf("usersock  5000  %s/%d", me[0]["name"], os.Getpid()); !strings.Contains(text, want) ||
				!strings.HasPrefix(text, "PROTOCOL  PORT  PROCESS ") {
				t.Errorf("no %q in\n%s", want, text)
			}
			// A namespace has its own.
			if got := run(t, "unshare", "-n", "nlctl", "sockets", "--protocol", "2"); strings.Count(got.stdout, "\n") != 1 || got.code != 0 {
				t.Errorf("%+v", got)
			}
			if got := run(t, "unshare", "-n", "nlctl", "sockets", "--protocol", "2", "-n", "/proc/1/ns/net"); strings.Count(got.stdout, "\n") != 3 || got.code != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}
