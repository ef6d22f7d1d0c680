// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/machine"
)

func newTest() *cobra.Command {
	var f machineFlags
	cmd := &cobra.Command{
		Use:   "test [flags] PACKAGES… [-- GO-TEST-FLAG…]",
		Short: "Run the tests of Go packages in virtual machines",
		Long: `Test is go test with the tests of each package executed in a machine of its own:
go test -exec 'nlvm exec …' PACKAGES, static binaries for the kernel's
architecture, and as many packages at once as machines may run. Flags after --
are go test's.`,
		Example: `  nlvm test ./vm-test/suites/...
  nlvm test --kernel 6.12 ./vm-test/suites/... -- -v -run Echo
  nlvm test ./pkg/client -- -coverprofile cover.out -json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			packages, more := args, []string(nil)
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				packages, more = args[:at], args[at:]
			}
			if len(packages) == 0 {
				return errors.New("no packages given; usage: nlvm test PACKAGES… [-- GO-TEST-FLAG…]   (more: nlvm test --help)")
			}
			if err := f.check(); err != nil {
				return err
			}
			k, err := kernel.Find(f.kernel)
			if err != nil {
				return err
			}
			// The tests run in their packages' folders.
			if f.gcov != "" {
				dir, err := filepath.Abs(f.gcov)
				if err != nil {
					return err
				}
				if err := cmd.Flags().Set("gcov", dir); err != nil {
					return err
				}
			}
			// Already in each exec's flags; twice would be put twice.
			os.Unsetenv("NLVM_FLAGS")
			return goTest(k.Arch, changedFlags(cmd.Flags()), packages, more)
		},
	}
	f.registerOn(cmd)
	cmd.Flags().SetInterspersed(true)
	return cmd
}

func goTest(arch string, flags, packages, more []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	wrapper, err := joinWords(append(append([]string{self, "exec"}, flags...), "--"))
	if err != nil {
		return err
	}
	places, err := machine.Places()
	if err != nil {
		return err
	}
	args := append([]string{"test", "-exec", wrapper, "-p", strconv.Itoa(places)}, more...)
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+kernel.Architecture(arch).Go)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = runAll(cmd)
	var exit *exec.ExitError
	var status statusError
	switch {
	case errors.As(err, &status):
		return status
	case errors.As(err, &exit):
		return statusError(exit.ExitCode())
	case err != nil:
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}
