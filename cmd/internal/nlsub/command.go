// SPDX-License-Identifier: MIT

// Package nlsub is the command nlsub.
package nlsub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// maxBuffer is the largest receive buffer that can be asked for: the kernel
// doubles it and keeps it in an int.
const maxBuffer = 1<<30 - 1

type options struct {
	subscribe func(context.Context, client.Config) (subscription, error)
	listen    func(context.Context, client.ListenConfig) (listener, error)
	target    cli.Target
	source    source
	list      string        // of groups
	mask      uint32        // of groups
	count     uint64        // 0: no limit
	limit     time.Duration // 0: none
	idle      time.Duration // 0: none
	timestamp bool
	resync    bool
	noResync  bool
	failOnGap bool
	buffer    int
	allNSID   bool
	reply     bool
	quiet     bool
	tap       cli.Tap
}

// Command returns the command.
func Command(s *cli.Streams) *cobra.Command {
	return command(s,
		func(ctx context.Context, cfg client.Config) (subscription, error) { return client.Subscribe(ctx, cfg) },
		func(ctx context.Context, cfg client.ListenConfig) (listener, error) { return client.Listen(ctx, cfg) })
}

func command(
	s *cli.Streams,
	subscribe func(context.Context, client.Config) (subscription, error),
	listen func(context.Context, client.ListenConfig) (listener, error),
) *cobra.Command {
	o := options{subscribe: subscribe, listen: listen, source: sources()[0]}
	cmd := &cobra.Command{
		Use:   "nlsub [flags]",
		Short: "print events of the nlpeer kernel module, the kernel itself, or other processes",
		Long:  long,
		Example: `  nlsub                             the beacon, until Ctrl-C
  nlsub -c 3 --fail-on-gap          three events in a row
  nlsub -g 1,3-5 -t                 some groups, with the time of day
  nlsub --via genl -g beacon        over generic netlink
  nlsub -c 1 -x                     one event, byte by byte
  nlsub --write events.pcapng       and recorded for Wireshark
  nlsub --via genl -g objects       what happens to objects
  nlsub -g 1,2                      beacon and objects on the raw protocol
  sudo nlsub --via connector        all that is sent to the connector
  nlsub --for 10s -q                only count
  nlsub --via route -g link,addr    links and addresses that change
  nlsub --via uevent -o json        devices and modules, with all that is said
  sudo nlsub --via proc -g exec,exit    processes that begin and end
  nlsub --via usersock --pid 1000 --reply    be a peer for nlecho
  nlsub -o json -c 3 | jq .seq`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("takes no argument, but there is %q; groups are chosen by -g", args[0])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &o.source, parseSource, "via", "", o.source.name(), "`SOURCE` of events: raw (protocol NETLINK_TEST), genl (generic netlink family nlpeer), connector (NETLINK_CONNECTOR; needs CAP_NET_ADMIN), route, uevent, proc, or usersock")
	o.target.AddSocket(cmd)
	cli.Var(flags, &o.list, notEmpty, "groups", "g", "", "groups to join, a `LIST`: numbers 1 to 32 such as 1,3-5 with --via raw (default 1) and usersock (default none), names with all others (genl: beacon, objects; default beacon); not with connector")
	cli.Var(flags, &o.mask, parseMask, "mask", "", "", "groups to join as a `MASK`, with --via raw and usersock: 0x15 for 1,3,5")
	cli.Var(flags, &o.count, cli.ParseCount, "count", "c", "", "stop after `N` events; exit 1 if there are fewer in the end")
	cli.Var(flags, &o.limit, cli.Seconds(time.Millisecond, cli.MaxDuration), "for", "", "", "stop after `TIME`, such as 10s; a bare number is seconds")
	cli.Var(flags, &o.idle, cli.Seconds(time.Millisecond, cli.MaxDuration), "idle-timeout", "", "", "stop after `TIME` without an event")
	flags.BoolVarP(&o.timestamp, "timestamp", "t", false, "begin each line with the time of day at which the event was read")
	flags.BoolVar(&o.resync, "resync", true, "ask the kernel for missed events (the default)")
	flags.BoolVar(&o.noResync, "no-resync", false, "only count missed events")
	flags.BoolVar(&o.failOnGap, "fail-on-gap", false, "exit 1 if events were lost for good")
	cli.Var(flags, &o.buffer, cli.Size(1, maxBuffer), "rcvbuf", "", "", "`SIZE` of the receive buffer in bytes, such as 64K or 1M; more than net.core.rmem_max needs CAP_NET_ADMIN")
	flags.BoolVar(&o.allNSID, "all-nsid", false, "hear all network namespaces that have an ID in ours; needs CAP_NET_BROADCAST")
	flags.BoolVar(&o.reply, "reply", false, "with --via usersock or raw: send each request that a process sends to us alone back to it, as the kernel module would")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "no line for each event, only errors and the totals")
	o.tap.Add(cmd)
	o.target.Add(cmd)
	cli.CompleteNothing(cmd, "mask", "count", "for", "idle-timeout", "rcvbuf")
	cli.Complete(cmd, "via", sourceNames()...)
	cli.CompleteFunc(cmd, "groups", func(string) []string { return o.source.groups() })

	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) (err error) {
		if err := o.check(flags.Changed); err != nil {
			return err
		}
		cfg, done, err := o.target.Open()
		if err != nil {
			return err
		}
		ctx, err = o.tap.Open(ctx, s, &o.target, "nlsub")
		defer func() { err = cmp.Or(o.tap.Close(), err) }()
		if err != nil {
			done()
			return err
		}
		cfg.ReceiveBuffer, cfg.Tap = o.buffer, o.tap.Func()
		in, err := o.source.open(ctx, &o, cfg)
		done()
		if err != nil {
			return o.explain(err)
		}
		defer in.Close()
		return o.run(ctx, s, o.source, in)
	})
	return cmd
}

