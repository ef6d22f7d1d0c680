// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"nlpeer/vm-test/internal/machine"
)

// record appends a line about the run to the file that NLVM_RECORD names, for
// whoever makes a table of many. One write, so that lines of runs at the same
// time stay whole.
func (g *guestRun) record(status int, f machine.Findings, took time.Duration) error {
	name := os.Getenv("NLVM_RECORD")
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("NLVM_RECORD: %w", err)
	}
	defer file.Close()
	_, err = fmt.Fprintf(file, "%s\t%d\t%d\t%s\t%.1f\n",
		g.runName(), status, f.Complaints, strings.Join(f.Detectors, ", "), took.Seconds())
	return err
}
