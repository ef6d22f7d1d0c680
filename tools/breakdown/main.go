// SPDX-License-Identifier: MIT

// Breakdown says where the instructions of the client's operations go, by nlvm
// profile: it follows each in the virtual machine, keeps the figures in a file,
// and writes their tables between two marks of docs/performance.md. It is called
// from the top of the tree:
//
//	go run ./tools/breakdown          follow all of them, some minutes
//	go run ./tools/breakdown -render  only write the tables again
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// An operation is followed in one of the two programs beside this one.
type operation struct {
	Name    string // of the column
	program string
	arg     string
	Per     int // operations of which the figures are one: of a batch, its requests
}

var operations = []operation{
	{"C echo", "ops-c", "echo-raw", 1},
	{"Go echo", "ops", "echo-raw", 1},
	{"Go echo, genl", "ops", "echo-genl", 1},
	{"C, batch of 64", "ops-c", "batch-raw", 64},
	{"Go, batch of 64", "ops", "batch-raw", 64},
	{"C event", "ops-c", "event", 1},
	{"Go event", "ops", "event", 1},
}

// functionsShown bounds the table of functions.
const functionsShown = 24

// A line is what nlvm profile -o json writes; its help says what the members are.
type line struct {
	Type         string  `json:"type"`
	Part         string  `json:"part,omitempty"`
	Function     string  `json:"function,omitempty"`
	Module       string  `json:"module,omitempty"`
	Kernel       bool    `json:"kernel,omitempty"`
	Calls        float64 `json:"calls,omitempty"`
	Instructions float64 `json:"instructions"`
	Clock        float64 `json:"clock,omitempty"`
}

// A column is what came of an operation.
type column struct {
	operation
	Summary   line
	Parts     []line
	Functions []line
}

func main() {
	render := flag.Bool("render", false, "only write the tables again, of what was kept")
	data := flag.String("data", "build/bench/breakdown.json", "`FILE` for the figures")
	page := flag.String("page", "docs/performance.md", "`FILE` for the tables")
	nlvm := flag.String("nlvm", "build/bin/nlvm", "`PROGRAM` to follow them with")
	only := flag.String("only", "", "follow only the operation of that `NAME`, and keep the others' figures")
	flag.Parse()
	if err := run(*render, *data, *page, *nlvm, *only); err != nil {
		fmt.Fprintf(os.Stderr, "breakdown: %v\n", err)
		os.Exit(1)
	}
}

func run(render bool, data, page, nlvm, only string) error {
	var columns []column
	if render || only != "" {
		text, err := os.ReadFile(data)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &columns); err != nil {
			return fmt.Errorf("%s: %w", data, err)
		}
	}
	if !render {
		dir := filepath.Join(filepath.Dir(data), "ops")
		if err := build(dir); err != nil {
			return err
		}
		for _, op := range operations {
			if only != "" && op.Name != only {
				continue
			}
			fmt.Fprintf(os.Stderr, "breakdown: %s …\n", op.Name)
			c, err := follow(nlvm, dir, op)
			if err != nil {
				return fmt.Errorf("%s: %w", op.Name, err)
			}
			columns = slices.DeleteFunc(columns, func(c column) bool { return c.Name == op.Name })
			columns = append(columns, c)
			text, err := json.MarshalIndent(columns, "", "\t")
			if err == nil {
				err = os.WriteFile(data, append(text, '\n'), 0o644)
			}
			if err != nil {
				return err
			}
		}
	}
	slices.SortFunc(columns, func(a, b column) int { return place(a) - place(b) })
	var tables strings.Builder
	writeParts(&tables, columns)
	writeFunctions(&tables, columns)
	fmt.Print(tables.String())
	return replace(page, tables.String())
}

func place(c column) int {
	return slices.IndexFunc(operations, func(op operation) bool { return op.Name == c.Name })
}