// check looks at the command line as a whole.
func (o *options) check(given func(flag string) bool) error {
	if o.reply && o.source.name() == client.Raw.String() {
		o.source = &user{raw: true} // not the kernel's events, but what others send
	}
	if err := refuse(o.source, given); err != nil {
		return err
	}
	if err := o.source.choose(o, given); err != nil {
		return err
	}
	switch {
	case o.noResync && given("resync") && o.resync:
		return cli.Usagef("--resync and --no-resync contradict each other")
	case o.noResync || !slices.Contains(o.source.takes(), "resync"):
		o.resync = false
	}
	return nil
}

// explain is the source's with what every socket can meet.
func (o *options) explain(err error) error {
	if o.allNSID && errors.Is(err, os.ErrPermission) {
		if o.target.NetNS != "" {
			return errors.New("--netns needs CAP_SYS_ADMIN and --all-nsid needs CAP_NET_BROADCAST; try with sudo")
		}
		return errors.New("--all-nsid needs CAP_NET_BROADCAST in this network namespace; try with sudo")
	}
	return o.source.explain(o, err)
}

// errBothGroups is for sources that understand both.
var errBothGroups = cli.Usagef("-g and --mask contradict each other: both choose groups")

func notEmpty(s string) (string, error) {
	if s == "" {
		return "", errors.New("must name at least one group")
	}
	return s, nil
}

func parseMask(s string) (uint32, error) {
	mask, err := cli.ParseMask(s)
	if err == nil && mask == 0 {
		err = errors.New("must name at least one group")
	}
	return mask, err
}

