// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// The object of -o json. Its members are promised in the help.
type (
	objectJSON struct {
		Type string `json:"type"`
		stateJSON
	}
	stateJSON struct {
		Key        string      `json:"key"`
		Base64     []byte      `json:"key_base64,omitempty"`
		Generation uint64      `json:"generation"`
		Values     []valueJSON `json:"values"`
	}
	valueJSON struct {
		Bytes  int     `json:"bytes"`
		Text   *string `json:"text,omitempty"`
		Base64 []byte  `json:"base64,omitempty"`
	}
)

func newStateJSON(obj client.Object) stateJSON {
	j := stateJSON{Key: obj.Key, Generation: obj.Generation, Values: []valueJSON{}}
	if !utf8.ValidString(obj.Key) {
		j.Base64 = []byte(obj.Key)
	}
	for _, v := range obj.Values {
		value := valueJSON{Bytes: len(v)}
		if utf8.Valid(v) {
			text := string(v)
			value.Text = &text
		} else {
			value.Base64 = v
		}
		j.Values = append(j.Values, value)
	}
	return j
}

// objectCarriers are those that requests about objects go by.
var objectCarriers = []client.Carrier{client.Raw, client.Generic, client.Rtnl}

func (o *options) object() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "object [flags] COMMAND",
		Short: "show, change and watch the table of objects",
		Long: `Each network namespace has a table of objects. An object has a key, which is a
text, any number of values in their order, which are bytes, and a generation: the
number of the change of the table that made it what it is.

Anybody may get, list and watch objects. Changing them needs CAP_NET_ADMIN in the
network namespace. What can be asked for is the same on each carrier.

` + objectExits + "\n\n" + objectSchema,
		Example: `  sudo nlctl object add port/1 up 10G
  sudo nlctl object append port/1 full-duplex
  nlctl object list --prefix port/
  nlctl object watch --list-first
  sudo nlctl object del --prefix port/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command object %s; commands are: add, replace, change, append, new, del, batch, get, list, watch", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return cli.Usagef("a command is missing: object add, replace, change, append, new, del, batch, get, list or watch")
		},
	}
	// Persistent, so that it is not a flag of the commands in a batch.
	flags := cmd.PersistentFlags()
	cli.Var(flags, &o.target.Carrier, parseCarrier(objectCarriers), "via", "", client.Generic.String(), "`CARRIER` of the request: raw (protocol NETLINK_TEST), genl (generic netlink family nlpeer), or rtnl (rtnetlink)")
	o.target.AddProtocol(flags)
	cli.Complete(cmd, "via", carrierNames(objectCarriers)...)
	cli.CompleteNothing(cmd, "protocol")
	for _, v := range verbs {
		cmd.AddCommand(o.objectNew(v))
	}
	cmd.AddCommand(o.objectDel(), o.objectBatch(), o.objectGet(), o.objectList(), o.objectWatch())
	return cmd
}

func parseCarrier(known []client.Carrier) func(string) (client.Carrier, error) {
	return func(s string) (c client.Carrier, err error) {
		if c.UnmarshalText([]byte(s)) != nil || !slices.Contains(known, c) {
			return 0, fmt.Errorf("must be %s", strings.Join(carrierNames(known), ", "))
		}
		return c, nil
	}
}

func carrierNames(carriers []client.Carrier) (names []string) {
	for _, c := range carriers {
		names = append(names, c.String())
	}
	return names
}

// oneKey is for commands that take a key and nothing else.
func oneKey(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return fmt.Errorf("a KEY is missing: %s KEY", cmd.CommandPath())
	case 1:
		return nil
	}
	return fmt.Errorf("%s takes one KEY, but there is also %q", cmd.Name(), args[1])
}

func (o *options) objectGet() *cobra.Command {
	return &cobra.Command{
		Use:   "get KEY",
		Short: "show one object",
		Long: `Show the object with a key. Needs no privilege. Values are shown as text if they
can be printed, else in hexadecimal, and are cut off if they are long; JSON has
all of them.

` + objectSchema,
		Example: `  nlctl object get port/1
  nlctl object get port/1 -o json | jq -r '.values[0].text'`,
		Args:              oneKey,
		ValidArgsFunction: o.completeKey,
		RunE: cli.RunE(func(ctx context.Context, args []string) error {
			return o.ask(ctx, func(p peer) error {
				obj, err := p.GetObject(ctx, args[0])
				if err != nil {
					return err
				}
				if o.target.Format == cli.JSON {
					o.streams.Out.JSON(objectJSON{"object", newStateJSON(obj)})
					return nil
				}
				fmt.Fprintf(o.streams.Out, "key         %s\ngeneration  %d\n", showKey(obj.Key), obj.Generation)
				for _, v := range obj.Values {
					fmt.Fprintf(o.streams.Out, "value       %s\n", showValue(v))
				}
				return nil
			})
		}),
	}
}

// tries is how often a table that changes while it is read is asked for.
const tries = 5

func (o *options) objectList() *cobra.Command {
	var q client.ObjectQuery
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list objects",
		Long: fmt.Sprintf(`List the objects of the network namespace in the order of their keys. Needs no
