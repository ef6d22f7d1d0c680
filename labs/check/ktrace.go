// SPDX-License-Identifier: MIT

package check

import (
	"os"
	"regexp"
	"strings"
)

const tracing = "/sys/kernel/tracing/"

// A KernelTrace is what the kernel writes down of its own doing, for what leaves
// no other trace: timers, allocations, who calls whom.
type KernelTrace struct{ t *T }

// An Event is a line of it.
type Event struct {
	// Name is that of the event, such as timer_start, or of a function.
	Name string
	// Text is what follows.
	Text string
	// Softirq says that it happened in softirq context.
	Softirq bool
}

// TraceKernel lets the kernel write down events, such as "timer/timer_start",
// those of them that it has, and calls of functions, until the step ends.
func TraceKernel(t *T, events, functions []string) KernelTrace {
	t.Helper()
	k := KernelTrace{t}
	t.Cleanup(func() {
		k.set("set_event", "\n")
		k.set("current_tracer", "nop")
		k.set("set_ftrace_filter", "\n")
	})
	if len(functions) > 0 {
		k.set("set_ftrace_filter", strings.Join(functions, " "))
		k.set("current_tracer", "function")
	}
	found := len(functions) > 0
	for _, e := range events {
		if Exists(tracing + "events/" + e) {
			k.set("events/"+e+"/enable", "1")
			found = true
		}
	}
	if !found {
		t.Fatalf("this kernel has none of the events %v", events)
	}
	k.Clear()
	return k
}

// Clear forgets what was written down so far.
func (k KernelTrace) Clear() {
	k.t.Helper()
	k.set("trace", "\n")
}

func (k KernelTrace) set(name, value string) {
	k.t.Helper()
	if err := os.WriteFile(tracing+name, []byte(value), 0o644); err != nil {
		k.t.Fatalf("the kernel's tracing: %v", err)
	}
}

// "  <idle>-0  [000] ..s1.  12.345: timer_start: timer=… function=…"
var traceLine = regexp.MustCompile(`^\s*(.+)-\d+\s+\[\d+\]\s+(\S+)\s+[\d.]+: ([\w.]+):? ?(.*)$`)

// Events returns what was written down so far. Names of functions are looked up
// now: those of a module that has gone are numbers.
func (k KernelTrace) Events() []Event {
	k.t.Helper()
	b, err := os.ReadFile(tracing + "trace")
	if err != nil {
		k.t.Fatal(err)
	}
	var all []Event
	for line := range strings.Lines(string(b)) {
		m := traceLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		all = append(all, Event{
			Name: m[3],
			Text: m[4],
			// With PREEMPT_RT, threads do the work of softirqs.
			Softirq: strings.ContainsAny(m[2], "sH") || strings.HasPrefix(m[1], "ksoftirqd") || strings.HasPrefix(m[1], "ktimers"),
		})
	}
	return all
}

// Field returns the value in "name=value".
func (e Event) Field(name string) string {
	for word := range strings.FieldsSeq(e.Text) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}
