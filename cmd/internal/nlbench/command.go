// SPDX-License-Identifier: MIT

// Package nlbench is the command nlbench.
package nlbench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/bench"
)

type options struct {
	host, quick, smoke bool
	rounds             int
	only               *regexp.Regexp
	format             cli.Format
	output, charts     string
	programs           string
	kernel             string
}

// How often each contender has its turn.
const (
	defaultRounds = 5
	quickRounds   = 3
	maxRounds     = 1000
)

// How long a turn takes: of instructions, which are nanoseconds of the guest's
// clock, and of real time.
const (
	sample      = 10 * time.Millisecond
	quickSample = 3 * time.Millisecond
	hostSample  = 200 * time.Millisecond
)

// Command returns the command.
func Command(s *cli.Streams) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "nlbench [flags]",
		Short: "measure what it costs to talk to a kernel, by all ways and libraries",
		Long:  long,
		Example: `  nlbench                               all of it, in a virtual machine
  nlbench --quick                       what the targets need
  nlbench --only 'echo/raw/64B/x1 '     one case, all contenders
  nlbench --only ' (c|nlpeer)$'         all cases, two contenders
  nlbench -o json >results.json         figures for other programs
  nlbench --host                        on this kernel, by a real clock
  nlbench report results.json           charts, and how the targets were met`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&o.host, "host", false, "measure on the running kernel what needs no module, by a real clock")
	flags.BoolVar(&o.quick, "quick", false, "only the cases that the targets are made from, and fewer rounds")
	flags.BoolVar(&o.smoke, "smoke", false, "one operation of each case: shows that all works, the figures mean nothing")
	cli.Var(flags, &o.rounds, parseRounds, "rounds", "", "", fmt.Sprintf("give each contender `N` turns (default %d; with --quick %d)", defaultRounds, quickRounds))
	cli.Var(flags, &o.only, parseOnly, "only", "", "", "measure what a `REGEX` finds in \"CASE CONTENDER\", such as \"echo/raw/64B/x1 nlpeer\"")
	cli.AddFormat(cmd, flags, &o.format)
	flags.StringVar(&o.output, "write", "", "write the results to a `FILE` too, as -o json has them")
	flags.StringVar(&o.charts, "charts", "", "draw charts, SVG files in a `FOLDER`")
	flags.StringVar(&o.programs, "programs", "", "`FOLDER` of the contenders in C (default: contenders beside this command, or build/bin/contenders)")
	flags.StringVar(&o.kernel, "kernel", "", "kernel `NAME` of the virtual machine, see nlvm kernels")
	cli.CompleteNothing(cmd, "rounds", "only", "kernel")
	cmd.AddCommand(guestCommand(s), reportCommand(s))
	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error { return o.run(ctx, s) })
	return cmd
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("takes no argument, but there is %q", args[0])
	}
	return nil
}

func parseRounds(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxRounds {
		return 0, fmt.Errorf("must be a number from 1 to %d", maxRounds)
	}
	return n, nil
}

func parseOnly(s string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	return re, nil
}

// bench is how to measure by these options.
func (o *options) bench() *bench.Bench {
	b := &bench.Bench{Rounds: o.rounds, Sample: sample, Once: o.smoke, Only: o.only, Programs: o.programs, Wall: o.host}
	if o.quick {
		b.Sample = quickSample
	}
	if o.host {
		b.Sample = hostSample
	}
	if b.Rounds == 0 {
		switch {
		case o.smoke:
			b.Rounds = 1
		case o.quick:
			b.Rounds = quickRounds
		default:
			b.Rounds = defaultRounds
		}
	}
	return b
}

// scope is how much to measure.
func (o *options) scope() bench.Scope {
	switch {
	case o.quick:
		return bench.Quick
	case o.smoke:
		return bench.Smoke
	}
	return bench.Full
}

// run measures and prints.
func (o *options) run(ctx context.Context, s *cli.Streams) error {
	if o.host && o.kernel != "" {
		return cli.Usagef("--host and --kernel contradict each other: --host measures on the kernel that runs")
	}
	if o.host && o.quick {
		return cli.Usagef("--host is quick; drop --quick")
	}
	keep, err := newKeeper(o.output)
	if err != nil {
		return err
	}
	p := &printer{out: s.Out, format: o.format, keep: keep, judge: !o.host && !o.smoke && o.only == nil}
	if o.host {
		err = o.onHost(ctx, p.record)
	} else {
		err = o.inGuest(ctx, s, p.record)
	}
	if err == nil && o.charts != "" && !o.smoke {
		err = writeCharts(o.charts, &p.results)
	}
	if err == nil {
		err = p.end()
	}
	kept := keep.close()
	if kept != nil && errors.Is(err, cli.ErrFailed) {
		return kept // ErrFailed would be the end without a word
	}
	return errors.Join(err, kept)
}

const long = `nlbench has all contenders do the same work on the same kernel, and prints what
an operation costs each: the client of nlpeer, other libraries, plain system
calls, programs in C, and ways into a kernel that are not netlink. They run warm
and take turns, for several rounds.

Without --host that is in a virtual machine, which nlvm starts, with a clock that
counts instructions: 1 ns is 1 instruction of kernel and program together. Such
figures hardly change from run to run, however busy the machine is. It needs the
source tree, QEMU and a C compiler, and no privilege.

With --host it is the running kernel and a real clock: echoes between two sockets
(NETLINK_USERSOCK) and look-ups of a family (generic netlink), with percentiles of
their latency. It needs neither the module nor a privilege.

Each line has the case, who did it, the median of the rounds, how far least and
greatest are apart, what it is to C, and how often it allocated memory on Go's
heap. C is an echo of the same length by sendto and recv on the raw protocol, one
at a time; for events one that has a datagram of its own; else the same case. The last lines are the targets: what the
figures have to be; --only, --smoke and --host have none.

Cases are named WAY OF WORK/CARRIER/PAYLOAD/xBATCH/nNUMBER:

  echo       send bytes and get them back; an operation is one echo
  syscall    the least that a system call costs
  receive    take events that are queued; with x16, 16 share a datagram
  rate       send a burst of events and take them, the largest without a loss
  broadcast  send events to n listeners that do not read
  get        ask for one object
  dump       ask for all n objects; an operation is one object
  family     ask generic netlink for a family

EXIT STATUS
  0   all was measured, whether the targets are met or not
  1   something could not be measured: a contender failed, or is missing
  2   wrong usage, nothing could be measured at all, or --write failed

JSON
With -o json, and in a file of --write, every line is an object, and more members
may be added to it. Costs are in units of the run: instructions or ns.

  type "run"      the first: schema (1), version, kernel, go, unit, wall (a real
                  clock), rounds, quick, arguments (of the guest's kernel)
  type "result"   case, carrier, size, batch, n, contender, cost (the median of
                  the rounds), min, max, spread_percent, operations (in a round),
                  allocs and bytes (of an operation; not for programs in C),
                  burst (case rate), percentiles (a list of percent and ns)
  type "skip"     case …, contender, reason: it can not do that
  type "error"    case …, contender, reason: it failed
  type "end"      the last: nothing is cut off
  type "target"   only with -o json: name, value, must, aim, at_least, met,
                  aim_met, missing (what it could not be computed from)
`
