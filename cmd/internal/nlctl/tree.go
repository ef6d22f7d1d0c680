// SPDX-License-Identifier: MIT

package nlctl

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/ftrace"
)

// The objects of -o json. Their members are promised in the help.
type (
	callJSON struct {
		Type     string `json:"type"`
		Tree     int    `json:"tree"`
		Depth    int    `json:"depth"`
		Task     string `json:"task"`
		PID      int    `json:"pid"`
		Context  string `json:"context"`
		Function string `json:"function"`
		Module   string `json:"module,omitempty"`
		Time     int64  `json:"time_ns"`
		Duration *int64 `json:"duration_ns,omitempty"`
		Cut      bool   `json:"cut,omitempty"`
	}
	traceJSON struct {
		Type   string `json:"type"`
		Trees  int    `json:"trees"`
		Calls  int    `json:"calls"`
		Lost   uint64 `json:"lost"`
		Status int    `json:"status"`
	}
)

// show writes what was recorded.
func (t *traceOptions) show(out *cli.Output, tr tracer, status cli.Status) error {
	lost, err := tr.Lost()
	if err != nil {
		return err
	}
	if t.raw {
		text, err := tr.Text()
		if err != nil {
			return err
		}
		defer text.Close()
		io.Copy(out, text) // out remembers its errors, and a trace that ends early is all there is
		t.remark(lost, 0)
		return nil
	}
	trees, strange, err := tr.Trees()
	if err != nil {
		return err
	}
	trees = slices.DeleteFunc(trees, func(tree *ftrace.Tree) bool {
		return !begins(tree.Root, t.functions) || tree.Context != ftrace.Process && !t.all
	})
	calls := 0
	for n, tree := range trees {
		calls += t.prune(tree.Root, 1)
		if t.target.Format == cli.JSON {
			printJSON(out, n+1, 0, tree, tree.Root)
		}
	}
	if t.target.Format == cli.JSON {
		out.JSON(traceJSON{"summary", len(trees), calls, lost, int(status)})
	} else {
		printTrees(out, trees)
		if len(trees) == 0 {
			fmt.Fprintln(t.streams.Err, "nlctl: nothing was traced: the command did nothing with netlink")
		}
	}
	t.remark(lost, strange)
	return nil
}

// remark says what the trace lacks.
func (t *traceOptions) remark(lost uint64, strange int) {
	if lost > 0 {
		fmt.Fprintf(t.streams.Err, "nlctl: %d records of the trace are lost, the oldest first; try a larger --buffer\n", lost)
	}
	if strange > 0 {
		fmt.Fprintf(t.streams.Err, "nlctl: %d lines of the trace are not understood and left out; --raw shows all\n", strange)
	}
}

// prune takes away what is below the levels that are wanted, and counts what
// stays.
func (t *traceOptions) prune(c *ftrace.Call, level int) int {
	if level == t.depth {
		c.Calls = nil
	}
	n := 1
	for _, called := range c.Calls {
		n += t.prune(called, level+1)
	}
	return n
}

func printJSON(out *cli.Output, n, depth int, tree *ftrace.Tree, c *ftrace.Call) {
	v := callJSON{"call", n, depth, tree.Task, tree.PID, tree.Context.String(), c.Function, c.Module, int64(c.Start), nil, c.Cut}
	if !c.Unfinished {
		duration := int64(c.Duration)
		v.Duration = &duration
	}
	out.JSON(v)
	for _, called := range c.Calls {
		printJSON(out, n, depth+1, tree, called)
	}
}

// printTrees prints a line for each call, and one for the task wherever it is
// another than before.
func printTrees(out *cli.Output, trees []*ftrace.Tree) {
	width := 0
	for _, tree := range trees {
		width = max(width, widest(tree.Root))
	}
	before := ""
	for _, tree := range trees {
		var b strings.Builder
		if task := heading(tree); task != before {
			if before != "" {
				b.WriteByte('\n')
			}
			b.WriteString(task)
			before = task
		}
		printCall(&b, width, 0, tree.Root)
		io.WriteString(out, b.String())
	}
}

func heading(tree *ftrace.Tree) string {
	task := tree.Task
	if quoted := strconv.Quote(task); quoted != `"`+task+`"` {
		task = quoted
	}
	task = fmt.Sprintf("%s, pid %d", task, tree.PID)
	switch tree.Context {
	case ftrace.SoftIRQ:
		task = "soft interrupt during " + task
	case ftrace.Interrupt:
		task = "interrupt during " + task
	}
	return task + ":\n"
}

func printCall(b *strings.Builder, width, depth int, c *ftrace.Call) {
	fmt.Fprintf(b, "%s  %*s  %*s%s", seconds(c.Start), width, duration(c), 2*depth, "", c.Function)
	if c.Module != "" {
		fmt.Fprintf(b, " [%s]", c.Module)
	}
	if c.Cut {
		b.WriteString(" (beginning lost)")
	}
	b.WriteByte('\n')
	for _, called := range c.Calls {
		printCall(b, width, depth+1, called)
	}
}

func widest(c *ftrace.Call) int {
	width := len(duration(c))
	for _, called := range c.Calls {
		width = max(width, widest(called))
	}
	return width
}

// duration is in microseconds, as the kernel has it.
func duration(c *ftrace.Call) string {
	if c.Unfinished {
		return "unfinished"
	}
	return fmt.Sprintf("%d.%03d us", c.Duration/time.Microsecond, c.Duration%time.Microsecond)
}

// seconds is how nlsub writes the time of an event.
func seconds(t time.Duration) string {
	return fmt.Sprintf("%d.%06d", t/time.Second, t%time.Second/time.Microsecond)
}
