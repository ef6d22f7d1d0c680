// SPDX-License-Identifier: MIT

package nllab

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

func (a *app) trace() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "trace [flags] N",
		Short: "show which functions of the kernel a lab's messages go through",
		Long: `Trace builds what is in the folder of lab N, runs its exchange in a virtual machine
under the kernel's own tracer, and prints the functions that were called, each
under the one that called it, yours with the name of your module. Functions that
the compiler made part of their caller do not show.`,
		Example:           "  nllab trace 3",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.session(f.folder == "")
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			folder := f.folder
			if folder == "" {
				if folder, err = s.folder(l); err != nil {
					return err
				}
			}
			text, err := s.tools.Trace(cmd.Context(), l, folder, options(a, f))
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, text)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func (a *app) picture() *cobra.Command {
	svg := false
	cmd := &cobra.Command{
		Use:   "picture [flags] N",
		Short: "show the bytes of a lab's messages, and what each is",
		Long: `Picture shows the messages that lab N is about, as the solution sends and gets them:
where each field is, its bytes, its name and what it means.`,
		Example:           "  nllab picture 3\n  nllab picture --svg 3 >echo.svg",
		Args:              oneLab,
		ValidArgsFunction: a.completeLab,
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.session(false)
			if err != nil {
				return err
			}
			l, err := s.lab(args[0])
			if err != nil {
				return err
			}
			if !l.Graded() {
				return fmt.Errorf("lab %d has no picture", l.Number)
			}
			name := "picture.txt"
			if svg {
				name = "picture.svg"
			}
			text, err := os.ReadFile(filepath.Join(l.Dir, name))
			if err != nil {
				return err
			}
			_, err = a.out.Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&svg, "svg", false, "as a drawing")
	return cmd
}