privilege.

The kernel tells when the table has changed while it was read. Then it is asked
again, up to %d times in all. With --atomic it keeps the table as it is at one
moment for us; this needs CAP_NET_ADMIN in the network namespace.

`, tries) + `EXIT STATUS
  0   all went well
  1   the table changed each time; the last answer is shown
  2   wrong usage, no privilege, or the kernel could not be asked at all

` + objectSchema,
		Example: `  nlctl object list
  nlctl object list --prefix port/ -o json | jq -r .key
  sudo nlctl object list --atomic`,
		Args:              noArgument("--prefix P lists those whose keys begin with P"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&q.Prefix, "prefix", "", "only objects whose keys begin with `TEXT`")
	flags.BoolVar(&q.Atomic, "atomic", false, "the table at one moment, whatever happens meanwhile; needs CAP_NET_ADMIN")
	cli.CompleteNothing(cmd, "prefix")

	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		return o.ask(ctx, func(p peer) error {
			for n := 1; ; n++ {
				objects, err := listObjects(ctx, p, q)
				interrupted := errors.Is(err, client.ErrDumpInterrupted)
				switch {
				case q.Atomic && errors.Is(err, os.ErrPermission):
					return fmt.Errorf("an atomic dump needs CAP_NET_ADMIN in this network namespace; try: sudo %s", line(cmd))
				case err != nil && !interrupted:
					return err
				case interrupted && n < tries:
					fmt.Fprintf(o.streams.Err, "nlctl: the table changed while it was read, asking again\n")
					continue
				}
				o.showObjects(objects)
				if interrupted {
					fmt.Fprintf(o.streams.Err, "nlctl: the table changed each of %d times while it was read: what is shown may never have been there at one moment; try: sudo nlctl object list --atomic\n", tries)
					return cli.ErrFailed
				}
				return nil
			}
		})
	})
	return cmd
}

// listObjects returns what came also with an error.
func listObjects(ctx context.Context, p peer, q client.ObjectQuery) (objects []client.Object, err error) {
	for obj, err := range p.Objects(ctx, q) {
		if err != nil {
			return objects, err
		}
		objects = append(objects, obj)
	}
	return objects, nil
}

func (o *options) showObjects(objects []client.Object) {
	if o.target.Format == cli.JSON {
		for _, obj := range objects {
			o.streams.Out.JSON(objectJSON{"object", newStateJSON(obj)})
		}
		return
	}
	t := tabwriter.NewWriter(o.streams.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tGENERATION\tVALUES")
	for _, obj := range objects {
		fmt.Fprintf(t, "%s\t%d\t%s\n", showKey(obj.Key), obj.Generation, showValues(obj.Values))
	}
	t.Flush()
}

// showKey quotes a key only if it would be taken for something else, or harm a
// terminal.
func showKey(key string) string {
	if !cli.Readable([]byte(key)) || strings.ContainsAny(key, " \t\n\"") {
		return cli.Quote([]byte(key))
	}
	return key
}

func showValues(values [][]byte) string {
	if len(values) == 0 {
		return "-"
	}
	shown := make([]string, len(values))
	for i, v := range values {
		shown[i] = showValue(v)
	}
	return strings.Join(shown, " ")
}

// showValue marks what is in hexadecimal, so that it is not taken for a word.
func showValue(v []byte) string {
	s := cli.Printable(v)
	if !strings.HasPrefix(s, `"`) {
		s = "0x" + s
	}
	return s
}

// completeKey proposes the keys that there are.
func (o *options) completeKey(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var keys []string
	_ = o.ask(cmd.Context(), func(p peer) error { // in a shell nobody hears of an error
		objects, err := listObjects(cmd.Context(), p, client.ObjectQuery{Prefix: prefix})
		for _, obj := range objects {
			keys = append(keys, obj.Key)
		}
		return err
	})
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// noArgument is for commands that take none, where some might expect one.
func noArgument(hint string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%s takes no argument, but there is %q; %s", cmd.Name(), args[0], hint)
		}
		return nil
	}
}

// hexValue reads digits, with whatever people put between bytes.
func hexValue(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", ":", "", "-", "").Replace(strings.TrimPrefix(s, "0x")))
	if err != nil {
		return nil, cli.Usagef("%q is not hexadecimal; --hex takes two digits for each byte, such as 00ff7f", s)
	}
	return b, nil
}

const objectExits = `EXIT STATUS
  0   all went well
  1   list, watch: some of it could not be had; see there
  2   wrong usage, no privilege, refused, or the kernel could not be asked at all`

const objectSchema = `JSON
  type "object"   key, generation, values: a list of bytes (a number), and either
                  text, or base64 if it is not UTF-8; key_base64 if the key is
                  not UTF-8`
