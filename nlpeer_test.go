// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"nlpeer"
)

// dkms reads its version from dkms.conf alone, so it stands there once more.
func TestDKMSVersion(t *testing.T) {
	conf, err := os.ReadFile("dkms.conf")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^PACKAGE_VERSION="(.*)"$`).FindSubmatch(conf)
	if m == nil {
		t.Fatal("dkms.conf has no PACKAGE_VERSION")
	}
	if got, want := string(m[1]), nlpeer.Version(); got != want {
		t.Errorf("dkms.conf says version %q, VERSION says %q", got, want)
	}
}

// Equal sources make equal programs, whatever the commit and the folder: nlvm matrix
// keeps its results by the content of nlvm.
func TestProgramsOfEqualSources(t *testing.T) {
	needTool(t, "make")
	out, err := exec.Command("make", "-n", "GO=go", "commands").CombinedOutput()
	if err != nil {
		t.Fatalf("make: %v\n%s", err, out)
	}
	builds := 0
	for line := range strings.Lines(string(out)) {
		_, flags, ok := strings.Cut(line, "go build ")
		if !ok {
			continue
		}
		builds++
		for _, flag := range []string{"-trimpath ", "-buildvcs=false "} {
			if !strings.Contains(flags, flag) {
				t.Errorf("built without %s: %s", flag, line)
			}
		}
	}
	if builds == 0 {
		t.Errorf("nothing is built by\n%s", out)
	}
}
