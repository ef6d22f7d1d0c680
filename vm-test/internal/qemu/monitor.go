// SPDX-License-Identifier: MIT

package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// monitor is a client of QMP, QEMU's control protocol: one JSON object a line.
type monitor struct {
	enc      *json.Encoder
	dec      *json.Decoder
	shutdown string // why the machine has ended, as QEMU says it
}

// answer is one object from QEMU: an event, or what a command gave.
type answer struct {
	Return json.RawMessage
	Event  string
	Data   struct{ Reason string }
	Error  *struct{ Desc string }
}

// negotiate leaves the monitor's first mode, in which it takes no commands and
// reports no events.
func negotiate(w io.Writer) error {
	if _, err := io.WriteString(w, `{"execute":"qmp_capabilities"}`+"\n"); err != nil {
		return fmt.Errorf("QEMU's monitor: %w", err)
	}
	return nil
}

// openMonitor reads the greeting and leaves negotiation mode, the first time.
func (p *Process) openMonitor() (*monitor, error) {
	if p.qmp != nil {
		return p.qmp, nil
	}
	m := &monitor{enc: json.NewEncoder(p.monitor), dec: json.NewDecoder(p.monitor)}
	var greeting struct {
		QMP json.RawMessage
	}
	if err := m.dec.Decode(&greeting); err != nil {
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	if !p.negotiated {
		if err := negotiate(p.monitor); err != nil {
			return nil, err
		}
	}
	if err := m.wait("qmp_capabilities", nil); err != nil {
		return nil, err
	}
	p.qmp = m
	return m, nil
}

// execute runs one command and stores what it returns in result.
func (m *monitor) execute(command string, args map[string]any, result any) error {
	request := map[string]any{"execute": command}
	if args != nil {
		request["arguments"] = args
	}
	if err := m.enc.Encode(request); err != nil {
		return fmt.Errorf("QEMU's monitor: %s: %w", command, err)
	}
	return m.wait(command, result)
}

// wait receives what a command gave.
func (m *monitor) wait(command string, result any) error {
	for {
		a, err := m.next()
		switch {
		case err != nil:
			return fmt.Errorf("QEMU's monitor: %s: %w", command, err)
		case a.Event != "":
		case a.Error != nil:
			return fmt.Errorf("QEMU's monitor: %s: %s", command, a.Error.Desc)
		case result == nil:
			return nil
		default:
			return json.Unmarshal(a.Return, result)
		}
	}
}

// next receives one object, and keeps what is to be known of it later.
func (m *monitor) next() (answer, error) {
	var a answer
	err := m.dec.Decode(&a)
	if a.Event == "SHUTDOWN" {
		m.shutdown = a.Data.Reason
	}
	return a, err
}

// PoweredOff is what Shutdown returns for a guest that has ended its machine.
const PoweredOff = "guest-shutdown"

// Shutdown says after Done why a machine without an exit device has ended, in
// the words of QEMU's event SHUTDOWN; "" if it did not say.
func (p *Process) Shutdown() string {
	m, err := p.openMonitor()
	if err != nil {
		return ""
	}
	for err == nil {
		_, err = m.next()
	}
	return m.shutdown
}

// Save writes the machine's state to a new file and lets the machine go on.
//
// The machine is not stopped before: the state then says "running", and a
// machine that is restored from it starts by itself, with no monitor needed.
// QEMU stops it for the last moment of the transfer in any case.
func (p *Process) Save(ctx context.Context, file string) error {
	stop := context.AfterFunc(ctx, func() { p.monitor.Close() })
	defer stop()
	m, err := p.openMonitor()
	if err != nil {
		return err
	}
	// The default bandwidth is that of a network.
	if err := m.execute("migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40}, nil); err != nil {
		return err
	}
	// QEMU reports completion before cat has written everything; the rename
	// is what tells. It also tells a full disk from a complete file.
	complete := file + ".complete"
	uri := "exec:cat > " + shellQuote(file) + " && mv " + shellQuote(file) + " " + shellQuote(complete)
	if err := m.execute("migrate", map[string]any{"uri": uri}, nil); err != nil {
		return err
	}
	if err := m.awaitMigration(ctx); err != nil {
		return err
	}
	if err := awaitFile(ctx, complete); err != nil {
		return err
	}
	if err := os.Rename(complete, file); err != nil {
		return err
	}
	return m.execute("cont", nil, nil)
}

const pollInterval = 5 * time.Millisecond

func (m *monitor) awaitMigration(ctx context.Context) error {
	for {
		var info struct {
			Status string
			Desc   string `json:"error-desc"`
		}
		if err := m.execute("query-migrate", nil, &info); err != nil {
			return err
		}
		switch info.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("save the machine's state: %s %s (is the disk full?)", info.Status, info.Desc)
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

func awaitFile(ctx context.Context, name string) error {
	for {
		_, err := os.Stat(name)
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := sleep(ctx, pollInterval); err != nil {
			return fmt.Errorf("save the machine's state: %w (is the disk full?)", err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
