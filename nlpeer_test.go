// SPDX-License-Identifier: MIT

package nlpeer_test

import (
	"os"
	"regexp"
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
