// SPDX-License-Identifier: MIT

package machine

import (
	"errors"
	"strings"
	"testing"

	"nlpeer/vm-test/internal/wire"
)

// The rules that turn what was seen into an exit status. Only these need the
// inside of the package: most endings are hard to bring about on purpose.
func TestJudge(t *testing.T) {
	exit := func(status int) *wire.ExitInfo { return &wire.ExitInfo{Status: status} }
	tests := []struct {
		name   string
		end    ending
		status int
		reason string // part of it; "" for none at all
	}{
		{"passed", ending{exit: exit(0), qemuStatus: 1}, 0, ""},
		{"failed", ending{exit: exit(7), qemuStatus: 15}, 7, ""},
		{"ended by a signal", ending{exit: exit(137), qemuStatus: 19}, 137, ""},
		{"ended by us, with what it was for done", ending{exit: exit(137), qemuStatus: 19, enough: true}, 0, ""},
		{"the same, the kernel complained", ending{exit: exit(137), qemuStatus: 19, enough: true, complaints: 1}, 123, "kernel complained"},
		{"failed before we ended it", ending{exit: exit(7), qemuStatus: 15, enough: true}, 7, ""},
		{"killed for lack of memory", ending{exit: exit(137), qemuStatus: 19, starved: "12 (tail)"}, 137, "killed process 12 (tail); try a larger --mem"},
		{"bore with a lack of memory", ending{exit: exit(0), qemuStatus: 1, starved: "12 (tail)"}, 0, ""},
		{"highest status", ending{exit: exit(255), qemuStatus: 255}, 255, ""},
		{"passed, the kernel complained", ending{exit: exit(0), qemuStatus: 1, complaints: 1}, 123, "kernel complained"},
		{"who complained", ending{exit: exit(0), qemuStatus: 1, complaints: 2, detectors: []string{"KASAN", "lockdep"}}, 123, "complained: KASAN, lockdep"},
		{"failed, the kernel complained", ending{exit: exit(7), qemuStatus: 15, complaints: 1}, 7, "kernel complained"},
		{"not started", ending{exit: &wire.ExitInfo{Status: 2, Setup: "insmod: no"}, qemuStatus: 5}, 2, "insmod: no"},
		{"not started, the kernel complained", ending{exit: &wire.ExitInfo{Status: 2, Setup: "insmod: no"}, qemuStatus: 5, complaints: 1}, 2, "insmod: no"},

		{"elsewhere, passed", ending{exit: exit(0), noStatus: true, shutdown: "guest-shutdown"}, 0, ""},
		{"elsewhere, failed", ending{exit: exit(7), noStatus: true, shutdown: "guest-shutdown"}, 7, ""},
		{"elsewhere, then reset", ending{exit: exit(0), noStatus: true, shutdown: "guest-reset"}, 120, "did not power"},
		{"elsewhere, then a panic", ending{exit: exit(0), noStatus: true, shutdown: "guest-panic", panicked: true}, 121, "panicked"},
		{"elsewhere, QEMU said nothing", ending{exit: exit(0), noStatus: true}, 120, "did not power"},
		{"elsewhere, QEMU killed", ending{exit: exit(0), noStatus: true, qemuStatus: -1, shutdown: "guest-shutdown"}, 120, "lost"},
		{"elsewhere, power off without a verdict", ending{noStatus: true, shutdown: "guest-shutdown"}, 120, "lost"},
		{"power off without a verdict", ending{qemuStatus: 0}, 120, "lost"},
		{"the agent gave up", ending{qemuStatus: 255}, 120, "lost"},
		{"debug exit without a verdict", ending{qemuStatus: 1}, 120, "lost"},
		{"QEMU killed", ending{qemuStatus: -1}, 120, "killed"},
		{"garbage on the wire", ending{wireError: errors.New("wire: checksum"), qemuStatus: -1}, 120, "lost"},
		{"verdict, but the machine powered off", ending{exit: exit(0), qemuStatus: 0}, 120, "lost"},
		{"verdict, but another status", ending{exit: exit(0), qemuStatus: 3}, 120, "lost"},
		{"verdict, then killed", ending{exit: exit(0), qemuStatus: -1}, 120, "lost"},

		{"panic", ending{qemuStatus: 0, panicked: true}, 121, "panicked"},
		{"panic after the verdict", ending{exit: exit(0), qemuStatus: 0, panicked: true}, 121, "panicked"},
		{"panic that hung until the limit", ending{qemuStatus: -1, panicked: true, timedOut: true}, 121, "panicked"},
		{"time limit", ending{qemuStatus: -1, timedOut: true}, 122, "time limit"},
		{"limit of the start", ending{qemuStatus: -1, timedOut: true, unstarted: true}, 122, "not started in time"},
		{"time limit, nobody reads", ending{qemuStatus: -1, timedOut: true, unread: true, cut: true}, 122, "nobody read the output; the output is cut off"},
		{"time limit, slowly read", ending{qemuStatus: -1, timedOut: true, cut: true}, 122, "the time limit ran out; the output is cut off"},
		{"verdict just after the time limit", ending{exit: exit(0), qemuStatus: 1, timedOut: true}, 122, "time limit"},
		{"interrupted", ending{qemuStatus: -1, interrupted: 2}, 130, "interrupted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, reason := tt.end.judge()
			if status != tt.status || !strings.Contains(reason, tt.reason) || (tt.reason == "") != (reason == "") {
				t.Errorf("%d %q, want %d and a reason with %q", status, reason, tt.status, tt.reason)
			}
		})
	}
}
