// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/wire"
)

// A verb is a command that makes or changes an object.
type verb struct {
	name  string
	flags wire.Modifier
	short string
	long  string
}

// verbs have the names that they have for ip-route(8).
var verbs = []verb{
	{
		"add", wire.ModifierCreate | wire.ModifierExcl,
		"make an object", "Make an object. One that exists is an error (create,excl).",
	}, {
		"replace", wire.ModifierCreate | wire.ModifierReplace,
		"make an object, or replace its values", "Make an object, or put values in the place of those that it has (create,replace).",
	}, {
		"change", wire.ModifierReplace,
		"replace the values of an object", "Put values in the place of those that an object has. It must exist (replace).",
	}, {
		"append", wire.ModifierCreate | wire.ModifierAppend,
		"make an object, or append values to it", "Make an object, or put values behind those that it has (create,append).",
	}, {
		"new", 0,
		"make or change an object as flags say", `Make or change an object as the flags of a netlink request say. Any of the 16
combinations can be sent; docs/protocol.md says what each does, and that is what
the other commands are made of. Without --flags none is set.`,
	},
}

// modifiers are the flags in the order of their bits.
var modifiers = []wire.Modifier{wire.ModifierReplace, wire.ModifierExcl, wire.ModifierCreate, wire.ModifierAppend}

func parseModifiers(s string) (flags wire.Modifier, err error) {
	if s == "none" {
		return 0, nil
	}
next:
	for name := range strings.SplitSeq(s, ",") {
		for _, m := range modifiers {
			if name == m.String() {
				flags |= m
				continue next
			}
		}
		return 0, fmt.Errorf("there is no flag %q; must be of replace,excl,create,append, or none", name)
	}
	return flags, nil
}

// completeModifiers goes on with a list that was begun.
func completeModifiers(begun string) (lists []string) {
	before := begun[:strings.LastIndexByte(begun, ',')+1]
	for _, m := range modifiers {
		if !strings.Contains(","+before, ","+m.String()+",") {
			lists = append(lists, before+m.String())
		}
	}
	return lists
}

// objectNew is the command of a verb.
func (o *options) objectNew(v verb) *cobra.Command {
	var inHex bool
	modifier := v.flags
	cmd := &cobra.Command{
		Use:   v.name + " KEY [VALUE...]",
		Short: v.short,
		Long: v.long + `

A KEY is a text of 1 to ` + fmt.Sprint(wire.KeyMax) + ` bytes. A VALUE is a text, or with --hex hexadecimal
digits; @FILE stands for the bytes of a file and - for those of standard input.
Values have up to ` + fmt.Sprint(wire.ValueMax) + ` bytes each, and ` + fmt.Sprint(wire.ObjectMax) + ` in all, 4 for each and their
padding included. Nothing is printed. Needs CAP_NET_ADMIN in the network
namespace.`,
		Example: "  sudo nlctl object " + v.name + v.example() + ` port/1 up 10G
  sudo nlctl object ` + v.name + v.example() + ` --hex mac/1 02005e000001
  sudo nlctl object ` + v.name + v.example() + ` config @/etc/hosts`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("a KEY is missing: nlctl object %s KEY [VALUE...]", cmd.Name())
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	if v.name == "new" {
		cli.Var(flags, &modifier, parseModifiers, "flags", "", "none", "what may be done, a `LIST` of replace, excl, create, append")
		cli.CompleteFunc(cmd, "flags", completeModifiers)
	}
	flags.BoolVar(&inHex, "hex", false, "each VALUE is in hexadecimal digits")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0 && v.flags&wire.ModifierExcl == 0:
			return o.completeKey(cmd, args, prefix)
		case len(args) > 0 && strings.HasPrefix(prefix, "@"):
			return completeFiles(prefix), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.RunE = cli.RunE(func(ctx context.Context, args []string) error {
		values, err := o.values(ctx, args[1:], inHex)
		if err != nil {
			return err
		}
		return o.change(ctx, cmd, args, func(p peer) error { return p.NewObject(ctx, args[0], modifier, values...) })
	})
	return cmd
}

func (v verb) example() string {
	if v.flags == 0 {
		return " --flags create,append"
	}
	return ""
}

// change asks, and says what is missing to a user who may not.
func (o *options) change(ctx context.Context, cmd *cobra.Command, args []string, change func(peer) error) error {
	return o.ask(ctx, func(p peer) error {
		err := change(p)
		if errors.Is(err, os.ErrPermission) {
			return &needsAdmin{"changing objects", line(cmd, args...)}
		}
		return err
	})
}

// longest is the longest value that a message can hold. The kernel takes less,
// and says so itself.
const longest = wire.AttrDataMax

// values turns arguments into values. The end of ctx ends the waiting for input.
func (o *options) values(ctx context.Context, args []string, inHex bool) (values [][]byte, err error) {
	stdin := false
	for _, arg := range args {
		var v []byte
		switch {
		case arg == "-" && o.streams.In == nil:
			return nil, cli.Usagef("- cannot stand in a batch: standard input is the batch")
		case arg == "-" && stdin:
			return nil, cli.Usagef("standard input can be only one of the values, but - stands there twice")
		case arg == "-":
			stdin = true
			v, err = readValue(ctx, "standard input", o.streams.In)
		case strings.HasPrefix(arg, "@"):
			v, err = readFile(ctx, arg[1:])
		case inHex:
			v, err = hexValue(arg)
		default:
			v = []byte(arg)
		}
		switch {
		case err != nil:
			return nil, err
		case len(v) > longest:
			return nil, fmt.Errorf("a value of %d bytes does not fit into a message; the longest has %d", len(v), wire.ValueMax)
		}
		values = append(values, v)
	}
	return values, nil
}

func readFile(ctx context.Context, name string) ([]byte, error) {
	f, err := openFile(ctx, name)
	if err != nil {
		return nil, notRead(ctx, "@"+name, err)
	}
	defer f.Close()
	return readValue(ctx, "@"+name, f)
}

// readValue does not go on reading what cannot be sent.
func readValue(ctx context.Context, name string, r io.Reader) ([]byte, error) {
	v, err := io.ReadAll(io.LimitReader(newInterruptible(ctx, r), longest+1))
	switch {
	case err != nil:
		return nil, notRead(ctx, name, err)
	case len(v) > longest:
		return nil, fmt.Errorf("%s has more bytes than fit into a message; the longest value has %d", name, wire.ValueMax)
	}
	return v, nil
}

// notRead says why a file could not be read.
func notRead(ctx context.Context, name string, err error) error {
	var path *os.PathError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: interrupted", name)
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", name, path.Err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// completeFiles proposes what begins with @PATH.
func completeFiles(arg string) (names []string) {
	folder, begun := splitPath(arg[1:])
	read := folder
	if read == "" {
		read = "."
	}
	entries, _ := os.ReadDir(read) // none if it cannot be read
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), begun) {
			continue
		}
		name := "@" + folder + e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names
}

func splitPath(path string) (folder, name string) {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i], path[i:]
}
