// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"nlpeer/vm-test/internal/gotest"
	"nlpeer/vm-test/internal/kernel"
	"nlpeer/vm-test/internal/tarball"
)

// outDir is where a test binary in the guest writes its profiles.
const outDir = "/run/nlvm"

// testSlack is what a test gets on top of its own time limit, so that it can
// print where it hangs before the machine is ended.
const testSlack = 15 * time.Second

// packageFlagsFile is where a package says what its tests need.
const packageFlagsFile = "nlvm.flags"

// packageFlags reads the flags of the package in a folder. A wrong one is
// refused here, where it can be said where it stands.
func packageFlags(dir string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, packageFlagsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var flags []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words, err := splitWords(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", packageFlagsFile, err)
		}
		flags = append(flags, words...)
	}
	var f machineFlags
	set := pflag.NewFlagSet(packageFlagsFile, pflag.ContinueOnError)
	set.Usage = func() {}
	f.register(set)
	if err := set.Parse(flags); err != nil {
		return nil, fmt.Errorf("%s: %w", packageFlagsFile, err)
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("%s: %q is no flag", packageFlagsFile, set.Arg(0))
	}
	return flags, nil
}

func newExec() *cobra.Command {
	var g guestRun
	cmd := &cobra.Command{
		Use:   "exec [flags] -- TEST-BINARY [ARG…]",
		Short: "Run a Go test binary in a virtual machine, for go test -exec",
		Long: `Exec is made for the flag -exec of go test. It sends the test binary and the
package's folder testdata into the guest, runs the test there in its working
directory, and brings coverage and other profiles back to where go test
expects them. The time limit follows from the test's own unless --timeout is
given.

A package whose tests need a certain machine says so in a file nlvm.flags in
its folder: flags of exec, such as --image tools, on lines of which those that
begin with # are comments. Flags in the environment variable NLVM_FLAGS come
after them and those on the command line last; of two, the later counts.`,
		Example: `  go test -exec 'nlvm exec' ./vm-test/suites/...
  CGO_ENABLED=0 go test -exec 'nlvm exec --no-module' -coverprofile c.out ./pkg/wire
  NLVM_FLAGS='--kernel 6.12 --smp 2' go test -exec 'nlvm exec' ./vm-test/suites/...`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("no test binary given; usage: go test -exec 'nlvm exec' PACKAGES   (more: nlvm exec --help)")
			}
			return g.doTest(args[0], args[1:], cmd.Flags().Changed("timeout"))
		},
	}
	g.registerOn(cmd)
	return cmd
}

func (g *guestRun) doTest(binary string, args []string, timeoutGiven bool) error {
	if st, err := os.Stat(binary); err != nil {
		return fmt.Errorf("test binary: %w", err)
	} else if !st.Mode().IsRegular() {
		return fmt.Errorf("test binary: %s is not a file", binary)
	}
	image, err := kernel.FindImage(g.image)
	if err != nil {
		return err
	}
	if len(image.Packages) == 0 {
		if err := checkStatic(binary); err != nil {
			return err
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	plan, err := gotest.Rewrite(args, dir, outDir)
	if err != nil {
		return err
	}
	if !timeoutGiven {
		g.timeout = 0
		if plan.Timeout > 0 {
			g.timeout = plan.Timeout + testSlack
		}
	}
	g.name = filepath.Base(dir)
	guestBinary := path.Join(guestDir, filepath.Base(binary))
	g.argv = append([]string{guestBinary}, plan.Args...)
	g.files = append(g.files, tarball.Item{Source: binary, Name: guestBinary[1:]})
	if st, err := os.Stat(filepath.Join(dir, "testdata")); err == nil && st.IsDir() {
		g.files = append(g.files, tarball.Item{Source: "testdata", Name: path.Join(guestDir, "testdata")[1:]})
	}
	if err := g.addDirs(plan.Dirs); err != nil {
		return err
	}
	for from := range plan.Back {
		if !path.IsAbs(from) {
			from = path.Join(guestDir, from)
		}
		g.collect = append(g.collect, from)
	}
	g.place = func(name string) string { return plan.HostPath(name, guestDir) }
	return g.do()
}

// addDirs has empty folders made in the guest: an archive of an empty folder
// does it, and needs no frame of its own.
func (g *guestRun) addDirs(dirs []string) error {
	empty, err := os.MkdirTemp("", "nlvm-")
	if err != nil {
		return err
	}
	g.cleanup = append(g.cleanup, func() { os.Remove(empty) })
	for _, d := range dirs {
		g.files = append(g.files, tarball.Item{Source: empty, Name: d[1:]})
	}
	return nil
}
