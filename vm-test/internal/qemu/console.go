// SPDX-License-Identifier: MIT

package qemu

import (
	"context"
	"io"
	"strings"
	"sync"
)

// consoleLimit is how much of a console's output is kept: its end is what
// tells why a machine died.
const consoleLimit = 64 << 10

// Console keeps the last part of a text stream. The zero value is ready.
type Console struct {
	mu   sync.Mutex
	text []byte
	eof  chan struct{} // nil until follow is called
}

// Write appends to the text and forgets its beginning if it gets too long.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if over := len(c.text) - consoleLimit; over > 0 {
		c.text = append(c.text[:0], c.text[over:]...)
	}
	return len(p), nil
}

// Text is what was kept.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// Lines are the last n non-empty lines that were kept.
func (c *Console) Lines(n int) []string {
	var lines []string
	for line := range strings.Lines(c.Text()) {
		if line = strings.TrimRight(line, "\r\n "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-n):]
}

// Panicked says whether the kernel printed that it gave up.
func (c *Console) Panicked() bool {
	return strings.Contains(c.Text(), "Kernel panic - not syncing")
}

func (c *Console) done() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.eof == nil {
		c.eof = make(chan struct{})
	}
	return c.eof
}

func (c *Console) follow(r io.ReadCloser) {
	defer close(c.done())
	defer r.Close()
	_, _ = io.Copy(c, r)
}

// wait returns when the stream has ended, so that Text is complete.
func (c *Console) wait(ctx context.Context) {
	select {
	case <-c.done():
	case <-ctx.Done():
	}
}
