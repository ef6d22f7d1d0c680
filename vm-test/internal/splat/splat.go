// SPDX-License-Identifier: MIT

// Package splat recognises kernel log records that no test may cause.
package splat

import (
	"regexp"
	"strconv"
	"strings"
)

// Record is one entry of /dev/kmsg.
type Record struct {
	Facility int // 0 is the kernel itself; others were written by a process
	Level    int // 0 emergency … 7 debug
	Micros   int64
	Text     string
}

// Parse reads a record as /dev/kmsg gives it:
//
//	PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,…];TEXT
//	 KEY=VALUE…
func Parse(raw string) (Record, bool) {
	head, text, ok := strings.Cut(raw, ";")
	if !ok {
		return Record{}, false
	}
	fields := strings.Split(head, ",")
	if len(fields) < 3 {
		return Record{}, false
	}
	priority, err := strconv.Atoi(fields[0])
	if err != nil {
		return Record{}, false
	}
	micros, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return Record{}, false
	}
	text, _, _ = strings.Cut(text, "\n") // the dictionary follows
	return Record{Facility: priority >> 3, Level: priority & 7, Micros: micros, Text: text}, true
}

// String shows the record as dmesg does.
func (r Record) String() string {
	return "[" + pad(strconv.FormatInt(r.Micros/1e6, 10), 5) + "." +
		strings.Repeat("0", 6-len(strconv.FormatInt(r.Micros%1e6, 10))) + strconv.FormatInt(r.Micros%1e6, 10) + "] " + r.Text
}

func pad(s string, n int) string {
	return strings.Repeat(" ", max(0, n-len(s))) + s
}

// complaints match the headlines of the kernel's own checkers. They are
// anchored as far as the kernel's formats allow, because the words alone occur
// in harmless lines too: "loading out-of-tree module taints kernel",
// "…: unknown parameter 'BUG' ignored".
var complaints = regexp.MustCompile(strings.Join([]string{
	`^(watchdog: )?BUG: `, // dereferences, scheduling while atomic, soft lockup, KASAN, KFENCE
	`^BUG [\w-]+ \(`,      // SLUB: BUG kmalloc-64 (Tainted: …): Poison overwritten
	`^kernel BUG at `,     // BUG_ON
	`^WARNING: `,          // WARN, lockdep, RCU
	`^Oops: `,
	`^(traps: )?general protection fault`, // in the kernel; a process's has its name in front
	`^(invalid opcode|double fault|stack segment|divide error): 0`,
	`^refcount_t: `,
	`^Kernel panic`,
	`soft lockup - CPU`,
	`hard LOCKUP`,
	`^(rcu: )?INFO: \w+ (self-)?detected (expedited )?stall`,
	`^INFO: task .* blocked for more than`,
	`^INFO: (trying to register non-static key|suspicious RCU usage)`,
	`^(list_add|list_del) corruption`,
	`^unregister_netdevice: waiting for`,
	`^UBSAN: `,
	`^kmemleak: \d+ new suspected`,
	`^ODEBUG: `,
	`^ref_tracker: .* leaked`,
	`^DEBUG_LOCKS_WARN_ON`,
	`still has objects`, // kmem_cache_destroy; slab cache … still has objects
	`^Objects remaining in`,
}, "|"))

// Is says whether the record is a complaint of the kernel.
func Is(r Record) bool {
	// A process may write anything it likes into the log.
	return r.Facility == 0 && complaints.MatchString(r.Text)
}

// consoleTime is what the kernel puts before a record on its console.
var consoleTime = regexp.MustCompile(`^\[ *\d+\.\d+\] `)

// InConsole says whether a line of the console is a complaint of the kernel. A
// process that writes to the console can fake one; it is good for finding where
// to begin to read, not for a verdict.
func InConsole(line string) bool {
	return complaints.MatchString(consoleTime.ReplaceAllString(line, ""))
}
