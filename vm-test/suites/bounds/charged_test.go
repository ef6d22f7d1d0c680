// SPDX-License-Identifier: MIT

package bounds_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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
//
// A task that must not be killed, and needs memory of its own when its group has
// none left, gets it never and no error either: the kernel lets it try for ever.
// So this one has all it needs before it begins.
var full = vmtest.Register("fill tables", func() (string, error) {
	debug.SetGCPercent(-1)
	value := make([]byte, vmtest.DataMax)
	request := func(r vmtest.ObjectRequest) []byte {
		m := vmtest.RawCarrier.Encode(0, 1, r)
		m.Flags |= unix.NLM_F_ACK
		return m.Bytes()
	}
	f := &filler{none: request(vmtest.DelObjects(""))}
	for i := range 250 {
		f.objects = append(f.objects, request(vmtest.NewObject(vmtest.FlagCreate, fmt.Sprint(i), value, value, value, value[:4000])))
	}
	// A namespace with one object, so that all that runs has run once.
	if _, refused := f.fill(1, 1); refused != 0 {
		return "", fmt.Errorf("one object: %w", refused)
	}
	if err := ready(); err != nil { // for its score to be set
		return "", err
	}
	filled, refused := f.fill(wanted, len(f.objects))
	if refused == 0 {
		return fmt.Sprintf("%d bytes", filled), nil
	}
	first := f.ask(f.none)
	again := f.ask(f.objects[0])
	return fmt.Sprintf("%d bytes, then %s; all deleted: %s, and again: %s", filled, name(refused), name(first), name(again)), nil
})

// filler is what full needs, made before memory is short.
type filler struct {
	objects [][]byte // requests for new objects
	none    []byte   // the request to delete all
	answer  [64]byte // all of a good one, and the beginning of a bad one
	fd      int      // a socket in the last of the namespaces
	kernel  unix.SockaddrNetlink
}

// fill makes namespaces with objects in each, until something is refused. It
// returns the length of the requests that were granted.
func (f *filler) fill(namespaces, objects int) (filled int, refused unix.Errno) {
	for range namespaces {
		if err := f.namespace(); err != nil {
			return filled, err.(unix.Errno)
		}
		for _, o := range f.objects[:objects] {
			if errno := f.ask(o); errno != 0 {
				return filled, errno
			}
			filled += len(o)
		}
	}
	return filled, 0
}

// namespace makes one, and a socket there, which keeps it.
func (f *filler) namespace() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, vmtest.NetlinkTest)
	if err != nil {
		return err
	}
	f.fd = fd
	return unix.Connect(fd, &f.kernel)
}

// ask sends a request over the raw protocol and returns the errno of its
// acknowledgment.
func (f *filler) ask(b []byte) unix.Errno {
	if _, err := unix.Write(f.fd, b); err != nil {
		return err.(unix.Errno)
	}
	if _, err := unix.Read(f.fd, f.answer[:]); err != nil {
		return err.(unix.Errno)
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(f.answer[16:])))
}

func name(errno unix.Errno) string {
	if errno != 0 {
		return unix.ErrnoName(errno)
	}
	return "ok"
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
			for end := time.Now().Add(vmtest.Deadline()); !c.gone(); unix.Poll(nil, 20) {
				peak = max(peak, vmtest.KernelMemory(t)-before)
				if time.Now().After(end) {
					at, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stack", c.cmd.Process.Pid))
					c.cmd.Process.Kill()
					t.Errorf("it does not end; it is here:\n%s", at)
					break
				}
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
