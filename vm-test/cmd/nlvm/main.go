// SPDX-License-Identifier: MIT

// Nlvm runs commands and Go tests in a virtual machine that has a Debian
// kernel, the nlpeer module and our commands.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"nlpeer"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/machine"
)

// notes are our own words, on standard error.
var notes = machine.NewNotes(os.Stderr)

// newProgress tells there what takes so long.
func newProgress() *kernel.Progress { return &kernel.Progress{W: notes, File: os.Stderr} }

func main() {
	status := execute(os.Args[1:])
	notes.Flush()
	os.Exit(status)
}

// statusError carries an exit status through cobra. Whatever was to be said
// has been said.
type statusError int

func (s statusError) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// statusUsage is the exit status of a wrong call and of a failed set-up.
const statusUsage = 2

func execute(args []string) int {
	root := newRoot()
	args, err := withEnvironment(args)
	if err == nil {
		root.SetArgs(args)
		err = root.Execute()
	}
	var status statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	default:
		fmt.Fprintf(notes, "nlvm: %v\n", err)
		return statusUsage
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "nlvm",
		Short: "Run commands and Go tests in a virtual machine with the nlpeer module",
		Long: `nlvm runs a command in a virtual machine and exits with the command's status.

The machine has a real Debian kernel, busybox's shell and tools (with --image
tools more than these), the module nlpeer (loaded, unless told otherwise) and
our commands. Nothing of it touches this machine's kernel, and no privilege is
needed. Kernels and images are downloaded from Debian's archive when they are
needed first, and kept in the cache
${XDG_CACHE_HOME:-~/.cache}/nlpeer, as are the states of booted machines, so
that the next run begins within a second.

Exit status: the guest command's (128+n if signal n ended it), or
    2  wrong usage, or something could not be set up or brought back
  120  the virtual machine was lost
  121  the guest's kernel panicked
  122  the time limit ran out
  123  the command passed, but the kernel complained

Environment:
  NLVM_KERNEL     the kernel, if --kernel does not say
  NLVM_FLAGS      flags for run, exec, shell, test and profile, before those given
  NLVM_ACCEL      auto, tcg or kvm, if --accel does not say
  NLVM_MAX_VMS    how many machines run at once (default: one a processor)
  NLVM_SLOW       factor for nlvm's own time limits, on a slow machine
  NLVM_RECORD     file to which each run appends a line: its name, exit status,
                  number of the kernel's complaints, who complained, seconds,
                  numbers that the command counted; with tabs between
  NLVM_MIRROR     Debian mirror, in place of http://deb.debian.org
  NLPEER_SRC      nlpeer's source tree, if nlvm is called outside of it`,
		Example: `  nlvm run -- nlecho -c 5 hello
  nlvm run --image tools -- genl ctrl get name nlpeer
  nlvm test ./vm-test/suites/...
  nlvm shell`,
		Version:       nlpeer.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRun(), newExec(), newTest(), newBuild(), newMatrix(), newShell(), newProfile(), newKernels(), newClean())
	return root
}

// withEnvironment puts the flags of NLVM_FLAGS between the subcommand and its
// own flags, so that those given win; before them, those of a tested package.
func withEnvironment(args []string) ([]string, error) {
	more, err := splitWords(os.Getenv("NLVM_FLAGS"))
	if err != nil {
		return nil, fmt.Errorf("NLVM_FLAGS: %w", err)
	}
	if len(args) > 0 && args[0] == "exec" {
		ofPackage, err := packageFlags(".")
		if err != nil {
			return nil, err
		}
		more = slices.Concat(ofPackage, more)
	}
	if len(more) == 0 || len(args) == 0 || !slices.Contains([]string{"run", "exec", "shell", "test", "profile"}, args[0]) {
		return args, nil
	}
	return slices.Concat(args[:1], more, args[1:]), nil
}
