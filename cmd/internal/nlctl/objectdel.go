// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
)

func (o *options) objectDel() *cobra.Command {
	var (
		prefix string
		all    bool
	)
	cmd := &cobra.Command{
		Use:   "del {KEY | --prefix TEXT | --all}",
		Short: "delete objects",
		Long: `Delete the object with a key, all objects whose keys begin with a text, or all.
An object that does not exist is an error; none with a prefix is not. Nothing is
printed. Needs CAP_NET_ADMIN in the network namespace.`,
		Example: `  sudo nlctl object del port/1
  sudo nlctl object del --prefix port/
  sudo nlctl object del --all`,
		ValidArgsFunction: o.completeKey,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&prefix, "prefix", "", "delete all whose keys begin with `TEXT`")
	flags.BoolVar(&all, "all", false, "delete all")
	cli.CompleteNothing(cmd, "prefix")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		ways := len(args)
		if flags.Changed("prefix") {
			ways++
		}
		if all {
			ways++
		}
		switch {
		case ways == 0:
			return errors.New("what is to be deleted is missing: KEY, --prefix TEXT or --all")
		case len(args) > 1:
			return fmt.Errorf("del takes one KEY, but there is also %q", args[1])
		case ways > 1:
			return errors.New("KEY, --prefix and --all contradict each other")
		case flags.Changed("prefix") && prefix == "":
			return errors.New("every key begins with the empty --prefix; if all are meant: --all")
		}
		return nil
	}
	cmd.RunE = cli.RunE(func(ctx context.Context, args []string) error {
		return o.change(ctx, cmd, args, func(p peer) error {
			if len(args) == 1 {
				return p.DeleteObject(ctx, args[0])
			}
			return p.DeleteObjects(ctx, prefix)
		})
	})
	return cmd
}
