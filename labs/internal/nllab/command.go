// SPDX-License-Identifier: MIT

// Package nllab is the command nllab.
package nllab

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

// Run is Main with arguments and streams of the caller's.
func Run(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	a := &app{in: in, out: out, err: err}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	failure := root.ExecuteContext(ctx)
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
		fmt.Fprintf(err, "%s does not compile:\n\n%s", refused.What, withNewline(refused.Text))
		return exitCompiler
	}
	fmt.Fprintf(err, "nllab: %v\n", failure)
	return exitUsage
}

func withNewline(text string) string {
	if text != "" && text[len(text)-1] != '\n' {
		return text + "\n"
	}
	return text
}

// Command is the command, for its page in the manual.
func Command() *cobra.Command { return (&app{}).command() }

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "nllab",
		Short:         "the labs of the course \"The life of a message\"",
		Version:       nlpeer.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().StringVarP(&a.dir, "directory", "C", "", "work in `DIR` instead of this folder")
	root.AddCommand(a.list(), a.run(), a.generate(), a.prove())
	return root
}
