// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netns"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/ftrace"
)

// A tracer is what is needed of an ftrace.Tracer.
type tracer interface {
	Start() error
	Stop() error
	Text() (io.ReadCloser, error)
	Trees() (trees []*ftrace.Tree, strange int, err error)
	Lost() (uint64, error)
	Close() error
}

type traceOptions struct {
	*options
	all       bool
	depth     int
	functions []string
	raw       bool
	to        string
	buffer    int
}

func (o *options) trace() *cobra.Command {
	t := traceOptions{options: o}
	cmd := &cobra.Command{
		Use:   "trace [flags] -- COMMAND [ARG...]",
		Short: "run a command and show what its netlink messages do in the kernel",
		Long:  traceLong,
		Example: `  sudo nlctl trace -- nlecho hello
  sudo nlctl trace --all-tasks --to events.txt -- nlsub -c 1
  sudo nlctl trace --depth 6 -- ip route add 192.0.2.0/24 dev lo
  sudo nlctl trace -o json -- nlecho --via genl hello |
    jq 'select(.module == "nlpeer") | .function'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("a command to run is missing; try: nlctl trace -- nlecho hello")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.SetInterspersed(false) // the flags of the command are its own
	flags.BoolVar(&t.all, "all-tasks", false, "trace all tasks, timers and workers of the machine while the command runs")
	cli.Var(flags, &t.depth, parseDepth, "depth", "", "", "show `N` levels of calls, 1 or more")
	cli.Var(flags, &t.functions, t.addFunctions, "functions", "", "", "trace functions that match `PATTERN` too, such as 'tcp_*' or :mod:dummy; may be given again")
	cli.Var(flags, &t.buffer, cli.Size(minBuffer, maxBuffer), "buffer", "", "", "`SIZE` of the buffer of each processor, such as 8M")
	cli.Var(flags, &t.to, parseFile, "to", "", "", "write the trace to `FILE`, not to standard output")
	flags.BoolVar(&t.raw, "raw", false, "write what the kernel recorded as the kernel writes it")
	cli.CompleteNothing(cmd, "depth", "functions", "buffer")

	cmd.RunE = cli.RunE(func(ctx context.Context, args []string) error {
		if t.raw && (o.target.Format == cli.JSON || flags.Changed("depth")) {
			return cli.Usagef("--raw is the kernel's own text; it cannot be changed by --output or --depth")
		}
		return t.run(ctx, args)
	})
	return cmd
}

// run prepares all that can go wrong, then traces the command.
func (t *traceOptions) run(ctx context.Context, args []string) (err error) {
	if _, err := exec.LookPath(args[0]); err != nil {
		return fmt.Errorf("%s: %w", args[0], errors.Unwrap(err))
	}
	cfg, done, err := t.target.Open()
	if err != nil {
		return err
	}
	defer done()
	out := t.streams.Out
	if t.to != "" {
		f, ferr := os.Create(t.to)
		if ferr != nil {
			return ferr
		}
		out = cli.NewStreams(nil, f, nil).Out
		defer func() {
			if werr := errors.Join(out.Err(), f.Close()); werr != nil {
				err = and(err, fmt.Errorf("writing the trace: %w", werr))
			}
		}()
	}

	// Nothing may end us before the tracer is given back. SIGPIPE is of a trace that
	// nobody reads: the write fails, which is enough.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	defer signal.Stop(signals)

	tr, err := t.tracer(ftrace.Config{Functions: patterns(), Needed: t.functions, AllTasks: t.all, Buffer: t.buffer >> 10})
	if err != nil {
		return explainTracer(err, args)
	}
	defer func() { err = and(err, tr.Close()) }()
	select {
	case s := <-signals:
		return killedBy(s)
	default:
	}

	if err := tr.Start(); err != nil {
		return err
	}
	status, err := t.command(args, cfg.NetNS, signals)
	if serr := tr.Stop(); serr != nil || err != nil {
		return errors.Join(err, serr)
	}
	if err := t.show(out, tr, status); err != nil || status == 0 {
		return err
	}
	return status
}

// and joins two errors. What the command ended with does not hide an error of
// ours.
func and(err, ours error) error {
	if ours != nil && errors.As(err, new(cli.Status)) {
		return ours
	}
	return errors.Join(err, ours)
}

// command runs the command to its end. Ctrl-C reaches it from the terminal, so
// that we only wait; what was sent to us alone we pass on.
func (t *traceOptions) command(args []string, netNS int, signals <-chan os.Signal) (cli.Status, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = t.streams.In, t.streams.Out.Child(), t.streams.Err
	if err := startIn(cmd, netNS); err != nil {
		return 0, t.explainStart(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM || s == syscall.SIGHUP {
				cmd.Process.Signal(s)
			}
		case err := <-ended:
			if err != nil && !errors.As(err, new(*exec.ExitError)) {
				return 0, err
			}
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return killedBy(status.Signal()), nil
			}
			return cli.Status(cmd.ProcessState.ExitCode()), nil
		}
	}
}

// killedBy is what a shell shows for a command that a signal ended.
func killedBy(s os.Signal) cli.Status { return cli.Status(128 + int(s.(syscall.Signal))) }

// startIn starts a command in a network namespace: 0 is ours, else it is a file
// descriptor.
func startIn(cmd *exec.Cmd, netNS int) error {
	if netNS == 0 {
		return cmd.Start()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread dies with us
		if err := netns.Set(netns.NsHandle(netNS)); err != nil {
			done <- &namespaceError{err}
			return
		}
		done <- cmd.Start()
	}()
	return <-done
}

// A namespaceError says that the namespace could not be entered.
type namespaceError struct{ error }

func (e *namespaceError) Unwrap() error { return e.error }

func (t *traceOptions) explainStart(err error) error {
	if errors.As(err, new(*namespaceError)) && errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("%s is not a network namespace", t.target.NetNS)
	}
	return err
}

func explainTracer(err error, args []string) error {
	switch {
	case !errors.Is(err, os.ErrPermission):
		return err
	case os.Geteuid() != 0:
		return fmt.Errorf("tracing the kernel needs root; try: sudo nlctl trace -- %s", strings.Join(args, " "))
	}
	return fmt.Errorf("the kernel forbids tracing even to root, as it does when locked down (Secure Boot): %w", err)
}

func parseDepth(s string) (int, error) {
	n, err := cli.ParseCount(s)
	return int(min(n, 1<<30)), err
}

// addFunctions is for a flag that may be given several times.
func (t *traceOptions) addFunctions(s string) ([]string, error) {
	if s == "" || strings.ContainsAny(s, " \t\n!#") {
		return nil, errors.New("must be a pattern of function names, such as 'tcp_*'")
	}
	return append(t.functions, s), nil
}

func parseFile(s string) (string, error) {
	if s == "" {
		return "", errors.New("must be a file's name")
	}
	return s, nil
}

// The size of a tracing buffer, in bytes.
const minBuffer, maxBuffer = 64 << 10, 1 << 30

const traceLong = `Run a command, and when it has ended show which functions of the kernel its
netlink messages went through: a tree for each call into netlink, with the time
since boot in seconds, the duration, and the module of functions that are in
one. It is recorded by the kernel's own function graph tracer, in the tracing
folder /sys/kernel/tracing, and is what really happened: functions that the
compiler made part of their caller do not show. Needs root.

The command has our standard streams. Ctrl-C ends it as ever, and the trace
comes then. It runs as root too, so this traces a user without privilege:
nlctl trace -- su user -c 'nlecho hello'

Traced are the command, all its threads, and all processes that it starts.
Events of the beacon are sent by a timer and a worker of the kernel: --all-tasks
traces these and everything else on the machine that has to do with netlink,
interrupts included, each as a tree of its own.

Traced functions take a multiple of their usual time, and durations include the
calls below and whatever came in between, an interrupt or another task. The
kernel's buffer has room for some 20000 calls on each processor; what did not
fit is counted on standard error, and a larger --buffer helps.

Kernels before 6.12 or so have one such tracer for everybody. There nlctl takes
it only if nobody uses it. All settings are given back as they were, except
after SIGKILL.

EXIT STATUS
  that of the command, or 128 and the number of the signal that ended it
  2   wrong usage, no privilege, no such tracer or it is busy; the command did
      not run

JSON
  type "call"     one for each call, the caller first: tree (a number; those
                  that begin earlier are smaller), depth (0 is the root of its
                  tree, n + 1 is called by the last one before it with n),
                  task, pid (of the thread), context ("task", "softirq" or
                  "interrupt"), function, module (absent for the kernel
                  itself), time_ns (since boot), duration_ns (absent if it had
                  not returned), cut (true if its beginning was lost, with some
                  of what it called)
  type "summary"  the last: trees, calls (those shown), lost (records that did
                  not fit into the buffer), status (of the command)`
