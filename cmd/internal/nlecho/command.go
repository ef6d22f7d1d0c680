// SPDX-License-Identifier: MIT

// Package nlecho is the command nlecho.
package nlecho

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// An echoer is what is needed of a client.Conn.
type echoer interface {
	AppendEcho(ctx context.Context, dst, payload []byte) ([]byte, error)
	PortID() uint32
	Counters() client.Counters
	Close() error
}

const (
	defaultSize     = 56 // as ping
	defaultInterval = time.Second
	defaultTimeout  = time.Second
)

type options struct {
	target     cli.Target
	count      uint64 // 0: no limit
	interval   time.Duration
	size       int
	deadline   time.Duration // 0: none
	timeout    time.Duration
	flood      bool
	batch      int // messages in a datagram
	timestamps bool
	quiet      bool
	ack        bool
	list       string // of groups
	groups     uint32
	tap        cli.Tap
}

// Command returns the command.
func Command(s *cli.Streams) *cobra.Command {
	return command(s,
		func(ctx context.Context, cfg client.Config) (echoer, error) { return client.Dial(ctx, cfg) },
		newStreamer, newCaster)
}

func command(
	s *cli.Streams,
	dial func(context.Context, client.Config) (echoer, error),
	stream func(context.Context, client.Config, client.PipelineConfig) (streamer, error),
	open func(context.Context, client.Config) (caster, error),
) *cobra.Command {
	o := options{
		interval: defaultInterval,
		size:     defaultSize,
		timeout:  defaultTimeout,
		batch:    1,
		tap:      cli.Tap{Hold: true},
	}
	cmd := &cobra.Command{
		Use:   "nlecho [flags] [MESSAGE]",
		Short: "send messages to the nlpeer kernel module and show what comes back",
		Long:  long,
		Example: `  nlecho hello                      one message
  nlecho -c 5 -i 0.2 hello          five, 200 ms apart
  nlecho -x hello                   its bytes, and those that come back
  nlecho --via genl -s 1000 -c 3    random payloads over generic netlink
  nlecho --via rtnl -f -w 1 -s 64   over rtnetlink, as fast as it goes
  printf 'a\nb\n' | nlecho          a message a line
  nlecho -q -f -w 10 -s 64          as many as 10 seconds hold
  nlecho -f --batch 64 -c 100000 -s 64    64 in a datagram, as fast as it goes
  nlecho --batch 8 -c 16 hello      8 in a datagram, once a second
  nlecho --via usersock --to 1000 hi    to a process: nlsub --via usersock --pid 1000 --reply
  nlecho --via usersock -g 1,3 hi   to whoever listens to these groups
  nlecho -o json -c 3 hi | jq .rtt_ns`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("takes one MESSAGE, but there are %d arguments; quote a message that has spaces", len(args))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cli.Var(flags, &o.count, cli.ParseCount, "count", "c", "", "stop after `N` messages")
	cli.Var(flags, &o.interval, cli.Seconds(0, cli.MaxDuration), "interval", "i", "1", "`SECONDS` between two messages, such as 0.2, or a duration, such as 200ms")
	cli.Var(flags, &o.size, cli.Size(0, wire.PayloadMax), "size", "s", "", fmt.Sprintf("send random payloads of `BYTES`, 0 to %d, with --via connector to %d", wire.PayloadMax, wire.CnPayloadMax))
	cli.Var(flags, &o.deadline, cli.Seconds(time.Millisecond, cli.MaxDuration), "deadline", "w", "", "stop after `SECONDS`, however many messages were sent")
	cli.Var(flags, &o.timeout, cli.Seconds(time.Millisecond, cli.MaxDuration), "timeout", "W", "1", "wait `SECONDS` for each answer")
	flags.BoolVarP(&o.flood, "flood", "f", false, "send as fast as it goes, without waiting for answers; no line for each")
	cli.Var(flags, &o.batch, parseBatch, "batch", "", "1", fmt.Sprintf("send `N` messages in a datagram, 1 to %d", batchMax))
	flags.BoolVarP(&o.timestamps, "timestamps", "D", false, "begin each line with the time: seconds since 1970")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "no line for each answer, only errors and the last line")
	o.target.AddCarrier(cmd)
	flags.StringVarP(&o.list, "groups", "g", "", "with --via usersock: send to multicast groups, a `LIST` such as 1,3-5, and wait for no answer")
	flags.BoolVar(&o.ack, "ack", false, "ask for an acknowledgment after each answer, and wait for it")
	o.tap.Add(cmd)
	o.target.Add(cmd)
	cli.CompleteNothing(cmd, "groups", "count", "batch", "interval", "size", "deadline", "timeout")

	cmd.RunE = cli.RunE(func(ctx context.Context, args []string) (err error) {
		source, err := o.source(s, args, flags.Changed)
		if err != nil {
			return err
		}
		if err := o.chooseTarget(flags.Changed); err != nil {
			return err
		}
		cfg, done, err := o.target.Open()
		if err != nil {
			return err
		}
		ctx, err = o.tap.Open(ctx, s, &o.target, "nlecho")
		defer func() { err = cmp.Or(o.tap.Close(), err) }()
		if err != nil {
			done()
			return err
		}
		cfg.Acknowledge, cfg.Tap = o.ack, o.tap.Func()
		if o.groups != 0 {
			defer done()
			c, err := open(ctx, cfg)
			if err != nil {
				return o.target.Explain(err)
			}
			defer c.Close()
			return o.cast(ctx, s, c, source)
		}
		if o.batch > 1 || o.flood {
			defer done()
			return o.stream(ctx, s, cfg, source, stream)
		}
		conn, err := dial(ctx, cfg)
		done()
		o.tap.Show()
		if err != nil {
			return o.target.Explain(err)
		}
		defer conn.Close()
		return o.run(ctx, s, conn, source)
	})
	return cmd
}

