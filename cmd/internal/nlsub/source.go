// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// A source is what can be listened to: what --via chooses. Each has a file of
// its own and a place in sources.
type source interface {
	// name is what --via calls it.
	name() string
	// takes names those of the special flags that mean something to it.
	takes() []string
	// choose makes of the flags what open needs, -g before all. It looks at
	// nothing but the command line.
	choose(o *options, given func(flag string) bool) error
	// open begins to listen. cfg has what the flags of all sources say.
	open(ctx context.Context, o *options, cfg client.Config) (stream, error)
	// explain puts an error of open, or one that ended the stream, into the
	// words of a user.
	explain(o *options, err error) error
	// groups are the names that -g understands, for completion.
	groups() []string
}

// A stream is a source that is open.
type stream interface {
	// lines ranges over what happens until ctx ends. An error that another
	// line follows was no end; an *client.OverrunError never is.
	lines(ctx context.Context) iter.Seq2[line, error]
	// totals tells what has come so far.
	totals() totals
	// Close ends it.
	Close() error
}

// A line is one thing that happened. It is valid until the next one comes.
type line interface {
	// appendText appends it as text, without a newline.
	appendText(b []byte) []byte
	// json returns it as an object of -o json; now is when it was read.
	json(now time.Time) any
}

// totals are what a stream counts.
type totals struct {
	tally
	overruns uint64
	perGroup []groupTally
	// kinds are the counts of a tally that this source can know.
	kinds kinds
	// sure says that lost is all that was lost, whatever overran.
	sure bool
}

type tally struct{ received, recovered, lost uint64 }

type groupTally struct {
	kinds kinds // as in totals
	group uint32
	name  string // "" if it is the number
	nsid  int32
	tally
}

// kinds says what of a tally has a meaning.
type kinds int

const (
	countsReceived  kinds = iota // nobody numbers events, so what is lost is not known
	countsLost                   // missing numbers tell
	countsRecovered              // and events can be asked for again
)

// special are the flags that do not mean something to every source.
var special = []string{"mask", "resync", "no-resync", "all-nsid", "protocol", "reply"}

// refuse refuses flags that mean nothing to a source.
func refuse(s source, given func(flag string) bool) error {
	for _, flag := range special {
		if !given(flag) || slices.Contains(s.takes(), flag) {
			continue
		}
		var others []string
		for _, other := range sources() {
			if slices.Contains(other.takes(), flag) && !slices.Contains(others, other.name()) {
				others = append(others, other.name())
			}
		}
		return cli.Usagef("--%s means nothing to --via %s; it is for --via %s", flag, s.name(), strings.Join(others, ", "))
	}
	return nil
}

func sourceNames() []string {
	var names []string
	for _, s := range sources() {
		names = append(names, s.name())
	}
	return names
}

func parseSource(name string) (source, error) {
	for _, s := range sources() {
		if s.name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("there is no such source; known are: %s", strings.Join(sourceNames(), ", "))
}

// sources are all of them, in the order of the help. To add one, write its file
// and name it here.
func sources() []source {
	return []source{
		&peer{carrier: client.Raw},
		&peer{carrier: client.Generic},
		&peer{carrier: client.Connector},
		&route{},
		&uevent{},
		&proc{},
		&user{},
	}
}
