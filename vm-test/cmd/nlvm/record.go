// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"nlpeer/vm-test/internal/machine"
)

// countsFile is where the guest's programs write numbers for the record: lines
// of a name, a tab, and what to add to it.
const countsFile = "/run/nlvm-counts"

// recording says whether somebody wants a record of the run.
func recording() bool { return os.Getenv("NLVM_RECORD") != "" }

// record appends a line about the run to the file that NLVM_RECORD names, for
// whoever makes a table of many. One write, so that lines of runs at the same
// time stay whole.
func (g *guestRun) record(status int, f machine.Findings, took time.Duration) error {
	if !recording() {
		return nil
	}
	counts, err := readCounts(g.counts)
	if err != nil {
		return fmt.Errorf("NLVM_RECORD: %w", err)
	}
	file, err := os.OpenFile(os.Getenv("NLVM_RECORD"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("NLVM_RECORD: %w", err)
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, "%s\t%d\t%d\t%s\t%.1f\t%s\n",
		g.runName(), status, f.Complaints, strings.Join(f.Detectors, ", "), took.Seconds(), counts)
	return err
}

// bringNumbers has the numbers of the guest's programs brought back.
func (g *guestRun) bringNumbers() error {
	dir, err := os.MkdirTemp("", "nlvm-")
	if err != nil {
		return err
	}
	g.cleanup = append(g.cleanup, func() { os.RemoveAll(dir) })
	g.counts = filepath.Join(dir, "counts")
	g.collect = append(g.collect, countsFile)
	g.bring(countsFile[1:], func(rest string) string {
		if rest != "" {
			return ""
		}
		return g.counts
	})
	return nil
}

// readCounts adds up what is in a file of numbers, and writes it as text, each
// name where it came first.
func readCounts(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	sum := make(map[string]int)
	var order []string
	for line := range bytes.Lines(b) {
		what, number, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "\t")
		n, err := strconv.Atoi(number)
		if err != nil {
			return "", fmt.Errorf("%s in the guest: %q is no name and number", countsFile, line)
		}
		if _, known := sum[what]; !known {
			order = append(order, what)
		}
		sum[what] += n
	}
	for i, what := range order {
		order[i] = fmt.Sprintf("%s: %d", what, sum[what])
	}
	return strings.Join(order, ", "), nil
}
