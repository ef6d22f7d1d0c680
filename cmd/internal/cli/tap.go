// SPDX-License-Identifier: MIT

package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"nlpeer"
	"nlpeer/pkg/capture"
	"nlpeer/pkg/client"
	"nlpeer/pkg/explain"
)

// A Tap shows the messages that cross a command's sockets, and records them: the
// flags -x and --write.
type Tap struct {
	// Hold keeps datagrams until Show is called, so that showing them is no part
	// of what a command measures.
	Hold bool

	explain bool
	path    string

	format  Format
	out     *Output
	decoder explain.Decoder
	file    *os.File
	writer  *capture.Writer
	fail    context.CancelFunc

	mu   sync.Mutex
	held []capture.Packet
	err  error // of the file
}

// Add defines the flags.
func (t *Tap) Add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&t.explain, "explain", "x", false, "show each message that crosses, byte by byte")
	Var(flags, &t.path, parseFile, "write", "", "", "record what crosses in `FILE`, as pcapng, for Wireshark and nlctl decode")
}

func parseFile(s string) (string, error) {
	if s == "" {
		return "", errors.New("must name a file")
	}
	return s, nil
}

// Open opens the file and returns a context that ends with ctx, or when the file
// can not be written. Close must be called after it, also if it fails.
func (t *Tap) Open(ctx context.Context, s *Streams, target *Target, command string) (context.Context, error) {
	t.out, t.format = s.Out, target.Format
	t.decoder.RawProtocol = target.Protocol
	ctx, t.fail = context.WithCancel(ctx)
	if t.path == "" {
		return ctx, nil
	}
	var err error
	if t.file, err = os.Create(t.path); err != nil {
		return ctx, fmt.Errorf("--write %s: %w", t.path, reason(err))
	}
	t.writer = capture.NewWriter(t.file, command+" "+nlpeer.Version())
	return ctx, nil
}

// Func returns what Config.Tap is to be, nil if nobody wants to see anything.
func (t *Tap) Func() func(client.Crossing) {
	if !t.explain && t.writer == nil {
		return nil
	}
	return func(d client.Crossing) {
		p := capture.Packet{Time: time.Now(), PortID: d.PortID, Size: d.Size}
		p.Protocol, p.Direction, p.Data = d.Protocol, explain.Received, d.Data
		if d.Sent {
			p.Direction = explain.Sent
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.Hold {
			p.Data = bytes.Clone(p.Data)
			t.held = append(t.held, p)
			return
		}
		t.show(&p)
	}
}

// Show shows and records what was held.
func (t *Tap) Show() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.held {
		t.show(&t.held[i])
	}
	clear(t.held)
	t.held = t.held[:0]
}

func (t *Tap) show(p *capture.Packet) {
	if t.writer != nil && t.err == nil {
		if t.err = t.writer.Write(*p); t.err != nil {
			t.fail()
		}
	}
	if t.explain {
		WriteMessages(t.out, t.format, &t.decoder, p)
	}
}

// Close closes the file. It returns the error of the first write that failed.
func (t *Tap) Close() error {
	t.Show()
	t.fail()
	if t.file == nil {
		return nil
	}
	err := t.err
	if err == nil {
		err = t.writer.Close()
	}
	if cerr := t.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("--write %s: %w", t.path, reason(err))
	}
	return nil
}

// The objects of -o json for messages. Their members are promised in the help.
type (
	messageJSON struct {
		Type      string      `json:"type"`
		Direction string      `json:"direction"`
		Unix      int64       `json:"unix_ns,omitempty"`
		Protocol  int         `json:"protocol"`
		Port      uint32      `json:"port,omitempty"`
		Offset    int         `json:"offset"`
		Bytes     int         `json:"bytes"`
		Summary   string      `json:"summary"`
		Problems  int         `json:"problems"`
		Fields    []fieldJSON `json:"fields"`
	}
	fieldJSON struct {
		Kind    string `json:"kind"`
		Offset  int    `json:"offset"`
		Hex     string `json:"hex"`
		Depth   int    `json:"depth"`
		Name    string `json:"name"`
		Value   any    `json:"value,omitempty"`
		Meaning string `json:"meaning,omitempty"`
		Problem string `json:"problem,omitempty"`
	}
)

// MessageHelp describes the object of a message for a command's help.
const MessageHelp = `  type "message"   direction ("sent", "received" or "unknown"), protocol (its
                   number), port (port ID of the socket, if known), unix_ns (if
                   known), offset (in the datagram), bytes (how many), summary,
                   problems (how many), fields: a list of kind ("heading",
                   "value", "padding" or "rest"), offset, hex, depth (of nesting),
                   name, value (a number or text, if it is one), meaning, problem`

// WriteMessages writes the messages of a datagram and returns how many have
// problems.
func WriteMessages(out *Output, format Format, d *explain.Decoder, p *capture.Packet) (bad int) {
	var text []byte
	for _, m := range d.Decode(p.Datagram) {
		problems := m.Problems()
		if problems > 0 {
			bad++
		}
		if format == Text {
			text = append(m.AppendText(text[:0]), '\n')
			out.Write(text)
			continue
		}
		v := messageJSON{
			Type: "message", Direction: m.Direction.String(), Protocol: m.Protocol, Port: p.PortID, Offset: m.Offset,
			Bytes: m.Size, Summary: m.Summary, Problems: problems, Fields: make([]fieldJSON, len(m.Fields)),
		}
		if !p.Time.IsZero() {
			v.Unix = p.Time.UnixNano()
		}
		for i, f := range m.Fields {
			v.Fields[i] = fieldJSON{f.Kind.String(), f.Offset, hex.EncodeToString(f.Bytes), f.Depth, f.Name, f.Value, f.Meaning, f.Problem}
		}
		out.JSON(v)
	}
	return bad
}
