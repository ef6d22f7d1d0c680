// SPDX-License-Identifier: MIT

package nlctl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"nlpeer/cmd/internal/cli"
	"nlpeer/cmd/internal/clitest"
	"nlpeer/cmd/internal/nlctl"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// A store has objects, and remembers what it was asked to do.
type store struct {
	nlctl.Peer
	cfg         client.Config
	dials       int
	objects     []client.Object
	interrupted int      // the first dumps are
	moves       int      // the table changes before so many Stats
	generation  uint64   // of the table
	done        []string // changes
	dumps       []client.ObjectQuery
	refusal     error // of a change, or of an atomic dump
}

func (s *store) dial(_ context.Context, cfg client.Config) (nlctl.Peer, error) {
	s.cfg = cfg
	s.dials++
	return s, nil
}

func (s *store) NewObject(_ context.Context, key string, flags wire.Modifier, values ...[]byte) error {
	s.done = append(s.done, fmt.Sprintf("%v %q %q", flags, key, values))
	return s.refusal
}

func (s *store) DeleteObject(_ context.Context, key string) error {
	s.done = append(s.done, fmt.Sprintf("del %q", key))
	return s.refusal
}

func (s *store) DeleteObjects(_ context.Context, prefix string) error {
	s.done = append(s.done, fmt.Sprintf("del all %q", prefix))
	return s.refusal
}

func (s *store) Objects(_ context.Context, q client.ObjectQuery) iter.Seq2[client.Object, error] {
	s.dumps = append(s.dumps, q)
	return func(yield func(client.Object, error) bool) {
		if q.Atomic && s.refusal != nil {
			yield(client.Object{}, s.refusal)
			return
		}
		for _, obj := range s.objects {
			if strings.HasPrefix(obj.Key, q.Prefix) && !yield(obj, nil) {
				return
			}
		}
		if len(s.dumps) <= s.interrupted {
			yield(client.Object{}, &client.OpError{Op: "object-get", Err: client.ErrDumpInterrupted})
		}
	}
}

func (s *store) Stats(context.Context) (client.Stats, error) {
	if s.moves > 0 {
		s.moves--
		s.generation++
	}
	return client.Stats{Objects: client.ObjectStats{Generation: s.generation}}, nil
}

func (s *store) Close() error { return nil }

func bytesOf(values ...string) (b [][]byte) {
	for _, v := range values {
		b = append(b, []byte(v))
	}
	return b
}

var objects = []client.Object{
	{Key: "a b", Values: bytesOf("x", "\x00\xff"), Generation: 3},
	{Key: "port/1", Generation: 12},
	{Key: "\xfe", Values: bytesOf(""), Generation: 7},
}

