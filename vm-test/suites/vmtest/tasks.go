// SPDX-License-Identifier: MIT

package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const childEnv = "NLPEER_CHILD"

// Child is code that runs in a process of its own. It returns what it found
// out, which the parent compares.
type Child func() (string, error)

var (
	childrenMu sync.Mutex
	children   = map[string]Child{}
)

// Register names a Child. It must be called before Main, from a variable
// declaration of the suite's package, in parent and child alike.
func Register(name string, c Child) string {
	childrenMu.Lock()
	defer childrenMu.Unlock()
	if children[name] != nil {
		panic("vmtest: child registered twice: " + name)
	}
	children[name] = c
	return name
}

func runChild(name string) int {
	c := children[name]
	if c == nil {
		fmt.Fprintf(os.Stderr, "no child %q\n", name)
		return 2
	}
	out, err := c()
	fmt.Print(out)
	if err != nil {
		fmt.Fprint(os.Stderr, err)
		return 1
	}
	return 0
}

// Nobody is a user without any privilege.
const Nobody = 65534

// Who says as whom a Child runs.
type Who struct {
	UID     uint32 // and GID
	UserNS  bool   // as root of a new user namespace
	NetNS   bool   // in a new network namespace, owned by the new user namespace
	Files   []*os.File
	ExtraNS uintptr // more CLONE_NEW flags
}

// Command is a Child in a process of its own that has not been started.
func Command(t testing.TB, name string, who Who) *exec.Cmd {
	t.Helper()
	// The working directory may be closed to others; the binary is not.
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(exe, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), childEnv+"="+name, "HOME=/tmp")
	cmd.ExtraFiles = who.Files
	attr := &syscall.SysProcAttr{Cloneflags: who.ExtraNS}
	if who.UserNS {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(who.UID), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: int(who.UID), Size: 1}}
		attr.Credential = &syscall.Credential{NoSetGroups: true} // root of the new namespace
	} else if who.UID != 0 {
		attr.Credential = &syscall.Credential{Uid: who.UID, Gid: who.UID}
	}
	if who.NetNS {
		attr.Cloneflags |= unix.CLONE_NEWNET
	}
	cmd.SysProcAttr = attr
	return cmd
}

// Run runs a Child in a process of its own and returns what it found out.
func Run(t testing.TB, name string, who Who) (string, error) {
	t.Helper()
	cmd := Command(t, name, who)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return stdout.String(), errors.New(stderr.String())
		}
		t.Fatalf("child %s: %v: %s", name, err, stderr.String())
	}
	return stdout.String(), nil
}

// NetNS runs f on a thread in a new network namespace. The thread is never
// used again, so there is no state to restore; the namespace ends when the last
// socket in it is closed.
func NetNS(t testing.TB, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with us
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		defer close(done) // also when f calls t.FailNow, which a test must not do here
		f()
	}()
	if err := <-done; err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
}
