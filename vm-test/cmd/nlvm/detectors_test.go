// SPDX-License-Identifier: MIT

package main_test

import (
	"os"
	"testing"
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

// Each detector of the debug kernel is awake: it catches the mistake that it is
// there for, and nlvm says whose report it is.
func TestDetectors(t *testing.T) {
	needDebugKernel(t)
	tests := []struct {
		fault    string
		detector string // as nlvm names it
		report   string // part of its text
		script   string // what to do instead of loading the module
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
		{fault: "sleep-in-atomic", detector: "atomic sleep", report: "sleeping function called from invalid context"},
		{fault: "schedule-in-atomic", detector: "atomic sleep", report: "scheduling while atomic"},
		{fault: "this-cpu", detector: "preemption", report: "using smp_processor_id() in preemptible"},
		{fault: "rcu-pointer", detector: "RCU", report: "suspicious rcu_dereference_check() usage"},
		{fault: "rcu-list", detector: "RCU", report: "RCU-list traversed in non-reader section"},
		{fault: "rcu-sleep", detector: "RCU", report: "Voluntary context switch within RCU read-side critical section"},
		{fault: "free-timer", detector: "object debugging", report: "object type: timer_list"},
		{fault: "free-work", detector: "object debugging", report: "object type: timer_list"},
		{fault: "free-queued", detector: "object debugging", report: "object type: work_struct"},
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
	}
	faulty := buildModuleFor(t, "faulty", "debug")
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			argv := []string{"insmod", "faulty.ko", "what=" + tt.fault}
			if tt.script != "" {
				argv = []string{"sh", "-c", tt.script}
			}
			r := onDebug(t, append([]string{"--put", faulty, "--"}, argv...)...)
			r.want(t, 123, "", tt.report)
			r.want(t, 123, "", "the kernel complained: "+tt.detector)
		})
	}
	t.Run("hang", func(t *testing.T) {
		t.Parallel()
		r := onDebug(t, "--put", faulty, "--", "insmod", "faulty.ko", "what=hang")
		r.want(t, 121, "", "soft lockup - CPU")
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		onDebug(t, "--put", faulty, "--", "insmod", "faulty.ko").want(t, 0, "", "")
	})
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
