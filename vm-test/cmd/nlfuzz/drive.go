// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/internal/fuzzing"
	"nlpeer/vm-test/fuzz"
)

// A driver runs all fuzzers from the host, and keeps what they find.
type driver struct {
	time   time.Duration
	dir    string
	kernel string
	smp    int
	seed   uint64
	native bool

	nlvm, self string
	rows       []row
}

// A row of the table at the end.
type row struct {
	what    string
	seconds float64
	runs    int
	totals  *fuzz.Totals // of the module
	corpus  int
	reports int
}

// parsers are the packages whose fuzz targets run on this machine.
var parsers = []string{"./pkg/wire", "./pkg/explain", "./pkg/capture", "./pkg/kernel", "./pkg/client"}

// nativeShare is the part of the time that goes to them.
const nativeShare = 5

func newDrive() *cobra.Command {
	d := driver{seed: rand.Uint64()}
	cmd := &cobra.Command{
		Use:   "drive [flags]",
		Short: "Run all fuzzers from the host, the module's in a virtual machine",
		Long: `Drive runs the fuzz targets of the parsers on this machine for a fifth of the
time, and nlfuzz against the module in a virtual machine for the rest. It keeps
programs that reach new places, and for each report a folder with the program as
small as it gets, what was reported, and a Go test. It ends with a table.

Call it from the top of the source tree. Exit status: 0 if all was well, 1 if
something is wrong, 2 if it could not begin.`,
		Example:       `  nlfuzz drive --time 10m`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(*cobra.Command, []string) error { return d.run() },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&d.time, "time", time.Minute, "how long, all together")
	f.StringVar(&d.dir, "dir", "build/fuzz", "`FOLDER` for what is kept: corpus, and found")
	f.StringVar(&d.kernel, "kernel", "debug", "kernel `NAME`, see nlvm kernels; only the debug kernel tells what was reached")
	f.IntVar(&d.smp, "smp", 2, "processors of the virtual machine")
	f.Uint64Var(&d.seed, "seed", d.seed, "all that is random against the module follows from this `NUMBER`")
	f.BoolVar(&d.native, "native", true, "also the parsers, on this machine")
	return cmd
}

func (d *driver) run() error {
	if d.time < time.Second {
		return fmt.Errorf("--time %v: give a second at least", d.time)
	}
	if _, err := os.Stat("vm-test/fuzz"); err != nil {
		return fmt.Errorf("not at the top of nlpeer's source tree: %w", err)
	}
	var err error
	if d.self, err = os.Executable(); err != nil {
		return err
	}
	d.nlvm = filepath.Join(filepath.Dir(d.self), "nlvm")
	if _, err := os.Stat(d.nlvm); err != nil {
		return fmt.Errorf("nlvm is not beside nlfuzz; try: make commands: %w", err)
	}
	left := d.time
	if d.native {
		left -= d.time / nativeShare
		if err := d.parsers(d.time / nativeShare); err != nil {
			return err
		}
	}
	if err := d.module(left); err != nil {
		return err
	}
	return d.table()
}

// table prints the figures and says whether there were reports.
func (d *driver) table() error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "FUZZED\tSECONDS\tRUNS\tMESSAGES\tA SECOND\tREACHED\tCORPUS\tREPORTS\t")
	reports := 0
	for _, r := range d.rows {
		messages, reached, rate := "-", "-", float64(r.runs)
		if t := r.totals; t != nil {
			messages = fmt.Sprint(t.Messages)
			rate = float64(t.Messages)
			if t.Places > 0 {
				reached = fmt.Sprintf("%d of %d, %.1f %%", t.Reached, t.Places, 100*float64(t.Reached)/float64(t.Places))
			}
		}
		fmt.Fprintf(w, "%s\t%.1f\t%d\t%s\t%.0f\t%s\t%d\t%d\t\n", r.what, r.seconds, r.runs, messages, rate/max(r.seconds, 0.1), reached, r.corpus, r.reports)
		reports += r.reports
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if reports > 0 {
		fmt.Printf("\n%d reports, see %s\n", reports, filepath.Join(d.dir, "found"))
		return errReport
	}
	return nil
}

// parsers runs the fuzz targets of packages that need no kernel.
func (d *driver) parsers(total time.Duration) error {
	type target struct{ pkg, name string }
	var targets []target
	for _, pkg := range parsers {
		out, err := exec.Command("go", "test", "-list", "^Fuzz", pkg).CombinedOutput()
		if err != nil {
			return fmt.Errorf("go test -list %s: %w\n%s", pkg, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if name := strings.TrimSpace(line); strings.HasPrefix(name, "Fuzz") {
				targets = append(targets, target{pkg, name})
			}
		}
	}
	temp, err := os.MkdirTemp("", "nlfuzz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	hang := filepath.Join(temp, "hang")
	each := max(time.Second, total/time.Duration(max(1, len(targets)))).Round(time.Second)
	for _, t := range targets {
		fmt.Fprintf(os.Stderr, "nlfuzz: %s %s for %v\n", t.pkg, t.name, each)
		begun := time.Now()
		cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(), t.pkg)
		cmd.Env = append(os.Environ(), fuzzing.HangFile+"="+hang)
		out, err := cmd.CombinedOutput()
		r := row{what: strings.TrimPrefix(t.pkg, "./") + " " + t.name}
		r.readGo(string(out))
		if r.seconds == 0 {
			r.seconds = time.Since(begun).Seconds()
		}
		report := map[string]string{"report.txt": string(out)}
		if input, e := os.ReadFile(hang); e == nil {
			fmt.Fprintf(os.Stderr, "nlfuzz: %s does not end with this input:\n%s", t.name, input)
			report["input"] = string(input)
			if err := os.Remove(hang); err != nil {
				return err
			}
		}
		if err != nil && !timeIsUp(string(out)) || report["input"] != "" {
			fmt.Fprintf(os.Stderr, "%s", out)
			if !strings.Contains(string(out), "--- FAIL") && report["input"] == "" {
				return fmt.Errorf("go test -fuzz %s %s: %w", t.name, t.pkg, err)
			}
			r.reports = 1 // go test has saved the input in the package's testdata, if there was time
			if _, err := d.save("go-"+t.name, report); err != nil {
				return err
			}
		}
		d.rows = append(d.rows, r)
	}
	return nil
}

// timeIsUp says that go test -fuzz has only taken the end of its time for a
// failure, which happens if it comes between two of its steps. Of an input that
// fails it says where it has saved it, or which seed it was.
func timeIsUp(out string) bool {
	_, failure, ok := strings.Cut(out, "--- FAIL: ")
	_, said, _ := strings.Cut(failure, "\n")
	return ok && strings.HasPrefix(said, "    context deadline exceeded\nFAIL\n")
}

// readGo takes the figures from the last line of go test -fuzz that has some.
func (r *row) readGo(out string) {
	for line := range strings.Lines(out) {
		var elapsed, rate string
		var fresh int
		n, _ := fmt.Sscanf(line, "fuzz: elapsed: %s execs: %d %s new interesting: %d (total: %d)", &elapsed, &r.runs, &rate, &fresh, &r.corpus)
		if n < 2 {
			continue
		}
		if t, err := time.ParseDuration(strings.TrimSuffix(elapsed, ",")); err == nil {
			r.seconds = t.Seconds()
		}
	}
}

// save writes files into a folder below found.
func (d *driver) save(name string, files map[string]string) (string, error) {
	dir := filepath.Join(d.dir, "found", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}