// batchMax is the greatest number of messages that are given to a datagram.
const batchMax = 4096

func parseBatch(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > batchMax {
		return 0, fmt.Errorf("must be a number of messages, 1 to %d", batchMax)
	}
	return n, nil
}

// chooseTarget looks at --to and -g together with the carrier.
func (o *options) chooseTarget(given func(flag string) bool) (err error) {
	user := o.target.Carrier == client.UserSock
	switch {
	case given("groups") && !user:
		return cli.Usagef("-g is for --via usersock; what the kernel's groups hear is the kernel's, see nlctl beacon")
	case given("groups") && given("batch"):
		return cli.Usagef("--batch means nothing with -g: each message goes to each group by itself")
	case given("groups") && given("to"):
		return cli.Usagef("-g and --to contradict each other: a message goes to groups, or to one process")
	case given("groups") && (given("ack") || given("timeout")):
		return cli.Usagef("--ack and -W mean nothing with -g: there is no answer to wait for")
	case given("groups"):
		if o.groups, err = cli.ParseGroups(o.list); err != nil {
			return cli.Usagef("-g: %w", err)
		}
	case user && o.target.To == 0:
		return cli.Usagef("--via usersock needs --to PORTID, a process that answers, such as: nlsub --via usersock --pid 1000 --reply; or -g for groups")
	case o.ack && o.target.Carrier == client.Connector:
		return cli.Usagef("--ack is for other carriers; the connector acknowledges nothing")
	case o.ack && o.target.To != 0:
		return cli.Usagef("--ack is for the kernel; a process acknowledges nothing")
	}
	return nil
}

