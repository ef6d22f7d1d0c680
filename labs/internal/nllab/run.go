// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/grade"
	"nlpeer/labs/internal/source"
)

func (a *app) list() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "list the labs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, labs, err := a.course()
			if err != nil {
				return err
			}
			for _, l := range labs {
				fmt.Fprintf(a.out, "%3d  %s\n", l.Number, l.Title)
			}
			return nil
		},
	}
}

// course finds the tools and reads the labs.
func (a *app) course() (grade.Tools, []*source.Lab, error) {
	tools, err := grade.FindTools()
	if err != nil {
		return tools, nil, err
	}
	labs, err := source.Course(tools.LabsDir())
	return tools, labs, err
}

func (a *app) lab(arg string) (grade.Tools, *source.Lab, error) {
	tools, labs, err := a.course()
	if err != nil {
		return tools, nil, err
	}
	n, err := strconv.Atoi(arg)
	if err != nil {
		return tools, nil, fmt.Errorf("%q is no number of a lab", arg)
	}
	lab, err := source.Find(labs, n)
	return tools, lab, err
}

func (a *app) run() *cobra.Command {
	var kernel, folder string
	cmd := &cobra.Command{
		Use:   "run N",
		Short: "build and check a lab",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tools, lab, err := a.lab(args[0])
			if err != nil {
				return err
			}
			if folder == "" {
				folder = filepath.Join(tools.Tree, "labs", lab.ID)
			}
			r, err := tools.Run(cmd.Context(), lab, folder, grade.Options{Kernel: kernel, Show: true, Progress: a.err})
			if err != nil {
				return err
			}
			return a.report(r)
		},
	}
	cmd.Flags().StringVar(&kernel, "kernel", "", "kernel `NAME`, see nlvm kernels")
	cmd.Flags().StringVar(&folder, "folder", "", "check the lab in `DIR`")
	return cmd
}

func (a *app) report(r *grade.Report) error {
	fmt.Fprint(a.out, r.Text())
	switch {
	case r.Status >= 120:
		return status(r.Status)
	case !r.Passed():
		return status(exitPoints)
	}
	return nil
}
