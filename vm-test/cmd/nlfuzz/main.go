// SPDX-License-Identifier: MIT

// Command nlfuzz attacks the module with messages, see docs/testing.md. Inside
// the virtual machine it does; "nlfuzz drive", on the host, starts it there.
package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"
)

// Tasks move between namespaces, and the first thread would outlive them there.
func init() { runtime.LockOSThread() }

func main() {
	cmd := newCommand()
	if err := cmd.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "nlfuzz:", err)
		if errors.Is(err, errReport) {
			os.Exit(1)
		}
		os.Exit(2)
	}
}

func newCommand() *cobra.Command {
	g := guest{seed: rand.Uint64()}
	cmd := &cobra.Command{
		Use:   "nlfuzz [flags]",
		Short: "Attack the module with messages, inside the VM",
		Long: `Nlfuzz makes programs of netlink operations by several tasks, runs them, and
checks what must hold whatever was sent. Where the kernel tells what code was
reached (KCOV, the debug kernel), programs that reach new places of the module
are kept and varied. It changes the machine it runs on, so it runs in the VM
alone.

Exit status: 0 if all was well, 1 if something is wrong, 2 if it could not begin.`,
		Example: `  make fuzz FUZZTIME=10m
  nlvm run --kernel debug --smp 2 --put build/bin/nlfuzz --put found.nlfuzz -- ./nlfuzz --replay found.nlfuzz`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.repeat < 1 {
				return fmt.Errorf("--repeat %d: give a number of at least 1", g.repeat)
			}
			return g.run()
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Uint64Var(&g.seed, "seed", g.seed, "all that is random follows from this `NUMBER` (default: another one each time)")
	f.DurationVar(&g.time, "time", time.Minute, "how long")
	f.StringArrayVar(&g.corpora, "corpus", nil, "begin with the programs in a `FOLDER` (repeatable)")
	f.StringArrayVar(&g.replay, "replay", nil, "run only the program in a `FILE` (repeatable)")
	f.IntVar(&g.repeat, "repeat", 1, "run the programs of --replay, in their order, so many times")
	f.BoolVar(&g.records, "records", false, "write JSON, a record on a line, for nlfuzz drive")
	cmd.AddCommand(newDrive())
	return cmd
}
