// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/prove"
	"nlpeer/labs/internal/source"
)

// generate is for those who write labs.
func (a *app) generate() *cobra.Command {
	var record []int
	var check bool
	cmd := &cobra.Command{
		Use:   "generate [flags]",
		Short: "make skeletons and solutions from the sources of the labs",
		Long: `Generate is for those who write labs. From labs/src it makes what students begin
with and the solutions, labs/NN-name and labs/solutions.`,
		Example: "  nllab generate\n  nllab generate --record 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			// Without nlvm, which is needed only to run something.
			tree, err := grade.FindTree()
			if err != nil {
				return err
			}
			labs, err := source.Course(grade.Tools{Tree: tree}.LabsDir())
			if err != nil {
				return err
			}
			var tools grade.Tools
			if len(record) > 0 {
				if tools, err = grade.FindTools(); err != nil {
					return err
				}
			}
			for _, n := range record {
				lab, err := source.Find(labs, n)
				if err != nil {
					return err
				}
				r, err := prove.Record(cmd.Context(), tools, lab, a.err)
				if err != nil {
					return err
				}
				if err := r.Save(lab); err != nil {
					return err
				}
			}
			dir := filepath.Join(tree, "labs")
			make := source.Generate
			if check {
				make = source.Stale
			}
			changed, err := make(dir, labs)
			for _, name := range changed {
				fmt.Fprintln(a.out, "labs/"+name)
			}
			if err == nil && check && len(changed) > 0 {
				return fmt.Errorf("these files are not what the labs' sources say; run: nllab generate")
			}
			return err
		},
	}
	cmd.Flags().IntSliceVar(&record, "record", nil, "first make pictures and the trace of lab `N` anew, by running its solution (repeatable)")
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; say what is out of date, and exit 2 if anything is")
	return cmd
}