func TestObjectList(t *testing.T) {
	const (
		again = "nlctl: the table changed while it was read, asking again\n"
		text  = "KEY     GENERATION  VALUES\n\"a b\"   3           \"x\" 0x00ff\nport/1  12          -\n\"\\xfe\"  7           \"\"\n"
	)
	for _, test := range []struct {
		args        string
		interrupted int
		refusal     error
		want        clitest.Result
		dumps       []client.ObjectQuery
	}{
		{
			args:  "list",
			want:  clitest.Result{Out: text},
			dumps: make([]client.ObjectQuery, 1),
		}, {
			args:  "list --prefix port/ --atomic -o json",
			want:  clitest.Result{Out: `{"type":"object","key":"port/1","generation":12,"values":[]}` + "\n"},
			dumps: []client.ObjectQuery{{Prefix: "port/", Atomic: true}},
		}, {
			args: "list -o json",
			want: clitest.Result{Out: `{"type":"object","key":"a b","generation":3,"values":[{"bytes":1,"text":"x"},{"bytes":2,"base64":"AP8="}]}
{"type":"object","key":"port/1","generation":12,"values":[]}
{"type":"object","key":"` + "\\ufffd" + `","key_base64":"/g==","generation":7,"values":[{"bytes":0,"text":""}]}
`},
			dumps: make([]client.ObjectQuery, 1),
		}, {
			args:        "list",
			interrupted: 4,
			want:        clitest.Result{Out: text, Err: strings.Repeat(again, 4)},
			dumps:       make([]client.ObjectQuery, 5),
		}, {
			args:        "list",
			interrupted: 5,
			want: clitest.Result{Code: cli.ExitFailed, Out: text, Err: strings.Repeat(again, 4) +
				"nlctl: the table changed each of 5 times while it was read: what is shown may never have been there at one moment; try: sudo nlctl object list --atomic\n"},
			dumps: make([]client.ObjectQuery, 5),
		}, {
			args:    "list --atomic",
			refusal: &client.OpError{Op: "object-get", Err: syscall.EBUSY, ExtAck: &client.ExtAck{Text: "too many"}},
			want:    clitest.Result{Code: cli.ExitError, Err: "nlctl: object-get: device or resource busy: too many\n"},
			dumps:   []client.ObjectQuery{{Atomic: true}},
		},
	} {
		t.Run(fmt.Sprint(test.args, " ", test.interrupted), func(t *testing.T) {
			s := store{objects: objects, interrupted: test.interrupted, refusal: test.refusal}
			got := clitest.Run(t.Context(), nlctl.CommandWith(s.dial, nil), append([]string{"object"}, strings.Fields(test.args)...)...)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.dumps, s.dumps); diff != "" {
				t.Errorf("asked for (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectChanges(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("\x00content\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args    []string
		carrier client.Carrier
		want    string
	}{
		{[]string{"add", "k"}, client.Generic, `excl|create "k" []`},
		{[]string{"replace", "k", "v", ""}, client.Generic, `replace|create "k" ["v" ""]`},
		{[]string{"change", "k", "v", "--via", "raw"}, client.Raw, `replace "k" ["v"]`},
		{[]string{"append", "k", "-", "@" + file}, client.Generic, `create|append "k" ["input" "\x00content\n"]`},
		{[]string{"add", "--hex", "k", "00 ff", "0x7f:80", "-", "@" + file}, client.Generic, `excl|create "k" ["\x00\xff" "\x7f\x80" "input" "\x00content\n"]`},
		{[]string{"new", "k"}, client.Generic, `0x0 "k" []`},
		{[]string{"new", "--flags", "none", "k"}, client.Generic, `0x0 "k" []`},
		{[]string{"new", "--flags", "append,create,excl,replace", "k"}, client.Generic, `replace|excl|create|append "k" []`},
		{[]string{"del", "k", "--via", "rtnl"}, client.Rtnl, `del "k"`},
		{[]string{"del", "--prefix", "p/"}, client.Generic, `del all "p/"`},
		{[]string{"del", "--all"}, client.Generic, `del all ""`},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			s := store{}
			got := clitest.RunInput(t.Context(), nlctl.CommandWith(s.dial, nil), strings.NewReader("input"), append([]string{"object"}, test.args...)...)
			if diff := cmp.Diff(clitest.Result{}, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{test.want}, s.done); diff != "" {
				t.Errorf("done (-want +got):\n%s", diff)
			}
			if s.cfg.Carrier != test.carrier || s.cfg.Timeout == 0 {
				t.Errorf("asked with %+v", s.cfg)
			}

			// Without the privilege it says how to call it, for a shell.
			s = store{refusal: &client.OpError{Op: "object-new", Err: syscall.EPERM}}
			got = clitest.RunInput(t.Context(), nlctl.CommandWith(s.dial, nil), strings.NewReader("input"), append([]string{"object"}, test.args...)...)
			if got.Code != cli.ExitError || !strings.HasPrefix(got.Err, "nlctl: changing objects needs CAP_NET_ADMIN in this network namespace; try: sudo nlctl object "+test.args[0]) {
				t.Errorf("%+v", got)
			}
		})
	}
	s := store{refusal: &client.OpError{Op: "object-new", Err: syscall.EPERM}}
	got := clitest.Run(t.Context(), nlctl.CommandWith(s.dial, nil), "object", "add", "--hex", "it's $x", "00 ff", "")
	if want := `sudo nlctl object add --hex 'it'\''s $x' '00 ff' ''` + "\n"; !strings.HasSuffix(got.Err, want) {
		t.Errorf("%q does not end in %q", got.Err, want)
	}
}

func TestObjectBatch(t *testing.T) {
	s := store{}
	got := clitest.RunInput(t.Context(), nlctl.CommandWith(s.dial, nil), strings.NewReader("add a b\n\n# x\n del  --all \nnew --flags excl --hex c 00"), "object", "batch")
	if diff := cmp.Diff(clitest.Result{}, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`excl|create "a" ["b"]`, `del all ""`, `excl "c" ["\x00"]`}, s.done); diff != "" || s.dials != 1 {
		t.Errorf("%d connections; done (-want +got):\n%s", s.dials, diff)
	}

	// A user who changes his mind while it waits for a line.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got = clitest.RunInput(ctx, nlctl.CommandWith(s.dial, nil), r, "object", "batch")
	if diff := cmp.Diff(clitest.Result{Code: cli.ExitError, Err: "nlctl: interrupted after 0 lines\n"}, got); diff != "" {
		t.Errorf("interrupted: result (-want +got):\n%s", diff)
	}
}

