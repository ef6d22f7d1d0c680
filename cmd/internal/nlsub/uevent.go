// SPDX-License-Identifier: MIT

package nlsub

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"nlpeer/cmd/internal/cli"
	"nlpeer/pkg/client"
	"nlpeer/pkg/kernel"
)

// A uevent is the source of what the kernel says about devices and modules.
type uevent struct{ joined []uint32 }

// ueventGroups are the names of the groups by their numbers.
var ueventGroups = map[uint32]string{kernel.UeventKernel: "kernel", kernel.UeventUdev: "udev"}

func (u *uevent) name() string     { return "uevent" }
func (u *uevent) takes() []string  { return nil }
func (u *uevent) groups() []string { return []string{"kernel", "udev"} }

func (u *uevent) choose(o *options, given func(flag string) bool) error {
	u.joined = []uint32{kernel.UeventKernel}
	if !given("groups") {
		return nil
	}
	var err error
	if u.joined, err = parseNames(o.list, u.groups(), func(name string) []uint32 {
		for number, known := range ueventGroups {
			if name == known {
				return []uint32{number}
			}
		}
		return nil
	}); err != nil {
		return cli.Usagef("-g: %w", err)
	}
	return nil
}

// parseNames parses a list of names, each of which find knows the numbers of.
func parseNames(list string, known []string, find func(name string) []uint32) ([]uint32, error) {
	var numbers []uint32
	for name := range strings.SplitSeq(list, ",") {
		found := find(name)
		switch {
		case name == "":
			return nil, fmt.Errorf("the list %q has an empty name", list)
		case found == nil:
			return nil, fmt.Errorf("group %q is unknown; known are: %s", name, strings.Join(known, ", "))
		}
		numbers = append(numbers, found...)
	}
	return sorted(numbers), nil
}

func (u *uevent) open(ctx context.Context, _ *options, cfg client.Config) (stream, error) {
	l, err := kernel.ListenUevent(ctx, listenConfig(cfg, u.joined))
	if err != nil {
		return nil, err
	}
	return &ueventStream{l, newCensus(func(group uint32) string { return ueventGroups[group] }, u.joined...)}, nil
}

// listenConfig is for sources that are not the peer's.
func listenConfig(cfg client.Config, groups []uint32) client.ListenConfig {
	return client.ListenConfig{PortID: cfg.PortID, Groups: groups, NetNS: cfg.NetNS, ReceiveBuffer: cfg.ReceiveBuffer, AllNSID: cfg.AllNSID, Tap: cfg.Tap}
}

func (u *uevent) explain(o *options, err error) error {
	if errors.Is(err, kernel.ErrUevent) {
		return kernel.ErrUevent
	}
	return o.target.Explain(err)
}

type ueventStream struct {
	*kernel.UeventListener
	*census
}

func (s *ueventStream) totals() totals { return s.census.totals(s.Stats()) }

func (s *ueventStream) lines(ctx context.Context) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		for e, err := range s.Events(ctx) {
			if err == nil {
				s.at(e.Group, client.OwnNSID).received++
			}
			if !yield((*ueventLine)(&e), err) {
				return
			}
		}
	}
}

type ueventLine kernel.Uevent

// ueventJSON is promised in the help.
type ueventJSON struct {
	Type      string            `json:"type"`
	Group     string            `json:"group"`
	Action    string            `json:"action"`
	Path      string            `json:"devpath"`
	Subsystem string            `json:"subsystem"`
	Seq       uint64            `json:"seq"`
	Unix      int64             `json:"unix_ns"`
	Env       map[string]string `json:"env"`
}

func (e *ueventLine) json(now time.Time) any {
	j := ueventJSON{"uevent", ueventGroups[e.Group], e.Action, e.Path, e.Subsystem, e.Seq, now.UnixNano(), make(map[string]string, len(e.Env))}
	for _, text := range e.Env {
		key, value, _ := strings.Cut(text, "=")
		j.Env[key] = value
	}
	return j
}

func (e *ueventLine) appendText(b []byte) []byte {
	if e.Group == kernel.UeventUdev {
		b = append(b, "udev "...)
	}
	b = fmt.Appendf(b, "%s %s", word(e.Action), word(e.Path))
	if e.Subsystem != "" {
		b = fmt.Appendf(b, " (%s)", word(e.Subsystem))
	}
	if e.Seq != 0 {
		b = fmt.Appendf(b, " seq=%d", e.Seq)
	}
	return b
}

// word writes text of others on a line of ours: as it is, or quoted if it has
// anything that could be mistaken.
func word(s string) string {
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '\\' || r == 0x7f || r > 0x7e {
			return cli.Quote([]byte(s))
		}
	}
	return s
}
