// SPDX-License-Identifier: MIT

package nlecho

import (
	"errors"
	"fmt"
	"syscall"
	"time"
	"unicode/utf8"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
)

// The objects of -o json. Their members are promised in the help.
type (
	answerJSON struct {
		Type   string  `json:"type"`
		Seq    uint64  `json:"seq"`
		Port   uint32  `json:"port"`
		To     uint32  `json:"to,omitempty"`
		Bytes  int     `json:"bytes"`
		RTT    int64   `json:"rtt_ns"`
		Unix   int64   `json:"unix_ns"`
		Text   *string `json:"text,omitempty"`
		Base64 []byte  `json:"base64,omitempty"`
	}
	lostJSON struct {
		Type   string `json:"type"`
		Seq    uint64 `json:"seq"`
		Port   uint32 `json:"port"`
		Bytes  int    `json:"bytes"`
		Unix   int64  `json:"unix_ns"`
		Reason string `json:"reason"`
		Error  string `json:"error"`
		Errno  string `json:"errno,omitempty"`
	}
	summaryJSON struct {
		Type        string   `json:"type"`
		Transmitted uint64   `json:"transmitted"`
		Received    uint64   `json:"received"`
		Lost        uint64   `json:"lost"`
		Loss        float64  `json:"loss_percent"`
		Stale       uint64   `json:"stale"`
		Time        int64    `json:"time_ns"`
		RTT         *rttJSON `json:"rtt_ns"`
		Sent        *uint64  `json:"datagrams_sent,omitempty"`
		Datagrams   *uint64  `json:"datagrams_received,omitempty"`
	}
	rttJSON struct {
		Min  int64 `json:"min"`
		Avg  int64 `json:"avg"`
		Max  int64 `json:"max"`
		Mdev int64 `json:"mdev"`
	}
)

// A printer writes what happens.
type printer struct {
	*options
	streams *cli.Streams
	port    uint32
	shown   bool
	line    []byte
	counted *client.PipelineCounters // of a stream
}

func (p *printer) answer(seq uint64, payload []byte, sent time.Time, rtt time.Duration) {
	if p.quiet || p.flood {
		return
	}
	if p.target.Format == cli.JSON {
		a := answerJSON{Type: "answer", Seq: seq, Port: p.port, To: p.target.To, Bytes: len(payload), RTT: int64(rtt), Unix: sent.Add(rtt).UnixNano()}
		switch {
		case !p.shown:
		case utf8.Valid(payload):
			text := string(payload)
			a.Text = &text
		default:
			a.Base64 = payload
		}
		p.streams.Out.JSON(a)
		return
	}
	p.line = p.stamp(p.line[:0], sent.Add(rtt))
	p.line = fmt.Appendf(p.line, "%d bytes from %s: seq=%d port=%d time=%s ms", len(payload), p.from(), seq, p.port, cli.Millis(rtt))
	if p.shown {
		p.line = fmt.Appendf(p.line, " %s", cli.Quote(payload))
	}
	p.line = append(p.line, '\n')
	p.streams.Out.Write(p.line)
}

// from is who answers.
func (p *printer) from() string {
	if p.target.To == 0 {
		return "kernel"
	}
	return fmt.Sprintf("port %d", p.target.To)
}

func (p *printer) lost(seq uint64, size int, sent time.Time, reason, words string, err error) {
	if p.target.Format == cli.JSON {
		l := lostJSON{Type: "lost", Seq: seq, Port: p.port, Bytes: size, Unix: sent.UnixNano(), Reason: reason, Error: words}
		if errno := syscall.Errno(0); reason != interrupted && errors.As(err, &errno) {
			l.Errno = explain.ErrnoName(errno)
		}
		p.streams.Out.JSON(l)
		return
	}
	p.line = p.stamp(p.line[:0], time.Now())
	p.line = fmt.Appendf(p.line, "nlecho: seq=%d: %s\n", seq, words)
	p.streams.Err.Write(p.line)
}

func (p *printer) stamp(line []byte, t time.Time) []byte {
	if p.timestamps {
		line = append(append(line, cli.Unix(t)...), ' ')
	}
	return line
}

// datagrams tells that a batch was not answered by one, which it is for.
func (p *printer) datagrams(n client.PipelineCounters) {
	p.counted = &n
	answers := n.Answers - n.Failed
	if p.batch > 1 && !p.ack && n.Sent < n.Requests && n.Received >= answers && answers > 0 && p.target.Format == cli.Text {
		p.streams.Out.Write(fmt.Appendf(nil, "%d messages in %d datagrams were answered in %d: the peer does not pack answers\n", n.Requests, n.Sent, n.Received))
	}
}

// summary writes the totals, to standard error if standard output takes no
// more. stopped says that it was Ctrl-C that made an end.
func (p *printer) summary(t *tally, elapsed time.Duration, stale uint64, stopped bool) {
	out := p.streams.Out
	if p.target.Format == cli.JSON {
		sum := summaryJSON{
			Type:        "summary",
			Transmitted: t.transmitted,
			Received:    t.received,
			Lost:        t.lost(),
			Loss:        t.loss(),
			Stale:       stale,
			Time:        int64(elapsed),
		}
		if t.received > 0 {
			sum.RTT = &rttJSON{int64(t.min), int64(t.avg()), int64(t.max), int64(t.mdev())}
		}
		if p.counted != nil {
			sum.Sent, sum.Datagrams = &p.counted.Sent, &p.counted.Received
		}
		out.JSON(sum)
	} else {
		line := []byte(nil)
		if stopped && out.Terminal() {
			line = append(line, '\n') // the terminal has just shown ^C
		}
		line = append(line, totals(t, stale)...)
		line = append(line, '\n')
		out.Write(line)
	}
	if out.Unwritable() {
		fmt.Fprintf(p.streams.Err, "%s\n", totals(t, stale))
	}
}

// totals is the last line, whose form is fixed.
func totals(t *tally, stale uint64) string {
	s := fmt.Sprintf("%d transmitted, %d received, %s%% loss", t.transmitted, t.received, percent(t.loss()))
	if stale > 0 {
		s += fmt.Sprintf(", %d too late", stale)
	}
	if t.received > 0 {
		s += fmt.Sprintf(", rtt min/avg/max/mdev = %s/%s/%s/%s ms", cli.Millis(t.min), cli.Millis(t.avg()), cli.Millis(t.max), cli.Millis(t.mdev()))
	}
	return s
}
