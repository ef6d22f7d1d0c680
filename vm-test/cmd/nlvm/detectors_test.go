// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/splat"
)

// needDebugKernel skips unless make test-debug asks: the kernel may have to be
// built first, and each fault costs a machine.
func needDebugKernel(t *testing.T) {
	t.Helper()
	needVM(t)
	if os.Getenv("NLPEER_DEBUG") == "" {
		t.Skip("this needs: the debug kernel; make test-debug runs it")
	}
}

// onDebug is run on the kernel with detectors, whose search for leaks takes a while.
func onDebug(t *testing.T, args ...string) result {
	t.Helper()
	return run(t, append([]string{"--kernel", "debug", "--timeout", "10m"}, args...)...)
}

// mistakes are what the module faulty does on request, and who catches it.
var mistakes = []struct {
	fault    string
	detector string // as nlvm names it
	report   string // part of its text
	script   string // what to do instead of loading the module
	panics   bool
}{
	{fault: "overrun", detector: "KASAN", report: "slab-out-of-bounds in overrun"},
	{fault: "use-after-free", detector: "KASAN", report: "slab-use-after-free in use_after_free"},
	{fault: "double-free", detector: "KASAN", report: "double-free in double_free"},
	{fault: "stack-overrun", detector: "KASAN", report: "stack-out-of-bounds in stack_overrun"},
	{fault: "global-overrun", detector: "KASAN", report: "global-out-of-bounds in global_overrun"},
	{fault: "vmalloc-overrun", detector: "KASAN", report: "vmalloc-out-of-bounds in vmalloc_overrun"},
	{fault: "leak", detector: "kmemleak", report: "leak+0x"},
	{fault: "field-overrun", detector: "fortify", report: "field-spanning write"},
	{fault: "array-index", detector: "UBSAN", report: "array-index-out-of-bounds"},
	{fault: "shift", detector: "UBSAN", report: "shift-out-of-bounds"},
	{fault: "bool", detector: "UBSAN", report: "not a valid value for type '_Bool'"},
	{fault: "lock-cycle", detector: "lockdep", report: "possible circular locking dependency"},
	{fault: "lock-twice", detector: "lockdep", report: "possible recursive locking"},
	{fault: "lock-irq", detector: "lockdep", report: "inconsistent lock state"},
	{fault: "lock-kept", detector: "lockdep", report: "lock held when returning to user space"},
	{fault: "lock-freed", detector: "lockdep", report: "held lock freed"},
	{fault: "lock-overwritten", detector: "lock debugging", report: "spinlock bad magic on CPU"},
	{fault: "sleep-in-atomic", detector: "atomic sleep", report: "sleeping function called from invalid context"},
	{fault: "schedule-in-atomic", detector: "atomic sleep", report: "scheduling while atomic"},
	{fault: "this-cpu", detector: "preemption", report: "using smp_processor_id() in preemptible"},
	{fault: "rcu-pointer", detector: "RCU", report: "suspicious rcu_dereference_check() usage"},
	{fault: "rcu-list", detector: "RCU", report: "RCU-list traversed in non-reader section"},
	{fault: "rcu-sleep", detector: "RCU", report: "Voluntary context switch within RCU read-side critical section"},
	{fault: "free-timer", detector: "object debugging", report: "object type: timer_list"},
	{fault: "free-work", detector: "object debugging", report: "object type: timer_list"},
	{fault: "free-queued", detector: "object debugging", report: "object type: work_struct"},
	{fault: "free-counter", detector: "object debugging", report: "object type: percpu_counter"},
	{fault: "rcu-twice", detector: "object debugging", report: "object type: rcu_head"},
	{fault: "refcount", detector: "refcount", report: "decrement hit 0"},
	{fault: "list", detector: "list debugging", report: "list_del corruption"},
	{fault: "net-tracker", detector: "reference tracker", report: "ref_tracker: net ", script: "unshare -n insmod faulty.ko what=net-tracker"},
	{fault: "net-device", detector: "reference tracker", report: "waiting for lo to become free", script: `
			unshare -n insmod faulty.ko what=net-device
			until dmesg | grep -q unregister_netdevice; do sleep 0.2; done`},
	{fault: "net-debug", detector: "WARNING", report: "net_debug+0x"},
	{fault: "hung-task", detector: "hung task", report: "task faulty", script: `
			echo 2 > /proc/sys/kernel/hung_task_timeout_secs
			insmod faulty.ko what=hung-task
			until dmesg | grep -q 'blocked for more'; do sleep 0.2; done`},
	{fault: "rcu-stall", detector: "RCU stall", report: "rcu: INFO: rcu_preempt ", script: `
			echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
			insmod faulty.ko what=rcu-stall &
			until dmesg | grep -q 'INFO: rcu_preempt .*detected stall'; do sleep 0.2; done
			echo 1 > /sys/module/faulty/parameters/enough
			wait $!`},
	{fault: "busy-work", detector: "lockup", report: "BUG: workqueue lockup - pool cpus=0", script: `
			echo 1 > /sys/module/workqueue/parameters/watchdog_thresh
			insmod faulty.ko what=busy-work`},
	{fault: "hang", detector: "lockup", report: "soft lockup - CPU", panics: true},
	{fault: "copy-overrun", detector: "usercopy", report: "Kernel memory exposure attempt detected from SLUB object", panics: true},
}

