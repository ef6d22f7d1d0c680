// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// moduleName is the name under which the kernel knows the module in a file.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// unloadExtra takes modules out of the kernel, the last one first. One that the
// command has unloaded itself is fine.
func unloadExtra(files []string) []string {
	var problems []string
	for _, file := range slices.Backward(files) {
		name := moduleName(file)
		if err := rmmod(name, time.Second); err != nil && !errors.Is(err, unix.ENOENT) {
			problems = append(problems, fmt.Sprintf("rmmod %s: %v%s", name, err, references(name)))
		}
	}
	return problems
}

// references says what still holds a module.
func references(name string) string {
	b, err := os.ReadFile("/sys/module/" + name + "/refcnt")
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(b)) + " references left)"
}

// The module under test, by the name that the kernel knows it under.
const (
	peerModule      = "nlpeer"
	defaultProtocol = "31"
)

// insmod loads one module file. A module that is there already is fine.
func insmod(file, args string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if ext := path.Ext(file); ext == ".xz" || ext == ".zst" || ext == ".gz" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), args, flags)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("insmod %s: %w", strings.TrimSpace(path.Base(file)+" "+args), err)
	}
	return nil
}

// unloadPeer takes nlpeer out of the kernel, if it is in, and reports what is
// left of it. All processes of the run have ended by now, so whatever still
// holds the module is a reference that somebody forgot.
func unloadPeer() []string {
	if _, err := os.Stat("/sys/module/" + peerModule); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	protocol := defaultProtocol
	if b, err := os.ReadFile("/sys/module/" + peerModule + "/parameters/protocol"); err == nil {
		protocol = strings.TrimSpace(string(b))
	}

	var problems []string
	if err := rmmod(peerModule, time.Second); err != nil {
		return append(problems, fmt.Sprintf("rmmod %s: %v%s", peerModule, err, references(peerModule)))
	}
	for _, line := range netlinkSockets(protocol) {
		problems = append(problems, "a socket of netlink protocol "+protocol+" is left after rmmod: "+line)
	}
	return problems
}

// rmmod retries while the module is in use: a network namespace whose last
// process has just died is taken apart by a kernel thread, some time later.
func rmmod(name string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := unix.DeleteModule(name, unix.O_NONBLOCK)
		if err == nil || !errors.Is(err, unix.EAGAIN) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// netlinkSockets lists the sockets of a protocol, as /proc/net/netlink shows them.
func netlinkSockets(protocol string) []string {
	f, err := os.Open("/proc/net/netlink")
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if fields := strings.Fields(sc.Text()); len(fields) > 1 && fields[1] == protocol {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines
}
