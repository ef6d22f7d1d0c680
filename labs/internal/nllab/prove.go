// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/prove"
)

// prove is for those who write labs.
func (a *app) prove() *cobra.Command {
	var kernels, mistakes []string
	cmd := &cobra.Command{
		Use:   "prove [flags] N…",
		Short: "prove that a lab is as labs have to be: stages, mistakes, solution",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			failed := false
			for _, arg := range args {
				s, err := a.session(false)
				if err != nil {
					return err
				}
				lab, err := s.lab(arg)
				if err != nil {
					return err
				}
				tools := s.tools
				var cases []prove.Case
				for _, c := range prove.Stages(lab) {
					if len(mistakes) > 0 && !contains(mistakes, c.Variant.Mistake) {
						continue
					}
					cases = append(cases, c)
				}
				if len(kernels) > 0 {
					solution := prove.Stages(lab)[len(lab.Todos)]
					cases = nil
					for _, k := range kernels {
						solution.Kernel = k
						cases = append(cases, solution)
					}
				}
				for _, c := range cases {
					begun := time.Now()
					err := c.Run(cmd.Context(), tools, a.err)
					if cmd.Context().Err() != nil {
						return err
					}
					how := "ok"
					if err != nil {
						failed = true
						how = "FAILED\n    " + strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "\n    ")
					}
					fmt.Fprintf(a.out, "%s: %s (%.0f s)\n", c.Name(), how, time.Since(begun).Seconds())
				}
			}
			if failed {
				return status(exitPoints)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&kernels, "kernel", nil, "only the solution, on the kernel `NAME` (repeatable)")
	cmd.Flags().StringArrayVar(&mistakes, "mistake", nil, "only the mistake `NAME` (repeatable)")
	return cmd
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}
