// SPDX-License-Identifier: MIT

package qemu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a running QEMU.
type Process struct {
	Wire    net.Conn // to the guest's agent
	Console *Console // what the guest's kernel printed
	debug   net.Conn // nil unless asked for
	monitor net.Conn
	qmp     *monitor // speaks over monitor, nil until it is needed

	negotiated bool // monitor was asked for events

	cmd    *exec.Cmd
	stderr Console
	done   chan struct{}
	status int // valid when done is closed
}

// Boot starts a machine from its kernel.
func Boot(c Config) (*Process, error) { return start(c) }

// Restore starts a machine from a saved state. A state that does not fit shows
// as a machine that ends before it says anything.
func Restore(c Config, state string) (*Process, error) {
	return start(c, "-incoming", "exec:exec cat "+shellQuote(state))
}

func start(c Config, more ...string) (*Process, error) {
	platform, path, err := find(c.Arch)
	if err != nil {
		return nil, err
	}
	p := &Process{Console: &Console{}, done: make(chan struct{})}
	if c.Debug {
		more = append(more, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", debugChardev, debugFD))
	}
	p.cmd = exec.Command(path, append(c.Args(), more...)...)
	p.cmd.Stderr = &p.stderr
	// A grandchild (cat of a restore) may hold standard error open.
	p.cmd.WaitDelay = time.Second
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // a Ctrl-C at the terminal is for nlvm to handle
		Pdeathsig: syscall.SIGKILL, // and QEMU never outlives nlvm
	}
	// Socket pairs instead of socket files: nothing to clean up, nobody else can connect.
	var console net.Conn
	conns := []*net.Conn{&p.Wire, &console, &p.monitor} // descriptors 3, 4, 5
	if c.Debug {
		conns = append(conns, &p.debug) // 6
	}
	for _, ours := range conns {
		conn, theirs, err := socketPair()
		if err != nil {
			return nil, err
		}
		defer theirs.Close()
		*ours = conn
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, theirs)
	}

	started := make(chan error)
	go func() {
		// Pdeathsig fires when the thread that forked ends, not the process:
		// this goroutine keeps its thread until QEMU is gone.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	go p.Console.follow(console)
	if !platform.exit {
		// Before this QEMU reports no events; what it answers is read later.
		if err := negotiate(p.monitor); err != nil {
			p.Kill()
			return nil, err
		}
		p.negotiated = true
	}
	return p, nil
}

// Done is closed when QEMU has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is QEMU's exit status after Done, -1 if a signal ended it.
func (p *Process) Status() int { return p.status }

// Stderr is what QEMU complained about.
func (p *Process) Stderr() string { return strings.TrimSpace(p.stderr.Text()) }

// Pid is QEMU's process ID.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Kill ends QEMU and its children, and waits until it is gone.
func (p *Process) Kill() {
	select {
	case <-p.done:
	default:
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
		<-p.done
	}
	p.Wire.Close()
	p.monitor.Close()
	if p.debug != nil {
		p.debug.Close()
	}
}

// Wait waits for QEMU to end by itself.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		p.Console.wait(ctx)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// socketPair returns one end for this process and one to be inherited.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "nlvm"), os.NewFile(uintptr(fds[1]), "qemu")
	conn, err := net.FileConn(ours) // duplicates
	err = errors.Join(err, ours.Close())
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
