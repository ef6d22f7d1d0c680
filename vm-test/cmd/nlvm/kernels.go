// SPDX-License-Identifier: MIT

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nlpeer/vm-test/internal/cache"
	"nlpeer/vm-test/internal/kernel"
)

// kernelInfo is what a program may want to know of a kernel.
type kernelInfo struct {
	Name    string `json:"name"`
	Arch    string `json:"arch"`              // Debian's name of the architecture
	GOARCH  string `json:"goarch"`            // Go's
	CC      string `json:"cc"`                // the C compiler for it
	Version string `json:"version,omitempty"` // if it is unpacked
	Default bool   `json:"default"`
}

func newKernels() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "kernels",
		Short: "List the kernels that --kernel knows",
		Long: `Kernels lists the kernels that --kernel knows, and whether they are in the cache.
With -o json it is an object a line: name, arch (Debian's word), goarch, cc (the
compiler for programs), version (if it is unpacked), default.`,
		Example: `  nlvm kernels
  nlvm kernels -o json | jq -r .name`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := cache.Open()
			if err != nil {
				return err
			}
			defer c.Close()
			switch output {
			case "json":
				return listKernels(c, json.NewEncoder(os.Stdout))
			case "text":
			default:
				return fmt.Errorf("-o %s: give text or json", output)
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tARCH\tDEBIAN\tVERSION\tSTATE\t")
			for _, k := range kernel.Table {
				version, state, mark := "-", "not downloaded yet", ""
				if u, err := kernel.Lookup(c, k); err == nil {
					version, state = u.Version+" ("+u.Package+")", "unpacked"
				}
				if k.Name == kernel.Default() {
					mark = "default"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, k.Arch, k.Suite, version, state, mark)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", output, "`FORMAT` of the output: text, or json (one object a line)")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func listKernels(c *cache.Cache, to *json.Encoder) error {
	for _, k := range kernel.Table {
		arch := kernel.Architecture(k.Arch)
		info := kernelInfo{Name: k.Name, Arch: k.Arch, GOARCH: arch.Go, CC: "gcc", Default: k.Name == kernel.Default()}
		// Unlike a module, a program needs a C library, which gcc -m32 has not.
		if k.Arch != kernel.HostArch() {
			info.CC = arch.Tuple + "-gcc"
		}
		if u, err := kernel.Lookup(c, k); err == nil {
			info.Version = u.Version
		}
		if err := to.Encode(info); err != nil {
			return err
		}
	}
	return nil
}
