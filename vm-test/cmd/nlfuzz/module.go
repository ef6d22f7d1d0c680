// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"nlpeer/vm-test/fuzz"
)

// A session is one run of nlfuzz in a virtual machine.
type session struct {
	status  int
	log     string      // what nlvm said: the kernel's complaints are there
	recent  []announced // the last batches
	corpus  []*fuzz.Program
	report  *fuzz.Record // nlfuzz's own word of what is wrong
	end     *fuzz.Record // the last figures
	running *fuzz.Totals // those before, if there was no end
}

// announced are programs that were about to run: in full, or by their numbers and
// how many there were in the corpus.
type announced struct {
	texts  []string
	first  uint64
	count  int
	corpus int
}

// programs makes them again.
func (s *session) programs(seed uint64) (all []*fuzz.Program, err error) {
	for _, a := range s.recent {
		for _, text := range a.texts {
			p, err := fuzz.Parse(text)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
		for i := range a.count {
			all = append(all, fuzz.Numbered(seed, a.first+uint64(i), s.corpus[:a.corpus]))
		}
	}
	return all, nil
}

// vmSlack is what the machine gets on top of the time for the fuzzer: old
// programs are run first.
const vmSlack = 10 * time.Minute

// moduleArgs are bounds that a program comes to. The suite fuzz has the same, in its
// nlvm.flags.
const moduleArgs = "objects=100 object_bytes=100000 history=64 history_bytes=65536"

// start runs nlfuzz in a virtual machine with more files and arguments.
func (d *driver) start(limit time.Duration, puts, args []string, input func(*fuzz.Program) error) (*session, error) {
	argv := []string{"run", "--kernel", d.kernel, "--smp", strconv.Itoa(d.smp), "--module-args", moduleArgs, "--append", "highres=off", "--no-commands", "--timeout", limit.String(), "--put", d.self + ":nlfuzz"}
	for _, p := range puts {
		argv = append(argv, "--put", p)
	}
	argv = append(argv, "--", "./nlfuzz", "--records")
	cmd := exec.Command(d.nlvm, append(argv, args...)...)
	var log bytes.Buffer
	cmd.Stderr = io.MultiWriter(os.Stderr, &log)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := new(session)
	rerr := s.read(out, input)
	if rerr != nil {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, out)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	s.status, s.log = cmd.ProcessState.ExitCode(), log.String()
	if s.status == 2 || s.status == 126 || s.status == 127 { // nlfuzz or nlvm; not executed; not found
		rerr = errors.Join(rerr, errors.New("the fuzzer could not begin in the virtual machine, see above"))
	}
	return s, rerr
}

func (s *session) read(out io.Reader, input func(*fuzz.Program) error) error {
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil // a line cut off at a panic says nothing
		}
		if err != nil {
			return err
		}
		var r fuzz.Record
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("the fuzzer wrote %q: %w", line[:min(len(line), 100)], err)
		}
		switch r.Kind {
		case fuzz.KindBatch:
			s.recent = append(s.recent, announced{r.Programs, r.First, r.Count, len(s.corpus)})
			s.recent = s.recent[max(0, len(s.recent)-2):]
		case fuzz.KindInput:
			for _, text := range r.Programs {
				p, err := fuzz.Parse(text)
				if err == nil && input != nil {
					err = input(p)
				}
				if err != nil {
					return err
				}
				s.corpus = append(s.corpus, p)
			}
		case fuzz.KindStatus:
			s.running = r.Totals
			t := r.Totals
			fmt.Fprintf(os.Stderr, "nlfuzz: %.0f s: %d programs, %d messages, reached %d of %d, corpus %d\n", t.Seconds, t.Programs, t.Messages, t.Reached, t.Places, t.Corpus)
		case fuzz.KindReport:
			s.report = &r
			s.running = r.Totals
		case fuzz.KindEnd:
			s.end = &r
			s.running = r.Totals
		}
	}
}