// A stream is a subscription to what a test says.
type stream struct {
	cfg    client.Config
	events []any // client.Event or error
	stats  client.SubscriptionStats
	closed bool
}

func (s *stream) subscribe(_ context.Context, cfg client.Config) (nlctl.Subscription, error) {
	s.cfg = cfg
	return s, nil
}

func (s *stream) Events(ctx context.Context) iter.Seq2[client.Event, error] {
	return func(yield func(client.Event, error) bool) {
		for _, e := range s.events {
			event, _ := e.(client.Event)
			err, _ := e.(error)
			if !yield(event, err) {
				return
			}
		}
		var last error
		if n := len(s.events); n > 0 {
			last, _ = s.events[n-1].(error)
		}
		if last == nil || errors.Is(last, client.ErrTruncated) {
			<-ctx.Done()
			yield(client.Event{}, ctx.Err())
		}
	}
}

func (s *stream) Stats() client.SubscriptionStats { return s.stats }
func (s *stream) Close() error                    { s.closed = true; return nil }

func event(kind wire.Kind, key string, generation uint64, values ...string) client.Event {
	b := wire.AppendString(nil, wire.AttrObjectKey, key)
	b = wire.AppendUint64(b, wire.AttrObjectGeneration, generation)
	obj, err := wire.ParseObject(wire.AppendValues(b, bytesOf(values...)...))
	if err != nil {
		panic(err)
	}
	return client.Event{Kind: kind, Seq: generation + 100, Time: time.Second, Object: client.ObjectView{Object: obj}}
}

// unix is the time of day in JSON.
var unix = regexp.MustCompile(`"unix_ns":\d{19}`)

