// SPDX-License-Identifier: MIT

package nlctl

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// The objects of -o json. Their members are promised in the help.
type (
	changeJSON struct {
		Type  string `json:"type"`
		Kind  string `json:"kind"`
		Seq   uint64 `json:"seq"`
		Boot  int64  `json:"boottime_ns"`
		Unix  int64  `json:"unix_ns"`
		Again bool   `json:"recovered"`
		Lost  uint64 `json:"lost"`
		stateJSON
	}
	overrunJSON struct {
		Type  string `json:"type"`
		Count uint64 `json:"count"`
		Unix  int64  `json:"unix_ns"`
	}
	errorJSON struct {
		Type  string `json:"type"`
		Error string `json:"error"`
		Unix  int64  `json:"unix_ns"`
	}
	watchJSON struct {
		Type      string `json:"type"`
		Shown     uint64 `json:"shown"`
		Received  uint64 `json:"received"`
		Recovered uint64 `json:"recovered"`
		Lost      uint64 `json:"lost"`
		Overruns  uint64 `json:"overruns"`
	}
)

// A subscription is what is needed of a client.Subscription.
type subscription interface {
	Events(ctx context.Context) iter.Seq2[client.Event, error]
	Stats() client.SubscriptionStats
	Close() error
}

// watchCarriers are those that have events of objects.
var watchCarriers = []client.Carrier{client.Raw, client.Generic, client.Connector}

// maxReceive is the largest receive buffer that can be asked for: the kernel
// doubles it and keeps it in an int.
const maxReceive = 1<<30 - 1

// A watch is one run of object watch.
type watch struct {
	*options
	prefix    string
	count     uint64        // 0: no limit
	limit     time.Duration // 0: none
	idle      time.Duration // 0: none
	listFirst bool
	buffer    int

	generation uint64            // up to which the table that was shown has all changes
	newer      map[string]uint64 // generations of objects in it, some of them above that

	busy  func() // called for each change that is shown
	shown uint64
}

