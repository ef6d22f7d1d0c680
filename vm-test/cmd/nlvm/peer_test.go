// SPDX-License-Identifier: MIT

package main_test

import (
	"strings"
	"testing"
)

// The module and the commands of this tree, as a person meets them first.
func TestModuleAndCommands(t *testing.T) {
	needVM(t)
	r := finish(t, command(t, "run", "--", "nlecho", "-c", "2", "hello"))
	if r.status != 0 || !strings.Contains(r.stdout, "2 transmitted, 2 received, 0% loss") {
		t.Errorf("status %d, %s\n%s", r.status, r.stdout, r.stderr)
	}
	r = finish(t, command(t, "run", "--no-module", "--", "sh", "-c", "insmod $NLVM_MODULE && grep -c '^nlpeer ' /proc/modules"))
	r.want(t, 0, "1\n", "")
}

func TestModuleRefused(t *testing.T) {
	needVM(t)
	r := finish(t, command(t, "run", "--no-commands", "--module-args", "protocol=99", "--", "echo", "not reached"))
	r.want(t, 2, "", "insmod nlpeer.ko protocol=99: invalid argument")
	if !strings.Contains(r.stderr, "nlpeer: protocol=99 is out of range") {
		t.Errorf("standard error lacks the kernel's words:\n%s", r.stderr)
	}
}
