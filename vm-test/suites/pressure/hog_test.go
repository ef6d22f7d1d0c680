// SPDX-License-Identifier: MIT

package pressure_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"nlpeer/vm-test/suites/vmtest"
)

const (
	little = 16 << 20 // bytes that are free when memory counts as full
	bite   = 1 << 20  // bytes that the hog takes at a time
)

// figures reads a file of names and numbers, such as /proc/vmstat.
func figures(file string) (map[string]int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		var name string
		var n int64
		if _, err := fmt.Sscan(line, &name, &n); err == nil {
			all[strings.TrimSuffix(name, ":")] = n
		}
	}
	return all, nil
}

// free is how many bytes nobody has. What the kernel calls available is more, and
// wrong here: it takes the guest's files, which are in memory only, for copies.
func free() (int64, error) {
	all, err := figures("/proc/meminfo")
	if err == nil && all["MemTotal"] == 0 {
		err = fmt.Errorf("/proc/meminfo: %v", all)
	}
	return all["MemFree"] << 10, err
}

// hog is a child that takes memory until there is little, says so, and takes a bite
// more for each byte of its input, until the kernel kills it.
var hog = vmtest.Register("hog", func() (string, error) {
	debug.SetGCPercent(-1)
	// Of all processes it is the one to be killed.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return "", err
	}
	// More than there is: it costs nothing until it is written to.
	all, err := unix.Mmap(-1, 0, 512<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return "", err
	}
	eat := func() error {
		if len(all) < bite {
			return fmt.Errorf("the hog has had enough, and nobody killed it")
		}
		for i := 0; i < bite; i += 4096 {
			all[i] = 1
		}
		all = all[bite:]
		return nil
	}
	for {
		left, err := free()
		if err != nil {
			return "", err
		}
		if left < little {
			break
		}
		if err := eat(); err != nil {
			return "", err
		}
	}
	if _, err := os.NewFile(3, "ready").Write([]byte{0}); err != nil {
		return "", err
	}
	for {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			if err == io.EOF {
				err = nil
			}
			return "", err
		}
		if err := eat(); err != nil {
			return "", err
		}
	}
})

// running is a hog.
type running struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ready  *os.File
	stderr bytes.Buffer
}

// feed starts a hog.
func feed(t *testing.T) *running {
	t.Helper()
	h := &running{cmd: vmtest.Command(t, hog, vmtest.Who{})}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.ready = r
	h.cmd.ExtraFiles, h.cmd.Stderr = []*os.File{w}, &h.stderr
	h.stdin, err = h.cmd.StdinPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// poll is what there is to say about it: POLLIN, memory is full; POLLHUP, it is gone.
func (h *running) poll() int16 {
	fds := []unix.PollFd{{Fd: int32(h.ready.Fd()), Events: unix.POLLIN}}
	unix.Poll(fds, 0)
	return fds[0].Revents
}

// gone is whether it has ended.
func (h *running) gone() bool { return h.poll()&unix.POLLHUP != 0 }

// more lets it take a bite.
func (h *running) more() { h.stdin.Write([]byte{0}) } // it may be gone

// killed waits for its end, which must be the kernel's doing.
func (h *running) killed(t *testing.T) {
	t.Helper()
	h.stdin.Close()
	err := h.cmd.Wait()
	h.ready.Close()
	if status := h.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != unix.SIGKILL {
		t.Errorf("the hog was not killed: %v: %s", err, h.stderr.String())
	}
}
