// SPDX-License-Identifier: MIT

// Package cli is what nlecho, nlsub and nlctl have in common: how they begin and
// end, the flags that choose a carrier, how values are written and parsed, and
// what errors are called.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"nlpeer"
)

// Exit codes, the same for all commands.
const (
	// ExitOK says that all went well.
	ExitOK = 0
	// ExitFailed says that the kernel was there, but not all that was asked for
	// came back.
	ExitFailed = 1
	// ExitError says that the command was used wrongly or could not do its work.
	ExitError = 2
	// ExitPipe says that nobody reads standard output any more. It is what a
	// shell shows for a command that SIGPIPE ended.
	ExitPipe = 128 + 13
)

// Streams are where a command reads and writes.
type Streams struct {
	In  io.Reader
	Out *Output
	Err io.Writer
}

// NewStreams returns streams over in, out and err.
func NewStreams(in io.Reader, out, err io.Writer) *Streams {
	return &Streams{In: in, Out: &Output{w: out}, Err: err}
}

// ErrFailed makes a command end with ExitFailed and without a further word.
var ErrFailed = errors.New("failed")

// A Status makes a command end with it as its exit code, and without a further
// word.
type Status int

func (s Status) Error() string { return fmt.Sprintf("status %d", int(s)) }

// A usageError is one that the user can undo on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usagef returns an error that is followed by a hint at --help.
func Usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// A runError came out of a command's own work, which means that its arguments
// were in order.
type runError struct{ error }

func (e runError) Unwrap() error { return e.error }

// RunE adapts the work of a command to cobra. It tells the errors of run from
// those that cobra finds on the command line.
func RunE(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd.Context(), args)
		if err == nil || errors.As(err, new(usageError)) {
			return err
		}
		return runError{err}
	}
}

// Main runs a command on the process's own arguments and streams until it ends,
// or until SIGINT or SIGTERM asks it to; a second signal kills. It returns the
// exit code.
func Main(build func(*Streams) *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return Run(ctx, build, NewStreams(os.Stdin, os.Stdout, os.Stderr), os.Args[1:])
}

// Run runs a command and returns its exit code. The end of ctx is Ctrl-C.
func Run(ctx context.Context, build func(*Streams) *cobra.Command, s *Streams, args []string) int {
	root := build(s)
	Prepare(root)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetArgs(args)

	cmd, err := root.ExecuteContextC(ctx)
	var status Status
	silent := err == nil || errors.Is(err, ErrFailed) || errors.As(err, &status)

	if werr := s.Out.Err(); werr != nil {
		// What the command could not do besides is said, too.
		if !silent && !errors.Is(err, werr) {
			fmt.Fprintf(s.Err, "%s: %v\n", root.Name(), err)
		}
		if errors.Is(werr, syscall.EPIPE) {
			return ExitPipe
		}
		fmt.Fprintf(s.Err, "%s: writing standard output: %v\n", root.Name(), reason(werr))
		return ExitError
	}
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrFailed):
		return ExitFailed
	case errors.As(err, &status):
		return int(status)
	}
	fmt.Fprintf(s.Err, "%s: %v\n", root.Name(), err)
	if !errors.As(err, new(runError)) {
		fmt.Fprintf(s.Err, "Try '%s --help' for more information.\n", cmd.CommandPath())
	}
	return ExitError
}

// Prepare gives a command what all commands have.
func Prepare(root *cobra.Command) {
	root.Version = nlpeer.Version()
	root.SetVersionTemplate("{{.DisplayName}} {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version")
	root.SilenceErrors, root.SilenceUsage = true, true
	describeHelp(root)
}

// describeHelp puts the words of cobra's own flag into ours.
func describeHelp(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Usage = "print this help"
	for _, sub := range cmd.Commands() {
		describeHelp(sub)
	}
}

// reason is why an operation on a file failed, without the operation's name and
// the file's.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
