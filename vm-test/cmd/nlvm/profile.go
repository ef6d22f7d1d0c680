// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/gdb"
	"nlpeer/vm-test/internal/machine"
	"nlpeer/vm-test/internal/profile"
	"nlpeer/vm-test/internal/qemu"
)

// profileTimeout is longer than that of a run: each instruction that is
// followed costs some 50 microseconds.
const profileTimeout = 5 * time.Minute

// Where the guest keeps what its kernel says of its symbols until the end. The
// module is gone by then.
const kallsyms = "/run/nlvm.kallsyms"

// profileRun is a run whose instructions are followed.
type profileRun struct {
	guestRun
	marker     string
	program    string
	warmup     int
	operations int
	limit      int
	format     string

	plan   profile.Plan
	done   chan struct{} // closed when recorded and err are set
	result profile.Recording
	err    error
	output output
	over   chan struct{} // closed when the machine has ended
}

func newProfile() *cobra.Command {
	var p profileRun
	cmd := &cobra.Command{
		Use:   "profile [flags] -- COMMAND [ARG…]",
		Short: "Count the instructions of one operation, function by function",
		Long: `Profile runs a program in the guest and follows it instruction by instruction,
into the kernel and back, from one call of a marker function to the next. It
prints how many instructions each function took, and the calls in their order.
The figures are exact, and repeat: no interrupt and no timer gets in between.

The program repeats the operation and calls the marker before each, a function
that does nothing and is not inlined (Go: //go:noinline, C: noinline, and an
empty asm statement in it). It must be linked to fixed addresses, as a static
program is (C: -static -no-pie), and not be stripped. Nothing else in it has to
know of the profile. When all is recorded, it is ended.

As in a run, nlpeer is loaded, and --put copies the program into the guest. What
it writes to its standard output goes to standard error. The guest has one
processor, and its clock counts instructions (--icount), so the program can
check the figures: if it measures some operations before it first calls the
marker, and writes a line NANOSECONDS OPERATIONS, that is shown beside them. The
two should agree within a few percent.

An iteration of a repeated string instruction (rep movs) counts as one, here as
by the clock.

With -o json, each line is an object:
  {"type":"summary","operations","instructions","fewest","most","clock"}
      instructions is the mean of an operation, fewest and most are of one,
      clock is what the program measured itself, left out if it did not
  {"type":"part","part","instructions"}
  {"type":"function","part","function","module","kernel","calls","instructions"}
      the most expensive first; calls and instructions are of an operation
  {"type":"call","depth","function","module","kernel","calls","instructions","with_callees"}
      the tree of calls, each below its caller, in the order of the first call
With -o folded, each line is a path of calls and its instructions in all
operations, as programs that draw flame graphs read it.

Exit status: as that of run; 2 also if the command ended, with status 0, before
all was recorded.`,
		Example: `  nlvm profile --put ./echo -- ./echo
  nlvm profile --append mitigations=off --put ./echo --operations 32 -- ./echo -s 64
  nlvm profile --put ./bench --program ./bench -- sh -c 'nlctl info >&2; ./bench'
  nlvm profile -o folded --put ./echo -- ./echo >echo.folded`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no command given; usage: nlvm profile [flags] -- COMMAND [ARG…]   (more: nlvm profile --help)")
			}
			p.argv = args
			if !cmd.Flags().Changed("timeout") {
				p.timeout = profileTimeout
			}
			if !cmd.Flags().Changed("icount") {
				p.icount = true
			}
			return p.run()
		},
	}
	p.registerOn(cmd)
	set := cmd.Flags()
	set.StringVar(&p.marker, "marker", "marker", "`FUNCTION` that is called between operations; of a Go program, one in main by its name alone")
	set.StringVar(&p.program, "program", "", "`FILE` here that is the program with the marker (default: what --put sends as COMMAND)")
	set.IntVar(&p.warmup, "warmup", 50, "operations to let pass first")
	set.IntVar(&p.operations, "operations", 4, "operations to follow")
	set.IntVar(&p.limit, "limit", 200000, "instructions that an operation may take")
	set.StringVarP(&p.format, "output", "o", "text", "`FORMAT`: text, json or folded")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "folded"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (p *profileRun) check() error {
	switch {
	case p.operations < 1:
		return fmt.Errorf("--operations %d: give at least 1", p.operations)
	case p.limit < 1:
		return fmt.Errorf("--limit %d: give at least 1", p.limit)
	case p.warmup < 0:
		return fmt.Errorf("--warmup %d: give a number, or 0 for none", p.warmup)
	case p.smp != 1:
		return errors.New("profile needs --smp 1: one processor can be followed")
	case p.accel == "kvm":
		return errors.New("profile needs --accel tcg: with KVM, interrupts get in between")
	case p.format != "text" && p.format != "json" && p.format != "folded":
		return fmt.Errorf("-o %s: give text, json or folded", p.format)
	}
	return nil
}

