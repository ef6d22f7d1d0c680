// SPDX-License-Identifier: MIT

package nlbench

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/internal/bench"
)

// reportCommand makes something to look at of a file of results.
func reportCommand(s *cli.Streams) *cobra.Command {
	var charts, docs string
	var format cli.Format
	cmd := &cobra.Command{
		Use:   "report [flags] FILE",
		Short: "charts, tables and targets from a file of results",
		Long: `Report reads a file that nlbench has written (--write, or -o json) and prints the
targets: a line for each, with what was measured, what it must be, what would be
good, and whether it is met. Results by a real clock (--host) have none.

EXIT STATUS
  0   all targets could be computed, whether they are met or not
  1   something is not in the file that a target is computed from
  2   wrong usage, or a file that can not be read or is cut off
`,
		Example: `  nlbench report build/bench/results.json
  nlbench report --charts build/bench build/bench/results.json
  nlbench report --docs docs/performance.md docs/performance/results.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("takes one FILE, such as build/bench/results.json")
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&charts, "charts", "", "draw charts, SVG files in a `FOLDER`")
	flags.StringVar(&docs, "docs", "", "write tables into a Markdown `FILE`, between the comments \"nlbench report: …\" in it, and charts into the folder beside it")
	cli.AddFormat(cmd, flags, &format)
	_ = cmd.MarkFlagDirname("charts")
	_ = cmd.MarkFlagFilename("docs", "md")
	cmd.RunE = cli.RunE(func(_ context.Context, args []string) error {
		r, err := bench.ReadFile(args[0])
		if err != nil {
			return err
		}
		if charts != "" {
			if err := writeCharts(charts, r); err != nil {
				return err
			}
		}
		if docs != "" {
			if err := writeDocument(docs, r); err != nil {
				return err
			}
		}
		if !r.Setting.Wall && !judge(s.Out, format, r) {
			return cli.ErrFailed
		}
		return nil
	})
	return cmd
}
