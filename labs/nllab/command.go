// SPDX-License-Identifier: MIT

// Package nllab is the command nllab.
package nllab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"nlpeer"
	"nlpeer/labs/internal/grade"
)

// Exit codes; those from 120 on are nlvm's.
const (
	exitOK       = 0
	exitPoints   = 1 // not all points
	exitUsage    = 2
	exitCompiler = 3
)

// status makes the command end with it, and without a further word.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// app is one call of the command.
type app struct {
	in       io.Reader
	out, err io.Writer
	dir      string // -C
}

// Main runs the command on the process's own arguments, and returns its exit
// code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The second one ends us the hard way.
	context.AfterFunc(ctx, stop)
	return Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Run is Main with arguments and streams of the caller's. The end of ctx is
// Ctrl-C.
func Run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	a := &app{in: in, out: out, err: err}
	root := a.command()
	root.Version = nlpeer.Version()
	root.SetVersionTemplate("{{.DisplayName}} {{.Version}}\n")
	root.Flags().Bool("version", false, "print the version")
	describeHelp(root)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	cmd, failure := root.ExecuteContextC(ctx)
	var s status
	var refused *grade.CompileError
	switch {
	case failure == nil:
		return exitOK
	case errors.As(failure, &s):
		return int(s)
	case ctx.Err() != nil:
		fmt.Fprintln(err, "nllab: interrupted; your files are as they were")
		return 128 + int(syscall.SIGINT)
	case errors.As(failure, &refused):
		fmt.Fprintf(err, "%s does not compile:\n\n%s", shorten(refused.What), withNewline(refused.Text))
		return exitCompiler
	}
	fmt.Fprintf(err, "nllab: %v\n", failure)
	switch {
	case errors.Is(failure, syscall.ENOSPC):
		fmt.Fprintln(err, "The disk is full. Your files are as they were; make room and run it again.")
	case errors.Is(failure, exec.ErrNotFound):
		fmt.Fprintln(err, "What is missing belongs to what make demo installs; Go is at https://go.dev/dl.")
	case errors.As(failure, new(usageError)):
		fmt.Fprintf(err, "Try '%s --help' for more information.\n", cmd.CommandPath())
	}
	return exitUsage
}

// A usageError is one that can be undone on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func withNewline(text string) string {
	if text != "" && text[len(text)-1] != '\n' {
		return text + "\n"
	}
	return text
}

// Command is the command, for its pages in the manual.
func Command() *cobra.Command {
	return (&app{in: os.Stdin, out: io.Discard, err: io.Discard}).command()
}

const long = `The life of a message is a course on netlink, the way by which programs and the
Linux kernel talk to each other. A lab of it is a text to read and two programs to
complete: a module of the kernel, in C, and what talks to it, in Go. Nllab builds
them, boots a virtual machine within a second, and checks them there: what is right
gets points, and what is wrong is shown byte by byte. A module that crashes its
kernel does no harm to this machine. No privilege is needed.

Begin with a folder of your own, and read the text of the first lab:

  nllab new ~/netlink
  cd ~/netlink
  nllab list
  nllab run 0

Nllab works on the folder around the current one. It remembers there, in .nllab,
how far you are, and puts aside there what it would otherwise overwrite.

EXIT STATUS
  0    all is well; for run, score and prove: all points
  1    not all points
  2    wrong usage, or something could not be set up
  3    the student's files do not compile
  120  the virtual machine was lost
  121  the kernel crashed
  122  the time ran out: a program, or the kernel, is in a loop
  123  the kernel complained, whatever the checks said
  130  interrupted

ENVIRONMENT
  NLPEER_SRC    nlpeer's source tree, which has the labs and their checks, if
                nllab is called outside of it and of a student's folder
  NLVM_SLOW     factor for all limits of time, on a slow machine
  NLVM_KERNEL   the kernel, if --kernel does not say
  NLVM_MAX_VMS  how many machines run at once

FILES
  .nllab/progress.json   what is remembered of a student
  .nllab/kept            lab folders that nllab reset has put aside`

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "nllab [flags] COMMAND",
		Short:         "the labs of the course \"The life of a message\"",
		Long:          long,
		Example:       "  nllab run 3\n  nllab watch 3\n  nllab hint 3",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.PersistentFlags().StringVarP(&a.dir, "directory", "C", "", "work in `DIR` instead of the current folder")
	_ = root.MarkPersistentFlagDirname("directory")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(a.list(), a.run(), a.watch(), a.hint(), a.reset(), a.solution(), a.trace(), a.picture(), a.score(), a.new(),
		a.generate(), a.prove())
	return root
}

// describeHelp puts the words of cobra's own flag into ours.
func describeHelp(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Usage = "print this help"
	for _, sub := range cmd.Commands() {
		describeHelp(sub)
	}
}
