// SPDX-License-Identifier: MIT

package vmtest

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Feature is something that not all kernels of the matrix have. Tests ask for
// it by name; which kernel has it stands here and nowhere else.
type Feature string

// The features, by what is missing where one is absent.
const (
	MissingAttribute Feature = "acknowledgments that name the missing attribute"
	GenlHeader       Feature = "generic netlink looks at reserved flags and fields of headers"
	NoAttributes     Feature = "an operation without a policy refuses all attributes"
	SplitPolicies    Feature = "a policy for do and one for dump of a generic netlink operation"
	QueueTraced      Feature = "the function that queues a message is not inlined"
	HistTriggers     Feature = "histograms of trace events"
	FaultsOnRequest  Feature = "faults on request"
	Coverage         Feature = "a thread is told what code it reaches"
	PlainMemory      Feature = "memory without a detector's share"
	PagePoison       Feature = "free pages that are poisoned on request"
	MemoryGroups     Feature = "control groups for memory"
	ChargeRefused    Feature = "a full control group refuses memory to a task that must not be killed"
	Detectors        Feature = "detectors of mistakes, which cost time"
	ProcForAnybody   Feature = "anybody may listen to process events"
)

// version of a kernel, as in 6.1.
type version struct{ major, minor int }

func (v version) before(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

// has lists for each feature from which version on a kernel of the matrix must
// have it, from which on it has not, and so on in turns.
var has = map[Feature][]version{
	MissingAttribute: {{6, 1}},
	GenlHeader:       {{6, 1}},
	NoAttributes:     {{5, 10}, {6, 2}, {7, 3}}, // before 6.2 compat.h sees to it
	SplitPolicies:    {{6, 2}},
	QueueTraced:      {{6, 1}},
	HistTriggers:     {{6, 1}},
	PlainMemory:      {{5, 10}},
	PagePoison:       {{5, 10}},
	MemoryGroups:     {{5, 10}},
	ChargeRefused:    {{6, 1}},
	ProcForAnybody:   {{6, 6}},
}

// left lists the features that were left out of a kernel when it was built,
// with the kernels that have not got them.
var left = map[Feature][]string{
	PlainMemory: {"debug"},
	PagePoison:  {"debug", "races"},
	QueueTraced: {"debug", "races"},
}

// built lists the features that a kernel has by how it was built, with the
// kernels of the matrix that have it.
var built = map[Feature][]string{
	FaultsOnRequest: {"debug"},
	Coverage:        {"debug"},
	Detectors:       {"debug"},
}

// Has says whether the running kernel must have the feature. A test that sees
// the difference in what it asserts asks for it.
func Has(f Feature) bool {
	if kernels, ok := built[f]; ok {
		return slices.Contains(kernels, os.Getenv("NLVM_KERNEL"))
	}
	if slices.Contains(left[f], os.Getenv("NLVM_KERNEL")) {
		return false
	}
	turns, ok := has[f]
	if !ok {
		panic("vmtest: a feature of which nobody knows who has it: " + string(f))
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		panic(err)
	}
	var v version
	release := unix.ByteSliceToString(u.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &v.major, &v.minor); err != nil {
		panic("vmtest: release " + release)
	}
	there := false
	for _, turn := range turns {
		if !v.before(turn) {
			there = !there
		}
	}
	return there
}

// Need skips a test that is about a feature that the running kernel has not.
// there is what the test has found out by itself: a kernel that ought to have
// the feature and has not is a failure.
func Need(t testing.TB, f Feature, there bool) {
	t.Helper()
	switch must := Has(f); {
	case there:
	case must:
		t.Fatalf("kernel %s ought to have: %s", os.Getenv("NLVM_KERNEL"), f)
	default:
		t.Skipf("kernel %s has not: %s", os.Getenv("NLVM_KERNEL"), f)
	}
}

// Miss is the missing attribute that an acknowledgment names, for what one
// must say: -1 where the kernel does not tell it.
func Miss(attribute int) int {
	if !Has(MissingAttribute) {
		return -1
	}
	return attribute
}
