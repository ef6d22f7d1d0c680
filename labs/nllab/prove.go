// SPDX-License-Identifier: MIT

package nllab

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/labs/internal/prove"
	"nlpeer/labs/internal/source"
)

// prove is for those who write labs.
func (a *app) prove() *cobra.Command {
	var kernels, mistakes []string
	var fresh, everywhere bool
	cmd := &cobra.Command{
		Use:   "prove [flags] [N…]",
		Short: "prove that labs are as labs have to be",
		Long: `Prove is for those who write labs. It proves of the labs, or of those that are
named, that

  generated files are what the sources say,
  the skeleton builds, has its TODOs, and passes nothing,
  each stage passes what belongs to its TODOs and nothing else,
  each known mistake is recognised as that one,
  the solution passes on all kernels that every change is tested on,
  pictures and the trace are what a run gives,
  each command in the text does what the text shows.

What has passed with the very same files is not run again.`,
		Example: "  nllab prove\n  nllab prove 3\n  nllab prove 3 --mistake double-free\n  nllab prove 3 --kernel 7.3",
		RunE: func(command *cobra.Command, args []string) error {
			ctx := command.Context()
			s, err := a.session(false)
			if err != nil {
				return err
			}
			labs := s.labs
			if len(args) > 0 {
				labs = nil
				for _, arg := range args {
					l, err := s.lab(arg)
					if err != nil {
						return err
					}
					labs = append(labs, l)
				}
			}
			selected := kernels
			if len(kernels) == 0 {
				selected = prove.Everyday
			}
			if everywhere {
				selected = prove.Kernels
			}
			if len(kernels) == 0 {
				// The stages have the solution on that one.
				usual, err := s.tools.DefaultKernel(ctx)
				if err != nil {
					return err
				}
				selected = slices.DeleteFunc(slices.Clone(selected), func(k string) bool { return k == usual })
			}
			var proofs []prove.Proof
			for _, l := range labs {
				for _, p := range prove.Of(l, selected) {
					c, isCase := p.(prove.Case)
					switch {
					case len(mistakes) > 0 && !(isCase && slices.Contains(mistakes, c.Variant.Mistake)):
					case len(kernels) > 0 && !(isCase && c.Kernel != ""):
					default:
						proofs = append(proofs, p)
					}
				}
			}
			// The usual kernel first: what is wrong there is so on the others, too.
			slices.SortStableFunc(proofs, func(a, b prove.Proof) int { return cmp.Compare(a.On(), b.On()) })
			stale, err := source.Stale(filepath.Join(s.tools.Tree, "labs"), s.labs)
			if err != nil {
				return err
			}
			failed := len(stale)
			for _, name := range stale {
				fmt.Fprintf(a.out, "labs/%s: FAILED: not what the sources say; run: nllab generate\n", name)
			}
			places := runtime.NumCPU()
			if n, err := strconv.Atoi(os.Getenv("NLVM_MAX_VMS")); err == nil && n > 0 {
				places = n
			}
			passed := 0
			err = prove.Run(ctx, s.tools, proofs, places, fresh, nil, func(o prove.Outcome) {
				switch {
				case o.Err != nil && (ctx.Err() != nil || errors.Is(o.Err, ctx.Err())):
				case o.Err != nil:
					failed++
					fmt.Fprintf(a.out, "%s: FAILED (%.0f s)\n    %s\n", o.Proof.Name(), o.Took.Seconds(), strings.ReplaceAll(strings.TrimSpace(o.Err.Error()), "\n", "\n    "))
				case o.Repeated:
					passed++
					fmt.Fprintf(a.out, "%s: ok, as before\n", o.Proof.Name())
				default:
					passed++
					fmt.Fprintf(a.out, "%s: ok (%.0f s)\n", o.Proof.Name(), o.Took.Seconds())
				}
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%d proofs of %d labs passed, %d failed\n", passed, len(labs), failed)
			if failed > 0 {
				return status(exitPoints)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&kernels, "kernel", nil, "only the solution, on the kernel `NAME` (repeatable)")
	cmd.Flags().BoolVar(&everywhere, "all-kernels", false, "the solution on all kernels that there are")
	cmd.Flags().StringArrayVar(&mistakes, "mistake", nil, "only the mistake `NAME` (repeatable)")
	cmd.Flags().BoolVar(&fresh, "fresh", false, "also what has passed with the very same files")
	return cmd
}
