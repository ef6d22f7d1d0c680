// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/artifacts"
	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// statusDoesNotBuild is the exit status for a module that the compiler refuses.
const statusDoesNotBuild = 1

func newBuild() *cobra.Command {
	name := os.Getenv("NLVM_KERNEL")
	cmd := &cobra.Command{
		Use:   "build [flags] FOLDER",
		Short: "Build the module of a folder for a kernel, and print its path",
		Long: `Build builds the module of a folder that has a Kbuild file, and prints the path of
the module, which is in the cache; beside it is NAME.debug, which is the module
with what a debugger needs. What has been built of the very same files is
not built again. Nothing is written into the folder.

What the compiler says goes to standard error, errors first. The exit status is 1
if it refuses the module, and 2 if there was nothing to compile, or nothing to
compile with.`,
		Example: `  nlvm build kmod/bench
  nlvm build --kernel 6.1-s390x ~/mymodule`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, cancel := interruptible()
			defer cancel()
			file, err := buildModule(ctx, name, args[0])
			var refused *artifacts.BuildError
			switch {
			case ctx.Err() != nil:
				return causeOf(ctx)
			case errors.As(err, &refused):
				fmt.Fprintln(notes, refused.Reasons)
				return statusError(statusDoesNotBuild)
			case err != nil:
				return err
			}
			notes.Flush()
			fmt.Println(file)
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "kernel", name, "kernel `NAME`, see nlvm kernels (default: that of this machine's Debian release)")
	_ = cmd.RegisterFlagCompletionFunc("kernel", cobra.FixedCompletions(kernel.Names(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func buildModule(ctx context.Context, name, dir string) (string, error) {
	k, err := kernel.Find(name)
	if err != nil {
		return "", err
	}
	c, err := cache.Open()
	if err != nil {
		return "", err
	}
	defer c.Close()
	use, err := c.Use()
	if err != nil {
		return "", err
	}
	defer use.Unlock()
	progress := newProgress()
	u, err := kernel.Get(ctx, c, k, progress)
	if err != nil {
		return "", err
	}
	file, err := artifacts.BuildModule(ctx, c, u, dir, []string{"."}, progress)
	if err != nil {
		return "", err
	}
	if w, err := artifacts.Warnings(file, dir); err != nil || w != "" {
		fmt.Fprintln(notes, w)
	}
	return file, nil
}
