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

// detectors are the kernel's own checkers, each by the headlines of its reports.
// These are anchored as far as the kernel's formats allow, because the words
// alone occur in harmless lines too: "loading out-of-tree module taints kernel",
// "…: unknown parameter 'BUG' ignored". The first that matches gives the name.
var detectors = []struct {
	name      string
	headlines *regexp.Regexp
}{
	{"KASAN", headlines(`BUG: KASAN: `)},
	{"KFENCE", headlines(`BUG: KFENCE: `)},
	{"KCSAN", headlines(`BUG: KCSAN: `)},
	{"SLUB", headlines(
		`BUG [\w-]+ \(`,       // BUG kmalloc-64 (Tainted: …): Poison overwritten
		`.*still has objects`, // kmem_cache_destroy; slab cache … still has objects
		`Objects remaining in`)},
	{"page poison", headlines(`pagealloc: (memory corruption|single bit error)`)}, // of page_poison=1
	{"kmemleak", headlines(
		`kmemleak: \d+ new suspected`,
		`kmemleak: (Cannot allocate|Memory pool empty|Kernel memory leak detector disabled)`)},
	{"UBSAN", headlines(`UBSAN: `)},
	{"fortify", headlines(`\w+: detected (field-spanning|buffer overflow)`, `detected buffer overflow in `)},
	{"usercopy", headlines(`usercopy: Kernel memory (exposure|overwrite) attempt detected `)},
	{"lockdep", headlines(
		`WARNING: possible (circular locking|recursive locking|irq lock inversion)`,
		`WARNING: \S+-safe -> \S+-unsafe lock order detected`,
		`WARNING: (inconsistent lock state|Nested lock was not taken|bad unlock balance|bad contention|held lock freed|chain_key collision)`,
		`WARNING: .* still has locks held`,
		`WARNING: lock held when returning to user space`,
		`INFO: (trying to register non-static key|lockdep is turned off)`,
		`BUG: (MAX_LOCKDEP|MAX_STACK_TRACE)_`,
		`DEBUG_LOCKS_WARN_ON`)},
	{"lock debugging", headlines(`BUG: (spin|rw|raw_spin|mutex|rwsem)\w* `)},
	{"RCU", headlines(
		`(WARNING|INFO): suspicious RCU usage`,
		`(Voluntary|Illegal) context switch within RCU`)},
	{"atomic sleep", headlines(
		`BUG: (sleeping function called from invalid|assuming non migratable|assuming atomic) context`,
		`BUG: scheduling while atomic`,
		`BUG: workqueue leaked`)},
	{"preemption", headlines(`BUG: using .* in preemptible`)},
	{"object debugging", headlines(`ODEBUG: `)},
	{"reference tracker", headlines(
		`ref_tracker: .*(leaked| has \d+/\d+ users)`,
		`ref_tracker: (reference already released|memory allocation failure)`,
		`unregister_netdevice: waiting for`)},
	{"refcount", headlines(`refcount_t: `)},
	{"list debugging", headlines(`(list_add|list_del|slab cache) corruption`)},
	{"hung task", headlines(`INFO: task .* blocked for more than`)},
	{"lockup", headlines(`.*soft lockup - CPU`, `.*hard LOCKUP`, `BUG: workqueue lockup`)},
	{"RCU stall", headlines(`(rcu: )?INFO: \w+ (self-)?detected (expedited )?stall`)},
	{"panic", headlines(`Kernel panic`)},
	{"oops", headlines(
		`Oops: `,
		`(traps: )?general protection fault`, // in the kernel; a process's has its name in front
		`(invalid opcode|double fault|stack segment|divide error): 0`,
		`BUG: (kernel NULL pointer|unable to handle)`)},
	{"BUG", headlines(`(watchdog: )?BUG: `, `kernel BUG at `)},
	{"WARNING", headlines(`WARNING: `)}, // WARN, and all that has no name here
}

func headlines(patterns ...string) *regexp.Regexp {
	return regexp.MustCompile("^(" + strings.Join(patterns, "|") + ")")
}

// Detector names the checker whose report the record begins, "" for none.
func Detector(r Record) string {
	if r.Facility != 0 { // a process may write anything it likes into the log
		return ""
	}
	return detector(r.Text)
}

func detector(text string) string {
	for _, d := range detectors {
		if d.headlines.MatchString(text) {
			return d.name
		}
	}
	return ""
}

// Is says whether the record is a complaint of the kernel.
func Is(r Record) bool { return Detector(r) != "" }

// consoleTime is what the kernel puts before a record on its console.
var consoleTime = regexp.MustCompile(`^\[ *\d+\.\d+\] `)

// InConsole says whether a line of the console is a complaint of the kernel. A
// process that writes to the console can fake one; it is good for finding where
// to begin to read, not for a verdict.
func InConsole(line string) bool {
	return detector(consoleTime.ReplaceAllString(line, "")) != ""
}
