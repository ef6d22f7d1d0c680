// SPDX-License-Identifier: MIT

package splat_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"nlpeer/vm-test/internal/splat"
)

func TestParse(t *testing.T) {
	got, ok := splat.Parse("4,1175,8858643,-;nlpeer: a;b, c\n SUBSYSTEM=net\n DEVICE=+x\n")
	want := splat.Record{Level: 4, Micros: 8858643, Text: "nlpeer: a;b, c"}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("ok %v (-want +got):\n%s", ok, diff)
	}
	if s := got.String(); s != "[    8.858643] nlpeer: a;b, c" {
		t.Errorf("shown as %q", s)
	}
	if r, ok := splat.Parse("12,1,1000042,-;from a process\n"); !ok || r.Facility != 1 || r.String() != "[    1.000042] from a process" {
		t.Errorf("a process's record: %+v %v", r, ok)
	}
	for _, bad := range []string{"", "no head", "x,1,2,-;t", "6,1;t", "6,1,x,-;t"} {
		if r, ok := splat.Parse(bad); ok {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

// Headlines as kernels from 5.10 to 7.x print them, and whose they are.
var complaints = []struct{ text, detector string }{
	{"WARNING: CPU: 0 PID: 92 at /tmp/faulty.c:31 faulty_init+0x2c/0x1000 [faulty]", "WARNING"},
	{"WARNING: possible circular locking dependency detected", "lockdep"},
	{"WARNING: suspicious RCU usage", "RCU"},
	{"BUG: kernel NULL pointer dereference, address: 0000000000000000", "oops"},
	{"BUG: unable to handle page fault for address: ffffdead00000010", "oops"},
	{"BUG: sleeping function called from invalid context at mm/slab.h:274", "atomic sleep"},
	{"BUG: scheduling while atomic: nlecho/93/0x00000002", "atomic sleep"},
	{"BUG: KASAN: slab-use-after-free in nlpeer_beacon_tick+0x9a/0x100 [nlpeer]", "KASAN"},
	{"BUG: KFENCE: out-of-bounds read in test+0x1/0x2", "KFENCE"},
	{"BUG: spinlock bad magic on CPU#0, insmod/85", "lock debugging"},
	{"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:85]", "lockup"},
	{"BUG kmalloc-64 (Tainted: G           O      ): Poison overwritten", "SLUB"},
	{"BUG kmalloc-rnd-03-64 (Not tainted): Object already free", "SLUB"},
	{"pagealloc: memory corruption", "page poison"},
	{"pagealloc: single bit error", "page poison"},
	{"kernel BUG at net/netlink/af_netlink.c:400!", "BUG"},
	{"Oops: 0002 [#1] PREEMPT SMP NOPTI", "oops"},
	{"Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] PREEMPT SMP", "oops"},
	{"general protection fault, probably for non-canonical address 0x6b6b6b6b6b6b6b6b: 0000 [#1] PREEMPT SMP", "oops"},
	{"invalid opcode: 0000 [#1] PREEMPT SMP NOPTI", "oops"},
	{"refcount_t: underflow; use-after-free.", "refcount"},
	{"Kernel panic - not syncing: sysrq triggered crash", "panic"},
	{"rcu: INFO: rcu_preempt self-detected stall on CPU", "RCU stall"},
	{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU stall"},
	{"INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... }", "RCU stall"},
	{"INFO: task nlsub:123 blocked for more than 120 seconds.", "hung task"},
	{"INFO: trying to register non-static key.", "lockdep"},
	{"list_del corruption, ffff888004b2c000->next is LIST_POISON1 (dead000000000100)", "list debugging"},
	{"list_add corruption. prev->next should be next (ffff8880), but was 0000.", "list debugging"},
	{"unregister_netdevice: waiting for lo to become free. Usage count = 2", "reference tracker"},
	{"UBSAN: array-index-out-of-bounds in kmod/echo.c:12:3", "UBSAN"},
	{"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "kmemleak"},
	{"ODEBUG: free active (active state 0) object type: hrtimer hint: beacon_fire+0x0/0x40", "object debugging"},
	{"ref_tracker: net notrefcnt@ffff8880 has 1/1 users at sk_alloc leaked", "reference tracker"},
	{"kmem_cache_destroy nlpeer_object: Slab cache still has objects when called from nlpeer_exit+0x10/0x20 [nlpeer]", "SLUB"},
	{"WARNING: possible recursive locking detected", "lockdep"},
	{"WARNING: possible irq lock inversion dependency detected", "lockdep"},
	{"WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "lockdep"},
	{"WARNING: inconsistent lock state", "lockdep"},
	{"WARNING: bad unlock balance detected!", "lockdep"},
	{"WARNING: held lock freed!", "lockdep"},
	{"WARNING: lock held when returning to user space!", "lockdep"},
	{"WARNING: nlecho/93 still has locks held!", "lockdep"},
	{"BUG: MAX_LOCKDEP_ENTRIES too low!", "lockdep"},
	{"DEBUG_LOCKS_WARN_ON(1)", "lockdep"},
	{"BUG: using smp_processor_id() in preemptible [00000000] code: insmod/85", "preemption"},
	{"BUG: using __this_cpu_add() in preemptible [00000000] code: nlecho/85", "preemption"},
	{"BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[9]", "atomic sleep"},
	{"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!", "lockup"},
	{"Voluntary context switch within RCU read-side critical section!", "RCU"},
	{"BUG: KCSAN: data-race in a / b", "KCSAN"},
	{"ref_tracker: net notrefcnt@ffff888005b5a1c8 leaked reference.", "reference tracker"},
	{"ref_tracker: reference already released.", "reference tracker"},
	{"kmemleak: Cannot allocate a kmemleak_object structure", "kmemleak"},
	{"ODEBUG: Out of memory. ODEBUG disabled", "object debugging"},
	{"usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-32' (offset 0, size 33)!", "usercopy"},
	{"usercopy: Kernel memory overwrite attempt detected to process stack (offset 160, size 256)!", "usercopy"},
	{"memcpy: detected field-spanning write (size 9) of single field \"s.field\" at x.c:1 (size 8)", "fortify"},
}

var harmless = []string{
	"nlpeer: loading out-of-tree module taints kernel.",
	"nlpeer: module verification failed: signature and/or required key missing - tainting kernel",
	"nlpeer: unknown parameter 'BUG' ignored",
	"nlpeer: WARNING: interval_ms is below 1, using 1",
	"nlpeer: protocol 99 is out of range",
	"random: crng init done",
	"traps: nlecho[93] general protection fault ip:47b7a0 sp:7fff error:0 in nlecho[400000+100000]",
	"nlecho[93]: segfault at 0 ip 000000000047b7a0 sp 00007fff6cdd3dd8 error 4",
	"process 'work/x.test' started with executable stack",
	"Spectre V2 : WARNING: Unprivileged eBPF is enabled",
	"netlink: 4 bytes leftover after parsing attributes in process `client.test'.",
	"Warning: unable to open an initial console.",
	"sysrq: Show Blocked State",
	"netlink: 'nlecho': attribute type 1 has an invalid length.",
	"debug: Oops is a word too",
}

func TestIs(t *testing.T) {
	for _, c := range complaints {
		if got := splat.Detector(splat.Record{Level: 4, Text: c.text}); got != c.detector {
			t.Errorf("%s: of %q, want %q", c.text, got, c.detector)
		}
		if splat.Is(splat.Record{Facility: 1, Text: c.text}) {
			t.Errorf("believed, though a process wrote it: %s", c.text)
		}
	}
	for _, text := range harmless {
		if splat.Is(splat.Record{Level: 4, Text: text}) {
			t.Errorf("false alarm: %s", text)
		}
	}
}

func TestInConsole(t *testing.T) {
	for line, want := range map[string]bool{
		"[    6.143110] BUG: kernel NULL pointer dereference, address: 0000000000000000": true,
		"[  123.000001] Kernel panic - not syncing: Fatal exception":                     true,
		"BUG: kernel NULL pointer dereference, address: 0":                               true,
		"[    6.143110] nlpeer: loading out-of-tree module taints kernel.":               false,
		"[    6.1] said: BUG: not at the beginning":                                      false,
		"": false,
	} {
		if got := splat.InConsole(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
