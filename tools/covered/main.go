// SPDX-License-Identifier: MIT

// Covered says which lines the tests reach, for make coverage. It reads what lcov
// has put together of the module's counts and what go test has written of the
// packages, and leaves in a folder
//
//	summary.txt    lines and branches of each file, statements of each package
//	uncovered.txt  the lines of the module that were not reached
//
// A line of the module that no test reaches has to stand, with the reason, in a
// table of docs/testing.md between two marks. The exit status is 1 if one does
// not, if one does and was reached or is no more, or if too little was reached.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What the project holds itself to, in percent.
const linesWanted = 95.0

var statementsWanted = map[string]float64{"pkg/wire": 90, "pkg/client": 90}

func main() {
	info := flag.String("lcov", "", "`FILE` that lcov has written, of the module")
	profile := flag.String("go", "", "`FILE` that go test has written, or several of them one after the other")
	page := flag.String("page", "docs/testing.md", "`FILE` with the table of lines that no test reaches")
	out := flag.String("out", ".", "`FOLDER` for summary.txt and uncovered.txt")
	part := flag.Bool("part", false, "not all suites have run: nothing is wanted, and the table is not compared")
	flag.Parse()
	problems, err := run(*info, *profile, *page, *out, *part)
	if err != nil {
		fmt.Fprintf(os.Stderr, "covered: %v\n", err)
		os.Exit(2)
	}
	for _, p := range problems {
		fmt.Fprintf(os.Stderr, "coverage: %s\n", p)
	}
	if len(problems) > 0 {
		os.Exit(1)
	}
}

func run(info, profile, page, out string, part bool) (problems []string, err error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	files, err := readLcov(info, root)
	if err != nil {
		return nil, err
	}
	packages, err := readProfile(profile)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return nil, err
	}
	excuses, err := readExcuses(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	var list strings.Builder
	for _, l := range unreached(files) {
		fmt.Fprintf(&list, "%s:%d: %s: %s\n", l.file, l.number, l.function, l.text)
	}
	summary := table(files, packages)
	for name, content := range map[string]string{"summary.txt": summary, "uncovered.txt": list.String()} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	fmt.Print(summary)
	if part {
		return nil, nil
	}
	return append(compare(files, excuses), tooLittle(files, packages)...), nil
}

// tooLittle says where less was reached than is wanted.
func tooLittle(files []file, packages []pkg) (problems []string) {
	if sum := total(files); percent(sum.reached, sum.lines) < linesWanted {
		problems = append(problems, fmt.Sprintf("%s %% of the module's lines were reached, %.0f are wanted", show(sum.reached, sum.lines), linesWanted))
	}
	for _, p := range packages {
		if want, ok := statementsWanted[p.name]; ok && percent(p.reached, p.statements) < want {
			problems = append(problems, fmt.Sprintf("%s %% of %s was reached, %.0f are wanted", show(p.reached, p.statements), p.name, want))
		}
	}
	return problems
}

// table is the summary.
func table(files []file, packages []pkg) string {
	var b strings.Builder
	row := func(name string, c counts) {
		fmt.Fprintf(&b, "%-28s %6d %8d %7s  %8d %8d %7s\n", name, c.lines, c.reached, show(c.reached, c.lines),
			c.branches, c.taken, show(c.taken, c.branches))
	}
	fmt.Fprintf(&b, "%-28s %6s %8s %7s  %8s %8s %7s\n", "FILE", "LINES", "REACHED", "%", "BRANCHES", "REACHED", "%")
	for _, f := range files {
		row(f.name, f.counts)
	}
	row("kmod", total(files))
	fmt.Fprintf(&b, "\n%-28s %10s %8s %7s\n", "PACKAGE", "STATEMENTS", "REACHED", "%")
	for _, p := range packages {
		fmt.Fprintf(&b, "%-28s %10d %8d %7s\n", p.name, p.statements, p.reached, show(p.reached, p.statements))
	}
	return b.String()
}

func percent(reached, all int) float64 {
	if all == 0 {
		return 0
	}
	return 100 * float64(reached) / float64(all)
}

func show(reached, all int) string {
	if all == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", percent(reached, all))
}
