// SPDX-License-Identifier: MIT

// Package lifecycle_test loads and unloads the module: with good parameters and
// bad ones, where its place is taken, and while it is in use. What fails must
// leave nothing behind.
package lifecycle_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// unloaded begins a test without the module, which is gone after it as well.
func unloaded(t *testing.T) {
	t.Helper()
	unload := func() {
		if vmtest.Loaded() {
			vmtest.Unload(t)
		}
	}
	unload()
	t.Cleanup(unload)
}

func insmod(t *testing.T, params ...string) {
	t.Helper()
	if err := vmtest.Insmod(params...); err != nil {
		t.Fatalf("insmod %s: %v\n%s", params, err, vmtest.KernelLog(t))
	}
}

// logged is what the kernel logs for the module while f runs.
func logged(t *testing.T, f func()) []string {
	t.Helper()
	since := vmtest.LogMark(t)
	f()
	var lines []string
	for line := range strings.Lines(since()) {
		_, text, ok := strings.Cut(strings.TrimSpace(line), "] ")
		if ok && strings.Contains(text, "nlpeer") && !strings.Contains(text, "taint") {
			lines = append(lines, text)
		}
	}
	return lines
}

// lookUp asks the controller for a family and returns the errno of its answer.
func lookUp(t *testing.T, name string) unix.Errno {
	t.Helper()
	s := vmtest.Open(t, unix.NETLINK_GENERIC, 0, 0)
	defer s.Close()
	req := vmtest.NewGenl(unix.GENL_ID_CTRL, unix.CTRL_CMD_GETFAMILY, 1,
		vmtest.Attr{Type: unix.CTRL_ATTR_FAMILY_NAME, Data: append([]byte(name), 0)})
	s.Send(t, req.Bytes())
	if m := s.RecvOne(t); m.Type == unix.NLMSG_ERROR {
		return vmtest.ParseAck(t, m, req).Errno
	}
	return 0
}

// sockets counts the sockets of a protocol in this namespace.
func sockets(t *testing.T, protocol int) int {
	t.Helper()
	n := 0
	for _, s := range vmtest.Sockets(t) {
		if s.Protocol == protocol {
			n++
		}
	}
	return n
}

// nothingLeft looks everywhere that the module shows itself.
func nothingLeft(t *testing.T) {
	t.Helper()
	if vmtest.Loaded() {
		t.Error("/sys/module/nlpeer is there")
	}
	modules, err := os.ReadFile("/proc/modules")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(modules, []byte("nlpeer ")) {
		t.Errorf("/proc/modules lists it:\n%s", modules)
	}
	if errno := lookUp(t, "nlpeer"); errno != unix.ENOENT {
		t.Errorf("the controller says %v to the name of the family, want ENOENT", errno)
	}
	if n := sockets(t, vmtest.NetlinkTest); n != 0 {
		t.Errorf("%d sockets of the raw protocol", n)
	}
	if s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0); err != unix.EPROTONOSUPPORT {
		t.Errorf("opening a raw socket: %v, want EPROTONOSUPPORT", err)
		if err == nil {
			s.Close()
		}
	}
	if vmtest.OnConnector(t, "nlpeer") {
		t.Error("the connector lists it")
	}
	if errno := onRtnl(t); errno != unix.EOPNOTSUPP {
		t.Errorf("rtnetlink says %v to a request for its family, want EOPNOTSUPP", errno)
	}
}

// onRtnl asks for an echo by rtnetlink and returns the errno of the answer.
func onRtnl(t *testing.T) unix.Errno {
	t.Helper()
	s := vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	defer s.Close()
	req := vmtest.NewRtnlEcho(1, []byte("anybody"))
	s.Send(t, req.Bytes())
	if m := s.RecvOne(t); m.Type == unix.NLMSG_ERROR {
		return vmtest.ParseAck(t, m, req).Errno
	}
	return 0
}

// works asks by every carrier.
func works(t *testing.T, protocol int) {
	t.Helper()
	answers(t, protocol)
	cn := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
	defer cn.Close()
	cn.EchoCn(t, vmtest.NewCn(1, 2, []byte("are you there, too")))
	rtnl := vmtest.Open(t, unix.NETLINK_ROUTE, 0, 0)
	defer rtnl.Close()
	rtnl.EchoRtnl(t, 1, []byte("and here"))
}

