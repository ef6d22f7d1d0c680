// SPDX-License-Identifier: MIT

package ftrace

import (
	"bufio"
	"cmp"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A record of the trace, as the options of a Tracer make the kernel write it:
// when, on which processor, who, in which context, for how long, what.
//
//	8.553840 |   0)   nlecho-103   |  ...1. |               |  netlink_sendmsg() {
//	8.554723 |   0)   nlecho-103   |  .N.1. |   19.115 us   |    nlpeer_pernet [nlpeer]();
//	8.555590 |   0)   nlecho-103   |  ..... |   1752.445 us |  } /* netlink_sendmsg */
//
// A duration has seven digits at most before those behind the point go, one after
// the other: 12345.67, 123456.7, 1234567.
var record = regexp.MustCompile(`^ *(\d{1,9})\.(\d{6}) \| +(\d+)\) (.*)-(\d{1,9}) +\| +([^ |]{4,8}) +\|[ +!#*@$]*(?:(\d{1,12})(?:\.(\d{1,3}))? us)? *\| *(.*)$`)

// What a record says of a function: it is entered, was entered and left, or is
// left.
var (
	entered = regexp.MustCompile(`^([^\s()\[\]]+)(?: \[([^\s\]]+)\])?\(\)( \{|;)`)
	left    = regexp.MustCompile(`^\} /\* ([^\s()\[\]]+)(?: \[([^\s\]]+)\])? `)
)

// The lines between two records of which the task changed on a processor.
var (
	rule = " " + strings.Repeat("-", 42)
	turn = regexp.MustCompile(`^ *\d+\) .* => .*$`)
)

// Parse reads the text of a trace. Trees come in the order in which they began.
// A trace begins and ends anywhere and may have lost any record, so a text that
// makes no sense is no error; strange is the number of lines that are not
// understood.
func Parse(r io.Reader) (trees []*Tree, strange int, err error) {
	stacks := map[place]*stack{}
	var inOrder []*stack // of their first records
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text := lines.Text()
		if m := record.FindStringSubmatch(text); m != nil {
			where := place{pid: number(m[5]), context: contextOf(m[6])}
			if where.pid == 0 { // each processor has an idle task
				where.cpu = number(m[3])
			}
			s := stacks[where]
			if s == nil {
				s = &stack{task: strings.TrimLeft(m[4], " "), place: where}
				stacks[where] = s
				inOrder = append(inOrder, s)
			}
			now := time.Duration(number(m[1]))*time.Second + time.Duration(number(m[2]))*time.Microsecond
			took := time.Duration(number(m[7]))*time.Microsecond + time.Duration(number((m[8] + "000")[:3]))
			if s.record(now, took, m[9]) {
				continue
			}
		}
		if !betweenRecords(text) {
			strange++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, 0, err
	}
	for _, s := range inOrder {
		for _, c := range s.top.Calls {
			trees = append(trees, &Tree{s.task, s.pid, s.context, c})
		}
	}
	slices.SortStableFunc(trees, func(a, b *Tree) int { return cmp.Compare(a.Root.Start, b.Root.Start) })
	return trees, strange, nil
}

// betweenRecords says that a line is known to be no record: a heading, a change
// of the task.
func betweenRecords(text string) bool {
	text = strings.TrimRight(text, " ")
	return text == "" || text[0] == '#' || text == rule || turn.MatchString(text) ||
		strings.HasPrefix(text, "CPU:")
}

// A place is where calls nest: an interrupt has a stack of its own, on top of
// that of the task that it came to.
type place struct {
	pid, cpu int
	context  Context
}

// A stack is what one place did so far.
type stack struct {
	place
	task string
	top  Call    // what is called by nobody
	open []*Call // each calls the next
}

// record adds what a record says, and whether that is understood.
func (s *stack) record(now, took time.Duration, text string) bool {
	if m := entered.FindStringSubmatch(text); m != nil {
		c := &Call{Function: m[1], Module: m[2], Start: now, Duration: took}
		caller := s.caller()
		caller.Calls = append(caller.Calls, c)
		if m[3] != ";" {
			c.Unfinished = true
			s.open = append(s.open, c)
		}
		return true
	}
	m := left.FindStringSubmatch(text)
	if m == nil {
		return strings.HasPrefix(text, "/*") // a remark
	}
	for i, c := range slices.Backward(s.open) {
		if c.Function == m[1] && c.Module == m[2] {
			c.Duration, c.Unfinished = took, false
			s.open = s.open[:i] // the ends of those above it are lost
			return true
		}
	}
	// The beginning is lost. What began since was called by it.
	c := &Call{Function: m[1], Module: m[2], Start: max(now-took, 0).Truncate(time.Microsecond), Duration: took, Cut: true}
	caller := s.caller()
	i := len(caller.Calls)
	for i > 0 && caller.Calls[i-1].Start >= c.Start {
		i--
	}
	c.Calls = slices.Clone(caller.Calls[i:])
	caller.Calls = append(caller.Calls[:i], c)
	return true
}

func (s *stack) caller() *Call {
	if n := len(s.open); n > 0 {
		return s.open[n-1]
	}
	return &s.top
}

// contextOf reads the flags of a record: interrupts off, scheduling due, context,
// depth of preemption.
func contextOf(flags string) Context {
	switch flags[2] {
	case '.':
		return Process
	case 's':
		return SoftIRQ
	}
	return Interrupt
}

// number reads what an expression has found to be a number, or nothing.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
