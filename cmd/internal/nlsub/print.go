// SPDX-License-Identifier: MIT

package nlsub

import (
	"fmt"
	"strconv"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
)

// The objects of -o json that all sources have. Their members are promised in
// the help.
type (
	overrunJSON struct {
		Type  string `json:"type"`
		Count uint64 `json:"count"`
		Unix  int64  `json:"unix_ns"`
	}
	endJSON struct {
		Type string `json:"type"`
		Unix int64  `json:"unix_ns"`
	}
	errorJSON struct {
		Type  string `json:"type"`
		Error string `json:"error"`
		Unix  int64  `json:"unix_ns"`
	}
	summaryJSON struct {
		Type string `json:"type"`
		tallyJSON
		Overruns uint64      `json:"overruns"`
		Time     int64       `json:"time_ns"`
		Groups   []groupJSON `json:"groups"`
	}
	groupJSON struct {
		Group uint32 `json:"group"`
		Name  string `json:"name,omitempty"`
		NSID  *int32 `json:"nsid,omitempty"`
		tallyJSON
	}
	tallyJSON struct {
		Received  uint64  `json:"received"`
		Recovered *uint64 `json:"recovered,omitempty"`
		Lost      *uint64 `json:"lost,omitempty"`
	}
)

// A printer writes what happens.
type printer struct {
	*options
	streams *cli.Streams
	buf     []byte
}

func (p *printer) line(l line) {
	if p.quiet {
		return
	}
	now := time.Now()
	if p.target.Format == cli.JSON {
		p.streams.Out.JSON(l.json(now))
		return
	}
	p.buf = p.stamp(p.buf[:0], now)
	p.buf = append(l.appendText(p.buf), '\n')
	p.streams.Out.Write(p.buf)
}

func (p *printer) overrun(count uint64) {
	if p.target.Format == cli.JSON {
		p.streams.Out.JSON(overrunJSON{"overrun", count, time.Now().UnixNano()})
		return
	}
	what := "events were lost"
	if p.resync {
		what = "asking for what was missed"
	}
	p.complain("receive buffer overran, " + what + "; a larger --rcvbuf makes it rarer")
}

// ended says why there will be no more events.
func (p *printer) ended() {
	if p.target.Format == cli.JSON {
		p.streams.Out.JSON(endJSON{"end", time.Now().UnixNano()})
		return
	}
	p.complain("the peer left: the nlpeer module was unloaded")
}

// trouble reports an error that the stream survived.
func (p *printer) trouble(err error) {
	if p.target.Format == cli.JSON {
		p.streams.Out.JSON(errorJSON{"error", err.Error(), time.Now().UnixNano()})
		return
	}
	p.complain(err.Error())
}

func (p *printer) complain(text string) {
	p.buf = p.stamp(p.buf[:0], time.Now())
	p.buf = fmt.Appendf(p.buf, "nlsub: %s\n", text)
	p.streams.Err.Write(p.buf)
}

func (p *printer) stamp(b []byte, t time.Time) []byte {
	if p.timestamp {
		b = t.AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00 ")
	}
	return b
}

// summary writes the totals, to standard error if standard output takes no
// more. stopped says that it was Ctrl-C that made an end.
func (p *printer) summary(t *totals, elapsed time.Duration, stopped bool) {
	out := p.streams.Out
	if p.target.Format == cli.JSON {
		sum := summaryJSON{
			Type: "summary", tallyJSON: t.tally.json(t.kinds), Overruns: t.overruns,
			Time: int64(elapsed), Groups: []groupJSON{},
		}
		for _, g := range t.perGroup {
			sum.Groups = append(sum.Groups, groupJSON{g.group, g.name, nsid(g.nsid), g.tally.json(g.kinds)})
		}
		out.JSON(sum)
	} else {
		b := []byte(nil)
		if stopped && out.Terminal() {
			b = append(b, '\n') // the terminal has just shown ^C
		}
		for _, g := range t.perGroup {
			name := g.name
			if name == "" {
				name = strconv.FormatUint(uint64(g.group), 10)
			}
			b = fmt.Appendf(b, "group %s: %s", name, g.tally.text(g.kinds))
			if g.nsid != client.OwnNSID {
				b = fmt.Appendf(b, ", nsid %d", g.nsid)
			}
			b = append(b, '\n')
		}
		out.Write(fmt.Appendf(b, "%s\n", t.text()))
	}
	if out.Unwritable() {
		fmt.Fprintf(p.streams.Err, "%s\n", t.text())
	}
}

// text is the last line.
func (t *totals) text() string {
	s := t.tally.text(t.kinds) + fmt.Sprintf(", %d overrun", t.overruns)
	if t.overruns != 1 {
		s += "s"
	}
	return s
}

func (t *tally) text(k kinds) string {
	s := fmt.Sprintf("%d received", t.received)
	if k >= countsRecovered {
		s += fmt.Sprintf(", %d recovered", t.recovered)
	}
	if k >= countsLost {
		s += fmt.Sprintf(", %d lost", t.lost)
	}
	return s
}

func (t *tally) json(k kinds) tallyJSON {
	j := tallyJSON{Received: t.received}
	if k >= countsRecovered {
		j.Recovered = &t.recovered
	}
	if k >= countsLost {
		j.Lost = &t.lost
	}
	return j
}

// nsid is that of another namespace.
func nsid(id int32) *int32 {
	if id == client.OwnNSID {
		return nil
	}
	return &id
}

func appendNSID(b []byte, id int32) []byte {
	if id == client.OwnNSID {
		return b
	}
	return fmt.Appendf(b, " nsid=%d", id)
}

// notNull makes that no bytes are "" in JSON, and not null.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
