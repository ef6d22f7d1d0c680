// SPDX-License-Identifier: MIT

package nlsub

import (
	"fmt"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/wire"
)

// The objects of -o json. Their members are promised in the help.
type (
	eventJSON struct {
		Type  string `json:"type"`
		Group uint32 `json:"group"`
		Name  string `json:"name,omitempty"`
		Seq   uint64 `json:"seq"`
		Kind  string `json:"kind"`
		Boot  int64  `json:"boottime_ns"`
		Unix  int64  `json:"unix_ns"`
		Again bool   `json:"recovered"`
		Lost  uint64 `json:"lost"`
		Bytes int    `json:"bytes"`
		Data  []byte `json:"data"`
		NSID  *int32 `json:"nsid,omitempty"`
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
	summaryJSON struct {
		Type      string      `json:"type"`
		Received  uint64      `json:"received"`
		Recovered uint64      `json:"recovered"`
		Lost      uint64      `json:"lost"`
		Overruns  uint64      `json:"overruns"`
		Time      int64       `json:"time_ns"`
		Groups    []groupJSON `json:"groups"`
	}
	groupJSON struct {
		Group     uint32 `json:"group"`
		Name      string `json:"name,omitempty"`
		NSID      *int32 `json:"nsid,omitempty"`
		Received  uint64 `json:"received"`
		Recovered uint64 `json:"recovered"`
		Lost      uint64 `json:"lost"`
	}
)

// A printer writes what happens.
type printer struct {
	*options
	streams *cli.Streams
	line    []byte
}

func (p *printer) event(e *client.Event) {
	if p.quiet {
		return
	}
	now := time.Now()
	if p.target.Format == cli.JSON {
		data := e.Data
		if data == nil {
			data = []byte{} // "", not null
		}
		p.streams.Out.JSON(eventJSON{
			Type: "event", Group: e.Group, Name: name(e.Group), Seq: e.Seq, Kind: e.Kind.String(),
			Boot: int64(e.Time), Unix: now.UnixNano(), Again: e.Recovered, Lost: e.Lost, Bytes: len(e.Data), Data: data, NSID: nsid(e.NSID),
		})
		return
	}
	p.line = p.stamp(p.line[:0], now)
	p.line = fmt.Appendf(p.line, "group=%s seq=%d kind=%s time=%d.%06d bytes=%d",
		cli.GroupName(e.Group), e.Seq, e.Kind, e.Time/time.Second, e.Time%time.Second/time.Microsecond, len(e.Data))
	if e.NSID != client.OwnNSID {
		p.line = fmt.Appendf(p.line, " nsid=%d", e.NSID)
	}
	if len(e.Data) > 0 {
		p.line = fmt.Appendf(p.line, " %s", cli.Printable(e.Data))
	}
	if e.Lost > 0 {
		p.line = fmt.Appendf(p.line, " lost %d", e.Lost)
	}
	if e.Recovered {
		p.line = append(p.line, " recovered"...)
	}
	p.line = append(p.line, '\n')
	p.streams.Out.Write(p.line)
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

// trouble reports an error that the subscription survived.
func (p *printer) trouble(err error) {
	text := p.target.Explain(err).Error()
	if p.target.Format == cli.JSON {
		p.streams.Out.JSON(errorJSON{"error", text, time.Now().UnixNano()})
		return
	}
	p.complain(text)
}

func (p *printer) complain(text string) {
	p.line = p.stamp(p.line[:0], time.Now())
	p.line = fmt.Appendf(p.line, "nlsub: %s\n", text)
	p.streams.Err.Write(p.line)
}

func (p *printer) stamp(line []byte, t time.Time) []byte {
	if p.timestamp {
		line = t.AppendFormat(line, "2006-01-02T15:04:05.000000Z07:00 ")
	}
	return line
}

// summary writes the totals, to standard error if standard output takes no
// more. stopped says that it was Ctrl-C that made an end.
func (p *printer) summary(stats client.SubscriptionStats, groups []client.GroupStats, elapsed time.Duration, stopped bool) {
	out := p.streams.Out
	if p.target.Format == cli.JSON {
		sum := summaryJSON{
			Type: "summary", Received: stats.Received, Recovered: stats.Recovered, Lost: stats.Lost, Overruns: stats.Overruns,
			Time: int64(elapsed), Groups: []groupJSON{},
		}
		for _, g := range groups {
			sum.Groups = append(sum.Groups, groupJSON{g.Group, name(g.Group), nsid(g.NSID), g.Received, g.Recovered, g.Lost})
		}
		out.JSON(sum)
	} else {
		line := []byte(nil)
		if stopped && out.Terminal() {
			line = append(line, '\n') // the terminal has just shown ^C
		}
		for _, g := range groups {
			line = fmt.Appendf(line, "group %s: %d received, %d recovered, %d lost", cli.GroupName(g.Group), g.Received, g.Recovered, g.Lost)
			if g.NSID != client.OwnNSID {
				line = fmt.Appendf(line, ", nsid %d", g.NSID)
			}
			line = append(line, '\n')
		}
		line = append(line, totals(stats)...)
		line = append(line, '\n')
		out.Write(line)
	}
	if out.Unwritable() {
		fmt.Fprintf(p.streams.Err, "%s\n", totals(stats))
	}
}

// name is that of a group of generic netlink.
func name(group uint32) string {
	if group >= wire.GroupBeacon {
		return cli.GroupName(group)
	}
	return ""
}

// nsid is that of another namespace.
func nsid(id int32) *int32 {
	if id == client.OwnNSID {
		return nil
	}
	return &id
}
