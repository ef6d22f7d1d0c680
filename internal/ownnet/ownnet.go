// SPDX-License-Identifier: MIT

// Package ownnet runs the tests of a package in a network namespace of their
// own. Netlink sockets of one namespace share port IDs and multicast groups, so
// two packages whose tests run at the same time would hear each other.
package ownnet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const inside = "NLPEER_OWNNET"

// Main is for TestMain. Without the right to make a namespace (CAP_SYS_ADMIN)
// the tests run where they are: the rights of a user namespace would be others
// than those that the tests expect of a user.
func Main(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	exe, err := os.Executable()
	if err != nil {
		exe = os.Args[0]
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.Exited():
		os.Exit(exit.ExitCode())
	case errors.Is(err, os.ErrPermission):
		os.Exit(m.Run())
	}
	fmt.Fprintf(os.Stderr, "tests in a network namespace of their own: %v\n", err)
	os.Exit(1)
}
