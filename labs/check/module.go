// SPDX-License-Identifier: MIT

package check

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"nlpeer/labs/internal/event"
)

// doing tells nllab what is about to be done that may not come back.
func doing(what string) { emit(event.Event{Doing: &what}) }

// Insmod loads kernel/NAME.ko. It is unloaded when the step ends.
func Insmod(t *T, name string, params ...string) {
	t.Helper()
	if err := TryInsmod(name, params...); err != nil {
		t.Fatalf("insmod kernel/%s.ko failed: %v%s", name, err, why(t))
	}
	t.Cleanup(func() {
		if err := tryRmmod(name); err != nil && !errors.Is(err, unix.ENOENT) {
			t.Errorf("rmmod %s failed: %v%s", name, err, inUse(name, err))
		}
	})
}

// TryInsmod is Insmod for those who expect an error; the module stays until
// Rmmod.
func TryInsmod(name string, params ...string) error {
	file := "kernel/" + name + ".ko"
	doing(strings.TrimSpace("insmod " + file + " " + strings.Join(params, " ")))
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), strings.Join(params, " "), 0)
}

// Rmmod unloads the module before the step ends.
func Rmmod(t *T, name string) {
	t.Helper()
	if err := tryRmmod(name); err != nil {
		t.Fatalf("rmmod %s failed: %v%s", name, err, inUse(name, err))
	}
}

// tryRmmod waits a moment for a module that is in use: a socket that was closed
// is taken apart a bit later.
func tryRmmod(name string) error {
	doing("rmmod " + name)
	end := time.Now().Add(Deadline() / 5)
	for {
		err := unix.DeleteModule(name, unix.O_NONBLOCK)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// inUse says what an error of rmmod means.
func inUse(name string, err error) string {
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EBUSY) {
		return ""
	}
	b, _ := os.ReadFile("/sys/module/" + name + "/refcnt")
	return fmt.Sprintf(" (%s references to the module are left; or it has no module_exit)", strings.TrimSpace(string(b)))
}

// why is what the kernel said since the step began.
func why(t *T) string {
	if log := KernelLog(t); log != "" {
		return "\nthe kernel says:\n" + indent(log)
	}
	return ""
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// Modules are the names of the student's modules.
func Modules() []string {
	files, _ := filepath.Glob("kernel/*.ko")
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".ko")
	}
	return files
}

// tidy is what every module is asked for at last.
func tidy(t *T) {
	for _, name := range Modules() {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			Rmmod(t, name)
		}
	}
	for range 2 {
		for _, name := range Modules() {
			if err := TryInsmod(name); err != nil {
				t.Fatalf("the module passed all steps, but cannot be loaded again: insmod kernel/%s.ko: %v%s", name, err, why(t))
			}
			Rmmod(t, name)
		}
	}
	if left := Sockets(LabProtocol); len(Modules()) > 0 && len(left) > 0 {
		t.Fatalf("the module is gone, but a socket of protocol %d is left in /proc/net/netlink:\n%s", LabProtocol, indent(strings.Join(left, "\n")))
	}
}

// SocketBuffers is how many socket buffers there are in the kernel. A module that
// forgets some each time makes it grow.
func SocketBuffers(t *T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "skbuff_head_cache" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("/proc/slabinfo has no skbuff_head_cache")
	panic("not reached")
}

// LabProtocol is the number of the labs' own netlink protocol.
const LabProtocol = 31

// Sockets are the lines of /proc/net/netlink about a protocol.
func Sockets(protocol int) []string {
	f, err := os.Open("/proc/net/netlink")
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		fields := strings.Fields(sc.Text())
		if len(fields) > 1 && fields[1] == fmt.Sprint(protocol) {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines
}