func (o *options) objectWatch() *cobra.Command {
	w := watch{options: o, busy: func() {}}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "print the changes of the table as they happen",
		Long: `Print a line for each change of an object: + for one that was made, ~ for one
that was changed, - for one that was deleted; its key, the change's generation,
and its values as they are since, or were. When watch misses changes because the
receive buffer overran, it asks the kernel for them, and prints them in their
place with "recovered" at the end of the line; "lost 3" says that three are
missing before this one for good. It stops at Ctrl-C, or as -c, --for and
--idle-timeout say, and ends with the totals of the whole table, whatever --prefix
shows.

With --list-first the table comes first, as "object list" has it, and then all
changes that it does not show: it is read after listening has begun.

Needs no privilege, but the connector needs CAP_NET_ADMIN, and exists in the
initial network namespace only.

EXIT STATUS
  0   all went well
  1   fewer changes came than -c asked for, changes were lost for good, or the
      peer has left the network namespace: the module was unloaded
  2   wrong usage, or the kernel could not be asked at all

JSON
  type "change"    kind (object-new, object-change, object-del), seq (the event's
                   number in its group), boottime_ns (when it was made), unix_ns
                   (when it was read), recovered, lost, key, generation, values,
                   key_base64: as type "object" of "object list" has them
  type "overrun"   count (overruns up to now), unix_ns
  type "error"     error (a text), unix_ns: a message that made no sense
  type "summary"   shown (changes printed), received, recovered, lost, overruns`,
		Example: `  nlctl object watch
  nlctl object watch --list-first --prefix port/
  nlctl object watch -c 10 -o json | jq -r .key`,
		Args:              noArgument("--prefix P watches those whose keys begin with P"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	// In the place of the flag that the other commands have.
	cli.Var(flags, &o.target.Carrier, parseCarrier(watchCarriers), "via", "", client.Generic.String(), "`CARRIER` of the events: raw (protocol NETLINK_TEST), genl (generic netlink family nlpeer), or connector")
	flags.StringVar(&w.prefix, "prefix", "", "only objects whose keys begin with `TEXT`")
	cli.Var(flags, &w.count, cli.ParseCount, "count", "c", "", "stop after `N` changes; exit 1 if there are fewer in the end")
	cli.Var(flags, &w.limit, cli.Seconds(time.Millisecond, cli.MaxDuration), "for", "", "", "stop after `TIME`, such as 10s; a bare number is seconds")
	cli.Var(flags, &w.idle, cli.Seconds(time.Millisecond, cli.MaxDuration), "idle-timeout", "", "", "stop after `TIME` without a change")
	flags.BoolVar(&w.listFirst, "list-first", false, "begin with the table")
	cli.Var(flags, &w.buffer, cli.Size(1, maxReceive), "rcvbuf", "", "", "`SIZE` of the receive buffer in bytes, such as 64K or 1M; more than net.core.rmem_max needs CAP_NET_ADMIN")
	cli.Complete(cmd, "via", carrierNames(watchCarriers)...)
	cli.CompleteNothing(cmd, "prefix", "count", "for", "idle-timeout", "rcvbuf")

	cmd.RunE = cli.RunE(func(ctx context.Context, _ []string) error {
		err := w.run(ctx)
		if o.target.Carrier == client.Connector && o.target.NetNS == "" && errors.Is(err, os.ErrPermission) {
			return &needsAdmin{"listening to the connector", line(cmd)}
		}
		return err
	})
	return cmd
}

// run prints changes until something makes an end, and then the totals,
// whatever the end was.
func (w *watch) run(ctx context.Context) error {
	sub, err := w.open(ctx)
	if err != nil {
		return w.target.Explain(err)
	}
	defer sub.Close()
	if w.listFirst {
		if err := w.list(ctx); err != nil {
			return err
		}
	}

	user := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if w.limit != 0 {
		ctx, stop = context.WithTimeout(ctx, w.limit)
		defer stop()
	}
	err = w.loop(ctx, stop, sub)

	stats := sub.Stats()
	w.summary(&stats, user.Err() != nil)
	switch {
	case errors.Is(err, client.ErrEnded):
		w.complain("the peer has left this network namespace: the module was unloaded")
		return cli.ErrFailed
	case err != nil:
		return w.target.Explain(err)
	case w.shown < w.count || stats.Lost > 0 || stats.Failed > 0:
		return cli.ErrFailed
	}
	return nil
}

func (w *watch) open(ctx context.Context) (subscription, error) {
	cfg, done, err := w.target.Open()
	if err != nil {
		return nil, err
	}
	defer done()
	cfg.ReceiveBuffer = w.buffer
	switch cfg.Carrier {
	case client.Raw:
		cfg.Groups = 1 << (wire.GrpObjects - 1)
	case client.Generic:
		cfg.GroupNames = []string{wire.McgrpObjects}
	}
	return w.subscribe(ctx, cfg)
}

// list shows the table. The subscription is open already, so that no change
// after it can be missed. It asks by generic netlink, as there are no objects on
// the connector.
func (w *watch) list(ctx context.Context) error {
	o := *w.options
	o.target.Carrier, o.target.Protocol = client.Generic, 0
	return o.ask(ctx, func(p peer) error {
		for n := 1; ; n++ {
			before, err := p.Stats(ctx)
			if err != nil {
				return err
			}
			objects, err := listObjects(ctx, p, client.ObjectQuery{Prefix: w.prefix})
			if err != nil && !errors.Is(err, client.ErrDumpInterrupted) {
				return err
			}
			after, err := p.Stats(ctx)
			if err != nil {
				return err
			}
			w.generation = before.Objects.Generation
			still := after.Objects.Generation == w.generation
			if !still && n < tries {
				continue
			}
			w.showObjects(objects)
			if !still {
				// Changes since before are printed, but not those that are shown.
				w.newer = make(map[string]uint64)
				for _, obj := range objects {
					w.newer[obj.Key] = obj.Generation
				}
			}
			return nil
		}
	})
}

// loop prints changes until there are enough or ctx ends; it calls stop if none
// came for too long. It returns the error if it was one that made an end.
func (w *watch) loop(ctx context.Context, stop func(), sub subscription) error {
	if w.streams.Out.Err() != nil {
		return nil // not even the table could be written
	}
	if w.idle != 0 {
		timer := time.AfterFunc(w.idle, stop)
		defer timer.Stop()
		w.busy = func() { timer.Reset(w.idle) }
	}

	// An error that may be the last was not if anything follows. Only then is it
	// reported here.
	var pending error
	for e, err := range sub.Events(ctx) {
		if pending != nil {
			w.trouble(pending)
			pending = nil
		}
		overrun := (*client.OverrunError)(nil)
		switch {
		case errors.As(err, &overrun):
			w.overrun(overrun.Count)
		case cli.Survived(err):
			w.trouble(err)
		case err != nil:
			pending = err
		case e.Object.Key != nil:
			w.event(&e)
		}
		if w.shown == w.count && w.count != 0 || w.streams.Out.Err() != nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return pending
}

// event prints a change unless it is in the table that was shown.
func (w *watch) event(e *client.Event) {
	key, generation := string(e.Object.Key), e.Object.Generation
	if generation <= w.generation || generation <= w.newer[key] || !strings.HasPrefix(key, w.prefix) {
		return
	}
	w.shown++
	w.busy()
	w.print(e)
}

// signs are how changes begin in text.
var signs = map[wire.Kind]string{wire.KindObjectNew: "+", wire.KindObjectChange: "~", wire.KindObjectDel: "-"}

func (w *watch) print(e *client.Event) {
	obj := client.Object{Key: string(e.Object.Key), Generation: e.Object.Generation}
	for v := range e.Object.Values() {
		obj.Values = append(obj.Values, v)
	}
	if w.target.Format == cli.JSON {
		w.streams.Out.JSON(changeJSON{
			"change", e.Kind.String(), e.Seq, int64(e.Time), time.Now().UnixNano(), e.Recovered, e.Lost, newStateJSON(obj),
		})
		return
	}
	sign := signs[e.Kind]
	if sign == "" {
		sign = e.Kind.String()
	}
	b := fmt.Appendf(nil, "%s %s generation=%d %s", sign, showKey(obj.Key), obj.Generation, showValues(obj.Values))
	if e.Lost > 0 {
		b = fmt.Appendf(b, " lost %d", e.Lost)
	}
	if e.Recovered {
		b = append(b, " recovered"...)
	}
	w.streams.Out.Write(append(b, '\n'))
}

func (w *watch) overrun(count uint64) {
	if w.target.Format == cli.JSON {
		w.streams.Out.JSON(overrunJSON{"overrun", count, time.Now().UnixNano()})
		return
	}
	w.complain("receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer")
}

// trouble reports an error that the subscription survived.
func (w *watch) trouble(err error) {
	if w.target.Format == cli.JSON {
		w.streams.Out.JSON(errorJSON{"error", err.Error(), time.Now().UnixNano()})
		return
	}
	w.complain(err.Error())
}

func (w *watch) complain(text string) { fmt.Fprintf(w.streams.Err, "nlctl: %s\n", text) }

// summary writes the totals, to standard error if standard output takes no
// more. stopped says that it was Ctrl-C that made an end.
func (w *watch) summary(s *client.SubscriptionStats, stopped bool) {
	out := w.streams.Out
	text := fmt.Sprintf("%d received, %d recovered, %d lost, %d overrun", s.Received, s.Recovered, s.Lost, s.Overruns)
	if s.Overruns != 1 {
		text += "s"
	}
	switch {
	case w.target.Format == cli.JSON:
		out.JSON(watchJSON{"summary", w.shown, s.Received, s.Recovered, s.Lost, s.Overruns})
	case stopped && out.Terminal():
		fmt.Fprintf(out, "\n%s\n", text) // the terminal has just shown ^C
	default:
		fmt.Fprintln(out, text)
	}
	if out.Unwritable() {
		fmt.Fprintln(w.streams.Err, text)
	}
}
