// SPDX-License-Identifier: MIT

package grade

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nlpeer/labs/internal/event"
	"nlpeer/labs/internal/source"
)

// An Attempt is a lab's folder that is to be checked.
type Attempt struct {
	Lab *source.Lab
	Dir string
}

// Together says whether two labs may be checked in the same machine.
func Together(a, b *source.Lab) bool {
	return a.Kind != source.Host && b.Kind != source.Host && a.Image == b.Image && slices.Equal(a.Kmod, b.Kmod)
}

// RunMany is Run of several attempts, one after the other in one virtual machine,
// whose labs may be together. It is for those who expect nothing to crash there: an
// error is also that the machine did not get to the end, or has complained.
func (t Tools) RunMany(ctx context.Context, attempts []Attempt, o Options) ([]*Report, error) {
	to, err := t.target(ctx, o.Kernel)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "nllab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	args := append(t.machine(attempts[0].Lab, o.Kernel), "--no-commands")
	var reports []*Report
	var script strings.Builder
	sent := map[string]bool{}
	for i, a := range attempts {
		place := strconv.Itoa(i)
		dir := filepath.Join(temp, place)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		p, err := t.build(ctx, a.Lab, a.Dir, dir, to, o.Progress)
		if err != nil {
			return nil, err
		}
		for name, file := range p.files {
			args = append(args, "--put", file+":"+place+"/"+name)
		}
		check := "check-" + a.Lab.ID
		if !sent[check] {
			checker, err := t.checkBinary(ctx, a.Lab, to)
			if err != nil {
				return nil, err
			}
			args = append(args, "--put", checker+":"+check)
			sent[check] = true
		}
		show := ""
		if o.Show {
			show = a.Lab.Show
		}
		// The end of a check is told by a line of its own.
		fmt.Fprintf(&script, "(cd %s && %s=%s %s=%s ../%s %s) 2>&1\nprintf '\\n\\036ended %%d\\n' $?\n", place,
			event.WantVar, event.Check, event.ShowVar, quoted(show), check, strings.Join(checkArgs, " "))
		reports = append(reports, &Report{Lab: a.Lab, Kernel: to.Name, Warnings: p.warnings, limit: o.limit()})
	}
	args = append(args, "--timeout", (time.Duration(len(attempts)) * o.limit()).String(), "--", "sh", "-c", script.String())
	whole := &Report{}
	out, err := t.runMachine(ctx, temp, args, nil, o.Progress, whole)
	if err != nil {
		return nil, err
	}
	if err := whole.readRecord(filepath.Join(temp, recordName)); err != nil {
		return nil, err
	}
	if whole.Status != 0 {
		return nil, fmt.Errorf("the machine for several checks ended with status %d\n%s", whole.Status, whole.Words)
	}
	return reports, readMany(out, reports)
}

// readMany divides the output of several checks among their reports.
func readMany(out string, reports []*Report) error {
	const ended = "\x1eended "
	for _, r := range reports {
		text, rest, ok := strings.Cut(out, ended)
		status, after, _ := strings.Cut(rest, "\n")
		code, err := strconv.Atoi(status)
		if !ok || err != nil {
			return fmt.Errorf("the check of lab %d did not come to its end:\n%s", r.Lab.Number, text)
		}
		r.read(text)
		r.Status = code
		if err := r.conclude(); err != nil {
			return err
		}
		out = after
	}
	return nil
}

// quoted is a text as a word of the shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
