// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// prepare turns a bare initramfs into a system that commands feel at home in.
func prepare() error {
	for _, step := range []func() error{mountAll, writeUsers, installBusybox, loadModules, raiseLoopback} {
		if err := step(); err != nil {
			return err
		}
	}
	unix.Umask(0o022)
	if err := unix.Sethostname([]byte("nlvm")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	// With no helper a socket() for an unknown netlink protocol fails at once,
	// instead of after a search for a module that cannot be there.
	return os.WriteFile("/proc/sys/kernel/modprobe", []byte("\n"), 0o644)
}

func mountAll() error {
	mounts := []struct {
		source, target, kind, data string
		optional                   bool
	}{
		{"proc", "/proc", "proc", "", false},
		{"sysfs", "/sys", "sysfs", "", false},
		{"devtmpfs", "/dev", "devtmpfs", "mode=0755", false},
		{"devpts", "/dev/pts", "devpts", "ptmxmode=0666,mode=0620,gid=5", false},
		{"tmpfs", "/dev/shm", "tmpfs", "mode=1777", false},
		{"tmpfs", "/tmp", "tmpfs", "mode=1777,size=80%", false},
		{"tmpfs", "/run", "tmpfs", "mode=0755", false},
		{"tmpfs", "/work", "tmpfs", "mode=0755,size=80%", false},
		{"debugfs", "/sys/kernel/debug", "debugfs", "", true},
		{"tracefs", "/sys/kernel/tracing", "tracefs", "", true},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", "", true},
	}
	for _, m := range mounts {
		// Below /sys the kernel makes the mount points, or the feature is missing.
		if err := os.MkdirAll(m.target, 0o755); err != nil && !m.optional {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, 0, m.data); err != nil && !m.optional {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	links := [][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
		{"/proc/mounts", "/etc/mtab"},
		{"/run", "/var/run"},
		{"/tmp", "/var/tmp"},
	}
	for _, d := range []string{"/etc", "/var", "/root", "/home/user", "/run/netns", "/bin", "/sbin", "/usr/bin", "/usr/sbin"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, l := range links {
		if err := os.Symlink(l[0], l[1]); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// writeUsers makes root, and two users without privilege for tests that need one.
func writeUsers() error {
	files := map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			"user:x:1000:1000:user:/home/user:/bin/sh\n" +
			"nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n",
		"/etc/group": "root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n",
		"/etc/hosts": "127.0.0.1 localhost nlvm\n::1 localhost\n",
	}
	for name, content := range files {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return os.Chown("/home/user", 1000, 1000)
}

// installBusybox links all of busybox's applets where they belong.
func installBusybox() error {
	if out, err := exec.Command("/bin/busybox", "--install", "-s").CombinedOutput(); err != nil {
		return fmt.Errorf("busybox --install: %w: %s", err, out)
	}
	return nil
}

// loadModules loads what the initramfs lists, in that order.
func loadModules() error {
	list, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if err := insmod("/modules/"+name, ""); err != nil {
			return err
		}
	}
	return nil
}

// raiseLoopback: nothing on 127.0.0.1 works before.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	return nil
}
