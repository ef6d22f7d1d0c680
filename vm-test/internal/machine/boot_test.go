// SPDX-License-Identifier: MIT

package machine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/wire"
)

// fakeBoots names a file in which each boot leaves a byte.
const fakeBoots = "NLVM_FAKE_BOOTS"

// fakeCrashes is how many boots are none.
const fakeCrashes = "NLVM_FAKE_CRASHES"

// bootsLate ends before its agent speaks, some times.
func bootsLate(conn *wire.Conn) int {
	f, err := os.OpenFile(os.Getenv(fakeBoots), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f.WriteString(".")
	st, err := f.Stat()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	f.Close()
	if crashes, _ := strconv.ParseInt(os.Getenv(fakeCrashes), 10, 64); st.Size() <= crashes {
		return 1
	}
	_ = conn.Send(wire.Hello, nil)
	await(conn, wire.Bye)
	return 0
}

// A kernel that crashes before anything of ours runs is booted once more, not twice.
func TestBootOnceMore(t *testing.T) {
	for crashes, want := range []struct {
		boots int
		fails bool
		said  string
	}{
		{1, false, ""},
		{2, false, "nlvm: the virtual machine does not boot: QEMU has ended\nnlvm: booting once more\n"},
		{2, true, "nlvm: the virtual machine does not boot: QEMU has ended\nnlvm: booting once more\n"},
	} {
		fake(t, "boots late")
		file := t.TempDir() + "/boots"
		t.Setenv(fakeBoots, file)
		t.Setenv(fakeCrashes, strconv.Itoa(crashes))
		said := new(notes)
		m, err := boot(t.Context(), fakeConfig, fakeArtifacts, Options{Progress: &kernel.Progress{W: said}})
		if err == nil {
			m.Close()
		}
		if (err != nil) != want.fails || err != nil && !strings.Contains(err.Error(), "does not boot: QEMU has ended") {
			t.Errorf("%d crashes: %v", crashes, err)
		}
		boots, err := os.ReadFile(file)
		if len(boots) != want.boots || said.String() != want.said {
			t.Errorf("%d crashes: %d boots, %v, and it said %q", crashes, len(boots), err, said)
		}
	}
}
