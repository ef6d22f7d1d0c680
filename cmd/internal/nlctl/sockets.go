// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/kernel"
)

// The object of -o json. Its members are promised in the help.
type (
	socketJSON struct {
		Type         string      `json:"type"`
		Protocol     int         `json:"protocol"`
		Name         string      `json:"name"`
		Port         uint32      `json:"port"`
		Peer         *uint32     `json:"peer,omitempty"`
		Groups       []uint32    `json:"groups"`
		ReceiveQueue uint32      `json:"receive_queue"`
		Drops        uint32      `json:"drops"`
		References   int         `json:"references"`
		Inode        uint64      `json:"inode"`
		Owners       []ownerJSON `json:"owners"`
	}
	ownerJSON struct {
		PID  int    `json:"pid"`
		Name string `json:"name"`
	}
)

func (o *options) sockets() *cobra.Command {
	var protocol, pid int
	cmd := &cobra.Command{
		Use:   "sockets",
		Short: "list the netlink sockets of the network namespace",
		Long: `List the netlink sockets of the network namespace: protocol, port ID, the
processes that have it open, the multicast groups that it has joined, the memory
that unread messages take up, how many messages it had no room for, and how many
references there are to it. The kernel's own sockets have port ID 0. Needs no
privilege, and no module; but the processes of other users are shown only to
those who may trace them.

Groups above 32, and to whom a socket is connected, are known only where the
kernel has its module netlink_diag.

JSON
  type "socket"   one line each: protocol (a number), name (of the protocol, or
                  the number), port, groups (a list), receive_queue (bytes),
                  drops, references, inode, owners (a list of pid, name; empty
                  for the kernel's); peer (a port ID) if it is connected and that is
                  known`,
		Example: `  nlctl sockets
  nlctl sockets --protocol usersock
  nlsub --via usersock >messages &
  nlctl sockets --pid $! -o json | jq .port`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("sockets takes no argument, but there is %q", args[0])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: cli.RunE(func(ctx context.Context, _ []string) error {
			return o.showSockets(ctx, func(s *kernel.Socket) bool {
				return (protocol < 0 || s.Protocol == protocol) &&
					(pid == 0 || slices.ContainsFunc(s.Owners, func(w kernel.Owner) bool { return w.PID == pid }))
			})
		}),
	}
	protocol = -1
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &protocol, parseNetlinkProtocol, "protocol", "", "", "only those of a `PROTOCOL`: a name, such as route, or a number from 0 to 31")
	cli.Var(flags, &pid, parseProcess, "pid", "", "", "only those that the process with this `PID` has open")
	cli.CompleteFunc(cmd, "protocol", func(string) []string {
		return slices.DeleteFunc(kernel.ProtocolNames(), func(name string) bool { return strings.Trim(name, "0123456789") == "" })
	})
	cli.CompleteNothing(cmd, "pid")
	return cmd
}

func parseNetlinkProtocol(s string) (int, error) {
	if n := slices.Index(kernel.ProtocolNames(), s); n >= 0 {
		return n, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 31 {
		return 0, errors.New("must be the name of a protocol, such as route, or a number from 0 to 31")
	}
	return n, nil
}

func parseProcess(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, errors.New("must be the number of a process, 1 or more")
	}
	return n, nil
}

func (o *options) showSockets(ctx context.Context, wanted func(*kernel.Socket) bool) error {
	cfg, done, err := o.target.Open()
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	all, err := o.list(ctx, cfg.NetNS)
	if err != nil {
		return o.refused("for netlink sockets", err)
	}

	if o.target.Format == cli.JSON {
		for _, s := range all {
			if wanted(&s) {
				o.streams.Out.JSON(newSocketJSON(&s))
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(o.streams.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROTOCOL\tPORT\tPROCESS\tGROUPS\tQUEUE\tDROPS\tREF")
	for _, s := range all {
		if wanted(&s) {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d\t%d\t%d\n", kernel.ProtocolName(s.Protocol), s.PortID, ownerList(&s), ranges(s.Groups), s.ReceiveQueue, s.Drops, s.References)
		}
	}
	return t.Flush()
}

func newSocketJSON(s *kernel.Socket) socketJSON {
	j := socketJSON{
		Type: "socket", Protocol: s.Protocol, Name: kernel.ProtocolName(s.Protocol), Port: s.PortID, Groups: s.Groups,
		ReceiveQueue: s.ReceiveQueue, Drops: s.Drops, References: s.References, Inode: s.Inode, Owners: []ownerJSON{},
	}
	if s.Connected {
		j.Peer = &s.Peer
	}
	if j.Groups == nil {
		j.Groups = []uint32{}
	}
	for _, w := range s.Owners {
		j.Owners = append(j.Owners, ownerJSON(w))
	}
	return j
}

// ownerList names the processes of a socket.
func ownerList(s *kernel.Socket) string {
	if s.PortID == 0 {
		return "kernel"
	}
	var list []string
	for _, w := range s.Owners {
		name := w.Name
		if !cli.Readable([]byte(name)) || strings.ContainsAny(name, " \t\n\",") {
			name = cli.Quote([]byte(name))
		}
		list = append(list, fmt.Sprintf("%s/%d", name, w.PID))
	}
	if list == nil {
		return "?"
	}
	return strings.Join(list, ",")
}

// ranges writes groups as -g reads them.
func ranges(groups []uint32) string {
	if len(groups) == 0 {
		return "-"
	}
	var list []string
	for len(groups) > 0 {
		n := 1
		for n < len(groups) && groups[n] == groups[0]+uint32(n) {
			n++
		}
		if n < 3 {
			n = 1
			list = append(list, fmt.Sprint(groups[0]))
		} else {
			list = append(list, fmt.Sprintf("%d-%d", groups[0], groups[n-1]))
		}
		groups = groups[n:]
	}
	return strings.Join(list, ",")
}
