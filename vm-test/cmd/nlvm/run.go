// SPDX-License-Identifier: MIT

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

var errNoCommand = errors.New("no command given; usage: nlvm run [flags] -- COMMAND [ARG…]   (more: nlvm run --help)")

func newRun() *cobra.Command {
	var g guestRun
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "Run a command in a fresh virtual machine",
		Long: `Run boots or restores a machine, loads nlpeer, executes the command in it and
exits with its status. Standard input, output and error are the command's.
Ctrl-C is passed on to it; a second one ends the machine.

The guest is fresh each time: what the command writes is gone afterwards. Its
working directory is /work, where --put copies to. The environment has NLVM=1,
NLVM_KERNEL and NLVM_MODULE, the path of nlpeer.ko.

After the command, nlvm looks at what the kernel logged during the run, unloads
the modules and looks for sockets that are left. A complaint makes a passing
command fail, with status 123.`,
		Example: `  nlvm run -- nlecho -c 5 hello
  nlvm run --put ./myprogram --put data/ -- ./myprogram data/input
  nlvm run --module-args "interval_ms=10" -- nlsub -c 3
  nlvm run --image tools -- ynl --family nlpeer --do stats-get
  nlvm run --extra-module kmod/bench -- ls -l /dev/nlpeer_bench
  nlvm run --no-module -- sh -c 'insmod $NLVM_MODULE && dmesg | tail'
  tar c src | nlvm run --no-module -- tar tv`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errNoCommand
			}
			g.argv = args
			return g.do()
		},
	}
	g.registerOn(cmd)
	return cmd
}