// answers asks by the two protocols of its own.
func answers(t *testing.T, protocol int) {
	t.Helper()
	s := vmtest.Open(t, protocol, 0, 0)
	defer s.Close()
	req := vmtest.NewEcho(3, []byte("are you there"))
	s.Send(t, req.Bytes())
	if m := s.RecvOne(t); m.Type != vmtest.MsgEcho || m.Seq != 3 || !bytes.Equal(m.Body, req.Body) {
		t.Errorf("raw echo: %+v", m)
	}
	c := vmtest.OpenControl(t)
	defer c.Close()
	reply, ack := c.Request(t, vmtest.CmdEcho, vmtest.Attr{Type: 1, Data: []byte("and you")})
	if ack.Errno != 0 || len(reply) != 1 || string(reply[0].Data) != "and you" {
		t.Errorf("generic echo: %v, %+v", ack.Errno, reply)
	}
}

func TestBadParameters(t *testing.T) {
	const (
		protocol = "nlpeer: protocol=%s is out of range, it must be 23 to 31"
		bytes    = "nlpeer: %s is out of range, it must be 0 to 1073741824"
		interval = "nlpeer: interval_ms=%s is out of range, it must be 0 (off) to 3600000"
		invalid  = "nlpeer: `%s' invalid for parameter `%s'"
	)
	unloaded(t)
	for _, tt := range []struct {
		param string
		errno unix.Errno
		log   string
	}{
		{"protocol=22", unix.EINVAL, fmt.Sprintf(protocol, "22")},
		{"protocol=32", unix.EINVAL, fmt.Sprintf(protocol, "32")},
		{"protocol=0", unix.EINVAL, fmt.Sprintf(protocol, "0")},
		{"protocol=16", unix.EINVAL, fmt.Sprintf(protocol, "16")},
		{"protocol=4294967295", unix.EINVAL, fmt.Sprintf(protocol, "4294967295")},
		{"interval_ms=3600001", unix.EINVAL, fmt.Sprintf(interval, "3600001")},
		{"interval_ms=4294967295", unix.EINVAL, fmt.Sprintf(interval, "4294967295")},
		{"protocol=-1", unix.EINVAL, fmt.Sprintf(invalid, "-1", "protocol")},
		{"protocol=31x", unix.EINVAL, fmt.Sprintf(invalid, "31x", "protocol")},
		{"interval_ms=", unix.EINVAL, fmt.Sprintf(invalid, "", "interval_ms")},
		{"history=65537", unix.EINVAL, "nlpeer: history=65537 is out of range, it must be 0 to 65536"},
		{"history_bytes=1073741825", unix.EINVAL, fmt.Sprintf(bytes, "history_bytes=1073741825")},
		{"objects=1048577", unix.EINVAL, "nlpeer: objects=1048577 is out of range, it must be 0 to 1048576"},
		{"object_bytes=4294967295", unix.EINVAL, fmt.Sprintf(bytes, "object_bytes=4294967295")},
		{"rtnl=2", unix.EINVAL, fmt.Sprintf(invalid, "2", "rtnl")},
		{"connector=maybe", unix.EINVAL, fmt.Sprintf(invalid, "maybe", "connector")},
		{"user_send=-1", unix.EINVAL, fmt.Sprintf(invalid, "-1", "user_send")},
		{"groups=4294967296", unix.ERANGE, fmt.Sprintf(invalid, "4294967296", "groups")},
	} {
		t.Run(tt.param, func(t *testing.T) {
			log := logged(t, func() {
				if err := vmtest.Insmod(tt.param); err != tt.errno {
					t.Errorf("insmod: %v, want %v", err, tt.errno)
				}
			})
			if !slices.Equal(log, []string{tt.log}) {
				t.Errorf("logged %q, want %q", log, tt.log)
			}
			nothingLeft(t)
		})
	}
	log := logged(t, func() { insmod(t) })
	if len(log) != 0 {
		t.Errorf("logged %q by a good insmod", log)
	}
	works(t, vmtest.NetlinkTest)
}

