// SPDX-License-Identifier: MIT

package main_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStreamsApart(t *testing.T) {
	needVM(t)
	run(t, "--", "sh", "-c", "echo out; echo err >&2; printf more").want(t, 0, "out\nmore", "err\n")
}

func TestBinaryRoundTrip(t *testing.T) {
	needVM(t)
	want := make([]byte, 1<<20)
	rand.Read(want)
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "cat")
	cmd.Stdin = bytes.NewReader(want)
	r := finish(t, cmd)
	if r.status != 0 || r.stdout != string(want) {
		t.Errorf("status %d, %d bytes came back, equal: %v\n%s", r.status, len(r.stdout), r.stdout == string(want), r.stderr)
	}
}

// The answer to a line arrives while the command waits for the next one.
func TestLive(t *testing.T) {
	needVM(t)
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "sh", "-c",
		"while read line; do echo out $line; echo err $line >&2; done; exit 4")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outLines, errLines := bufio.NewReader(stdout), bufio.NewReader(stderr)
	for _, word := range []string{"a", "b"} {
		if _, err := io.WriteString(in, word+"\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := outLines.ReadString('\n'); line != "out "+word+"\n" {
			t.Fatalf("standard output: %q, %v", line, err)
		}
		for line := ""; line != "err "+word+"\n"; { // nlvm's own progress may precede
			if line, err = errLines.ReadString('\n'); err != nil {
				t.Fatalf("standard error: %q, %v", line, err)
			}
		}
	}
	in.Close()
	if r := finish(t, cmd); r.status != 4 {
		t.Errorf("exit status %d, want 4", r.status)
	}
}

// Whatever standard input is, a command that does not read it ends.
func TestUnreadInput(t *testing.T) {
	needVM(t)
	open, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	defer writer.Close()
	endless, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Close()
	for name, in := range map[string]*os.File{"an open pipe": open, "an endless file": endless} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, "run", "--no-module", "--no-commands", "--", "echo", "done")
			cmd.Stdin = in
			finish(t, cmd).want(t, 0, "done\n", "")
		})
	}
	t.Run("closed", func(t *testing.T) {
		cmd := command(t, "run", "--no-module", "--no-commands", "--", "cat")
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `exec "$0" "$@" <&-`}, cmd.Args...)
		finish(t, cmd).want(t, 0, "", "")
	})
	t.Run("more than the command takes", func(t *testing.T) {
		cmd := command(t, "run", "--no-module", "--no-commands", "--", "head", "-c", "3")
		cmd.Stdin = strings.NewReader(strings.Repeat("abc", 1<<20))
		finish(t, cmd).want(t, 0, "abc", "")
	})
}

// fullPipe returns the end of a pipe that takes nothing more, for nobody reads it.
func fullPipe(t *testing.T) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		reader.Close()
		writer.Close()
	})
	size, err := unix.FcntlInt(writer.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	return writer
}

// Who does not read why it failed learns at least that it did.
func TestUnreadReason(t *testing.T) {
	cmd := command(t, "frobnicate")
	cmd.Env = append(os.Environ(), "NLVM_SLOW=0.01")
	cmd.Stderr = fullPipe(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	finish(t, cmd).want(t, 2, "", "")
}

func TestBrokenPipe(t *testing.T) {
	needVM(t)
	cmd := command(t, "run", "--no-module", "--no-commands", "--", "yes")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = writer
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if _, err := io.ReadFull(reader, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	reader.Close()
	if r := finish(t, cmd); r.status != 128+int(syscall.SIGPIPE) {
		t.Errorf("exit status %d, want 141", r.status)
	}
	if s := stderr.String(); strings.Contains(s, "pipe") {
		t.Errorf("it was not quiet: %s", s)
	}
}

// A shell in the guest, on a terminal here.
func TestShell(t *testing.T) {
	needVM(t)
	master, slave := openTerminal(t)
	before, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "shell", "--no-module", "--no-commands")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect := reader(t, master)
	expect("# ") // the prompt
	io.WriteString(master, "echo $((6*7))-$(stty size)-$(tty)\r")
	expect("42-33 77-/dev/pts/0")
	// Not before the shell's line editor has given the terminal back.
	// By one process, as a shell that is hit between two commands goes on to the next.
	io.WriteString(master, "sh -c \"echo u''p; exec sleep 1000\"\r")
	expect("up")
	io.WriteString(master, "\x03")
	expect("^C")
	io.WriteString(master, "exit 9\r")
	if r := finish(t, cmd); r.status != 9 {
		t.Errorf("exit status %d, want 9", r.status)
	}
	after, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if *before != *after {
		t.Errorf("the terminal was %+v and is %+v", *before, *after)
	}
}

// A terminal that goes away takes the guest along.
func TestShellHangup(t *testing.T) {
	needVM(t)
	master, slave := openTerminal(t)
	cmd := command(t, "shell", "--no-module", "--no-commands")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader(t, master)("# ")
	slave.Close()
	master.Close()
	if r := finish(t, cmd); r.status == 0 {
		t.Error("exit status 0")
	}
}

func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	// Not os.OpenFile: its Fd would make the file blocking, without deadlines.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("this needs a pseudo terminal: %v", err)
	}
	master = os.NewFile(uintptr(fd), "master")
	t.Cleanup(func() { master.Close() })
	if err := master.SetReadDeadline(time.Now().Add(patience())); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77}); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

// reader returns a function that reads until a text has come by. What came
// before is dropped.
func reader(t *testing.T, r io.Reader) func(text string) {
	var seen []byte
	buf := make([]byte, 4096)
	return func(text string) {
		t.Helper()
		for {
			if i := bytes.Index(seen, []byte(text)); i >= 0 {
				seen = seen[i+len(text):]
				return
			}
			n, err := r.Read(buf)
			seen = append(seen, buf[:n]...)
			if err != nil {
				t.Fatalf("waiting for %q: %v; seen: %q", text, err, seen)
			}
		}
	}
}
