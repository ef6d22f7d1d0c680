// SPDX-License-Identifier: MIT

package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/qemu"
	"nlpeer/vm-test/internal/tarball"
	"nlpeer/vm-test/internal/wire"
)

// These tests are about guests that no kernel makes on purpose, so the test program
// plays QEMU with the agent in it: a process at the other end of the wire.

// guests are what it can play, by name. The result is QEMU's exit status.
var guests = map[string]func(conn *wire.Conn) int{
	"boots late":    bootsLate,
	"brings back":   bringsBack,
	"does not hear": doesNotHear,
	"never begins":  neverBegins,
	"stops reading": stopsReading,
	"says much":     saysMuch,
	"says why":      saysWhy,
	"works on":      worksOn,
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != fakeProgram {
		os.Exit(m.Run())
	}
	os.Exit(guests[os.Getenv(fakeGuest)](wire.NewConn(os.NewFile(3, "wire"))))
}

const (
	fakeArch    = "amd64"
	fakeProgram = "qemu-system-x86_64"
	fakeGuest   = "NLVM_FAKE_GUEST"
)

// startFake returns a machine with one of the guests, and what nlvm says of it.
func startFake(t *testing.T, guest string) (*Machine, *notes) {
	t.Helper()
	fake(t, guest)
	p, err := qemu.Boot(fakeConfig)
	if err != nil {
		t.Fatal(err)
	}
	said := new(notes)
	m := newMachine(p, fakeArtifacts, Options{})
	m.notes = said
	t.Cleanup(m.Close)
	return m, said
}

// fake has QEMU played by a guest.
func fake(t *testing.T, guest string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, fakeProgram)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv(fakeGuest, guest)
}

var (
	fakeConfig    = qemu.Config{Arch: fakeArch, SMP: 1, MemMiB: 128, Accel: qemu.TCG}
	fakeArtifacts = artifacts.Guest{Kernel: kernel.Unpacked{Kernel: kernel.Kernel{Name: "fake", Arch: fakeArch}}}
)

// notes is what was said so far.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

// await is the agent's receiving until a frame of a type, for the guests.
func await(conn *wire.Conn, t wire.Type) {
	for {
		if f, err := conn.Receive(); err != nil || f.Type == t {
			return
		}
	}
}

// verdict ends a guest as the agent does.
func verdict(conn *wire.Conn, info wire.ExitInfo) int {
	_ = conn.SendValue(wire.Exit, info)
	await(conn, wire.Bye)
	return 2*info.Status + 1
}

// bringsBack sends a file after the command.
func bringsBack(conn *wire.Conn) int {
	await(conn, wire.Run)
	_ = conn.Send(wire.Started, nil)
	if err := tarball.Pack(conn.Writer(wire.Back), []tarball.Item{{Source: os.Args[0], Name: "profile"}}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = conn.Send(wire.BackEnd, nil)
	return verdict(conn, wire.ExitInfo{})
}

// A file that the guest gave and that could not be stored is missing, whatever the
// command says.
func TestFilesBack(t *testing.T) {
	dir := t.TempDir()
	run := func(place string) (status int, said *notes, err error) {
		m, said := startFake(t, "brings back")
		status, err = m.Run(t.Context(), Request{Place: func(string) string { return place }})
		return status, said, err
	}
	file := filepath.Join(dir, "profile")
	if status, said, err := run(file); status != 0 || err != nil || said.String() != "" {
		t.Errorf("status %d, %v, %q", status, err, said)
	}
	if st, err := os.Stat(file); err != nil || st.Size() == 0 {
		t.Errorf("what came back: %v", err)
	}
	// A folder cannot be where a file is.
	status, said, err := run(filepath.Join(file, "profile"))
	if status != StatusSetup || err == nil || !strings.Contains(err.Error(), "files from the guest: ") {
		t.Errorf("status %d, %v, %q", status, err, said)
	}
}