func TestObjectWatch(t *testing.T) {
	recovered := event(wire.KindObjectChange, "port/1", 5, "", "\xff")
	recovered.Recovered, recovered.Lost = true, 3
	overrun := &client.OverrunError{Op: "events", Count: 1}
	const totals = "4 received, 1 recovered, 0 lost, 1 overrun\n"
	for _, test := range []struct {
		name   string
		args   string
		events []any
		lost   uint64
		failed uint64
		moves  int
		want   clitest.Result
	}{
		{
			name: "each kind",
			args: "-c 4",
			events: []any{
				event(wire.KindObjectNew, "a", 1, "x"), client.Event{Kind: wire.KindBeacon}, overrun, recovered,
				event(wire.KindObjectDel, "a b", 6), event(99, "z", 7),
			},
			want: clitest.Result{
				Out: "+ a generation=1 \"x\"\n~ port/1 generation=5 \"\" 0xff lost 3 recovered\n- \"a b\" generation=6 -\nkind(99) z generation=7 -\n" + totals,
				Err: "nlctl: receive buffer overran, asking for what was missed; a larger --rcvbuf makes it rarer\n",
			},
		}, {
			name:   "prefix",
			args:   "--prefix b -c 1",
			events: []any{event(wire.KindObjectNew, "a", 1), event(wire.KindObjectNew, "ba", 2), event(wire.KindObjectNew, "bb", 3)},
			want:   clitest.Result{Out: "+ ba generation=2 -\n" + totals},
		}, {
			name:   "too few",
			args:   "-c 2 --for 10ms",
			events: []any{event(wire.KindObjectNew, "a", 1)},
			want:   clitest.Result{Code: cli.ExitFailed, Out: "+ a generation=1 -\n" + totals},
		}, {
			name:   "nothing for a while",
			args:   "--idle-timeout 10ms",
			events: []any{event(wire.KindObjectNew, "a", 1)},
			want:   clitest.Result{Out: "+ a generation=1 -\n" + totals},
		}, {
			name:   "lost",
			args:   "-c 1",
			events: []any{event(wire.KindObjectNew, "a", 1)},
			lost:   3,
			want:   clitest.Result{Code: cli.ExitFailed, Out: "+ a generation=1 -\n4 received, 1 recovered, 3 lost, 1 overrun\n"},
		}, {
			name:   "asked in vain",
			args:   "-c 1",
			events: []any{event(wire.KindObjectNew, "a", 1)},
			failed: 1,
			want:   clitest.Result{Code: cli.ExitFailed, Out: "+ a generation=1 -\n" + totals},
		}, {
			name:   "ended",
			events: []any{event(wire.KindObjectNew, "a", 1), &client.OpError{Op: "events", Err: client.ErrEnded}},
			want: clitest.Result{
				Code: cli.ExitFailed, Out: "+ a generation=1 -\n" + totals,
				Err: "nlctl: the peer has left this network namespace: the module was unloaded\n",
			},
		}, {
			name:   "an error that it survives, and one that it does not",
			events: []any{errors.New("nonsense"), event(wire.KindObjectNew, "a", 1), &client.OpError{Op: "events", Err: syscall.EIO}},
			want:   clitest.Result{Code: cli.ExitError, Out: "+ a generation=1 -\n" + totals, Err: "nlctl: nonsense\nnlctl: input/output error\n"},
		}, {
			name:   "after a table that stands still",
			args:   "--list-first --prefix port/ -c 2",
			events: []any{event(wire.KindObjectDel, "port/0", 20), event(wire.KindObjectDel, "port/1", 21), event(wire.KindObjectNew, "port/2", 22)},
			want: clitest.Result{Out: "KEY     GENERATION  VALUES\nport/1  12          -\n" +
				"- port/1 generation=21 -\n+ port/2 generation=22 -\n" + totals},
		}, {
			name:   "after a table that moves for a while",
			args:   "--list-first --prefix port/ -c 1",
			moves:  9,
			events: []any{event(wire.KindObjectDel, "port/0", 28), event(wire.KindObjectDel, "port/1", 30)},
			want:   clitest.Result{Out: "KEY     GENERATION  VALUES\nport/1  12          -\n- port/1 generation=30 -\n" + totals},
		}, {
			name:   "after a table that moves on",
			args:   "--list-first -c 2",
			moves:  10,
			events: []any{event(wire.KindObjectNew, "port/1", 29), event(wire.KindObjectNew, "port/2", 30), event(wire.KindObjectNew, "late", 30), event(wire.KindObjectDel, "port/1", 31)},
			want: clitest.Result{Out: "KEY     GENERATION  VALUES\nlate    30          -\nport/1  12          -\n" +
				"+ port/2 generation=30 -\n- port/1 generation=31 -\n" + totals},
		}, {
			name:   "json",
			args:   "-o json -c 1",
			events: []any{overrun, errors.New("nonsense"), recovered},
			want: clitest.Result{Out: `{"type":"overrun","count":1,"unix_ns":N}
{"type":"error","error":"nonsense","unix_ns":N}
{"type":"change","kind":"object-change","seq":105,"boottime_ns":1000000000,"unix_ns":N,"recovered":true,"lost":3,` +
				`"key":"port/1","generation":5,"values":[{"bytes":0,"text":""},{"bytes":1,"base64":"/w=="}]}
{"type":"summary","shown":1,"received":4,"recovered":1,"lost":0,"overruns":1}
`},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := stream{events: test.events, stats: client.SubscriptionStats{Received: 4, Recovered: 1, Lost: test.lost, Failed: test.failed, Overruns: 1}}
			s := store{objects: objects[1:2], generation: 20, moves: test.moves, interrupted: 2}
			if test.moves == 10 {
				// One that changed while the table was read, behind where it begins.
				s.objects = []client.Object{{Key: "late", Generation: 30}, objects[1]}
			}
			got := clitest.Run(t.Context(), nlctl.WatchCommandWith(s.dial, in.subscribe), append([]string{"object", "watch"}, strings.Fields(test.args)...)...)
			got.Out = unix.ReplaceAllString(got.Out, `"unix_ns":N`)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if !in.closed {
				t.Error("the subscription was not closed")
			}
		})
	}
}