func (p *profileRun) run() error {
	if err := p.check(); err != nil {
		return err
	}
	file, err := p.programFile()
	if err != nil {
		return err
	}
	program, err := profile.OpenProgram(file)
	if err != nil {
		return err
	}
	p.plan = profile.Plan{Warmup: p.warmup, Operations: p.operations, Limit: p.limit}
	if p.plan.Marker, p.plan.Code, err = program.Marker(p.marker); err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "nlvm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	symbols := filepath.Join(dir, "kallsyms")
	p.collect = []string{kallsyms}
	p.place = func(string) string { return symbols }
	// The kernel's addresses are others at each boot, and a module's at each load.
	// The program begins when we have begun to look: what comes before would only
	// meet the breakpoint at addresses of its own.
	p.argv = append([]string{"sh", "-c", `cat /proc/kallsyms >` + kallsyms + ` && echo && read -r go && exec "$@"`, "nlvm"}, p.argv...)
	p.accel = string(qemu.TCG)
	p.output.ready, p.over = make(chan struct{}), make(chan struct{})
	p.stdout = &p.output
	p.attach = p.record
	status := p.do()
	if p.done == nil {
		return status // not started
	}
	close(p.over)
	<-p.done
	return p.report(program, symbols, status)
}

// programFile finds the program among what is sent into the guest.
func (p *profileRun) programFile() (string, error) {
	if p.program != "" {
		return p.program, nil
	}
	items, err := p.items("--put", p.puts)
	if err != nil {
		return "", err
	}
	want := p.argv[0]
	if !path.IsAbs(want) {
		want = path.Join(guestDir, want)
	}
	for _, i := range items {
		if rest, ok := strings.CutPrefix(want, "/"+i.Name); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(i.Source, filepath.FromSlash(rest)), nil
		}
	}
	return "", fmt.Errorf("no --put sends %s; name the program that has the marker with --program", p.argv[0])
}

// record follows the guest from when its program is about to begin. It is done
// when the returned channel is closed.
func (p *profileRun) record(m *machine.Machine) (<-chan struct{}, error) {
	begin, let := io.Pipe()
	p.stdin = begin
	if in := standardInput(); in != nil {
		p.stdin = io.MultiReader(begin, in)
	}
	enough := make(chan struct{})
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		select {
		case <-p.output.ready:
		case <-p.over:
			p.err = profile.ErrEnded
			return
		}
		if p.err = p.follow(m, let); p.err == nil {
			close(enough)
		} else if !errors.Is(p.err, profile.ErrEnded) {
			m.Close() // it may stand still
		}
	}()
	return enough, nil
}

// follow has the program begin, and records it.
func (p *profileRun) follow(m *machine.Machine, let *io.PipeWriter) error {
	conn, err := m.Debug()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.WriteString(let, "\n")
		let.Close()
	}()
	p.result, err = profile.Record(gdb.New(conn), p.plan)
	return err
}

// report prints the breakdown, or says why there is none.
func (p *profileRun) report(program *profile.Program, kallsyms string, status error) error {
	switch {
	case p.err == nil:
	case errors.Is(p.err, profile.ErrTooLong):
		return fmt.Errorf("an operation takes more than %d instructions, or waits for something; if it is just long, raise --limit", p.limit)
	case !errors.Is(p.err, profile.ErrEnded):
		return p.err
	case p.result.Hits == 0:
		return p.short(status, fmt.Sprintf("the command never called %s", p.marker))
	default:
		return p.short(status, fmt.Sprintf("the command called %s %d times, and %d are needed; have it do more, or lower --warmup or --operations",
			p.marker, p.result.Hits, p.plan.Calls()))
	}
	file, err := os.Open(kallsyms)
	if err != nil {
		return errors.Join(status, fmt.Errorf("the kernel's symbols did not come back from the guest: %w", err))
	}
	defer file.Close()
	symbols, err := profile.NewSymbols(program, file)
	if err != nil {
		return err
	}
	b := profile.New(symbols, p.result)
	b.Clock = p.output.clock
	print := map[string]func(io.Writer) error{"text": b.Text, "json": b.JSON, "folded": b.Folded}[p.format]
	return errors.Join(print(os.Stdout), status)
}

// short ends a profile that is not complete: with the command's status, or as
// an error if that was 0.
func (p *profileRun) short(status error, reason string) error {
	if status == nil {
		return errors.New(reason)
	}
	fmt.Fprintf(notes, "nlvm: %s\n", reason)
	return status
}

// output passes a program's output on to standard error, and reads the line by
// which it tells what it measured.
type output struct {
	ready chan struct{} // closed at the first line, which is not the program's
	begun bool
	line  []byte
	clock float64 // nanoseconds for an operation
}

// clockLine is longer than such a line.
const clockLine = 64

func (o *output) Write(text []byte) (int, error) {
	written := len(text)
	if !o.begun && written > 0 {
		o.begun = true
		close(o.ready)
		text = text[1:]
	}
	for _, b := range text {
		if b != '\n' {
			if len(o.line) < clockLine {
				o.line = append(o.line, b)
			}
			continue
		}
		var nanoseconds, operations float64
		if n, _ := fmt.Sscanf(string(o.line), "%g %g", &nanoseconds, &operations); n == 2 && operations > 0 && o.clock == 0 {
			o.clock = nanoseconds / operations
		}
		o.line = o.line[:0]
	}
	_, err := os.Stderr.Write(text)
	return written, err
}
