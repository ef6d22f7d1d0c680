// SPDX-License-Identifier: MIT

package ftrace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Where the kernel's tracing is found: since Linux 4.1, and where debugfs has
// it.
var folders = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// find returns the folder of the kernel's tracing, and what takes back what it
// did. It mounts it if nobody has.
func find() (dir string, done func() error, err error) {
	nothing := func() error { return nil }
	for _, dir := range folders {
		_, err := os.Stat(filepath.Join(dir, "trace"))
		if err == nil || errors.Is(err, os.ErrPermission) {
			return dir, nothing, err
		}
	}
	dir = folders[0]
	if _, err := os.Stat(dir); err != nil {
		return "", nil, errors.New("this kernel has no tracing (there is no " + dir + ")")
	}
	if out, err := exec.Command("mount", "-t", "tracefs", "tracefs", dir).CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("the kernel's tracing is not mounted, and: mount -t tracefs tracefs %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
	}
	return dir, func() error {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("umount %s: %w: %s", dir, err, strings.TrimSpace(string(out)))
		}
		return nil
	}, nil
}

// prefix begins the names of instances that are a Tracer's. The ID of its
// process follows.
const prefix = "nlctl-"

// instance makes a tracing instance of our own. On a kernel that has no graph
// tracer for such, it is the sign that we want the one that all share.
func instance(root string) (dir string, err error) {
	dir = filepath.Join(root, "instances", prefix+strconv.Itoa(os.Getpid()))
	return dir, os.Mkdir(dir, 0o750)
}

// graphs says that a folder has the tracer.
func graphs(dir string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, "available_tracers"))
	if errors.Is(err, os.ErrNotExist) {
		err = nil // a kernel without any
	}
	return slices.Contains(strings.Fields(string(b)), tracerName), err
}

// rivals looks whether the tracer that all share is in use. It is taken only
// from nobody, as part of what it is set to cannot be restored.
func rivals(root string) error {
	s := settings{dir: root}
	instances, err := filepath.Glob(filepath.Join(root, "instances", prefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range instances {
		id := strings.TrimPrefix(filepath.Base(dir), prefix)
		if _, err := os.Stat("/proc/" + id); id != strconv.Itoa(os.Getpid()) && err == nil {
			return fmt.Errorf("the kernel's tracer is busy: nlctl (process %s) has it", id)
		}
	}
	tracer, err := s.value("current_tracer")
	if err != nil {
		return err
	}
	if tracer != "nop" {
		return fmt.Errorf("the kernel's tracer is busy: %s has current_tracer=%s; if nobody needs it: echo nop | sudo tee %s/current_tracer", who(root), tracer, root)
	}
	events, err := s.list("set_event")
	if err != nil {
		return err
	}
	if len(events) > 0 {
		return fmt.Errorf("the kernel's tracer is busy: %s has events on, such as %s; if nobody needs them: echo | sudo tee %s/set_event", who(root), events[0], root)
	}
	for _, name := range []string{"set_ftrace_filter", "set_ftrace_notrace"} {
		items, err := s.list(name)
		if err != nil {
			return err
		}
		for _, item := range items {
			if strings.Contains(strings.Replace(item, ":mod:", "", 1), ":") {
				return fmt.Errorf("the kernel's tracer is busy: %s has %s set to %s", who(root), name, item)
			}
		}
	}
	entries, err := s.sum("entries")
	if err != nil {
		return err
	}
	if entries > 0 {
		return fmt.Errorf("the kernel's tracer holds %d records that would be lost; if nobody needs them: echo | sudo tee %s/trace", entries, root)
	}
	return nil
}

// who names the processes that have files of the tracing folder open. It looks
// only where it may.
func who(root string) string {
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	names := []string{}
	for _, file := range files {
		to, err := os.Readlink(file)
		if err != nil || !strings.HasPrefix(to, root+"/") {
			continue
		}
		process := filepath.Dir(filepath.Dir(file))
		comm, _ := os.ReadFile(process + "/comm")
		name := fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), filepath.Base(process))
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "somebody"
	}
	return strings.Join(names, ", ")
}

// sum adds up what the statistics of all processors say of something.
func (s *settings) sum(what string) (n uint64, err error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "per_cpu", "cpu*", "stats"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		for text := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(text, what+": "); ok {
				more, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
				n += more
			}
		}
	}
	return n, nil
}