// An error that it survives is reported in the moment in which it comes, and even
// if nothing comes after it.
func TestObjectWatchTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := stream{events: []any{&client.OpError{Op: "events", Err: client.ErrTruncated}}}
		got := clitest.Run(t.Context(), nlctl.WatchCommandWith(nil, in.subscribe), "object", "watch", "-o", "json", "--for", "5")
		want := `{"type":"error","error":"events: datagram is longer than the receive buffer","unix_ns":946684800000000000}` + "\n"
		if first, _, _ := strings.Cut(got.Out, `{"type":"summary"`); first != want || got.Code != cli.ExitOK || got.Err != "" {
			t.Errorf("%+v, want %q", got, want)
		}
	})
}

// That the table could not be written is an end, before any change comes.
func TestObjectWatchUnwritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in stream
		table := store{objects: []client.Object{{Key: "a", Generation: 1}}}
		began := time.Now()
		var stderr bytes.Buffer
		code := cli.Run(t.Context(), nlctl.WatchCommandWith(table.dial, in.subscribe), cli.NewStreams(nil, unwritable{syscall.ENOSPC}, &stderr),
			[]string{"object", "watch", "--list-first", "--for", "5"})
		want := "0 received, 0 recovered, 0 lost, 0 overruns\nnlctl: writing standard output: no space left on device\n"
		if code != cli.ExitError || stderr.String() != want || time.Since(began) != 0 {
			t.Errorf("exit code %d after %v, %q, want %q", code, time.Since(began), &stderr, want)
		}
	})
}

func TestObjectWatchCarriers(t *testing.T) {
	for via, want := range map[string]client.Config{
		"raw":       {Carrier: client.Raw, Groups: 2, ReceiveBuffer: 4096},
		"genl":      {Carrier: client.Generic, GroupNames: []string{"objects"}, ReceiveBuffer: 4096},
		"connector": {Carrier: client.Connector, ReceiveBuffer: 4096},
	} {
		in := stream{events: []any{event(wire.KindObjectNew, "a", 1)}}
		s := store{}
		got := clitest.Run(t.Context(), nlctl.WatchCommandWith(s.dial, in.subscribe), "object", "watch", "-c", "1", "--via", via, "--rcvbuf", "4K", "--list-first")
		if diff := cmp.Diff(want, in.cfg); diff != "" || got.Code != cli.ExitOK {
			t.Errorf("%s: %+v (-want +got):\n%s", via, got, diff)
		}
		if s.cfg.Carrier != client.Generic {
			t.Errorf("%s: the table was asked for by %v", via, s.cfg.Carrier)
		}
	}
}

func TestObjectCompletion(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "only"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := store{objects: objects[:2]}
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{""}, []string{"add", "append", "batch", "change", "del", "get", "list", "new", "replace", "watch"}},
		{[]string{"get", ""}, []string{"a b", "port/1"}},
		{[]string{"del", "p"}, []string{"port/1"}},
		{[]string{"append", "p"}, []string{"port/1"}},
		{[]string{"add", "p"}, []string{}},
		{[]string{"get", "x", ""}, []string{}},
		{[]string{"add", "x", "@" + dir + "/on"}, []string{"@" + dir + "/one", "@" + dir + "/only/"}},
		{[]string{"add", "x", "y"}, []string{}},
		{[]string{"add", "--via", ""}, []string{"raw", "genl", "rtnl"}},
		{[]string{"watch", "--via", ""}, []string{"raw", "genl", "connector"}},
		{[]string{"new", "--flags", ""}, []string{"replace", "excl", "create", "append"}},
		{[]string{"new", "--flags", "create,"}, []string{"create,replace", "create,excl", "create,append"}},
		{[]string{"list", "--prefix", ""}, []string{}},
		{[]string{"list", ""}, []string{}},
	} {
		got := clitest.Complete(t, nlctl.CommandWith(s.dial, nil), append([]string{"object"}, test.args...)...)
		got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "--") })
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v: proposed (-want +got):\n%s", test.args, diff)
		}
	}
}