// Each detector of the debug kernel is awake: it catches the mistake that it is
// there for, and nlvm says whose report it is.
func TestDetectors(t *testing.T) {
	needDebugKernel(t)
	faulty := buildModuleFor(t, "faulty", "debug")
	for _, tt := range mistakes {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			argv := []string{"insmod", "faulty.ko", "what=" + tt.fault}
			if tt.script != "" {
				argv = []string{"sh", "-c", tt.script}
			}
			r := onDebug(t, append([]string{"--put", faulty, "--"}, argv...)...)
			if tt.panics { // and there is nobody left to name the detector
				r.want(t, 121, "", tt.report)
				if got := firstComplaint(r.stderr); got != tt.detector {
					t.Errorf("the console begins with a report of %q, want %q", got, tt.detector)
				}
				return
			}
			r.want(t, 123, "", tt.report)
			r.want(t, 123, "", "the kernel complained: "+tt.detector)
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		onDebug(t, "--put", faulty, "--", "insmod", "faulty.ko").want(t, 0, "", "")
	})
}

// firstComplaint names the detector of the first complaint of a console that nlvm shows.
func firstComplaint(stderr string) string {
	for line := range strings.Lines(stderr) {
		_, text, _ := strings.Cut(line, "] ")
		if name := splat.Detector(splat.Record{Text: text}); strings.HasPrefix(line, "| [") && name != "" {
			return name
		}
	}
	return ""
}

// The table of detectors names those that TestDetectors tries, and no other.
func TestDetectorsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(doc), "\n| detector | finds | as nlvm names it |\n|---|---|---|\n")
	if !ok {
		t.Fatal("docs/testing.md has no table of detectors")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	documented, tried := map[string]bool{}, map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		for name := range strings.SplitSeq(cells[len(cells)-2], ",") {
			documented[strings.Trim(name, " `")] = true
		}
	}
	for _, m := range mistakes {
		tried[m.detector] = true
	}
	if diff := cmp.Diff(tried, documented); diff != "" {
		t.Errorf("detectors that are tried (-) and documented (+):\n%s", diff)
	}
}

// So does the one that is a kernel of its own.
func TestRaceDetector(t *testing.T) {
	needVM(t)
	if os.Getenv("NLPEER_DEBUG") != "all" {
		t.Skip("this needs: the kernel that looks for races; make test-debug ALL=1 runs it")
	}
	faulty := buildModuleFor(t, "faulty", "races")
	args := []string{"--kernel", "races", "--smp", "2", "--timeout", "10m", "--put", faulty, "--", "insmod", "faulty.ko"}
	r := run(t, append(args, "what=data-race")...)
	r.want(t, 123, "", "BUG: KCSAN: data-race in race")
	r.want(t, 123, "", " race+0x")
	r.want(t, 123, "", "the kernel complained: KCSAN")
	run(t, args...).want(t, 0, "", "")
}
