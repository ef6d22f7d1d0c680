// SPDX-License-Identifier: MIT

package nlbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/bench"
)

// guestCommand is what runs in the virtual machine. It writes records to standard
// output.
func guestCommand(s *cli.Streams) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:    "guest",
		Short:  "measure here; nlbench calls it in the virtual machine",
		Hidden: true,
		Args:   noArguments,
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.quick, "quick", false, "")
	flags.BoolVar(&o.smoke, "smoke", false, "")
	flags.StringVar(&o.programs, "programs", "", "")
	cli.Var(flags, &o.rounds, parseRounds, "rounds", "", "", "")
	cli.Var(flags, &o.only, parseOnly, "only", "", "", "")
	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		b := o.bench()
		setting := b.Here()
		setting.Quick = o.quick
		if line, err := os.ReadFile("/proc/cmdline"); err == nil {
			setting.Arguments = strings.TrimSpace(string(line))
		}
		return measure(ctx, b, setting, bench.Cases(o.scope()), func(rec bench.Record) error {
			s.Out.JSON(rec)
			return s.Out.Err()
		})
	})
	return cmd
}

// measure passes on all records of a run, the first and the last too.
func measure(ctx context.Context, b *bench.Bench, setting bench.Setting, cases []bench.Case, emit func(bench.Record) error) error {
	if err := emit(bench.Record{Type: bench.TypeRun, Setting: &setting}); err != nil {
		return err
	}
	err := b.Run(ctx, cases, emit)
	switch {
	case errors.Is(err, bench.ErrNothing) && b.Wall:
		return fmt.Errorf("--only %v finds no case and contender; what there is shows: nlbench --host --smoke", b.Only)
	case errors.Is(err, bench.ErrNothing):
		return fmt.Errorf("--only %v finds no case and contender; what there is shows: nlbench --smoke", b.Only)
	case err != nil:
		return err
	}
	return emit(bench.Record{Type: bench.TypeEnd})
}

// onHost measures on the kernel that runs.
func (o *options) onHost(ctx context.Context, emit func(bench.Record) error) error {
	b := o.bench()
	b.Programs = ""
	return measure(ctx, b, b.Here(), bench.HostCases(), emit)
}