// module fuzzes the module, and looks into what it finds.
func (d *driver) module(limit time.Duration) error {
	corpus := filepath.Join(d.dir, "corpus")
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "nlfuzz: the module on kernel %s for %v, seed %d\n", d.kernel, limit, d.seed)
	fresh := map[string]bool{}
	s, err := d.start(limit+vmSlack, []string{corpus + ":corpus"},
		[]string{"--time", limit.String(), "--seed", strconv.FormatUint(d.seed, 10), "--corpus", "corpus"},
		func(p *fuzz.Program) error {
			file, err := fuzz.Save(corpus, p)
			fresh[filepath.Base(file)] = true
			return err
		})
	if err != nil {
		return err
	}
	r := row{what: "module", totals: s.running}
	if t := s.running; t != nil {
		r.seconds, r.runs, r.corpus = t.Seconds, t.Programs, t.Corpus
	}
	if s.status != 0 {
		r.reports = 1
		if err := d.found(s); err != nil {
			return err
		}
	} else if s.end == nil {
		return errors.New("the fuzzer ended without its figures")
	} else {
		// What the programs that are kept now reach, others need not be kept for.
		if err := prune(corpus, fresh); err != nil {
			return err
		}
		if len(s.end.Missed) > 0 {
			fmt.Fprintf(os.Stderr, "nlfuzz: functions never entered: %s\n", strings.Join(s.end.Missed, ", "))
		}
	}
	d.rows = append(d.rows, r)
	return nil
}

// prune removes programs that reach nothing that others do not.
func prune(dir string, keep map[string]bool) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"+fuzz.Ext))
	if err != nil || len(keep) == 0 {
		return err
	}
	for _, file := range files {
		if !keep[filepath.Base(file)] {
			err = errors.Join(err, os.Remove(file))
		}
	}
	return err
}

// found makes of a session with a report what a person needs.
func (d *driver) found(s *session) error {
	suspects, err := s.programs(d.seed)
	if err != nil {
		return err
	}
	report := fmt.Sprintf("seed %d, kernel %s, nlvm's exit status %d\n", d.seed, d.kernel, s.status)
	var seen *fuzz.Program // what it was seen with: the cause, or the last of several
	if s.report != nil {
		report += "\n" + s.report.Text + "\n"
		for _, text := range s.report.Programs {
			if seen, err = fuzz.Parse(text); err != nil {
				return err
			}
			// Those announced behind it have not run.
			for i, p := range slices.Backward(suspects) {
				if p.Name() == seen.Name() {
					suspects = suspects[:i]
					break
				}
			}
			suspects = append(suspects, seen)
		}
	}
	report += "\n" + s.log
	if len(suspects) == 0 {
		dir, err := d.save(fmt.Sprintf("seed-%d", d.seed), map[string]string{"report.txt": report})
		fmt.Fprintf(os.Stderr, "nlfuzz: no program is known to be the cause; %s\n", dir)
		return err
	}
	// At once, as what follows takes a while and may be ended.
	all, err := d.keepAll("Suspects", untried, suspects, s, report)
	if err != nil {
		return err
	}
	group, err := d.blame(suspects, seen)
	if err != nil {
		return err
	}
	if group == nil {
		dir, err := d.keepAll("Suspects", vanished, suspects, s, report)
		fmt.Fprintf(os.Stderr, "nlfuzz: it did not happen again; the last programs are in %s\n", dir)
		return err
	}
	if err := os.RemoveAll(all); err != nil {
		return err
	}
	if len(group) > 1 {
		dir, err := d.keepAll("Together", together, group, s, report)
		fmt.Fprintf(os.Stderr, "nlfuzz: it happens again with %d programs one after the other, and with none alone; %s\n", len(group), dir)
		return err
	}
	guilty := group[0]
	first, err := d.keep(guilty, s, report)
	if err != nil {
		return err
	}
	end := time.Now().Add(minimizeTime)
	small := fuzz.Minimize(guilty, minimizeRuns, func(p *fuzz.Program) bool {
		if time.Now().After(end) {
			return false
		}
		again, err := d.fails(p)
		return err == nil && again
	})
	dir, err := d.keep(small, s, report)
	if err == nil && dir != first {
		err = os.RemoveAll(first)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "nlfuzz: it happens again with %d operations; %s\n", len(small.Ops), dir)
	return nil
}

// keep saves a program that brings a report, and the test that it makes.
func (d *driver) keep(p *fuzz.Program, s *session, report string) (string, error) {
	name := p.Name()
	return d.save(name, map[string]string{
		"report.txt":                 report,
		name + fuzz.Ext:              p.String(),
		"found_" + name + "_test.go": reproducer(p, s),
	})
}

// What a test of several programs says of itself, behind what was reported.
const (
	untried = `nlfuzz was ended before it had run these programs again, the last before it.
It may take others before them, or luck: that this test passes says little.`
	vanished = `It did not happen again when nlfuzz ran these programs, the last before it.
It may take others before them, or luck: that this test passes says little.`
	together = `It happened again when nlfuzz ran these programs one after the other, and not
with one of them left out, as far as it had the time to try.`
)