func TestOtherProtocol(t *testing.T) {
	unloaded(t)
	for _, protocol := range []int{23, 30} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			insmod(t, fmt.Sprintf("protocol=%d", protocol), "interval_ms=1", "groups=0x80000000")
			works(t, protocol)
			l := vmtest.RawListener(vmtest.Open(t, protocol, 0, 1<<31))
			if e := l.Next(t); e.Group != 32 {
				t.Errorf("an event of group %d", e.Group)
			}
			l.Close()
			if _, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0); err != unix.EPROTONOSUPPORT {
				t.Errorf("protocol 31: %v, want EPROTONOSUPPORT", err)
			}
			parameters(t, map[string]string{
				"protocol": fmt.Sprint(protocol), "interval_ms": "1", "groups": "2147483648",
			})
			vmtest.Unload(t)
			if n := sockets(t, protocol); n != 0 {
				t.Errorf("%d sockets left", n)
			}
		})
	}
	nothingLeft(t)
}

// parameters reads them from sysfs, where nobody can write them. Those that are
// not in changed must have their defaults.
func parameters(t *testing.T, changed map[string]string) {
	t.Helper()
	want := map[string]string{
		"protocol": "31", "interval_ms": "1000", "groups": "1", "history": "1024", "history_bytes": "1048576",
		"objects": "4096", "object_bytes": "4194304", "rtnl": "Y", "connector": "Y", "user_send": "N", "batch": "Y",
	}
	maps.Copy(want, changed)
	const dir = "/sys/module/nlpeer/parameters"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%d parameters, want %d", len(entries), len(want))
	}
	for name, value := range want {
		file := filepath.Join(dir, name)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(b)); got != value {
			t.Errorf("%s is %s, want %s", name, got, value)
		}
		st, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o444 {
			t.Errorf("%s has mode %v", file, st.Mode())
		}
	}
}

// A second module that holds what nlpeer wants: nlpeer itself, under another
// name. Without changing a length, the copy calls its family another name too,
// or keeps it.
func holder(t *testing.T, keepFamily bool) (path string) {
	t.Helper()
	const holderName = "nlhold"
	ko, err := os.ReadFile(os.Getenv("NLVM_MODULE"))
	if err != nil {
		t.Fatal(err)
	}
	family := section(t, ".data..ro_after_init") // where struct genl_family is
	changed := bytes.ReplaceAll(ko, []byte("nlpeer\x00"), []byte(holderName+"\x00"))
	if keepFamily {
		copy(changed[family.Offset:], ko[family.Offset:family.Offset+family.Size])
	}
	path = filepath.Join(t.TempDir(), holderName+".ko")
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vmtest.Rmmod(holderName) })
	return path
}

// A socket may come as soon as there is the protocol, and hold what a load that
// fails after that will free.
func TestFamilyTakenInUse(t *testing.T) {
	unloaded(t)
	if err := vmtest.InsmodFile(holder(t, true), "protocol=30", "interval_ms=0", "rtnl=0", "connector=0"); err != nil {
		t.Fatalf("holder: %v", err)
	}
	var stop atomic.Bool
	var came atomic.Int64
	echo := vmtest.NewEcho(1, vmtest.Random(t, 100)).Bytes()
	// Who has no room for the beginning of a dump keeps it, and with it the request,
	// which is charged to the kernel's socket.
	full := slices.Concat(slices.Repeat(echo, 20), vmtest.RawCarrier.Encode(0, 2, vmtest.GetObjects(0)).Bytes())
	vmtest.Together(
		func() {
			for !stop.Load() {
				s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0)
				if err != nil {
					continue
				}
				came.Add(1)
				if err := unix.SetsockoptInt(s.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
					t.Error(err)
				}
				s.TrySend(full)
				for range 10 { // some of it after the load has failed
					s.TrySend(echo)
					_, _ = unix.Poll(nil, 3)
				}
				s.TryRecv(0) // only now does the dump go on
				s.TrySend(echo)
				s.Close()
			}
		},
		func() {
			defer stop.Store(true)
			vmtest.Until(t, "sockets came while it was loaded", func() bool {
				if err := vmtest.Insmod(); err != unix.EBUSY {
					t.Fatalf("insmod: %v, want EBUSY", err)
				}
				return came.Load() >= 10
			})
		})
	vmtest.Count(t, "sockets", int(came.Load()))

	if err := vmtest.Rmmod("nlhold"); err != nil {
		t.Fatalf("rmmod of the holder: %v", err)
	}
	nothingLeft(t)
	insmod(t)
	works(t, vmtest.NetlinkTest)
}

