// SPDX-License-Identifier: MIT

package listen_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

// Modules come and go, and nobody else may say so.
func TestUevent(t *testing.T) {
	if vmtest.Loaded() {
		vmtest.Unload(t)
	}
	p := start(t, "nlsub", "--via", "uevent", "-o", "json")
	p.listens(t, unix.NETLINK_KOBJECT_UEVENT, 1)

	// Root may send to the group, but is not the kernel.
	m := newMate(t, unix.NETLINK_KOBJECT_UEVENT, 0, 0)
	lie := "add@/module/nlpeer\x00ACTION=add\x00DEVPATH=/module/nlpeer\x00SUBSYSTEM=module\x00SEQNUM=1\x00LIE=1\x00"
	if err := m.multicast(1, []byte(lie)); err != nil && err != unix.ECONNREFUSED {
		t.Fatal(err)
	}
	if err := m.send(p.pid(), []byte(lie)); err != unix.ECONNREFUSED {
		t.Errorf("sending to nlsub alone: %v, want ECONNREFUSED", err)
	}

	vmtest.Module(t)
	vmtest.Unload(t)
	var seq [2]int64
	for i, action := range []string{"add", "remove"} {
		o := p.find(t, object{"type": "uevent", "devpath": "/module/nlpeer"})
		env, _ := o["env"].(map[string]any)
		seq[i] = o.number(t, "seq")
		if !o.has(object{"action": action, "group": "kernel", "subsystem": "module"}) || !object(env).has(object{
			"ACTION": action, "DEVPATH": "/module/nlpeer", "SUBSYSTEM": "module", "SEQNUM": fmt.Sprint(seq[i])}) || len(env) != 4 {
			t.Errorf("%v", o)
		}
	}
	if seq[1] <= seq[0] {
		t.Errorf("numbers %d", seq)
	}
	if _, summary, code := p.totals(t); code != 0 || !summary.has(object{"received": len(p.seen), "overruns": 0}) {
		t.Errorf("status %d, %v after %q", code, summary, p.seen)
	}
}

// Anybody may listen, and the text is a line.
func TestUeventText(t *testing.T) {
	if vmtest.Loaded() {
		vmtest.Unload(t)
	}
	p := start(t, "setpriv", "--nnp", "su", "user", "-c", "exec nlsub --via uevent -g kernel")
	vmtest.Until(t, "nlsub listens", func() bool {
		for _, s := range vmtest.Sockets(t) {
			if s.Protocol == unix.NETLINK_KOBJECT_UEVENT && s.Groups == 1 {
				return true
			}
		}
		return false
	})
	vmtest.Module(t)
	for {
		line := p.line(t)
		if strings.HasPrefix(line, "add /module/nlpeer (module) seq=") {
			break
		}
	}
}

// What udev says comes from root, in a form of its own.
func TestUdev(t *testing.T) {
	p := start(t, "nlsub", "--via", "uevent", "-g", "udev,kernel", "-o", "json")
	p.listens(t, unix.NETLINK_KOBJECT_UEVENT, 1, 2)
	text := "ACTION=add\x00DEVPATH=/devices/x\x00SUBSYSTEM=net\x00ID_NET_NAME=eth0\x00"
	b := append([]byte("libudev\x00"), binary.BigEndian.AppendUint32(nil, 0xfeedcafe)...)
	for _, v := range []uint32{40, 40, uint32(len(text)), 1, 2, 3, 4} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	b = append(b, text...)
	m := newMate(t, unix.NETLINK_KOBJECT_UEVENT, 0, 0)
	cut := b[:len(b)-1]
	for _, message := range [][]byte{cut, b} {
		if err := m.multicast(2, message); err != nil && err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
	}
	// The kernel's form in the kernel's group is the kernel's alone.
	if err := m.multicast(1, []byte("add@/lie\x00ACTION=add\x00DEVPATH=/lie\x00")); err != nil && err != unix.ECONNREFUSED {
		t.Fatal(err)
	}
	if o := p.next(t); !o.has(object{"type": "error", "error": "datagram is no uevent"}) {
		t.Errorf("%v", o)
	}
	if o := p.next(t); !o.has(object{"type": "uevent", "group": "udev", "action": "add", "devpath": "/devices/x", "subsystem": "net"}) ||
		o["env"].(map[string]any)["ID_NET_NAME"] != "eth0" {
		t.Errorf("%v", o)
	}
	rest, summary, _ := p.totals(t)
	if len(rest) != 0 || !group(t, summary, 2).has(object{"name": "udev", "received": 1}) || !group(t, summary, 1).has(object{"received": 0}) {
		t.Errorf("%v, %v", rest, summary)
	}
}