// keepAll saves several programs of which none is known to be the cause alone, and
// the test that they make.
func (d *driver) keepAll(what, comment string, programs []*fuzz.Program, s *session, report string) (string, error) {
	name := fmt.Sprintf("%s_%d", what, d.seed)
	files := map[string]string{
		"report.txt": report,
		"found_" + strings.ToLower(name) + "_test.go": replay("Test"+name, comment, programs, s),
	}
	for i, p := range programs {
		files[fmt.Sprintf("%02d-%s%s", i, p.Name(), fuzz.Ext)] = p.String()
	}
	return d.save(fmt.Sprintf("seed-%d", d.seed), files)
}

// Bounds of looking into a report: each try is a virtual machine.
const (
	minimizeRuns = 64
	minimizeTime = 5 * time.Minute
	replayRepeat = 10
	replayLimit  = 5 * time.Minute
)

// fails says whether programs bring a report, run one after the other.
func (d *driver) fails(programs ...*fuzz.Program) (bool, error) {
	dir, err := os.MkdirTemp("", "nlfuzz-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	args := []string{"--repeat", strconv.Itoa(replayRepeat)}
	for i, p := range programs {
		name := fmt.Sprintf("%03d%s", i, fuzz.Ext)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(p.String()), 0o644); err != nil {
			return false, err
		}
		args = append(args, "--replay", "replay/"+name)
	}
	s, err := d.start(replayLimit, []string{dir + ":replay"}, args, nil)
	if err != nil {
		return false, err
	}
	return s.status != 0, nil
}

// blame finds the fewest programs that bring the report, one after the other, nil
// if it does not happen again. It begins with the one it was seen with, if any.
func (d *driver) blame(suspects []*fuzz.Program, seen *fuzz.Program) ([]*fuzz.Program, error) {
	if seen != nil && len(suspects) > 1 {
		if again, err := d.fails(seen); err != nil || again {
			return []*fuzz.Program{seen}, err
		}
	}
	again, err := d.fails(suspects...)
	if err != nil || !again {
		return nil, err
	}
	for again && len(suspects) > 1 {
		// The later half first, as the last is the most likely.
		middle := len(suspects) / 2
		for _, half := range [][]*fuzz.Program{suspects[middle:], suspects[:middle]} {
			if again, err = d.fails(half...); err != nil {
				return nil, err
			}
			if again {
				suspects = half
				break
			}
		}
	}
	// It takes some of both halves: without which does it happen still?
	end := time.Now().Add(minimizeTime)
	for i := 0; i < len(suspects) && len(suspects) > 1 && time.Now().Before(end); {
		rest := slices.Delete(slices.Clone(suspects), i, i+1)
		if again, err = d.fails(rest...); err != nil {
			return nil, err
		}
		if again {
			suspects = rest
		} else {
			i++
		}
	}
	return suspects, nil
}

// headline says in a line what was wrong.
func headline(s *session) string {
	if s.report == nil {
		return "nlvm's exit status was " + strconv.Itoa(s.status)
	}
	lines := strings.Split(strings.TrimSpace(s.report.Text), "\n")
	if strings.HasPrefix(lines[0], "the kernel complains") && len(lines) > 1 {
		return lines[1]
	}
	return lines[0]
}

// reproducer is a Go test for the suite fuzz.
func reproducer(p *fuzz.Program, s *session) string {
	return fmt.Sprintf(`// SPDX-License-Identifier: MIT

package fuzz_test

import "testing"

// %s
func TestFound_%s(t *testing.T) {
	again(t, `+"`\n%s`"+`)
}
`, headline(s), p.Name(), p)
}

// replay is one that runs programs as nlfuzz --replay does.
func replay(name, comment string, programs []*fuzz.Program, s *session) string {
	var texts strings.Builder
	for _, p := range programs {
		fmt.Fprintf(&texts, "\t\t\t`\n%s`,\n", p)
	}
	return fmt.Sprintf(`// SPDX-License-Identifier: MIT

package fuzz_test

import (
	"testing"

	"nlpeer/vm-test/fuzz"
)

// %s
//
// %s
func %s(t *testing.T) {
	for range %d {
		for _, text := range []string{
%s		} {
			p, err := fuzz.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			run(t, p)
		}
	}
}
`, headline(s), strings.ReplaceAll(comment, "\n", "\n// "), name, replayRepeat, texts.String())
}