func TestNumberTaken(t *testing.T) {
	unloaded(t)
	// A namespace that is there meanwhile.
	n := vmtest.NewNet(t)
	for _, protocol := range []int{30, 31} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			param := fmt.Sprintf("protocol=%d", protocol)
			if err := vmtest.InsmodFile(holder(t, false), param, "interval_ms=0", "rtnl=0", "connector=0"); err != nil {
				t.Fatalf("holder: %v", err)
			}
			log := logged(t, func() {
				if err := vmtest.Insmod(param); err != unix.EADDRINUSE {
					t.Errorf("insmod: %v, want EADDRINUSE", err)
				}
			})
			if want := fmt.Sprintf("nlpeer: cannot open netlink protocol %d: the number is taken, or memory is short; "+
				"try another with protocol=N", protocol); !slices.Equal(log, []string{want}) {
				t.Errorf("logged %q, want %q", log, want)
			}
			if sockets(t, protocol) != 1 || vmtest.Loaded() || lookUp(t, "nlpeer") != unix.ENOENT {
				t.Errorf("afterwards: %d sockets of the protocol, want the holder's; loaded %v; family: %v",
					sockets(t, protocol), vmtest.Loaded(), lookUp(t, "nlpeer"))
			}

			// Another number does, as long as the holder stays.
			insmod(t, "protocol=29")
			works(t, 29)
			if errno := lookUp(t, "nlhold"); errno != 0 {
				t.Errorf("the holder's family: %v", errno)
			}
			if err := vmtest.Rmmod("nlpeer"); err != nil {
				t.Fatalf("rmmod: %v", err)
			}

			if err := vmtest.Rmmod("nlhold"); err != nil {
				t.Fatalf("rmmod of the holder: %v", err)
			}
			nothingLeft(t)
			n.Do(t, func() error {
				if k := sockets(t, protocol) + sockets(t, 29); k != 0 {
					t.Errorf("%d sockets left in another namespace", k)
				}
				return nil
			})
			insmod(t, param)
			works(t, protocol)
			vmtest.Unload(t)
		})
	}
}

func TestFamilyTaken(t *testing.T) {
	unloaded(t)
	n := vmtest.NewNet(t)
	if err := vmtest.InsmodFile(holder(t, true), "protocol=30", "interval_ms=0", "rtnl=0", "connector=0"); err != nil {
		t.Fatalf("holder: %v", err)
	}
	log := logged(t, func() {
		if err := vmtest.Insmod(); err != unix.EBUSY { // EEXIST would mean that it is loaded
			t.Errorf("insmod: %v, want EBUSY", err)
		}
	})
	if want := []string{"nlpeer: cannot register the generic netlink family: error -17"}; !slices.Equal(log, want) {
		t.Errorf("logged %q, want %q", log, want)
	}
	for where, do := range map[string]func(func() error){
		"here":                 func(f func() error) { f() },
		"in another namespace": func(f func() error) { n.Do(t, f) },
	} {
		do(func() error {
			if k := sockets(t, vmtest.NetlinkTest); k != 0 {
				t.Errorf("%d sockets left %s", k, where)
			}
			if k := sockets(t, 30); k != 1 {
				t.Errorf("%d sockets of the holder's number %s", k, where)
			}
			return nil
		})
	}
	if vmtest.Loaded() {
		t.Error("loaded")
	}
	answers(t, 30) // the holder is unhurt

	if err := vmtest.Rmmod("nlhold"); err != nil {
		t.Fatalf("rmmod of the holder: %v", err)
	}
	nothingLeft(t)
	insmod(t)
	works(t, vmtest.NetlinkTest)
}