// source decides what is sent, how often and how fast, from what is on the
// command line.
func (o *options) source(s *cli.Streams, args []string, given func(flag string) bool) (source, error) {
	switch {
	case o.flood && given("interval"):
		return nil, cli.Usagef("-f and -i contradict each other: -f waits for nothing; leave one out")
	case len(args) > 0 && given("size"):
		return nil, cli.Usagef("MESSAGE and -s contradict each other: -s sends a random payload")
	case len(args) > 0 && len(args[0]) > o.payloadMax():
		return nil, cli.Usagef("MESSAGE has %d bytes; the limit is %d", len(args[0]), o.payloadMax())
	case o.size > o.payloadMax():
		return nil, cli.Usagef("-s is %d bytes; the limit of --via %v is %d", o.size, o.target.Carrier, o.payloadMax())
	}
	if o.flood {
		o.interval = 0
	}
	switch {
	case len(args) > 0:
		if !given("count") && !given("interval") && !given("deadline") && !o.flood {
			o.count = 1
		}
		return message(args[0]), nil
	case given("size") || cli.Terminal(s.In):
		return newRandom(o.size), nil
	}
	if !given("interval") {
		o.interval = 0
	}
	return &lines{in: s.In, max: o.payloadMax()}, nil
}

// payloadMax is the longest payload that the carrier takes.
func (o *options) payloadMax() int {
	if o.target.Carrier == client.Connector {
		return wire.CnPayloadMax
	}
	return wire.PayloadMax
}

const long = `nlecho sends messages to the netlink peer in the kernel, which sends each back,
and shows how long that took. Every answer is compared with what was sent, byte
for byte; one that differs is an error and counts as lost.
With --to it is a process that sends them back, and that is believed alone.
The connector (--via connector) reports no errors and acknowledges nothing.

What is sent:

  MESSAGE    once; with any of -c, -i, -w and -f as often as they say
  -s BYTES   random payloads of that size, once a second until Ctrl-C, or as
             -c, -i, -w and -f say
  neither    if standard input is a terminal, as with -s 56; else the lines of
             standard input, without their newlines, one after the other

Each answer is a line: how long it is, its number, our port ID, the round-trip
time and, except for random payloads, what came back. The last line has the
totals. With -x each message is shown before that line, as it was sent and as it
came back: its bytes at their offsets in the datagram, with the name and meaning
of each. To send the word "completion", write: nlecho -- completion

With --batch N, N messages leave in one datagram, each interval anew, and their
answers come in as few datagrams as the peer likes. The round-trip time of each
is that from when the datagram is sent to when the answer is seen, so all
messages of a datagram share the time that it takes. On the connector, and where
the receive buffer has no room for so many answers, it takes several datagrams.
If the peer answers each message in a datagram of its own (generic netlink and
rtnetlink always do, and the module with batch=0), a line before the last says
so. With --ack every peer does: an acknowledgment ends its datagram. Lines of
standard input wait until there are N of them.

With -f answers are taken as they come, and waited for only when the receive
buffer has no room for more of them, or while there is no line to send. There is
no line for each answer, but one for each message that is lost.

With -g every message is sent to multicast groups of NETLINK_USERSOCK, and no
answer is waited for. The kernel tells nobody who heard it, so each line has the
number of sockets that had joined the group a moment before. Anybody may send;
joining needs CAP_NET_ADMIN (nlsub --via usersock -g).

EXIT STATUS
  0   all messages were answered; with -g, each had a listener in some group
  1   some or none were, or had
  2   wrong usage, wrong input, or the kernel could not be asked at all

JSON
With -o json every line is an object, and more members may be added to it. Times
are integers: nanoseconds, or for unix_ns nanoseconds since 1970. An error that
ends the command is text on standard error all the same.

  type "answer"    seq, port, bytes, rtt_ns, unix_ns, and what came back: text if
                   it is UTF-8, else base64; neither for a random payload
                   with --to also to: the port ID of the process that answered
  type "sent"      with -g: seq, port, group, listeners, bytes, unix_ns
  type "lost"      seq, port, bytes, unix_ns, reason ("timeout", "differs",
                   "overrun", "refused", "interrupted" or "error"), error (a
                   text), errno (such as "EPERM", if there is one)
  type "summary"   with -g: transmitted, heard (messages that had a listener),
                   time_ns; else transmitted, received, lost, loss_percent, stale (answers that
                   came too late), time_ns, rtt_ns: null or min, avg, max, mdev;
                   with --batch or -f also datagrams_sent, datagrams_received

With -x also:

` + cli.MessageHelp