const long = `nlsub prints a line for each event of a source, which --via chooses:

  raw, genl   the netlink peer in the kernel, by one of its protocols
  connector   the same by the connector; needs CAP_NET_ADMIN
  route       changes to links, addresses, neighbours, routes and rules
  uevent      devices, drivers and modules that come and go
  proc        processes: fork, exec, exit and more; needs CAP_NET_ADMIN (before
              Linux 6.6) and the initial network, PID and user namespaces
  usersock    what other processes send to us, by NETLINK_USERSOCK

It stops at Ctrl-C, or as -c, --for and --idle-timeout say, or when the module is
unloaded, which a listener on the raw protocol prevents, and ends with the
totals, of each group and of all. When the receive buffer overruns, events are
lost: nlsub says so, counts it, and goes on; --rcvbuf makes it rarer.

Of the peer, a line has an event's group, its number in the group, its kind, when
it was made (seconds since the machine was started), the length of its data, and
the data, as text if they can be printed, else in hexadecimal. Events are numbered
without a gap, and the kernel keeps the last ones of each namespace. When nlsub
misses some, it asks for them, and prints them in their place with "recovered" at
the end of the line. "lost 3" says that three are missing before an event for
good. What a group lost before its first event cannot be known, and events of
other namespaces (--all-nsid) cannot be asked for.

Events about objects have the object in place of data: its key, its generation,
the number of its values, and the first of them. On the raw protocol they are in
group 2, on generic netlink in the group objects; the connector has one group,
which gets them, and the beacon if that is told to (nlctl beacon set).

Of route, a line begins with "new" (made or changed), "replace" or "del". Groups
are link, neigh, ipv4-addr, ipv6-addr, ipv4-route, ipv6-route (these by default),
ipv4-rule, ipv6-rule and all others that linux/rtnetlink.h names, or numbers;
addr, route and rule are those of both families.

Of uevent, groups are kernel (the default) and udev. Nobody but the kernel is
believed in the first, nobody but root in the second.

Of proc, groups are kinds of events: ack, fork, exec, uid, gid, sid, ptrace, comm,
coredump, exit; all by default. A thread other than the first is PROCESS/THREAD.
Each processor numbers its events, so what is lost is counted (from Linux 6.6 on,
after an overrun, at least).

Of usersock, the first line has our port ID, which --pid chooses, and to which
others send; -g joins groups, which needs CAP_NET_ADMIN. A line has the sender's
port ID, process, user and group as the kernel vouches for them, the header of
the message, and its payload. What is no message is an error in the stream. With
--reply each message that is a request (NLM_F_REQUEST, type 16 or more) and was
sent to us alone goes back to its sender, as the module does it: nlecho --via
usersock --to PORTID asks such a process. With --via raw, --reply does the same on
the module's protocol; there it needs CAP_NET_ADMIN to send to processes, unless
the module was loaded with user_send=1.

With -x each message is shown as it crosses the socket: its bytes at their offsets
in the datagram, with the name and meaning of each. With --write each datagram is
recorded; the file is whole at any time, whatever ends nlsub.

EXIT STATUS
  0   all went well; also if the module was unloaded, unless -c asked for more
  1   fewer events came than -c asked for; or with --fail-on-gap, events were
      lost and not recovered, or it cannot be known
  2   wrong usage, or the kernel could not be asked at all

JSON
With -o json every line is an object, and more members may be added to it. Times
are integers: nanoseconds, or for unix_ns nanoseconds since 1970 at which the
line was read. An error that ends the command is text on standard error all the
same.

  type "event"     of the peer: group, name (of the group, not on the raw
                   protocol), seq, kind, boottime_ns (when it was made), unix_ns,
                   recovered (it was missed at first), lost (events missing before
                   it), bytes, data (base64), nsid (with --all-nsid, if it is from
                   another namespace), object (of the kinds object-*): key (or
                   key_base64 if it is no UTF-8), generation, values (a list,
                   base64)
  type "change"    of route: action ("new", "replace", "del" or "other"), object
                   ("link", "addr", "neigh", "route", "rule" or "other"), group,
                   name (of the group), unix_ns, nsid; and as far as they apply
                   and are not empty: family, index, link (its name), flags, mtu,
                   state, kind, master, address, broadcast, label, lladdr,
                   route_type, dst, gateway, src, protocol, scope, metric, hops (a
                   list of gateway, index, link, weight), table, priority, from,
                   to, fwmark, fwmask, iif, oif, goto, rule_action, msg_type and
                   data (base64) of an object that is not decoded
  type "uevent"    of uevent: group ("kernel" or "udev"), action, devpath,
                   subsystem, seq, unix_ns, env (an object: all KEY=VALUE)
  type "proc"      of proc: kind, cpu, seq (of that processor), lost (before it),
                   monotonic_ns (when it happened), unix_ns; pid (the thread) and
                   tgid (the process); and by kind: parent_pid and
                   parent_tgid (0 if the kernel names none), tracer_pid,
                   tracer_tgid, real, effective, comm, exit_code or killed_by,
                   core_dumped, parent_signal, errno ("" if none)
  type "listening" of usersock, at first: protocol, port, groups, unix_ns
  type "message"   of usersock: from (a port ID), group (0: to us alone), pid,
                   uid, gid, msg_type, msg_flags, seq, msg_port, answered,
                   unix_ns, bytes, data (base64), nsid
  type "overrun"   count (overruns up to now), unix_ns
  type "end"       unix_ns: the module was unloaded
  type "error"     error (a text), unix_ns: a message that made no sense
  type "summary"   received, recovered (of the peer only), lost (of the peer and
                   of proc), overruns, time_ns, groups: a list of group, name,
                   nsid, received, recovered, lost

With -x also:

` + cli.MessageHelp