// One callback on the connector for an index. nlpeer says which parameter does
// without, gives everything back, and works without.
func TestConnectorTaken(t *testing.T) {
	unloaded(t)
	n := vmtest.NewNet(t)
	if err := vmtest.InsmodFile(holder(t, false), "protocol=30", "interval_ms=0", "rtnl=0"); err != nil {
		t.Fatalf("holder: %v", err)
	}
	log := logged(t, func() {
		if err := vmtest.Insmod(); err != unix.EINVAL {
			t.Errorf("insmod: %v, want EINVAL", err)
		}
	})
	if want := []string{"nlpeer: cannot register with the connector, the index may be taken: error -22; " +
		"connector=0 does without"}; !slices.Equal(log, want) {
		t.Errorf("logged %q, want %q", log, want)
	}
	nothingLeft(t)
	n.Do(t, func() error {
		if k := sockets(t, vmtest.NetlinkTest); k != 0 {
			t.Errorf("%d sockets left in another namespace", k)
		}
		return nil
	})
	holders := func() {
		t.Helper()
		s := vmtest.Open(t, unix.NETLINK_CONNECTOR, 0, 0)
		defer s.Close()
		s.EchoCn(t, vmtest.NewCn(7, 8, []byte("the holder's")))
		if !vmtest.OnConnector(t, "nlhold") || vmtest.OnConnector(t, "nlpeer") {
			t.Error("the connector does not list the holder alone")
		}
	}
	holders()

	insmod(t, "connector=0", "interval_ms=0")
	parameters(t, map[string]string{"connector": "N", "interval_ms": "0"})
	answers(t, vmtest.NetlinkTest)
	c := vmtest.OpenControl(t)
	_, ack := c.Request(t, vmtest.CmdBeaconSet, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(1)})
	if want := "nlpeer: this namespace has no connector"; ack.Errno != unix.EOPNOTSUPP || ack.Text != want || ack.Offset != 20 {
		t.Errorf("connector=1 in the beacon: %v, %q at %d; want EOPNOTSUPP, %q at 20", ack.Errno, ack.Text, ack.Offset, want)
	}
	c.Set(t, vmtest.Attr{Type: vmtest.BeaconConnector, Data: vmtest.U32(0)})
	holders()
	if s := c.Stats(t); s.Connector != (vmtest.CarrierStats{}) {
		t.Errorf("counted on the connector that it has not: %+v", s.Connector)
	}
	if err := vmtest.Rmmod("nlpeer"); err != nil {
		t.Fatalf("rmmod: %v", err)
	}
	holders()

	if err := vmtest.Rmmod("nlhold"); err != nil {
		t.Fatalf("rmmod of the holder: %v", err)
	}
	nothingLeft(t)
	insmod(t)
	works(t, vmtest.NetlinkTest)
}

// Without rtnetlink the family is free for another.
func TestWithoutRtnl(t *testing.T) {
	unloaded(t)
	insmod(t, "rtnl=0", "interval_ms=0")
	answers(t, vmtest.NetlinkTest)
	if errno := onRtnl(t); errno != unix.EOPNOTSUPP {
		t.Errorf("rtnetlink says %v, want EOPNOTSUPP", errno)
	}
	if err := vmtest.InsmodFile(holder(t, false), "protocol=30", "interval_ms=0", "connector=0"); err != nil {
		t.Fatalf("holder: %v", err)
	}
	if errno := onRtnl(t); errno != 0 {
		t.Errorf("rtnetlink says %v, want the holder's answer", errno)
	}
	if s := vmtest.OpenControl(t).Stats(t); s.Rtnl != (vmtest.CarrierStats{}) {
		t.Errorf("counted what the holder answered: %+v", s.Rtnl)
	}
	vmtest.Unload(t) // and takes nothing of the holder's with it
	if errno := onRtnl(t); errno != 0 {
		t.Errorf("rtnetlink says %v, want the holder's answer", errno)
	}
	if err := vmtest.Rmmod("nlhold"); err != nil {
		t.Fatalf("rmmod of the holder: %v", err)
	}
	nothingLeft(t)
}
