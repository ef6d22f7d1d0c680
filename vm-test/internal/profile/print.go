// SPDX-License-Identifier: MIT

package profile

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// shownShare is what a function or call must take of an operation, in percent,
// to have a line in the text.
const shownShare = 0.5

// Text writes tables for people: parts, functions, and the calls in their order.
func (b Breakdown) Text(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%.0f instructions an operation (mean of %d, %d to %d)", b.Instructions, b.Operations, b.Fewest, b.Most)
	if b.Clock > 0 {
		fmt.Fprintf(out, "; %.0f by the program's own measure (%+.1f%%)", b.Clock, b.Deviation())
	}
	fmt.Fprintf(out, "\n\n%-16s %12s %7s\n", "part", "instructions", "share")
	for _, p := range b.Parts {
		fmt.Fprintf(out, "%-16s %12.0f %6.1f%%\n", p.Part, b.PerOperation(p.Self), b.share(p.Self))
	}
	fmt.Fprintf(out, "\n%-16s %12s %7s %7s  function\n", "part", "instructions", "share", "calls")
	rest, others := 0, 0
	for _, f := range b.Functions {
		if b.share(f.Self) < shownShare {
			rest += f.Self
			others++
			continue
		}
		fmt.Fprintf(out, "%-16s %12.0f %6.1f%% %7.3g  %s\n", f.Part, b.PerOperation(f.Self), b.share(f.Self), b.PerOperation(f.Calls), f.Function)
	}
	if others > 0 {
		fmt.Fprintf(out, "%-16s %12.0f %6.1f%%          %d more functions\n", "", b.PerOperation(rest), b.share(rest), others)
	}
	fmt.Fprintf(out, "\n%12s %12s  call\n", "with callees", "alone")
	b.Walk(func(c *Call, depth int) {
		if b.share(c.Total) >= shownShare {
			fmt.Fprintf(out, "%12.0f %12.0f  %s%s\n", b.PerOperation(c.Total), b.PerOperation(c.Self), strings.Repeat("  ", depth), c.Function)
		}
	})
	return out.Flush()
}

// String is the function's name, with its module.
func (f Function) String() string {
	if f.Module != "" {
		return f.Name + " [" + f.Module + "]"
	}
	return f.Name
}

// Deviation is how much more the clock says than was counted, in percent.
func (b Breakdown) Deviation() float64 {
	return 100 * (b.Clock/b.Instructions - 1)
}

func (b Breakdown) share(count int) float64 { return 100 * b.PerOperation(count) / b.Instructions }

// Walk visits all calls, callers before callees, in the order of the first call.
func (b Breakdown) Walk(visit func(c *Call, depth int)) {
	var walk func(c *Call, depth int)
	walk = func(c *Call, depth int) {
		visit(c, depth)
		for _, k := range c.Callees {
			walk(k, depth+1)
		}
	}
	for _, c := range b.Root.Callees {
		walk(c, 0)
	}
}

// The objects of JSON. Their members are promised in the help of nlvm profile.
type (
	summaryJSON struct {
		Type         string  `json:"type"`
		Operations   int     `json:"operations"`
		Instructions float64 `json:"instructions"`
		Fewest       int     `json:"fewest"`
		Most         int     `json:"most"`
		Clock        float64 `json:"clock,omitempty"`
	}
	partJSON struct {
		Type         string  `json:"type"`
		Part         Part    `json:"part"`
		Instructions float64 `json:"instructions"`
	}
	functionJSON struct {
		Type         string  `json:"type"`
		Part         Part    `json:"part"`
		Function     string  `json:"function"`
		Module       string  `json:"module,omitempty"`
		Kernel       bool    `json:"kernel"`
		Calls        float64 `json:"calls"`
		Instructions float64 `json:"instructions"`
	}
	callJSON struct {
		Type     string  `json:"type"`
		Depth    int     `json:"depth"`
		Function string  `json:"function"`
		Module   string  `json:"module,omitempty"`
		Kernel   bool    `json:"kernel"`
		Calls    float64 `json:"calls"`
		Alone    float64 `json:"instructions"`
		Total    float64 `json:"with_callees"`
	}
)

// JSON writes one object a line.
func (b Breakdown) JSON(w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var err error
	put := func(v any) {
		if err == nil {
			err = enc.Encode(v)
		}
	}
	put(summaryJSON{"summary", b.Operations, b.Instructions, b.Fewest, b.Most, b.Clock})
	for _, p := range b.Parts {
		put(partJSON{"part", p.Part, b.PerOperation(p.Self)})
	}
	for _, f := range b.Functions {
		put(functionJSON{"function", f.Part, f.Name, f.Module, f.Kernel, b.PerOperation(f.Calls), b.PerOperation(f.Self)})
	}
	b.Walk(func(c *Call, depth int) {
		put(callJSON{"call", depth, c.Name, c.Module, c.Kernel, b.PerOperation(c.Calls), b.PerOperation(c.Self), b.PerOperation(c.Total)})
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

// Folded writes a line for each path of calls, functions separated by
// semicolons, and the instructions at its end in all operations: what programs
// that draw flame graphs read.
func (b Breakdown) Folded(w io.Writer) error {
	out := bufio.NewWriter(w)
	var path []string
	b.Walk(func(c *Call, depth int) {
		path = append(path[:depth], strings.ReplaceAll(c.Function.String(), ";", ":"))
		if c.Self > 0 {
			fmt.Fprintf(out, "%s %d\n", strings.Join(path, ";"), c.Self)
		}
	})
	return out.Flush()
}
