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

// Headlines as kernels from 5.10 to 7.x print them.
var complaints = []string{
	"WARNING: CPU: 0 PID: 92 at /tmp/faulty.c:31 faulty_init+0x2c/0x1000 [faulty]",
	"WARNING: possible circular locking dependency detected",
	"WARNING: suspicious RCU usage",
	"BUG: kernel NULL pointer dereference, address: 0000000000000000",
	"BUG: unable to handle page fault for address: ffffdead00000010",
	"BUG: sleeping function called from invalid context at mm/slab.h:274",
	"BUG: scheduling while atomic: nlecho/93/0x00000002",
	"BUG: KASAN: slab-use-after-free in nlpeer_beacon_tick+0x9a/0x100 [nlpeer]",
	"BUG: KFENCE: out-of-bounds read in test+0x1/0x2",
	"BUG: spinlock bad magic on CPU#0, insmod/85",
	"watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:85]",
	"BUG kmalloc-64 (Tainted: G           O      ): Poison overwritten",
	"BUG kmalloc-rnd-03-64 (Not tainted): Object already free",
	"kernel BUG at net/netlink/af_netlink.c:400!",
	"Oops: 0002 [#1] PREEMPT SMP NOPTI",
	"Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1] PREEMPT SMP",
	"general protection fault, probably for non-canonical address 0x6b6b6b6b6b6b6b6b: 0000 [#1] PREEMPT SMP",
	"invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
	"refcount_t: underflow; use-after-free.",
	"Kernel panic - not syncing: sysrq triggered crash",
	"rcu: INFO: rcu_preempt self-detected stall on CPU",
	"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
	"INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-... }",
	"INFO: task nlsub:123 blocked for more than 120 seconds.",
	"INFO: trying to register non-static key.",
	"list_del corruption, ffff888004b2c000->next is LIST_POISON1 (dead000000000100)",
	"list_add corruption. prev->next should be next (ffff8880), but was 0000.",
	"unregister_netdevice: waiting for lo to become free. Usage count = 2",
	"UBSAN: array-index-out-of-bounds in kmod/echo.c:12:3",
	"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
	"ODEBUG: free active (active state 0) object type: hrtimer hint: beacon_fire+0x0/0x40",
	"ref_tracker: net notrefcnt@ffff8880 has 1/1 users at sk_alloc leaked",
	"kmem_cache_destroy nlpeer_object: Slab cache still has objects when called from nlpeer_exit+0x10/0x20 [nlpeer]",
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
	for _, text := range complaints {
		if !splat.Is(splat.Record{Level: 4, Text: text}) {
			t.Errorf("not noticed: %s", text)
		}
		if splat.Is(splat.Record{Facility: 1, Text: text}) {
			t.Errorf("believed, though a process wrote it: %s", text)
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
