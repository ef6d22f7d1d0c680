// SPDX-License-Identifier: MIT

package guesttest_test

import (
	"os"
	"testing"
	"time"

	"nlpeer/vm-test/testdata/guesttest"
)

func TestCovered(t *testing.T) {
	if os.Getenv("NLVM") != "1" {
		t.Skip("made to run in a virtual machine of nlvm")
	}
	if os.Getenv("GUESTTEST_WAIT") != "" {
		time.Sleep(time.Hour) // for whoever ends it
	}
	if got := guesttest.Covered(3); got != 3 {
		t.Errorf("Covered(3) = %d", got)
	}
	if b, err := os.ReadFile("testdata/file"); err != nil || string(b) != "sent along\n" {
		t.Errorf("testdata/file: %q, %v", b, err)
	}
	if os.Getenv("GUESTTEST_FAIL") != "" {
		t.Error("failing as asked")
	}
}