// build makes the programs: linked to fixed addresses, and not stripped.
func build(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"gcc", "-O2", "-Wall", "-Wextra", "-Iinclude/uapi", "-static", "-no-pie", "-o", filepath.Join(dir, "ops-c"), "tools/breakdown/c/ops.c"},
		{"go", "build", "-trimpath", "-buildmode=exe", "-o", filepath.Join(dir, "ops"), "./tools/breakdown/ops"},
	} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func follow(nlvm, dir string, op operation) (column, error) {
	cmd := exec.Command(nlvm, "profile", "-o", "json", "--append", "mitigations=off", "--module-args", "interval_ms=0",
		"--warmup", "20", "--operations", "3", "--put", filepath.Join(dir, op.program), "--", "./"+op.program, op.arg)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return column{}, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	c := column{operation: op}
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		var l line
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			return column{}, err
		}
		switch l.Type {
		case "summary":
			c.Summary = l
		case "part":
			c.Parts = append(c.Parts, l)
		case "function":
			c.Functions = append(c.Functions, l)
		}
	}
	return c, nil
}

// each divides by the number of operations that were one for nlvm.
func (c column) each(v float64) float64 { return v / float64(max(1, c.Per)) }

func row(b *strings.Builder, cells ...string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func header(b *strings.Builder, columns []column, cells ...string) {
	align := slices.Repeat([]string{"---"}, len(cells))
	for _, c := range columns {
		cells = append(cells, c.Name)
		align = append(align, "---:")
	}
	row(b, cells...)
	row(b, align...)
}

func number(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 9.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func writeParts(b *strings.Builder, columns []column) {
	header(b, columns, "part")
	var parts []string
	for _, c := range columns { // each has them in the same order
		at := 0
		for _, p := range c.Parts {
			if i := slices.Index(parts, p.Part); i >= 0 {
				at = i + 1
			} else {
				parts = slices.Insert(parts, at, p.Part)
				at++
			}
		}
	}
	for _, part := range parts {
		cells := []string{part}
		for _, c := range columns {
			v := 0.0
			for _, p := range c.Parts {
				if p.Part == part {
					v += p.Instructions
				}
			}
			cells = append(cells, number(c.each(v)))
		}
		row(b, cells...)
	}
	total, clock := []string{"**followed**"}, []string{"by the clock"}
	for _, c := range columns {
		total = append(total, "**"+number(c.each(c.Summary.Instructions))+"**")
		clock = append(clock, number(c.each(c.Summary.Clock)))
	}
	row(b, total...)
	row(b, clock...)
}

// writeFunctions shows the functions that take most, in all columns together.
func writeFunctions(b *strings.Builder, columns []column) {
	type key struct{ part, function string }
	sums, cells := map[key]float64{}, map[key][]float64{}
	for i, c := range columns {
		for _, f := range c.Functions {
			k := key{f.Part, f.Function}
			if cells[k] == nil {
				cells[k] = make([]float64, len(columns))
			}
			cells[k][i] += c.each(f.Instructions)
			sums[k] += c.each(f.Instructions) / c.each(c.Summary.Instructions)
		}
	}
	var keys []key
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int {
		if sums[a] != sums[b] {
			if sums[a] > sums[b] {
				return -1
			}
			return 1
		}
		return strings.Compare(a.part+a.function, b.part+b.function)
	})
	fmt.Fprintln(b)
	header(b, columns, "function", "part")
	for _, k := range keys[:min(functionsShown, len(keys))] {
		row := []string{"`" + k.function + "`", k.part}
		for _, v := range cells[k] {
			row = append(row, number(v))
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
	}
}

// The marks in the page. What stands between them is written here.
const (
	begin = "<!-- breakdown: go run ./tools/breakdown writes this -->\n"
	end   = "<!-- breakdown: end -->\n"
)

// replace puts the tables into the page, if it is there.
func replace(page, tables string) error {
	text, err := os.ReadFile(page)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the lines between which the tables go:\n%s%s", page, begin, end)
	}
	return os.WriteFile(page, []byte(before+begin+"\n"+tables+"\n"+end+after), 0o644)
}
