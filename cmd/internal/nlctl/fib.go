// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/explain"
	"nlpeer/pkg/kernel"
)

// The object of -o json. Its members are promised in the help.
type fibJSON struct {
	Type      string `json:"type"`
	Addr      string `json:"addr"`
	Found     bool   `json:"found"`
	RouteType string `json:"route_type,omitempty"`
	Prefix    string `json:"prefix,omitempty"`
	Table     uint8  `json:"table,omitempty"`
	Scope     string `json:"scope,omitempty"`
	Hop       *uint8 `json:"hop,omitempty"`
	Errno     string `json:"errno,omitempty"`
	Error     string `json:"error,omitempty"`
}

func (o *options) fib() *cobra.Command {
	var q kernel.FIBQuery
	cmd := &cobra.Command{
		Use:   "fib ADDR",
		Short: "ask where an IPv4 address is routed",
		Long: `Ask the kernel by NETLINK_FIB_LOOKUP where an IPv4 address is routed: the type of
the route, its destination, its table and scope, and which of its next hops, as a
number. Needs no privilege, and no module. It knows neither links nor gateways,
nor source addresses; "ip route get" does.

The kernel keeps local and main in one until somebody sets a rule, and answers a
question for either from both.

Without --table it looks where the kernel looks unless somebody has set other
rules: in the tables local, main and default, until one has an answer. Rules are
not looked at, and a mark is of use to rules alone: --mark is sent to the kernel,
which does not look at it.

EXIT STATUS
  0   there is a route that leads somewhere
  1   there is none, or it says unreachable, prohibit or blackhole
  2   wrong usage, or the kernel could not be asked at all

JSON
  type "fib"   addr, found (true or false); if true: route_type, prefix, table,
               scope, hop; else: error (a text), errno, and table if one has
               refused`,
		Example: `  nlctl fib 127.0.0.1
  nlctl fib --table main 192.0.2.7
  nlctl -o json fib 192.0.2.7 | jq -r .prefix`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("fib takes one ADDR, an IPv4 address such as 192.0.2.7")
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: cli.RunE(func(ctx context.Context, args []string) (err error) {
			if q.Addr, err = netip.ParseAddr(args[0]); err != nil || !q.Addr.Is4() {
				return cli.Usagef("%q is no IPv4 address; there is no other that NETLINK_FIB_LOOKUP knows", args[0])
			}
			return o.showFIB(ctx, q)
		}),
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &q.Table, cli.ParseTable, "table", "", "", "`TABLE` to look in: local, main, default, or a number from 1 to 255")
	cli.Var(flags, &q.TOS, parseByte, "tos", "", "", "type of service of the packet, a `NUMBER` such as 0x10")
	cli.Var(flags, &q.Scope, cli.ParseScope, "scope", "", "", "least `SCOPE` of the route: global (the default), site, link, host, or a number")
	cli.Var(flags, &q.Mark, parseMark, "mark", "", "", "mark of the packet, a `NUMBER` such as 0x1")
	cli.Complete(cmd, "table", cli.TableNames...)
	cli.Complete(cmd, "scope", cli.ScopeNames...)
	cli.CompleteNothing(cmd, "tos", "mark")
	return cmd
}

func parseByte(s string) (uint8, error) {
	n, err := strconv.ParseUint(s, 0, 8)
	if err != nil {
		return 0, errors.New("must be a number from 0 to 255")
	}
	return uint8(n), nil
}

func parseMark(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, errors.New("must be a number of 32 bits, such as 0x1")
	}
	return uint32(n), nil
}

// fibTypes are the types of routes that lead somewhere (RTN_*).
var fibTypes = map[uint8]string{
	unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast",
	unix.RTN_MULTICAST: "multicast",
}

func (o *options) showFIB(ctx context.Context, q kernel.FIBQuery) error {
	cfg, done, err := o.target.Open()
	if err != nil {
		return err
	}
	defer done()
	q.NetNS = cfg.NetNS
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := o.lookUp(ctx, q)
	if err != nil {
		return o.refused("NETLINK_FIB_LOOKUP", err)
	}

	v := fibJSON{Type: "fib", Addr: q.Addr.String(), Found: r.Err == 0, Table: r.Table}
	if v.Found {
		v.Prefix, v.Scope, v.Hop = r.Prefix.String(), cli.Scope(r.Scope), &r.Hop
		if v.RouteType = fibTypes[r.Type]; v.RouteType == "" {
			v.RouteType = strconv.Itoa(int(r.Type))
		}
	} else {
		v.Errno, v.Error = explain.ErrnoName(r.Err), noRoute(q, r)
		if r.Err == syscall.EAGAIN || r.Err == syscall.ENOENT {
			v.Table = 0 // that of the last try has no meaning
		}
	}
	switch {
	case o.target.Format == cli.JSON:
		o.streams.Out.JSON(v)
	case v.Found:
		fmt.Fprintf(o.streams.Out, "%s %s prefix %s table %s scope %s hop %d\n", v.RouteType, v.Addr, v.Prefix, cli.Table(uint32(r.Table)), v.Scope, r.Hop)
	default:
		fmt.Fprintf(o.streams.Out, "%s: %s\n", v.Addr, v.Error)
	}
	if !v.Found {
		return cli.ErrFailed
	}
	return nil
}

// noRoute says in words why there is no route.
func noRoute(q kernel.FIBQuery, r kernel.FIBResult) string {
	table := cli.Table(uint32(r.Table))
	switch {
	case r.Err == syscall.EHOSTUNREACH:
		return "unreachable, says table " + table
	case r.Err == syscall.EACCES:
		return "prohibited, says table " + table
	case r.Err == syscall.EINVAL:
		return "blackhole, says table " + table
	case q.Table == 0:
		return "no route in the tables local, main and default"
	case r.Err == syscall.ENOENT:
		return "there is no table " + cli.Table(uint32(q.Table))
	case r.Err == syscall.EAGAIN:
		return "no route in table " + table
	}
	return r.Err.Error()
}

// refused puts an error of one of the kernel's own protocols into words.
func (o *options) refused(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrPermission) && o.target.NetNS != "":
		return fmt.Errorf("entering network namespace %s needs CAP_SYS_ADMIN; try with sudo", o.target.NetNS)
	case errors.Is(err, syscall.EINVAL) && o.target.NetNS != "":
		return fmt.Errorf("%s is not a network namespace", o.target.NetNS)
	case errors.Is(err, syscall.EPROTONOSUPPORT):
		return fmt.Errorf("this kernel has no %s", what)
	}
	return fmt.Errorf("asking %s: %w", what, err)
}
