// SPDX-License-Identifier: MIT

package bounds_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	groupMax = 32 << 20 // bytes that the control group may have
	wanted   = 20       // namespaces, with 4 MiB of objects each
)

// full is a child that fills the tables of namespaces of its own with objects
// until it is refused memory, or has all it wants, or is killed for it. Refused,
// it makes room and asks again.
var full = vmtest.Register("fill tables", func() (string, error) {
	if err := ready(); err != nil { // for its score to be set
		return "", err
	}
	value := make([]byte, vmtest.DataMax)
	filled := 0
	for range wanted {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Sprintf("%d bytes, then no namespace: %s", filled, name(err)), nil
		}
		s, err := vmtest.TryOpen(vmtest.NetlinkTest, 0, 0) // keeps the namespace
		if err != nil {
			return "", err
		}
		for i := range 250 {
			r := vmtest.NewObject(vmtest.FlagCreate, fmt.Sprint(i), value, value, value, value[:4000])
			switch errno := ask(s, r); errno {
			case 0:
				filled += 4 * len(value)
			case unix.ENOMEM:
				first := ask(s, vmtest.DelObjects(""))
				again := ask(s, r)
				return fmt.Sprintf("%d bytes, then %s; all deleted: %s, and again: %s", filled, name(errno), name(first), name(again)), nil
			default:
				return "", errno
			}
		}
	}
	return fmt.Sprintf("%d bytes", filled), nil
})

func name(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) && errno != 0 {
		return unix.ErrnoName(errno)
	}
	return "ok"
}

// ask sends a request over the raw protocol and returns the errno of its
// acknowledgment.
func ask(s *vmtest.Socket, r vmtest.ObjectRequest) unix.Errno {
	m := vmtest.RawCarrier.Encode(0, 1, r)
	m.Flags |= unix.NLM_F_ACK
	if err := s.TrySend(m.Bytes()); err != nil {
		return err.(unix.Errno)
	}
	b, err := s.TryRecv(0)
	if err != nil {
		return err.(unix.Errno)
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(b[16:])))
}

// controlGroup makes a control group with a limit on memory.
func controlGroup(t *testing.T) *os.File {
	t.Helper()
	const root = "/sys/fs/cgroup"
	vmtest.Need(t, vmtest.MemoryGroups, strings.Contains(vmtest.ReadFile(t, root+"/cgroup.controllers"), "memory"))
	if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+memory"), 0); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "bounds")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		vmtest.Until(t, "the control group is empty", func() bool { return os.Remove(dir) == nil })
	})
	if err := os.WriteFile(dir+"/memory.max", []byte(strconv.Itoa(groupMax)), 0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What namespaces, objects and their history take is charged to the control
// group of who causes it, so that its limit holds for them: he is killed, or,
// where he must not be, refused memory.
func TestChargedToItsCause(t *testing.T) {
	for _, spared := range []bool{false, true} {
		t.Run(map[bool]string{false: "killed", true: "refused"}[spared], func(t *testing.T) {
			if spared {
				vmtest.Need(t, vmtest.ChargeRefused, vmtest.Has(vmtest.ChargeRefused))
			}
			vmtest.Module(t, "interval_ms=0")
			group := controlGroup(t)
			before := vmtest.KernelMemory(t)
			c := start(t, full, func(cmd *exec.Cmd) {
				cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
			})
			c.wait(t)
			if spared {
				score := fmt.Sprintf("/proc/%d/oom_score_adj", c.cmd.Process.Pid)
				if err := os.WriteFile(score, []byte("-1000"), 0); err != nil {
					t.Fatal(err)
				}
			}
			c.stdin.Close()
			peak := int64(0)
			for !c.gone() {
				peak = max(peak, vmtest.KernelMemory(t)-before)
				unix.Poll(nil, 20)
			}
			out, err := c.end()
			events := strings.Join(strings.Fields(vmtest.ReadFile(t, group.Name()+"/memory.events")), " ")
			t.Logf("the kernel took %.1f MiB of %d: %s, %v; %s", mib(peak), groupMax>>20, out, err, events)

			// A few things of a namespace are the kernel's own, and charged to nobody.
			if most := int64(groupMax + groupMax/4); peak > most {
				t.Errorf("the kernel took %d bytes, %d are allowed", peak, groupMax)
			}
			if !spared {
				if err == nil || c.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
					t.Errorf("it ended with %v, not killed: %s", err, out)
				}
			} else if err != nil || !strings.HasSuffix(out, "then ENOMEM; all deleted: ok, and again: ok") {
				t.Errorf("%q, %v, want ENOMEM, and that it goes on when there is room", out, err)
			}
			given(t, before)
		})
	}
}
