// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// A record has a line for each run: how it ended, and the sums of what its
// programs have counted.
func TestRecord(t *testing.T) {
	needVM(t)
	name := filepath.Join(t.TempDir(), "record")
	for _, script := range []string{
		`printf 'messages\t1\nlosses\t2\nmessages\t40\n' > $NLVM_COUNTS`,
		`exit 3`,
		`echo no number > $NLVM_COUNTS`,
	} {
		cmd := command(t, "run", "--no-module", "--no-commands", "--", "sh", "-c", script)
		cmd.Env = append(os.Environ(), "NLVM_RECORD="+name)
		switch r := finish(t, cmd); script {
		case "exit 3":
			r.want(t, 3, "", "")
		case `echo no number > $NLVM_COUNTS`:
			r.want(t, 2, "", `"no number\n" is no name and number`)
		default:
			r.want(t, 0, "", "")
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^sh\t0\t0\t\t\d+\.\d\tmessages: 41, losses: 2\nsh\t3\t0\t\t\d+\.\d\t\n$`)
	if !want.Match(got) {
		t.Errorf("the record is %q, want what matches %q", got, want)
	}
}
